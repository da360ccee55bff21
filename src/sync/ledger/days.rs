//! What is known of each day: worked out from what it was, with nothing asked of anybody.

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray, PrimitiveArray, RecordBatch};
use arrow::datatypes::{ArrowPrimitiveType, Date32Type, Int64Type, TimestampMicrosecondType};
use chrono::{DateTime, Utc};

use super::unseen::Unseen;
use crate::error::{Error, Result};
use crate::resource::ActivityDay;

/// Days by their date, in days since 1970.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Days(BTreeMap<i32, ActivityDay>);

/// What a run sees the days from. Dates are days since 1970.
#[derive(Clone, Copy, Debug)]
pub(super) struct View {
    /// Up to when the users are complete.
    pub at: DateTime<Utc>,
    /// The first day of whose activity the last filling of the ledger may not have seen all there was.
    pub from: i32,
    /// The day up to which, itself excluded, the last filling had settled; none where this is the first one.
    pub settled: Option<i32>,
    /// The day of `at`.
    pub today: i32,
    /// The last day that can have begun when the users were read.
    pub until: i32,
    /// How many users were deleted since the last filling; none where nobody knows.
    pub deleted: Option<i64>,
}

/// The UTC day of a moment, in days since 1970.
pub(super) fn day(moment: DateTime<Utc>) -> i32 {
    i32::try_from(moment.timestamp().div_euclid(86_400)).unwrap_or(i32::MAX)
}

impl Days {
    /// The days that `batches` hold, as `clerk_activity_day` has them.
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

    /// All of them, earliest first.
    pub(super) fn rows(&self) -> Vec<ActivityDay> {
        self.0.values().copied().collect()
    }

    /// Takes in which days have passed, and that users were deleted who may have been active on them until then.
    pub(super) fn note(&mut self, view: &View) {
        for date in view.from..=view.until {
            // A day that may not have begun yet is of interest only for whom it has lost already.
            if date > view.today && view.deleted == Some(0) {
                break;
            }
            let day = self.0.entry(date).or_insert_with(|| ActivityDay::new(date, Some(0)));
            if day.settled_at.is_none() {
                day.deleted_users = day.deleted_users.zip(view.deleted).map(|(before, now)| before + now);
            }
        }
    }

    /// Takes in how many users the ledger has on each day: on those of `counts`, or, where these are `all`, on every
    /// one. On days from `from` on nobody has been lost of whom [`Days::note`] has not heard; of others nobody knows.
    pub(super) fn count(&mut self, counts: &BTreeMap<i32, i64>, all: bool, from: Option<i32>) {
        for (date, users) in counts {
            let deleted = from.filter(|from| date >= from).map(|_| 0);
            self.0.entry(*date).or_insert_with(|| ActivityDay::new(*date, deleted)).see(*users);
        }
        if all {
            for (_, day) in self.0.iter_mut().filter(|(date, _)| !counts.contains_key(*date)) {
                day.see(0);
            }
        }
    }

    /// The days that are over by now and are to be settled.
    pub(super) fn due(&self, view: &View) -> Vec<i32> {
        let Some(first) = view.settled.filter(|first| *first < view.today) else { return Vec::new() };
        let days = self.0.range(first..view.today);
        days.filter(|(_, day)| day.settled_at.is_none()).map(|(date, _)| *date).collect()
    }

    /// How many users were deleted who may have been active on that day until then; none where nobody knows.
    pub(super) fn deleted_on(&self, date: i32) -> Option<i64> {
        self.0.get(&date)?.deleted_users
    }

    /// Settles a day: all is known of it that ever will be but for what sessions tell. `unread` users have rows that
    /// cannot be read.
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

    /// Takes in how many users the ledger has on this day. Whoever it has more of was one of the unknown ones.
    fn see(&mut self, users: i64) {
        self.unknown_users = self.unknown_users.map(|unknown| (unknown + self.active_users - users).max(0));
        self.active_users = users;
    }
}

/// A column of the table of days, in its own type.
fn column<'b, T: ArrowPrimitiveType>(batch: &'b RecordBatch, name: &str) -> Result<&'b PrimitiveArray<T>> {
    let column = batch.column_by_name(name).and_then(|column| column.as_primitive_opt::<T>());
    column.ok_or_else(|| Error::bug(format!("the table of days has no column {name} of its type")))
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    const FIRST: i32 = 20_000;

    fn at(date: i32, hour: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::days(i64::from(date)) + TimeDelta::hours(hour)
    }

    /// The view of a sync at this hour, after one at that.
    fn view(before: Option<(i32, i64)>, now: (i32, i64), deleted: Option<i64>) -> View {
        let from = before.unwrap_or(now).0;
        let settled = before.map(|(date, _)| date);
        View { at: at(now.0, now.1), from, settled, today: now.0, until: now.0, deleted }
    }

    fn unseen(later: i64, deleted_but_seen: i64) -> Unseen {
        Unseen { later, deleted_but_seen }
    }

    /// Days after a first sync at noon of [`FIRST`] and one at noon a day later, by which so many were deleted.
    fn followed(deleted: Option<i64>) -> Days {
        let mut days = Days::default();
        days.note(&view(None, (FIRST, 12), None));
        days.note(&view(Some((FIRST, 12)), (FIRST + 1, 12), deleted));
        days.count(&BTreeMap::from([(FIRST - 3, 2), (FIRST, 5), (FIRST + 1, 4)]), false, Some(FIRST));
        days
    }

    /// The same, settled by a sync on the next day.
    fn settled(deleted: Option<i64>, unseen: Unseen, unread: i64) -> ActivityDay {
        let mut days = followed(deleted);
        let view = view(Some((FIRST + 1, 12)), (FIRST + 2, 1), Some(0));
        days.note(&view);
        assert_eq!(days.due(&view), [FIRST + 1]);
        days.settle(FIRST + 1, unseen, unread, view.at.timestamp_millis());
        days.0[&(FIRST + 1)]
    }

    #[test]
    fn nothing_is_known_of_days_before_the_first_sync_and_of_its_own() {
        let mut days = followed(Some(0));
        let view = view(Some((FIRST, 12)), (FIRST + 1, 12), Some(0));
        assert_eq!(days.due(&view), [FIRST]);
        days.settle(FIRST, unseen(0, 0), 0, view.at.timestamp_millis());
        let (before, first) = (days.0[&(FIRST - 3)], days.0[&FIRST]);
        assert_eq!((before.active_users, before.unknown_users, before.settled_at), (2, None, None));
        assert_eq!((first.active_users, first.unknown_users), (5, None));
        assert_eq!(first.settled_at, Some(view.at.timestamp_millis()));
        assert!(!first.is_complete());
    }

    #[test]
    fn a_day_is_complete_where_nobody_later_deleted_or_unread_can_hide_it() {
        assert!(settled(Some(0), unseen(0, 0), 0).is_complete());
        assert_eq!(settled(Some(0), unseen(2, 0), 0).unknown_users, Some(2));
        assert_eq!(settled(Some(3), unseen(2, 0), 1).unknown_users, Some(6));
        assert_eq!(settled(Some(3), unseen(0, 2), 0).unknown_users, Some(1));
        assert!(settled(Some(3), unseen(0, 3), 0).is_complete());
        assert_eq!(settled(None, unseen(0, 0), 0).unknown_users, None);
    }

    #[test]
    fn users_deleted_around_midnight_may_have_been_active_on_either_day() {
        let mut days = followed(Some(0));
        let mut late = view(Some((FIRST + 1, 12)), (FIRST + 1, 23), Some(2));
        late.until = FIRST + 2;
        days.note(&late);
        days.note(&view(Some((FIRST + 1, 23)), (FIRST + 2, 1), Some(1)));
        assert_eq!((days.deleted_on(FIRST + 1), days.deleted_on(FIRST + 2)), (Some(3), Some(3)));
    }

    #[test]
    fn a_day_that_has_not_begun_is_not_shown_before_it_matters() {
        let mut days = followed(Some(0));
        let mut late = view(Some((FIRST + 1, 12)), (FIRST + 1, 23), Some(0));
        late.until = FIRST + 2;
        days.note(&late);
        assert_eq!(days.deleted_on(FIRST + 2), None);
        assert_eq!(days.rows().len(), 3);
        days.note(&view(Some((FIRST + 1, 23)), (FIRST + 2, 1), Some(0)));
        assert_eq!(days.deleted_on(FIRST + 2), Some(0));
    }

    #[test]
    fn whoever_is_found_later_was_one_of_the_unknown() {
        let mut day = settled(Some(0), unseen(3, 0), 0);
        day.see(6);
        assert_eq!((day.active_users, day.unknown_users, day.is_complete()), (6, Some(1), false));
        day.see(7);
        assert!(day.is_complete());
        // The run that counted seven never came to commit two of them.
        day.see(5);
        assert_eq!((day.unknown_users, day.is_complete()), (Some(2), false));
    }

    #[test]
    fn a_settled_day_is_not_settled_again() {
        let mut days = followed(Some(0));
        let view = view(Some((FIRST + 1, 12)), (FIRST + 2, 1), Some(0));
        days.note(&view);
        days.settle(FIRST + 1, unseen(0, 0), 0, view.at.timestamp_millis());
        assert_eq!(days.due(&view), Vec::<i32>::new());
        days.note(&View { deleted: Some(4), ..view });
        assert!(days.0[&(FIRST + 1)].is_complete());
    }

    #[test]
    fn days_counted_anew_lose_what_the_ledger_does_not_have() {
        let mut days = followed(Some(0));
        days.count(&BTreeMap::from([(FIRST, 4)]), true, None);
        let active: Vec<_> = days.rows().iter().map(|day| (day.date, day.active_users)).collect();
        assert_eq!(active, [(FIRST - 3, 0), (FIRST, 4), (FIRST + 1, 0)]);
    }
}
