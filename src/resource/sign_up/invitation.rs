//! Invitations to the application: `GET /v1/invitations` (schema `Invitation`).
//!
//! `url` is never read, because it lets its holder in.

use crate::resource::kept::{KeptField, KeptRow, decode_rows, fields, kept, table};
use crate::resource::{OffsetList, Reading, Resource};
use crate::table::TableSpec;

/// Invitations to the application, with every status.
pub static INVITATIONS: Resource = Resource {
    name: "invitations",
    table: TableSpec {
        repetitive: &["public_metadata", "status", "_synced_at"],
        ..table::<Invitation>(
            "clerk_invitation",
            "The invitations to sign up, with their current status.",
            "GET /v1/invitations",
        )
    },
    reading: Reading::Offset(OffsetList {
        // Without it, the response is an array that does not say how many invitations there are.
        parameters: &[("paginated", "true")],
        // The list without a status has all invitations but the revoked ones. An invitation that is revoked meanwhile is
        // still in the second list, because it is read last. Lists by status would miss an invitation whose status
        // changes to one that has been read, and statuses yet unknown.
        parts: &[&[], &[("status", "revoked")]],
        ..OffsetList::new("/invitations", decode_rows::<Invitation>)
    }),
    default: true,
    fields: fields::<Invitation>,
};

struct Invitation;

impl KeptRow for Invitation {
    const FIELDS: &'static [KeptField] = kept![
        Text "id" => "Clerk's id of the invitation",
        Text "email_address" => "E-mail address that the invitation was sent to",
        Json "public_metadata" => "Public metadata that the user gets on sign-up, as JSON text",
        Flag "revoked" => "Whether the invitation was revoked",
        Text "status" => "Status, verbatim: `pending`, `accepted`, `revoked`, `expired`",
        Time "expires_at" => "When the invitation expires",
        Time "created_at" => "When the invitation was created",
        Time "updated_at" => "When the invitation was last changed",
    ];
    const BY_YEAR: bool = true;
}
