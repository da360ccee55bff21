//! The lake: Delta tables over Hive-partitioned zstd Parquet, on local disk or S3.
//!
//! What holds at every moment: one commit is the only visible act, and the watermark is in it; a plain Parquet
//! reader of a table's directory sees the committed rows; a lake belongs to one instance; two runs never lose
//! or double a row; where changes are recorded, every version says which rows it changed. It knows tables and nothing
//! of Clerk; it deliberately writes no commit protocol and no Parquet encoding of its own (delta-rs and parquet do).

mod area;
mod change;
mod change_data;
mod checkpoint;
mod claim;
mod commit;
mod creation;
mod damage;
mod damaged_rows;
mod data_files;
mod diff;
mod durable;
mod entry;
mod evolve;
mod failure;
mod feed;
mod follow;
mod hiding;
mod identity;
mod layout;
mod location;
mod lock;
mod past;
mod profile;
mod purge;
mod record;
mod repair;
mod retention;
mod rows;
mod run_store;
mod staged;
mod staged_rows;
mod sweep;
mod table;
mod upkeep;
mod upload;
mod writer;

use std::sync::Arc;

use datafusion::execution::context::SessionContext;
use datafusion::prelude::SessionConfig;
use object_store::path::Path;

use crate::error::{ErrorKind, Result};
use crate::table::TableSpec;

pub use area::RunArea;
pub use change::{Change, CommitOutcome, Counts};
pub use checkpoint::Checkpoint;
pub(crate) use checkpoint::columns_of;
pub use diff::{Coverage, Diff};
pub(crate) use failure::{is_missing_file, is_of_store, store_error};
pub use location::Location;
pub use past::{At, CommitRecord};
pub use repair::Repair;
pub use staged_rows::StagedRows;
pub use table::Table;
pub use upkeep::{Compaction, Keeping, TableUpkeep, maintain};
pub use writer::{Writer, writer_properties};

/// A lake: a place with tables in it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Lake {
    location: Arc<Location>,
    keeping: Keeping,
}

impl Lake {
    /// The lake at `location`; nothing is touched yet.
    #[must_use]
    pub fn new(location: Location) -> Self {
        Self { location: Arc::new(location), keeping: Keeping::default() }
    }

    /// The same lake, looked after as `keeping` says.
    #[must_use]
    pub fn keeping(self, keeping: Keeping) -> Self {
        Self { keeping, ..self }
    }

    /// How many small files in a partition are put together after a sync; 0 for never.
    #[must_use]
    pub fn compacts_at(&self) -> usize {
        self.keeping.compact_files
    }

    /// Where it is.
    #[must_use]
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// The same lake as one run sees it: in a bucket, what it has asked for once is not asked for again. See
    /// [`run_store`].
    ///
    /// # Errors
    /// [`Unreachable`](ErrorKind::Unreachable) if the store fails; [`Settings`](ErrorKind::Settings) if it refuses.
    pub(crate) async fn for_run(&self) -> Result<Self> {
        Ok(Self { location: Arc::new(self.location.for_run().await?), keeping: self.keeping })
    }

    /// Reads again what files a table has, if the run has not done so just now. Without effect on a lake that is not
    /// [a run's](Lake::for_run).
    pub(crate) async fn refresh(&self, spec: &TableSpec, at_once: bool) -> Result<()> {
        let Some(store) = &self.location.run_store else { return Ok(()) };
        let refreshed = store.refresh(spec.name, at_once).await;
        refreshed.map_err(|error| store_error(&format!("the table {} cannot be listed", spec.name), &error))
    }

    /// Opens a table for reading, as it is now; a table that is not there yet is no error.
    ///
    /// # Errors
    /// See [`Table::open`].
    pub async fn table(&self, spec: &'static TableSpec) -> Result<Table> {
        Table::open(self, spec, None).await
    }

    /// Opens a table for reading, as it was `at` an earlier version or moment; where it had not been written yet
    /// then, it does not exist.
    ///
    /// # Errors
    /// See [`Table::open_at`].
    pub async fn table_at(&self, spec: &'static TableSpec, at: At) -> Result<Table> {
        Table::open_at(self, spec, at).await
    }

    /// Opens a table to be queried, as it is now or was `at` an earlier version or moment. If it is damaged, that is no
    /// error before its rows are read: see [`Table::is_damaged`].
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

    /// A DataFusion session that can read this lake's files.
    #[must_use]
    pub fn session(&self) -> SessionContext {
        let mut config = SessionConfig::new().with_information_schema(true);
        // One text type in and out: what is read has the type that the table declares.
        config.options_mut().execution.parquet.schema_force_view_types = false;
        config.options_mut().execution.parquet.pushdown_filters = true;
        self.session_with(config)
    }

    /// A session for going through whole tables, wide rows and all: small batches, so that memory stays small.
    fn narrow_session(&self) -> SessionContext {
        let mut config = SessionConfig::new().with_batch_size(2048).with_target_partitions(1);
        // The page index of a wide file takes more memory than it saves time where nearly all pages are read.
        config.options_mut().execution.parquet.enable_page_index = false;
        config.options_mut().execution.parquet.schema_force_view_types = false;
        config.options_mut().execution.parquet.pushdown_filters = true;
        self.session_with(config)
    }

    fn session_with(&self, config: SessionConfig) -> SessionContext {
        let session = SessionContext::new_with_config(config);
        self.open_to(&session);
        session
    }

    /// Lets a session of the caller's own read this lake's files.
    pub fn open_to(&self, session: &SessionContext) {
        session.register_object_store(&self.location.root_url, Arc::clone(&self.location.root));
    }

    /// Refuses a lake whose tables belong to another instance than `instance`.
    ///
    /// # Errors
    /// [`Settings`](crate::ErrorKind::Settings) that names both instances.
    pub async fn check_instance(&self, instance: &str, specs: &[&'static TableSpec]) -> Result<()> {
        for spec in specs {
            match self.table(spec).await {
                // It says nothing, and stops nothing but what reads or writes it.
                Err(error) if error.kind() == ErrorKind::Damaged => {}
                table => table?.check_instance(instance)?,
            }
        }
        Ok(())
    }

    fn table_prefix(&self, name: &str) -> Path {
        layout::join(&self.location.prefix, &Path::from(name))
    }
}
