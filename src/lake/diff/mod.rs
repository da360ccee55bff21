//! What staged rows change in a table: rows inserted, updated and deleted, and the data files that hold those that go.
//!
//! The staged side is held in memory as a hash of each row's key and one of its content, while the table streams by. If
//! more rows are staged than fit, both sides are read once for each slice of the keys.

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

/// How many staged rows are compared at a time: 32 bytes for each.
const SLICE: u64 = 2_000_000;

/// How many, if only their keys are read, which costs little to do again.
const SLICE_OF_KEYS: u64 = 500_000;

impl Table {
    /// Compares `staged` rows with the version that the table is open at.
    ///
    /// # Errors
    /// [`Bug`](crate::ErrorKind::Bug) if two staged rows share a key, or not all of them can be read back;
    /// [`Unreachable`](crate::ErrorKind::Unreachable) if the store fails.
    pub async fn diff(&self, mut staged: StagedRows, coverage: Coverage) -> Result<Diff> {
        if self.file_count() == 0 && staged.has_distinct_keys() && staged.rows_in_files() == Some(staged.rows) {
            return Ok(Diff::of_new(staged));
        }
        let reads_content = self.file_count() > 0 && coverage != Coverage::Insertions;
        let most = if reads_content { SLICE } else { SLICE_OF_KEYS };
        let slices = staged.rows.div_ceil(most).max(1);
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

    /// Adds to `diff` that the rows with these keys, which must be one column, are deleted, even if they are staged. Keys
    /// that neither side has are passed over.
    ///
    /// # Errors
    /// [`Unreachable`](crate::ErrorKind::Unreachable) if the store fails.
    pub async fn delete_too(&self, diff: &mut Diff, ids: &[String]) -> Result<()> {
        if diff.is_overwrite {
            return Err(Error::bug("rows are deleted from a diff that replaces all of them"));
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

    /// The key columns of `batch`, in the table's own types.
    pub(super) fn keys_of(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let schema = self.spec.schema();
        let at = self.spec.key.iter().map(|name| schema.index_of(name)).collect::<Result<Vec<_>, _>>();
        let keys = at.and_then(|at| schema.project(&at)).map_err(|error| Error::bug(error.to_string()))?;
        conform(batch, &keys.into())
    }
}

#[cfg(test)]
mod tests;
