//! The diff that a comparison returns.

use std::collections::HashSet;
use std::ops::Range;

use crate::lake::change::Counts;
use crate::lake::identity::Key;
use crate::lake::staged_rows::StagedRows;

/// The column that [`Coverage::Within`] refers to.
pub(in crate::lake) const CREATED_AT: &str = "created_at";

/// Which rows of the table the staged rows cover. A covered row that is not staged is deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Coverage {
    /// All rows: a row that is not staged is deleted.
    Complete,
    /// All rows whose `created_at` is in this range (Unix microseconds): a row in the range that is not staged is
    /// deleted. Rows outside the range may be staged too.
    Within(Range<i64>),
    /// Only the staged rows: a row that is not staged stays.
    Partial,
    /// Only new rows: a staged row whose key the table already has is ignored.
    Insertions,
}

/// What staged rows insert, update and delete in the table version that they were compared with.
#[derive(Debug)]
pub struct Diff {
    pub(in crate::lake) staged: StagedRows,
    /// The keys of the staged rows that are new or differ. `None` means all staged rows.
    pub(in crate::lake) changed: Option<HashSet<Key>>,
    /// The keys of the table's rows that are deleted or replaced.
    pub(in crate::lake) outdated: HashSet<Key>,
    /// The names of the data files that hold the outdated rows.
    pub(in crate::lake) touched: HashSet<String>,
    /// Whether the staged rows are the complete new content of the table.
    pub(in crate::lake) is_complete: bool,
    /// Whether so many rows change that the keys are not held: the staged rows replace all rows of the table.
    pub(in crate::lake) is_overwrite: bool,
    /// Whether a staged row must not be committed because it has been deleted since it was staged.
    pub(in crate::lake) drops_staged: bool,
    pub(in crate::lake) counts: Counts,
}

impl Diff {
    /// Returns a diff that inserts all staged rows. The caller must know that the table has none of their keys.
    #[must_use]
    pub fn of_new(staged: StagedRows) -> Self {
        Self {
            counts: Counts { inserted: staged.rows, ..Counts::default() },
            changed: None,
            outdated: HashSet::new(),
            touched: HashSet::new(),
            is_complete: false,
            is_overwrite: false,
            drops_staged: false,
            staged,
        }
    }

    /// Returns a diff that changes nothing. The caller must know that the staged rows are the rows of the table.
    #[must_use]
    pub fn unchanged(staged: StagedRows) -> Self {
        Self { counts: Counts::default(), changed: Some(HashSet::new()), is_complete: true, ..Self::of_new(staged) }
    }

    /// Returns the number of rows that the diff inserts, updates and deletes.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Returns whether the staged row with this key is new or differs.
    pub(in crate::lake) fn is_changed(&self, key: &Key) -> bool {
        self.changed.as_ref().is_none_or(|changed| changed.contains(key))
    }

    /// Excludes the staged row with this key from the diff, because it has been deleted since it was staged.
    pub(super) fn drop_staged(&mut self, key: &Key) {
        if !self.changed.as_mut().is_some_and(|changed| changed.remove(key)) {
            return;
        }
        self.drops_staged = true;
        if self.outdated.contains(key) {
            self.counts.updated -= 1;
            self.counts.deleted += 1;
        } else {
            self.counts.inserted -= 1;
        }
    }

    /// Returns whether every staged row is new or differs.
    pub(in crate::lake) fn changes_all(&self) -> bool {
        self.changed.as_ref().is_none_or(|changed| changed.len() as u64 == self.staged.rows)
    }
}
