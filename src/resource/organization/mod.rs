//! Organizations: `GET /v1/organizations` (schema `Organization` of the contract), and what belongs to them.
//!
//! `private_metadata` is never read. `missing_member_with_elevated_permissions` is left out, because Clerk sends it only on
//! request.

mod domain;
mod invitation;
mod membership;
mod permission;
mod role;
mod role_set;

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::json::{FieldTypes, id, integer, millis, text};
use super::page::{ListedRow, decode_page};
use super::time::year;
use super::{OffsetList, Reading, Resource};
use crate::api::RowKey;
use crate::table::{Column, Shape, TableSpec};

pub use domain::ORGANIZATION_DOMAINS;
pub use invitation::ORGANIZATION_INVITATIONS;
pub use membership::MEMBERSHIPS;
pub use permission::ORGANIZATION_PERMISSIONS;
pub use role::ORGANIZATION_ROLES;
pub use role_set::ROLE_SETS;

/// Organizations. The whole list is read every time: it is short, and the endpoint cannot filter it by time.
pub static ORGANIZATIONS: Resource = Resource {
    name: "organizations",
    table: TableSpec {
        name: "clerk_organization",
        meaning: "The organizations of the instance, as they are now.",
        shape: Shape::Entity,
        key: &["id"],
        partition: Some("created_year"),
        row_group_rows: 65_536,
        repetitive: &["created_by", "_synced_at"],
        source: "GET /v1/organizations",
        columns: || columns(&[]),
    },
    reading: Reading::Offset(OffsetList {
        parameters: &[("include_members_count", "true")],
        ..OffsetList::new("/organizations", decode_page::<OrganizationRow>)
    }),
    default: true,
    fields: || SHAPE.fields(),
};

#[derive(Deserialize)]
struct ListedOrganization<'a> {
    #[serde(borrow, deserialize_with = "id")]
    id: Cow<'a, str>,
    #[serde(borrow, default, deserialize_with = "text")]
    name: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "text")]
    slug: Option<Cow<'a, str>>,
    #[serde(default, deserialize_with = "integer")]
    members_count: Option<i64>,
    #[serde(default, deserialize_with = "integer")]
    pending_invitations_count: Option<i64>,
    #[serde(default, deserialize_with = "integer")]
    max_allowed_memberships: Option<i64>,
    admin_delete_enabled: Option<bool>,
    #[serde(borrow, default, deserialize_with = "text")]
    created_by: Option<Cow<'a, str>>,
    #[serde(default, deserialize_with = "millis")]
    created_at: Option<i64>,
    #[serde(default, deserialize_with = "millis")]
    updated_at: Option<i64>,
    #[serde(default, deserialize_with = "millis")]
    last_active_at: Option<i64>,
    #[serde(borrow)]
    public_metadata: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "text")]
    image_url: Option<Cow<'a, str>>,
    has_image: Option<bool>,
    #[serde(borrow, default, deserialize_with = "text")]
    role_set_key: Option<Cow<'a, str>>,
}

/// The fields of [`ListedOrganization`].
const SHAPE: &FieldTypes = &FieldTypes {
    text: &["id", "name", "slug", "created_by", "image_url", "role_set_key"],
    flags: &["admin_delete_enabled", "has_image"],
    integers: &["members_count", "pending_invitations_count", "max_allowed_memberships"],
    times: &["created_at", "updated_at", "last_active_at"],
    json: &["public_metadata"],
    ..FieldTypes::EMPTY
};

struct OrganizationRow;

impl ListedRow for OrganizationRow {
    type Of<'a> = ListedOrganization<'a>;

    const SHAPE: &'static FieldTypes = SHAPE;

    fn key(row: &ListedOrganization<'_>) -> RowKey {
        RowKey { id: row.id.to_string(), created_at: row.created_at }
    }

    fn columns(rows: &[ListedOrganization<'_>]) -> Vec<Column> {
        columns(rows)
    }
}

fn columns(rows: &[ListedOrganization<'_>]) -> Vec<Column> {
    vec![
        Column::text("id", "Clerk's id of the organization (`id`).", rows.iter().map(|row| Some(row.id.as_ref()))),
        Column::text("name", "Display name (`name`).", rows.iter().map(|row| row.name.as_deref())),
        Column::text("slug", "URL slug (`slug`).", rows.iter().map(|row| row.slug.as_deref())),
        Column::integer(
            "members_count",
            "Number of members at the time of the sync (`members_count`).",
            rows.iter().map(|row| row.members_count),
        ),
        Column::integer(
            "pending_invitations_count",
            "Number of invitations that are still pending (`pending_invitations_count`).",
            rows.iter().map(|row| row.pending_invitations_count),
        ),
        Column::integer(
            "max_allowed_memberships",
            "Maximum number of members; 0 means no limit (`max_allowed_memberships`).",
            rows.iter().map(|row| row.max_allowed_memberships),
        ),
        Column::flag(
            "admin_delete_enabled",
            "Whether admins of the organization may delete it (`admin_delete_enabled`).",
            rows.iter().map(|row| row.admin_delete_enabled),
        ),
        Column::text(
            "created_by",
            "Id of the user who created the organization (`created_by`).",
            rows.iter().map(|row| row.created_by.as_deref()),
        ),
        Column::time(
            "created_at",
            "When the organization was created (`created_at`).",
            rows.iter().map(|row| row.created_at),
        ),
        Column::time(
            "updated_at",
            "When the organization was last changed (`updated_at`).",
            rows.iter().map(|row| row.updated_at),
        ),
        Column::time(
            "last_active_at",
            "When a member was last active in the organization (`last_active_at`).",
            rows.iter().map(|row| row.last_active_at),
        ),
        Column::text(
            "public_metadata",
            "Public metadata, as JSON text (`public_metadata`).",
            rows.iter().map(|row| row.public_metadata.map(RawValue::get)),
        ),
        Column::text("image_url", "URL of the logo (`image_url`).", rows.iter().map(|row| row.image_url.as_deref())),
        Column::flag(
            "has_image",
            "Whether the logo is the organization's own, not a generated one (`has_image`).",
            rows.iter().map(|row| row.has_image),
        ),
        Column::text(
            "role_set_key",
            "Key of the role set that is assigned to the organization (`role_set_key`).",
            rows.iter().map(|row| row.role_set_key.as_deref()),
        ),
        Column::year(
            "created_year",
            "UTC year of `created_at`, or 0 if it is unknown. Partition column.",
            rows.iter().map(|row| Some(year(row.created_at))),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::json::fields_of;

    #[test]
    fn the_shape_names_the_fields_that_are_read() {
        assert_eq!(SHAPE.sorted_names(), fields_of::<ListedOrganization<'_>>());
    }
}
