//! The creation times of a table's rows, which tell how many rows lie between two times.

use std::ops::RangeInclusive;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::TimestampMicrosecondType;
use datafusion::common::ScalarValue;
use datafusion::prelude::{Expr, col};
use futures::TryStreamExt;

use super::diff::{CREATED_AT, Diff};
use super::identity::KeyHasher;
use super::rows::{Committed, failed};
use super::table::Table;
use crate::error::{Error, Result};

impl Table {
    /// Returns the creation times of the rows that the table will have after `diff`: Unix milliseconds in ascending
    /// order, 8 bytes per row. `None` if the creation time of a row is unknown.
    ///
    /// # Errors
    /// [`Unreachable`](crate::ErrorKind::Unreachable) if the store fails.
    pub async fn creation_times(&self, diff: &Diff) -> Result<Option<Vec<i64>>> {
        let hasher = KeyHasher::new(self.spec)?;
        let columns: Vec<&'static str> = self.spec.key.iter().copied().chain([CREATED_AT]).collect();
        let mut times = Vec::with_capacity(usize::try_from(self.rows() + diff.counts().inserted).unwrap_or(0));
        if self.file_count() > 0 {
            let mut rows = self.committed(Committed { columns: Some(&columns), ..Committed::default() }).await?;
            while let Some(batch) = rows.try_next().await.map_err(|error| failed(&error))? {
                let keys = hasher.keys(&self.keys_of(&batch)?)?;
                let stays = keys.iter().map(|key| !diff.outdated.contains(key) || diff.is_changed(key));
                if !take_times(&batch, stays, &mut times)? {
                    return Ok(None);
                }
            }
        }
        let mut rows = self.all_staged(&diff.staged, Some(&columns)).await?;
        while let Some(batch) = rows.try_next().await.map_err(|error| failed(&error))? {
            let keys = hasher.keys(&self.keys_of(&batch)?)?;
            let is_new = keys.iter().map(|key| diff.is_changed(key) && !diff.outdated.contains(key));
            if !take_times(&batch, is_new, &mut times)? {
                return Ok(None);
            }
        }
        times.sort_unstable();
        Ok(Some(times))
    }

    /// Returns the keys of the rows created in this range of Unix milliseconds. The key must be a single text column.
    ///
    /// # Errors
    /// [`Unreachable`](crate::ErrorKind::Unreachable) if the store fails.
    pub async fn keys_created(&self, range: RangeInclusive<i64>) -> Result<Vec<String>> {
        let time = |millis: i64| {
            Expr::Literal(ScalarValue::TimestampMicrosecond(Some(millis * 1000), Some("UTC".into())), None)
        };
        let filter = col(CREATED_AT).gt_eq(time(*range.start()));
        let filter = Some(filter.and(col(CREATED_AT).lt(time(range.end() + 1))));
        let mut rows = self.committed(Committed { columns: Some(self.spec.key), filter, files: None }).await?;
        let mut keys = Vec::new();
        while let Some(batch) = rows.try_next().await.map_err(|error| failed(&error))? {
            let batch = self.keys_of(&batch)?;
            let column = batch.column(0).as_string_opt::<i32>();
            let column = column.ok_or_else(|| Error::bug(format!("the key of {} is not text", self.spec.name)))?;
            keys.extend(column.iter().flatten().map(str::to_owned));
        }
        Ok(keys)
    }
}

/// Appends the creation times of the `wanted` rows to `times`, in Unix milliseconds. Returns `false` if one is unknown.
fn take_times(batch: &RecordBatch, wanted: impl Iterator<Item = bool>, times: &mut Vec<i64>) -> Result<bool> {
    let created = batch.column_by_name(CREATED_AT).and_then(|it| it.as_primitive_opt::<TimestampMicrosecondType>());
    let created = created.ok_or_else(|| Error::bug("rows without the column created_at"))?;
    for (at, wanted) in created.iter().zip(wanted) {
        match at {
            _ if !wanted => {}
            Some(at) => times.push(at.div_euclid(1000)),
            None => return Ok(false),
        }
    }
    Ok(true)
}
