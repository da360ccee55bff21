//! Sessions: `GET /v1/sessions` (schemas `Session` and `SessionActivityResponse` of the contract).

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::json::{FieldTypes, id, millis, text};
use super::{ListedRow, PerUserList, Reading, Resource, decode_page, month};
use crate::api::RowKey;
use crate::table::{Column, Shape, TableSpec};

/// Sessions: history. Clerk cleans up old ones; the lake keeps them.
pub static SESSIONS: Resource = Resource {
    name: "sessions",
    table: TableSpec {
        name: "clerk_session",
        meaning: "Every session seen so far, with its last known state; never removed because Clerk forgot it.",
        shape: Shape::Event,
        key: &["session_id"],
        partition: Some("created_month"),
        row_group_rows: 16_384,
        repetitive: &[
            "status",
            "last_active_organization_id",
            "latest_activity.device_type",
            "latest_activity.browser_name",
            "latest_activity.browser_version",
            "latest_activity.city",
            "latest_activity.country",
            "_synced_at",
        ],
        source: "GET /v1/sessions",
        columns: || columns(&[]),
    },
    reading: Reading::PerUser(PerUserList { path: "/sessions", decode: decode_page::<SessionRow> }),
};

/// The column that says since when Clerk does not show a session any more.
pub const GONE_AT: &str = "gone_at";

#[derive(Deserialize)]
struct Session<'a> {
    #[serde(borrow, deserialize_with = "id")]
    id: Cow<'a, str>,
    #[serde(borrow, default, deserialize_with = "text")]
    user_id: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "text")]
    client_id: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "text")]
    status: Option<Cow<'a, str>>,
    #[serde(default, deserialize_with = "millis")]
    created_at: Option<i64>,
    #[serde(default, deserialize_with = "millis")]
    updated_at: Option<i64>,
    #[serde(default, deserialize_with = "millis")]
    last_active_at: Option<i64>,
    #[serde(default, deserialize_with = "millis")]
    expire_at: Option<i64>,
    #[serde(default, deserialize_with = "millis")]
    abandon_at: Option<i64>,
    #[serde(borrow, default, deserialize_with = "text")]
    last_active_organization_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    actor: Option<&'a RawValue>,
    #[serde(borrow)]
    latest_activity: Option<Activity<'a>>,
}

#[derive(Deserialize)]
struct Activity<'a> {
    #[serde(borrow, default, deserialize_with = "text")]
    id: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "text")]
    device_type: Option<Cow<'a, str>>,
    is_mobile: Option<bool>,
    #[serde(borrow, default, deserialize_with = "text")]
    browser_name: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "text")]
    browser_version: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "text")]
    ip_address: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "text")]
    city: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "text")]
    country: Option<Cow<'a, str>>,
}

/// The fields of [`Session`].
pub(super) const SHAPE: &FieldTypes = &FieldTypes {
    text: &["id", "user_id", "client_id", "status", "last_active_organization_id"],
    times: &["created_at", "updated_at", "last_active_at", "expire_at", "abandon_at"],
    json: &["actor"],
    objects: &[("latest_activity", ACTIVITY)],
    ..FieldTypes::EMPTY
};

/// The fields of [`Activity`].
const ACTIVITY: &FieldTypes = &FieldTypes {
    text: &["id", "device_type", "browser_name", "browser_version", "ip_address", "city", "country"],
    flags: &["is_mobile"],
    ..FieldTypes::EMPTY
};

struct SessionRow;

impl ListedRow for SessionRow {
    type Of<'a> = Session<'a>;

    const SHAPE: &'static FieldTypes = SHAPE;

    fn key(row: &Session<'_>) -> RowKey {
        RowKey { id: row.id.to_string(), created_at: row.created_at }
    }

    fn columns(rows: &[Session<'_>]) -> Vec<Column> {
        columns(rows)
    }
}

fn columns(rows: &[Session<'_>]) -> Vec<Column> {
    let months: Vec<_> = rows.iter().map(|row| month(row.created_at)).collect();
    vec![
        Column::text("session_id", "Clerk's id of the session (`id`).", rows.iter().map(|row| Some(row.id.as_ref()))),
        Column::text("user_id", "The user it belongs to (`user_id`).", rows.iter().map(|row| row.user_id.as_deref())),
        Column::text(
            "client_id",
            "The client (device and browser) it belongs to (`client_id`).",
            rows.iter().map(|row| row.client_id.as_deref()),
        ),
        Column::text(
            "status",
            "Status, verbatim; `active` with `expire_at` in the past is not active (`status`).",
            rows.iter().map(|row| row.status.as_deref()),
        ),
        Column::time("created_at", "When it began (`created_at`).", rows.iter().map(|row| row.created_at)),
        Column::time("updated_at", "When it last changed (`updated_at`).", rows.iter().map(|row| row.updated_at)),
        Column::time(
            "last_active_at",
            "When it was last active (`last_active_at`).",
            rows.iter().map(|row| row.last_active_at),
        ),
        Column::time("expire_at", "When it expires (`expire_at`).", rows.iter().map(|row| row.expire_at)),
        Column::time(
            "abandon_at",
            "When it counts as abandoned (`abandon_at`).",
            rows.iter().map(|row| row.abandon_at),
        ),
        Column::time(
            GONE_AT,
            "When Clerk was first found not to show it any more; null while it does.",
            rows.iter().map(|_| None),
        ),
        Column::text(
            "last_active_organization_id",
            "The organization last active in it (`last_active_organization_id`).",
            rows.iter().map(|row| row.last_active_organization_id.as_deref()),
        ),
        Column::text(
            "actor",
            "Who impersonates the user, as JSON text; null for the user's own sessions (`actor`).",
            rows.iter().map(|row| row.actor.map(RawValue::get)),
        ),
        latest_activity(rows),
        Column::text(
            "created_month",
            "The UTC month of `created_at`, as 2026-11, none where it is not known; the partition.",
            months.iter().map(|month| Some(month.as_str())),
        ),
    ]
}

fn latest_activity(rows: &[Session<'_>]) -> Column {
    let activity = || rows.iter().map(|row| row.latest_activity.as_ref());
    let part = |name, meaning, of: for<'r> fn(&'r Activity<'_>) -> Option<&'r str>| {
        Column::text(name, meaning, activity().map(|activity| activity.and_then(of)))
    };
    let children = [
        part("id", "Id of the activity.", |activity| activity.id.as_deref()),
        part("device_type", "Device type.", |activity| activity.device_type.as_deref()),
        Column::flag(
            "is_mobile",
            "Whether the device is a mobile one.",
            activity().map(|activity| activity.and_then(|activity| activity.is_mobile)),
        ),
        part("browser_name", "Browser.", |activity| activity.browser_name.as_deref()),
        part("browser_version", "Browser version.", |activity| activity.browser_version.as_deref()),
        part("ip_address", "IP address.", |activity| activity.ip_address.as_deref()),
        part("city", "City, from the IP address.", |activity| activity.city.as_deref()),
        part("country", "Country, from the IP address.", |activity| activity.country.as_deref()),
    ];
    Column::structure(
        "latest_activity",
        "Device, browser and place of its latest activity (`latest_activity`).",
        &children,
        activity().map(|activity| activity.is_some()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::json::fields_of;

    #[test]
    fn the_shapes_name_the_fields_that_are_read() {
        assert_eq!(SHAPE.sorted_names(), fields_of::<Session<'_>>());
        assert_eq!(ACTIVITY.sorted_names(), fields_of::<Activity<'_>>());
    }
}
