//! What a commit changes, written down beside its rows where the table's changes are recorded.
//!
//! MERGE is delta-rs' and records its changes by itself. What this program commits with its own hands it records here,
//! appended rows too: Delta lets readers take those from the data files, which the next commit may supersede and
//! remove. `_synced_at` is no content: a row that only has a later one has not changed.

use std::sync::Arc;

use arrow::array::{RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use deltalake::kernel::{Action, Add, AddCDCFile};
use futures::TryStreamExt;

use super::compare::{self, Matches};
use super::entry::CHANGE_DATA;
use super::table::Table;
use super::writer::{StagedRows, Writer};
use crate::error::{Error, Result};
use crate::table::{TableSpec, conform};

/// The column that says what became of a row.
pub(super) const CHANGE_TYPE: &str = "_change_type";

const INSERT: &str = "insert";
const BEFORE_UPDATE: &str = "update_preimage";
const AFTER_UPDATE: &str = "update_postimage";
const DELETE: &str = "delete";

/// The field of [`CHANGE_TYPE`].
pub(super) fn change_type() -> FieldRef {
    Arc::new(Field::new(CHANGE_TYPE, DataType::Utf8, true))
}

/// The columns of a table's change data.
pub(super) fn schema_of_changes(spec: &TableSpec) -> SchemaRef {
    let schema = spec.schema();
    Arc::new(Schema::new(schema.fields().iter().cloned().chain([change_type()]).collect::<Vec<_>>()))
}

impl Table {
    /// Stages a record of `staged` rows that are all new; gives what names it in their commit. Nothing where the
    /// table's changes are not recorded.
    ///
    /// # Errors
    /// [`Unreachable`](crate::ErrorKind::Unreachable) where the store fails.
    pub(super) async fn record_inserted(&self, staged: &StagedRows) -> Result<Vec<Action>> {
        if staged.rows == 0 || !self.records_changes() {
            return Ok(Vec::new());
        }
        let mut record = self.change_writer()?;
        let mut rows = compare::all_staged(self, staged).await?;
        while let Some(batch) = rows.try_next().await.map_err(|error| compare::failed(&error))? {
            record_rows(&mut record, self.spec, &batch, INSERT).await?;
        }
        finished(record).await
    }

    /// Stages a record of what replacing the table's rows by `staged` changes; gives what names it in the commit.
    /// Nothing where the table's changes are not recorded. Memory grows with the number of rows that were there
    /// before, by a few bytes each.
    ///
    /// # Errors
    /// [`Unreachable`](crate::ErrorKind::Unreachable) where the store fails.
    pub(super) async fn record_replaced(&self, staged: &StagedRows) -> Result<Vec<Action>> {
        if !self.records_changes() {
            return Ok(Vec::new());
        }
        let start = tokio::time::Instant::now();
        let session = compare::session_with(self, staged).await?;
        let mut matches = Matches::find(&session, self.spec).await?;
        let mut record = self.change_writer()?;
        for (side, alone, differing) in
            [(compare::COMMITTED, DELETE, BEFORE_UPDATE), (compare::STAGED, INSERT, AFTER_UPDATE)]
        {
            let mut rows = compare::all_rows(&session, side).await?;
            while let Some(batch) = rows.try_next().await.map_err(|error| compare::failed(&error))? {
                let (without_match, with_other) = matches.split(&batch)?;
                record_rows(&mut record, self.spec, &without_match, alone).await?;
                record_rows(&mut record, self.spec, &with_other, differing).await?;
            }
        }
        tracing::debug!(table = self.spec.name, elapsed_ms = start.elapsed().as_millis(), "recorded what changes");
        finished(record).await
    }
}

async fn record_rows(record: &mut Writer, spec: &TableSpec, rows: &RecordBatch, change: &str) -> Result<()> {
    if rows.num_rows() == 0 {
        return Ok(());
    }
    let bug = |error: arrow::error::ArrowError| Error::bug(error.to_string());
    let mut columns = conform(rows, &spec.schema())?.columns().to_vec();
    columns.push(Arc::new(StringArray::from_iter_values(std::iter::repeat_n(change, rows.num_rows()))));
    record.write_stamped(RecordBatch::try_new(schema_of_changes(spec), columns).map_err(bug)?).await
}

/// Closes the record's files; gives what names them in the commit.
async fn finished(record: Writer) -> Result<Vec<Action>> {
    let named = |add: Add| {
        Action::Cdc(AddCDCFile {
            path: format!("{CHANGE_DATA}/{}", add.path),
            size: add.size,
            partition_values: add.partition_values,
            data_change: false,
            tags: add.tags,
        })
    };
    Ok(record.finish().await?.adds.into_iter().map(named).collect())
}
