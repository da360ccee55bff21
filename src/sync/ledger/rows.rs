//! The ledger's rows: what the tables tell of, a part at a time, and which of it the ledger does not have yet.

use std::collections::BTreeMap;
use std::fmt::Write;

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Date32Type, Int64Type};
use chrono::{DateTime, Utc};
use datafusion::common::ScalarValue;
use futures::TryStreamExt;

use super::days::{Days, day};
use super::snapshots::{Snapshots, numbers, sql_day};
use super::unseen::{Unseen, unseen};
use super::{Sources, Standing, stamped_from};
use crate::error::{Error, Result};
use crate::lake::{StagedRows, Table};
use crate::query;
use crate::resource::{ACTIVITY_DAYS, Activity, SESSIONS, USER_ACTIVITY, USERS, activity_columns};
use crate::sync::derived::not_read;
use crate::sync::requests::day_of;
use crate::sync::run::Run;
use crate::table::columns;

/// So many times that the tables tell of a day are looked at together: what is held in memory.
const MOST_AT_ONCE: i64 = 250_000;

/// Days that are closer than that are looked up together in the ledger.
const NEAR: i32 = 7;

/// The first day that a row may have, 2000-01-01, in days since 1970.
const FIRST_DAY: i32 = 10_957;

/// The day after the last one that a row may have, 2099-12-31.
const END_OF_DAYS: i32 = 47_482;

/// A day in microseconds.
const DAY: i64 = 86_400_000_000;

/// What the rows that are looked at have in common. Moments are Unix microseconds.
pub(super) struct Scope {
    /// Users active since then; none for all.
    users_active: Option<i64>,
    /// Users written since then, too; none where all that were there before could be read.
    users_written: Option<i64>,
    /// Sessions written since then; none for all.
    sessions_written: Option<i64>,
}

impl Scope {
    /// What may tell of days that the ledger lacks, where it has seen everything up to `since`.
    ///
    /// Whoever was active after the ledger's last filling has a last day that is not before it. Only who could not be
    /// read then may have an older one; and a session may be an old one that is seen for the first time.
    pub(super) fn of(since: Option<DateTime<Utc>>, standing: &Standing, sources: &Sources) -> Self {
        let since = since.zip(sources.users_at).map(|(since, at)| day_of(since.min(at)).timestamp_micros());
        let users_written = sources.users_commits.as_deref().and_then(stamped_from);
        let sessions_written = sources.sessions_commits.as_deref().and_then(stamped_from);
        Self {
            users_active: since.filter(|_| users_written.is_some()),
            users_written: users_written.filter(|_| standing.unread > 0),
            sessions_written: since.and(sessions_written),
        }
    }

    pub(super) fn is_everything(&self) -> bool {
        self.users_active.is_none() && self.sessions_written.is_none()
    }

    /// The values of its conditions, for days from `first` on and before `end`.
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

/// Rows that the ledger does not have, staged.
pub(super) struct NewRows {
    pub staged: StagedRows,
    /// How many there are of each day.
    pub counts: BTreeMap<i32, i64>,
}

impl Snapshots {
    /// The days as they were left.
    pub(super) async fn days(&self) -> Result<Days> {
        if !self.has(&ACTIVITY_DAYS) {
            return Ok(Days::default());
        }
        Days::read(&self.ask(&format!("SELECT * FROM {}", ACTIVITY_DAYS.name), Vec::new()).await?)
    }

    /// Stages what the tables tell of and the ledger lacks. Memory is that of a part, whatever there is in all.
    pub(super) async fn new_rows(
        &self,
        run: &Run<'_>,
        sources: &Sources,
        scope: &Scope,
        ledger: &Table,
    ) -> Result<NewRows> {
        // No row may have a day that has not begun. How much there is of each is an estimate: what is told of days
        // before a user existed is left out only as each part is staged.
        let end = END_OF_DAYS.min(day(run.latest()).saturating_add(1));
        let sql = format!("SELECT date, count(*) AS found FROM ({}) GROUP BY date", self.told(scope, false));
        let found = numbers(&self.ask(&sql, scope.values(FIRST_DAY, end)).await?)?;
        let told = self.told(scope, true);
        let (mut staged, mut counts) = (Vec::new(), BTreeMap::new());
        for part in parts(&found) {
            if run.sync.stop.is_cancelled() {
                return Err(Error::interrupted());
            }
            let rows = self.stage(run, sources, scope, ledger, (told.as_str(), part.as_slice()), &mut counts).await?;
            staged.extend(Some(rows).filter(|rows| rows.rows > 0));
            let rows: u64 = staged.iter().map(|part: &StagedRows| part.rows).sum();
            run.sync.progress.advanced(USER_ACTIVITY.name, rows);
        }
        Ok(NewRows { staged: StagedRows::all(staged), counts })
    }

    /// Stages what the tables tell of on the days of `part` and the ledger lacks.
    async fn stage(
        &self,
        run: &Run<'_>,
        sources: &Sources,
        scope: &Scope,
        ledger: &Table,
        (told, part): (&str, &[i32]),
        counts: &mut BTreeMap<i32, i64>,
    ) -> Result<StagedRows> {
        let (Some(first), Some(last)) = (part.first(), part.last()) else { return Ok(StagedRows::default()) };
        let mut sql = format!(
            "SELECT seen.user_id, seen.date, seen.origin FROM \
             (SELECT user_id, date, min(origin) AS origin FROM ({told}) GROUP BY user_id, date) AS seen"
        );
        if self.has(&USER_ACTIVITY.table) {
            let (name, among) = (USER_ACTIVITY.table.name, among(part));
            let _ = write!(
                sql,
                " LEFT ANTI JOIN (SELECT user_id, date FROM {name} WHERE {among}) AS known \
                 ON seen.user_id = known.user_id AND seen.date = known.date"
            );
        }
        // A reader who asks for some days passes over the others.
        sql.push_str(" ORDER BY seen.date");
        let rows = query::sql(&self.session, &sql, scope.values(*first, *last + 1)).await.map_err(not_read)?;
        let failed = |error| not_read(query::failed(&error));
        let mut rows = rows.execute_stream().await.map_err(failed)?;
        let mut writer = ledger.writer()?;
        while let Some(batch) = rows.try_next().await.map_err(failed)? {
            writer.write(&ledger_rows(&batch, sources, counts)?, run.synced_at_micros()).await?;
        }
        writer.finish().await
    }

    /// The days that the tables tell of, in `$first` to `$end`, a row for each time that they tell of one: the user,
    /// the day, and 0 for a user or 1 for a session. If `checked`, days of sessions before their user was created are
    /// left out (before the session began, if the user is unknown); those of users always are.
    fn told(&self, scope: &Scope, checked: bool) -> String {
        let mut parts = Vec::new();
        let told = |table: &str, id: &str, at: &str, origin: u8, of: &str| {
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
            parts.push(told(USERS.table.name, "id", "last_active_at", 0, &of));
        }
        if self.has(&SESSIONS.table) {
            // Whoever impersonates a user is active, and the user is not.
            let mut of = " AND user_id IS NOT NULL AND (actor IS NULL OR actor = 'null')".to_owned();
            if scope.sessions_written.is_some() {
                of.push_str(" AND _synced_at >= $sessions_written");
            }
            if checked {
                parts.push(self.told_by_sessions(&of));
            } else {
                parts.extend(
                    ["created_at", "last_active_at"].map(|at| told(SESSIONS.table.name, "user_id", at, 1, &of)),
                );
            }
        }
        parts.join(" UNION ALL ")
    }

    /// What sessions that meet the condition `of` tell of, but for days before their user existed.
    fn told_by_sessions(&self, of: &str) -> String {
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

    /// How many users the ledger has with the new rows: on the days of these, or on all.
    pub(super) async fn counts(&self, new: &NewRows, all: bool) -> Result<BTreeMap<i32, i64>> {
        let mut counts = BTreeMap::new();
        if self.has(&USER_ACTIVITY.table) && (all || !new.counts.is_empty()) {
            let days: Vec<i32> = new.counts.keys().copied().collect();
            let among = if all { "true".to_owned() } else { among(&days) };
            let name = USER_ACTIVITY.table.name;
            let sql = format!("SELECT date, count(*) AS users FROM {name} WHERE {among} GROUP BY date");
            counts = numbers(&self.ask(&sql, Vec::new()).await?)?;
        }
        for (day, users) in &new.counts {
            *counts.entry(*day).or_default() += users;
        }
        Ok(counts)
    }

    /// Who may have been active unseen on each of `days`, which are to be settled.
    pub(super) async fn unseen(&self, new: &NewRows, days: &[i32], until: i32) -> Result<BTreeMap<i32, Unseen>> {
        const STAGED: &str = "staged";
        let mut parts = Vec::new();
        if self.has(&USER_ACTIVITY.table) {
            parts.push(USER_ACTIVITY.table.name);
        }
        if new.staged.rows > 0 {
            let provider = new.staged.provider(&self.lake, &USER_ACTIVITY.table)?;
            self.session.register_table(STAGED, provider).map_err(|error| query::failed(&error))?;
            parts.push(STAGED);
        }
        unseen(self, &parts, days, until).await
    }
}

/// The condition that `date` is one of `days`, in ascending order, or among them: ranges, by which files of other
/// days are passed over.
fn among(days: &[i32]) -> String {
    let mut ranges: Vec<(i32, i32)> = Vec::new();
    for day in days {
        match ranges.last_mut() {
            Some((_, last)) if *day - *last <= NEAR => *last = *day,
            _ => ranges.push((*day, *day)),
        }
    }
    let ranges =
        ranges.into_iter().map(|(first, last)| format!("(date >= {} AND date <= {})", sql_day(first), sql_day(last)));
    let ranges: Vec<String> = ranges.collect();
    if ranges.is_empty() { "false".to_owned() } else { ranges.join(" OR ") }
}

/// The days of `found` in parts of so many times at most, a single day being the least.
fn parts(found: &BTreeMap<i32, i64>) -> Vec<Vec<i32>> {
    let mut parts: Vec<Vec<i32>> = Vec::new();
    let mut size = 0;
    for (day, times) in found {
        match parts.last_mut() {
            Some(part) if size + times <= MOST_AT_ONCE => {
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

/// `batch` of users, days and origins as rows of the ledger; `counts` takes in how many there are of each day.
fn ledger_rows(batch: &RecordBatch, sources: &Sources, counts: &mut BTreeMap<i32, i64>) -> Result<RecordBatch> {
    let bug = |error: arrow::error::ArrowError| Error::bug(error.to_string());
    let ids = cast(batch.column(0), &DataType::Utf8).map_err(bug)?;
    let dates = batch.column(1).as_primitive_opt::<Date32Type>();
    let origins = batch.column(2).as_primitive_opt::<Int64Type>();
    let (Some(ids), Some(dates), Some(origins)) = (ids.as_string_opt::<i32>(), dates, origins) else {
        return Err(Error::bug("rows of the ledger were asked for, and something else was given"));
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
    fn days_near_to_each_other_are_looked_up_together() {
        assert_eq!(among(&[]), "false");
        assert_eq!(among(&[0]), "(date >= DATE '1970-01-01' AND date <= DATE '1970-01-01')");
        assert_eq!(
            among(&[20_757, 20_758, 20_765, 20_800]),
            "(date >= DATE '2026-10-31' AND date <= DATE '2026-11-08') OR \
             (date >= DATE '2026-12-13' AND date <= DATE '2026-12-13')"
        );
        assert_eq!(sql_day(FIRST_DAY), "DATE '2000-01-01'");
        assert_eq!(sql_day(END_OF_DAYS - 1), "DATE '2099-12-31'");
    }

    #[test]
    fn a_part_holds_so_much_and_a_day_at_least() {
        let found = BTreeMap::from([(1, MOST_AT_ONCE - 1), (2, 1), (3, 1), (5, MOST_AT_ONCE * 2), (6, 1)]);
        assert_eq!(parts(&found), [vec![1, 2], vec![3], vec![5], vec![6]]);
        assert_eq!(parts(&BTreeMap::new()), Vec::<Vec<i32>>::new());
    }
}
