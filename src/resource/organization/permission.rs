//! Permissions in organizations: `GET /v1/organization_permissions` (schema `Permission`).

use crate::resource::kept::{KeptField, KeptRow, decode_rows, fields, kept, table};
use crate::resource::{OffsetList, Reading, Resource};

/// Permissions that roles can grant.
pub static ORGANIZATION_PERMISSIONS: Resource = Resource {
    name: "organization_permissions",
    table: table::<Permission>(
        "clerk_organization_permission",
        "The permissions that roles in organizations can grant.",
        "GET /v1/organization_permissions",
    ),
    reading: Reading::Offset(OffsetList::new("/organization_permissions", decode_rows::<Permission>)),
    default: false,
    fields: fields::<Permission>,
};

struct Permission;

impl KeptRow for Permission {
    const FIELDS: &'static [KeptField] = kept![
        Text "id" => "Clerk's id of the permission",
        Text "name" => "Display name",
        Text "key" => "Key of the permission, such as org:sys_memberships:manage",
        Text "description" => "Description",
        Text "type" => "Whether the permission is Clerk's own or the application's, verbatim",
        Time "created_at" => "When the permission was created",
        Time "updated_at" => "When the permission was last changed",
    ];
}
