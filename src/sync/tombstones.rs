//! Records tombstones of the rows that a sync deletes.
//!
//! They are committed before the deletion: a crash in between leaves tombstones of rows that the next sync deletes. If a
//! row comes back, for example because Clerk has restored it, its tombstone is removed.

use chrono::{DateTime, Utc};
use futures::TryStreamExt;

use super::run::Run;
use crate::error::{Error, ErrorKind, Result};
use crate::lake::{CommitDetails, CommitOutcome, Counts, Coverage, Diff, Table};
use crate::resource::{Resource, Tombstones};

/// How often a commit is tried that conflicts with another run. Tombstones of one row are the same in both.
const TRIES: u32 = 5;

impl Run<'_> {
    /// Adds tombstones of the rows that `diff` deletes from the resource's table, and removes those of rows that it
    /// inserts. `watermark` is the table's watermark before the diff.
    pub(super) async fn record_tombstones(
        &self,
        resource: &Resource,
        table: &Table,
        diff: &Diff,
        watermark: Option<DateTime<Utc>>,
    ) -> Result<()> {
        let Some(tombstones) = Tombstones::of(resource) else { return Ok(()) };
        if diff.counts().deleted == 0 && (diff.counts().inserted == 0 || !table.exists()) {
            return Ok(());
        }
        for _ in 0..TRIES {
            if self.try_to_record_tombstones(tombstones, table, diff, watermark).await? {
                return Ok(());
            }
        }
        Err(Error::new(ErrorKind::Conflict, format!("other runs kept changing {}", tombstones.table.name))
            .with_hint("run again, and let only one run at a time write to a lake")
            .transient())
    }

    /// Returns `false` if another run has committed first.
    async fn try_to_record_tombstones(
        &self,
        tombstones: &'static Tombstones,
        table: &Table,
        diff: &Diff,
        watermark: Option<DateTime<Utc>>,
    ) -> Result<bool> {
        let mut graves = self.open(&tombstones.table).await?;
        let known = if diff.counts().inserted > 0 && graves.exists() { graves.text_keys().await? } else { Vec::new() };
        let restored = table.inserted_among(diff, &known).await?;
        if restored.is_empty() && diff.counts().deleted == 0 {
            return Ok(true);
        }
        let mut writer = graves.writer()?;
        if diff.counts().deleted > 0 {
            let after = watermark.map(|watermark| watermark.timestamp_micros());
            let before = self.latest_clerk_time().timestamp_micros();
            let mut deleted = std::pin::pin!(table.deleted_rows(diff, tombstones.kept).await?);
            while let Some(rows) = deleted.try_next().await? {
                let rows = tombstones.rows(&rows, after, before).map_err(|error| Error::bug(error.to_string()))?;
                writer.write(&rows, self.synced_at_micros()).await?;
            }
        }
        let mut changes = graves.diff(writer.finish().await?, Coverage::Insertions).await?;
        if !restored.is_empty() {
            graves.delete_too(&mut changes, &restored).await?;
        }
        if changes.counts() == Counts::default() {
            return Ok(true);
        }
        // The table gets no watermark: it says nothing about rows that are deleted later.
        let change = CommitDetails { watermark: None, ..self.change_of("append", diff.counts().deleted) };
        self.claim_lake(&graves).await?;
        let outcome = graves.commit_diff(changes, change).await?;
        match outcome {
            CommitOutcome::Conflicted { .. } => Ok(false),
            outcome => outcome.committed(tombstones.table.name).map(|_| true),
        }
    }
}
