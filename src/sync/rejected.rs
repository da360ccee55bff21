//! Rows that could not be read, set aside in a table of their own.

use super::clean::CLEANED;
use super::run::Run;
use super::staging::Staging;
use crate::error::{Error, ErrorKind, Result};
use crate::lake::{Change, CommitOutcome, Coverage};
use crate::resource::json::{OddRow, Rejected};
use crate::resource::{REJECTED_ROWS, Resource, rejected_columns};
use crate::table::columns;

/// How often a run that loses to another tries again: both only add rows.
const TRIES: u32 = 5;

impl Run<'_> {
    /// Sets the rows of `resource` aside that could not be read, unless they are too many; returns how many of them
    /// had not been set aside before.
    ///
    /// This is done before the resource's own commit: a crash in between leaves rows that are set aside, and
    /// the resource as it was.
    /// Rows that were read with fields of another type are recorded beside them, and not counted here.
    pub(super) async fn set_aside(&self, resource: &Resource, staging: &Staging<'_>) -> Result<u64> {
        staging.judge_rejected()?;
        self.record(resource, &[], &staging.odd.rows).await?;
        self.record(resource, staging.set_aside(), &[]).await
    }

    /// Records rows, unless they are recorded already; returns how many were not.
    async fn record(&self, resource: &Resource, rejected: &[Rejected], odd: &[OddRow]) -> Result<u64> {
        let rows = rejected.len() + odd.len();
        if rows == 0 {
            return Ok(0);
        }
        let columns = rejected_columns(resource.name, rejected, odd, self.watermark.timestamp_millis());
        let batch = columns::batch(&columns, rows).map_err(|error| Error::bug(error.to_string()))?;
        for _ in 0..TRIES {
            let mut table = self.open(&REJECTED_ROWS).await?;
            let mut writer = table.writer()?;
            writer.write(&batch, self.synced_at_micros()).await?;
            let diff = table.diff(writer.finish().await?, Coverage::Insertions).await?;
            let inserted = diff.counts().inserted;
            if inserted == 0 {
                return Ok(0);
            }
            // That a row is set aside now says nothing of those to come: this table is complete up to no moment.
            let change = Change { watermark: None, ..self.change_of("append", rows as u64) };
            let change = change.with_position(CLEANED.0, CLEANED.1);
            self.claim_lake(&table).await?;
            let outcome = table.commit_diff(diff, change).await?;
            if let CommitOutcome::Committed { .. } = outcome {
                return Ok(inserted);
            }
        }
        Err(Error::new(ErrorKind::Conflict, "other runs kept changing clerk_rejected_row")
            .with_hint("run again, and let only one run at a time write to a lake"))
    }
}
