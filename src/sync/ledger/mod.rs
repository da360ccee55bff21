//! The ledger: on which days each user was seen active, and how much of each day is known.
//!
//! Clerk tells the *last* day on which a user was active, and the sessions that it still shows. What is told once is
//! written down and stays, so past days do not fall as users come back. What is lost is a day on which a user was
//! active after the last sync that saw the user and before a later day's activity took its place, and no session
//! tells of it. How many users that can have been is known, day by day:
//!
//! A day is settled by the first users that are complete up to a moment after its end. Each of them was active on it
//! last (the ledger has it), before it (and not on it), or after it; only the last sort can hide activity, and is
//! counted, user by user, where the ledger lacks the day. Besides, those may have been active who are in no table:
//! the users deleted since the last time the ledger was filled before or on that day, but for those whom it has on
//! that day, and those whose rows cannot be read. So the day had at most as many active users as the ledger has plus
//! as many as were counted. That sum is true for ever, whoever worked it out and whatever became of that run: when
//! a session tells of the day later, the ledger has one more of them, and one less is unknown.
//!
//! Beyond all that are users who were created and deleted between two syncs: no table ever had them. And nothing is
//! known of days that had begun before the first sync, nor where a server does not say what time it has.
//!
//! The ledger is committed first, then the days that count its rows. Each commit of the ledger has a number, and the
//! days say up to which number they count. A run that dies between the two commits leaves days that are behind: the next
//! run counts all days again, and goes by what the days say of deletions, not by what the ledger says.
//!
//! No row has a day before the user was created, outside of the years 2000 to 2099, or after today: such times are
//! mistakes of an import, and one of them must not keep every day from being complete.

mod days;
mod rows;
mod snapshots;
mod unseen;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::incremental::UNSEEN_DELETIONS;
use super::plan::CLOCKS_APART;
use super::requests::day_of;
use super::run::Run;
use super::tally::Tally;
use crate::error::{Error, Result};
use crate::lake::{Change, CommitRecord, Coverage, Diff, Table};
use crate::resource::{ACTIVITY_DAYS, Resource, SESSIONS, USERS, day_columns};
use crate::table::columns;
use days::{Days, View, day};
use rows::{NewRows, Scope};
use snapshots::Snapshots;

/// The version of `clerk_user` that the ledger was last filled from.
const USERS_VERSION: &str = "clerk-lake.users_version";

/// The version of `clerk_session` that the ledger was last filled from.
const SESSIONS_VERSION: &str = "clerk-lake.sessions_version";

/// The number of the ledger's last commit that added rows; in the table of days, that of the last one that they count.
const FILLING: &str = "clerk-lake.filling";

/// A version that no table has.
const NO_VERSION: i64 = -1;

/// The year 10000 in Unix microseconds: no row is stamped so late.
const NEVER: i64 = 253_402_300_800_000_000;

/// So many commits are looked through for the last sync's.
const RECENT: usize = 8;

/// Where the ledger stood when this run began.
struct Standing {
    users: Option<u64>,
    sessions: Option<u64>,
    filling: Option<u64>,
    /// How many users Clerk had whom the table did not have as they were.
    unread: u64,
}

/// Where the table of days stood when this run began: at the ledger's last commit, or behind it.
struct DaysStanding {
    watermark: Option<DateTime<Utc>>,
    users: Option<u64>,
    filling: Option<u64>,
}

/// The tables that the ledger is filled from, as they are committed, whoever committed them.
struct Sources {
    users: Table,
    sessions: Table,
    /// Up to when the users are complete; none where nobody knows.
    users_at: Option<DateTime<Utc>>,
    sessions_at: Option<DateTime<Utc>>,
    /// What was done to them since the ledger was last filled; `None` if unknown.
    users_commits: Option<Vec<CommitRecord>>,
    sessions_commits: Option<Vec<CommitRecord>>,
    /// What was done to the users since the days were last counted; `None` if unknown.
    users_commits_since_days: Option<Vec<CommitRecord>>,
}

impl Run<'_> {
    /// Fills the ledger from what is in the lake: everything, or what may be new since the ledger's watermark.
    pub(super) async fn ledger(
        &self,
        resource: &'static Resource,
        since: Option<DateTime<Utc>>,
        mut table: Table,
        tally: &mut Tally,
    ) -> Result<()> {
        let standing = Standing::of(&table).await?;
        let days_table = self.open(&ACTIVITY_DAYS).await?;
        let counted = DaysStanding::of(&days_table).await?;
        let sources = Sources::open(self, &standing, &counted).await?;
        if !sources.users.exists() && !sources.sessions.exists() {
            tally.skipped = Some("there is nothing to fill it from: sync users and sessions first".to_owned());
            return Ok(());
        }
        self.sync.progress.started(resource.name, None);
        let snapshots = Snapshots::open(self, &sources, &table, &days_table).await?;
        let scope = Scope::of(since, &standing, &sources);
        tally.is_incremental = !scope.is_everything();
        let new = Box::pin(snapshots.new_rows(self, &sources, &scope, &table)).await?;
        tally.rows_read = new.staged.rows;
        let unread = sources.unread(standing.unread).await?;
        let is_behind = table.exists() && (standing.filling.is_none() || counted.filling != standing.filling);
        let days = Box::pin(self.days(&snapshots, &counted, &sources, &new, is_behind, unread)).await?;
        // Where nobody says what time it is, nobody can say which days those deleted from now on may have seen.
        let users_version = if self.dated { version_of(&sources.users) } else { NO_VERSION };
        let change = Change { watermark: sources.users_at, ..self.change(tally) }
            .with_position(USERS_VERSION, users_version)
            .with_position(FILLING, i64::try_from(standing.filling.unwrap_or(0) + 1).unwrap_or(NO_VERSION));
        let diff = Diff::of_new(new.staged);
        tally.prepared = diff.counts();
        let ledger_change =
            change.clone().with_unreadable(unread).with_position(SESSIONS_VERSION, version_of(&sources.sessions));
        self.claim_lake(&table).await?;
        let outcome = table.commit_diff(diff, ledger_change).await?;
        self.settle(outcome, sources.users_at, &mut table, tally).await?;
        Box::pin(self.commit_days(days_table, &days, change)).await
    }

    /// What is known of each day with the new rows, which are staged.
    async fn days(
        &self,
        snapshots: &Snapshots,
        counted: &DaysStanding,
        sources: &Sources,
        new: &NewRows,
        is_behind: bool,
        unread: u64,
    ) -> Result<Days> {
        let mut days = snapshots.days().await?;
        let view = self.view(counted, sources);
        if let Some(view) = &view {
            days.note(view);
        }
        let counts = snapshots.counts(new, is_behind).await?;
        days.count(&counts, is_behind, view.as_ref().map(|view| view.from));
        let Some(view) = view else { return Ok(days) };
        let due = days.due(&view);
        let unseen = if due.iter().any(|day| days.deleted_on(*day).is_some()) {
            snapshots.unseen(new, &due, view.until).await?
        } else {
            BTreeMap::default()
        };
        for day in due {
            let unseen = unseen.get(&day).copied().unwrap_or_default();
            let unread = i64::try_from(unread).unwrap_or(i64::MAX);
            days.settle(day, unseen, unread, view.at.timestamp_millis());
        }
        Ok(days)
    }

    /// From where the days are looked at; none while it is not known up to when the users are complete.
    fn view(&self, counted: &DaysStanding, sources: &Sources) -> Option<View> {
        let (at, before) = (sources.users_at?, counted.watermark);
        // A clock that was set back tells nothing of what happened between two of its moments.
        let is_known = self.dated && before.is_some_and(|before| before <= at);
        let commits = sources.users_commits_since_days.as_deref().filter(|_| is_known);
        let today = day(at);
        Some(View {
            at,
            from: day(day_of(before.unwrap_or(at).min(at))),
            settled: before.map(day),
            today,
            until: if self.dated { day(self.latest()).max(today) } else { today },
            deleted: commits.and_then(rows_deleted),
        })
    }

    /// Commits the days.
    async fn commit_days(&self, mut table: Table, days: &Days, change: Change) -> Result<()> {
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

impl Standing {
    async fn of(ledger: &Table) -> Result<Self> {
        Ok(Self {
            users: version_at(ledger, USERS_VERSION).await?,
            sessions: version_at(ledger, SESSIONS_VERSION).await?,
            filling: version_at(ledger, FILLING).await?,
            unread: ledger.unreadable().await?,
        })
    }
}

impl DaysStanding {
    async fn of(days: &Table) -> Result<Self> {
        Ok(Self {
            watermark: days.watermark().await?,
            users: version_at(days, USERS_VERSION).await?,
            filling: version_at(days, FILLING).await?,
        })
    }
}

impl Sources {
    async fn open(run: &Run<'_>, standing: &Standing, counted: &DaysStanding) -> Result<Self> {
        let users = run.lake.table(&USERS.table).await?;
        let sessions = run.lake.table(&SESSIONS.table).await?;
        run.note_base(&users);
        run.note_base(&sessions);
        Ok(Self {
            // 1970 is what a run says that could not learn what time it was.
            users_at: users.watermark().await?.filter(|at| *at > DateTime::UNIX_EPOCH),
            sessions_at: sessions.watermark().await?,
            users_commits: commits_since(&users, standing.users).await?,
            users_commits_since_days: commits_since(&users, counted.users).await?,
            sessions_commits: commits_since(&sessions, standing.sessions).await?,
            users,
            sessions,
        })
    }

    /// How many users Clerk has whom the table does not have as they are, since their rows cannot be read: at most.
    /// `before` is how many there were when the ledger was last filled.
    async fn unread(&self, before: u64) -> Result<u64> {
        let rejected = |info: &Value| info.get("rowsRejected").and_then(Value::as_u64);
        let newest = match &self.users_commits {
            Some(commits) => match commits.iter().rev().find_map(|commit| rejected(&commit.info)) {
                Some(rejected) => rejected,
                None => return Ok(before),
            },
            // Where nobody knows, there may be one.
            None => self.users.history(RECENT).await?.iter().find_map(|commit| rejected(&commit.info)).unwrap_or(1),
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

/// How many rows these commits have removed, or left although they may have been deleted: at most. `None` if another
/// program made one of them.
fn rows_deleted(commits: &[CommitRecord]) -> Option<i64> {
    let deleted = |commit: &CommitRecord| {
        let info = commit.info.as_object()?;
        // A compaction, a sweep or new columns say nothing of rows.
        let number = |name: &str| info.get(name).map_or(Some(0), Value::as_i64);
        Some(number("rowsDeleted")? + number(UNSEEN_DELETIONS)?)
    };
    commits.iter().map(deleted).sum()
}

/// From when on rows may be stamped (`_synced_at`) that these commits have written, Unix microseconds; none where
/// another program made one of them.
fn stamped_from(commits: &[CommitRecord]) -> Option<i64> {
    commits.iter().try_fold(NEVER, |from, commit| {
        commit.info.as_object()?;
        let stamp = commit.watermark.map_or(NEVER, |at| (at - CLOCKS_APART).timestamp_micros());
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
    fn deletions_are_counted_over_all_commits_and_unknown_beside_another_program_s() {
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
    fn rows_are_stamped_with_the_earliest_watermark_of_their_commits_or_later() {
        // A run that began earlier may commit later.
        let commits = [
            commit(json!({"mode": "incremental"}), Some(60)),
            commit(json!({"mode": "incremental"}), Some(30)),
            commit(json!({"mode": "sweep"}), None),
        ];
        assert_eq!(stamped_from(&commits), Some(25 * 60_000_000));
        assert_eq!(stamped_from(&[]), Some(NEVER));
    }
}
