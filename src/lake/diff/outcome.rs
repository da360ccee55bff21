//! What a comparison comes to.

use std::collections::HashSet;
use std::ops::Range;

use crate::lake::change::Counts;
use crate::lake::identity::Key;
use crate::lake::staged_rows::StagedRows;

/// The column by which [`Coverage::Within`] goes.
pub(in crate::lake) const CREATED_AT: &str = "created_at";

/// Which rows of a table the staged ones stand for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Coverage {
    /// All rows: one that is not staged is deleted.
    Complete,
    /// All rows with a `created_at` in this range (Unix microseconds), and others: one in the range that is not staged
    /// is deleted.
    Within(Range<i64>),
    /// Themselves: a row that is not staged stays.
    Partial,
    /// New rows: one whose key the table has already is left as the table has it.
    Insertions,
}

/// What staged rows change in the version of a table that they were compared with.
#[derive(Debug)]
pub struct Diff {
    pub(in crate::lake) staged: StagedRows,
    /// The keys of the staged rows that are new or differ; none: all of them.
    pub(in crate::lake) changed: Option<HashSet<Key>>,
    /// The keys of the table's rows that are deleted or replaced.
    pub(in crate::lake) outdated: HashSet<Key>,
    /// The names of the data files that hold them.
    pub(in crate::lake) touched: HashSet<String>,
    /// Whether the staged rows are all that the table is to have.
    pub(in crate::lake) is_complete: bool,
    /// Whether so much changes that the keys are not worth remembering: the staged rows replace the table's.
    pub(in crate::lake) is_overwrite: bool,
    /// Whether a staged row is not to be committed, because it has been deleted since.
    pub(in crate::lake) drops_staged: bool,
    pub(in crate::lake) counts: Counts,
}

impl Diff {
    /// Rows whose keys the table lacks, as whoever staged them knows.
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

    /// How many rows it inserts, updates and deletes.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Whether the staged row with this key is new or differs.
    pub(in crate::lake) fn is_changed(&self, key: &Key) -> bool {
        self.changed.as_ref().is_none_or(|changed| changed.contains(key))
    }

    /// Forgets the staged row with this key: it has been deleted since.
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

    /// Whether every staged row is new or differs.
    pub(in crate::lake) fn changes_all(&self) -> bool {
        self.changed.as_ref().is_none_or(|changed| changed.len() as u64 == self.staged.rows)
    }
}
