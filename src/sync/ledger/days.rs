//! How complete each day is: pure functions of the previous state of the days and of new counts.

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray, PrimitiveArray, RecordBatch};
use arrow::datatypes::{ArrowPrimitiveType, Date32Type, Int64Type, TimestampMicrosecondType};
use chrono::{DateTime, Utc};

use super::unseen::Unseen;
use crate::error::{Error, Result};
use crate::resource::ActivityDay;

/// The days by date, in days since 1970.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Days(BTreeMap<i32, ActivityDay>);

/// The time frame in which a run evaluates the days. Dates are days since 1970.
#[derive(Clone, Copy, Debug)]
pub(super) struct TimeFrame {
    /// The time up to which the users are complete.
    pub at: DateTime<Utc>,
    /// The first day whose activity the last fill of the ledger may not have seen completely.
    pub from: i32,
    /// The day before which the last fill had settled all days; `None` if this is the first fill.
    pub settled: Option<i32>,
    /// The day of `at`.
    pub today: i32,
    /// The last day that can have started when the users were read.
    pub until: i32,
    /// How many users were deleted since the last fill; `None` if unknown.
    pub deleted: Option<i64>,
}

/// Returns the UTC day of a time, in days since 1970.
pub(super) fn day(moment: DateTime<Utc>) -> i32 {
    i32::try_from(moment.timestamp().div_euclid(86_400)).unwrap_or(i32::MAX)
}

impl Days {
    /// Reads the days from batches of `clerk_activity_day`.
    pub(super) fn read(batches: &[RecordBatch]) -> Result<Self> {
        let mut days = Self::default();
        for batch in batches {
            let dates = column::<Date32Type>(batch, "date")?;
            let active = column::<Int64Type>(batch, "active_users")?;
            let unknown = column::<Int64Type>(batch, "unknown_users")?;
            let deleted = column::<Int64Type>(batch, "deleted_users")?;
            let settled = column::<TimestampMicrosecondType>(batch, "settled_at")?;
            for row in 0..batch.num_rows() {
                let date = dates.value(row);
                let known = ActivityDay {
                    date,
                    active_users: active.value(row),
                    unknown_users: unknown.is_valid(row).then(|| unknown.value(row)),
                    deleted_users: deleted.is_valid(row).then(|| deleted.value(row)),
                    settled_at: settled.is_valid(row).then(|| settled.value(row).div_euclid(1000)),
                };
                days.0.insert(date, known);
            }
        }
        Ok(days)
    }

    /// Returns all days, earliest first.
    pub(super) fn rows(&self) -> Vec<ActivityDay> {
        self.0.values().copied().collect()
    }

    /// Adds the days of `frame`, and the deleted users who may have been active on them.
    pub(super) fn add_deletions(&mut self, frame: &TimeFrame) {
        for date in frame.from..=frame.until {
            // A day that may not have started yet matters only if users have already been deleted.
            if date > frame.today && frame.deleted == Some(0) {
                break;
            }
            let day = self.0.entry(date).or_insert_with(|| ActivityDay::new(date, Some(0)));
            if day.settled_at.is_none() {
                day.deleted_users = day.deleted_users.zip(frame.deleted).map(|(before, now)| before + now);
            }
        }
    }

    /// Sets how many users the ledger has on each day of `counts`. If `all`, every other day has none. A new day on or
    /// after `from` has no deletions other than those added by [`Days::add_deletions`]; for any other new day, the
    /// deletions are unknown.
    pub(super) fn set_counts(&mut self, counts: &BTreeMap<i32, i64>, all: bool, from: Option<i32>) {
        for (date, users) in counts {
            let deleted = from.filter(|from| date >= from).map(|_| 0);
            self.0.entry(*date).or_insert_with(|| ActivityDay::new(*date, deleted)).set_active_users(*users);
        }
        if all {
            for (_, day) in self.0.iter_mut().filter(|(date, _)| !counts.contains_key(*date)) {
                day.set_active_users(0);
            }
        }
    }

    /// Returns the days that have ended and are not settled yet.
    pub(super) fn due(&self, frame: &TimeFrame) -> Vec<i32> {
        let Some(first) = frame.settled.filter(|first| *first < frame.today) else { return Vec::new() };
        let days = self.0.range(first..frame.today);
        days.filter(|(_, day)| day.settled_at.is_none()).map(|(date, _)| *date).collect()
    }

    /// Returns how many users were deleted who may have been active on this day; `None` if unknown.
    pub(super) fn deleted_on(&self, date: i32) -> Option<i64> {
        self.0.get(&date)?.deleted_users
    }

    /// Settles a day: later syncs can only add what sessions show. `unread` is the number of users whose rows are
    /// rejected.
    pub(super) fn settle(&mut self, date: i32, unseen: Unseen, unread: i64, at_millis: i64) {
        let Some(day) = self.0.get_mut(&date) else { return };
        day.settled_at = Some(at_millis);
        day.unknown_users =
            day.deleted_users.map(|deleted| unseen.later + (deleted - unseen.deleted_but_seen).max(0) + unread);
    }
}

impl ActivityDay {
    fn new(date: i32, deleted_users: Option<i64>) -> Self {
        Self { date, active_users: 0, unknown_users: None, deleted_users, settled_at: None }
    }

    /// Sets how many users the ledger has on this day. Each additional user was one of the unknown ones.
    fn set_active_users(&mut self, users: i64) {
        self.unknown_users = self.unknown_users.map(|unknown| (unknown + self.active_users - users).max(0));
        self.active_users = users;
    }
}

/// Returns a column of the table of days in its type.
fn column<'b, T: ArrowPrimitiveType>(batch: &'b RecordBatch, name: &str) -> Result<&'b PrimitiveArray<T>> {
    let column = batch.column_by_name(name).and_then(|column| column.as_primitive_opt::<T>());
    column.ok_or_else(|| Error::bug(format!("the table of days has no column {name} of the expected type")))
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    const FIRST: i32 = 20_000;

    fn at(date: i32, hour: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::days(i64::from(date)) + TimeDelta::hours(hour)
    }

    /// Returns the time frame of a sync at `now` after one at `before`, as (date, hour).
    fn time_frame(before: Option<(i32, i64)>, now: (i32, i64), deleted: Option<i64>) -> TimeFrame {
        let from = before.unwrap_or(now).0;
        let settled = before.map(|(date, _)| date);
        TimeFrame { at: at(now.0, now.1), from, settled, today: now.0, until: now.0, deleted }
    }

    fn unseen(later: i64, deleted_but_seen: i64) -> Unseen {
        Unseen { later, deleted_but_seen }
    }

    /// Returns the days after a first sync at noon of [`FIRST`] and a second one at noon of the next day, between which
    /// `deleted` users were deleted.
    fn days_after_two_syncs(deleted: Option<i64>) -> Days {
        let mut days = Days::default();
        days.add_deletions(&time_frame(None, (FIRST, 12), None));
        days.add_deletions(&time_frame(Some((FIRST, 12)), (FIRST + 1, 12), deleted));
        days.set_counts(&BTreeMap::from([(FIRST - 3, 2), (FIRST, 5), (FIRST + 1, 4)]), false, Some(FIRST));
        days
    }

    /// Returns the second of these days, settled by a sync on the third day.
    fn settled(deleted: Option<i64>, unseen: Unseen, unread: i64) -> ActivityDay {
        let mut days = days_after_two_syncs(deleted);
        let frame = time_frame(Some((FIRST + 1, 12)), (FIRST + 2, 1), Some(0));
        days.add_deletions(&frame);
        assert_eq!(days.due(&frame), [FIRST + 1]);
        days.settle(FIRST + 1, unseen, unread, frame.at.timestamp_millis());
        days.0[&(FIRST + 1)]
    }

    #[test]
    fn days_up_to_the_first_sync_are_never_complete() {
        let mut days = days_after_two_syncs(Some(0));
        let frame = time_frame(Some((FIRST, 12)), (FIRST + 1, 12), Some(0));
        assert_eq!(days.due(&frame), [FIRST]);
        days.settle(FIRST, unseen(0, 0), 0, frame.at.timestamp_millis());
        let (before, first) = (days.0[&(FIRST - 3)], days.0[&FIRST]);
        assert_eq!((before.active_users, before.unknown_users, before.settled_at), (2, None, None));
        assert_eq!((first.active_users, first.unknown_users), (5, None));
        assert_eq!(first.settled_at, Some(frame.at.timestamp_millis()));
        assert!(!first.is_complete());
    }

    #[test]
    fn a_day_is_complete_if_no_later_deleted_or_unread_user_can_hide_activity() {
        assert!(settled(Some(0), unseen(0, 0), 0).is_complete());
        assert_eq!(settled(Some(0), unseen(2, 0), 0).unknown_users, Some(2));
        assert_eq!(settled(Some(3), unseen(2, 0), 1).unknown_users, Some(6));
        assert_eq!(settled(Some(3), unseen(0, 2), 0).unknown_users, Some(1));
        assert!(settled(Some(3), unseen(0, 3), 0).is_complete());
        assert_eq!(settled(None, unseen(0, 0), 0).unknown_users, None);
    }

    #[test]
    fn users_deleted_around_midnight_may_have_been_active_on_either_day() {
        let mut days = days_after_two_syncs(Some(0));
        let mut late = time_frame(Some((FIRST + 1, 12)), (FIRST + 1, 23), Some(2));
        late.until = FIRST + 2;
        days.add_deletions(&late);
        days.add_deletions(&time_frame(Some((FIRST + 1, 23)), (FIRST + 2, 1), Some(1)));
        assert_eq!((days.deleted_on(FIRST + 1), days.deleted_on(FIRST + 2)), (Some(3), Some(3)));
    }

    #[test]
    fn a_day_that_has_not_started_is_added_only_if_users_were_deleted() {
        let mut days = days_after_two_syncs(Some(0));
        let mut late = time_frame(Some((FIRST + 1, 12)), (FIRST + 1, 23), Some(0));
        late.until = FIRST + 2;
        days.add_deletions(&late);
        assert_eq!(days.deleted_on(FIRST + 2), None);
        assert_eq!(days.rows().len(), 3);
        days.add_deletions(&time_frame(Some((FIRST + 1, 23)), (FIRST + 2, 1), Some(0)));
        assert_eq!(days.deleted_on(FIRST + 2), Some(0));
    }

    #[test]
    fn a_user_found_later_reduces_the_unknown_users() {
        let mut day = settled(Some(0), unseen(3, 0), 0);
        day.set_active_users(6);
        assert_eq!((day.active_users, day.unknown_users, day.is_complete()), (6, Some(1), false));
        day.set_active_users(7);
        assert!(day.is_complete());
        // The run that counted seven never committed two of them.
        day.set_active_users(5);
        assert_eq!((day.unknown_users, day.is_complete()), (Some(2), false));
    }

    #[test]
    fn a_settled_day_is_not_settled_again() {
        let mut days = days_after_two_syncs(Some(0));
        let frame = time_frame(Some((FIRST + 1, 12)), (FIRST + 2, 1), Some(0));
        days.add_deletions(&frame);
        days.settle(FIRST + 1, unseen(0, 0), 0, frame.at.timestamp_millis());
        assert_eq!(days.due(&frame), Vec::<i32>::new());
        days.add_deletions(&TimeFrame { deleted: Some(4), ..frame });
        assert!(days.0[&(FIRST + 1)].is_complete());
    }

    #[test]
    fn counting_all_days_again_removes_users_that_the_ledger_lacks() {
        let mut days = days_after_two_syncs(Some(0));
        days.set_counts(&BTreeMap::from([(FIRST, 4)]), true, None);
        let active: Vec<_> = days.rows().iter().map(|day| (day.date, day.active_users)).collect();
        assert_eq!(active, [(FIRST - 3, 0), (FIRST, 4), (FIRST + 1, 0)]);
    }
}
