//! The instance: `GET /v1/instance` (schema `Instance`), and its domains.

mod domain;

use super::kept::{KeptField, KeptRow, decode_object, fields, kept, table};
use super::{Reading, Resource, SingleObject};

pub use domain::DOMAINS;

/// The instance. The table has one row.
pub static INSTANCE: Resource = Resource {
    name: "instance",
    table: table::<InstanceRow>(
        "clerk_instance",
        "The instance that the lake belongs to: one row.",
        "GET /v1/instance",
    ),
    reading: Reading::Single(SingleObject { path: "/instance", decode: decode_object::<InstanceRow> }),
    default: false,
    fields: fields::<InstanceRow>,
};

struct InstanceRow;

impl KeptRow for InstanceRow {
    const FIELDS: &'static [KeptField] = kept![
        Text "id" => "Clerk's id of the instance",
        Text "environment_type" => "Environment, verbatim: `production` or `development`",
        Texts "allowed_origins" => "Origins that may use the instance, besides its own",
        Text "workspace_id" => "Id of the Clerk workspace that owns the application",
    ];
    const CREATED: Option<&'static str> = None;
}
