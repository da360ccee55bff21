//! Directories that provision users: `GET /v1/directories` (schema `Directories`).
//!
//! `api_key` is never read.

use super::CUSTOM_ATTRIBUTE;
use crate::resource::kept::{KeptField, KeptRow, decode_rows, fields, kept, table};
use crate::resource::{OffsetList, Reading, Resource};

/// Directories that provision users.
pub static DIRECTORIES: Resource = Resource {
    name: "directories",
    table: table::<Directory>(
        "clerk_directory",
        "The directories that provision users, by SCIM or otherwise.",
        "GET /v1/directories",
    ),
    reading: Reading::Offset(OffsetList {
        older_path: Some("/scim_directories"),
        order_by: None,
        ..OffsetList::new("/directories", decode_rows::<Directory>)
    }),
    default: false,
    fields: fields::<Directory>,
};

struct Directory;

impl KeptRow for Directory {
    const FIELDS: &'static [KeptField] = kept![
        Text "id" => "Clerk's id of the directory",
        Text "name" => "Display name",
        Text "enterprise_connection_id" => "Id of the enterprise connection that the directory belongs to",
        Text "endpoint_url" => "URL that the directory provisions users at",
        Text "provider" => "Identity provider, verbatim",
        Flag "enabled" => "Whether the directory is enabled",
        Flag "group_role_mapping_enabled" => "Whether groups are mapped to roles",
        Json "attribute_mapping" => "Paths of the user's attributes in the directory, as JSON text",
        List(CUSTOM_ATTRIBUTE) "custom_attributes" => "Attributes that are copied from the directory",
        Time "created_at" => "When the directory was created",
        Time "updated_at" => "When the directory was last changed",
    ];
}
