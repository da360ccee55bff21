//! What has happened to one resource so far in a run: the summary is made of it in the end.

use chrono::{DateTime, Utc};

use super::odd_fields::NulledFields;
use super::staging::Staging;
use crate::lake::{Counts, Table};

/// What has happened to one resource so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    /// Whether only changes are read, not everything.
    pub(super) is_incremental: bool,
    /// Rows that came from Clerk, each counted once.
    pub(super) rows_read: u64,
    /// Rows that could not be read.
    pub(super) rows_rejected: u64,
    pub(super) fields_nulled: NulledFields,
    /// What this run's commits did to the rows.
    pub(super) committed: Counts,
    /// What the commit that is being prepared will do, if it succeeds.
    pub(super) prepared: Counts,
    /// The table as this run last saw it.
    pub(super) rows_total: u64,
    pub(super) version: Option<u64>,
    pub(super) watermark: Option<DateTime<Utc>>,
    /// Why the resource is skipped, if it is.
    pub(super) skipped: Option<String>,
}

impl Tally {
    /// Takes in what the table has before this run changes it.
    pub(super) fn take_table(&mut self, table: &Table, watermark: Option<DateTime<Utc>>) {
        self.rows_total = table.rows();
        self.version = table.version();
        self.watermark = watermark;
    }

    /// Takes in what a listing has brought.
    pub(super) fn take_staged(&mut self, staging: &Staging<'_>) {
        self.rows_read = staging.rows - staging.taken_over;
        self.rows_rejected = staging.rejected();
        self.fields_nulled = staging.odd.counts.clone();
    }

    /// Takes in a commit that made `version`, of a table that has `rows_total` rows now, complete up to `watermark`.
    pub(super) fn take_commit(&mut self, watermark: Option<DateTime<Utc>>, version: u64, rows_total: u64) {
        self.watermark = watermark;
        self.version = Some(version);
        self.rows_total = rows_total;
        let done = std::mem::take(&mut self.prepared);
        self.committed.inserted += done.inserted;
        self.committed.updated += done.updated;
        self.committed.deleted += done.deleted;
    }

    /// Adds what was read before, in the same run.
    pub(super) fn add_read(&mut self, before: &Self) {
        self.is_incremental = before.is_incremental;
        self.rows_read += before.rows_read;
        self.rows_rejected = self.rows_rejected.max(before.rows_rejected);
        for (field, nulled) in &before.fields_nulled {
            let rows = &mut self.fields_nulled.entry(field.clone()).or_insert(nulled.clone()).rows;
            *rows = nulled.rows.max(*rows);
        }
    }

    /// The word for what is read, in summaries and commits.
    pub(super) fn mode(&self) -> &'static str {
        if self.is_incremental { "incremental" } else { "full" }
    }
}
