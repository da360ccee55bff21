//! The lake: Delta tables over Hive-partitioned zstd Parquet, on local disk or S3.
//!
//! The following holds at every moment:
//! - Only a commit makes anything visible, and the commit contains the watermark.
//! - A plain Parquet reader of a table's directory sees the committed rows.
//! - A lake belongs to one Clerk instance.
//! - Two concurrent runs never lose or duplicate a row.
//! - If the change data feed is on, every version records which rows it changed.
//!
//! This module knows tables and nothing about Clerk. It deliberately implements neither a commit protocol nor a Parquet
//! encoder: delta-rs and parquet provide them.

mod area;
mod bucket;
mod change;
mod change_data;
mod claim;
mod commit;
mod creation;
mod damage;
mod damaged_rows;
mod data_files;
mod deletions;
mod diff;
mod durable;
mod entry;
mod evolve;
mod failed_runs;
mod failure;
mod feed;
mod follow;
mod hiding;
mod identity;
mod layout;
mod local_disk;
mod location;
mod lock;
mod maintenance;
mod opened;
mod past;
mod positions;
mod profile;
mod purge;
mod record;
mod repair;
mod resume_point;
mod retention;
mod rows;
mod run_store;
mod s3_http;
mod staged;
mod staged_rows;
mod sweep;
mod table;
mod upload;
mod watermark;
mod writer;

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::execution::context::SessionContext;
use datafusion::execution::memory_pool::{FairSpillPool, MemoryPool};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::SessionConfig;
use object_store::path::Path;

use self::lock::LocalLock;
use self::opened::OpenedTables;
use crate::error::{ErrorKind, Result};
use crate::table::TableSpec;

pub use area::RunArea;
pub use change::{CommitDetails, CommitOutcome, Counts};
pub use diff::{Coverage, Diff};
pub use failed_runs::{FailedResource, FailedRun};
pub(crate) use failure::{is_missing_file, is_of_store, store_error};
pub(crate) use identity::content_digest;
pub use location::Location;
pub use maintenance::{Compaction, MaintenanceOptions, TableMaintenance, maintain};
pub use past::{At, CommitRecord};
pub use repair::Repair;
pub use resume_point::ResumePoint;
pub(crate) use resume_point::columns_of;
pub use staged_rows::StagedRows;
pub use table::Table;
pub use writer::{Writer, writer_properties};

/// Total size of tables from which on internal queries read them in parallel.
const MIN_PARALLEL_BYTES: u64 = 16 * 1024 * 1024;

/// A lake: a set of tables under one location. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Lake {
    location: Arc<Location>,
    keeping: MaintenanceOptions,
    /// The tables that the run has opened. `None` outside of a run: each table is then opened at its newest version.
    opened: Option<Arc<OpenedTables>>,
    /// Whether a commit on local disk waits until its files are on the disk.
    has_fsync: bool,
    /// The memory that queries may use; `None` if it is not limited.
    memory: Option<Arc<dyn MemoryPool>>,
}

impl Lake {
    /// Returns the lake at `location`. Does not access the store.
    #[must_use]
    pub fn new(location: Location) -> Self {
        Self {
            location: Arc::new(location),
            keeping: MaintenanceOptions::default(),
            opened: None,
            has_fsync: true,
            memory: None,
        }
    }

    /// Returns the same lake, maintained with the settings in `keeping`.
    #[must_use]
    pub fn keeping(self, keeping: MaintenanceOptions) -> Self {
        Self { keeping, ..self }
    }

    /// Returns the same lake, whose commits on local disk do not wait until their files are on the disk if `has_fsync`
    /// is `false`. A power failure can then damage tables. For data that can be written again, such as a demo.
    #[must_use]
    pub fn with_fsync(self, has_fsync: bool) -> Self {
        Self { has_fsync, ..self }
    }

    /// Returns the same lake, whose queries use at most `bytes` for their rows, all together. Sorts and groups that need
    /// more continue on disk, in the directory for temporary files. `None` sets no limit.
    #[must_use]
    pub fn with_memory_limit(self, bytes: Option<usize>) -> Self {
        let pool = |bytes| Arc::new(FairSpillPool::new(bytes)) as Arc<dyn MemoryPool>;
        Self { memory: bytes.map(pool), ..self }
    }

    /// Returns the number of small files in a partition at which a sync compacts them; 0 means never.
    #[must_use]
    pub fn compacts_at(&self) -> usize {
        self.keeping.compact_files
    }

    /// Returns the lake's location.
    #[must_use]
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// Returns the same lake for the use of one run, which loads each table once. In a bucket, the run does not request
    /// again what it has already read. See [`run_store`].
    ///
    /// # Errors
    /// [`Unreachable`](ErrorKind::Unreachable) if the store fails; [`Settings`](ErrorKind::Settings) if it refuses.
    pub(crate) async fn for_run(&self) -> Result<Self> {
        let location = Arc::new(self.location.for_run().await?);
        Ok(Self { location, opened: Some(Arc::default()), ..self.clone() })
    }

    /// Lists a table's files again, unless the run has just listed them. If `at_once` is set, lists them in any case.
    /// Has no effect unless the lake comes from [`Lake::for_run`].
    pub(crate) async fn refresh(&self, spec: &TableSpec, at_once: bool) -> Result<()> {
        if let Some(opened) = self.opened.as_ref().filter(|_| at_once) {
            opened.forget(spec);
        }
        let Some(store) = &self.location.run_store else { return Ok(()) };
        let refreshed = store.refresh(spec.name, at_once).await;
        refreshed.map_err(|error| store_error(&format!("the table {} cannot be listed", spec.name), &error))
    }

    /// Opens a table's current version for reading. A table that does not exist yet is not an error.
    ///
    /// # Errors
    /// See [`Table::open`].
    pub async fn table(&self, spec: &'static TableSpec) -> Result<Table> {
        Table::open(self, spec, None).await
    }

    /// Opens a table for reading at an earlier version or time. If the table had not been written by then, it does not
    /// exist.
    ///
    /// # Errors
    /// See [`Table::open_at`].
    pub async fn table_at(&self, spec: &'static TableSpec, at: At) -> Result<Table> {
        Table::open_at(self, spec, at).await
    }

    /// Opens a table for a query, at its current version or, with `at`, at an earlier version or time. A damaged table
    /// returns its error only when its rows are read: see [`Table::is_damaged`].
    ///
    /// # Errors
    /// As [`Lake::table`] and [`Lake::table_at`].
    pub async fn table_to_query(&self, spec: &'static TableSpec, at: Option<At>) -> Result<Table> {
        let opened = match at {
            Some(at) => self.table_at(spec, at).await,
            None => self.table(spec).await,
        };
        match opened {
            Err(error) if error.kind() == ErrorKind::Damaged => Table::of_damaged(self, spec, error),
            opened => opened,
        }
    }

    /// Returns a DataFusion context that can read this lake's files.
    #[must_use]
    pub fn context(&self) -> SessionContext {
        self.context_with(Self::config())
    }

    /// Returns a DataFusion context for tables of `bytes` in total. Small tables are read without parallelism, which
    /// costs more time than it saves there.
    pub(crate) fn context_for_size(&self, bytes: u64) -> SessionContext {
        let config = Self::config();
        self.context_with(if bytes < MIN_PARALLEL_BYTES { config.with_target_partitions(1) } else { config })
    }

    fn config() -> SessionConfig {
        let mut config = SessionConfig::new().with_information_schema(true);
        // Errors in SQL show their place.
        config.options_mut().sql_parser.collect_spans = true;
        // Text columns are read as the type that the table declares, not as string views.
        config.options_mut().execution.parquet.schema_force_view_types = false;
        config.options_mut().execution.parquet.pushdown_filters = true;
        config
    }

    /// Returns a DataFusion context for scans of whole tables. Its batches are small, so that wide rows need little
    /// memory.
    fn narrow_context(&self) -> SessionContext {
        let mut config = SessionConfig::new().with_batch_size(2048).with_target_partitions(1);
        // The page index of a wide file needs much memory, and saves little time if nearly all pages are read.
        config.options_mut().execution.parquet.enable_page_index = false;
        config.options_mut().execution.parquet.schema_force_view_types = false;
        config.options_mut().execution.parquet.pushdown_filters = true;
        self.context_with(config)
    }

    fn context_with(&self, config: SessionConfig) -> SessionContext {
        let runtime = match &self.memory {
            // Building fails only if a directory is set, which is not the case.
            Some(pool) => RuntimeEnvBuilder::new().with_memory_pool(Arc::clone(pool)).build_arc().unwrap_or_default(),
            None => Arc::default(),
        };
        let context = SessionContext::new_with_config_rt(config, runtime);
        self.open_to(&context);
        context
    }

    /// Registers this lake's store with `context`, so that the context can read the lake's files.
    pub fn open_to(&self, context: &SessionContext) {
        context.register_object_store(&self.location.root_url, Arc::clone(&self.location.root));
    }

    /// Returns those of the tables that have a directory in the lake, in the same order. Lists the lake's directory once,
    /// which costs less than looking for each table.
    ///
    /// # Errors
    /// [`Unreachable`](ErrorKind::Unreachable) if the store fails; [`Settings`](ErrorKind::Settings) if it refuses.
    pub async fn present(&self, specs: &[&'static TableSpec]) -> Result<Vec<&'static TableSpec>> {
        let Location { root, prefix, .. } = &*self.location;
        let listed = self.location.asked(root.list_with_delimiter(Some(prefix))).await;
        let listed = listed.map_err(|error| store_error("the lake cannot be listed", &error))?;
        let names: HashSet<&str> = listed.common_prefixes.iter().filter_map(Path::filename).collect();
        Ok(specs.iter().copied().filter(|spec| names.contains(spec.name)).collect())
    }

    /// Proves that a run could write to this lake, as a run does before it writes. Leaves nothing behind.
    ///
    /// # Errors
    /// [`Settings`](ErrorKind::Settings) if the lake is not writable, or if its store cannot protect it from concurrent
    /// runs; [`Unreachable`](ErrorKind::Unreachable) if the store fails.
    pub async fn prove_writable(&self) -> Result<()> {
        match self.location.directory() {
            Some(directory) => LocalLock::prove(directory, &uuid::Uuid::new_v4().simple().to_string()),
            None => RunArea::prove_store(self).await,
        }
    }

    /// Returns an error if any of the tables belongs to another Clerk instance than `instance`.
    ///
    /// # Errors
    /// [`Settings`](crate::ErrorKind::Settings), naming both instances.
    pub async fn check_instance(&self, instance: &str, specs: &[&'static TableSpec]) -> Result<()> {
        let checks = self.present(specs).await?.into_iter().map(|spec| async {
            match self.table(spec).await {
                // A damaged table cannot name its instance. Only operations that read or write it must fail.
                Err(error) if error.kind() == ErrorKind::Damaged => Ok(()),
                table => table?.check_instance(instance),
            }
        });
        futures::future::try_join_all(checks).await.map(drop)
    }

    fn table_prefix(&self, name: &str) -> Path {
        layout::join(&self.location.prefix, &Path::from(name))
    }
}
