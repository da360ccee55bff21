//! What a writer hands to a commit.

use deltalake::kernel::Add;
use object_store::path::Path;

/// The keys of so many rows are noted as they are staged, at 8 bytes each; those of more are read back.
const MOST_KEYS: u64 = 4_000_000;

/// Rows that are staged and wait for their commit.
#[derive(Debug, Default)]
pub struct StagedRows {
    pub(super) adds: Vec<Add>,
    /// Where each of these files is now, in the whole store.
    pub(super) files: Vec<Path>,
    /// Where the last writer staged, relative to the table's part of the run's area.
    pub(super) place: String,
    /// A hash of each row's key, in parts, if the keys were noted as the rows were staged.
    pub(super) keys: Option<Vec<Vec<u64>>>,
    /// How many rows.
    pub rows: u64,
}

impl StagedRows {
    /// All of `parts`, which must not share a row.
    #[must_use]
    pub fn all(parts: Vec<Self>) -> Self {
        let empty = Self { keys: Some(Vec::new()), ..Self::default() };
        parts.into_iter().fold(empty, |mut all, part| {
            all.adds.extend(part.adds);
            all.files.extend(part.files);
            all.rows += part.rows;
            match (&mut all.keys, part.keys) {
                (Some(keys), Some(more)) if all.rows <= MOST_KEYS => keys.extend(more),
                (keys, _) => *keys = None,
            }
            all
        })
    }

    /// Whether no two rows share a key, as far as the keys were noted: `false` does not say that two do.
    pub(super) fn has_distinct_keys(&mut self) -> bool {
        let Some(parts) = self.keys.take() else { return false };
        // One part after the other, so that the keys are held once.
        let mut keys = Vec::with_capacity(parts.iter().map(Vec::len).sum());
        for part in parts {
            keys.extend(part);
        }
        keys.sort_unstable();
        keys.len() as u64 == self.rows && keys.windows(2).all(|pair| pair[0] != pair[1])
    }

    /// How many rows the files have, by their own statistics; `None` if one does not say.
    pub(super) fn rows_in_files(&self) -> Option<u64> {
        let rows = |add: &Add| u64::try_from(add.get_stats().ok()??.num_records).ok();
        self.adds.iter().map(rows).sum()
    }
}
