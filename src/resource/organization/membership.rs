//! Memberships of organizations: `GET /v1/organization_memberships` (schema `OrganizationMembership`).
//!
//! Of the organization and of the user only the ids are kept. Both embed data of their own, private metadata and e-mail
//! addresses among it.

use crate::resource::kept::{KeptField, KeptRow, decode_rows, fields, kept, table};
use crate::resource::{OffsetList, Reading, Resource};
use crate::table::{Shape, TableSpec};

/// Memberships of organizations.
pub static MEMBERSHIPS: Resource = Resource {
    name: "memberships",
    table: TableSpec {
        shape: Shape::Edge,
        repetitive: &[
            "organization_id",
            "role",
            "role_name",
            "permissions.list.element",
            "public_metadata",
            "_synced_at",
        ],
        ..table::<MembershipRow>(
            "clerk_organization_membership",
            "Which user is a member of which organization, and in which role, as of now.",
            "GET /v1/organization_memberships",
        )
    },
    reading: Reading::Offset(OffsetList::new("/organization_memberships", decode_rows::<MembershipRow>)),
    default: true,
    fields: fields::<MembershipRow>,
};

struct MembershipRow;

impl KeptRow for MembershipRow {
    const FIELDS: &'static [KeptField] = kept![
        Text "id" => "Clerk's id of the membership",
        Text "organization.id" as "organization_id" => "Id of the organization",
        Text "public_user_data.user_id" as "user_id" => "Id of the member",
        Text "role" => "Key of the member's role",
        Text "role_name" => "Name of the member's role",
        Texts "permissions" => "Keys of the permissions that the role grants",
        Json "public_metadata" => "Public metadata of the membership, as JSON text",
        Time "created_at" => "When the user became a member",
        Time "updated_at" => "When the membership was last changed",
    ];
    const BY_YEAR: bool = true;
}
