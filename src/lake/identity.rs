//! Hashes that identify rows by their key, and versions of a row by their content.
//!
//! `_synced_at` is not content: a row that was read again without other changes has not changed. Keys are compared by
//! 128-bit hashes, and contents by 64-bit hashes, so that comparing wide rows costs no more than comparing narrow ones.

use std::hash::BuildHasher;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, StringArray};
use arrow::compute::filter_record_batch;
use arrow::row::{RowConverter, SortField};
use datafusion::common::hash_utils::QualityRandomState;

use crate::error::{Error, Result};
use crate::table::{SYNCED_AT, TableSpec};

/// Hashes the keys of rows, to 16 bytes each.
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

    /// Returns the key of each row of `batch`. Its key columns must have the types of the table's schema.
    pub(super) fn keys(&self, batch: &RecordBatch) -> Result<Vec<Key>> {
        let columns = self.columns.iter().filter_map(|name| batch.column_by_name(name).cloned()).collect::<Vec<_>>();
        self.hashed(&columns)
    }

    /// Returns 8 bytes of the key of each row of `batch`. Rows that differ in these bytes have different keys.
    pub(super) fn short_keys(&self, batch: &RecordBatch) -> Result<impl Iterator<Item = u64>> {
        #[expect(clippy::cast_possible_truncation, reason = "the short key is the lower half of the key")]
        Ok(self.keys(batch)?.into_iter().map(|key| key as u64))
    }

    /// Returns the keys of rows whose key is a single text column with these values.
    pub(super) fn keys_of_text(&self, texts: &[String]) -> Result<Vec<Key>> {
        self.hashed(&[Arc::new(StringArray::from_iter_values(texts))])
    }

    fn hashed(&self, columns: &[ArrayRef]) -> Result<Vec<Key>> {
        let hashers = [QualityRandomState::with_seed(1), QualityRandomState::with_seed(2)];
        let hash = |row: &[u8]| u128::from(hashers[0].hash_one(row)) << 64 | u128::from(hashers[1].hash_one(row));
        // Most keys are a single text column, which needs no conversion to the row format.
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

/// Returns a hash of the content of each row of `batch`: of all columns except `_synced_at`. The batch must have the
/// table's schema.
pub(super) fn contents(batch: &RecordBatch) -> Result<Vec<u64>> {
    let bug = |error: arrow::error::ArrowError| Error::bug(format!("rows cannot be compared: {error}"));
    let schema = batch.schema();
    let content = schema.fields().iter().zip(batch.columns()).filter(|(field, _)| field.name() != SYNCED_AT);
    let (fields, arrays): (Vec<SortField>, Vec<ArrayRef>) =
        content.map(|(field, array)| (SortField::new(field.data_type().clone()), Arc::clone(array))).unzip();
    // The row format distinguishes NULL from empty, and a NULL in one column from a NULL in another. Hashes of the
    // values alone do not.
    let encoded = RowConverter::new(fields).and_then(|converter| converter.convert_columns(&arrays)).map_err(bug)?;
    let hasher = QualityRandomState::with_seed(0);
    Ok(encoded.iter().map(|row| hasher.hash_one(row.as_ref())).collect())
}

/// Returns a digest of the content of all rows of `batch`. The digest of several batches is the wrapping sum of theirs, so
/// it depends neither on the order of the rows nor on their division into batches. The batch must have the table's
/// schema, with or without `_synced_at`.
///
/// # Errors
/// [`Bug`](crate::ErrorKind::Bug) if the rows cannot be hashed.
pub(crate) fn content_digest(batch: &RecordBatch) -> Result<u64> {
    Ok(contents(batch)?.into_iter().fold(0, u64::wrapping_add))
}

/// Returns the rows of `batch` whose key is `wanted`. `keys` are the keys of its rows, in the same order.
pub(super) fn rows_where(batch: &RecordBatch, keys: &[Key], wanted: impl Fn(&Key) -> bool) -> Result<RecordBatch> {
    let wanted: BooleanArray = keys.iter().map(|key| Some(wanted(key))).collect();
    filter_record_batch(batch, &wanted).map_err(|error| Error::bug(error.to_string()))
}
