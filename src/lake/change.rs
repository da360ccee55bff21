//! The input and the outcome of a commit. The outcome is a value, so that callers cannot overlook a conflict.

use chrono::{DateTime, Utc};

use crate::error::{Error, ErrorKind, Result};

/// What a commit records in addition to its rows.
#[derive(Clone, Debug)]
pub struct CommitDetails {
    /// The time up to which the rows are complete. It moves in the same commit as the rows.
    pub watermark: Option<DateTime<Utc>>,
    /// The Clerk instance that the rows come from, if known.
    pub instance: Option<String>,
    /// The number of rows that Clerk counts but the table does not hold because they were rejected. `None` leaves the
    /// recorded number as it is.
    pub unreadable: Option<u64>,
    /// Other named positions that move in this commit, for example the versions of the tables that its rows were
    /// derived from. [`Table::position`](super::Table::position) returns them.
    pub positions: Vec<(&'static str, i64)>,
    /// The run's statistics, for `status`. The commit adds its row counts.
    pub info: serde_json::Map<String, serde_json::Value>,
}

impl CommitDetails {
    /// Returns the same change with this watermark.
    #[must_use]
    pub fn complete_up_to(self, watermark: DateTime<Utc>) -> Self {
        Self { watermark: Some(watermark), ..self }
    }

    /// Returns the same change with this number of rejected rows.
    #[must_use]
    pub fn with_unreadable(self, rows: u64) -> Self {
        Self { unreadable: Some(rows), ..self }
    }

    /// Returns the same change with the position called `name` set to `at`.
    #[must_use]
    pub fn with_position(mut self, name: &'static str, at: i64) -> Self {
        self.positions.push((name, at));
        self
    }

    pub(super) fn with_counts(mut self, counts: Counts) -> Self {
        for (name, rows) in
            [("rowsInserted", counts.inserted), ("rowsUpdated", counts.updated), ("rowsDeleted", counts.deleted)]
        {
            self.info.insert(name.to_owned(), rows.into());
        }
        self
    }
}

/// The number of rows that a commit inserted, updated and deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Rows that the table did not have.
    pub inserted: u64,
    /// Rows that the table had with other content.
    pub updated: u64,
    /// Rows that the table had and has no longer.
    pub deleted: u64,
}

/// The outcome of a commit.
#[must_use]
#[derive(Clone, Debug)]
pub enum CommitOutcome {
    /// The commit is visible.
    Committed {
        /// The version that it created.
        version: u64,
    },
    /// Another run committed first. Nothing of this commit is visible.
    Conflicted {
        /// The version that this commit was computed from.
        base: Option<u64>,
    },
    /// The store neither confirmed nor refused the commit, and may still carry it out. The commit's files and the files
    /// that it supersedes both stay. The next run resolves this: see [`Table::sweep`](super::Table::sweep).
    Unknown {
        /// The store's error.
        error: Error,
    },
}

impl CommitOutcome {
    /// Returns the new version. Converts the other outcomes to errors, for a caller that does not retry.
    ///
    /// # Errors
    /// [`Conflict`](ErrorKind::Conflict) if another run committed first; [`Unreachable`](ErrorKind::Unreachable) if
    /// the outcome is unknown.
    pub fn committed(self, table: &str) -> Result<u64> {
        match self {
            Self::Committed { version } => Ok(version),
            Self::Conflicted { base } => Err(Error::new(
                ErrorKind::Conflict,
                format!(
                    "another run changed {table} after this run had read it{}; this run's rows were discarded",
                    base.map(|base| format!(" (at version {base})")).unwrap_or_default()
                ),
            )
            .with_hint("no row is lost or duplicated: run again, and let only one run at a time write to a lake")
            .transient()),
            Self::Unknown { error } => Err(Error::new(
                ErrorKind::Unreachable,
                format!("the store did not say whether the commit to {table} happened; its files were kept ({error})"),
            )
            .with_hint("run again: the next run checks whether it happened")
            .transient()),
        }
    }
}
