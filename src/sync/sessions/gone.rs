//! Sessions that Clerk no longer lists. They stay in the lake with the time in `gone_at`, and are not requested again.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, TimestampMicrosecondArray};

use crate::error::{Error, Result};
use crate::lake::Table;
use crate::query;
use crate::resource::{GONE_AT, PerUserList};
use crate::sync::staging::Staging;
use crate::sync::task::Task;
use crate::table::SYNCED_AT;

/// How many rows are read at a time to be marked.
const ROWS_PER_READ: usize = 1000;

impl Task<'_, PerUserList> {
    /// Marks sessions as gone and stages their rows: sessions that the table has but this run's lists do not show, of
    /// all users for whom `complete` returns `true`.
    pub(super) async fn stage_gone(
        &self,
        table: &Table,
        staging: &mut Staging<'_>,
        complete: impl Fn(&str) -> bool + Send + Sync,
    ) -> Result<()> {
        if !table.exists() {
            return Ok(());
        }
        let mut gone = Vec::new();
        let mut take = |session: &str, user: &str| {
            if complete(user) && !staging.has(session) && !staging.has_unreadable(session) {
                gone.push(session.to_owned());
            }
        };
        query::for_each_shown_session(&self.run.lake, table, &mut take).await?;
        let at = self.run.watermark.timestamp_micros();
        for sessions in gone.chunks(ROWS_PER_READ) {
            for batch in table.rows_of(sessions).await? {
                staging.stage_known(marked(&batch, at, self.run.synced_at_micros())?).await?;
            }
        }
        Ok(())
    }
}

/// Returns `batch` with `gone_at` set to the time at which its sessions were first missing.
fn marked(batch: &RecordBatch, gone_at: i64, synced_at: i64) -> Result<RecordBatch> {
    let moment = |at: i64| -> ArrayRef {
        Arc::new(TimestampMicrosecondArray::from_value(at, batch.num_rows()).with_timezone("UTC"))
    };
    let schema = batch.schema();
    let columns = schema.fields().iter().zip(batch.columns()).map(|(field, column)| match field.name().as_str() {
        GONE_AT => moment(gone_at),
        SYNCED_AT => moment(synced_at),
        _ => Arc::clone(column),
    });
    RecordBatch::try_new(Arc::clone(&schema), columns.collect()).map_err(|error| Error::bug(error.to_string()))
}
