//! Role sets: `GET /v1/role_sets` (schema `RoleSet`).

use crate::resource::kept::{KeptField, KeptRow, decode_rows, fields, kept, table};
use crate::resource::{OffsetList, Reading, Resource};

/// Sets of roles that are assigned to organizations.
pub static ROLE_SETS: Resource = Resource {
    name: "role_sets",
    table: table::<RoleSet>(
        "clerk_role_set",
        "The sets of roles that are assigned to organizations, with the number of members in each role.",
        "GET /v1/role_sets",
    ),
    reading: Reading::Offset(OffsetList::new("/role_sets", decode_rows::<RoleSet>)),
    default: false,
    fields: fields::<RoleSet>,
};

struct RoleSet;

impl KeptRow for RoleSet {
    const FIELDS: &'static [KeptField] = kept![
        Text "id" => "Clerk's id of the role set",
        Text "name" => "Display name",
        Text "key" => "Key of the role set, such as role_set:default",
        Text "description" => "Description",
        List(ROLE) "roles" => "The roles in the set",
        Text "default_role.id" as "default_role_id" => "Id of the role of new members",
        Text "default_role.key" as "default_role_key" => "Key of the role of new members",
        Text "creator_role.id" as "creator_role_id" => "Id of the role of the creator of an organization",
        Text "creator_role.key" as "creator_role_key" => "Key of the role of the creator of an organization",
        Text "type" => "Type, verbatim: `initial` or `custom`",
        Object(MIGRATION) "role_set_migration" => "The migration to another role set; NULL if none is in progress",
        Time "created_at" => "When the role set was created",
        Time "updated_at" => "When the role set was last changed",
    ];
}

/// What is kept of a role: its id and key, and the members that only role sets count.
const ROLE: &[KeptField] = kept![
    Text "id" => "Id of the role",
    Text "key" => "Key of the role",
    Integer "members_count" => "Number of members with the role",
    Flag "has_members" => "Whether any member has the role",
];

const MIGRATION: &[KeptField] = kept![
    Text "id" => "Id of the migration",
    Text "organization_id" => "Id of the organization, if only one migrates",
    Text "instance_id" => "Id of the instance",
    Text "source_role_set_id" => "Id of the role set that is left",
    Text "dest_role_set_id" => "Id of the role set that replaces it",
    Text "trigger_type" => "What started the migration, verbatim",
    Text "status" => "Status, verbatim",
    Integer "migrated_members" => "Number of members migrated so far",
    Json "mappings" => "Keys of the roles that replace others, as JSON text",
    Time "started_at" => "When the migration started",
    Time "completed_at" => "When the migration completed",
    Time "created_at" => "When the migration was created",
    Time "updated_at" => "When the migration was last changed",
];
