//! What a commit is to do, and what becomes of it: values, so that nobody overlooks a lost race.

use chrono::{DateTime, Utc};

use crate::error::{Error, ErrorKind, Result};

/// What a commit says beside its rows.
#[derive(Clone, Debug)]
pub struct Change {
    /// Up to when the rows are complete; moves with them.
    pub watermark: Option<DateTime<Utc>>,
    /// The instance that the rows come from, where it is known.
    pub instance: Option<String>,
    /// How many rows Clerk counts that the table cannot hold, since they cannot be read; none where this commit
    /// does not say.
    pub unreadable: Option<u64>,
    /// Where else the table stands with it, each under a name of its own: the versions of the tables that its rows
    /// were taken from, for example. [`Table::position`](super::Table::position) gives them.
    pub positions: Vec<(&'static str, i64)>,
    /// The run's figures, for `status`; the commit adds what it did to the rows.
    pub info: serde_json::Map<String, serde_json::Value>,
}

impl Change {
    /// The same, complete up to `watermark`.
    #[must_use]
    pub fn complete_up_to(self, watermark: DateTime<Utc>) -> Self {
        Self { watermark: Some(watermark), ..self }
    }

    /// The same with what is known of rows that cannot be read.
    #[must_use]
    pub fn with_unreadable(self, rows: u64) -> Self {
        Self { unreadable: Some(rows), ..self }
    }

    /// The same with the table at `at` in what `name` stands for.
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

/// What a commit did to a table's rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Rows that were not there before.
    pub inserted: u64,
    /// Rows that were there, with other content.
    pub updated: u64,
    /// Rows that are gone.
    pub deleted: u64,
}

/// What became of a commit.
#[must_use]
#[derive(Clone, Debug)]
pub enum CommitOutcome {
    /// It is visible.
    Committed {
        /// The version that it made.
        version: u64,
    },
    /// Another run committed first; nothing of this one is visible.
    Conflicted {
        /// The version that this one was computed from.
        base: Option<u64>,
    },
    /// The store did not say whether the commit happened, and may still carry it out. Its files stay, and so do the
    /// files that it supersedes. The next run finds out: see [`Table::sweep`](super::Table::sweep).
    Unknown {
        /// What the store said instead.
        error: Error,
    },
}

impl CommitOutcome {
    /// Returns the version, or the error that the outcome is to a caller that gives up.
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
                    "another run changed {table} after this one had read it{}; this run's rows were dropped",
                    base.map(|base| format!(" (at version {base})")).unwrap_or_default()
                ),
            )
            .with_hint("nothing is lost or doubled: run again, and let only one run at a time write to a lake")),
            Self::Unknown { error } => Err(Error::new(
                ErrorKind::Unreachable,
                format!("the store did not say whether the commit to {table} happened; its files were kept ({error})"),
            )
            .with_hint("run again: the next run finds out")),
        }
    }
}
