//! The rows of the ledger: reads the observed activity from the tables, part by part, and stages the rows that the
//! ledger lacks. An observation is a day on which a user or a session shows activity.

use std::collections::BTreeMap;
use std::fmt::Write;

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Date32Type, Int64Type};
use chrono::{DateTime, Utc};
use datafusion::common::ScalarValue;
use futures::TryStreamExt;

use super::days::{Days, day};
use super::snapshots::{Snapshots, counts_by_day, sql_day};
use super::unseen::{Unseen, unseen};
use super::{LedgerState, Sources, stamped_from};
use crate::error::{Error, Result};
use crate::lake::{StagedRows, Table};
use crate::query;
use crate::resource::{ACTIVITY_DAYS, Activity, SESSIONS, USER_ACTIVITY, USERS, activity_columns};
use crate::sync::derived::as_read_error;
use crate::sync::requests::day_of;
use crate::sync::run::Run;
use crate::table::columns;

/// How many observations a part may have: this bounds the memory.
const MAX_PER_PART: i64 = 250_000;

/// Days with at most this distance are looked up in the ledger as one range.
const MAX_GAP: i32 = 7;

/// The first day that a row may have, 2000-01-01, in days since 1970.
const FIRST_DAY: i32 = 10_957;

/// The day after the last day that a row may have, 2099-12-31.
const END_DAY: i32 = 47_482;

/// A day in microseconds.
const DAY: i64 = 86_400_000_000;

/// The rows to read. Times are Unix microseconds.
pub(super) struct Scope {
    /// Reads users active since this time; `None` for all.
    users_active: Option<i64>,
    /// Also reads users written since this time; `None` if no row was rejected before.
    users_written: Option<i64>,
    /// Reads sessions written since this time; `None` for all.
    sessions_written: Option<i64>,
}

impl Scope {
    /// Returns the rows that may show activity that the ledger lacks, if it has seen everything up to `since`.
    ///
    /// A user who was active after the last fill of the ledger has a last active day on or after that time. Only a user
    /// whose row was rejected then may have an older one. A session may be old but seen for the first time.
    pub(super) fn of(since: Option<DateTime<Utc>>, state: &LedgerState, sources: &Sources) -> Self {
        let since = since.zip(sources.users_at).map(|(since, at)| day_of(since.min(at)).timestamp_micros());
        let users_written = sources.users_commits.as_deref().and_then(stamped_from);
        let sessions_written = sources.sessions_commits.as_deref().and_then(stamped_from);
        Self {
            users_active: since.filter(|_| users_written.is_some()),
            users_written: users_written.filter(|_| state.unread > 0),
            sessions_written: since.and(sessions_written),
        }
    }

    pub(super) fn is_everything(&self) -> bool {
        self.users_active.is_none() && self.sessions_written.is_none()
    }

    /// Returns the query parameters for days from `first` on and before `end`.
    fn values(&self, first: i32, end: i32) -> Vec<(String, ScalarValue)> {
        let moment = |micros| ScalarValue::TimestampMicrosecond(Some(micros), Some("UTC".into()));
        let values = [
            ("first", Some(i64::from(first) * DAY)),
            ("end", Some(i64::from(end) * DAY)),
            ("users_active", self.users_active),
            ("users_written", self.users_written),
            ("sessions_written", self.sessions_written),
        ];
        values.into_iter().filter_map(|(name, micros)| Some((name.to_owned(), moment(micros?)))).collect()
    }
}

/// Rows that the ledger lacks, staged.
pub(super) struct NewRows {
    pub staged: StagedRows,
    /// The number of new rows for each day.
    pub counts: BTreeMap<i32, i64>,
}

impl Snapshots {
    /// Reads the days as the last run committed them.
    pub(super) async fn days(&self) -> Result<Days> {
        if !self.has(&ACTIVITY_DAYS) {
            return Ok(Days::default());
        }
        Days::read(&self.collect(&format!("SELECT * FROM {}", ACTIVITY_DAYS.name), Vec::new()).await?)
    }

    /// Stages the observations that the ledger lacks. Memory is bounded by the size of a part.
    pub(super) async fn new_rows(
        &self,
        run: &Run<'_>,
        sources: &Sources,
        scope: &Scope,
        ledger: &Table,
    ) -> Result<NewRows> {
        // No row may have a day that has not started. The counts are estimates: observations before the user was
        // created are removed only when each part is staged.
        let end = END_DAY.min(day(run.latest_clerk_time()).saturating_add(1));
        let sql = format!("SELECT date, count(*) AS found FROM ({}) GROUP BY date", self.observations(scope, false));
        let found = counts_by_day(&self.collect(&sql, scope.values(FIRST_DAY, end)).await?)?;
        let observations = self.observations(scope, true);
        let (mut staged, mut counts) = (Vec::new(), BTreeMap::new());
        for part in parts(&found) {
            if run.sync.stop.is_cancelled() {
                return Err(Error::interrupted());
            }
            let rows =
                self.stage(run, sources, scope, ledger, (observations.as_str(), part.as_slice()), &mut counts).await?;
            staged.extend(Some(rows).filter(|rows| rows.rows > 0));
            let rows: u64 = staged.iter().map(|part: &StagedRows| part.rows).sum();
            run.sync.progress.advanced(USER_ACTIVITY.name, rows);
        }
        Ok(NewRows { staged: StagedRows::all(staged), counts })
    }

    /// Stages the observations on the days of `part` that the ledger lacks.
    async fn stage(
        &self,
        run: &Run<'_>,
        sources: &Sources,
        scope: &Scope,
        ledger: &Table,
        (observations, part): (&str, &[i32]),
        counts: &mut BTreeMap<i32, i64>,
    ) -> Result<StagedRows> {
        let (Some(first), Some(last)) = (part.first(), part.last()) else { return Ok(StagedRows::default()) };
        let mut sql = format!(
            "SELECT seen.user_id, seen.date, seen.origin FROM \
             (SELECT user_id, date, min(origin) AS origin FROM ({observations}) GROUP BY user_id, date) AS seen"
        );
        if self.has(&USER_ACTIVITY.table) {
            let (name, among) = (USER_ACTIVITY.table.name, among(part));
            let _ = write!(
                sql,
                " LEFT ANTI JOIN (SELECT user_id, date FROM {name} WHERE {among}) AS known \
                 ON seen.user_id = known.user_id AND seen.date = known.date"
            );
        }
        // Sorted by day, so that a reader of some days can skip row groups.
        sql.push_str(" ORDER BY seen.date");
        let rows = query::sql(&self.context, &sql, scope.values(*first, *last + 1)).await.map_err(as_read_error)?;
        let failed = |error| as_read_error(query::failed(&error));
        let mut rows = rows.execute_stream().await.map_err(failed)?;
        let mut writer = ledger.writer()?;
        while let Some(batch) = rows.try_next().await.map_err(failed)? {
            writer.write(&ledger_rows(&batch, sources, counts)?, run.synced_at_micros()).await?;
        }
        writer.finish().await
    }

    /// Returns the SQL of the observations from `$first` to `$end`: one row each, with the user, the day, and the
    /// origin (0 for a user, 1 for a session). If `checked`, session days before the user was created are left out, or
    /// before the session was created if the user is unknown. User days before the user was created are always left
    /// out.
    fn observations(&self, scope: &Scope, checked: bool) -> String {
        let mut parts = Vec::new();
        let observation = |table: &str, id: &str, at: &str, origin: u8, of: &str| {
            format!(
                "SELECT {id} AS user_id, CAST({at} AS DATE) AS date, {origin} AS origin FROM {table} \
                 WHERE {at} >= $first AND {at} < $end{of}"
            )
        };
        if self.has(&USERS.table) {
            let of = match (scope.users_active, scope.users_written) {
                (None, _) => "",
                (Some(_), None) => " AND last_active_at >= $users_active",
                (Some(_), Some(_)) => " AND (last_active_at >= $users_active OR _synced_at >= $users_written)",
            };
            let of =
                format!("{of} AND (created_at IS NULL OR CAST(created_at AS DATE) <= CAST(last_active_at AS DATE))");
            parts.push(observation(USERS.table.name, "id", "last_active_at", 0, &of));
        }
        if self.has(&SESSIONS.table) {
            // During impersonation the actor is active, not the user.
            let mut of = " AND user_id IS NOT NULL AND (actor IS NULL OR actor = 'null')".to_owned();
            if scope.sessions_written.is_some() {
                of.push_str(" AND _synced_at >= $sessions_written");
            }
            if checked {
                parts.push(self.session_observations(&of));
            } else {
                parts.extend(
                    ["created_at", "last_active_at"].map(|at| observation(SESSIONS.table.name, "user_id", at, 1, &of)),
                );
            }
        }
        parts.join(" UNION ALL ")
    }

    /// Returns the SQL of the observations of sessions that meet the condition `of`, without days before the user
    /// existed.
    fn session_observations(&self, of: &str) -> String {
        let sessions = SESSIONS.table.name;
        let times = ["created_at", "last_active_at"].map(|at| {
            format!(
                "SELECT user_id, CAST(created_at AS DATE) AS began, CAST({at} AS DATE) AS date FROM {sessions} \
                 WHERE {at} >= $first AND {at} < $end{of}"
            )
        });
        let times = times.join(" UNION ALL ");
        let (join, born) = if self.has(&USERS.table) {
            (
                format!(" LEFT JOIN {} AS owner ON owner.id = told.user_id", USERS.table.name),
                "CAST(owner.created_at AS DATE), ",
            )
        } else {
            (String::new(), "")
        };
        format!(
            "SELECT told.user_id, told.date, 1 AS origin FROM ({times}) AS told{join} \
             WHERE coalesce({born}told.began, told.date) <= told.date"
        )
    }

    /// Counts the users on each day in the ledger, including the new rows: on the days of the new rows, or on all days.
    pub(super) async fn counts(&self, new: &NewRows, all: bool) -> Result<BTreeMap<i32, i64>> {
        let mut counts = BTreeMap::new();
        if self.has(&USER_ACTIVITY.table) && (all || !new.counts.is_empty()) {
            let days: Vec<i32> = new.counts.keys().copied().collect();
            let among = if all { "true".to_owned() } else { among(&days) };
            let name = USER_ACTIVITY.table.name;
            let sql = format!("SELECT date, count(*) AS users FROM {name} WHERE {among} GROUP BY date");
            counts = counts_by_day(&self.collect(&sql, Vec::new()).await?)?;
        }
        for (day, users) in &new.counts {
            *counts.entry(*day).or_default() += users;
        }
        Ok(counts)
    }

    /// Counts the users who may have been active unseen on each of `days`, which are about to be settled.
    pub(super) async fn unseen(&self, new: &NewRows, days: &[i32], until: i32) -> Result<BTreeMap<i32, Unseen>> {
        const STAGED: &str = "staged";
        let mut parts = Vec::new();
        if self.has(&USER_ACTIVITY.table) {
            parts.push(USER_ACTIVITY.table.name);
        }
        if new.staged.rows > 0 {
            let provider = new.staged.provider(&self.lake, &USER_ACTIVITY.table)?;
            self.context.register_table(STAGED, provider).map_err(|error| query::failed(&error))?;
            parts.push(STAGED);
        }
        unseen(self, &parts, days, until).await
    }
}

/// Returns the SQL condition that selects `days`, which are in ascending order. It consists of ranges, so that files of
/// other days can be skipped; the ranges may include days that are not in `days`.
fn among(days: &[i32]) -> String {
    let mut ranges: Vec<(i32, i32)> = Vec::new();
    for day in days {
        match ranges.last_mut() {
            Some((_, last)) if *day - *last <= MAX_GAP => *last = *day,
            _ => ranges.push((*day, *day)),
        }
    }
    let ranges =
        ranges.into_iter().map(|(first, last)| format!("(date >= {} AND date <= {})", sql_day(first), sql_day(last)));
    let ranges: Vec<String> = ranges.collect();
    if ranges.is_empty() { "false".to_owned() } else { ranges.join(" OR ") }
}

/// Splits the days of `found` into parts of at most `MAX_PER_PART` observations, with at least one day each.
fn parts(found: &BTreeMap<i32, i64>) -> Vec<Vec<i32>> {
    let mut parts: Vec<Vec<i32>> = Vec::new();
    let mut size = 0;
    for (day, times) in found {
        match parts.last_mut() {
            Some(part) if size + times <= MAX_PER_PART => {
                size += times;
                part.push(*day);
            }
            _ => {
                size = *times;
                parts.push(vec![*day]);
            }
        }
    }
    parts
}

/// Converts a batch of users, days and origins to rows of the ledger. Adds the number of rows of each day to `counts`.
fn ledger_rows(batch: &RecordBatch, sources: &Sources, counts: &mut BTreeMap<i32, i64>) -> Result<RecordBatch> {
    let bug = |error: arrow::error::ArrowError| Error::bug(error.to_string());
    let ids = cast(batch.column(0), &DataType::Utf8).map_err(bug)?;
    let dates = batch.column(1).as_primitive_opt::<Date32Type>();
    let origins = batch.column(2).as_primitive_opt::<Int64Type>();
    let (Some(ids), Some(dates), Some(origins)) = (ids.as_string_opt::<i32>(), dates, origins) else {
        return Err(Error::bug("the query must return a user id, a date and an origin"));
    };
    let [user, session] = [sources.users_at, sources.sessions_at].map(|at| at.map(|at| at.timestamp_millis()));
    let mut rows = Vec::with_capacity(batch.num_rows());
    for ((id, date), origin) in ids.iter().zip(dates.iter()).zip(origins.iter()) {
        let (Some(user_id), Some(date)) = (id, date) else { continue };
        let (source, first_observed_at) = if origin == Some(0) { ("user", user) } else { ("session", session) };
        *counts.entry(date).or_default() += 1;
        rows.push(Activity { user_id, date, source, first_observed_at });
    }
    columns::batch(&activity_columns(&rows), rows.len()).map_err(bug)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearby_days_are_looked_up_as_one_range() {
        assert_eq!(among(&[]), "false");
        assert_eq!(among(&[0]), "(date >= DATE '1970-01-01' AND date <= DATE '1970-01-01')");
        assert_eq!(
            among(&[20_757, 20_758, 20_765, 20_800]),
            "(date >= DATE '2026-10-31' AND date <= DATE '2026-11-08') OR \
             (date >= DATE '2026-12-13' AND date <= DATE '2026-12-13')"
        );
        assert_eq!(sql_day(FIRST_DAY), "DATE '2000-01-01'");
        assert_eq!(sql_day(END_DAY - 1), "DATE '2099-12-31'");
    }

    #[test]
    fn a_part_is_limited_in_size_but_holds_at_least_one_day() {
        let found = BTreeMap::from([(1, MAX_PER_PART - 1), (2, 1), (3, 1), (5, MAX_PER_PART * 2), (6, 1)]);
        assert_eq!(parts(&found), [vec![1, 2], vec![3], vec![5], vec![6]]);
        assert_eq!(parts(&BTreeMap::new()), Vec::<Vec<i32>>::new());
    }
}
