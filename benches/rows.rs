//! Decodes users to record batches, and writes batches to one plain Parquet file, for comparison with the lake's
//! writer.

use std::fs::File;
use std::path::Path;

use arrow::array::RecordBatch;
use bytes::Bytes;
use clerk_lake::lake;
use clerk_lake::resource::{USER_LIST, USERS};
use clerk_lake::table::stamp;
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;

/// The value of `_synced_at`. All rows share it, as all rows of one sync do.
pub const SYNCED_AT_MICROS: i64 = 1_800_000_000_000_000;

/// Returns the users of a page, in the table's schema without `_synced_at`.
pub fn decode(page: &Bytes) -> RecordBatch {
    (USER_LIST.decode)(page).expect("a page of users").rows.batch
}

/// Returns `batch` with the columns of a data file: with `_synced_at`, without the partition column.
pub fn in_file(batch: &RecordBatch) -> RecordBatch {
    let mut stamped = stamp(batch, SYNCED_AT_MICROS).expect("rows without `_synced_at`");
    if let Some(partition) = USERS.table.partition {
        let at = stamped.schema_ref().index_of(partition).expect("the partition column");
        stamped.remove_column(at);
    }
    stamped
}

/// Returns the writer properties of the lake's users table.
pub fn lake_properties() -> WriterProperties {
    lake::writer_properties(&USERS.table)
}

/// Writes `batches` to one file and returns its size in bytes. Panics if there is no batch.
pub fn write_file(path: &Path, batches: &[RecordBatch], properties: WriterProperties) -> u64 {
    let file = File::create(path).expect("a file");
    let mut writer = ArrowWriter::try_new(file, batches[0].schema(), Some(properties)).expect("a writer");
    for batch in batches {
        writer.write(batch).expect("rows are written");
    }
    writer.close().expect("the file is closed");
    std::fs::metadata(path).expect("the file").len()
}
