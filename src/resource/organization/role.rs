//! Roles in organizations: `GET /v1/organization_roles` (schema `Role`).

use crate::resource::kept::{KeptField, KeptRow, decode_rows, fields, kept, table};
use crate::resource::{OffsetList, Reading, Resource};

/// Roles that members of organizations can have.
pub static ORGANIZATION_ROLES: Resource = Resource {
    name: "organization_roles",
    table: table::<Role>(
        "clerk_organization_role",
        "The roles that members of organizations can have, and the permissions that each grants.",
        "GET /v1/organization_roles",
    ),
    reading: Reading::Offset(OffsetList::new("/organization_roles", decode_rows::<Role>)),
    default: true,
    fields: fields::<Role>,
};

struct Role;

impl KeptRow for Role {
    const FIELDS: &'static [KeptField] = kept![
        Text "id" => "Clerk's id of the role",
        Text "name" => "Display name",
        Text "key" => "Key of the role, such as org:admin",
        Text "description" => "Description",
        Flag "is_creator_eligible" => "Whether the creator of an organization may get the role",
        List(PERMISSION) "permissions" => "The permissions that the role grants",
        Time "created_at" => "When the role was created",
        Time "updated_at" => "When the role was last changed",
    ];
}

/// The fields of a permission that identify it.
const PERMISSION: &[KeptField] = kept![
    Text "id" => "Id of the permission",
    Text "key" => "Key of the permission",
];
