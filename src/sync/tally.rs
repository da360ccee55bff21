//! Counters of one resource during a run. The summary is built from them.

use chrono::{DateTime, Utc};

use super::odd_fields::NulledFields;
use super::staging::Staging;
use crate::lake::{Counts, Table};

/// Counters of one resource during a run.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    /// Whether only changes are read, not all rows.
    pub(super) is_incremental: bool,
    /// Rows read from Clerk, each counted once.
    pub(super) rows_read: u64,
    /// Rejected rows.
    pub(super) rows_rejected: u64,
    pub(super) fields_nulled: NulledFields,
    /// The rows that this run's commits inserted, updated and deleted.
    pub(super) committed: Counts,
    /// The same counts for the commit that is being prepared.
    pub(super) prepared: Counts,
    /// The rows of the table when this run last saw it.
    pub(super) rows_total: u64,
    pub(super) version: Option<u64>,
    pub(super) watermark: Option<DateTime<Utc>>,
    /// Why the resource is skipped; `None` if it is not.
    pub(super) skipped: Option<String>,
}

impl Tally {
    /// Records the state of the table before this run changes it.
    pub(super) fn set_table(&mut self, table: &Table, watermark: Option<DateTime<Utc>>) {
        self.rows_total = table.rows();
        self.version = table.version();
        self.watermark = watermark;
    }

    /// Records the counts of a listing.
    pub(super) fn set_staged(&mut self, staging: &Staging<'_>) {
        self.rows_read = staging.rows - staging.resumed_rows;
        self.rows_rejected = staging.rejected();
        self.fields_nulled = staging.odd.counts.clone();
    }

    /// Records a commit: the table is now at `version`, has `rows_total` rows, and is complete up to `watermark`.
    pub(super) fn add_commit(&mut self, watermark: Option<DateTime<Utc>>, version: u64, rows_total: u64) {
        self.watermark = watermark;
        self.version = Some(version);
        self.rows_total = rows_total;
        let done = std::mem::take(&mut self.prepared);
        self.committed.inserted += done.inserted;
        self.committed.updated += done.updated;
        self.committed.deleted += done.deleted;
    }

    /// Adds the counts of an earlier step of the same run.
    pub(super) fn add_read(&mut self, before: &Self) {
        self.is_incremental = before.is_incremental;
        self.rows_read += before.rows_read;
        self.rows_rejected = self.rows_rejected.max(before.rows_rejected);
        for (field, nulled) in &before.fields_nulled {
            let rows = &mut self.fields_nulled.entry(field.clone()).or_insert(nulled.clone()).rows;
            *rows = nulled.rows.max(*rows);
        }
    }

    /// Returns the mode as shown in summaries and commits.
    pub(super) fn mode(&self) -> &'static str {
        if self.is_incremental { "incremental" } else { "full" }
    }
}
