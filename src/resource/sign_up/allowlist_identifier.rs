//! The allow list: `GET /v1/allowlist_identifiers` (schema `AllowlistIdentifier`).

use crate::resource::kept::{KeptField, KeptRow, decode_rows, fields, kept, table};
use crate::resource::{OffsetList, Reading, Resource};

/// Identifiers that may sign up.
pub static ALLOWLIST_IDENTIFIERS: Resource = Resource {
    name: "allowlist_identifiers",
    table: table::<AllowlistIdentifier>(
        "clerk_allowlist_identifier",
        "The identifiers that may sign up. They are personal data.",
        "GET /v1/allowlist_identifiers",
    ),
    reading: Reading::Offset(OffsetList {
        // Without it, the response is an array that does not say how many identifiers there are.
        parameters: &[("paginated", "true")],
        order_by: None,
        ..OffsetList::new("/allowlist_identifiers", decode_rows::<AllowlistIdentifier>)
    }),
    default: false,
    fields: fields::<AllowlistIdentifier>,
};

struct AllowlistIdentifier;

impl KeptRow for AllowlistIdentifier {
    const FIELDS: &'static [KeptField] = kept![
        Text "id" => "Clerk's id of the entry",
        Text "invitation_id" => "Id of the invitation that was sent to the identifier",
        Text "identifier" => "E-mail address, e-mail domain, phone number or Web3 wallet. Personal data",
        Text "identifier_type" => "Type of the identifier, verbatim",
        Text "instance_id" => "Id of the instance",
        Time "created_at" => "When the entry was created",
        Time "updated_at" => "When the entry was last changed",
    ];
}
