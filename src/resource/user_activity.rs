//! User activity: the activity ledger, with the days on which each user was seen active, and how complete each day is.
//!
//! Clerk lists neither. Both are filled from the users and sessions in the lake. See `sync::ledger`, which fills them,
//! for the definition of the numbers and of a complete day.

use super::json::RowFields;
use super::time::month;
use super::{Reading, Resource};
use crate::table::{Column, Shape, TableSpec};

/// A day in milliseconds.
const DAY: i64 = 86_400_000;

/// The days on which each user was seen active. Rows are only added, so past days do not fall when users return.
pub static USER_ACTIVITY: Resource = Resource {
    name: "user_activity",
    table: TableSpec {
        name: "clerk_user_activity",
        meaning: "The activity ledger: one row for each user and UTC day on which the user was seen active. \
            Impersonated sessions do not count. Rows are only added.",
        shape: Shape::Ledger,
        key: &["user_id", "date"],
        partition: Some("month"),
        row_group_rows: 16_384,
        repetitive: &["date", "source", "first_observed_at", "_synced_at"],
        source: "clerk_user and clerk_session",
        columns: || activity_columns(&[]),
    },
    reading: Reading::Ledger,
    default: true,
    fields: RowFields::default,
};

/// How complete the ledger is on each day. It is written together with [`USER_ACTIVITY`] and is not a resource.
pub static ACTIVITY_DAYS: TableSpec = TableSpec {
    name: "clerk_activity_day",
    meaning: "For each UTC day, how many users the activity ledger has, and how many more may have been active without \
        being seen. Days before the first sync stay lower bounds.",
    shape: Shape::Metric,
    key: &["date"],
    partition: None,
    row_group_rows: 65_536,
    repetitive: &["settled_at", "_synced_at"],
    source: "clerk_user_activity and clerk_user",
    columns: || day_columns(&[]),
};

/// A row of the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Activity<'a> {
    /// The user's id.
    pub user_id: &'a str,
    /// The UTC day, in days since 1970.
    pub date: i32,
    /// Where the activity was first seen: `user` or `session`.
    pub source: &'static str,
    /// Watermark of the table where the activity was first seen, in Unix milliseconds; `None` if unknown.
    pub first_observed_at: Option<i64>,
}

/// Returns the columns for `rows` of the ledger.
#[must_use]
pub fn activity_columns(rows: &[Activity<'_>]) -> Vec<Column> {
    let months: Vec<_> = rows.iter().map(|row| month(Some(i64::from(row.date) * DAY))).collect();
    vec![
        Column::text(
            "user_id",
            "Id of the user. Deleted users stay in the table.",
            rows.iter().map(|row| Some(row.user_id)),
        ),
        Column::date("date", "The UTC day on which the user was active.", rows.iter().map(|row| Some(row.date))),
        Column::text(
            "source",
            "Where the activity was first seen: `user` (the user's `last_active_at`) or `session` (`created_at` or \
                `last_active_at` of a session without impersonation).",
            rows.iter().map(|row| Some(row.source)),
        ),
        Column::time(
            "first_observed_at",
            "Watermark of `clerk_user` or `clerk_session` when the activity was first seen there; NULL if unknown.",
            rows.iter().map(|row| row.first_observed_at),
        ),
        Column::text(
            "month",
            "UTC month of `date`, such as `2026-11`. Partition column.",
            months.iter().map(|month| Some(month.as_str())),
        ),
    ]
}

/// How complete the ledger is on one UTC day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActivityDay {
    /// The day, in days since 1970.
    pub date: i32,
    /// Number of users in the ledger on that day.
    pub active_users: i64,
    /// Maximum number of further users who may have been active; `None` if the day is not settled or the number is
    /// unknown.
    pub unknown_users: Option<i64>,
    /// Number of users who were deleted while they could still be active on that day; `None` if unknown.
    pub deleted_users: Option<i64>,
    /// Watermark of the users at which the day was settled, in Unix milliseconds; `None` if it is not settled.
    pub settled_at: Option<i64>,
}

impl ActivityDay {
    /// Returns whether the day is settled and no user outside the ledger can have been active on it.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.settled_at.is_some() && self.unknown_users == Some(0)
    }
}

/// Returns the columns for `days`.
#[must_use]
pub fn day_columns(days: &[ActivityDay]) -> Vec<Column> {
    vec![
        Column::date("date", "The UTC day.", days.iter().map(|day| Some(day.date))),
        Column::integer(
            "active_users",
            "Number of users in the ledger on that day: a lower bound for the active users.",
            days.iter().map(|day| Some(day.active_users)),
        ),
        Column::integer(
            "unknown_users",
            "Maximum number of further users who may have been active without being seen; NULL if the day is not \
                settled or the number is unknown.",
            days.iter().map(|day| day.unknown_users),
        ),
        Column::flag(
            "complete",
            "Whether the day is settled and no further user can have been active. Valid only if `clerk_user_activity` \
                has exactly `active_users` rows for that day, as it does after every sync that was not interrupted.",
            days.iter().map(|day| Some(day.is_complete())),
        ),
        Column::time(
            "settled_at",
            "Watermark of `clerk_user` that settled the day: the first one after the end of the day. NULL until then, \
                and for days before the first sync.",
            days.iter().map(|day| day.settled_at),
        ),
        Column::integer(
            "deleted_users",
            "Number of users who were deleted while they could still be active on that day, whether or not the ledger \
                has them; NULL if unknown.",
            days.iter().map(|day| day.deleted_users),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;

    use super::*;
    use crate::table::columns;

    #[test]
    fn a_day_is_in_the_partition_of_its_month() {
        let row = |date| Activity { user_id: "user_a", date, source: "user", first_observed_at: None };
        let rows = [row(0), row(30), row(31), row(20_757)];
        let batch = columns::batch(&activity_columns(&rows), rows.len()).unwrap();
        let months: Vec<_> = batch.column_by_name("month").unwrap().as_string::<i32>().iter().flatten().collect();
        assert_eq!(months, ["1970-01", "1970-01", "1970-02", "2026-10"]);
    }

    #[test]
    fn a_day_is_complete_if_it_is_settled_and_has_no_unknown_users() {
        let day = |unknown_users, settled_at| ActivityDay {
            date: 20_000,
            active_users: 3,
            unknown_users,
            deleted_users: Some(0),
            settled_at,
        };
        assert!(day(Some(0), Some(1)).is_complete());
        for other in [day(Some(1), Some(1)), day(None, Some(1)), day(Some(0), None)] {
            assert!(!other.is_complete(), "{other:?}");
        }
    }
}
