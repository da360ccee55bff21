//! User activity: the ledger of the days on which each user was seen active, and how much of each day it has.
//!
//! Clerk lists neither: both are filled from the users and sessions in the lake. What the figures mean, and what
//! makes a day complete, is said in `sync::ledger`, which fills them.

use super::{Reading, Resource, month};
use crate::table::{Column, Shape, TableSpec};

/// A day in milliseconds.
const DAY: i64 = 86_400_000;

/// On which days users were seen active: a set that only grows, so that past days do not fall as users come back.
pub static USER_ACTIVITY: Resource = Resource {
    name: "user_activity",
    table: TableSpec {
        name: "clerk_user_activity",
        meaning: "A row for each user and UTC day on which the user was seen active, impersonation left out; rows are \
            only ever added.",
        shape: Shape::Ledger,
        key: &["user_id", "date"],
        partition: Some("month"),
        row_group_rows: 16_384,
        repetitive: &["date", "source", "first_observed_at", "_synced_at"],
        source: "clerk_user and clerk_session",
        columns: || activity_columns(&[]),
    },
    reading: Reading::Ledger,
};

/// How much of each day the ledger has. Written with [`USER_ACTIVITY`], listed by none.
pub static ACTIVITY_DAYS: TableSpec = TableSpec {
    name: "clerk_activity_day",
    meaning: "For each UTC day how many users the ledger has, and how many more may have been active unseen; days \
        before the first sync are lower bounds for ever.",
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
    /// What told of it: `user` or `session`.
    pub source: &'static str,
    /// The watermark of the table that told of it, Unix milliseconds; none where nobody knows it.
    pub first_observed_at: Option<i64>,
}

/// The columns of the ledger's `rows`.
#[must_use]
pub fn activity_columns(rows: &[Activity<'_>]) -> Vec<Column> {
    let months: Vec<_> = rows.iter().map(|row| month(Some(i64::from(row.date) * DAY))).collect();
    vec![
        Column::text("user_id", "The user's id; deleted users stay.", rows.iter().map(|row| Some(row.user_id))),
        Column::date("date", "The UTC day on which the user was active.", rows.iter().map(|row| Some(row.date))),
        Column::text(
            "source",
            "What it was first seen by: `user` (its `last_active_at`) or `session` (`created_at` or `last_active_at` \
                of one that nobody impersonates the user in).",
            rows.iter().map(|row| Some(row.source)),
        ),
        Column::time(
            "first_observed_at",
            "Up to when the users or sessions were complete that it was first seen in.",
            rows.iter().map(|row| row.first_observed_at),
        ),
        Column::text(
            "month",
            "The UTC month of `date`, as 2026-11; the partition.",
            months.iter().map(|month| Some(month.as_str())),
        ),
    ]
}

/// What is known of a UTC day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActivityDay {
    /// The day, in days since 1970.
    pub date: i32,
    /// How many users the ledger has on it.
    pub active_users: i64,
    /// How many more may have been active on it, at most; none while it is not settled, and where nobody knows.
    pub unknown_users: Option<i64>,
    /// How many users were deleted while it could still be the day of their last activity; none where nobody knows.
    pub deleted_users: Option<i64>,
    /// The watermark that it was settled at, Unix milliseconds.
    pub settled_at: Option<i64>,
}

impl ActivityDay {
    /// Whether nobody can have been active on it but those whom the ledger has.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.settled_at.is_some() && self.unknown_users == Some(0)
    }
}

/// The columns of these days.
#[must_use]
pub fn day_columns(days: &[ActivityDay]) -> Vec<Column> {
    vec![
        Column::date("date", "The UTC day.", days.iter().map(|day| Some(day.date))),
        Column::integer(
            "active_users",
            "How many users the ledger has on that day: so many were active at least.",
            days.iter().map(|day| Some(day.active_users)),
        ),
        Column::integer(
            "unknown_users",
            "How many more may have been active unseen, at most; null while the day is not settled, and where nobody \
                can say.",
            days.iter().map(|day| day.unknown_users),
        ),
        Column::flag(
            "complete",
            "Whether the day is settled and nobody can have been active unseen; it counts only where \
                `clerk_user_activity` has `active_users` rows of that day, as after every sync that was not cut off.",
            days.iter().map(|day| Some(day.is_complete())),
        ),
        Column::time(
            "settled_at",
            "Up to when the users were complete that the day was settled by: the first ones after it was over; null \
                before, and for days before the first sync.",
            days.iter().map(|day| day.settled_at),
        ),
        Column::integer(
            "deleted_users",
            "How many users were deleted while they could still be active on that day, seen or not; null where \
                nobody can say.",
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
    fn a_day_lies_in_the_partition_of_its_month() {
        let row = |date| Activity { user_id: "user_a", date, source: "user", first_observed_at: None };
        let rows = [row(0), row(30), row(31), row(20_757)];
        let batch = columns::batch(&activity_columns(&rows), rows.len()).unwrap();
        let months: Vec<_> = batch.column_by_name("month").unwrap().as_string::<i32>().iter().flatten().collect();
        assert_eq!(months, ["1970-01", "1970-01", "1970-02", "2026-10"]);
    }

    #[test]
    fn a_day_is_complete_once_it_is_settled_and_nobody_is_unknown() {
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
