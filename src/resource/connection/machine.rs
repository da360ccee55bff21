//! Machines: `GET /v1/machines` (schema `Machine`). The secret key of a machine has an endpoint of its own, which is never
//! read.

use crate::resource::kept::{KeptField, KeptRow, decode_rows, fields, kept, table};
use crate::resource::{OffsetList, Reading, Resource};

/// Machines that authenticate to one another.
pub static MACHINES: Resource = Resource {
    name: "machines",
    table: table::<Machine>("clerk_machine", "The machines that authenticate to one another.", "GET /v1/machines"),
    reading: Reading::Offset(OffsetList::new("/machines", decode_rows::<Machine>)),
    default: false,
    fields: fields::<Machine>,
};

struct Machine;

impl KeptRow for Machine {
    const FIELDS: &'static [KeptField] = kept![
        Text "id" => "Clerk's id of the machine",
        Text "name" => "Display name",
        Text "instance_id" => "Id of the instance",
        Integer "default_token_ttl" => "Lifetime of the machine's tokens in seconds, unless a token has its own",
        TextsOf("id") "scoped_machines" as "scoped_machine_ids" => "Ids of the machines that the machine has access to",
        Time "created_at" => "When the machine was created",
        Time "updated_at" => "When the machine was last changed",
    ];
}
