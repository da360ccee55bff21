//! The block list: `GET /v1/blocklist_identifiers` (schema `BlocklistIdentifier`).

use crate::resource::kept::{KeptField, KeptRow, decode_rows, fields, kept, table};
use crate::resource::{OffsetList, Paging, Reading, Resource};

/// Identifiers that may not sign up.
pub static BLOCKLIST_IDENTIFIERS: Resource = Resource {
    name: "blocklist_identifiers",
    table: table::<BlocklistIdentifier>(
        "clerk_blocklist_identifier",
        "The identifiers that may not sign up. They are personal data.",
        "GET /v1/blocklist_identifiers",
    ),
    reading: Reading::Offset(OffsetList {
        order_by: None,
        paging: Paging::None,
        ..OffsetList::new("/blocklist_identifiers", decode_rows::<BlocklistIdentifier>)
    }),
    default: false,
    fields: fields::<BlocklistIdentifier>,
};

struct BlocklistIdentifier;

impl KeptRow for BlocklistIdentifier {
    const FIELDS: &'static [KeptField] = kept![
        Text "id" => "Clerk's id of the entry",
        Text "identifier" => "E-mail address, e-mail domain, phone number or Web3 wallet. Personal data",
        Text "identifier_type" => "Type of the identifier, verbatim",
        Text "instance_id" => "Id of the instance",
        Time "created_at" => "When the entry was created",
        Time "updated_at" => "When the entry was last changed",
    ];
}
