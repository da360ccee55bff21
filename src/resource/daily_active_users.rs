//! Daily active users: not listed by Clerk, but derived from the users by `queries/daily_active_users.sql`.

use std::sync::Arc;

use arrow::array::{Date32Array, Int64Array};

use super::{Derivation, Reading, Resource};
use crate::table::{Column, Shape, TableSpec};

/// Users by the day on which they were last active, for the last days: a pure function of the users.
pub static DAILY_ACTIVE_USERS: Resource = Resource {
    name: "daily_active_users",
    table: TableSpec {
        name: "clerk_daily_active_users",
        meaning: "For each of the last days (UTC, today included) the users whose last activity fell on it; \
            a past day's figure falls as users come back.",
        shape: Shape::Metric,
        key: &["date"],
        partition: None,
        row_group_rows: 65_536,
        repetitive: &["_synced_at"],
        source: "queries/daily_active_users.sql over clerk_user",
        columns,
    },
    reading: Reading::Derived(Derivation { query: "daily_active_users" }),
};

fn columns() -> Vec<Column> {
    vec![
        Column { name: "date", meaning: "The UTC day.", array: Arc::new(Date32Array::from(Vec::<i32>::new())) },
        Column {
            name: "daily_active_users",
            meaning: "Users whose `last_active_at` falls on that day; 0 where nobody's does.",
            array: Arc::new(Int64Array::from(Vec::<i64>::new())),
        },
    ]
}
