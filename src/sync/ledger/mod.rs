//! The activity ledger: on which days each user was seen active, and how complete each day is.
//!
//! Clerk shows only the *last* day on which a user was active, and the sessions that it still lists. The ledger stores
//! each observation for good, so the counts of past days do not fall when users come back. One case is lost: a user was
//! active on a day after the last sync that read the user, a later day replaced it as the last active day before the
//! next sync, and no session shows it. The ledger bounds the number of such users, day by day:
//!
//! A day is settled by the first sync whose users are complete up to a time after the day's end. At that time, each
//! user was last active on the day (the ledger has it), before the day (so not on it), or after the day. Only the last
//! group can hide activity: these users are counted if the ledger lacks the day for them. Users who are in no table may
//! also have been active, and are counted too: the users deleted since the ledger's last fill before or on that day
//! (except those whom the ledger has on that day), and the users whose rows are rejected. So the day had at most as
//! many active users as the ledger has plus those counted. This bound holds permanently, whichever run computed it and
//! whatever happened to that run: when a session shows activity on the day later, the ledger gains one user and the
//! unknown users lose one.
//!
//! Two things are not covered. Users who were created and deleted between two syncs were never in any table. And
//! nothing is known of days that had begun before the first sync, or of any day if the server sends no time.
//!
//! The ledger is committed first, then the table of days that counts its rows. Each commit of the ledger has a number,
//! and the table of days stores the number up to which it counts. A run that dies between the two commits leaves the
//! days behind. The next run then counts all days again, and takes the deletions from the table of days, not from the
//! ledger.
//!
//! No row has a day before the user was created, outside the years 2000 to 2099, or after today. Such times are errors
//! of an import, and one of them must not keep every day from being complete.

mod days;
mod rows;
mod snapshots;
mod unseen;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::incremental::UNSEEN_DELETIONS;
use super::plan::MAX_CLOCK_SKEW;
use super::requests::day_of;
use super::run::Run;
use super::tally::Tally;
use crate::error::{Error, Result};
use crate::lake::{CommitDetails, CommitRecord, Coverage, Diff, Table};
use crate::resource::{ACTIVITY_DAYS, Resource, SESSIONS, USERS, day_columns};
use crate::table::columns;
use days::{Days, TimeFrame, day};
use rows::{NewRows, Scope};
use snapshots::Snapshots;

/// The version of `clerk_user` from which the ledger was last filled.
const USERS_VERSION: &str = "clerk-lake.users_version";

/// The version of `clerk_session` from which the ledger was last filled.
const SESSIONS_VERSION: &str = "clerk-lake.sessions_version";

/// The number of the ledger's last commit that added rows. In the table of days: the number of the last such commit
/// that it counts.
const FILLING: &str = "clerk-lake.filling";

/// Marks an unknown version: no table has it.
const NO_VERSION: i64 = -1;

/// The year 10000 in Unix microseconds: later than the `_synced_at` of any row.
const FAR_FUTURE: i64 = 253_402_300_800_000_000;

/// How many recent commits are searched for the last sync.
const RECENT_COMMITS: usize = 8;

/// The state of the ledger when this run started.
struct LedgerState {
    users: Option<u64>,
    sessions: Option<u64>,
    filling: Option<u64>,
    /// How many users of Clerk the table lacked or had in an old version.
    unread: u64,
}

/// The state of the table of days when this run started: at the ledger's last commit, or behind it.
struct DaysState {
    watermark: Option<DateTime<Utc>>,
    users: Option<u64>,
    filling: Option<u64>,
}

/// The latest versions of the tables from which the ledger is filled, whichever run committed them.
struct Sources {
    users: Table,
    sessions: Table,
    /// The watermark of the users; `None` if unknown.
    users_at: Option<DateTime<Utc>>,
    sessions_at: Option<DateTime<Utc>>,
    /// The commits since the ledger was last filled; `None` if unknown.
    users_commits: Option<Vec<CommitRecord>>,
    sessions_commits: Option<Vec<CommitRecord>>,
    /// The commits to the users since the days were last counted; `None` if unknown.
    users_commits_since_days: Option<Vec<CommitRecord>>,
}

impl Run<'_> {
    /// Fills the ledger from the tables in the lake: from all rows, or from those that may be new since `since`.
    pub(super) async fn sync_ledger(
        &self,
        resource: &'static Resource,
        since: Option<DateTime<Utc>>,
        mut table: Table,
        tally: &mut Tally,
    ) -> Result<()> {
        let state = LedgerState::of(&table).await?;
        let days_table = self.open(&ACTIVITY_DAYS).await?;
        let days_state = DaysState::of(&days_table).await?;
        let sources = Sources::open(self, &state, &days_state).await?;
        if !sources.users.exists() && !sources.sessions.exists() {
            tally.skipped = Some("no users or sessions in the lake: sync users and sessions first".to_owned());
            return Ok(());
        }
        self.sync.progress.started(resource.name, None);
        let snapshots = Snapshots::open(self, &sources, &table, &days_table).await?;
        let scope = Scope::of(since, &state, &sources);
        tally.is_incremental = !scope.is_everything();
        let new = Box::pin(snapshots.new_rows(self, &sources, &scope, &table)).await?;
        tally.rows_read = new.staged.rows;
        let unread = sources.unread(state.unread).await?;
        let is_behind = table.exists() && (state.filling.is_none() || days_state.filling != state.filling);
        let days = Box::pin(self.days(&snapshots, &days_state, &sources, &new, is_behind, unread)).await?;
        // Without Clerk's time, it is unknown on which days the users deleted from now on may have been active.
        let users_version = if self.has_clerk_time { version_of(&sources.users) } else { NO_VERSION };
        let change = CommitDetails { watermark: sources.users_at, ..self.change(tally) }
            .with_position(USERS_VERSION, users_version)
            .with_position(FILLING, i64::try_from(state.filling.unwrap_or(0) + 1).unwrap_or(NO_VERSION));
        let diff = Diff::of_new(new.staged);
        tally.prepared = diff.counts();
        let ledger_change =
            change.clone().with_unreadable(unread).with_position(SESSIONS_VERSION, version_of(&sources.sessions));
        self.claim_lake(&table).await?;
        let outcome = table.commit_diff(diff, ledger_change).await?;
        self.record_commit(outcome, sources.users_at, &mut table, tally).await?;
        Box::pin(self.commit_days(days_table, &days, change)).await
    }

    /// Returns the days, updated with the staged new rows.
    async fn days(
        &self,
        snapshots: &Snapshots,
        days_state: &DaysState,
        sources: &Sources,
        new: &NewRows,
        is_behind: bool,
        unread: u64,
    ) -> Result<Days> {
        let mut days = snapshots.days().await?;
        let frame = self.time_frame(days_state, sources);
        if let Some(frame) = &frame {
            days.add_deletions(frame);
        }
        let counts = snapshots.counts(new, is_behind).await?;
        days.set_counts(&counts, is_behind, frame.as_ref().map(|frame| frame.from));
        let Some(frame) = frame else { return Ok(days) };
        let due = days.due(&frame);
        let unseen = if due.iter().any(|day| days.deleted_on(*day).is_some()) {
            snapshots.unseen(new, &due, frame.until).await?
        } else {
            BTreeMap::default()
        };
        for day in due {
            let unseen = unseen.get(&day).copied().unwrap_or_default();
            let unread = i64::try_from(unread).unwrap_or(i64::MAX);
            days.settle(day, unseen, unread, frame.at.timestamp_millis());
        }
        Ok(days)
    }

    /// Returns the time frame for evaluating the days; `None` if the users have no known watermark.
    fn time_frame(&self, days_state: &DaysState, sources: &Sources) -> Option<TimeFrame> {
        let (at, before) = (sources.users_at?, days_state.watermark);
        // If the clock was set back, the deletions between the two times are unknown.
        let is_known = self.has_clerk_time && before.is_some_and(|before| before <= at);
        let commits = sources.users_commits_since_days.as_deref().filter(|_| is_known);
        let today = day(at);
        Some(TimeFrame {
            at,
            from: day(day_of(before.unwrap_or(at).min(at))),
            settled: before.map(day),
            today,
            until: if self.has_clerk_time { day(self.latest_clerk_time()).max(today) } else { today },
            deleted: commits.and_then(rows_deleted),
        })
    }

    /// Commits the table of days.
    async fn commit_days(&self, mut table: Table, days: &Days, change: CommitDetails) -> Result<()> {
        let rows = days.rows();
        let mut writer = table.writer()?;
        if !rows.is_empty() {
            let batch =
                columns::batch(&day_columns(&rows), rows.len()).map_err(|error| Error::bug(error.to_string()))?;
            writer.write(&batch, self.synced_at_micros()).await?;
        }
        let staged = writer.finish().await?;
        let diff = table.diff(staged, Coverage::Complete).await?;
        let outcome = table.commit_diff(diff, change).await?;
        outcome.committed(table.spec().name)?;
        self.note_base(&table);
        Ok(())
    }
}

impl LedgerState {
    async fn of(ledger: &Table) -> Result<Self> {
        Ok(Self {
            users: version_at(ledger, USERS_VERSION).await?,
            sessions: version_at(ledger, SESSIONS_VERSION).await?,
            filling: version_at(ledger, FILLING).await?,
            unread: ledger.unreadable().await?,
        })
    }
}

impl DaysState {
    async fn of(days: &Table) -> Result<Self> {
        Ok(Self {
            watermark: days.watermark().await?,
            users: version_at(days, USERS_VERSION).await?,
            filling: version_at(days, FILLING).await?,
        })
    }
}

impl Sources {
    async fn open(run: &Run<'_>, state: &LedgerState, days_state: &DaysState) -> Result<Self> {
        let users = run.lake.table(&USERS.table).await?;
        let sessions = run.lake.table(&SESSIONS.table).await?;
        run.note_base(&users);
        run.note_base(&sessions);
        Ok(Self {
            // A run that could not learn the time has the watermark 1970.
            users_at: users.watermark().await?.filter(|at| *at > DateTime::UNIX_EPOCH),
            sessions_at: sessions.watermark().await?,
            users_commits: commits_since(&users, state.users).await?,
            users_commits_since_days: commits_since(&users, days_state.users).await?,
            sessions_commits: commits_since(&sessions, state.sessions).await?,
            users,
            sessions,
        })
    }

    /// Returns an upper bound for the users of Clerk that the table lacks or has in an old version, because their rows
    /// are rejected. `before` is that number when the ledger was last filled.
    async fn unread(&self, before: u64) -> Result<u64> {
        let rejected = |info: &Value| info.get("rowsRejected").and_then(Value::as_u64);
        let newest = match &self.users_commits {
            Some(commits) => match commits.iter().rev().find_map(|commit| rejected(&commit.info)) {
                Some(rejected) => rejected,
                None => return Ok(before),
            },
            // If the number is unknown, there may be one.
            None => {
                self.users.history(RECENT_COMMITS).await?.iter().find_map(|commit| rejected(&commit.info)).unwrap_or(1)
            }
        };
        Ok(self.users.unreadable().await? + newest)
    }
}

async fn version_at(ledger: &Table, position: &str) -> Result<Option<u64>> {
    Ok(ledger.position(position).await?.and_then(|version| u64::try_from(version).ok()))
}

async fn commits_since(table: &Table, version: Option<u64>) -> Result<Option<Vec<CommitRecord>>> {
    match version {
        Some(version) => table.commits_since(version).await,
        None => Ok(None),
    }
}

fn version_of(table: &Table) -> i64 {
    table.version().and_then(|version| i64::try_from(version).ok()).unwrap_or(NO_VERSION)
}

/// Returns how many rows these commits deleted, plus how many they kept although the rows may have been deleted in
/// Clerk: an upper bound. `None` if another program made one of the commits.
fn rows_deleted(commits: &[CommitRecord]) -> Option<i64> {
    let deleted = |commit: &CommitRecord| {
        let info = commit.info.as_object()?;
        // A compaction, a sweep or a new column does not change the number of rows.
        let number = |name: &str| info.get(name).map_or(Some(0), Value::as_i64);
        Some(number("rowsDeleted")? + number(UNSEEN_DELETIONS)?)
    };
    commits.iter().map(deleted).sum()
}

/// Returns the earliest `_synced_at` that rows written by these commits may have, in Unix microseconds. `None` if
/// another program made one of the commits.
fn stamped_from(commits: &[CommitRecord]) -> Option<i64> {
    commits.iter().try_fold(FAR_FUTURE, |from, commit| {
        commit.info.as_object()?;
        let stamp = commit.watermark.map_or(FAR_FUTURE, |at| (at - MAX_CLOCK_SKEW).timestamp_micros());
        Some(from.min(stamp))
    })
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use serde_json::json;

    use super::*;

    fn commit(info: Value, minutes: Option<i64>) -> CommitRecord {
        let watermark = minutes.map(|minutes| DateTime::UNIX_EPOCH + TimeDelta::minutes(minutes));
        CommitRecord { at: None, watermark, info }
    }

    #[test]
    fn deletions_are_summed_over_all_commits_and_unknown_if_another_program_committed() {
        let ours = [
            commit(json!({"mode": "full", "rowsDeleted": 3}), Some(60)),
            commit(json!({"mode": "compact"}), None),
            commit(json!({"mode": "incremental", "rowsDeleted": 0}), Some(70)),
            commit(json!({"mode": "incremental", "rowsDeleted": 0, "rowsDeletedUnseen": 4}), Some(75)),
            commit(json!({"mode": "full", "rowsDeleted": 2}), Some(80)),
        ];
        assert_eq!(rows_deleted(&ours), Some(9));
        assert_eq!(rows_deleted(&[]), Some(0));
        let foreign = [ours[0].clone(), commit(Value::Null, None)];
        assert_eq!(rows_deleted(&foreign), None);
        assert_eq!(stamped_from(&foreign), None);
    }

    #[test]
    fn rows_are_stamped_no_earlier_than_the_earliest_watermark_of_their_commits() {
        // A run that started earlier may commit later.
        let commits = [
            commit(json!({"mode": "incremental"}), Some(60)),
            commit(json!({"mode": "incremental"}), Some(30)),
            commit(json!({"mode": "sweep"}), None),
        ];
        assert_eq!(stamped_from(&commits), Some(25 * 60_000_000));
        assert_eq!(stamped_from(&[]), Some(FAR_FUTURE));
    }
}
