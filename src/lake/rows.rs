//! Streams of record batches: the committed rows of a table, and its staged rows.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Schema};
use chrono::DateTime;
use datafusion::catalog::TableProvider;
use datafusion::common::Statistics;
use datafusion::common::stats::Precision;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchReceiverStream;
use datafusion::prelude::{Expr, col, lit};
use deltalake::kernel::Add;
use futures::{Stream, StreamExt, TryStreamExt};
use object_store::ObjectMeta;
use object_store::path::Path;

use super::data_files::{DataFiles, key_value};
use super::staged_rows::StagedRows;
use super::table::Table;

use super::{Lake, store_error};
use crate::error::{Error, Result, chain};
use crate::table::{TableSpec, conform};

/// The column of [`Committed`] rows with the data file that contains the row.
const FILE: &str = "__file";

/// How many batches are decoded ahead of the one that is being used.
const PREFETCHED_BATCHES: usize = 2;

/// Selects the rows and columns to read from a table.
#[derive(Default)]
pub(super) struct Committed<'a> {
    /// The columns; `None` for all.
    pub columns: Option<&'a [&'static str]>,
    /// The condition that the rows must meet; `None` for all rows.
    pub filter: Option<Expr>,
    /// The names of the data files to read; `None` for all.
    pub files: Option<&'a HashSet<String>>,
}

impl Table {
    /// Returns the selected rows of the table, each with the data file that contains it; see [`file_names`].
    pub(super) async fn committed(&self, wanted: Committed<'_>) -> Result<SendableRecordBatchStream> {
        let mut provider = self.delta.table_provider().with_file_column(FILE);
        if let Some(names) = wanted.files {
            let is_wanted = |path: &String| names.contains(file_name(path));
            provider = provider.with_file_paths(self.files().map(|file| file.path).filter(is_wanted));
        }
        let provider = provider
            .await
            .map_err(|error| store_error(&format!("the table {} cannot be read", self.spec.name), &error))?;
        let context = self.lake.narrow_context();
        let mut rows = context.read_table(provider).map_err(|error| failed(&error))?;
        if let Some(filter) = wanted.filter {
            rows = rows.filter(filter).map_err(|error| failed(&error))?;
        }
        if let Some(columns) = wanted.columns {
            let columns: Vec<_> = columns.iter().copied().chain([FILE]).collect();
            rows = rows.select_columns(&columns).map_err(|error| failed(&error))?;
        }
        rows.execute_stream().await.map_err(|error| failed(&error))
    }

    /// Returns all rows, in the table's schema.
    ///
    /// # Errors
    /// [`Unreachable`](crate::ErrorKind::Unreachable) if the store fails.
    pub async fn all_rows(&self) -> Result<impl Stream<Item = Result<RecordBatch>>> {
        let rows = self.committed(Committed::default()).await?;
        let conformed = |batch: RecordBatch| std::future::ready(conform(&batch, &self.spec.schema()));
        Ok(rows.map_err(|error| failed(&error)).and_then(conformed))
    }

    /// Returns all rows in `staged`.
    pub(super) async fn all_staged(
        &self,
        staged: &StagedRows,
        columns: Option<&[&'static str]>,
    ) -> Result<SendableRecordBatchStream> {
        let context = self.lake.narrow_context();
        let rows = staged_table(&self.lake, self.spec, staged)?;
        let mut rows = context.read_table(Arc::new(rows)).map_err(|error| failed(&error))?;
        if let Some(columns) = columns {
            rows = rows.select_columns(columns).map_err(|error| failed(&error))?;
        }
        rows.execute_stream().await.map_err(|error| failed(&error))
    }

    /// Returns the rows with these keys, with all columns. The table's key must be a single column.
    ///
    /// # Errors
    /// [`Unreachable`](crate::ErrorKind::Unreachable) if the store fails.
    pub async fn rows_of(&self, keys: &[String]) -> Result<Vec<RecordBatch>> {
        if keys.is_empty() || !self.exists() {
            return Ok(Vec::new());
        }
        let filter = Some(self.key_is_one_of(keys.iter().map(String::as_str))?);
        let rows = self.committed(Committed { filter, ..Committed::default() }).await?;
        let rows: Vec<RecordBatch> = rows.try_collect().await.map_err(|error| failed(&error))?;
        rows.iter().map(|batch| conform(batch, &self.spec.schema())).collect()
    }

    /// Returns the condition that a row's key is one of `keys`. The table's key must be a single column.
    pub(super) fn key_is_one_of<'k>(&self, keys: impl Iterator<Item = &'k str>) -> Result<Expr> {
        match self.spec.key {
            [key] => Ok(col(*key).in_list(keys.map(lit).collect(), false)),
            _ => Err(Error::bug(format!("the key of {} is not a single column", self.spec.name))),
        }
    }
}

impl StagedRows {
    /// Returns the staged rows as a table for DataFusion, valid for as long as the run's area exists.
    ///
    /// # Errors
    /// [`Unreachable`](crate::ErrorKind::Unreachable) if the store fails.
    pub fn provider(&self, lake: &Lake, spec: &TableSpec) -> Result<Arc<dyn TableProvider>> {
        Ok(Arc::new(staged_table(lake, spec, self)?))
    }
}

/// Returns the same rows, decoded in a separate task while the caller works on earlier batches.
pub(super) fn ahead(mut rows: SendableRecordBatchStream) -> SendableRecordBatchStream {
    let mut decoded = RecordBatchReceiverStream::builder(rows.schema(), PREFETCHED_BATCHES);
    let batches = decoded.tx();
    decoded.spawn(async move {
        while let Some(batch) = rows.next().await {
            // The receiver is gone.
            if batches.send(batch).await.is_err() {
                break;
            }
        }
        Ok(())
    });
    decoded.build()
}

/// Returns the name of the data file of each row of a batch that [`Table::committed`] returned.
pub(super) fn file_names(batch: &RecordBatch) -> Result<Vec<String>> {
    let bug = || Error::bug("rows without the name of their data file");
    let paths = batch.column_by_name(FILE).ok_or_else(bug)?;
    let paths = arrow::compute::cast(paths, &DataType::Utf8).map_err(|_| bug())?;
    let paths: &StringArray = paths.as_string_opt().ok_or_else(bug)?;
    Ok(paths.iter().flatten().map(|path| file_name(path).to_owned()).collect())
}

/// Returns the last part of a path. It is unique among the data files of a table.
pub(super) fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Returns staged rows as a table for DataFusion. It reads the files by name instead of listing the directory, so that
/// a missing file is an error.
pub(super) fn staged_table(lake: &Lake, spec: &TableSpec, staged: &StagedRows) -> Result<DataFiles> {
    let schema = spec.schema();
    let (keys, rest): (Vec<_>, Vec<_>) =
        schema.fields().iter().cloned().partition(|field| Some(field.name().as_str()) == spec.partition);
    let columns = TableSchema::builder(Arc::new(Schema::new(rest))).with_table_partition_cols(keys).build();
    let files = staged.adds.iter().zip(&staged.files);
    let files = files.map(|(add, file)| staged_file(add, file, &columns)).collect::<Result<_>>()?;
    DataFiles::new(lake, schema, columns, files)
}

/// Returns the staged file that `add` describes. `file` is its path in the whole store.
fn staged_file(add: &Add, file: &Path, columns: &TableSchema) -> Result<PartitionedFile> {
    let bug = |error: &(dyn std::error::Error + 'static)| Error::bug(chain(error));
    let mut listed = PartitionedFile::new_from_meta(ObjectMeta {
        location: file.clone(),
        last_modified: DateTime::from_timestamp_millis(add.modification_time).unwrap_or_default(),
        size: u64::try_from(add.size).map_err(|error| bug(&error))?,
        e_tag: None,
        version: None,
    });
    for key in columns.table_partition_cols() {
        let value = add.partition_values.get(key.name()).cloned().flatten();
        listed.partition_values.push(key_value(value, key.data_type()).map_err(|error| bug(&error))?);
    }
    let row_count = add.get_stats().ok().flatten().and_then(|stats| usize::try_from(stats.num_records).ok());
    let rows = row_count.map_or(Precision::Absent, Precision::Exact);
    listed.statistics = Some(Arc::new(Statistics::new_unknown(columns.table_schema()).with_num_rows(rows)));
    Ok(listed)
}

pub(super) fn failed(error: &DataFusionError) -> Error {
    store_error("rows of the lake could not be read", error)
}
