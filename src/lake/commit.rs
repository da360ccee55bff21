//! Commits: rows, deletions and the watermark become visible together, or not at all.
//!
//! Commits are optimistic. A commit succeeds only on exactly the version that it was computed from; if another run has
//! committed since, the outcome is [`Conflicted`](CommitOutcome::Conflicted). A commit is never rebased.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use deltalake::DeltaTableError;
use deltalake::kernel::engine::arrow_conversion::TryIntoKernel;
use deltalake::kernel::transaction::{CommitBuilder, CommitProperties, TableReference, TransactionError};
use deltalake::kernel::{Action, Add, MetadataExt, StructType, Transaction};
use deltalake::operations::create::CreateBuilder;
use deltalake::protocol::{DeltaOperation, SaveMode};
use futures::TryStreamExt;
use object_store::path::Path;

use super::change::{CommitDetails, CommitOutcome, Counts};
use super::diff::Diff;
use super::feed::properties_from_the_beginning;
use super::identity::{KeyHasher, rows_where};
use super::record::Record;
use super::retention::retention;
use super::rows::{Committed, failed, file_name};
use super::store_error;
use super::table::{INSTANCE, LAYOUT, LAYOUT_VERSION, RUN_INFO, Table, UNREADABLE, WATERMARK};
use super::writer::Writer;
use crate::error::{Error, ErrorKind, Result};
use crate::table::conform;

/// How often loading the table after a commit is retried.
const RELOADS: u32 = 3;

/// The delay between two tries.
const BETWEEN_RELOADS: Duration = Duration::from_millis(100);

/// The actions that a commit adds to the log, and the name of its operation.
struct PreparedCommit {
    adds: Vec<Add>,
    others: Vec<Action>,
    operation: DeltaOperation,
}

impl Table {
    /// Commits `diff` together with the watermark, then removes the files that the commit superseded. The diff must
    /// have been computed from the version that the table is open at.
    ///
    /// The commit writes as little as possible:
    /// - no data file if no row changes,
    /// - only new files if all changed rows are new,
    /// - the staged files as they are if the diff is complete and touches most of the table,
    /// - otherwise the data files that hold changed rows.
    ///
    /// # Errors
    /// [`Unreachable`](ErrorKind::Unreachable) if the store fails; nothing has changed then.
    pub async fn commit_diff(&mut self, diff: Diff, change: CommitDetails) -> Result<CommitOutcome> {
        let change = change.with_counts(diff.counts);
        if diff.counts == Counts::default() && self.exists() {
            return self.commit_without_rows(change).await;
        }
        let prepared = if diff.is_overwrite || (diff.is_complete && !diff.drops_staged && self.touches_most(&diff)) {
            self.overwritten(diff).await?
        } else if diff.outdated.is_empty() {
            self.appended(diff).await?
        } else {
            self.rewritten(&diff).await?
        };
        self.commit(prepared.adds, prepared.others, prepared.operation, change).await
    }

    /// Returns whether the data files that hold changed rows are more than half of the table's bytes.
    fn touches_most(&self, diff: &Diff) -> bool {
        let touched: u64 =
            self.files().filter(|file| diff.touched.contains(file_name(&file.path))).map(|file| file.bytes).sum();
        touched * 2 > self.bytes()
    }

    /// Prepares an append: the staged files, without the rows that the table already has.
    async fn appended(&self, diff: Diff) -> Result<PreparedCommit> {
        let mut record = Record::begin(self, &diff)?;
        let mut writer = if diff.changes_all() { None } else { Some(self.writer()?) };
        if record.is_some() || writer.is_some() {
            self.read_changed_rows(&diff, writer.as_mut(), record.as_mut()).await?;
        }
        let others = Record::finish_all(record).await?;
        let adds = match writer {
            Some(writer) => writer.finish().await?.adds,
            None => diff.staged.adds,
        };
        Ok(PreparedCommit { adds, others, operation: self.write_operation(SaveMode::Append) })
    }

    /// Prepares a merge: the data files that hold deleted or replaced rows are rewritten without these rows, and the
    /// changed rows are added.
    async fn rewritten(&self, diff: &Diff) -> Result<PreparedCommit> {
        let mut record = Record::begin(self, diff)?;
        let mut writer = self.writer()?;
        self.read_touched_files(diff, Some(&mut writer), record.as_mut()).await?;
        self.read_changed_rows(diff, Some(&mut writer), record.as_mut()).await?;
        let mut others = Record::finish_all(record).await?;
        others.extend(self.removes(|name| diff.touched.contains(name)));
        let operation = DeltaOperation::Merge {
            predicate: None,
            merge_predicate: None,
            matched_predicates: Vec::new(),
            not_matched_predicates: Vec::new(),
            not_matched_by_source_predicates: Vec::new(),
        };
        Ok(PreparedCommit { adds: writer.finish().await?.adds, others, operation })
    }

    /// Prepares an overwrite: the staged files replace all data files of the table.
    async fn overwritten(&self, diff: Diff) -> Result<PreparedCommit> {
        let mut record = Record::begin(self, &diff)?;
        if record.is_some() {
            self.read_touched_files(&diff, None, record.as_mut()).await?;
            self.read_changed_rows(&diff, None, record.as_mut()).await?;
        }
        let mut others = Record::finish_all(record).await?;
        others.extend(self.removes(|_| true));
        Ok(PreparedCommit { adds: diff.staged.adds, others, operation: self.write_operation(SaveMode::Overwrite) })
    }

    /// Reads the data files that `diff` touches. Rows that stay go to `writer`, the others to `record`.
    async fn read_touched_files(
        &self,
        diff: &Diff,
        mut writer: Option<&mut Writer>,
        mut record: Option<&mut Record<'_>>,
    ) -> Result<()> {
        let hasher = KeyHasher::new(self.spec)?;
        let mut gone = 0;
        if diff.touched.is_empty() {
            return Ok(());
        }
        let mut rows = self.committed(Committed { files: Some(&diff.touched), ..Committed::default() }).await?;
        while let Some(batch) = rows.try_next().await.map_err(|error| failed(&error))? {
            let batch = conform(&batch, &self.spec.schema())?;
            let keys = hasher.keys(&batch)?;
            gone += keys.iter().filter(|key| diff.outdated.contains(key)).count() as u64;
            if let Some(writer) = writer.as_mut() {
                writer.write_stamped(rows_where(&batch, &keys, |key| !diff.outdated.contains(key))?).await?;
            }
            if let Some(record) = record.as_mut() {
                record.take_outdated(&batch, &keys).await?;
            }
        }
        if gone < diff.outdated.len() as u64 {
            let (wanted, name) = (diff.outdated.len(), self.spec.name);
            return Err(Error::bug(format!("{wanted} rows of {name} were to be replaced, but only {gone} were found")));
        }
        Ok(())
    }

    /// Reads the staged rows. Those that are new or differ go to `writer` and to `record`.
    async fn read_changed_rows(
        &self,
        diff: &Diff,
        mut writer: Option<&mut Writer>,
        mut record: Option<&mut Record<'_>>,
    ) -> Result<()> {
        let hasher = KeyHasher::new(self.spec)?;
        if diff.counts.inserted + diff.counts.updated == 0 {
            return Ok(());
        }
        let mut rows = self.all_staged(&diff.staged, None).await?;
        while let Some(batch) = rows.try_next().await.map_err(|error| failed(&error))? {
            let batch = conform(&batch, &self.spec.schema())?;
            let keys = hasher.keys(&batch)?;
            if let Some(writer) = writer.as_mut() {
                writer.write_stamped(rows_where(&batch, &keys, |key| diff.is_changed(key))?).await?;
            }
            if let Some(record) = record.as_mut() {
                record.take_changed(&batch, &keys).await?;
            }
        }
        Ok(())
    }

    /// Returns the actions that remove the data files whose names are `wanted`.
    fn removes(&self, wanted: impl Fn(&str) -> bool) -> Vec<Action> {
        let Ok(state) = self.delta.snapshot() else { return Vec::new() };
        let files = state.log_data();
        let wanted = files.iter().filter(|file| wanted(file_name(file.object_store_path().as_ref())));
        wanted.map(|file| Action::Remove(file.remove_action(true))).collect()
    }

    pub(super) fn write_operation(&self, mode: SaveMode) -> DeltaOperation {
        DeltaOperation::Write {
            mode,
            partition_by: self.spec.partition.map(|column| vec![column.to_owned()]),
            predicate: None,
        }
    }

    /// Commits `change` without rows: the watermark moves, and the rows stay as they are.
    ///
    /// # Errors
    /// [`Unreachable`](ErrorKind::Unreachable) if the store fails; nothing has changed then.
    async fn commit_without_rows(&mut self, change: CommitDetails) -> Result<CommitOutcome> {
        self.commit(Vec::new(), Vec::new(), self.write_operation(SaveMode::Append), change).await
    }

    /// Makes an empty commit, so that the commit of any other active run fails with a conflict.
    pub(super) async fn fence(&mut self) -> Result<()> {
        let info = serde_json::Map::from_iter([("mode".to_owned(), "sweep".into())]);
        let change = CommitDetails { watermark: None, instance: None, unreadable: None, positions: Vec::new(), info };
        let outcome = self.commit_without_rows(change).await?;
        let version = outcome.committed(self.spec.name)?;
        if self.version() >= Some(version) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Unreachable, format!("the table {} cannot be read after a commit", self.spec.name))
            .with_hint("run again: no partial data was written")
            .transient())
    }

    /// Commits `adds` and `others`: the removals and the change data files. A table's first commit has no `others`.
    pub(super) async fn commit(
        &mut self,
        adds: Vec<Add>,
        others: Vec<Action>,
        operation: DeltaOperation,
        change: CommitDetails,
    ) -> Result<CommitOutcome> {
        let base = Base::of(self);
        let result = match self.delta.snapshot() {
            Err(_) => self.create(adds, change).await.map(|_| ()),
            Ok(state) => {
                let metadata = self.changed_metadata(&change);
                let actions = adds.into_iter().map(Action::Add).chain(others).chain(metadata).collect();
                CommitBuilder::from(properties(&change))
                    .with_actions(actions)
                    .build(Some(state as &dyn TableReference), self.log_store(), operation)
                    .await
                    .map(|_| ())
            }
        };
        self.settle(base, result).await
    }

    /// Returns the table's metadata with properties that are new or have changed: the instance that its rows come from,
    /// and the retention of old versions. `None` if the metadata stays as it is.
    fn changed_metadata(&self, change: &CommitDetails) -> Option<Action> {
        let instance = change.instance.clone().filter(|_| self.instance().is_none());
        let instance = instance.map(|instance| (INSTANCE.to_owned(), instance));
        let new = |(name, value): &(String, String)| self.property(name).as_deref() != Some(value);
        let kept: Vec<_> = retention(self.spec, self.kept_for()).into_iter().filter(new).collect();
        let changed: Vec<_> = instance.into_iter().chain(kept).collect();
        if changed.is_empty() {
            return None;
        }
        let metadata = self.delta.snapshot().ok()?.metadata().clone();
        let metadata =
            changed.into_iter().try_fold(metadata, |it, (name, value)| it.add_config_key(name, value)).ok()?;
        Some(Action::Metadata(metadata))
    }

    /// Makes the table's first commit: its schema, its rows and the watermark in one. Returns the version.
    pub(super) async fn create(&self, adds: Vec<Add>, change: CommitDetails) -> Result<u64, DeltaTableError> {
        let schema: StructType = self.spec.schema().as_ref().try_into_kernel()?;
        let mut properties_of_table: HashMap<String, Option<String>> = HashMap::from([
            (LAYOUT.to_owned(), Some(LAYOUT_VERSION.to_owned())),
            ("clerk_lake.shape".to_owned(), Some(self.spec.shape.word().to_owned())),
            ("clerk_lake.key".to_owned(), Some(self.spec.key.join(","))),
            ("clerk_lake.source".to_owned(), Some(self.spec.source.to_owned())),
        ]);
        properties_of_table.insert(INSTANCE.to_owned(), change.instance.clone());
        properties_of_table
            .extend(retention(self.spec, self.kept_for()).into_iter().map(|(name, value)| (name, Some(value))));
        if self.lake.keeping.change_data_feed == Some(true) {
            properties_of_table.extend(properties_from_the_beginning());
        }
        let table = CreateBuilder::new()
            .with_log_store(self.log_store())
            .with_table_name(self.spec.name)
            .with_comment(self.spec.meaning)
            .with_columns(schema.fields().cloned())
            .with_partition_columns(self.spec.partition)
            .with_configuration(properties_of_table)
            .with_raise_if_key_not_exists(false)
            .with_commit_properties(properties(&change))
            .with_actions(adds.into_iter().map(Action::Add))
            .await?;
        Ok(table.version().unwrap_or(0))
    }

    /// Converts the result of a commit to its outcome. On success, loads the new version and removes the files that it
    /// superseded. A failure after the commit is in the log (of a Delta checkpoint, for example) does not undo it.
    pub(super) async fn settle(&mut self, base: Base, result: Result<(), DeltaTableError>) -> Result<CommitOutcome> {
        self.forget_opened();
        let (made, is_unknown) = (self.store.take_committed(), self.store.take_unknown());
        match (result, made) {
            (Err(error), None) if is_unknown => {
                Ok(CommitOutcome::Unknown { error: store_error("store error", &error) })
            }
            (Err(error), None) if is_conflict(&error) => Ok(CommitOutcome::Conflicted { base: base.version }),
            (Err(error), None) => Err(store_error(&format!("the commit to {} failed", self.spec.name), &error)),
            (Ok(()), None) => Err(Error::bug(format!("a commit to {} bypassed the staged store", self.spec.name))),
            (result, Some(version)) => {
                if let Err(error) = result {
                    tracing::warn!(table = self.spec.name, %error, "committed, but a step after the commit failed");
                }
                match self.reload().await {
                    Ok(()) => {
                        self.note_opened();
                        let new = |path: &String| !base.files.contains(path);
                        let added: Vec<String> = self.files().map(|file| file.path).filter(new).collect();
                        self.added.extend(added);
                        self.remove_superseded(&base).await;
                    }
                    Err(error) => tracing::warn!(
                        table = self.spec.name, %error,
                        "committed, but the table cannot be read: the next run removes the superseded files"
                    ),
                }
                Ok(CommitOutcome::Committed { version })
            }
        }
    }

    /// Loads the newest version, with retries: only then is it known which files are superseded.
    async fn reload(&mut self) -> Result<(), DeltaTableError> {
        let mut tries = 0;
        loop {
            match self.delta.update_state().await {
                Err(_) if tries < RELOADS => tries += 1,
                other => return other,
            }
            tokio::time::sleep(BETWEEN_RELOADS).await;
        }
    }

    /// Removes the files that the table had at `base` and has no longer, and those that a crash left before the table's
    /// first commit. Does nothing if old versions are kept.
    async fn remove_superseded(&mut self, base: &Base) {
        if self.keeps_history() {
            return;
        }
        let now: HashSet<String> = self.files().map(|file| file.path).collect();
        let superseded = base.files.iter().filter(|path| !now.contains(*path)).map(|path| Path::from(path.as_str()));
        let mut gone: Vec<Path> = superseded.collect();
        gone.extend(std::mem::take(&mut self.leftovers).into_iter().filter(|path| !now.contains(path.as_ref())));
        self.delete_files(&gone).await;
    }
}

/// The version that a commit is computed from, and its data files.
pub(super) struct Base {
    version: Option<u64>,
    files: HashSet<String>,
}

impl Base {
    pub(super) fn of(table: &Table) -> Self {
        Self { version: table.version(), files: table.files().map(|file| file.path).collect() }
    }
}

fn properties(change: &CommitDetails) -> CommitProperties {
    let watermark = change.watermark.map(|at| Transaction::new(WATERMARK, at.timestamp_millis()));
    let unreadable = change.unreadable.and_then(|rows| i64::try_from(rows).ok());
    let unreadable = unreadable.map(|rows| Transaction::new(UNREADABLE, rows));
    let positions = change.positions.iter().map(|(name, at)| Transaction::new(*name, *at));
    CommitProperties::default()
        .with_max_retries(0)
        .with_metadata([(RUN_INFO.to_owned(), serde_json::Value::Object(change.info.clone()))])
        .with_application_transactions(watermark.into_iter().chain(unreadable).chain(positions).collect())
}

fn is_conflict(error: &DeltaTableError) -> bool {
    match error {
        DeltaTableError::VersionAlreadyExists(_) => true,
        // Another run has written the table's first version. delta-rs does not export the type of this error.
        DeltaTableError::GenericError { source } => source.to_string().contains("already exists at that location"),
        DeltaTableError::Transaction { source } => matches!(
            source,
            TransactionError::VersionAlreadyExists(_)
                | TransactionError::MaxCommitAttempts(_)
                | TransactionError::CommitConflict(_)
        ),
        _ => false,
    }
}
