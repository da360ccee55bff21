//! Commits: rows, removals and the watermark become visible together, or not at all.
//!
//! Every commit is made on exactly the version that it was computed from. Whoever finds another version there
//! has lost, and is told which one won; nothing is rebased behind anybody's back.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use deltalake::DeltaTableError;
use deltalake::kernel::engine::arrow_conversion::TryIntoKernel;
use deltalake::kernel::transaction::{CommitBuilder, CommitProperties, TableReference, TransactionError};
use deltalake::kernel::{Action, Add, MetadataExt, StructType, Transaction};
use deltalake::operations::create::CreateBuilder;
use deltalake::protocol::{DeltaOperation, SaveMode};
use object_store::path::Path;

use super::change::{Change, CommitOutcome, Counts, Upsert};
use super::feed::properties_from_the_beginning;
use super::table::{INSTANCE, LAYOUT, LAYOUT_VERSION, RUN_INFO, Table, UNREADABLE, WATERMARK};
use super::writer::{StagedRows, writer_properties};
use super::{compare, store_error, upkeep};
use crate::error::{Error, ErrorKind, Result};

/// How often a table is loaded again after a commit.
const RELOADS: u32 = 3;

/// The wait in between.
const BETWEEN_RELOADS: Duration = Duration::from_millis(100);

impl Table {
    /// What replacing the table's rows by `staged` would change.
    ///
    /// # Errors
    /// [`Unreachable`](ErrorKind::Unreachable) where the store fails.
    pub async fn changes_by(&self, staged: &StagedRows) -> Result<Counts> {
        if self.exists() {
            compare::replacement(self, staged).await
        } else {
            Ok(Counts { inserted: staged.rows, ..Counts::default() })
        }
    }

    /// Replaces all rows by `staged`, in one commit with the watermark; then removes the files it superseded.
    /// `counts` is what [`Table::changes_by`] said; where nothing differs only the watermark moves, and no data
    /// file is written.
    ///
    /// # Errors
    /// [`Unreachable`](ErrorKind::Unreachable) where the store fails; then nothing has changed.
    pub async fn replace(&mut self, staged: StagedRows, counts: Counts, change: Change) -> Result<CommitOutcome> {
        let change = change.with_counts(counts);
        if self.exists() && counts == Counts::default() {
            return self.touch(change).await;
        }
        let mut others = Box::pin(self.record_replaced(&staged)).await?;
        if let Ok(state) = self.delta.snapshot() {
            others.extend(state.log_data().iter().map(|file| Action::Remove(file.remove_action(true))));
        }
        let mode = SaveMode::Overwrite;
        self.commit(staged.adds, others, mode, change).await
    }

    /// Finds out what inserting `staged` rows whose key is new, and updating those whose content differs, comes
    /// to. A key must not come twice in `staged`.
    ///
    /// # Errors
    /// [`Unreachable`](ErrorKind::Unreachable) where the store fails.
    pub async fn prepare_upsert(&self, staged: StagedRows) -> Result<Upsert> {
        if staged.rows == 0 || self.file_count() == 0 {
            return Ok(Upsert::of_new(staged));
        }
        let compare::Changed { rows, counts } = compare::changed_rows(self, &staged).await?;
        Ok(Upsert { rows, counts })
    }

    /// Finds out which `staged` rows have a key that the table lacks; the others are left as they are.
    ///
    /// # Errors
    /// [`Unreachable`](ErrorKind::Unreachable) where the store fails.
    pub async fn prepare_insert(&self, staged: StagedRows) -> Result<Upsert> {
        if staged.rows == 0 || self.file_count() == 0 {
            return Ok(Upsert::of_new(staged));
        }
        let compare::Changed { rows, counts } = compare::new_rows(self, &staged).await?;
        Ok(Upsert { rows, counts })
    }

    /// Inserts and updates what [`Table::prepare_upsert`] found, in one commit with the watermark. Where nothing
    /// differs only the watermark moves, and no data file is written.
    ///
    /// # Errors
    /// [`Unreachable`](ErrorKind::Unreachable) where the store fails; then nothing has changed.
    pub async fn commit_upsert(&mut self, upsert: Upsert, change: Change) -> Result<CommitOutcome> {
        let change = change.with_counts(upsert.counts);
        if upsert.counts == Counts::default() && self.exists() {
            self.touch(change).await
        } else if upsert.counts.updated == 0 {
            let record = Box::pin(self.record_inserted(&upsert.rows)).await?;
            self.commit(upsert.rows.adds, record, SaveMode::Append, change).await
        } else {
            self.merge(&upsert.rows, change).await
        }
    }

    /// Moves the watermark and nothing else: what was read is what the table has.
    ///
    /// # Errors
    /// [`Unreachable`](ErrorKind::Unreachable) where the store fails; then nothing has changed.
    async fn touch(&mut self, change: Change) -> Result<CommitOutcome> {
        self.commit(Vec::new(), Vec::new(), SaveMode::Append, change).await
    }

    /// A commit without rows, which any other run under way loses to.
    pub(super) async fn fence(&mut self) -> Result<()> {
        let info = serde_json::Map::from_iter([("mode".to_owned(), "sweep".into())]);
        let change = Change { watermark: None, instance: None, unreadable: None, positions: Vec::new(), info };
        let outcome = self.commit(Vec::new(), Vec::new(), SaveMode::Append, change).await?;
        let version = outcome.committed(self.spec.name)?;
        if self.version() >= Some(version) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Unreachable, format!("the table {} cannot be read again", self.spec.name))
            .with_hint("run again: nothing half-done was written"))
    }

    /// Commits `adds` and `others`: what is removed, and what records the changes. A table's first commit has none.
    pub(super) async fn commit(
        &mut self,
        adds: Vec<Add>,
        others: Vec<Action>,
        mode: SaveMode,
        change: Change,
    ) -> Result<CommitOutcome> {
        let base = Base::of(self);
        let result = match self.delta.snapshot() {
            Err(_) => self.create(adds, change).await.map(|_| ()),
            Ok(state) => {
                let metadata = self.changed_metadata(&change);
                let actions = adds.into_iter().map(Action::Add).chain(others).chain(metadata).collect();
                let operation = DeltaOperation::Write {
                    mode,
                    partition_by: self.spec.partition.map(|column| vec![column.to_owned()]),
                    predicate: None,
                };
                CommitBuilder::from(properties(&change))
                    .with_actions(actions)
                    .build(Some(state as &dyn TableReference), self.log_store(), operation)
                    .await
                    .map(|_| ())
            }
        };
        self.settle(base, result).await
    }

    /// The table's metadata with what has not been known so far: the instance that its rows come from, and how long
    /// its past is kept.
    fn changed_metadata(&self, change: &Change) -> Option<Action> {
        let instance = change.instance.clone().filter(|_| self.instance().is_none());
        let instance = instance.map(|instance| (INSTANCE.to_owned(), instance));
        let new = |(name, value): &(String, String)| self.property(name).as_deref() != Some(value);
        let kept: Vec<_> = upkeep::properties(self.spec, self.kept_for()).into_iter().filter(new).collect();
        let changed: Vec<_> = instance.into_iter().chain(kept).collect();
        if changed.is_empty() {
            return None;
        }
        let metadata = self.delta.snapshot().ok()?.metadata().clone();
        let metadata =
            changed.into_iter().try_fold(metadata, |it, (name, value)| it.add_config_key(name, value)).ok()?;
        Some(Action::Metadata(metadata))
    }

    /// The table's first commit: its schema, its rows and the watermark at once.
    pub(super) async fn create(&self, adds: Vec<Add>, change: Change) -> Result<u64, DeltaTableError> {
        let schema: StructType = self.spec.schema().as_ref().try_into_kernel()?;
        let mut properties_of_table: HashMap<String, Option<String>> = HashMap::from([
            (LAYOUT.to_owned(), Some(LAYOUT_VERSION.to_owned())),
            ("clerk_lake.shape".to_owned(), Some(self.spec.shape.word().to_owned())),
            ("clerk_lake.key".to_owned(), Some(self.spec.key.join(","))),
            ("clerk_lake.source".to_owned(), Some(self.spec.source.to_owned())),
        ]);
        properties_of_table.insert(INSTANCE.to_owned(), change.instance.clone());
        properties_of_table.extend(
            upkeep::properties(self.spec, self.kept_for()).into_iter().map(|(name, value)| (name, Some(value))),
        );
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

    async fn merge(&mut self, changed: &StagedRows, change: Change) -> Result<CommitOutcome> {
        use datafusion::prelude::col;
        let start = tokio::time::Instant::now();
        let session = self.lake.merge_session();
        let source = session.read_table(changed.provider(&self.lake, self.spec)?);
        let source = source.map_err(|error| store_error("rows cannot be merged", &error))?;
        let base = Base::of(self);
        // The key alone: a row may have come to another partition.
        let same = self.spec.key.iter().map(|name| col(format!("target.{name}")).eq(col(format!("source.{name}"))));
        let same = same.reduce(datafusion::prelude::Expr::and).ok_or_else(|| Error::bug("a table without a key"))?;
        let schema = self.spec.schema();
        let names = || schema.fields().iter().map(|field| field.name().clone());
        let quoted = |name: &str| format!("source.{name}");
        let merged = self
            .delta
            .clone()
            .merge(source, same)
            .with_session_state(Arc::new(session.state()))
            .with_source_alias("source")
            .with_target_alias("target")
            .with_writer_properties(writer_properties(self.spec))
            .with_commit_properties(properties(&change))
            .when_matched_update(|update| {
                names().fold(update, |update, name| {
                    let value = col(quoted(&name));
                    update.update(name, value)
                })
            })
            .and_then(|merge| {
                merge.when_not_matched_insert(|insert| {
                    names().fold(insert, |insert, name| {
                        let value = col(quoted(&name));
                        insert.set(name, value)
                    })
                })
            });
        let result = match merged {
            Ok(merge) => merge.await.map(|(_, metrics)| {
                let elapsed_ms = start.elapsed().as_millis();
                tracing::debug!(table = self.spec.name, elapsed_ms, ?metrics, "merged");
            }),
            Err(error) => Err(error),
        };
        self.settle(base, result).await
    }

    /// Takes in the outcome: on success the new version is loaded and what it superseded is removed. What fails
    /// after the commit is put into the log (a checkpoint, say) does not undo it.
    pub(super) async fn settle(&mut self, base: Base, result: Result<(), DeltaTableError>) -> Result<CommitOutcome> {
        let (made, is_unknown) = (self.store.take_committed(), self.store.take_unknown());
        match (result, made) {
            (Err(error), None) if is_unknown => {
                Ok(CommitOutcome::Unknown { error: store_error("what the store said", &error) })
            }
            (Err(error), None) if is_conflict(&error) => Ok(CommitOutcome::Conflicted { base: base.version }),
            (Err(error), None) => Err(store_error(&format!("the commit to {} failed", self.spec.name), &error)),
            (Ok(()), None) => Err(Error::bug(format!("a commit to {} was made behind its store", self.spec.name))),
            (result, Some(version)) => {
                if let Err(error) = result {
                    tracing::warn!(table = self.spec.name, %error, "committed, but what follows a commit failed");
                }
                match self.reload().await {
                    Ok(()) => self.remove_superseded(&base).await,
                    Err(error) => tracing::warn!(
                        table = self.spec.name, %error,
                        "committed, but the table cannot be read again: the next run removes what was superseded"
                    ),
                }
                Ok(CommitOutcome::Committed { version })
            }
        }
    }

    /// Loads the newest version, trying more than once: what was superseded is known only after that.
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

    /// Removes the files that the table had at `base` and has no longer, and what a crash had left before the
    /// table's first commit.
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

/// What a commit is computed from.
pub(super) struct Base {
    version: Option<u64>,
    files: Vec<String>,
}

impl Base {
    pub(super) fn of(table: &Table) -> Self {
        Self { version: table.version(), files: table.files().map(|file| file.path).collect() }
    }
}

fn properties(change: &Change) -> CommitProperties {
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
        // Another run has written the table's first version meanwhile; delta-rs keeps the error's type to itself.
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
