//! The table operations that every resource shares: opening, sweeping, committing and detecting conflicts.

use std::sync::atomic::Ordering;

use chrono::{DateTime, TimeDelta, Utc};

use super::plan::MAX_CLOCK_SKEW;
use super::run::{MAX_CLOCK_AHEAD, Run, lock};
use super::tally::Tally;
use crate::api::ApiError;
use crate::error::{Error, ErrorKind, Result};
use crate::lake::{CommitDetails, CommitOutcome, Table};
use crate::resource::{self, ACTIVITY_DAYS, Reading, Resource};
use crate::table::TableSpec;

/// How often a table is opened again because another run commits while it is swept.
const MAX_TRIES: u32 = 3;

impl Run<'_> {
    /// Removes the leftovers of crashed runs from the tables that this run does not write.
    pub(super) async fn sweep_unselected(&self, selected: &[&'static Resource]) {
        let written = |spec: &TableSpec| selected.iter().any(|resource| tables_of(resource).contains(&spec.name));
        let present = match self.lake.present(&resource::TABLES).await {
            Ok(present) => present,
            Err(error) => return tracing::info!(%error, "cannot maintain the other tables in this run"),
        };
        for spec in present.into_iter().filter(|spec| !written(spec)) {
            if let Err(error) = self.open(spec).await {
                tracing::info!(table = spec.name, %error, "cannot maintain the table in this run");
            }
        }
    }

    /// Returns the conflict that caused `error`, if one did. If another run replaces a data file, reading it fails long
    /// before this run's commit would be refused. An error from Clerk is never a conflict.
    pub(super) async fn find_conflict(&self, resource: &'static Resource, error: &Error) -> Option<Error> {
        let is_from_clerk = std::error::Error::source(error).is_some_and(<dyn std::error::Error>::is::<ApiError>);
        if is_from_clerk || !matches!(error.kind(), ErrorKind::Unreachable | ErrorKind::Query | ErrorKind::Bug) {
            return None;
        }
        for spec in std::iter::once(&resource.table).chain(resource.tables_read()) {
            let Some(base) = lock(&self.bases).get(spec.name).copied() else { continue };
            // Loads the current version of the table, not this run's cached view.
            let now = self.sync.lake.table(spec).await.ok()?.version();
            if now != base {
                tracing::debug!(%error, "error caused by a conflict");
                return CommitOutcome::Conflicted { base }.committed(spec.name).err();
            }
        }
        None
    }

    /// Records a successful commit to `table`, whose rows are complete up to `watermark` if that is known. Compacts the
    /// table if due.
    ///
    /// # Errors
    /// Fails if the commit was refused or its outcome is unknown.
    pub(super) async fn record_commit(
        &self,
        outcome: CommitOutcome,
        watermark: impl Into<Option<DateTime<Utc>>>,
        table: &mut Table,
        tally: &mut Tally,
    ) -> Result<()> {
        let version = outcome.committed(table.spec().name)?;
        tally.add_commit(watermark.into(), version, table.rows());
        self.note_base(table);
        table.forget_checkpoints(&self.area).await;
        self.compact_if_due(table).await;
        Ok(())
    }

    /// Compacts a table with many small files. A failure is only logged: it costs nothing but time.
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
            Err(error) => tracing::warn!(table = name, %error, "cannot compact the table"),
        }
    }

    /// Records the version of `table` that this run has seen.
    pub(super) fn note_base(&self, table: &Table) {
        lock(&self.bases).insert(table.spec().name, table.version());
    }

    /// Opens a table for writing, and removes the orphan files of crashed runs from it.
    pub(super) async fn open(&self, spec: &'static TableSpec) -> Result<Table> {
        let mut tries = 0;
        loop {
            self.lake.refresh(spec, tries > 0).await?;
            let mut table = Table::open(&self.lake, spec, Some(&self.area)).await?;
            match table.make_ready().await {
                // Another run has just committed: open the table again at its version.
                Err(error) if error.kind() == ErrorKind::Conflict && tries < MAX_TRIES => tries += 1,
                Err(error) => return Err(error),
                Ok(swept) => {
                    if swept > 0 {
                        tracing::info!(table = spec.name, files = swept, "removed orphan files of an interrupted run");
                    }
                    self.check_instance_of(&table).await?;
                    self.note_base(&table);
                    return Ok(table);
                }
            }
        }
    }

    /// Refuses a table of another instance, which may have been created since the run started. If the table does not
    /// exist yet, no other table of the lake may belong to another instance either.
    async fn check_instance_of(&self, table: &Table) -> Result<()> {
        match &self.instance {
            Some(own) if table.exists() => table.check_instance(own),
            Some(_) if self.has_claim.load(Ordering::Relaxed) => Ok(()),
            Some(own) => self.lake.check_instance(own, &resource::TABLES).await,
            None => Ok(()),
        }
    }

    /// Claims the lake for this run's instance before the first commit to `table`. Until then, another run may have
    /// started to fill the lake from another instance.
    pub(super) async fn claim_lake(&self, table: &Table) -> Result<()> {
        match &self.instance {
            Some(own) if !table.exists() && !self.has_claim.load(Ordering::Relaxed) => {
                self.sync.lake.check_instance(own, &resource::TABLES).await?;
                self.lake.claim(own).await?;
                // No other instance can claim the lake from now on.
                self.has_claim.store(true, Ordering::Relaxed);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Returns the metadata of a commit of this run.
    pub(super) fn change(&self, tally: &Tally) -> CommitDetails {
        let mut change = self.change_of(tally.mode(), tally.rows_read);
        change.info.insert("rowsRejected".to_owned(), tally.rows_rejected.into());
        change
    }

    pub(super) fn change_of(&self, mode: &str, rows_read: u64) -> CommitDetails {
        CommitDetails {
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

    /// Returns an upper bound of the current time at Clerk. Everything read so far was read before it.
    pub(super) fn latest_clerk_time(&self) -> DateTime<Utc> {
        let elapsed = TimeDelta::from_std(self.started.elapsed()).unwrap_or_default();
        let latest = self.now + elapsed;
        // A date that is much later does not come from Clerk's own clock.
        let server = self.client.server_latest().filter(|server| *server <= latest + MAX_CLOCK_AHEAD);
        latest.max(server.unwrap_or(latest)) + MAX_CLOCK_SKEW
    }

    pub(super) fn synced_at_micros(&self) -> i64 {
        self.watermark.timestamp_micros()
    }
}

/// Returns the names of the tables that a resource writes.
fn tables_of(resource: &Resource) -> Vec<&'static str> {
    let days = matches!(resource.reading, Reading::Ledger).then_some(ACTIVITY_DAYS.name);
    std::iter::once(resource.table.name).chain(days).collect()
}
