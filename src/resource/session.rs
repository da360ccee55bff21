//! Sessions: `GET /v1/sessions` (schemas `Session` and `SessionActivityResponse` of the contract).

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::json::{FieldTypes, id, millis, text};
use super::page::{ListedRow, decode_page};
use super::time::month;
use super::{PerUserList, Reading, Resource};
use crate::api::RowKey;
use crate::table::{Column, Shape, TableSpec};

/// Every session seen so far. Clerk deletes old sessions; the lake keeps them.
pub static SESSIONS: Resource = Resource {
    name: "sessions",
    table: TableSpec {
        name: "clerk_session",
        meaning: "Every session seen so far, with its last known state. A session stays after Clerk stops listing it.",
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
    default: true,
    fields: || SHAPE.fields(),
};

/// Name of the column that holds the time at which Clerk was first found to no longer list a session.
pub const GONE_AT: &str = "gone_at";

#[derive(Deserialize)]
struct ListedSession<'a> {
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
    latest_activity: Option<LatestActivity<'a>>,
    #[serde(borrow)]
    tasks: Option<Vec<ListedTask<'a>>>,
}

#[derive(Deserialize)]
struct ListedTask<'a> {
    #[serde(borrow, default, deserialize_with = "text")]
    key: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct LatestActivity<'a> {
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

/// The fields of [`ListedSession`].
const SHAPE: &FieldTypes = &FieldTypes {
    text: &["id", "user_id", "client_id", "status", "last_active_organization_id"],
    times: &["created_at", "updated_at", "last_active_at", "expire_at", "abandon_at"],
    json: &["actor"],
    objects: &[("latest_activity", LATEST_ACTIVITY)],
    lists: &[("tasks", TASK)],
    ..FieldTypes::EMPTY
};

/// The fields of [`LatestActivity`].
const LATEST_ACTIVITY: &FieldTypes = &FieldTypes {
    text: &["id", "device_type", "browser_name", "browser_version", "ip_address", "city", "country"],
    flags: &["is_mobile"],
    ..FieldTypes::EMPTY
};

/// The fields of [`ListedTask`].
const TASK: &FieldTypes = &FieldTypes { text: &["key"], ..FieldTypes::EMPTY };

struct SessionRow;

impl ListedRow for SessionRow {
    type Of<'a> = ListedSession<'a>;

    const SHAPE: &'static FieldTypes = SHAPE;

    fn key(row: &ListedSession<'_>) -> RowKey {
        RowKey { id: row.id.to_string(), created_at: row.created_at }
    }

    fn columns(rows: &[ListedSession<'_>]) -> Vec<Column> {
        columns(rows)
    }
}

fn columns(rows: &[ListedSession<'_>]) -> Vec<Column> {
    let months: Vec<_> = rows.iter().map(|row| month(row.created_at)).collect();
    vec![
        Column::text("session_id", "Clerk's id of the session (`id`).", rows.iter().map(|row| Some(row.id.as_ref()))),
        Column::text(
            "user_id",
            "Id of the user who owns the session (`user_id`).",
            rows.iter().map(|row| row.user_id.as_deref()),
        ),
        Column::text(
            "client_id",
            "Id of the client (device and browser) that the session runs on (`client_id`).",
            rows.iter().map(|row| row.client_id.as_deref()),
        ),
        Column::text(
            "status",
            "Status, verbatim. An `active` session whose `expire_at` is in the past is no longer active (`status`).",
            rows.iter().map(|row| row.status.as_deref()),
        ),
        Column::time("created_at", "When the session began (`created_at`).", rows.iter().map(|row| row.created_at)),
        Column::time(
            "updated_at",
            "When the session was last changed (`updated_at`).",
            rows.iter().map(|row| row.updated_at),
        ),
        Column::time(
            "last_active_at",
            "When the session was last active (`last_active_at`).",
            rows.iter().map(|row| row.last_active_at),
        ),
        Column::time("expire_at", "When the session expires (`expire_at`).", rows.iter().map(|row| row.expire_at)),
        Column::time(
            "abandon_at",
            "When the session counts as abandoned (`abandon_at`).",
            rows.iter().map(|row| row.abandon_at),
        ),
        Column::time(
            GONE_AT,
            "When a sync first found that Clerk no longer lists the session; NULL while Clerk lists it.",
            rows.iter().map(|_| None),
        ),
        Column::text(
            "last_active_organization_id",
            "Id of the organization that was last active in the session (`last_active_organization_id`).",
            rows.iter().map(|row| row.last_active_organization_id.as_deref()),
        ),
        Column::text(
            "actor",
            "Who impersonates the user, as JSON text; NULL if the session is the user's own (`actor`).",
            rows.iter().map(|row| row.actor.map(RawValue::get)),
        ),
        latest_activity(rows),
        tasks(rows),
        Column::text(
            "created_month",
            "UTC month of `created_at`, such as `2026-11`, or `none` if it is unknown. Partition column.",
            months.iter().map(|month| Some(month.as_str())),
        ),
    ]
}

fn tasks(rows: &[ListedSession<'_>]) -> Column {
    fn keys<'r>(tasks: &'r [ListedTask<'_>]) -> Vec<Option<Cow<'r, str>>> {
        tasks.iter().map(|task| task.key.as_deref().map(Cow::from)).collect()
    }
    Column::texts(
        "tasks",
        "Keys of the tasks that the user must complete before a `pending` session becomes active (`tasks`).",
        rows.iter().map(|row| row.tasks.as_deref().map(keys)),
    )
}

fn latest_activity(rows: &[ListedSession<'_>]) -> Column {
    let activity = || rows.iter().map(|row| row.latest_activity.as_ref());
    let part = |name, meaning, of: for<'r> fn(&'r LatestActivity<'_>) -> Option<&'r str>| {
        Column::text(name, meaning, activity().map(|activity| activity.and_then(of)))
    };
    let children = [
        part("id", "Id of the activity.", |activity| activity.id.as_deref()),
        part("device_type", "Device type.", |activity| activity.device_type.as_deref()),
        Column::flag(
            "is_mobile",
            "Whether it is a mobile device.",
            activity().map(|activity| activity.and_then(|activity| activity.is_mobile)),
        ),
        part("browser_name", "Browser.", |activity| activity.browser_name.as_deref()),
        part("browser_version", "Browser version.", |activity| activity.browser_version.as_deref()),
        part("ip_address", "IP address.", |activity| activity.ip_address.as_deref()),
        part("city", "City, derived from the IP address.", |activity| activity.city.as_deref()),
        part("country", "Country, derived from the IP address.", |activity| activity.country.as_deref()),
    ];
    Column::structure(
        "latest_activity",
        "Device, browser and location of the session's latest activity (`latest_activity`).",
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
        assert_eq!(SHAPE.sorted_names(), fields_of::<ListedSession<'_>>());
        assert_eq!(LATEST_ACTIVITY.sorted_names(), fields_of::<LatestActivity<'_>>());
        assert_eq!(TASK.sorted_names(), fields_of::<ListedTask<'_>>());
    }
}
