//! Rows to staged Parquet: one open file per partition, streamed to the store as pages arrive.
//!
//! What is written here is seen by nobody before a commit names it. Memory is bounded by the open row groups,
//! not by the number of rows.

use std::num::NonZeroU64;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::BatchCoalescer;
use arrow::datatypes::SchemaRef;
use deltalake::DeltaTableError;
use deltalake::datafile::writer::{DeltaWriter, WriterConfig};
use deltalake::kernel::Add;
use object_store::ObjectStore;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinHandle};

use super::change_data::{CHANGE_DATA, schema_of_changes};
use super::identity::KeyHasher;
use super::layout::join;
use super::staged::StagedStore;
use super::staged_rows::StagedRows;
use super::store_error;
use crate::error::{Error, Result};
use crate::table::{TableSpec, stamp};

/// Rows collected before they go to the encoder: small pages cost as little as large ones.
const BATCH_ROWS: usize = 1024;

/// How many batches may wait for the encoder.
const BATCHES_WAITING: usize = 2;

/// Bytes per data page before compression: a reader of all columns has a page of each open at a time.
const PAGE_BYTES: usize = 128 * 1024;

/// Bytes after which a data file is closed and the next one begun.
const FILE_BYTES: u64 = 256 * 1024 * 1024;

/// Streams batches into staged data files, one open per partition; memory is bounded by the open row groups.
pub struct Writer {
    spec: &'static TableSpec,
    encoder: Encoder,
    coalescer: BatchCoalescer,
    staging: Path,
    place: String,
    /// Notes the keys of rows for a table that has none: that they are distinct is all that is to be known of them.
    keys: Option<(KeyHasher, Vec<u64>)>,
    rows: u64,
}

impl Writer {
    pub(super) fn new(spec: &'static TableSpec, store: Arc<StagedStore>, staging: Path, place: String) -> Self {
        let files: Arc<dyn ObjectStore> = Arc::clone(&store) as _;
        Self::of(spec, spec.schema(), files, store, staging, place)
    }

    /// A writer of change data, which lie in a directory of their own and say of each row what became of it.
    pub(super) fn of_changes(spec: &'static TableSpec, store: Arc<StagedStore>, staging: Path, place: String) -> Self {
        let files: Arc<dyn ObjectStore> = Arc::new(PrefixStore::new(Arc::clone(&store), CHANGE_DATA));
        Self::of(spec, schema_of_changes(spec), files, store, staging, place)
    }

    /// A writer of rows of `schema` to `files`, which is `store` or a directory in it.
    fn of(
        spec: &'static TableSpec,
        schema: SchemaRef,
        files: Arc<dyn ObjectStore>,
        store: Arc<StagedStore>,
        staging: Path,
        place: String,
    ) -> Self {
        let config = WriterConfig::new(
            Arc::clone(&schema),
            spec.partition.iter().map(|column| (*column).to_owned()).collect(),
            Some(writer_properties(spec)),
            NonZeroU64::new(FILE_BYTES),
            Some(BATCH_ROWS),
            Default::default(),
            Some(spec.told_columns()),
        );
        let coalescer = BatchCoalescer::new(schema, BATCH_ROWS).with_biggest_coalesce_batch_size(Some(BATCH_ROWS / 4));
        Self {
            spec,
            encoder: Encoder::start(DeltaWriter::new(files, config), store),
            coalescer,
            staging,
            place,
            keys: None,
            rows: 0,
        }
    }

    /// The same, noting the key of each row.
    pub(super) fn noting_keys(self) -> Result<Self> {
        Ok(Self { keys: Some((KeyHasher::new(self.spec)?, Vec::new())), ..self })
    }

    /// How many rows it has taken in.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Takes in rows in the table's schema but for `_synced_at`, which is set to `synced_at_micros`.
    ///
    /// # Errors
    /// [`Unreachable`](crate::ErrorKind::Unreachable) where the store fails; a full disk is one.
    pub async fn write(&mut self, batch: &RecordBatch, synced_at_micros: i64) -> Result<()> {
        self.write_stamped(stamp(batch, synced_at_micros).map_err(|error| Error::bug(error.to_string()))?).await
    }

    /// Takes in rows in the table's whole schema, as the table has them.
    ///
    /// # Errors
    /// As [`Writer::write`].
    pub async fn write_stamped(&mut self, batch: RecordBatch) -> Result<()> {
        self.rows += batch.num_rows() as u64;
        if let Some((hasher, keys)) = &mut self.keys {
            keys.extend(hasher.short_keys(&batch)?);
        }
        self.coalescer.push_batch(batch).map_err(|error| Error::bug(error.to_string()))?;
        self.drain().await
    }

    /// Closes the files.
    ///
    /// # Errors
    /// As [`Writer::write`].
    pub async fn finish(mut self) -> Result<StagedRows> {
        self.coalescer.finish_buffered_batch().map_err(|error| Error::bug(error.to_string()))?;
        self.drain().await?;
        let adds = self.encoder.finish().await.map_err(|error| not_staged(self.spec, error))?;
        let files: Result<Vec<Path>, _> = adds.iter().map(|add| Path::from_url_path(&add.path)).collect();
        let files = files.map_err(|error| Error::bug(error.to_string()))?;
        let files = files.iter().map(|file| join(&self.staging, file)).collect();
        Ok(StagedRows { adds, files, place: self.place, keys: self.keys.map(|(_, keys)| vec![keys]), rows: self.rows })
    }

    async fn drain(&mut self) -> Result<()> {
        while let Some(batch) = self.coalescer.next_completed_batch() {
            self.encoder.write(batch).await.map_err(|error| not_staged(self.spec, error))?;
        }
        Ok(())
    }
}

fn not_staged(spec: &TableSpec, failure: Failure) -> Error {
    match failure {
        Failure::Store(error) => store_error(&format!("rows of {} could not be staged", spec.name), &error),
        Failure::Task(error) => Error::bug(format!("the encoder of {} ended: {error}", spec.name)),
    }
}

/// Encodes batches in a task of its own, so that the next page is fetched and read meanwhile. Dropping it stops it.
struct Encoder {
    /// None is the end; a channel that closes without it means that nobody wants the files.
    batches: mpsc::Sender<Option<RecordBatch>>,
    task: JoinHandle<Result<Vec<Add>, DeltaTableError>>,
}

enum Failure {
    Store(DeltaTableError),
    Task(JoinError),
}

impl Encoder {
    fn start(mut writer: DeltaWriter, store: Arc<StagedStore>) -> Self {
        let (batches, mut waiting) = mpsc::channel::<Option<RecordBatch>>(BATCHES_WAITING);
        let task = tokio::spawn(async move {
            loop {
                match waiting.recv().await {
                    Some(Some(batch)) => writer.write(&batch).await?,
                    Some(None) => {
                        let adds = writer.close().await?;
                        return store.take_failure().map_or(Ok(adds), |error| Err(error.into()));
                    }
                    None => return Err(DeltaTableError::generic("the rows were given up")),
                }
            }
        });
        Self { batches, task }
    }

    async fn write(&mut self, batch: RecordBatch) -> Result<(), Failure> {
        if self.batches.send(Some(batch)).await.is_ok() {
            return Ok(());
        }
        // It has ended before its time, which is how it says that it failed.
        match (&mut self.task).await.map_err(Failure::Task)? {
            Ok(_) => Err(Failure::Store(DeltaTableError::generic("the encoder ended before the rows did"))),
            Err(error) => Err(Failure::Store(error)),
        }
    }

    async fn finish(&mut self) -> Result<Vec<Add>, Failure> {
        // Where it has failed it no longer listens, and says why below.
        let _ = self.batches.send(None).await;
        (&mut self.task).await.map_err(Failure::Task)?.map_err(Failure::Store)
    }
}

impl Drop for Encoder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// How every data file of a table is encoded.
///
/// What was measured, on 100,000 users (`cargo bench --bench bench -- write`): with a dictionary for every column a
/// file is a sixth larger and takes half as long again to write, since ids, addresses and URLs hardly repeat; zstd 3
/// costs more time than the 2 % that it saves are worth; larger row groups save nothing worth mentioning and are
/// what an open file holds in memory.
#[must_use]
pub fn writer_properties(spec: &TableSpec) -> WriterProperties {
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_dictionary_enabled(false)
        .set_max_row_group_row_count(Some(spec.row_group_rows))
        .set_data_page_size_limit(PAGE_BYTES)
        .set_created_by(concat!("clerk-lake ", env!("CARGO_PKG_VERSION")).to_owned());
    let repetitive =
        spec.repetitive.iter().map(|path| ColumnPath::from(path.split('.').map(str::to_owned).collect::<Vec<_>>()));
    repetitive.fold(properties, |properties, path| properties.set_column_dictionary_enabled(path, true)).build()
}
