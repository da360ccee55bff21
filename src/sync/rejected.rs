//! Rows that could not be read, set aside in a table of their own.

use super::Run;
use super::clean::CLEANED;
use super::staging::Staging;
use crate::error::{Error, ErrorKind, Result};
use crate::lake::{Change, CommitOutcome};
use crate::resource::{REJECTED_ROWS, Resource, rejected_columns};
use crate::table::columns;

/// How often a run that loses to another tries again: both only add rows.
const TRIES: u32 = 5;

impl Run<'_> {
    /// Sets the rows of `resource` aside that could not be read, unless they are too many; gives how many of them
    /// had not been set aside before.
    ///
    /// This is done before the resource's own commit: a crash in between leaves rows that are set aside, and
    /// the resource as it was.
    pub(super) async fn set_aside(&self, resource: &Resource, staging: &Staging<'_>) -> Result<u64> {
        staging.judge_rejected()?;
        let rows = staging.set_aside();
        if rows.is_empty() {
            return Ok(0);
        }
        let columns = rejected_columns(resource.name, rows, self.watermark.timestamp_millis());
        let batch = columns::batch(&columns, rows.len()).map_err(|error| Error::bug(error.to_string()))?;
        for _ in 0..TRIES {
            let mut table = self.open(&REJECTED_ROWS).await?;
            let mut writer = table.writer()?;
            writer.write(&batch, self.synced_at_micros()).await?;
            let insert = table.prepare_insert(writer.finish().await?).await?;
            let inserted = insert.counts().inserted;
            if inserted == 0 {
                return Ok(0);
            }
            // That a row is set aside now says nothing of those to come: this table is complete up to no moment.
            let change = Change { watermark: None, ..self.change_of("append", rows.len() as u64) };
            let change = change.with_position(CLEANED.0, CLEANED.1);
            let outcome = table.commit_upsert(insert, change).await?;
            if let CommitOutcome::Committed { .. } = outcome {
                return Ok(inserted);
            }
        }
        Err(Error::new(ErrorKind::Conflict, "other runs kept changing clerk_rejected_row")
            .with_hint("run again, and let only one run at a time write to a lake"))
    }
}
