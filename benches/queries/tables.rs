//! Tables that are written by the library's own writer, in one commit each.

use arrow::array::{ArrayRef, RecordBatch, TimestampMicrosecondArray};
use chrono::{DateTime, Utc};
use clerk_lake::clock::Clock;
use clerk_lake::lake::{Change, Diff, Lake, RunArea, StagedRows, Table};
use clerk_lake::table::TableSpec;

/// What Clerk's ids are made of.
const LETTERS: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A lake that is being filled.
pub struct Filling<'l> {
    lake: &'l Lake,
    area: RunArea,
    /// What everything is drawn from.
    pub seed: u64,
    /// When it is.
    pub now: DateTime<Utc>,
}

impl<'l> Filling<'l> {
    pub async fn begin(lake: &'l Lake, seed: u64) -> Self {
        let area = RunArea::open(lake).await.expect("a place to stage in");
        Self { lake, area, seed, now: Clock::system().now() }
    }

    pub async fn end(self) {
        self.area.remove().await;
    }

    /// The table of `spec`, open for writing.
    pub async fn table(&self, spec: &'static TableSpec) -> Table {
        Table::open(self.lake, spec, Some(&self.area)).await.expect("a table")
    }

    /// Stages `batches`, which are in the table's schema but for `_synced_at`.
    pub async fn stage(&self, table: &Table, batches: impl Iterator<Item = RecordBatch>) -> StagedRows {
        let mut writer = table.writer().expect("a writer");
        for batch in batches {
            writer.write(&batch, self.now.timestamp_micros()).await.expect("rows are staged");
        }
        writer.finish().await.expect("the files are closed")
    }

    /// Commits what is staged, to a table that has no rows yet.
    pub async fn commit(&self, mut table: Table, parts: Vec<StagedRows>) {
        let change = Change {
            watermark: Some(self.now),
            instance: None,
            unreadable: None,
            positions: Vec::new(),
            info: serde_json::Map::new(),
        };
        let name = table.spec().name;
        let rows = Diff::of_new(StagedRows::all(parts));
        let outcome = Box::pin(table.commit_diff(rows, change)).await.expect("a commit");
        outcome.committed(name).expect("no other run");
    }
}

/// `prefix` and so many letters that `draw`, which gives a number below its argument, picks.
pub fn text(prefix: &str, length: usize, draw: &mut impl FnMut(usize) -> usize) -> String {
    let mut text = String::with_capacity(prefix.len() + length);
    text.push_str(prefix);
    text.extend((0..length).map(|_| char::from(LETTERS[draw(LETTERS.len())])));
    text
}

/// `batch` with these columns instead of its own.
pub fn replaced(batch: &RecordBatch, columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let mut all = batch.columns().to_vec();
    for (name, values) in columns {
        all[batch.schema_ref().index_of(name).expect("a column")] = values;
    }
    RecordBatch::try_new(batch.schema(), all).expect("values of the columns' types")
}

/// Moments in Unix milliseconds, as tables have them.
pub fn times(millis: impl Iterator<Item = Option<i64>>) -> TimestampMicrosecondArray {
    let micros = millis.map(|millis| millis.map(|millis| millis * 1000));
    micros.collect::<TimestampMicrosecondArray>().with_timezone("UTC")
}
