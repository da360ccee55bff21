//! Users as batches, and batches as one plain Parquet file: what the lake's writing is measured against.

use std::fs::File;
use std::path::Path;

use arrow::array::RecordBatch;
use bytes::Bytes;
use clerk_lake::lake;
use clerk_lake::resource::{USER_LIST, USERS};
use clerk_lake::table::stamp;
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;

/// What `_synced_at` says here; the same everywhere, since it is the same within one sync.
pub const SYNCED_AT_MICROS: i64 = 1_800_000_000_000_000;

/// A page's users, in the table's schema but for `_synced_at`.
pub fn decode(page: &Bytes) -> RecordBatch {
    (USER_LIST.decode)(page).expect("a page of users").rows.batch
}

/// `batch` with the columns that the lake's files have: `_synced_at` is one, the partition is none.
pub fn in_file(batch: &RecordBatch) -> RecordBatch {
    let mut stamped = stamp(batch, SYNCED_AT_MICROS).expect("rows without `_synced_at`");
    if let Some(partition) = USERS.table.partition {
        let at = stamped.schema_ref().index_of(partition).expect("the partition's column");
        stamped.remove_column(at);
    }
    stamped
}

/// How the lake encodes users.
pub fn lake_properties() -> WriterProperties {
    lake::writer_properties(&USERS.table)
}

/// Writes `batches`, of which there must be one, to one file; gives its size in bytes.
pub fn write_file(path: &Path, batches: &[RecordBatch], properties: WriterProperties) -> u64 {
    let file = File::create(path).expect("a file");
    let mut writer = ArrowWriter::try_new(file, batches[0].schema(), Some(properties)).expect("a writer");
    for batch in batches {
        writer.write(batch).expect("rows are written");
    }
    writer.close().expect("the file is closed");
    std::fs::metadata(path).expect("the file").len()
}
