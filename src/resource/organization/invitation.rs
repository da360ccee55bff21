//! Invitations to organizations: `GET /v1/organization_invitations` (schema
//! `OrganizationInvitationWithPublicOrganizationData`).
//!
//! `url` is never read, because it lets its holder in; nor is `private_metadata`. The names of the inviter and of the
//! organization are in other tables.

use crate::resource::kept::{KeptField, KeptRow, decode_rows, fields, kept, table};
use crate::resource::{OffsetList, Reading, Resource};
use crate::table::TableSpec;

/// Invitations to organizations, with every status.
pub static ORGANIZATION_INVITATIONS: Resource = Resource {
    name: "organization_invitations",
    table: TableSpec {
        repetitive: &["role", "role_name", "organization_id", "inviter_id", "status", "public_metadata", "_synced_at"],
        ..table::<OrganizationInvitation>(
            "clerk_organization_invitation",
            "The invitations to join an organization, with their current status.",
            "GET /v1/organization_invitations",
        )
    },
    reading: Reading::Offset(OffsetList {
        // As in the list of invitations to the application, revoked ones may be missing without the second list. The
        // contract does not say.
        parts: &[&[], &[("status", "revoked")]],
        ..OffsetList::new("/organization_invitations", decode_rows::<OrganizationInvitation>)
    }),
    default: true,
    fields: fields::<OrganizationInvitation>,
};

struct OrganizationInvitation;

impl KeptRow for OrganizationInvitation {
    const FIELDS: &'static [KeptField] = kept![
        Text "id" => "Clerk's id of the invitation",
        Text "email_address" => "E-mail address that the invitation was sent to",
        Text "role" => "Key of the role that the user is invited to",
        Text "role_name" => "Name of the role that the user is invited to",
        Text "organization_id" => "Id of the organization",
        Text "inviter_id" => "Id of the user who sent the invitation; NULL if no user did",
        Text "status" => "Status, verbatim: `pending`, `accepted`, `revoked`, `expired`",
        Json "public_metadata" => "Public metadata of the invitation, as JSON text",
        Time "expires_at" => "When the invitation expires",
        Time "created_at" => "When the invitation was created",
        Time "updated_at" => "When the invitation was last changed",
    ];
    const BY_YEAR: bool = true;
}
