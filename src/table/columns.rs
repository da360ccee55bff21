//! Rows to columns: one place says a column's name, type, meaning and where its value comes from.
//!
//! A resource lists its columns once, as a function from rows; called with no rows, the same function gives
//! the schema. Nothing is inferred from data, so an empty page and a full one have the same schema.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, Date32Array, Int32Array, Int64Array, ListArray, RecordBatch, RecordBatchOptions,
    StringArray, StructArray, TimestampMicrosecondArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;

/// One column: its field, what it means, and its values.
#[derive(Clone, Debug)]
pub struct Column {
    /// The column's name.
    pub name: &'static str,
    /// What it means, in a sentence, with the field of Clerk's that it comes from.
    pub meaning: &'static str,
    /// The values.
    pub array: ArrayRef,
}

impl Column {
    /// Text, verbatim; `Utf8`.
    pub fn text<'a>(name: &'static str, meaning: &'static str, values: impl Iterator<Item = Option<&'a str>>) -> Self {
        Self { name, meaning, array: Arc::new(values.collect::<StringArray>()) }
    }

    /// A flag; `Boolean`.
    pub fn flag(name: &'static str, meaning: &'static str, values: impl Iterator<Item = Option<bool>>) -> Self {
        Self { name, meaning, array: Arc::new(values.collect::<BooleanArray>()) }
    }

    /// A whole number; `Int64`.
    pub fn integer(name: &'static str, meaning: &'static str, values: impl Iterator<Item = Option<i64>>) -> Self {
        Self { name, meaning, array: Arc::new(values.collect::<Int64Array>()) }
    }

    /// A calendar year; `Int32`.
    pub fn year(name: &'static str, meaning: &'static str, values: impl Iterator<Item = Option<i32>>) -> Self {
        Self { name, meaning, array: Arc::new(values.collect::<Int32Array>()) }
    }

    /// A UTC day, given in days since 1970; `Date32`.
    pub fn date(name: &'static str, meaning: &'static str, values: impl Iterator<Item = Option<i32>>) -> Self {
        Self { name, meaning, array: Arc::new(values.collect::<Date32Array>()) }
    }

    /// A moment, given in Unix milliseconds; `Timestamp(µs, UTC)`.
    pub fn time(name: &'static str, meaning: &'static str, values: impl Iterator<Item = Option<i64>>) -> Self {
        let micros = values.map(|millis| millis.map(|millis| millis * 1000));
        let array = micros.collect::<TimestampMicrosecondArray>().with_timezone("UTC");
        Self { name, meaning, array: Arc::new(array) }
    }

    /// A struct of `children`; `valid` says which rows have one.
    ///
    /// # Panics
    /// Where the children differ in length, which is a bug.
    pub fn structure(
        name: &'static str,
        meaning: &'static str,
        children: &[Self],
        valid: impl Iterator<Item = bool>,
    ) -> Self {
        let nulls = valid.collect::<NullBuffer>();
        let array = StructArray::new(fields(children), arrays(children), Some(nulls));
        Self { name, meaning, array: Arc::new(array) }
    }

    /// A list of structs: `lengths` says how many elements each row has (none: a null list), `children` hold
    /// the elements of all rows, one after the other.
    ///
    /// # Panics
    /// Where the children's length is not the sum of `lengths`, which is a bug.
    pub fn list(
        name: &'static str,
        meaning: &'static str,
        lengths: impl Iterator<Item = Option<usize>> + Clone,
        children: &[Self],
    ) -> Self {
        let elements = StructArray::new(fields(children), arrays(children), None);
        let offsets = OffsetBuffer::from_lengths(lengths.clone().map(|length| length.unwrap_or(0)));
        let nulls = lengths.map(|length| length.is_some()).collect::<NullBuffer>();
        let element = Arc::new(Field::new("element", elements.data_type().clone(), true));
        let array = ListArray::new(element, offsets, Arc::new(elements), Some(nulls));
        Self { name, meaning, array: Arc::new(array) }
    }

    fn field(&self) -> Field {
        Field::new(self.name, self.array.data_type().clone(), true)
    }
}

/// The schema that `columns` have.
#[must_use]
pub fn schema(columns: &[Column]) -> SchemaRef {
    Arc::new(Schema::new(fields(columns)))
}

/// The batch that `columns` make; `rows` is its length.
///
/// # Errors
/// [`ArrowError`] where the columns differ in length, which is a bug.
pub fn batch(columns: &[Column], rows: usize) -> Result<RecordBatch, ArrowError> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(schema(columns), arrays(columns), &options)
}

/// The type of every moment in the lake.
#[must_use]
pub fn time_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

fn fields(columns: &[Column]) -> Fields {
    columns.iter().map(Column::field).collect()
}

fn arrays(columns: &[Column]) -> Vec<ArrayRef> {
    columns.iter().map(|column| Arc::clone(&column.array)).collect()
}
