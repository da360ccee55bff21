//! Rejected rows, recorded in their own table.

use super::clean::CLEANED;
use super::run::Run;
use super::staging::Staging;
use crate::error::{Error, ErrorKind, Result};
use crate::lake::{CommitDetails, CommitOutcome, Coverage};
use crate::resource::json::{OddRow, Rejected};
use crate::resource::{REJECTED_ROWS, Resource, rejected_columns};
use crate::table::columns;

/// How often a commit is tried that conflicts with another run. Both runs only add rows.
const TRIES: u32 = 5;

impl Run<'_> {
    /// Records the rejected rows of `resource`, unless they are too many. Returns how many of them had not been
    /// recorded before.
    ///
    /// This happens before the resource's own commit: a crash in between leaves the rows recorded and the resource
    /// unchanged. Rows with NULL fields of another type are also recorded, but not counted here.
    pub(super) async fn record_rejected(&self, resource: &Resource, staging: &Staging<'_>) -> Result<u64> {
        staging.check_rejected_share()?;
        self.record(resource, &[], &staging.odd.rows).await?;
        self.record(resource, staging.rejected_rows(), &[]).await
    }

    /// Records rows that are not recorded yet. Returns how many those are.
    async fn record(&self, resource: &Resource, rejected: &[Rejected], odd: &[OddRow]) -> Result<u64> {
        let rows = rejected.len() + odd.len();
        if rows == 0 {
            return Ok(0);
        }
        let columns = rejected_columns(resource.name, rejected, odd, self.watermark.timestamp_millis());
        let batch = columns::batch(&columns, rows).map_err(|error| Error::bug(error.to_string()))?;
        let _one_at_a_time = self.recording.lock().await;
        for _ in 0..TRIES {
            let mut table = self.open(&REJECTED_ROWS).await?;
            let mut writer = table.writer()?;
            writer.write(&batch, self.synced_at_micros()).await?;
            let diff = table.diff(writer.finish().await?, Coverage::Insertions).await?;
            let inserted = diff.counts().inserted;
            if inserted == 0 {
                return Ok(0);
            }
            // The table gets no watermark: recorded rows say nothing about the rows to come.
            let change = CommitDetails { watermark: None, ..self.change_of("append", rows as u64) };
            let change = change.with_position(CLEANED.0, CLEANED.1);
            self.claim_lake(&table).await?;
            let outcome = table.commit_diff(diff, change).await?;
            if let CommitOutcome::Committed { .. } = outcome {
                return Ok(inserted);
            }
        }
        Err(Error::new(ErrorKind::Conflict, "other runs kept changing clerk_rejected_row")
            .with_hint("run again, and let only one run at a time write to a lake")
            .transient())
    }
}
