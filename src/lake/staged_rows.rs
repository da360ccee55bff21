//! Staged rows: the result of a writer and the input of a commit.

use deltalake::kernel::Add;
use object_store::path::Path;

/// Maximum number of rows whose key hashes are kept in memory, 8 bytes each. The keys of more rows are read back from
/// the staged files.
const MAX_KEYS: u64 = 4_000_000;

/// Rows that are staged and not committed yet.
#[derive(Debug, Default)]
pub struct StagedRows {
    pub(super) adds: Vec<Add>,
    /// The current path of each of these files in the whole store.
    pub(super) files: Vec<Path>,
    /// The directory in which the last writer staged, relative to the table's part of the run's area.
    pub(super) place: String,
    /// A hash of each row's key, in several parts; `None` if the keys were not hashed during staging.
    pub(super) keys: Option<Vec<Vec<u64>>>,
    /// Number of rows.
    pub rows: u64,
}

impl StagedRows {
    /// Combines `parts`, which must not share a row.
    #[must_use]
    pub fn all(parts: Vec<Self>) -> Self {
        let empty = Self { keys: Some(Vec::new()), ..Self::default() };
        parts.into_iter().fold(empty, |mut all, part| {
            all.adds.extend(part.adds);
            all.files.extend(part.files);
            all.rows += part.rows;
            match (&mut all.keys, part.keys) {
                (Some(keys), Some(more)) if all.rows <= MAX_KEYS => keys.extend(more),
                (keys, _) => *keys = None,
            }
            all
        })
    }

    /// Returns `true` if no two rows share a key. `false` means that two may: the key hashes are missing, or two are
    /// equal. Takes the hashes.
    pub(super) fn has_distinct_keys(&mut self) -> bool {
        let Some(parts) = self.keys.take() else { return false };
        // Moves one part after the other, so that the keys are not in memory twice.
        let mut keys = Vec::with_capacity(parts.iter().map(Vec::len).sum());
        for part in parts {
            keys.extend(part);
        }
        keys.sort_unstable();
        keys.len() as u64 == self.rows && keys.windows(2).all(|pair| pair[0] != pair[1])
    }

    /// Returns the number of rows in the files according to their statistics; `None` if a file has no row count.
    pub(super) fn rows_in_files(&self) -> Option<u64> {
        let rows = |add: &Add| u64::try_from(add.get_stats().ok()??.num_records).ok();
        self.adds.iter().map(rows).sum()
    }
}
