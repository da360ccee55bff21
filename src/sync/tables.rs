//! What every resource does with its tables: open them, clear what crashes left, commit, and tell a conflict.

use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};

use super::plan::CLOCKS_APART;
use super::run::{CLOCK_AHEAD, Run};
use super::tally::Tally;
use crate::api::ApiError;
use crate::error::{Error, ErrorKind, Result};
use crate::lake::{Change, CommitOutcome, Table};
use crate::resource::{self, ACTIVITY_DAYS, Reading, Resource, SESSIONS, USERS};
use crate::table::TableSpec;

/// How often a table is opened anew because another run commits while it is swept.
const SWEEPS: u32 = 3;

impl Run<'_> {
    /// Clears the tables that this run does not write of what crashes left.
    pub(super) async fn clear_others(&self, selected: &[&'static Resource]) {
        let written = |spec: &TableSpec| selected.iter().any(|resource| tables_of(resource).contains(&spec.name));
        for spec in resource::TABLES.into_iter().filter(|spec| !written(spec)) {
            if let Err(error) = self.open(spec).await {
                tracing::info!(table = spec.name, %error, "not looked after by this run");
            }
        }
    }

    /// The conflict that `error` comes from, if that is what it is: a file that another run has replaced is
    /// missed long before the commit would be refused. A failure of Clerk's is never one.
    pub(super) async fn conflict_behind(&self, resource: &'static Resource, error: &Error) -> Option<Error> {
        let is_from_clerk = std::error::Error::source(error).is_some_and(<dyn std::error::Error>::is::<ApiError>);
        if is_from_clerk || !matches!(error.kind(), ErrorKind::Unreachable | ErrorKind::Query | ErrorKind::Bug) {
            return None;
        }
        let read_too = match resource.reading {
            Reading::PerUser(_) | Reading::Derived(_) => vec![&USERS.table],
            Reading::Ledger => vec![&USERS.table, &SESSIONS.table, &ACTIVITY_DAYS],
            Reading::Cursor(_) | Reading::Offset(_) => Vec::new(),
        };
        for spec in std::iter::once(&resource.table).chain(read_too) {
            let Some(base) = lock(&self.bases).get(spec.name).copied() else { continue };
            // Not as this run has seen it so far.
            let now = self.sync.lake.table(spec).await.ok()?.version();
            if now != base {
                tracing::debug!(%error, "what a conflict looked like");
                return CommitOutcome::Conflicted { base }.committed(spec.name).err();
            }
        }
        None
    }

    /// Takes in what became of a commit to `table`, whose rows are complete up to `watermark`, where that is known.
    pub(super) async fn settle(
        &self,
        outcome: CommitOutcome,
        watermark: impl Into<Option<DateTime<Utc>>>,
        table: &mut Table,
        tally: &mut Tally,
    ) -> Result<()> {
        let version = outcome.committed(table.spec().name)?;
        tally.take_commit(watermark.into(), version, table.rows());
        self.note_base(table);
        table.forget_checkpoints(&self.area).await;
        self.compact_if_due(table).await;
        Ok(())
    }

    /// Puts a table's small files together where there are many. What fails here has cost time and nothing else.
    async fn compact_if_due(&self, table: &mut Table) {
        let at_least = self.lake.compacts_at();
        if at_least == 0 || self.sync.stop.is_cancelled() {
            return;
        }
        let name = table.spec().name;
        match table.compact(at_least).await {
            Ok(None) => {}
            Ok(Some(done)) => {
                tracing::info!(table = name, before = done.files_before, after = done.files_after, "compacted");
                self.note_base(table);
            }
            Err(error) => tracing::warn!(table = name, %error, "small files could not be put together"),
        }
    }

    /// Notes the version at which this run stands.
    pub(super) fn note_base(&self, table: &Table) {
        lock(&self.bases).insert(table.spec().name, table.version());
    }

    /// A table, open for writing and cleared of what crashes left.
    pub(super) async fn open(&self, spec: &'static TableSpec) -> Result<Table> {
        let mut tries = 0;
        loop {
            self.lake.refresh(spec, tries > 0).await?;
            let mut table = Table::open(&self.lake, spec, Some(&self.area)).await?;
            match table.make_ready().await {
                // Another run has just committed: its version is the one to start from.
                Err(error) if error.kind() == ErrorKind::Conflict && tries < SWEEPS => tries += 1,
                Err(error) => return Err(error),
                Ok(swept) => {
                    if swept > 0 {
                        tracing::info!(table = spec.name, files = swept, "removed what an interrupted run had left");
                    }
                    self.check_instance_of(&table).await?;
                    self.note_base(&table);
                    return Ok(table);
                }
            }
        }
    }

    /// Refuses a table of another instance, which may have come to this lake since the run began: one that is there,
    /// and where this one is to be the first commit, any other.
    async fn check_instance_of(&self, table: &Table) -> Result<()> {
        match &self.instance {
            Some(own) if table.exists() => table.check_instance(own),
            Some(own) => self.lake.check_instance(own, &resource::TABLES).await,
            None => Ok(()),
        }
    }

    /// Claims the lake for this run's instance before `table`'s first commit: until then another run may have begun to
    /// fill it from another instance.
    pub(super) async fn claim_lake(&self, table: &Table) -> Result<()> {
        match &self.instance {
            Some(own) if !table.exists() => {
                self.sync.lake.check_instance(own, &resource::TABLES).await?;
                self.lake.claim(own).await
            }
            _ => Ok(()),
        }
    }

    /// What a commit of this run says beside its rows.
    pub(super) fn change(&self, tally: &Tally) -> Change {
        let mut change = self.change_of(tally.mode(), tally.rows_read);
        change.info.insert("rowsRejected".to_owned(), tally.rows_rejected.into());
        change
    }

    pub(super) fn change_of(&self, mode: &str, rows_read: u64) -> Change {
        Change {
            watermark: Some(self.watermark),
            instance: self.instance.clone(),
            unreadable: None,
            positions: Vec::new(),
            info: serde_json::Map::from_iter([
                ("run".to_owned(), self.area.run().into()),
                ("mode".to_owned(), mode.into()),
                ("rowsRead".to_owned(), rows_read.into()),
            ]),
        }
    }

    /// The latest that it can be at Clerk by now: whatever has been read was read before.
    pub(super) fn latest(&self) -> DateTime<Utc> {
        let elapsed = TimeDelta::from_std(self.begun.elapsed()).unwrap_or_default();
        let latest = self.now + elapsed;
        // A date far from that is not Clerk's own.
        let said = self.client.server_latest().filter(|said| *said <= latest + CLOCK_AHEAD);
        latest.max(said.unwrap_or(latest)) + CLOCKS_APART
    }

    pub(super) fn synced_at_micros(&self) -> i64 {
        self.watermark.timestamp_micros()
    }
}

/// The names of the tables that a resource writes.
fn tables_of(resource: &Resource) -> Vec<&'static str> {
    let days = matches!(resource.reading, Reading::Ledger).then_some(ACTIVITY_DAYS.name);
    std::iter::once(resource.table.name).chain(days).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
