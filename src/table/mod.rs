//! The definition of a table of the lake: its name, shape, key, partition and columns.
//!
//! Resources, storage, `status`, `schema` and the documentation all use this definition. It depends neither on Clerk's
//! API nor on how tables are stored.

pub mod columns;

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, ListArray, RecordBatch, StructArray, TimestampMicrosecondArray, new_null_array,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;

use crate::error::{Error, Result};

pub use columns::Column;

/// Name of the last column of every table: when this program last wrote the row.
pub const SYNCED_AT: &str = "_synced_at";

/// What the rows of a table represent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One row per object, in its current state.
    Entity,
    /// One row per event. Rows stay after Clerk no longer lists the event.
    Event,
    /// One row per relation between two objects.
    Edge,
    /// One row per value of a metric.
    Metric,
    /// A set of observations. Rows are only added.
    Ledger,
}

impl Shape {
    /// Returns the name of the shape, as shown to users.
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
    /// The table's name, which is also the name of its directory.
    pub name: &'static str,
    /// What the table holds, in one or two sentences.
    pub meaning: &'static str,
    /// What the rows represent.
    pub shape: Shape,
    /// The columns that identify a row.
    pub key: &'static [&'static str],
    /// The column for Hive partitioning; `None` for a table that is not partitioned.
    pub partition: Option<&'static str>,
    /// Rows per row group. While rows are written, each partition has one open row group in memory, so a table with
    /// many partitions needs small row groups.
    pub row_group_rows: usize,
    /// Paths of the Parquet leaf columns that use a dictionary, because their values repeat. Text that differs from row
    /// to row is smaller and faster without a dictionary.
    pub repetitive: &'static [&'static str],
    /// The endpoint or query that the rows come from.
    pub source: &'static str,
    /// Returns all columns but the last, without rows.
    pub columns: fn() -> Vec<Column>,
}

impl TableSpec {
    /// Returns the schema, including `_synced_at`.
    #[must_use]
    pub fn schema(&self) -> SchemaRef {
        with_synced_at(&columns::schema(&(self.columns)()))
    }

    /// Returns the columns for which the Delta log holds statistics: the minimum and maximum of each data file.
    ///
    /// These are the key, and all dates and times. Queries use them to skip files. Statistics for all columns would
    /// make the log many times longer.
    #[must_use]
    pub fn stats_columns(&self) -> Vec<String> {
        let schema = self.schema();
        let is_time = |field: &Field| matches!(field.data_type(), DataType::Timestamp(..) | DataType::Date32);
        let fields = schema.fields().iter().filter(|field| is_time(field) || self.key.contains(&field.name().as_str()));
        fields.map(|field| field.name().clone()).collect()
    }

    /// Returns the name and meaning of every column.
    #[must_use]
    pub fn describe(&self) -> Vec<(&'static str, &'static str)> {
        let mut columns: Vec<_> = (self.columns)().iter().map(|column| (column.name, column.meaning)).collect();
        columns.push((SYNCED_AT, "When this program last wrote the row, by Clerk's clock."));
        columns
    }
}

/// Returns `batch` with `_synced_at` as its last column.
///
/// # Errors
/// [`ArrowError`] if the columns cannot form a record batch, which is a bug.
pub fn stamp(batch: &RecordBatch, synced_at_micros: i64) -> std::result::Result<RecordBatch, ArrowError> {
    let stamps = TimestampMicrosecondArray::from_value(synced_at_micros, batch.num_rows()).with_timezone("UTC");
    let mut arrays: Vec<ArrayRef> = batch.columns().to_vec();
    arrays.push(Arc::new(stamps));
    RecordBatch::try_new(with_synced_at(&batch.schema()), arrays)
}

/// Returns `batch` converted to `schema`. Columns are matched by name and cast to the type in the schema. So are the
/// fields of structs; a field that a struct does not have yet is NULL.
///
/// # Errors
/// [`Bug`](crate::ErrorKind::Bug) if a column is missing or cannot be cast, or if a struct has a field that is not in the
/// schema.
pub fn conform(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let bug = |error: ArrowError| Error::bug(error.to_string());
    let columns = schema.fields().iter().map(|field| {
        let column = batch.column_by_name(field.name());
        let column = column.ok_or_else(|| Error::bug(format!("the rows have no column {}", field.name())))?;
        converted(column, field.data_type()).map_err(bug)
    });
    RecordBatch::try_new(SchemaRef::clone(schema), columns.collect::<Result<Vec<_>>>()?).map_err(bug)
}

/// Returns `column` converted to the type `to`.
fn converted(column: &ArrayRef, to: &DataType) -> std::result::Result<ArrayRef, ArrowError> {
    match (column.data_type(), to) {
        (from, to) if from == to => Ok(Arc::clone(column)),
        (DataType::Struct(from), DataType::Struct(fields)) => {
            if let Some(unknown) = from.iter().find(|known| fields.iter().all(|field| field.name() != known.name())) {
                return Err(ArrowError::CastError(format!("the struct has an unknown field {}", unknown.name())));
            }
            let structs = column.as_struct();
            let children = fields.iter().map(|field| match structs.column_by_name(field.name()) {
                Some(child) => converted(child, field.data_type()),
                None => Ok(new_null_array(field.data_type(), structs.len())),
            });
            let children = children.collect::<std::result::Result<Vec<_>, _>>()?;
            Ok(Arc::new(StructArray::try_new(fields.clone(), children, structs.nulls().cloned())?))
        }
        (DataType::List(_), DataType::List(element)) => {
            let lists = column.as_list::<i32>();
            let elements = converted(lists.values(), element.data_type())?;
            let (offsets, nulls) = (lists.offsets().clone(), lists.nulls().cloned());
            Ok(Arc::new(ListArray::try_new(Arc::clone(element), offsets, elements, nulls)?))
        }
        (_, to) => cast(column, to),
    }
}

fn with_synced_at(schema: &Schema) -> SchemaRef {
    let mut fields: Vec<_> = schema.fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new(SYNCED_AT, columns::time_type(), true)));
    Arc::new(Schema::new(fields))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns two rows with a list of structs: one has one element, the other none.
    fn rows(children: &[Column]) -> RecordBatch {
        let list = Column::list("list", "A list.", [Some(1), Some(0)].into_iter(), children);
        columns::batch(&[list], 2).unwrap()
    }

    fn text(name: &'static str) -> Column {
        Column::text(name, "Text.", [Some(name)].into_iter())
    }

    #[test]
    fn a_field_that_a_struct_does_not_have_yet_is_null() {
        let new = rows(&[text("b"), text("a"), Column::flag("c", "A flag.", [None].into_iter())]);
        let old = conform(&rows(&[text("a"), text("b")]), &new.schema()).unwrap();
        assert_eq!(old, new);
    }

    #[test]
    fn a_field_that_is_not_in_the_schema_is_refused() {
        let old = rows(&[text("a")]);
        assert!(conform(&rows(&[text("a"), text("b")]), &old.schema()).is_err());
    }
}
