//! What a writer hands to a commit.

use deltalake::kernel::Add;
use object_store::path::Path;

/// Rows that are staged and wait for their commit.
#[derive(Debug, Default)]
pub struct StagedRows {
    pub(super) adds: Vec<Add>,
    /// Where each of these files is now, in the whole store.
    pub(super) files: Vec<Path>,
    /// Where the last writer staged, relative to the table's part of the run's area.
    pub(super) place: String,
    /// How many rows.
    pub rows: u64,
}

impl StagedRows {
    /// All of `parts`, which must not share a row.
    #[must_use]
    pub fn all(parts: Vec<Self>) -> Self {
        parts.into_iter().fold(Self::default(), |mut all, part| {
            all.adds.extend(part.adds);
            all.files.extend(part.files);
            all.rows += part.rows;
            all
        })
    }
}
