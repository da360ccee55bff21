//! Sessions that Clerk no longer shows. They stay in the lake, which says since when they are gone, and are not asked
//! about again.

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
const AT_ONCE: usize = 1000;

impl Task<'_, PerUserList> {
    /// Stages the rows of sessions that the table has and this run's lists do not show, marked as gone, of all users whose
    /// lists are `complete`.
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
        for sessions in gone.chunks(AT_ONCE) {
            for batch in table.rows_of(sessions).await? {
                staging.stage_known(marked(&batch, at, self.run.synced_at_micros())?).await?;
            }
        }
        Ok(())
    }
}

/// `batch` with the moment at which its sessions were first missed.
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
