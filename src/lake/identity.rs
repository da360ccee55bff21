//! What tells two rows apart, and two versions of a row.
//!
//! `_synced_at` is not content: a row that was read again and is the same as before has not changed. Keys are told
//! apart by 128 bits of a hash, and contents by 64, so that wide rows are compared at the cost of narrow ones.

use std::hash::BuildHasher;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, StringArray};
use arrow::compute::filter_record_batch;
use arrow::row::{RowConverter, SortField};
use datafusion::common::hash_utils::QualityRandomState;

use crate::error::{Error, Result};
use crate::table::{SYNCED_AT, TableSpec};

/// Tells the keys of rows apart, at 16 bytes each.
pub(super) struct KeyHasher {
    converter: RowConverter,
    columns: &'static [&'static str],
}

/// A row's key, hashed.
pub(super) type Key = u128;

impl KeyHasher {
    pub(super) fn new(spec: &TableSpec) -> Result<Self> {
        let bug = |error: arrow::error::ArrowError| Error::bug(format!("keys cannot be compared: {error}"));
        let schema = spec.schema();
        let fields = spec.key.iter().map(|name| schema.field_with_name(name).map(|it| it.data_type().clone()));
        let fields = fields.map(|data_type| data_type.map(SortField::new)).collect::<Result<Vec<_>, _>>();
        let converter = fields.and_then(RowConverter::new).map_err(bug)?;
        Ok(Self { converter, columns: spec.key })
    }

    /// The key of each row of `batch`, whose key columns have the table's own types.
    pub(super) fn keys(&self, batch: &RecordBatch) -> Result<Vec<Key>> {
        let columns = self.columns.iter().filter_map(|name| batch.column_by_name(name).cloned()).collect::<Vec<_>>();
        self.hashed(&columns)
    }

    /// A part of the key of each row of `batch`, 8 bytes: rows with different ones have different keys.
    pub(super) fn short_keys(&self, batch: &RecordBatch) -> Result<impl Iterator<Item = u64>> {
        #[expect(clippy::cast_possible_truncation, reason = "a part of it is what is wanted")]
        Ok(self.keys(batch)?.into_iter().map(|key| key as u64))
    }

    /// The keys of rows whose key is one column of text.
    pub(super) fn keys_of_text(&self, texts: &[String]) -> Result<Vec<Key>> {
        self.hashed(&[Arc::new(StringArray::from_iter_values(texts))])
    }

    fn hashed(&self, columns: &[ArrayRef]) -> Result<Vec<Key>> {
        let hashers = [QualityRandomState::with_seed(1), QualityRandomState::with_seed(2)];
        let hash = |row: &[u8]| u128::from(hashers[0].hash_one(row)) << 64 | u128::from(hashers[1].hash_one(row));
        // Most keys are one column of text, which needs no other form.
        if let [column] = columns
            && let Some(texts) = column.as_string_opt::<i32>().filter(|texts| texts.null_count() == 0)
        {
            return Ok(texts.iter().flatten().map(|text| hash(text.as_bytes())).collect());
        }
        let rows = self.converter.convert_columns(columns);
        let rows = rows.map_err(|error| Error::bug(format!("keys cannot be compared: {error}")))?;
        Ok(rows.iter().map(|row| hash(row.as_ref())).collect())
    }
}

/// A hash of the content of each row of `batch`, which has the table's own schema: all columns but `_synced_at`.
pub(super) fn contents(batch: &RecordBatch) -> Result<Vec<u64>> {
    let bug = |error: arrow::error::ArrowError| Error::bug(format!("rows cannot be compared: {error}"));
    let schema = batch.schema();
    let content = schema.fields().iter().zip(batch.columns()).filter(|(field, _)| field.name() != SYNCED_AT);
    let (fields, arrays): (Vec<SortField>, Vec<ArrayRef>) =
        content.map(|(field, array)| (SortField::new(field.data_type().clone()), Arc::clone(array))).unzip();
    // The row format tells null from empty and one column's null from another's; hashing values alone does not.
    let encoded = RowConverter::new(fields).and_then(|converter| converter.convert_columns(&arrays)).map_err(bug)?;
    let hasher = QualityRandomState::with_seed(0);
    Ok(encoded.iter().map(|row| hasher.hash_one(row.as_ref())).collect())
}

/// The rows of `batch` whose key is among `keys`, or is not.
pub(super) fn rows_where(batch: &RecordBatch, keys: &[Key], wanted: impl Fn(&Key) -> bool) -> Result<RecordBatch> {
    let wanted: BooleanArray = keys.iter().map(|key| Some(wanted(key))).collect();
    filter_record_batch(batch, &wanted).map_err(|error| Error::bug(error.to_string()))
}
