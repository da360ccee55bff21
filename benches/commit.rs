//! Commits staged rows. One user in fifty has changed since the table was written.
//!
//! An upsert of the changed rows is compared with delta-rs' plain MERGE of the same rows into an identical table. A
//! replacement of all rows has two parts. The diff cannot be faster than reading both versions. The commit cannot be
//! faster than moving, writing and deleting the affected files.

use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use arrow::array::{AsArray, BooleanArray, RecordBatch, TimestampMicrosecondArray};
use arrow::compute::{concat_batches, filter_record_batch};
use arrow::datatypes::TimestampMicrosecondType;
use clerk_lake::lake::{Coverage, Diff, StagedRows};
use clerk_lake::query::{self, Parameters, Query};
use clerk_lake::resource::USERS;
use clerk_lake::table::conform;
use datafusion::execution::context::SessionContext;
use datafusion::prelude::col;
use deltalake::{DeltaTable, DeltaTableError};
use divan::Bencher;
use divan::counter::ItemsCount;
use tempfile::TempDir;
use url::Url;

use crate::lakes::{self, OpenLake};
use crate::plain_read;
use crate::rows::lake_properties;
use crate::support::{now, runtime, with_column};

/// Every n-th user has changed: 2% of all users.
const ONE_IN: usize = 50;

/// All users of the synced lake, in the table's complete schema. One in [`ONE_IN`] users has just changed.
static CURRENT_USERS: LazyLock<Vec<RecordBatch>> = LazyLock::new(|| {
    let lake = lakes::at(lakes::synced());
    let batches = runtime().block_on(async {
        let context = query::context(&lake).await.expect("a lake with users");
        let all = Query::ad_hoc("SELECT * FROM clerk_user");
        all.run(&context, &Parameters::at(now())).await.expect("the users")
    });
    let schema = USERS.table.schema();
    batches.iter().map(|batch| with_changes(&conform(batch, &schema).expect("users"))).collect()
});

/// The changed users, which are spread over the whole table.
static CHANGED: LazyLock<RecordBatch> = LazyLock::new(|| {
    let changed: Vec<_> = CURRENT_USERS.iter().map(only_changed).collect();
    concat_batches(&USERS.table.schema(), &changed).expect("rows of one schema")
});

fn has_changed(row: usize) -> bool {
    row.is_multiple_of(ONE_IN)
}

fn with_changes(batch: &RecordBatch) -> RecordBatch {
    let before = batch.column_by_name("updated_at").expect("a column");
    let before = before.as_primitive::<TimestampMicrosecondType>().iter().enumerate();
    let now = now().timestamp_micros();
    let after = before.map(|(row, before)| if has_changed(row) { Some(now) } else { before });
    let after = after.collect::<TimestampMicrosecondArray>().with_timezone("UTC");
    with_column(batch, "updated_at", Arc::new(after))
}

fn only_changed(batch: &RecordBatch) -> RecordBatch {
    let changed: BooleanArray = (0..batch.num_rows()).map(|row| Some(has_changed(row))).collect();
    filter_record_batch(batch, &changed).expect("rows of the batch")
}

/// Returns a copy of the synced lake with `batches` staged.
fn staged(batches: &[RecordBatch]) -> (OpenLake, StagedRows) {
    let lake = OpenLake::synced();
    let staged = lake.stage(batches);
    (lake, staged)
}

#[divan::bench(sample_count = 5, sample_size = 1)]
fn upsert_lake(bencher: Bencher) {
    let changed = std::slice::from_ref(&*CHANGED);
    bencher.counter(ItemsCount::new(CHANGED.num_rows())).with_inputs(|| staged(changed)).bench_local_values(
        |(mut lake, staged)| {
            runtime().block_on(async {
                let diff = lake.table.diff(staged, Coverage::Partial).await.expect("a diff");
                assert_eq!(diff.counts().updated, CHANGED.num_rows() as u64);
                let outcome = lake.table.commit_diff(diff, lakes::change()).await.expect("a commit");
                outcome.committed(USERS.table.name).expect("no conflict with another run");
            });
            lake
        },
    );
}

/// The bound: a MERGE in the default context of delta-rs.
#[divan::bench(sample_count = 5, sample_size = 1)]
fn upsert_bare_merge(bencher: Bencher) {
    let changed = &*CHANGED;
    bencher.counter(ItemsCount::new(changed.num_rows())).with_inputs(delta_table).bench_local_values(
        |(directory, table)| {
            let merged = runtime().block_on(merge(table, changed.clone())).expect("a merge");
            (directory, merged)
        },
    );
}

/// Returns a copy of the users table, opened by delta-rs.
fn delta_table() -> (TempDir, DeltaTable) {
    let directory = lakes::copy_of_synced();
    let url = Url::from_directory_path(directory.path().join(USERS.table.name)).expect("an absolute path");
    let table = runtime().block_on(deltalake::open_table(url)).expect("a Delta table");
    (directory, table)
}

async fn merge(table: DeltaTable, changed: RecordBatch) -> Result<DeltaTable, DeltaTableError> {
    let schema = changed.schema();
    let names = || schema.fields().iter().map(|field| field.name().as_str());
    let of_source = |name: &str| col(format!("source.{name}"));
    let source = SessionContext::new().read_batch(changed).expect("rows as a table");
    let merge = table
        .merge(source, col("target.id").eq(col("source.id")))
        .with_source_alias("source")
        .with_target_alias("target")
        .with_writer_properties(lake_properties())
        .when_matched_update(|update| names().fold(update, |update, name| update.update(name, of_source(name))))?
        .when_not_matched_insert(|insert| names().fold(insert, |insert, name| insert.set(name, of_source(name))))?;
    Ok(merge.await?.0)
}

fn all_users() -> ItemsCount {
    ItemsCount::new(CURRENT_USERS.iter().map(RecordBatch::num_rows).sum::<usize>())
}

#[divan::bench(sample_count = 5, sample_size = 1)]
fn replace_compare_lake(bencher: Bencher) {
    let (users, changed) = (&*CURRENT_USERS, CHANGED.num_rows() as u64);
    bencher.counter(all_users()).with_inputs(|| staged(users)).bench_local_values(|(lake, staged)| {
        let diff = diff(&lake, staged);
        assert_eq!(diff.counts().updated, changed);
        (lake, diff)
    });
}

fn diff(lake: &OpenLake, staged: StagedRows) -> Diff {
    runtime().block_on(lake.table.diff(staged, Coverage::Complete)).expect("a diff")
}

/// The bound: reads all columns of all users twice, with one thread, like the lake's comparison.
#[divan::bench(sample_count = 5, sample_size = 1)]
fn replace_compare_bare_read(bencher: Bencher) {
    let files = plain_read::data_files(lakes::synced());
    let twice = [files.clone(), files].concat();
    bencher.counter(all_users()).bench_local(|| plain_read::read(&twice, None, 1));
}

#[divan::bench(sample_count = 5, sample_size = 1)]
fn replace_commit_lake(bencher: Bencher) {
    let users = &*CURRENT_USERS;
    let compared = || {
        let (lake, staged) = staged(users);
        let diff = diff(&lake, staged);
        (lake, diff)
    };
    bencher.counter(all_users()).with_inputs(compared).bench_local_values(|(mut lake, diff)| {
        let outcome = runtime().block_on(lake.table.commit_diff(diff, lakes::change())).expect("a commit");
        outcome.committed(USERS.table.name).expect("no conflict with another run");
        lake
    });
}

/// The bound: moves the new files into place, writes a commit as large as the first one, and deletes the old files.
#[divan::bench(sample_count = 5, sample_size = 1)]
fn replace_commit_bare_files(bencher: Bencher) {
    bencher.counter(all_users()).with_inputs(FileReplacement::new).bench_local_values(|replacement| {
        replacement.execute();
        replacement
    });
}

/// The file operations of a replacement.
struct FileReplacement {
    new: Vec<(PathBuf, PathBuf)>,
    old: Vec<PathBuf>,
    commit: Vec<u8>,
    log: PathBuf,
    _directories: [TempDir; 2],
}

impl FileReplacement {
    fn new() -> Self {
        let (table, staged) = (lakes::copy_of_synced(), lakes::copy_of_synced());
        let target = |file: &Path| {
            let below = file.strip_prefix(staged.path()).expect("a file of the lake");
            table.path().join(below).with_extension("new.parquet")
        };
        let new = plain_read::data_files(staged.path()).into_iter().map(|from| {
            let to = target(&from);
            (from, to)
        });
        let new = new.collect();
        let log = table.path().join(USERS.table.name).join("_delta_log");
        Self {
            new,
            old: plain_read::data_files(table.path()),
            commit: std::fs::read(log.join("00000000000000000000.json")).expect("the first commit"),
            log,
            _directories: [table, staged],
        }
    }

    fn execute(&self) {
        for (from, to) in &self.new {
            std::fs::rename(from, to).expect("a file moved");
        }
        std::fs::write(self.log.join("00000000000000000001.json"), &self.commit).expect("a commit");
        for file in &self.old {
            std::fs::remove_file(file).expect("a file deleted");
        }
    }
}
