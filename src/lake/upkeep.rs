//! What keeps a lake fast and tidy over years of runs: small files put together, and old versions let go.
//!
//! Checkpoints of the log and the removal of old log entries are delta-rs' own, with each commit; how often is said
//! in the table's properties.

use std::collections::{HashMap, HashSet};
use std::num::NonZeroU64;
use std::sync::Arc;

use chrono::TimeDelta;
use deltalake::kernel::transaction::CommitProperties;
use deltalake::operations::vacuum::VacuumMode;
use deltalake::{DeltaTableError, FilterOp, FilterValue, checkpoints};
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use serde::Deserialize;

use super::change::CommitOutcome;
use super::commit::Base;
use super::retention::{HISTORY, retention};
use super::table::{RUN_INFO, Table};
use super::writer::writer_properties;
use super::{Lake, Repair, RunArea, store_error};
use crate::error::{Error, ErrorKind, Result};
use crate::table::TableSpec;

/// A file smaller than this is small: reading it costs more in opening than in rows.
const SMALL_BYTES: u64 = 32 * 1024 * 1024;

/// How large files become that are put together from small ones.
const TARGET_BYTES: u64 = 128 * 1024 * 1024;

/// How a lake is looked after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keeping {
    /// For how long files that a commit has superseded stay, for time travel and for readers that take their time.
    /// Zero: they go right after the commit, and a plain Parquet reader sees the committed rows and nothing else.
    /// None: a table goes on as it is, and a new one keeps nothing.
    pub history: Option<TimeDelta>,
    /// So many small files in one partition are put together into few; 0: never by itself.
    pub compact_files: usize,
    /// Whether tables record which rows each commit inserts, updates and deletes; none: a table goes on as it is, and
    /// a new one does not.
    pub change_data_feed: Option<bool>,
}

impl Default for Keeping {
    fn default() -> Self {
        Self { history: None, compact_files: 8, change_data_feed: None }
    }
}

/// What putting small files together did to a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compaction {
    /// Files before.
    pub files_before: usize,
    /// Files after.
    pub files_after: usize,
}

/// What was done to a table.
#[derive(Clone, Debug)]
pub struct TableUpkeep {
    /// The table's name.
    pub name: &'static str,
    /// How many data files it has now.
    pub files: usize,
    /// What was put together, if anything was.
    pub compaction: Option<Compaction>,
    /// What its repair took, if it was damaged.
    pub repair: Option<Repair>,
    /// How many files were removed that no version names which is to be kept.
    pub removed: usize,
}

/// Maintains every table of `specs` that has been written: sweeps orphan files, compacts all small files and vacuums old
/// versions; repairs damaged tables if `repair` says so. Returns what was done, and the error of the first table that is
/// damaged and was not repaired: the others are maintained all the same.
///
/// # Errors
/// [`Conflict`](ErrorKind::Conflict) if a sync commits at the same time;
/// [`Unreachable`](ErrorKind::Unreachable) if the store fails. What was done to a table is done.
pub async fn maintain(
    lake: &Lake,
    specs: &[&'static TableSpec],
    repair: bool,
) -> Result<(Vec<TableUpkeep>, Option<Error>)> {
    let area = RunArea::open(lake).await?;
    let mut done = Vec::new();
    let mut damage = None;
    let mut failure = Ok(());
    for spec in specs {
        match Box::pin(maintain_one(lake, spec, &area, repair)).await {
            Ok(table) => done.extend(table),
            Err(error) if error.kind() == ErrorKind::Damaged => damage = damage.or(Some(error)),
            Err(error) => {
                failure = Err(error);
                break;
            }
        }
    }
    area.remove().await;
    failure.map(|()| (done, damage))
}

async fn maintain_one(
    lake: &Lake,
    spec: &'static TableSpec,
    area: &RunArea,
    repair: bool,
) -> Result<Option<TableUpkeep>> {
    let (mut table, repair) = if repair {
        Table::open_repaired(lake, spec, area).await?
    } else {
        (Table::open(lake, spec, Some(area)).await?, None)
    };
    if !table.exists() {
        return Ok(None);
    }
    match table.keep(repair).await {
        Err(error) if error.kind() == ErrorKind::Unreachable => Err(table.damage().await.unwrap_or(error)),
        kept => kept.map(Some),
    }
}

impl Table {
    /// Does all that keeps a table fast and small.
    async fn keep(&mut self, repair: Option<Repair>) -> Result<TableUpkeep> {
        let mut removed = self.make_ready().await?;
        let compaction = self.compact(2).await?;
        if compaction.is_some() && self.keeps_history() {
            removed += self.remove_expired().await?;
        }
        self.tidy_log().await?;
        Ok(TableUpkeep { name: self.spec.name, files: self.file_count(), compaction, repair, removed })
    }

    /// For how long files that a commit has superseded stay: as was said, or else as the table has been kept so far.
    pub(super) fn kept_for(&self) -> TimeDelta {
        self.lake.keeping.history.or_else(|| self.own_history()).unwrap_or_default()
    }

    fn own_history(&self) -> Option<TimeDelta> {
        self.property(HISTORY).and_then(|seconds| seconds.parse().ok()).and_then(TimeDelta::try_seconds)
    }

    /// Whether old versions can be read.
    pub(super) fn keeps_history(&self) -> bool {
        self.kept_for() > TimeDelta::zero()
    }

    /// Writes down for how long the table's past is kept from now on, where that is said and not what it says itself:
    /// runs that say nothing go by it.
    pub(super) async fn note_history(&mut self) -> Result<()> {
        let Some(said) = self.lake.keeping.history.filter(|_| self.exists()) else { return Ok(()) };
        if said == self.own_history().unwrap_or_default() {
            return Ok(());
        }
        let version = self.set_properties(retention(self.spec, said), "history").await?;
        tracing::info!(table = self.spec.name, version, seconds = said.num_seconds(), "the past is kept for as long");
        Ok(())
    }

    /// Commits these properties, and nothing else; gives the version.
    pub(super) async fn set_properties(
        &mut self,
        properties: impl IntoIterator<Item = (String, String)>,
        mode: &str,
    ) -> Result<u64> {
        let base = Base::of(self);
        let info = serde_json::json!({ "mode": mode });
        let once = CommitProperties::default().with_max_retries(0).with_metadata([(RUN_INFO.to_owned(), info)]);
        let done = self
            .delta
            .clone()
            .set_tbl_properties()
            .with_properties(properties.into_iter().collect())
            .with_raise_if_not_exists(false)
            .with_commit_properties(once)
            .await;
        self.settle(base, done.map(|_| ())).await?.committed(self.spec.name)
    }

    /// Writes a checkpoint of the log where the table has gone on since the last one, and lets entries go that are too
    /// old.
    async fn tidy_log(&self) -> Result<()> {
        let failed =
            |error: DeltaTableError| store_error(&format!("the log of {} cannot be kept", self.spec.name), &error);
        if self.checkpointed().await != self.version() {
            checkpoints::create_checkpoint(&self.delta, None).await.map_err(failed)?;
        }
        checkpoints::cleanup_metadata(&self.delta, None).await.map_err(failed)?;
        Ok(())
    }

    /// The version of the last checkpoint; none where that is not known.
    async fn checkpointed(&self) -> Option<u64> {
        #[derive(Deserialize)]
        struct LastCheckpoint {
            version: u64,
        }
        let found = self.store.get(&Path::from("_delta_log/_last_checkpoint")).await.ok()?.bytes().await.ok()?;
        serde_json::from_slice::<LastCheckpoint>(&found).ok().map(|checkpoint| checkpoint.version)
    }

    /// Puts small files together in every partition that has `at_least` of them, 2 or more, not counting those that this
    /// run has added: a long listing closes many, and the next run finds them. The rows stay as they are, and so does
    /// the watermark. `None` if no partition has so many, or another run has committed meanwhile.
    ///
    /// # Errors
    /// [`Unreachable`](crate::ErrorKind::Unreachable) where the store fails; then nothing has changed.
    pub async fn compact(&mut self, at_least: usize) -> Result<Option<Compaction>> {
        let partitions = self.crowded(at_least.max(2));
        if partitions.is_empty() {
            return Ok(None);
        }
        let files_before = self.file_count();
        let base = Base::of(self);
        let values = FilterValue::Set(partitions.iter().map(String::as_str).collect());
        let filters: Vec<_> = self.spec.partition.map(|column| (column, FilterOp::In, values)).into_iter().collect();
        let session = self.lake.narrow_session();
        let info = serde_json::json!({ "mode": "compact" });
        let once = CommitProperties::default().with_max_retries(0).with_metadata([(RUN_INFO.to_owned(), info)]);
        let compacted = self
            .delta
            .clone()
            .optimize()
            .with_filters(&filters)
            .with_target_size(NonZeroU64::new(TARGET_BYTES).unwrap_or(NonZeroU64::MIN))
            .with_max_concurrent_tasks(1)
            .with_session_state(Arc::new(session.state()))
            .with_writer_properties(writer_properties(self.spec))
            .with_commit_properties(once)
            .await;
        if compacted.is_ok() && !self.store.has_committed() {
            // Every file is as large as it gets.
            return Ok(None);
        }
        match self.settle(base, compacted.map(|_| ())).await? {
            CommitOutcome::Conflicted { .. } => Ok(None),
            CommitOutcome::Committed { .. } => Ok(Some(Compaction { files_before, files_after: self.file_count() })),
            unknown @ CommitOutcome::Unknown { .. } => unknown.committed(self.spec.name).map(|_| None),
        }
    }

    /// The partitions (as values of the partition column; one without a name where the table has none) that hold
    /// `at_least` small files which were there before this run.
    fn crowded(&self, at_least: usize) -> Vec<String> {
        let mut small: HashMap<String, usize> = HashMap::new();
        for file in self.files().filter(|file| file.bytes < SMALL_BYTES && !self.added.contains(&file.path)) {
            let path = Path::from(file.path);
            let directory = path.parts().next().filter(|_| self.spec.partition.is_some());
            let value = directory.as_ref().and_then(|part| part.as_ref().split_once('=')).map(|(_, value)| value);
            *small.entry(value.unwrap_or_default().to_owned()).or_default() += 1;
        }
        let mut crowded: Vec<_> = small.into_iter().filter(|(_, files)| *files >= at_least).map(|(it, _)| it).collect();
        crowded.sort();
        crowded
    }

    /// Removes the files that no version names which is to be kept, by the age of what superseded them, and what
    /// crashes left, by its own (change data at once: their names tell them apart); gives how many there were. What
    /// no version has ever named may be old and yet about to be committed by a run that took it over: as in
    /// [`Table::sweep`], such a run loses before anything goes.
    pub(super) async fn remove_expired(&mut self) -> Result<usize> {
        let superseded = self.expired(VacuumMode::Lite).await?;
        self.delete_files(&superseded).await;
        let others: Vec<Path> = self.unnamed().await?.into_iter().filter(|path| !superseded.contains(path)).collect();
        if others.is_empty() {
            return Ok(superseded.len());
        }
        self.fence().await?;
        let still = self.unnamed().await?;
        let orphans: Vec<Path> = others.into_iter().filter(|path| still.contains(path)).collect();
        self.delete_files(&orphans).await;
        Ok(superseded.len() + orphans.len())
    }

    async fn unnamed(&self) -> Result<Vec<Path>> {
        let mut unnamed = self.expired(VacuumMode::Full).await?;
        if !unnamed.is_empty() {
            let old = self.old_files().await?;
            unnamed.retain(|path| old.contains(path));
        }
        unnamed.extend(self.orphaned_changes().await?);
        Ok(unnamed)
    }

    /// The data files that a sweep may remove if no version names them.
    async fn old_files(&self) -> Result<HashSet<Path>> {
        let old = self.store.list(None).try_filter(|object| std::future::ready(self.may_sweep(object)));
        let old: Result<_, _> = old.map_ok(|object| object.location).try_collect().await;
        old.map_err(|error| store_error(&format!("the table {} cannot be listed", self.spec.name), &error))
    }

    /// What a vacuum would remove. It is asked for, and removed by [`Table::remove_expired`]: delta-rs' own would
    /// commit twice each time.
    async fn expired(&self, mode: VacuumMode) -> Result<Vec<Path>> {
        let failed = |error: DeltaTableError| store_error(&format!("{} cannot be cleaned", self.spec.name), &error);
        let (_, expired) = self
            .delta
            .clone()
            .vacuum()
            .with_mode(mode)
            .with_retention_period(self.kept_for())
            .with_enforce_retention_duration(false)
            .with_dry_run(true)
            .await
            .map_err(failed)?;
        let expired = expired.files_deleted.iter().map(|path| Path::from(path.as_str()));
        Ok(expired.filter(|path| self.is_own_file(path)).collect())
    }
}
