//! Reads Parquet files with the parquet crate alone. A query over the files cannot be much faster.

use std::fs::File;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use clerk_lake::resource::USERS;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};

/// Returns the data files of the users table in the lake at `lake`.
pub fn data_files(lake: &Path) -> Vec<PathBuf> {
    let mut directories = vec![lake.join(USERS.table.name)];
    let mut files = Vec::new();
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() && !path.ends_with("_delta_log") {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "parquet") {
                files.push(path);
            }
        }
    }
    files
}

/// Reads `columns` of `files` with `threads` threads, all columns if `None`. Returns the number of rows.
pub fn read(files: &[PathBuf], columns: Option<&[&str]>, threads: usize) -> usize {
    let footers: Vec<_> = files.iter().map(|path| footer(path)).collect();
    let groups_of = |at: usize| (0..footers[at].metadata().num_row_groups()).map(move |group| (at, group));
    let groups: Vec<(usize, usize)> = (0..files.len()).flat_map(groups_of).collect();
    let next = AtomicUsize::new(0);
    let read_some = || {
        let mut rows = 0;
        while let Some((at, group)) = groups.get(next.fetch_add(1, Ordering::Relaxed)) {
            rows += read_group(&files[*at], &footers[*at], *group, columns);
        }
        rows
    };
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..threads).map(|_| scope.spawn(read_some)).collect();
        readers.into_iter().map(|reader| reader.join().expect("the reading thread does not panic")).sum()
    })
}

fn footer(path: &Path) -> ArrowReaderMetadata {
    let file = File::open(path).expect("a data file");
    ArrowReaderMetadata::load(&file, ArrowReaderOptions::default()).expect("a Parquet footer")
}

/// Reads one row group and returns its number of rows. Opens the file again, because threads must not share a file
/// position.
fn read_group(path: &Path, footer: &ArrowReaderMetadata, group: usize, columns: Option<&[&str]>) -> usize {
    let file = File::open(path).expect("a data file");
    let mask = match columns {
        Some(names) => ProjectionMask::columns(footer.parquet_schema(), names.iter().copied()),
        None => ProjectionMask::all(),
    };
    let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(file, footer.clone())
        .with_row_groups(vec![group])
        .with_projection(mask)
        .with_batch_size(8192)
        .build()
        .expect("a reader");
    reader.map(|batch| black_box(batch.expect("rows")).num_rows()).sum()
}
