//! Converts rows to columns. A column's name, type, meaning and values are defined in one place.
//!
//! Each resource lists its columns in one function from rows to columns. Called without rows, the same function returns
//! the schema. Nothing is inferred from data, so an empty page and a full page have the same schema.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, Date32Array, Float64Array, Int32Array, Int64Array, ListArray, RecordBatch,
    RecordBatchOptions, StringArray, StructArray, TimestampMicrosecondArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;

/// A column: its name, meaning and values.
#[derive(Clone, Debug)]
pub struct Column {
    /// The column's name.
    pub name: &'static str,
    /// What the column means. Ends with the field of Clerk's object that it comes from, such as "(`created_at`).", if
    /// there is one.
    pub meaning: &'static str,
    /// The values.
    pub array: ArrayRef,
}

impl Column {
    /// Creates a column of verbatim text, of type `Utf8`.
    pub fn text<'a>(name: &'static str, meaning: &'static str, values: impl Iterator<Item = Option<&'a str>>) -> Self {
        Self { name, meaning, array: Arc::new(values.collect::<StringArray>()) }
    }

    /// Creates a column of type `Boolean`.
    pub fn flag(name: &'static str, meaning: &'static str, values: impl Iterator<Item = Option<bool>>) -> Self {
        Self { name, meaning, array: Arc::new(values.collect::<BooleanArray>()) }
    }

    /// Creates a column of whole numbers, of type `Int64`.
    pub fn integer(name: &'static str, meaning: &'static str, values: impl Iterator<Item = Option<i64>>) -> Self {
        Self { name, meaning, array: Arc::new(values.collect::<Int64Array>()) }
    }

    /// Creates a column of numbers, of type `Float64`.
    pub fn number(name: &'static str, meaning: &'static str, values: impl Iterator<Item = Option<f64>>) -> Self {
        Self { name, meaning, array: Arc::new(values.collect::<Float64Array>()) }
    }

    /// Creates a column of calendar years, of type `Int32`.
    pub fn year(name: &'static str, meaning: &'static str, values: impl Iterator<Item = Option<i32>>) -> Self {
        Self { name, meaning, array: Arc::new(values.collect::<Int32Array>()) }
    }

    /// Creates a column of UTC days, of type `Date32`. `values` are days since 1970-01-01.
    pub fn date(name: &'static str, meaning: &'static str, values: impl Iterator<Item = Option<i32>>) -> Self {
        Self { name, meaning, array: Arc::new(values.collect::<Date32Array>()) }
    }

    /// Creates a column of times, of type `Timestamp(µs, UTC)`. `values` are in Unix milliseconds.
    pub fn time(name: &'static str, meaning: &'static str, values: impl Iterator<Item = Option<i64>>) -> Self {
        let micros = values.map(|millis| millis.map(|millis| millis * 1000));
        let array = micros.collect::<TimestampMicrosecondArray>().with_timezone("UTC");
        Self { name, meaning, array: Arc::new(array) }
    }

    /// Creates a column of structs with the fields `children`. The struct is null if `valid` is false for its row.
    ///
    /// # Panics
    /// Panics if the children differ in length, which is a bug.
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

    /// Creates a column of lists of structs. `lengths` holds the number of elements of each row (`None` for a null
    /// list). `children` hold the elements of all rows in sequence.
    ///
    /// # Panics
    /// Panics if the length of the children is not the sum of `lengths`, which is a bug.
    pub fn list(
        name: &'static str,
        meaning: &'static str,
        lengths: impl Iterator<Item = Option<usize>> + Clone,
        children: &[Self],
    ) -> Self {
        let elements = StructArray::new(fields(children), arrays(children), None);
        Self { name, meaning, array: Arc::new(list_of(lengths, Arc::new(elements))) }
    }

    /// Creates a column of lists of verbatim text. A null list is `None`.
    pub fn texts<'a>(
        name: &'static str,
        meaning: &'static str,
        lists: impl Iterator<Item = Option<Vec<Option<Cow<'a, str>>>>>,
    ) -> Self {
        let lists: Vec<_> = lists.collect();
        let elements: StringArray = lists.iter().flatten().flatten().map(Option::as_deref).collect();
        let lengths = lists.iter().map(|list| list.as_ref().map(Vec::len));
        Self { name, meaning, array: Arc::new(list_of(lengths, Arc::new(elements))) }
    }

    fn field(&self) -> Field {
        Field::new(self.name, self.array.data_type().clone(), true)
    }
}

/// Returns the lists of these `lengths` (`None` for a null list), which hold `elements` in sequence.
fn list_of(lengths: impl Iterator<Item = Option<usize>> + Clone, elements: ArrayRef) -> ListArray {
    let offsets = OffsetBuffer::from_lengths(lengths.clone().map(|length| length.unwrap_or(0)));
    let nulls = lengths.map(|length| length.is_some()).collect::<NullBuffer>();
    let element = Arc::new(Field::new("element", elements.data_type().clone(), true));
    ListArray::new(element, offsets, elements, Some(nulls))
}

/// Returns the schema of `columns`.
#[must_use]
pub fn schema(columns: &[Column]) -> SchemaRef {
    Arc::new(Schema::new(fields(columns)))
}

/// Returns `columns` as a record batch of `rows` rows.
///
/// # Errors
/// [`ArrowError`] if the columns differ in length, which is a bug.
pub fn batch(columns: &[Column], rows: usize) -> Result<RecordBatch, ArrowError> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(schema(columns), arrays(columns), &options)
}

/// Returns the data type of all times in the lake.
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
