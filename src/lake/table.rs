//! One table: whether it is there and ours, what its snapshot holds, and what crashes left beside it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use chrono::{DateTime, Utc};
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
use super::staged::StagedStore;
use super::{Lake, RunArea, Writer, store_error};
use crate::error::{Error, Result};
use crate::table::TableSpec;

/// The application id under which the watermark is recorded: a Delta `txn` action whose version is the
/// watermark in Unix milliseconds.
pub(super) const WATERMARK: &str = "clerk-lake.watermark";

/// The application id under which the rows are counted that Clerk has and the table cannot hold: a Delta `txn`
/// action whose version is the count.
pub(super) const UNREADABLE: &str = "clerk-lake.unreadable";

/// The table property that says which instance the rows come from.
pub(super) const INSTANCE: &str = "clerk_lake.instance";

/// The table property by which a table is known to be this program's; its value is the layout's version.
pub(super) const LAYOUT: &str = "clerk_lake.layout";

/// The layout that this program writes.
pub(super) const LAYOUT_VERSION: &str = "1";

/// The commit-info key under which a run's own figures are kept.
pub(super) const RUN_INFO: &str = "clerkLake";

/// What a log has at least one of, as long as nobody has tidied it up by hand.
const LIKELY_IN_A_LOG: [&str; 2] = ["_delta_log/_last_checkpoint", "_delta_log/00000000000000000000.json"];

/// A table, open at one version.
#[derive(Debug)]
pub struct Table {
    pub(super) spec: &'static TableSpec,
    pub(super) lake: Lake,
    pub(super) store: Arc<StagedStore>,
    pub(super) delta: DeltaTable,
    /// Where this run stages; none for a reader.
    staging: Option<Path>,
    /// How many writers there have been in the run: each has a place of its own, whichever table it is for.
    writers: Arc<AtomicU32>,
    /// Which orphan files a sweep leaves alone; `None` for a reader, which sweeps nothing.
    pub(super) sparing: Option<Sparing>,
    /// The data files that this run's commits have added.
    pub(super) added: HashSet<String>,
    /// Data files that lay there before the table's first commit: what a crash left.
    pub(super) leftovers: Vec<Path>,
    /// Checkpoints of the log that the table was opened around: they are gone or cut off.
    pub(super) useless_checkpoints: Vec<Path>,
    /// Why the table cannot be opened, if it is damaged.
    pub(super) damaged: Option<Error>,
}

impl Table {
    /// Opens `spec`'s table in `lake`, for reading or, with an `area` to stage in, for writing.
    ///
    /// # Errors
    /// [`Settings`](crate::ErrorKind::Settings) where something is there that this program did not write, or a
    /// newer version of it did; [`Unreachable`](crate::ErrorKind::Unreachable) where the store fails.
    pub async fn open(lake: &Lake, spec: &'static TableSpec, area: Option<&RunArea>) -> Result<Self> {
        let mut table = Self::unopened(lake, spec, area)?;
        table.load().await?;
        Ok(table)
    }

    /// The table before anything of it is read.
    pub(super) fn unopened(lake: &Lake, spec: &'static TableSpec, area: Option<&RunArea>) -> Result<Self> {
        let staging = area.map(|area| area.prefix_for(spec.name));
        let (store, delta) = over(lake, spec, staging.as_ref(), Arc::clone(&lake.location().root))?;
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
        })
    }

    /// A table that cannot be opened, as `error` says.
    pub(super) fn of_damaged(lake: &Lake, spec: &'static TableSpec, error: Error) -> Result<Self> {
        Ok(Self { damaged: Some(error), ..Self::unopened(lake, spec, None)? })
    }

    /// Goes on over `root`, which shows the lake's store in another way. The table is to be loaded again.
    pub(super) fn reopen_over(&mut self, root: Arc<dyn ObjectStore>) -> Result<()> {
        (self.store, self.delta) = over(&self.lake, self.spec, self.staging.as_ref(), root)?;
        Ok(())
    }

    /// Whether anything has been committed. The two names that a log most likely has are looked for before it is
    /// listed: it may be long.
    async fn has_log(&self) -> Result<bool, DeltaTableError> {
        for name in LIKELY_IN_A_LOG {
            match self.lake.location().asked(self.store.head(&Path::from(name))).await {
                Ok(_) => return Ok(true),
                Err(object_store::Error::NotFound { .. }) => {}
                // The refusal of a list says more than that of a head.
                Err(object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. }) => {
                    break;
                }
                Err(error) => return Err(error.into()),
            }
        }
        self.delta.verify_deltatable_existence().await
    }

    async fn load(&mut self) -> Result<()> {
        let name = self.spec.name;
        let failed = |error| store_error(&format!("the table {name} cannot be read"), &error);
        if !self.has_log().await.map_err(failed)? {
            match self.only_leftovers().await? {
                Some(leftovers) => {
                    self.leftovers = leftovers;
                    return Ok(());
                }
                // Another run may have made the table between the two looks.
                None if self.has_log().await.map_err(failed)? => {}
                None => return Err(self.foreign()),
            }
        }
        if let Err(error) = self.delta.load().await {
            Box::pin(self.open_around(failed(error))).await?;
        }
        self.refuse_empty_entries().await?;
        match self.property(LAYOUT).as_deref() {
            Some(LAYOUT_VERSION) => Ok(()),
            Some(layout) => Err(Error::settings(format!(
                "the table {name} in {} has layout {layout}, which this version does not know",
                self.lake.location()
            ))
            .with_hint("update clerk-lake: a newer version wrote this lake")),
            None => Err(self.foreign()),
        }
    }

    /// What lies where the table is to be, if all of it is what a crash left of a first commit; none where there
    /// is anything else.
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

    /// Whether `path` is named as delta-rs names the data files of this table.
    pub(super) fn is_own_file(&self, path: &Path) -> bool {
        is_data_file(path)
            && !is_change_data(path)
            && path.filename().is_some_and(|name| name.starts_with("part-"))
            && self.spec.partition.is_none_or(|column| path.as_ref().starts_with(&format!("{column}=")))
    }

    fn foreign(&self) -> Error {
        Error::settings(format!(
            "{}/{} holds something that clerk-lake did not write; it was left as it is",
            self.lake.location(),
            self.spec.name
        ))
        .with_hint("choose another --lake, or move that directory away")
    }

    /// What it is.
    #[must_use]
    pub fn spec(&self) -> &'static TableSpec {
        self.spec
    }

    /// Whether it is damaged so that it could not be opened: reading its rows is an error that says why.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        self.damaged.is_some()
    }

    /// Whether it has been written yet.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.delta.version().is_some()
    }

    /// The version it is open at; none where it has not been written yet.
    #[must_use]
    pub fn version(&self) -> Option<u64> {
        self.delta.version()
    }

    /// How many rows it has.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.files().map(|file| file.rows).sum()
    }

    /// How many bytes of data files it has.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.files().map(|file| file.bytes).sum()
    }

    /// How many data files it has.
    #[must_use]
    pub fn file_count(&self) -> usize {
        self.files().count()
    }

    /// The instance whose rows it holds, where that is known.
    #[must_use]
    pub fn instance(&self) -> Option<String> {
        self.property(INSTANCE)
    }

    /// Refuses a table that belongs to another instance than `instance`.
    ///
    /// # Errors
    /// [`Settings`](crate::ErrorKind::Settings) that names both instances.
    pub fn check_instance(&self, instance: &str) -> Result<()> {
        let Some(owner) = self.instance().filter(|owner| owner != instance) else { return Ok(()) };
        Err(self.lake.belongs_to(&owner, instance))
    }

    /// Up to when its rows are complete, by Clerk's clock; `None` if it has not been written yet, or was repaired.
    ///
    /// # Errors
    /// [`Unreachable`](crate::ErrorKind::Unreachable) where the store fails.
    pub async fn watermark(&self) -> Result<Option<DateTime<Utc>>> {
        // A repaired table is complete up to no moment: see [`super::repair`].
        let written = self.position(WATERMARK).await?.filter(|millis| *millis > 0);
        Ok(written.and_then(DateTime::from_timestamp_millis))
    }

    /// How many rows Clerk counts that the table does not hold, since they cannot be read.
    ///
    /// # Errors
    /// [`Unreachable`](crate::ErrorKind::Unreachable) where the store fails.
    pub async fn unreadable(&self) -> Result<u64> {
        Ok(self.position(UNREADABLE).await?.and_then(|rows| u64::try_from(rows).ok()).unwrap_or(0))
    }

    /// Where the table stands in what `name` stands for: a Delta `txn` action, whose version a commit has set with
    /// [`Change::with_position`](super::Change::with_position); none where no commit has.
    ///
    /// # Errors
    /// [`Unreachable`](crate::ErrorKind::Unreachable) where the store fails.
    pub async fn position(&self, name: &str) -> Result<Option<i64>> {
        let Ok(state) = self.delta.snapshot() else { return Ok(None) };
        let version = state.transaction_version(self.log_store().as_ref(), name).await;
        version.map_err(|error| store_error(&format!("what {} is complete up to", self.spec.name), &error))
    }

    /// The table as DataFusion reads it, at the version it is open at.
    ///
    /// # Errors
    /// [`Unreachable`](crate::ErrorKind::Unreachable) where it has not been written yet or cannot be read.
    pub async fn provider(&self) -> Result<Arc<dyn TableProvider>> {
        if let Some(error) = &self.damaged {
            return Ok(Arc::new(DamagedRows { schema: self.spec.schema(), error: error.clone() }));
        }
        let provider = self.delta.table_provider().await;
        provider.map_err(|error| store_error(&format!("the table {} cannot be read", self.spec.name), &error))
    }

    /// A writer of staged rows for this table.
    ///
    /// # Errors
    /// [`Bug`](crate::ErrorKind::Bug) where the table was opened for reading.
    pub fn writer(&self) -> Result<Writer> {
        let (place, prefix) = self.place_to_stage()?;
        let writer = Writer::new(self.spec, Arc::new(self.store.staging_at(prefix.clone())), prefix, place);
        if self.file_count() == 0 { writer.noting_keys() } else { Ok(writer) }
    }

    /// A writer of staged change data for this table.
    pub(super) fn change_writer(&self) -> Result<Writer> {
        let (place, prefix) = self.place_to_stage()?;
        Ok(Writer::of_changes(self.spec, Arc::new(self.store.staging_at(prefix.clone())), prefix, place))
    }

    fn place_to_stage(&self) -> Result<(String, Path)> {
        let staging = self.staging.as_ref();
        let staging = staging.ok_or_else(|| Error::bug("a table opened for reading cannot be written"))?;
        Ok(self.new_place(staging))
    }

    /// A place under `staging` for one writer's files, so that they can be read back without another's: its name,
    /// and where that is in the whole store.
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

/// The store and the log of `spec`'s table, seen through `root`, for a run that stages at `staging`.
fn over(
    lake: &Lake,
    spec: &TableSpec,
    staging: Option<&Path>,
    root: Arc<dyn ObjectStore>,
) -> Result<(Arc<StagedStore>, DeltaTable)> {
    let location = lake.location();
    let prefix = lake.table_prefix(spec.name);
    let merging = staging.map(|staging| join(staging, &Path::from("merged")));
    let store = StagedStore::new(Arc::clone(&root), prefix.clone(), merging);
    let store = Arc::new(store.on_disk(location.directory().is_some()).seen_by_run(location.run_store.clone()));
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
