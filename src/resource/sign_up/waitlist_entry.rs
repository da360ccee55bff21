//! Entries of the waitlist: `GET /v1/waitlist_entries` (schema `WaitlistEntry`).
//!
//! Of the embedded invitation only the id is kept. Its `url` lets its holder in.

use crate::resource::kept::{KeptField, KeptRow, decode_rows, fields, kept, table};
use crate::resource::{OffsetList, Reading, Resource};
use crate::table::TableSpec;

/// Entries of the waitlist.
pub static WAITLIST_ENTRIES: Resource = Resource {
    name: "waitlist_entries",
    table: TableSpec {
        repetitive: &["status", "_synced_at"],
        ..table::<WaitlistEntry>(
            "clerk_waitlist_entry",
            "The people on the waitlist, with their current status.",
            "GET /v1/waitlist_entries",
        )
    },
    reading: Reading::Offset(OffsetList::new("/waitlist_entries", decode_rows::<WaitlistEntry>)),
    default: true,
    fields: fields::<WaitlistEntry>,
};

struct WaitlistEntry;

impl KeptRow for WaitlistEntry {
    const FIELDS: &'static [KeptField] = kept![
        Text "id" => "Clerk's id of the entry",
        Text "email_address" => "E-mail address that asks for access",
        Text "status" => "Status, verbatim: `pending`, `invited`, `completed`, `rejected`",
        Flag "is_locked" => "Whether a batch action is processing the entry",
        Text "invitation.id" as "invitation_id" => "Id of the invitation; NULL until the person is invited",
        Time "created_at" => "When the entry was created",
        Time "updated_at" => "When the entry was last changed",
    ];
    const BY_YEAR: bool = true;
}
