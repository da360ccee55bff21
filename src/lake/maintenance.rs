//! Maintenance: compacts small files, vacuums old versions and cleans the log.
//!
//! With each commit, delta-rs writes a checkpoint of the log and removes old log entries if they are due. The table's
//! properties say how often.

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

/// Files smaller than this are compacted, because opening them costs more than reading their rows.
const SMALL_BYTES: u64 = 32 * 1024 * 1024;

/// Target size of compacted files.
const TARGET_BYTES: u64 = 128 * 1024 * 1024;

/// How a lake is maintained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaintenanceOptions {
    /// How long superseded files are kept, for time travel and for slow readers. If zero, they are deleted right after
    /// the commit, so that a plain Parquet reader sees exactly the committed rows. If `None`, an existing table keeps
    /// its setting, and a new one keeps no superseded files.
    pub history: Option<TimeDelta>,
    /// Number of small files in one partition that triggers a compaction; 0 disables automatic compaction.
    pub compact_files: usize,
    /// Whether tables have a change data feed, which records the rows that each commit inserts, updates and deletes. If
    /// `None`, an existing table keeps its setting, and a new one has no change data feed.
    pub change_data_feed: Option<bool>,
}

impl Default for MaintenanceOptions {
    fn default() -> Self {
        Self { history: None, compact_files: 8, change_data_feed: None }
    }
}

/// The result of a compaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compaction {
    /// Number of data files before the compaction.
    pub files_before: usize,
    /// Number of data files after the compaction.
    pub files_after: usize,
}

/// The result of maintaining one table.
#[derive(Clone, Debug)]
pub struct TableMaintenance {
    /// The table's name.
    pub name: &'static str,
    /// Number of data files that the table has now.
    pub files: usize,
    /// The compaction, if there was one.
    pub compaction: Option<Compaction>,
    /// The repair, if there was one.
    pub repair: Option<Repair>,
    /// Number of removed files: those that no retained version names.
    pub removed: usize,
}

/// Maintains every table of `specs` that has been written: sweeps orphan files, compacts all small files and vacuums
/// old versions. Repairs damaged tables if `repair` is set. Returns what was done, and the error of the first damaged
/// table that was not repaired. A damaged table does not stop the maintenance of the others.
///
/// # Errors
/// [`Settings`](ErrorKind::Settings) if the lake has no tables, in which case nothing is created;
/// [`Conflict`](ErrorKind::Conflict) if a sync commits at the same time;
/// [`Unreachable`](ErrorKind::Unreachable) if the store fails. The tables done by then stay maintained.
pub async fn maintain(
    lake: &Lake,
    specs: &[&'static TableSpec],
    repair: bool,
) -> Result<(Vec<TableMaintenance>, Option<Error>)> {
    if lake.is_empty().await? {
        return Err(lake.without_tables());
    }
    let area = RunArea::open(lake).await?;
    let mut done = Vec::new();
    let mut damage: Option<Error> = None;
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
    failure?;
    if done.is_empty() && damage.is_none() { Err(lake.without_tables()) } else { Ok((done, damage)) }
}

async fn maintain_one(
    lake: &Lake,
    spec: &'static TableSpec,
    area: &RunArea,
    repair: bool,
) -> Result<Option<TableMaintenance>> {
    let (mut table, repair) = if repair {
        Table::open_repaired(lake, spec, area).await?
    } else {
        (Table::open(lake, spec, Some(area)).await?, None)
    };
    if !table.exists() {
        return Ok(None);
    }
    match table.compact_and_vacuum(repair).await {
        Err(error) if error.kind() == ErrorKind::Unreachable => Err(table.damage().await.unwrap_or(error)),
        maintained => maintained.map(Some),
    }
}

impl Table {
    /// Sweeps orphan files, compacts, vacuums and cleans the log.
    async fn compact_and_vacuum(&mut self, repair: Option<Repair>) -> Result<TableMaintenance> {
        let mut removed = self.make_ready().await?;
        let compaction = self.compact(2).await?;
        if compaction.is_some() && self.keeps_history() {
            removed += self.remove_expired().await?;
        }
        self.clean_log().await?;
        Ok(TableMaintenance { name: self.spec.name, files: self.file_count(), compaction, repair, removed })
    }

    /// Returns how long superseded files are kept: the lake's setting, or else the table's own.
    pub(super) fn kept_for(&self) -> TimeDelta {
        self.lake.keeping.history.or_else(|| self.own_history()).unwrap_or_default()
    }

    /// Returns how long old versions are kept by the table's own setting; `None` if it has none.
    #[must_use]
    pub fn own_history(&self) -> Option<TimeDelta> {
        self.property(HISTORY).and_then(|seconds| seconds.parse().ok()).and_then(TimeDelta::try_seconds)
    }

    /// Returns whether old versions are kept.
    pub(super) fn keeps_history(&self) -> bool {
        self.kept_for() > TimeDelta::zero()
    }

    /// Stores a requested retention in the table's properties, if it differs from the stored one. Later runs without a
    /// requested retention use the stored one.
    pub(super) async fn note_history(&mut self) -> Result<()> {
        let Some(requested) = self.lake.keeping.history.filter(|_| self.exists()) else { return Ok(()) };
        if requested == self.own_history().unwrap_or_default() {
            return Ok(());
        }
        let version = self.set_properties(retention(self.spec, requested), "history").await?;
        tracing::info!(table = self.spec.name, version, seconds = requested.num_seconds(), "set the retention");
        Ok(())
    }

    /// Commits these table properties. Returns the version of the commit.
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

    /// Writes a checkpoint of the log if there are commits since the last one, and removes log entries whose retention
    /// has ended.
    async fn clean_log(&self) -> Result<()> {
        let failed =
            |error: DeltaTableError| store_error(&format!("the log of {} cannot be cleaned", self.spec.name), &error);
        if self.last_checkpoint_version().await != self.version() {
            checkpoints::create_checkpoint(&self.delta, None).await.map_err(failed)?;
        }
        checkpoints::cleanup_metadata(&self.delta, None).await.map_err(failed)?;
        Ok(())
    }

    /// Returns the version of the last checkpoint; `None` if unknown.
    async fn last_checkpoint_version(&self) -> Option<u64> {
        #[derive(Deserialize)]
        struct LastCheckpoint {
            version: u64,
        }
        let found = self.store.get(&Path::from("_delta_log/_last_checkpoint")).await.ok()?.bytes().await.ok()?;
        serde_json::from_slice::<LastCheckpoint>(&found).ok().map(|checkpoint| checkpoint.version)
    }

    /// Compacts every partition that has `at_least` small files, but never fewer than 2. Files that this run has added
    /// do not count: a long listing writes many, and the next run compacts them. Rows and watermark do not change.
    /// Returns `None` if no partition has that many small files, or another run has committed meanwhile.
    ///
    /// # Errors
    /// [`Unreachable`](crate::ErrorKind::Unreachable) if the store fails. Nothing has changed then.
    pub async fn compact(&mut self, at_least: usize) -> Result<Option<Compaction>> {
        let partitions = self.partitions_to_compact(at_least.max(2));
        if partitions.is_empty() {
            return Ok(None);
        }
        let files_before = self.file_count();
        let base = Base::of(self);
        let values = FilterValue::Set(partitions.iter().map(String::as_str).collect());
        let filters: Vec<_> = self.spec.partition.map(|column| (column, FilterOp::In, values)).into_iter().collect();
        let context = self.lake.narrow_context();
        let info = serde_json::json!({ "mode": "compact" });
        let once = CommitProperties::default().with_max_retries(0).with_metadata([(RUN_INFO.to_owned(), info)]);
        let compacted = self
            .delta
            .clone()
            .optimize()
            .with_filters(&filters)
            .with_target_size(NonZeroU64::new(TARGET_BYTES).unwrap_or(NonZeroU64::MIN))
            .with_max_concurrent_tasks(1)
            .with_session_state(Arc::new(context.state()))
            .with_writer_properties(writer_properties(self.spec))
            .with_commit_properties(once)
            .await;
        if compacted.is_ok() && !self.store.has_committed() {
            // No files can be combined any further.
            return Ok(None);
        }
        match self.settle(base, compacted.map(|_| ())).await? {
            CommitOutcome::Conflicted { .. } => Ok(None),
            CommitOutcome::Committed { .. } => Ok(Some(Compaction { files_before, files_after: self.file_count() })),
            unknown @ CommitOutcome::Unknown { .. } => unknown.committed(self.spec.name).map(|_| None),
        }
    }

    /// Returns the partitions with at least `at_least` small files from before this run, as values of the partition
    /// column. A table without a partition column has one partition, with an empty value.
    fn partitions_to_compact(&self, at_least: usize) -> Vec<String> {
        let mut small: HashMap<String, usize> = HashMap::new();
        for file in self.files().filter(|file| file.bytes < SMALL_BYTES && !self.added.contains(&file.path)) {
            let path = Path::from(file.path);
            let directory = path.parts().next().filter(|_| self.spec.partition.is_some());
            let value = directory.as_ref().and_then(|part| part.as_ref().split_once('=')).map(|(_, value)| value);
            *small.entry(value.unwrap_or_default().to_owned()).or_default() += 1;
        }
        let mut partitions: Vec<_> =
            small.into_iter().filter(|(_, files)| *files >= at_least).map(|(it, _)| it).collect();
        partitions.sort();
        partitions
    }

    /// Removes superseded files whose retention has ended, and orphan files. Returns the number of removed files.
    ///
    /// The retention of a superseded file starts with the commit that superseded it, that of an orphan file when it was
    /// written. Orphaned change data has no retention, because its names tell it apart. Even an old orphan file may be
    /// about to be committed, by a run that resumes another run's listing. Therefore, as in [`Table::sweep`], an empty
    /// commit comes first, so that such a run conflicts.
    pub(super) async fn remove_expired(&mut self) -> Result<usize> {
        let superseded = self.vacuum_candidates(VacuumMode::Lite).await?;
        self.delete_files(&superseded).await;
        let found: Vec<Path> =
            self.removable_orphans().await?.into_iter().filter(|path| !superseded.contains(path)).collect();
        if found.is_empty() {
            return Ok(superseded.len());
        }
        self.fence().await?;
        let still_orphaned = self.removable_orphans().await?;
        let orphans: Vec<Path> = found.into_iter().filter(|path| still_orphaned.contains(path)).collect();
        self.delete_files(&orphans).await;
        Ok(superseded.len() + orphans.len())
    }

    /// Returns the orphan files that may be removed now.
    async fn removable_orphans(&self) -> Result<Vec<Path>> {
        let mut orphans = self.vacuum_candidates(VacuumMode::Full).await?;
        if !orphans.is_empty() {
            let old = self.sweepable_files().await?;
            orphans.retain(|path| old.contains(path));
        }
        orphans.extend(self.orphaned_changes().await?);
        Ok(orphans)
    }

    /// Returns the files that are old enough for a sweep, whether or not a version names them.
    async fn sweepable_files(&self) -> Result<HashSet<Path>> {
        let old = self.store.list(None).try_filter(|object| std::future::ready(self.may_sweep(object)));
        let old: Result<_, _> = old.map_ok(|object| object.location).try_collect().await;
        old.map_err(|error| store_error(&format!("the table {} cannot be listed", self.spec.name), &error))
    }

    /// Returns the data files that a vacuum would remove. [`Table::remove_expired`] removes them itself, because a
    /// vacuum by delta-rs makes two commits each time.
    async fn vacuum_candidates(&self, mode: VacuumMode) -> Result<Vec<Path>> {
        let failed = |error: DeltaTableError| store_error(&format!("{} cannot be vacuumed", self.spec.name), &error);
        let (_, vacuum) = self
            .delta
            .clone()
            .vacuum()
            .with_mode(mode)
            .with_retention_period(self.kept_for())
            .with_enforce_retention_duration(false)
            .with_dry_run(true)
            .await
            .map_err(failed)?;
        let candidates = vacuum.files_deleted.iter().map(|path| Path::from(path.as_str()));
        Ok(candidates.filter(|path| self.is_own_file(path)).collect())
    }
}
