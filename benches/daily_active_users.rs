//! Runs the built-in query for daily active users over a lake with ten million users. Compares it with only reading the
//! one column that the query needs.

use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use arrow::array::{Int32Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::compute::concat_batches;
use chrono::{DateTime, Datelike};
use clerk_lake::lake::{Coverage, Lake};
use clerk_lake::query::{self, Parameters, queries};
use clerk_lake::resource::USERS;
use clerk_lake::simulator::model::DAY;
use datafusion::execution::context::SessionContext;
use divan::Bencher;
use divan::counter::ItemsCount;
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

use crate::clerk::{seed, size};
use crate::lakes::{self, OpenLake};
use crate::plain_read;
use crate::rows::{SYNCED_AT_MICROS, decode};
use crate::support::{now, runtime, user_pages, with_column};

/// Number of threads that read the column: the number of threads of the query on the reference machine.
const THREADS: usize = 2;

/// Number of pages from the simulator that supply the columns that the query does not need.
const PAGES: usize = 8;

/// Age of the oldest user, in seconds.
const HISTORY_SECONDS: i64 = 3 * 365 * 86_400;

fn users() -> usize {
    size("CLERK_LAKE_BENCH_DAU_USERS", 10_000_000)
}

/// Returns the path of the lake, which is written once per process.
fn lake() -> &'static Path {
    static LAKE: LazyLock<PathBuf> = LazyLock::new(write);
    &LAKE
}

/// Opens the snapshot, plans the query and runs it.
#[divan::bench(sample_count = 5, sample_size = 1)]
fn lake_query(bencher: Bencher) {
    let lake = lakes::at(lake());
    bencher.counter(ItemsCount::new(users())).bench_local(|| runtime().block_on(open_and_query(&lake)));
}

/// The same on a Ballista cluster of two executors on this machine: `--features ballista-test`.
#[cfg(feature = "ballista-test")]
#[divan::bench(sample_count = 5, sample_size = 1)]
fn lake_query_on_a_cluster(bencher: Bencher) {
    let (lake, cluster) = (lakes::at(lake()), runtime().block_on(crate::cluster::TestCluster::start(2)));
    bencher.counter(ItemsCount::new(users())).bench_local(|| {
        runtime().block_on(async {
            let context = cluster.engine().context(&lake, None).await.expect("a lake with users");
            daily_active_users(&context).await
        })
    });
}

async fn open_and_query(lake: &Lake) -> Vec<RecordBatch> {
    daily_active_users(&query::context(lake).await.expect("a lake with users")).await
}

async fn daily_active_users(context: &SessionContext) -> Vec<RecordBatch> {
    let query = queries::builtin("daily_active_users").expect("a built-in query");
    query.run(context, &Parameters::at(now())).await.expect("query results")
}

/// The bound: reads `last_active_at` of all files and discards it.
#[divan::bench(sample_count = 5, sample_size = 1)]
fn bare_column_read(bencher: Bencher) {
    let files = plain_read::data_files(lake());
    bencher.counter(ItemsCount::new(users())).bench_local(|| {
        let rows = plain_read::read(&files, Some(&["last_active_at"]), THREADS);
        assert_eq!(rows, users());
    });
}

fn write() -> PathBuf {
    let mut lake = OpenLake::empty();
    let generator = UserGenerator::new();
    runtime().block_on(async {
        let mut writer = lake.table.writer().expect("a writer");
        for batch in generator {
            writer.write(&batch, SYNCED_AT_MICROS).await.expect("rows are staged");
        }
        let staged = writer.finish().await.expect("the files are closed");
        let diff = lake.table.diff(staged, Coverage::Complete).await.expect("a diff");
        let outcome = lake.table.commit_diff(diff, lakes::change()).await.expect("a commit");
        outcome.committed(USERS.table.name).expect("no conflict with another run");
    });
    lake.keep()
}

/// Lazily generates users, oldest first.
///
/// The generator repeats some pages of simulated users, with a new id and new times for each user.
struct UserGenerator {
    template: RecordBatch,
    random: ChaCha8Rng,
    now_ms: i64,
    generated: usize,
    users: usize,
}

impl UserGenerator {
    fn new() -> Self {
        let pages: Vec<_> = user_pages(PAGES).iter().map(decode).collect();
        Self {
            template: concat_batches(&pages[0].schema(), &pages).expect("pages of one schema"),
            random: ChaCha8Rng::seed_from_u64(seed()),
            now_ms: now().timestamp_millis(),
            generated: 0,
            users: users(),
        }
    }

    fn id(&mut self, number: usize) -> String {
        format!("user_{:016x}{number:011x}", self.random.random_range(0..u64::MAX))
    }

    /// Returns the creation time of a user, in Unix milliseconds. Users sign up at a constant rate.
    fn created_at(&self, number: usize) -> i64 {
        let whole = |count: usize| i64::try_from(count).expect("a number of users");
        self.now_ms - 1000 * (HISTORY_SECONDS - HISTORY_SECONDS * whole(number) / whole(self.users))
    }

    /// Draws the time of the last activity like the simulator; `None` for the 8% of users who were never active.
    ///
    /// Recent days are more likely.
    fn last_active_at(&mut self, created_at: i64) -> Option<i64> {
        if self.random.random_bool(0.08) {
            return None;
        }
        let back = self.random.random_range(0..1000_i64);
        let days = if self.random.random_bool(0.6) { back * back * 30 / 1_000_000 } else { 30 + back * 400 / 1000 };
        let day = (self.now_ms.div_euclid(DAY) - days).max(created_at.div_euclid(DAY));
        let time_of_day = if self.random.random_bool(0.8) { 0 } else { self.random.random_range(0..DAY) };
        Some((day * DAY + time_of_day).min(self.now_ms))
    }
}

impl Iterator for UserGenerator {
    type Item = RecordBatch;

    fn next(&mut self) -> Option<RecordBatch> {
        let rows = self.template.num_rows().min(self.users - self.generated);
        if rows == 0 {
            return None;
        }
        let numbers = self.generated..self.generated + rows;
        let ids: StringArray = numbers.clone().map(|number| Some(self.id(number))).collect();
        let created: Vec<i64> = numbers.map(|number| self.created_at(number)).collect();
        let active: Vec<Option<i64>> = created.iter().map(|created_at| self.last_active_at(*created_at)).collect();
        let years: Int32Array = created.iter().map(|created_at| Some(year(*created_at))).collect();
        self.generated += rows;
        let batch = with_column(&self.template.slice(0, rows), "id", Arc::new(ids));
        let batch = with_column(&batch, "created_at", Arc::new(timestamps(created.into_iter().map(Some))));
        let batch = with_column(&batch, "last_active_at", Arc::new(timestamps(active.into_iter())));
        Some(with_column(&batch, "created_year", Arc::new(years)))
    }
}

/// Converts times in Unix milliseconds to the table's timestamps.
fn timestamps(millis: impl Iterator<Item = Option<i64>>) -> TimestampMicrosecondArray {
    let micros = millis.map(|millis| millis.map(|millis| millis * 1000));
    micros.collect::<TimestampMicrosecondArray>().with_timezone("UTC")
}

fn year(millis: i64) -> i32 {
    DateTime::from_timestamp_millis(millis).expect("a valid timestamp").year()
}
