//! Repair: a damaged table becomes one that can be read and written again, with every row that can still be read.
//!
//! Nothing is deleted before the table is whole. Entries of the log that are gone or garbled are replaced by empty ones,
//! in place. If that has happened, nobody knows which of the data files in the table's directory they named: all rows
//! that lie there count, the newest one of each key. Data files that are gone are removed from the log. A repaired table
//! has no watermark, so the next sync reads everything and brings back what Clerk still has.

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

use super::change::Change;
use super::damage::{Flaw, LAST_CHECKPOINT, entry_path, is_whole};
use super::data_files::{DataFiles, key_value};
use super::layout::join;
use super::location::Location;
use super::table::{DataFile, RUN_INFO, Table};
use super::{Lake, RunArea, rows, store_error};
use crate::error::{Error, ErrorKind, Result, chain};
use crate::table::{SYNCED_AT, TableSpec, conform};

/// How many log entries are written at a time.
const ENTRIES_AT_ONCE: usize = 16;

/// What a repair did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Repair {
    /// Log entries that were gone or garbled.
    pub entries: usize,
    /// Checkpoints, and parts of them, that were gone or cut off.
    pub checkpoints: usize,
    /// Data files that were gone or cut off.
    pub files: usize,
    /// Rows that these files had, as far as the log says.
    pub rows_lost: u64,
}

impl Repair {
    /// Whether rows may be missing, so that the next sync has to read everything.
    #[must_use]
    pub fn has_lost_rows(&self) -> bool {
        self.entries > 0 || self.files > 0
    }
}

impl Table {
    /// Opens `spec`'s table in `lake` for writing, and repairs it if it is damaged. Returns what that took; `None` if
    /// nothing is wrong with the table, or it has not been written yet.
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
                repair.entries = unopened.mend_log().await?;
                Self::open(lake, spec, Some(area)).await?
            }
            other => other?,
        };
        repair.checkpoints = table.mend_checkpoints().await?;
        let flawed = table.flawed_files().await?;
        repair.files = flawed.len();
        repair.rows_lost = flawed.iter().map(|(file, _)| file.rows).sum();
        if repair.entries > 0 {
            table.take_in_whole_files(&flawed, repair).await?;
        } else if repair.files > 0 {
            table.remove_flawed(&flawed, repair).await?;
        }
        Ok((table, (repair != Repair::default()).then_some(repair)))
    }

    /// Replaces every entry of the log that is needed and gone or garbled by one that does nothing, and removes useless
    /// checkpoints. Returns how many entries there were.
    async fn mend_log(&self) -> Result<usize> {
        let log = self.log_state().await?;
        let name = self.spec.name;
        let failed = |error: object_store::Error| store_error(&format!("the log of {name} cannot be mended"), &error);
        let nothing = serde_json::json!({ "commitInfo": { "operation": "REPAIR", RUN_INFO: { "mode": "repair" } } });
        let nothing = format!("{nothing}\n");
        let mut beginning = nothing.clone();
        if !log.has_metadata {
            beginning.push_str(&self.declaration().await?);
        }
        let put = |version: &u64| {
            let text = if *version == log.first { beginning.clone() } else { nothing.clone() };
            let (store, entry) = (Arc::clone(&self.store), entry_path(*version));
            async move { store.put(&entry, text.into()).await }
        };
        // The first one comes last: until it is there, the table counts as damaged.
        let puts: Vec<_> = log.flawed.keys().rev().map(put).collect();
        futures::stream::iter(puts).buffered(ENTRIES_AT_ONCE).try_collect::<Vec<_>>().await.map_err(failed)?;
        self.remove_useless(&log.useless).await?;
        Ok(log.flawed.len())
    }

    /// The log actions that declare this table, as its first commit has them.
    async fn declaration(&self) -> Result<String> {
        let scratch = Lake::new(Location::of_store(Arc::new(InMemory::new()))?).keeping(self.lake.keeping);
        let table = Self::unopened(&scratch, self.spec, None)?;
        let bug = |error: &(dyn std::error::Error + 'static)| Error::bug(chain(error));
        table.create(Vec::new(), repaired(Repair::default())).await.map_err(|error| bug(&error))?;
        let entry = table.store.get(&entry_path(0)).await.map_err(|error| bug(&error))?;
        let entry = entry.bytes().await.map_err(|error| bug(&error))?;
        let text = String::from_utf8_lossy(&entry).into_owned();
        let declares = |line: &&str| line.starts_with("{\"protocol\"") || line.starts_with("{\"metaData\"");
        Ok(text.lines().filter(declares).flat_map(|line| [line, "\n"]).collect())
    }

    /// Removes the checkpoints that the table was opened around, and writes a new one. Returns how many there were.
    pub(super) async fn mend_checkpoints(&mut self) -> Result<usize> {
        let useless = std::mem::take(&mut self.useless_checkpoints);
        if useless.is_empty() {
            return Ok(0);
        }
        self.remove_useless(&useless).await?;
        self.reopen_over(Arc::clone(&self.lake.location().root))?;
        let failed = |error: DeltaTableError| {
            store_error(&format!("the checkpoint of {} cannot be written anew", self.spec.name), &error)
        };
        self.delta.load().await.map_err(failed)?;
        checkpoints::create_checkpoint(&self.delta, None).await.map_err(failed)?;
        tracing::info!(table = self.spec.name, files = useless.len(), "wrote the checkpoint of the log anew");
        Ok(useless.len())
    }

    /// Removes checkpoints; the hint that points to one goes first.
    async fn remove_useless(&self, useless: &[Path]) -> Result<()> {
        let hint = Path::from(LAST_CHECKPOINT);
        let hints = useless.iter().filter(|path| **path == hint);
        for path in hints.chain(useless.iter().filter(|path| **path != hint)) {
            match self.store.delete(path).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => {
                    return Err(store_error(&format!("the log of {} cannot be mended", self.spec.name), &error));
                }
            }
        }
        Ok(())
    }

    /// Commits that the table no longer has these files.
    async fn remove_flawed(&mut self, flawed: &[(DataFile, Flaw)], repair: Repair) -> Result<()> {
        let is_flawed = |path: &str| flawed.iter().any(|(file, _)| file.path == path);
        let removed: Vec<Action> = self.removals(is_flawed);
        let outcome =
            self.commit(Vec::new(), removed, self.write_operation(SaveMode::Append), repaired(repair)).await?;
        outcome.committed(self.spec.name).map(|_| ())
    }

    /// The removal of each file of the table whose path is `chosen`.
    fn removals(&self, chosen: impl Fn(&str) -> bool) -> Vec<Action> {
        let Ok(state) = self.delta.snapshot() else { return Vec::new() };
        let files = state.log_data();
        let chosen = files.iter().filter(|file| chosen(file.object_store_path().as_ref()));
        chosen.map(|file| Action::Remove(file.remove_action(true))).collect()
    }

    /// Replaces the table's rows by those of all whole data files in its directory, the newest one of each key.
    async fn take_in_whole_files(&mut self, flawed: &[(DataFile, Flaw)], repair: Repair) -> Result<()> {
        let files = self.whole_files(flawed).await?;
        let session = self.lake.narrow_session();
        let schema = self.spec.schema();
        let failed = |error: datafusion::error::DataFusionError| rows::failed(&error);
        let found = DataFiles::new(&self.lake, Arc::clone(&schema), self.columns(), files)?;
        session.register_table("found", Arc::new(found)).map_err(failed)?;
        let columns: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let sql = format!(
            "SELECT {} FROM (SELECT *, row_number() OVER (PARTITION BY {} ORDER BY {SYNCED_AT} DESC) AS nth FROM found) \
             WHERE nth = 1",
            columns.join(", "),
            self.spec.key.join(", ")
        );
        let mut rows = session.sql(&sql).await.map_err(failed)?.execute_stream().await.map_err(failed)?;
        let mut writer = self.writer()?;
        while let Some(batch) = rows.try_next().await.map_err(failed)? {
            writer.write_stamped(conform(&batch, &schema)?).await?;
        }
        let staged = writer.finish().await?;
        let removed = self.removals(|_| true);
        let outcome =
            self.commit(staged.adds, removed, self.write_operation(SaveMode::Overwrite), repaired(repair)).await?;
        outcome.committed(self.spec.name).map(|_| ())
    }

    /// The table's columns as its files have them: the partition key last.
    fn columns(&self) -> TableSchema {
        let (keys, rest) = self.keys_and_rest(&self.spec.schema());
        TableSchema::builder(Arc::new(Schema::new(rest))).with_table_partition_cols(keys).build()
    }

    /// The data files in the table's directory that can be read to their ends, whether or not a version names them.
    async fn whole_files(&self, flawed: &[(DataFile, Flaw)]) -> Result<Vec<PartitionedFile>> {
        let failed = |error: object_store::Error| {
            store_error(&format!("the files of {} cannot be read", self.spec.name), &error)
        };
        let objects: Vec<ObjectMeta> = self.store.list(None).try_collect().await.map_err(failed)?;
        let is_flawed = |path: &Path| flawed.iter().any(|(file, _)| file.path == path.as_ref());
        let own = objects.into_iter().filter(|it| self.is_own_file(&it.location) && !is_flawed(&it.location));
        let mut whole = Vec::new();
        for object in own {
            let content = self.store.get(&object.location).await.map_err(failed)?.bytes().await.map_err(failed)?;
            if is_whole(content) {
                whole.push(self.found_file(object)?);
            } else {
                tracing::warn!(table = self.spec.name, file = %object.location, "cannot be read and was left out");
            }
        }
        Ok(whole)
    }

    /// A data file that was found in the table's directory; its path tells its partition.
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

/// What the commit of a repair says beside its rows: they are complete up to no moment.
fn repaired(repair: Repair) -> Change {
    let info = [
        ("mode", "repair".into()),
        ("entriesMended", repair.entries.into()),
        ("filesLost", repair.files.into()),
        ("rowsDeleted", repair.rows_lost.into()),
    ];
    Change {
        watermark: Some(DateTime::UNIX_EPOCH),
        instance: None,
        unreadable: None,
        positions: Vec::new(),
        info: info.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
    }
}
