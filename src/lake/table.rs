//! One table: opens it, checks that this program wrote it, and reads its snapshot.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use datafusion::catalog::TableProvider;
use deltalake::logstore::{LogStoreRef, StorageConfig, default_logstore};
use deltalake::{DeltaTable, DeltaTableError};
use futures::StreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use super::area::Sparing;
use super::change_data::is_change_data;
use super::damaged_rows::DamagedRows;
use super::layout::{is_data_file, join};
use super::positions::NewestPositions;
use super::staged::StagedStore;
use super::{Lake, RunArea, Writer, store_error};
use crate::error::{Error, Result};
use crate::table::TableSpec;

/// The application id of the Delta `txn` action that contains the watermark. Its version is the watermark in Unix
/// milliseconds.
pub(super) const WATERMARK: &str = "clerk-lake.watermark";

/// The application id of the Delta `txn` action that contains the number of rows that Clerk has but cannot be decoded.
/// Its version is that number.
pub(super) const UNREADABLE: &str = "clerk-lake.unreadable";

/// The table property with the Clerk instance that the rows come from.
pub(super) const INSTANCE: &str = "clerk_lake.instance";

/// The table property that marks a table as written by this program. Its value is the layout version.
pub(super) const LAYOUT: &str = "clerk_lake.layout";

/// The layout version that this program writes.
pub(super) const LAYOUT_VERSION: &str = "1";

/// The commit-info key that contains a run's metrics.
pub(super) const RUN_INFO: &str = "clerkLake";

/// A log contains at least one of these files, unless somebody has deleted them by hand.
const LIKELY_LOG_FILES: [&str; 2] = ["_delta_log/_last_checkpoint", "_delta_log/00000000000000000000.json"];

/// A table, open at one version.
#[derive(Debug)]
pub struct Table {
    pub(super) spec: &'static TableSpec,
    pub(super) lake: Lake,
    pub(super) store: Arc<StagedStore>,
    pub(super) delta: DeltaTable,
    /// The prefix at which this run stages; `None` for a reader.
    staging: Option<Path>,
    /// Number of writers that this run has opened for all tables. Each writer stages in a separate directory.
    writers: Arc<AtomicU32>,
    /// Which orphan files a sweep leaves alone; `None` for a reader, which does not sweep.
    pub(super) sparing: Option<Sparing>,
    /// The data files that this run's commits have added.
    pub(super) added: HashSet<String>,
    /// Orphan files that a crash left before the table's first commit.
    pub(super) leftovers: Vec<Path>,
    /// Missing or truncated checkpoints, which opening the table skipped.
    pub(super) useless_checkpoints: Vec<Path>,
    /// The error that opening the table returns if it is damaged.
    pub(super) damaged: Option<Error>,
    pub(super) newest_positions: NewestPositions,
}

impl Table {
    /// Opens `spec`'s table in `lake` for reading, or for writing if there is an `area` to stage in.
    ///
    /// # Errors
    /// [`Settings`](crate::ErrorKind::Settings) if the table's directory contains something that this program did not
    /// write, or that a newer version wrote; [`Unreachable`](crate::ErrorKind::Unreachable) if the store fails.
    pub async fn open(lake: &Lake, spec: &'static TableSpec, area: Option<&RunArea>) -> Result<Self> {
        let mut table = Self::unopened(lake, spec, area)?;
        table.load().await?;
        Ok(table)
    }

    /// Returns the table without reading anything of it.
    pub(super) fn unopened(lake: &Lake, spec: &'static TableSpec, area: Option<&RunArea>) -> Result<Self> {
        let staging = area.map(|area| area.prefix_for(spec.name));
        let (store, delta) = store_and_log(lake, spec, staging.as_ref(), Arc::clone(&lake.location().root))?;
        Ok(Self {
            spec,
            lake: lake.clone(),
            store,
            delta,
            staging,
            writers: area.map(RunArea::writers).unwrap_or_default(),
            sparing: area.map(RunArea::sparing),
            added: HashSet::new(),
            leftovers: Vec::new(),
            useless_checkpoints: Vec::new(),
            damaged: None,
            newest_positions: NewestPositions::default(),
        })
    }

    /// Returns a table that cannot be opened because it is damaged; `error` says why.
    pub(super) fn of_damaged(lake: &Lake, spec: &'static TableSpec, error: Error) -> Result<Self> {
        Ok(Self { damaged: Some(error), ..Self::unopened(lake, spec, None)? })
    }

    /// Switches to `root`, another view of the lake's store. The caller must load the table again.
    pub(super) fn reopen_over(&mut self, root: Arc<dyn ObjectStore>) -> Result<()> {
        (self.store, self.delta) = store_and_log(&self.lake, self.spec, self.staging.as_ref(), root)?;
        Ok(())
    }

    /// Returns whether anything has been committed. Checks the two most likely files of a log before listing it,
    /// because the list may be long.
    async fn has_log(&self) -> Result<bool, DeltaTableError> {
        for name in LIKELY_LOG_FILES {
            match self.lake.location().asked(self.store.head(&Path::from(name))).await {
                Ok(_) => return Ok(true),
                Err(object_store::Error::NotFound { .. }) => {}
                // If access is denied, listing the log returns a better error message than a head request.
                Err(object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. }) => {
                    break;
                }
                Err(error) => return Err(error.into()),
            }
        }
        self.delta.verify_deltatable_existence().await
    }

    /// Takes over the state that this run has loaded before, if it is still the newest. Returns `false` if the table has to
    /// be loaded.
    async fn load_opened(&mut self) -> bool {
        let Some(opened) = &self.lake.opened else { return false };
        let Some(state) = opened.get(self.spec) else { return false };
        let version = state.version();
        self.delta.state = Some(state);
        if self.delta.update_state().await.is_ok() && self.version() == Some(version) {
            return true;
        }
        // Another run has committed. Loading the table checks the new log entries.
        opened.forget(self.spec);
        self.delta.state = None;
        false
    }

    /// Keeps the current state for the next time that this run opens the table.
    pub(super) fn note_opened(&self) {
        let Some(opened) = &self.lake.opened else { return };
        if let Some(state) = self.delta.state.clone().filter(|_| self.useless_checkpoints.is_empty()) {
            opened.keep(self.spec, state);
        }
    }

    /// Makes this run load the table again when it opens it next.
    pub(super) fn forget_opened(&self) {
        if let Some(opened) = &self.lake.opened {
            opened.forget(self.spec);
        }
    }

    async fn load(&mut self) -> Result<()> {
        if self.load_opened().await {
            return Ok(());
        }
        let name = self.spec.name;
        let failed = |error| store_error(&format!("the table {name} cannot be read"), &error);
        if !self.has_log().await.map_err(failed)? {
            match self.only_leftovers().await? {
                Some(leftovers) => {
                    self.leftovers = leftovers;
                    return Ok(());
                }
                // Another run may have created the table between the two checks.
                None if self.has_log().await.map_err(failed)? => {}
                None => return Err(self.foreign()),
            }
        }
        if let Err(error) = self.delta.load().await {
            Box::pin(self.open_around(failed(error))).await?;
        }
        self.refuse_empty_entries().await?;
        match self.property(LAYOUT).as_deref() {
            Some(LAYOUT_VERSION) => {
                self.note_opened();
                Ok(())
            }
            Some(layout) => Err(Error::settings(format!(
                "the table {name} in {} has layout {layout}, which this version of clerk-lake does not support",
                self.lake.location()
            ))
            .with_hint("update clerk-lake: a newer version wrote this lake")),
            None => Err(self.foreign()),
        }
    }

    /// Returns the files in the table's directory if all of them are data files that a crash left before the first
    /// commit; `None` if there is any other file.
    async fn only_leftovers(&self) -> Result<Option<Vec<Path>>> {
        let mut leftovers = Vec::new();
        let mut objects = self.store.list(None);
        while let Some(object) = objects.next().await {
            let object = object
                .map_err(|error| store_error(&format!("the table {} cannot be listed", self.spec.name), &error))?;
            if !self.is_own_file(&object.location) {
                return Ok(None);
            }
            leftovers.push(object.location);
        }
        Ok(Some(leftovers))
    }

    /// Returns whether `path` has a name that delta-rs gives to data files of this table.
    pub(super) fn is_own_file(&self, path: &Path) -> bool {
        is_data_file(path)
            && !is_change_data(path)
            && path.filename().is_some_and(|name| name.starts_with("part-"))
            && self.spec.partition.is_none_or(|column| path.as_ref().starts_with(&format!("{column}=")))
    }

    fn foreign(&self) -> Error {
        Error::settings(format!(
            "{}/{} contains files that clerk-lake did not write; nothing was changed",
            self.lake.location(),
            self.spec.name
        ))
        .with_hint("choose another --lake, or move that directory away")
    }

    /// Returns the table's specification.
    #[must_use]
    pub fn spec(&self) -> &'static TableSpec {
        self.spec
    }

    /// Returns whether the table could not be opened because it is damaged. Reading its rows then returns an error that
    /// says why.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        self.damaged.is_some()
    }

    /// Returns whether the table has been written yet.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.delta.version().is_some()
    }

    /// Returns the version that the table is open at; `None` if it has not been written yet.
    #[must_use]
    pub fn version(&self) -> Option<u64> {
        self.delta.version()
    }

    /// Returns the number of rows.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.files().map(|file| file.rows).sum()
    }

    /// Returns the size of all data files in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.files().map(|file| file.bytes).sum()
    }

    /// Returns the number of data files.
    #[must_use]
    pub fn file_count(&self) -> usize {
        self.files().count()
    }

    /// Returns the Clerk instance that the rows come from; `None` if unknown.
    #[must_use]
    pub fn instance(&self) -> Option<String> {
        self.property(INSTANCE)
    }

    /// Returns an error if the table belongs to an instance other than `instance`.
    ///
    /// # Errors
    /// [`Settings`](crate::ErrorKind::Settings) that names both instances.
    pub fn check_instance(&self, instance: &str) -> Result<()> {
        let Some(owner) = self.instance().filter(|owner| owner != instance) else { return Ok(()) };
        Err(self.lake.belongs_to(&owner, instance))
    }

    /// Returns the table for DataFusion, at the version that it is open at. Scanning a damaged table returns an error.
    ///
    /// # Errors
    /// [`Unreachable`](crate::ErrorKind::Unreachable) if the table has not been written yet or cannot be read.
    pub async fn provider(&self) -> Result<Arc<dyn TableProvider>> {
        if let Some(error) = &self.damaged {
            return Ok(Arc::new(DamagedRows { schema: self.spec.schema(), error: error.clone() }));
        }
        let provider = self.delta.table_provider().await;
        provider.map_err(|error| store_error(&format!("the table {} cannot be read", self.spec.name), &error))
    }

    /// Opens a writer that stages rows for this table.
    ///
    /// # Errors
    /// [`Bug`](crate::ErrorKind::Bug) if the table was opened for reading.
    pub fn writer(&self) -> Result<Writer> {
        let (place, prefix) = self.staging_place()?;
        let writer = Writer::new(self.spec, Arc::new(self.store.staging_at(prefix.clone())), prefix, place);
        if self.file_count() == 0 { writer.noting_keys() } else { Ok(writer) }
    }

    /// Opens a writer that stages change data for this table.
    pub(super) fn change_writer(&self) -> Result<Writer> {
        let (place, prefix) = self.staging_place()?;
        Ok(Writer::of_changes(self.spec, Arc::new(self.store.staging_at(prefix.clone())), prefix, place))
    }

    fn staging_place(&self) -> Result<(String, Path)> {
        let staging = self.staging.as_ref();
        let staging = staging.ok_or_else(|| Error::bug("a table opened for reading cannot be written"))?;
        Ok(self.new_place(staging))
    }

    /// Returns a new directory under `staging` for the files of one writer, so that they can be read back separately.
    /// The result is its name and its path in the whole store.
    pub(super) fn new_place(&self, staging: &Path) -> (String, Path) {
        let name = self.writers.fetch_add(1, Ordering::Relaxed).to_string();
        let prefix = staging.parts().chain(Path::from(name.as_str()).parts()).collect();
        (name, prefix)
    }

    pub(super) fn log_store(&self) -> LogStoreRef {
        self.delta.log_store()
    }

    pub(super) fn property(&self, name: &str) -> Option<String> {
        let configuration: &HashMap<String, String> = self.delta.snapshot().ok()?.metadata().configuration();
        configuration.get(name).cloned()
    }

    pub(super) fn files(&self) -> impl Iterator<Item = DataFile> {
        let files: Vec<DataFile> = self.delta.snapshot().map_or_else(
            |_| Vec::new(),
            |state| {
                let files = state.log_data();
                files
                    .iter()
                    .map(|file| DataFile {
                        path: file.object_store_path().to_string(),
                        rows: file.num_records().unwrap_or(0) as u64,
                        bytes: u64::try_from(file.size()).unwrap_or(0),
                    })
                    .collect()
            },
        );
        files.into_iter()
    }
}

/// Returns the store and the Delta table for `spec`'s table on `root`, for a run that stages at `staging`.
fn store_and_log(
    lake: &Lake,
    spec: &TableSpec,
    staging: Option<&Path>,
    root: Arc<dyn ObjectStore>,
) -> Result<(Arc<StagedStore>, DeltaTable)> {
    let location = lake.location();
    let prefix = lake.table_prefix(spec.name);
    let merging = staging.map(|staging| join(staging, &Path::from("merged")));
    let store = StagedStore::new(Arc::clone(&root), prefix.clone(), merging);
    let store =
        Arc::new(store.on_disk(location.directory().is_some(), lake.has_fsync).seen_by_run(location.run_store.clone()));
    let url = location.url_of(&prefix)?;
    let log_store = default_logstore(Arc::clone(&store) as _, root, &url, &StorageConfig::default());
    Ok((store, DeltaTable::new(log_store)))
}

/// A data file of a snapshot.
pub(super) struct DataFile {
    pub path: String,
    pub rows: u64,
    pub bytes: u64,
}
