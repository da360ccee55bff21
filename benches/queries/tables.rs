//! Fills the tables of a lake with the library's writer, in one commit per table.

use arrow::array::{ArrayRef, RecordBatch, TimestampMicrosecondArray};
use chrono::{DateTime, Utc};
use clerk_lake::clock::Clock;
use clerk_lake::lake::{CommitDetails, Diff, Lake, RunArea, StagedRows, Table};
use clerk_lake::table::TableSpec;

/// The characters of Clerk's ids.
const LETTERS: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Fills a lake with generated rows.
pub struct LakeBuilder<'l> {
    lake: &'l Lake,
    area: RunArea,
    /// Random seed.
    pub seed: u64,
    /// The time when filling started. All commits and rows are relative to it.
    pub now: DateTime<Utc>,
}

impl<'l> LakeBuilder<'l> {
    pub async fn start(lake: &'l Lake, seed: u64) -> Self {
        let area = RunArea::open(lake).await.expect("a run area");
        Self { lake, area, seed, now: Clock::system().now() }
    }

    /// Removes the staging area.
    pub async fn finish(self) {
        self.area.remove().await;
    }

    /// Opens the table of `spec` for writing.
    pub async fn table(&self, spec: &'static TableSpec) -> Table {
        Table::open(self.lake, spec, Some(&self.area)).await.expect("a table")
    }

    /// Stages `batches`, which must have the table's schema without `_synced_at`.
    pub async fn stage(&self, table: &Table, batches: impl Iterator<Item = RecordBatch>) -> StagedRows {
        let mut writer = table.writer().expect("a writer");
        for batch in batches {
            writer.write(&batch, self.now.timestamp_micros()).await.expect("rows are staged");
        }
        writer.finish().await.expect("the files are closed")
    }

    /// Commits the staged rows. The table must be empty.
    pub async fn commit(&self, mut table: Table, parts: Vec<StagedRows>) {
        let change = CommitDetails {
            watermark: Some(self.now),
            instance: None,
            unreadable: None,
            positions: Vec::new(),
            info: serde_json::Map::new(),
        };
        let name = table.spec().name;
        let rows = Diff::of_new(StagedRows::all(parts));
        let outcome = Box::pin(table.commit_diff(rows, change)).await.expect("a commit");
        outcome.committed(name).expect("no conflict with another run");
    }
}

/// Returns `prefix` followed by `length` random letters and digits.
///
/// `draw` must return a random number below its argument.
pub fn random_text(prefix: &str, length: usize, draw: &mut impl FnMut(usize) -> usize) -> String {
    let mut text = String::with_capacity(prefix.len() + length);
    text.push_str(prefix);
    text.extend((0..length).map(|_| char::from(LETTERS[draw(LETTERS.len())])));
    text
}

/// Returns `batch` with the given columns replaced.
pub fn with_columns(batch: &RecordBatch, columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let mut all = batch.columns().to_vec();
    for (name, values) in columns {
        all[batch.schema_ref().index_of(name).expect("a column")] = values;
    }
    RecordBatch::try_new(batch.schema(), all).expect("values of the columns' types")
}

/// Converts times in Unix milliseconds to the tables' timestamps.
pub fn timestamps(millis: impl Iterator<Item = Option<i64>>) -> TimestampMicrosecondArray {
    let micros = millis.map(|millis| millis.map(|millis| millis * 1000));
    micros.collect::<TimestampMicrosecondArray>().with_timezone("UTC")
}
