//! Writes rows to staged Parquet files: one open file per partition, streamed to the store as pages arrive.
//!
//! Readers do not see these files before a commit names them. Memory is bounded by the open row groups, not by the
//! number of rows.

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

/// Number of rows that are collected before they go to the encoder, so that small pages cost as little as large ones.
const BATCH_ROWS: usize = 1024;

/// How many batches may wait for the encoder.
const QUEUED_BATCHES: usize = 2;

/// Size of a Parquet data page before compression. A reader has one page of each of its columns in memory.
const PAGE_BYTES: usize = 128 * 1024;

/// Size at which a data file is closed and the next one is started.
const FILE_BYTES: u64 = 256 * 1024 * 1024;

/// Streams record batches into staged data files, one open file per partition. Memory is bounded by the open row
/// groups.
pub struct Writer {
    spec: &'static TableSpec,
    encoder: ParquetEncoder,
    coalescer: BatchCoalescer,
    staging: Path,
    place: String,
    /// The key hashes, if the table is empty. Such a table needs no diff if all staged keys are distinct.
    keys: Option<(KeyHasher, Vec<u64>)>,
    rows: u64,
}

impl Writer {
    pub(super) fn new(spec: &'static TableSpec, store: Arc<StagedStore>, staging: Path, place: String) -> Self {
        let files: Arc<dyn ObjectStore> = Arc::clone(&store) as _;
        Self::of(spec, spec.schema(), files, store, staging, place)
    }

    /// Returns a writer of change data, which has its own directory and a column with the kind of change of each row.
    pub(super) fn of_changes(spec: &'static TableSpec, store: Arc<StagedStore>, staging: Path, place: String) -> Self {
        let files: Arc<dyn ObjectStore> = Arc::new(PrefixStore::new(Arc::clone(&store), CHANGE_DATA));
        Self::of(spec, schema_of_changes(spec), files, store, staging, place)
    }

    /// Returns a writer of rows with `schema` to `files`, which is `store` or a directory in it.
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
            Some(spec.stats_columns()),
        );
        let coalescer = BatchCoalescer::new(schema, BATCH_ROWS).with_biggest_coalesce_batch_size(Some(BATCH_ROWS / 4));
        Self {
            spec,
            encoder: ParquetEncoder::start(DeltaWriter::new(files, config), store),
            coalescer,
            staging,
            place,
            keys: None,
            rows: 0,
        }
    }

    /// Makes the writer hash the key of each row.
    pub(super) fn noting_keys(self) -> Result<Self> {
        Ok(Self { keys: Some((KeyHasher::new(self.spec)?, Vec::new())), ..self })
    }

    /// Returns the number of rows written so far.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Writes rows with the table's schema except `_synced_at`, which is set to `synced_at_micros` (Unix microseconds).
    ///
    /// # Errors
    /// [`Unreachable`](crate::ErrorKind::Unreachable) if the store fails, for example because the disk is full.
    pub async fn write(&mut self, batch: &RecordBatch, synced_at_micros: i64) -> Result<()> {
        self.write_stamped(stamp(batch, synced_at_micros).map_err(|error| Error::bug(error.to_string()))?).await
    }

    /// Writes rows with the table's whole schema, `_synced_at` included.
    ///
    /// # Errors
    /// Same as [`Writer::write`].
    pub async fn write_stamped(&mut self, batch: RecordBatch) -> Result<()> {
        self.rows += batch.num_rows() as u64;
        if let Some((hasher, keys)) = &mut self.keys {
            keys.extend(hasher.short_keys(&batch)?);
        }
        self.coalescer.push_batch(batch).map_err(|error| Error::bug(error.to_string()))?;
        self.drain().await
    }

    /// Closes the files and returns the staged rows.
    ///
    /// # Errors
    /// Same as [`Writer::write`].
    pub async fn finish(mut self) -> Result<StagedRows> {
        self.coalescer.finish_buffered_batch().map_err(|error| Error::bug(error.to_string()))?;
        self.drain().await?;
        let adds = self.encoder.finish().await.map_err(|error| staging_error(self.spec, error))?;
        let files: Result<Vec<Path>, _> = adds.iter().map(|add| Path::from_url_path(&add.path)).collect();
        let files = files.map_err(|error| Error::bug(error.to_string()))?;
        let files = files.iter().map(|file| join(&self.staging, file)).collect();
        Ok(StagedRows { adds, files, place: self.place, keys: self.keys.map(|(_, keys)| vec![keys]), rows: self.rows })
    }

    async fn drain(&mut self) -> Result<()> {
        while let Some(batch) = self.coalescer.next_completed_batch() {
            self.encoder.write(batch).await.map_err(|error| staging_error(self.spec, error))?;
        }
        Ok(())
    }
}

fn staging_error(spec: &TableSpec, failure: EncodeError) -> Error {
    match failure {
        EncodeError::Store(error) => store_error(&format!("rows of {} could not be staged", spec.name), &error),
        EncodeError::Task(error) => Error::bug(format!("the encoder of {} ended: {error}", spec.name)),
    }
}

/// Encodes batches in a separate task, so that the next page is fetched and decoded meanwhile. Dropping it stops the
/// task.
struct ParquetEncoder {
    /// `None` marks the end of the rows. If the channel closes without it, the writer was dropped and its files are not
    /// needed.
    batches: mpsc::Sender<Option<RecordBatch>>,
    task: JoinHandle<Result<Vec<Add>, DeltaTableError>>,
}

enum EncodeError {
    Store(DeltaTableError),
    Task(JoinError),
}

impl ParquetEncoder {
    fn start(mut writer: DeltaWriter, store: Arc<StagedStore>) -> Self {
        let (batches, mut waiting) = mpsc::channel::<Option<RecordBatch>>(QUEUED_BATCHES);
        let task = tokio::spawn(async move {
            loop {
                match waiting.recv().await {
                    Some(Some(batch)) => writer.write(&batch).await?,
                    Some(None) => {
                        let adds = writer.close().await?;
                        return store.take_failure().map_or(Ok(adds), |error| Err(error.into()));
                    }
                    None => return Err(DeltaTableError::generic("the writer was dropped before it was finished")),
                }
            }
        });
        Self { batches, task }
    }

    async fn write(&mut self, batch: RecordBatch) -> Result<(), EncodeError> {
        if self.batches.send(Some(batch)).await.is_ok() {
            return Ok(());
        }
        // The task ended early, which means that it failed.
        match (&mut self.task).await.map_err(EncodeError::Task)? {
            Ok(_) => Err(EncodeError::Store(DeltaTableError::generic("the encoder ended before the last row"))),
            Err(error) => Err(EncodeError::Store(error)),
        }
    }

    async fn finish(&mut self) -> Result<Vec<Add>, EncodeError> {
        // If the task has failed, the send fails too. The task's result below contains the reason.
        let _ = self.batches.send(None).await;
        (&mut self.task).await.map_err(EncodeError::Task)?.map_err(EncodeError::Store)
    }
}

impl Drop for ParquetEncoder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Returns the Parquet encoding of all data files of a table.
///
/// The settings were measured on 100,000 users (`cargo bench --bench bench -- write`). With a dictionary for every
/// column, files are a sixth larger and take 50 % longer to write, because ids, addresses and URLs rarely repeat. zstd
/// level 3 saves 2 % in size, which is not worth its time. Larger row groups save almost nothing, and an open file
/// keeps its row group in memory.
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
