//! What a table of the lake is: its name, shape, key, partition and columns.
//!
//! The one description that resources, storage, `status`, `schema` and the documentation share. It knows
//! neither Clerk's API nor how tables are stored.

pub mod columns;

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, TimestampMicrosecondArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;

use crate::error::{Error, Result};

pub use columns::Column;

/// The column that every table ends with: when this program last wrote the row.
pub const SYNCED_AT: &str = "_synced_at";

/// What a table's rows stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One row per object, as it is now.
    Entity,
    /// One row per event; rows outlive what Clerk remembers.
    Event,
    /// One row per relation between two objects.
    Edge,
    /// One row per value of a figure.
    Metric,
    /// A set of observations that only grows.
    Ledger,
}

impl Shape {
    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Entity => "entity",
            Self::Event => "event",
            Self::Edge => "edge",
            Self::Metric => "metric",
            Self::Ledger => "ledger",
        }
    }
}

/// A table of the lake.
#[derive(Clone, Copy, Debug)]
pub struct TableSpec {
    /// The table's name, which is its directory's.
    pub name: &'static str,
    /// What it holds, in a sentence.
    pub meaning: &'static str,
    /// What its rows stand for.
    pub shape: Shape,
    /// The columns that tell its rows apart.
    pub key: &'static [&'static str],
    /// The column whose value names the Hive directory; none for a table of one directory.
    pub partition: Option<&'static str>,
    /// Rows per row group. Each partition has one open while rows are written: many partitions, small groups.
    pub row_group_rows: usize,
    /// The Parquet columns (paths of leaves) whose values repeat enough for a dictionary to pay; text that differs
    /// from row to row is smaller and faster without one.
    pub repetitive: &'static [&'static str],
    /// The endpoint or query that it comes from.
    pub source: &'static str,
    /// Its columns but the last, without rows.
    pub columns: fn() -> Vec<Column>,
}

impl TableSpec {
    /// The whole schema, `_synced_at` included.
    #[must_use]
    pub fn schema(&self) -> SchemaRef {
        with_synced_at(&columns::schema(&(self.columns)()))
    }

    /// The columns whose least and greatest value each data file's log entry tells: the key, and moments, by which
    /// files are passed over. The others would make the log many times as long.
    #[must_use]
    pub fn told_columns(&self) -> Vec<String> {
        let schema = self.schema();
        let is_moment = |field: &Field| matches!(field.data_type(), DataType::Timestamp(..) | DataType::Date32);
        let told = schema.fields().iter().filter(|field| is_moment(field) || self.key.contains(&field.name().as_str()));
        told.map(|field| field.name().clone()).collect()
    }

    /// Name and meaning of every column.
    #[must_use]
    pub fn describe(&self) -> Vec<(&'static str, &'static str)> {
        let mut columns: Vec<_> = (self.columns)().iter().map(|column| (column.name, column.meaning)).collect();
        columns.push((SYNCED_AT, "When this program last wrote the row; by Clerk's clock."));
        columns
    }
}

/// `batch` with `_synced_at` as its last column.
///
/// # Errors
/// [`ArrowError`] where the batch already has that column, which is a bug.
pub fn stamp(batch: &RecordBatch, synced_at_micros: i64) -> std::result::Result<RecordBatch, ArrowError> {
    let stamps = TimestampMicrosecondArray::from_value(synced_at_micros, batch.num_rows()).with_timezone("UTC");
    let mut arrays: Vec<ArrayRef> = batch.columns().to_vec();
    arrays.push(Arc::new(stamps));
    RecordBatch::try_new(with_synced_at(&batch.schema()), arrays)
}

/// `batch` in `schema`: columns matched by name, each cast to the type that the schema says.
///
/// # Errors
/// [`Bug`](crate::ErrorKind::Bug) where a column is missing or of another kind.
pub fn conform(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let bug = |error: ArrowError| Error::bug(error.to_string());
    let columns = schema.fields().iter().map(|field| {
        let column = batch.column_by_name(field.name());
        let column = column.ok_or_else(|| Error::bug(format!("rows lack the column {}", field.name())))?;
        cast(column, field.data_type()).map_err(bug)
    });
    RecordBatch::try_new(SchemaRef::clone(schema), columns.collect::<Result<Vec<_>>>()?).map_err(bug)
}

fn with_synced_at(schema: &Schema) -> SchemaRef {
    let mut fields: Vec<_> = schema.fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new(SYNCED_AT, columns::time_type(), true)));
    Arc::new(Schema::new(fields))
}
