//! Repair: makes a damaged table readable and writable again, with every row that can still be read.
//!
//! Nothing is deleted before the table is intact. Missing and unreadable log entries are replaced in place by empty
//! ones. Nobody knows which data files such an entry named. The table therefore gets the rows of all data files in its
//! directory, with only the newest row of each key. Missing data files are removed from the log. A repaired table has
//! no watermark, so the next sync is a full sync and restores the rows that Clerk still has.

use std::sync::Arc;

use arrow::datatypes::Schema;
use chrono::DateTime;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::table_schema::TableSchema;
use deltalake::kernel::Action;
use deltalake::protocol::SaveMode;
use deltalake::{DeltaTableError, checkpoints};
use futures::{StreamExt, TryStreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};

use super::change::CommitDetails;
use super::damage::{Flaw, LAST_CHECKPOINT, entry_path, is_whole};
use super::data_files::{DataFiles, key_value};
use super::layout::join;
use super::location::Location;
use super::table::{DataFile, RUN_INFO, Table};
use super::{Lake, RunArea, rows, store_error};
use crate::error::{Error, ErrorKind, Result, chain};
use crate::table::{SYNCED_AT, TableSpec, conform};

/// How many log entries are written concurrently.
const ENTRIES_AT_ONCE: usize = 16;

/// The result of a repair.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Repair {
    /// Log entries that were missing or unreadable.
    pub entries: usize,
    /// Checkpoints, or parts of checkpoints, that were missing or truncated.
    pub checkpoints: usize,
    /// Data files that were missing or truncated.
    pub files: usize,
    /// Rows in these files, according to the log.
    pub rows_lost: u64,
}

impl Repair {
    /// Returns whether rows may be missing, so that the next sync must be a full sync.
    #[must_use]
    pub fn has_lost_rows(&self) -> bool {
        self.entries > 0 || self.files > 0
    }
}

impl Table {
    /// Opens `spec`'s table in `lake` for writing, and repairs it if it is damaged. Returns the table and what was
    /// repaired; `None` if the table is not damaged, or has not been written yet.
    ///
    /// # Errors
    /// [`Conflict`](ErrorKind::Conflict) if another run commits at the same time;
    /// [`Unreachable`](ErrorKind::Unreachable) if the store fails.
    pub async fn open_repaired(
        lake: &Lake,
        spec: &'static TableSpec,
        area: &RunArea,
    ) -> Result<(Self, Option<Repair>)> {
        let mut repair = Repair::default();
        let mut table = match Self::open(lake, spec, Some(area)).await {
            Err(error) if error.kind() == ErrorKind::Damaged => {
                let unopened = Self::unopened(lake, spec, Some(area))?;
                repair.entries = unopened.repair_log().await?;
                Self::open(lake, spec, Some(area)).await?
            }
            other => other?,
        };
        repair.checkpoints = table.mend_checkpoints().await?;
        let flawed = table.flawed_files().await?;
        repair.files = flawed.len();
        repair.rows_lost = flawed.iter().map(|(file, _)| file.rows).sum();
        if repair.entries > 0 {
            table.rebuild_from_files(&flawed, repair).await?;
        } else if repair.files > 0 {
            table.remove_damaged_files(&flawed, repair).await?;
        }
        Ok((table, (repair != Repair::default()).then_some(repair)))
    }

    /// Replaces each needed log entry that is missing or unreadable by one that does nothing, and removes unusable
    /// checkpoints. Returns the number of replaced entries.
    async fn repair_log(&self) -> Result<usize> {
        let log = self.log_state().await?;
        let name = self.spec.name;
        let failed = |error: object_store::Error| store_error(&format!("the log of {name} cannot be repaired"), &error);
        let empty_entry =
            serde_json::json!({ "commitInfo": { "operation": "REPAIR", RUN_INFO: { "mode": "repair" } } });
        let empty_entry = format!("{empty_entry}\n");
        let mut first_entry = empty_entry.clone();
        if !log.has_metadata {
            first_entry.push_str(&self.declaration().await?);
        }
        let put = |version: &u64| {
            let text = if *version == log.first { first_entry.clone() } else { empty_entry.clone() };
            let (store, entry) = (Arc::clone(&self.store), entry_path(*version));
            async move { store.put(&entry, text.into()).await }
        };
        // The first entry is written last. Until it exists, the table counts as damaged.
        let puts: Vec<_> = log.flawed.keys().rev().map(put).collect();
        futures::stream::iter(puts).buffered(ENTRIES_AT_ONCE).try_collect::<Vec<_>>().await.map_err(failed)?;
        self.remove_unusable_checkpoints(&log.useless).await?;
        Ok(log.flawed.len())
    }

    /// Returns the log lines that declare this table, as its first commit would contain them: protocol and metadata.
    async fn declaration(&self) -> Result<String> {
        let scratch = Lake::new(Location::of_store(Arc::new(InMemory::new()))?).keeping(self.lake.keeping);
        let table = Self::unopened(&scratch, self.spec, None)?;
        let bug = |error: &(dyn std::error::Error + 'static)| Error::bug(chain(error));
        table.create(Vec::new(), change_of_repair(Repair::default())).await.map_err(|error| bug(&error))?;
        let entry = table.store.get(&entry_path(0)).await.map_err(|error| bug(&error))?;
        let entry = entry.bytes().await.map_err(|error| bug(&error))?;
        let text = String::from_utf8_lossy(&entry).into_owned();
        let declares = |line: &&str| line.starts_with("{\"protocol\"") || line.starts_with("{\"metaData\"");
        Ok(text.lines().filter(declares).flat_map(|line| [line, "\n"]).collect())
    }

    /// Removes the unusable checkpoints that opening the table skipped, and writes a new one. Returns the number of
    /// removed files.
    pub(super) async fn mend_checkpoints(&mut self) -> Result<usize> {
        let useless = std::mem::take(&mut self.useless_checkpoints);
        if useless.is_empty() {
            return Ok(0);
        }
        self.remove_unusable_checkpoints(&useless).await?;
        self.reopen_over(Arc::clone(&self.lake.location().root))?;
        let failed = |error: DeltaTableError| {
            store_error(&format!("the checkpoint of {} cannot be rewritten", self.spec.name), &error)
        };
        self.delta.load().await.map_err(failed)?;
        checkpoints::create_checkpoint(&self.delta, None).await.map_err(failed)?;
        tracing::info!(table = self.spec.name, files = useless.len(), "rewrote the checkpoint of the log");
        Ok(useless.len())
    }

    /// Removes checkpoint files. The file that points to the last checkpoint is removed first.
    async fn remove_unusable_checkpoints(&self, useless: &[Path]) -> Result<()> {
        let hint = Path::from(LAST_CHECKPOINT);
        let hints = useless.iter().filter(|path| **path == hint);
        for path in hints.chain(useless.iter().filter(|path| **path != hint)) {
            match self.store.delete(path).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => {
                    return Err(store_error(&format!("the log of {} cannot be repaired", self.spec.name), &error));
                }
            }
        }
        Ok(())
    }

    /// Commits the removal of these files from the table.
    async fn remove_damaged_files(&mut self, flawed: &[(DataFile, Flaw)], repair: Repair) -> Result<()> {
        let is_damaged_file = |path: &str| flawed.iter().any(|(file, _)| file.path == path);
        let removed: Vec<Action> = self.removals(is_damaged_file);
        let outcome =
            self.commit(Vec::new(), removed, self.write_operation(SaveMode::Append), change_of_repair(repair)).await?;
        outcome.committed(self.spec.name).map(|_| ())
    }

    /// Returns a remove action for each file of the table whose path is `chosen`.
    fn removals(&self, chosen: impl Fn(&str) -> bool) -> Vec<Action> {
        let Ok(state) = self.delta.snapshot() else { return Vec::new() };
        let files = state.log_data();
        let chosen = files.iter().filter(|file| chosen(file.object_store_path().as_ref()));
        chosen.map(|file| Action::Remove(file.remove_action(true))).collect()
    }

    /// Replaces the table's rows by those of all readable data files in its directory, keeping only the newest row of
    /// each key.
    async fn rebuild_from_files(&mut self, flawed: &[(DataFile, Flaw)], repair: Repair) -> Result<()> {
        let files = self.readable_files(flawed).await?;
        let context = self.lake.narrow_context();
        let schema = self.spec.schema();
        let failed = |error: datafusion::error::DataFusionError| rows::failed(&error);
        let found = DataFiles::new(&self.lake, Arc::clone(&schema), self.columns(), files)?;
        context.register_table("found", Arc::new(found)).map_err(failed)?;
        let columns: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let sql = format!(
            "SELECT {} FROM (SELECT *, row_number() OVER (PARTITION BY {} ORDER BY {SYNCED_AT} DESC) AS nth FROM found) \
             WHERE nth = 1",
            columns.join(", "),
            self.spec.key.join(", ")
        );
        let mut rows = context.sql(&sql).await.map_err(failed)?.execute_stream().await.map_err(failed)?;
        let mut writer = self.writer()?;
        while let Some(batch) = rows.try_next().await.map_err(failed)? {
            writer.write_stamped(conform(&batch, &schema)?).await?;
        }
        let staged = writer.finish().await?;
        let removed = self.removals(|_| true);
        let outcome = self
            .commit(staged.adds, removed, self.write_operation(SaveMode::Overwrite), change_of_repair(repair))
            .await?;
        outcome.committed(self.spec.name).map(|_| ())
    }

    /// Returns the columns in the order of the data files, with the partition column last.
    fn columns(&self) -> TableSchema {
        let (keys, rest) = self.keys_and_rest(&self.spec.schema());
        TableSchema::builder(Arc::new(Schema::new(rest))).with_table_partition_cols(keys).build()
    }

    /// Returns the intact data files in the table's directory, whether or not a version names them.
    async fn readable_files(&self, flawed: &[(DataFile, Flaw)]) -> Result<Vec<PartitionedFile>> {
        let failed = |error: object_store::Error| {
            store_error(&format!("the data files of {} cannot be read", self.spec.name), &error)
        };
        let objects: Vec<ObjectMeta> = self.store.list(None).try_collect().await.map_err(failed)?;
        let is_damaged_file = |path: &Path| flawed.iter().any(|(file, _)| file.path == path.as_ref());
        let own = objects.into_iter().filter(|it| self.is_own_file(&it.location) && !is_damaged_file(&it.location));
        let mut readable = Vec::new();
        for object in own {
            let content = self.store.get(&object.location).await.map_err(failed)?.bytes().await.map_err(failed)?;
            if is_whole(content) {
                readable.push(self.found_file(object)?);
            } else {
                tracing::warn!(table = self.spec.name, file = %object.location, "skipped an unreadable data file");
            }
        }
        Ok(readable)
    }

    /// Returns a data file of the table's directory, with the partition value that its path contains.
    fn found_file(&self, object: ObjectMeta) -> Result<PartitionedFile> {
        let location = join(&self.lake.table_prefix(self.spec.name), &object.location);
        let path = object.location.clone();
        let mut found = PartitionedFile::new_from_meta(ObjectMeta { location, ..object });
        for key in self.columns().table_partition_cols() {
            let of_key =
                |part: &str| part.split_once('=').filter(|(name, _)| *name == key.name()).map(|it| it.1.to_owned());
            let value = path.parts().find_map(|part| of_key(part.as_ref()));
            let value = value.filter(|value| value != "__HIVE_DEFAULT_PARTITION__");
            let value = key_value(value, key.data_type()).map_err(|error| Error::bug(chain(&error)))?;
            found.partition_values.push(value);
        }
        Ok(found)
    }
}

/// Returns the change of a repair's commit apart from its rows. Its watermark of 0 means that the table has none.
fn change_of_repair(repair: Repair) -> CommitDetails {
    let info = [
        ("mode", "repair".into()),
        ("entriesMended", repair.entries.into()),
        ("filesLost", repair.files.into()),
        ("rowsDeleted", repair.rows_lost.into()),
    ];
    CommitDetails {
        watermark: Some(DateTime::UNIX_EPOCH),
        instance: None,
        unreadable: None,
        positions: Vec::new(),
        info: info.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
    }
}
