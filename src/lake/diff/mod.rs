//! The diff between staged rows and a table: which rows are inserted, updated and deleted, and which data files hold
//! the updated and deleted ones.
//!
//! For each staged row, a hash of its key and a hash of its content are held in memory, while the table's rows are
//! streamed. If the staged rows do not fit, the keys are divided into slices, and both sides are read once per slice.

mod comparison;
mod outcome;

use arrow::array::RecordBatch;
use futures::TryStreamExt;

use super::identity::KeyHasher;
use super::rows::{Committed, failed, file_names};
use super::staged_rows::StagedRows;
use super::table::Table;
use crate::error::{Error, Result};
use crate::table::conform;
use comparison::Comparison;

pub(super) use outcome::CREATED_AT;
pub use outcome::{Coverage, Diff};

/// The maximum number of staged rows in a slice, at 32 bytes per row.
const SLICE: u64 = 2_000_000;

/// The maximum number of staged rows in a slice if only keys are read. It is smaller because rereading keys is cheap.
const SLICE_OF_KEYS: u64 = 500_000;

impl Table {
    /// Compares `staged` rows with the version that the table is open at.
    ///
    /// # Errors
    /// [`Bug`](crate::ErrorKind::Bug) if two staged rows share a key, or not all staged rows can be read back;
    /// [`Unreachable`](crate::ErrorKind::Unreachable) if the store fails.
    pub async fn diff(&self, mut staged: StagedRows, coverage: Coverage) -> Result<Diff> {
        if self.file_count() == 0 && staged.has_distinct_keys() && staged.rows_in_files() == Some(staged.rows) {
            return Ok(Diff::of_new(staged));
        }
        let reads_content = self.file_count() > 0 && coverage != Coverage::Insertions;
        let max_rows = if reads_content { SLICE } else { SLICE_OF_KEYS };
        let slices = staged.rows.div_ceil(max_rows).max(1);
        self.diff_in_slices(staged, &coverage, slices).await
    }

    async fn diff_in_slices(&self, staged: StagedRows, coverage: &Coverage, slices: u64) -> Result<Diff> {
        let start = tokio::time::Instant::now();
        let mut comparison = Comparison::new(self, coverage)?;
        for slice in 0..slices {
            let rows = comparison.staged_slice(&staged, slice, slices).await?;
            comparison.compare(rows, slice, slices).await?;
        }
        let diff = comparison.into_diff(staged);
        let elapsed_ms = start.elapsed().as_millis();
        tracing::debug!(table = self.spec.name, elapsed_ms, counts = ?diff.counts, "compared with the table");
        Ok(diff)
    }

    /// Adds the deletion of the rows with these ids to `diff`, even if the rows are staged. The table's key must be a
    /// single column. Ids that neither the table nor the staged rows have are ignored.
    ///
    /// # Errors
    /// [`Unreachable`](crate::ErrorKind::Unreachable) if the store fails.
    pub async fn delete_too(&self, diff: &mut Diff, ids: &[String]) -> Result<()> {
        if diff.is_overwrite {
            return Err(Error::bug("cannot add deletions to a diff that replaces all rows"));
        }
        let hasher = KeyHasher::new(self.spec)?;
        for ids in ids.chunks(1000) {
            for key in hasher.keys_of_text(ids)? {
                diff.drop_staged(&key);
            }
            let filter = Some(self.key_is_one_of(ids.iter().map(String::as_str))?);
            let mut rows = self.committed(Committed { columns: Some(self.spec.key), filter, files: None }).await?;
            while let Some(batch) = rows.try_next().await.map_err(|error| failed(&error))? {
                for (key, file) in hasher.keys(&self.keys_of(&batch)?)?.into_iter().zip(file_names(&batch)?) {
                    if diff.outdated.insert(key) {
                        diff.counts.deleted += 1;
                        diff.touched.insert(file);
                    }
                }
            }
        }
        Ok(())
    }

    /// Returns the key columns of `batch`, converted to the types in the table's schema.
    pub(super) fn keys_of(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let schema = self.spec.schema();
        let at = self.spec.key.iter().map(|name| schema.index_of(name)).collect::<Result<Vec<_>, _>>();
        let keys = at.and_then(|at| schema.project(&at)).map_err(|error| Error::bug(error.to_string()))?;
        conform(batch, &keys.into())
    }
}

#[cfg(test)]
mod tests;
