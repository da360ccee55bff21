//! Writes record batches to Parquet. Compares the lake's writer with the plain `ArrowWriter`, and the lake's writer
//! properties with alternatives.

#![expect(clippy::print_stderr, reason = "settings are chosen by size on disk as much as by time")]

use std::fmt;
use std::sync::LazyLock;

use arrow::array::RecordBatch;
use clerk_lake::lake::StagedRows;
use divan::Bencher;
use divan::counter::ItemsCount;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use crate::clerk::size;
use crate::lakes::OpenLake;
use crate::pages::PAGE_ROWS;
use crate::rows::{SYNCED_AT_MICROS, decode, in_file, lake_properties, write_file};
use crate::support::{runtime, user_pages};

/// Users as the decoder returns them, one batch per page.
static DECODED: LazyLock<Vec<RecordBatch>> = LazyLock::new(|| {
    let pages = size("CLERK_LAKE_BENCH_ROWS", 100_000).div_ceil(PAGE_ROWS);
    user_pages(pages).iter().map(decode).collect()
});

/// [`DECODED`] with the columns of a data file.
static IN_FILE: LazyLock<Vec<RecordBatch>> = LazyLock::new(|| DECODED.iter().map(in_file).collect());

fn rows() -> ItemsCount {
    ItemsCount::new(DECODED.iter().map(RecordBatch::num_rows).sum::<usize>())
}

/// Writes staged files, one per partition.
#[divan::bench(sample_count = 5, sample_size = 1)]
fn lake(bencher: Bencher) {
    bencher.counter(rows()).with_inputs(OpenLake::empty).bench_local_values(|lake| {
        let staged = stage(&lake, &DECODED);
        (lake, staged)
    });
}

fn stage(lake: &OpenLake, batches: &[RecordBatch]) -> StagedRows {
    runtime().block_on(async {
        let mut writer = lake.table.writer().expect("a writer");
        for batch in batches {
            writer.write(batch, SYNCED_AT_MICROS).await.expect("rows are staged");
        }
        writer.finish().await.expect("the files are closed")
    })
}

/// The bound: writes the same columns with the same properties to one file.
#[divan::bench(sample_count = 5, sample_size = 1)]
fn bare_arrow_writer(bencher: Bencher) {
    let batches = &*IN_FILE;
    bencher.counter(rows()).with_inputs(directory).bench_local_values(|directory| {
        write_file(&directory.path().join("users.parquet"), batches, lake_properties());
        directory
    });
}

/// The candidates for the lake's writer properties. The lake uses the first, except for its few repetitive columns.
#[divan::bench(args = SETTINGS, sample_count = 5, sample_size = 1)]
fn bare_settings(bencher: Bencher, settings: Settings) {
    let batches = &*IN_FILE;
    let mut bytes = 0;
    bencher.counter(rows()).with_inputs(directory).bench_local_values(|directory| {
        bytes = write_file(&directory.path().join("users.parquet"), batches, settings.properties());
        directory
    });
    eprintln!("{settings}: {bytes} bytes on disk");
}

fn directory() -> tempfile::TempDir {
    tempfile::tempdir().expect("a directory")
}

/// Encoding of a file.
#[derive(Clone, Copy)]
struct Settings {
    codec: Codec,
    dictionary: bool,
    row_group_rows: usize,
}

#[derive(Clone, Copy)]
enum Codec {
    Zstd(i32),
    Snappy,
    None,
}

/// Uncompressed bytes per data page, as in the lake.
const PAGE_BYTES: usize = 128 * 1024;

const SETTINGS: [Settings; 9] = [
    Settings { codec: Codec::Zstd(1), dictionary: false, row_group_rows: 16_384 },
    Settings { codec: Codec::Zstd(1), dictionary: false, row_group_rows: 65_536 },
    Settings { codec: Codec::Zstd(1), dictionary: true, row_group_rows: 16_384 },
    Settings { codec: Codec::Zstd(1), dictionary: true, row_group_rows: 65_536 },
    Settings { codec: Codec::Zstd(1), dictionary: true, row_group_rows: 262_144 },
    Settings { codec: Codec::Zstd(3), dictionary: false, row_group_rows: 16_384 },
    Settings { codec: Codec::Snappy, dictionary: false, row_group_rows: 16_384 },
    Settings { codec: Codec::None, dictionary: false, row_group_rows: 16_384 },
    Settings { codec: Codec::None, dictionary: true, row_group_rows: 16_384 },
];

impl Settings {
    fn properties(self) -> WriterProperties {
        let compression = match self.codec {
            Codec::Zstd(level) => Compression::ZSTD(ZstdLevel::try_new(level).expect("a zstd level")),
            Codec::Snappy => Compression::SNAPPY,
            Codec::None => Compression::UNCOMPRESSED,
        };
        WriterProperties::builder()
            .set_compression(compression)
            .set_dictionary_enabled(self.dictionary)
            .set_max_row_group_row_count(Some(self.row_group_rows))
            .set_data_page_size_limit(PAGE_BYTES)
            .build()
    }
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.codec {
            Codec::Zstd(level) => write!(f, "zstd {level}")?,
            Codec::Snappy => f.write_str("snappy")?,
            Codec::None => f.write_str("uncompressed")?,
        }
        let dictionary = if self.dictionary { "dictionary" } else { "no dictionary" };
        write!(f, ", {dictionary}, row groups of {}", self.row_group_rows)
    }
}
