//! The watermark and the other positions that the commits of a table record.

use chrono::{DateTime, Utc};
use futures::TryStreamExt;

use super::table::{UNREADABLE, WATERMARK};
use super::{Table, store_error};
use crate::error::Result;

impl Table {
    /// Returns the watermark: the time up to which the rows are complete, by Clerk's clock. `None` if the table has not
    /// been written yet, or has been repaired since its last full sync.
    ///
    /// # Errors
    /// [`Unreachable`](crate::ErrorKind::Unreachable) if the store fails.
    pub async fn watermark(&self) -> Result<Option<DateTime<Utc>>> {
        // The watermark of a repaired table is 0, which means none: see [`super::repair`].
        let written = self.position(WATERMARK).await?.filter(|millis| *millis > 0);
        Ok(written.and_then(DateTime::from_timestamp_millis))
    }

    /// Returns the number of rows that Clerk has but the table does not, because they cannot be decoded.
    ///
    /// # Errors
    /// [`Unreachable`](crate::ErrorKind::Unreachable) if the store fails.
    pub async fn unreadable(&self) -> Result<u64> {
        Ok(self.position(UNREADABLE).await?.and_then(|rows| u64::try_from(rows).ok()).unwrap_or(0))
    }

    /// Returns the table's position called `name`: the version of a Delta `txn` action that a commit has set with
    /// [`CommitDetails::with_position`](super::CommitDetails::with_position). `None` if no commit has set it.
    ///
    /// # Errors
    /// [`Unreachable`](crate::ErrorKind::Unreachable) if the store fails.
    pub async fn position(&self, name: &str) -> Result<Option<i64>> {
        let Ok(state) = self.delta.snapshot() else { return Ok(None) };
        loop {
            match self.newest_positions.find(state.version(), name) {
                Ok(position) => return Ok(Some(position)),
                Err(None) => break,
                Err(Some(version)) => {
                    let mut entries = std::pin::pin!(self.entries(std::iter::once(version)));
                    let entry = entries.try_next().await?.and_then(|(_, entry)| entry);
                    self.newest_positions.add(version, entry.as_deref());
                }
            }
        }
        let version = state.transaction_version(self.log_store().as_ref(), name).await;
        version.map_err(|error| {
            store_error(&format!("the positions recorded in the log of {} cannot be read", self.spec.name), &error)
        })
    }
}
