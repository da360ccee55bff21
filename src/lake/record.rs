//! Change data: the rows that a commit inserts, updates and deletes, written if the table has a change data feed.
//!
//! Appended rows are written too. Delta would let readers take them from the data files, but the next commit may
//! supersede and remove those. `_synced_at` does not count as content: a row that differs only in it has not changed.

use std::sync::Arc;

use arrow::array::{RecordBatch, StringArray};
use deltalake::kernel::{Action, Add, AddCDCFile};

use super::change_data::{CHANGE_DATA, schema_of_changes};
use super::diff::Diff;
use super::identity::{Key, rows_where};
use super::table::Table;
use super::writer::Writer;
use crate::error::{Error, Result};
use crate::table::{TableSpec, conform};

const INSERT: &str = "insert";
const BEFORE_UPDATE: &str = "update_preimage";
const AFTER_UPDATE: &str = "update_postimage";
const DELETE: &str = "delete";

/// Stages the change data of a diff.
pub(super) struct Record<'a> {
    spec: &'static TableSpec,
    diff: &'a Diff,
    writer: Writer,
}

impl<'a> Record<'a> {
    /// Starts to record what `diff` changes in `table`; `None` if the table has no change data feed.
    pub(super) fn begin(table: &Table, diff: &'a Diff) -> Result<Option<Self>> {
        if !table.records_changes() {
            return Ok(None);
        }
        Ok(Some(Self { spec: table.spec, diff, writer: table.change_writer()? }))
    }

    /// Records the rows of the table in `rows` that are updated or deleted.
    pub(super) async fn take_outdated(&mut self, rows: &RecordBatch, keys: &[Key]) -> Result<()> {
        let diff = self.diff;
        let is_replaced = |key: &Key| diff.outdated.contains(key) && diff.is_changed(key);
        let is_deleted = |key: &Key| diff.outdated.contains(key) && !diff.is_changed(key);
        self.write(&rows_where(rows, keys, is_replaced)?, BEFORE_UPDATE).await?;
        self.write(&rows_where(rows, keys, is_deleted)?, DELETE).await
    }

    /// Records the staged rows in `rows` that are inserted or updated.
    pub(super) async fn take_changed(&mut self, rows: &RecordBatch, keys: &[Key]) -> Result<()> {
        let diff = self.diff;
        let is_new = |key: &Key| diff.is_changed(key) && !diff.outdated.contains(key);
        let is_update = |key: &Key| diff.is_changed(key) && diff.outdated.contains(key);
        self.write(&rows_where(rows, keys, is_new)?, INSERT).await?;
        self.write(&rows_where(rows, keys, is_update)?, AFTER_UPDATE).await
    }

    async fn write(&mut self, rows: &RecordBatch, change: &str) -> Result<()> {
        if rows.num_rows() == 0 {
            return Ok(());
        }
        let bug = |error: arrow::error::ArrowError| Error::bug(error.to_string());
        let mut columns = conform(rows, &self.spec.schema())?.columns().to_vec();
        columns.push(Arc::new(StringArray::from_iter_values(std::iter::repeat_n(change, rows.num_rows()))));
        let batch = RecordBatch::try_new(schema_of_changes(self.spec), columns).map_err(bug)?;
        self.writer.write_stamped(batch).await
    }

    /// Closes the files, if there is a record. Returns the commit actions that name them.
    pub(super) async fn finish_all(record: Option<Self>) -> Result<Vec<Action>> {
        match record {
            Some(record) => record.finish().await,
            None => Ok(Vec::new()),
        }
    }

    async fn finish(self) -> Result<Vec<Action>> {
        let named = |add: Add| {
            Action::Cdc(AddCDCFile {
                path: format!("{CHANGE_DATA}/{}", add.path),
                size: add.size,
                partition_values: add.partition_values,
                data_change: false,
                tags: add.tags,
            })
        };
        Ok(self.writer.finish().await?.adds.into_iter().map(named).collect())
    }
}
