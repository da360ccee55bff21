//! Daily active users. Clerk does not list them; `queries/daily_active_users.sql` derives them from the users.

use std::sync::Arc;

use arrow::array::{Date32Array, Int64Array};

use super::json::RowFields;
use super::{Derivation, Reading, Resource};
use crate::table::{Column, Shape, TableSpec};

/// Number of users by last active day, for the most recent days. Depends on the users alone.
pub static DAILY_ACTIVE_USERS: Resource = Resource {
    name: "daily_active_users",
    table: TableSpec {
        name: "clerk_daily_active_users",
        meaning: "Number of users whose last activity fell on each of the most recent UTC days, today included. \
            The number for a past day falls when its users return.",
        shape: Shape::Metric,
        key: &["date"],
        partition: None,
        row_group_rows: 65_536,
        repetitive: &["_synced_at"],
        source: "queries/daily_active_users.sql over clerk_user",
        columns,
    },
    reading: Reading::Derived(Derivation { query: "daily_active_users" }),
    default: true,
    fields: RowFields::default,
};

fn columns() -> Vec<Column> {
    vec![
        Column { name: "date", meaning: "The UTC day.", array: Arc::new(Date32Array::from(Vec::<i32>::new())) },
        Column {
            name: "daily_active_users",
            meaning: "Number of users whose `last_active_at` falls on that day; 0 if there are none.",
            array: Arc::new(Int64Array::from(Vec::<i64>::new())),
        },
    ]
}
