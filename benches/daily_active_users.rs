//! The catalogue's question for daily active users, over a lake of ten million, beside the bare reading of the one
//! column that it is about.

use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use arrow::array::{Int32Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::compute::concat_batches;
use chrono::{DateTime, Datelike};
use clerk_lake::lake::{Coverage, Lake};
use clerk_lake::query::{self, Parameters, catalogue};
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

/// How many threads read the bare column: as many as the query has on the machine that figures are taken on.
const THREADS: usize = 2;

/// From so many real pages come the columns that the question is not about.
const PAGES: usize = 8;

/// How far back the oldest user goes, in seconds.
const SPAN_SECONDS: i64 = 3 * 365 * 86_400;

fn users() -> usize {
    size("CLERK_LAKE_BENCH_DAU_USERS", 10_000_000)
}

/// The lake, which is written once in a process.
fn lake() -> &'static Path {
    static LAKE: LazyLock<PathBuf> = LazyLock::new(write);
    &LAKE
}

/// The snapshot is opened, the question planned and answered.
#[divan::bench(sample_count = 5, sample_size = 1)]
fn lake_query(bencher: Bencher) {
    let lake = lakes::at(lake());
    bencher.counter(ItemsCount::new(users())).bench_local(|| runtime().block_on(ask(&lake)));
}

/// The same on a Ballista cluster of two executors on this machine: `--features ballista-test`.
#[cfg(feature = "ballista-test")]
#[divan::bench(sample_count = 5, sample_size = 1)]
fn lake_query_on_a_cluster(bencher: Bencher) {
    let (lake, cluster) = (lakes::at(lake()), runtime().block_on(crate::cluster::TestCluster::start(2)));
    bencher.counter(ItemsCount::new(users())).bench_local(|| {
        runtime().block_on(async {
            let session = cluster.engine().session(&lake, None).await.expect("a lake with users");
            daily_active_users(&session).await
        })
    });
}

async fn ask(lake: &Lake) -> Vec<RecordBatch> {
    daily_active_users(&query::session(lake).await.expect("a lake with users")).await
}

async fn daily_active_users(session: &SessionContext) -> Vec<RecordBatch> {
    let query = catalogue::builtin("daily_active_users").expect("a query of the catalogue");
    query.run(session, &Parameters::at(now())).await.expect("an answer")
}

/// The bound: `last_active_at` of all files, and nothing done with it.
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
    let crowd = Crowd::new();
    runtime().block_on(async {
        let mut writer = lake.table.writer().expect("a writer");
        for batch in crowd {
            writer.write(&batch, SYNCED_AT_MICROS).await.expect("rows are staged");
        }
        let staged = writer.finish().await.expect("the files are closed");
        let diff = lake.table.diff(staged, Coverage::Complete).await.expect("the rows are compared");
        let outcome = lake.table.commit_diff(diff, lakes::change()).await.expect("a commit");
        outcome.committed(USERS.table.name).expect("no other run");
    });
    lake.keep()
}

/// Users who are nobody's, oldest first: some pages of real ones over and over, with ids and times of their own.
/// They are made as they are asked for.
struct Crowd {
    template: RecordBatch,
    random: ChaCha8Rng,
    now_ms: i64,
    made: usize,
    users: usize,
}

impl Crowd {
    fn new() -> Self {
        let pages: Vec<_> = user_pages(PAGES).iter().map(decode).collect();
        Self {
            template: concat_batches(&pages[0].schema(), &pages).expect("pages of one schema"),
            random: ChaCha8Rng::seed_from_u64(seed()),
            now_ms: now().timestamp_millis(),
            made: 0,
            users: users(),
        }
    }

    fn id(&mut self, number: usize) -> String {
        format!("user_{:016x}{number:011x}", self.random.random_range(0..u64::MAX))
    }

    /// Users sign up at an even pace.
    fn created_at(&self, number: usize) -> i64 {
        let whole = |count: usize| i64::try_from(count).expect("a number of users");
        self.now_ms - 1000 * (SPAN_SECONDS - SPAN_SECONDS * whole(number) / whole(self.users))
    }

    /// A day of activity, as the simulator draws it: recent days are likelier, and a few users never came.
    fn last_active_at(&mut self, created_at: i64) -> Option<i64> {
        if self.random.random_bool(0.08) {
            return None;
        }
        let back = self.random.random_range(0..1000_i64);
        let days = if self.random.random_bool(0.6) { back * back * 30 / 1_000_000 } else { 30 + back * 400 / 1000 };
        let day = (self.now_ms.div_euclid(DAY) - days).max(created_at.div_euclid(DAY));
        let moment = if self.random.random_bool(0.8) { 0 } else { self.random.random_range(0..DAY) };
        Some((day * DAY + moment).min(self.now_ms))
    }
}

impl Iterator for Crowd {
    type Item = RecordBatch;

    fn next(&mut self) -> Option<RecordBatch> {
        let rows = self.template.num_rows().min(self.users - self.made);
        if rows == 0 {
            return None;
        }
        let numbers = self.made..self.made + rows;
        let ids: StringArray = numbers.clone().map(|number| Some(self.id(number))).collect();
        let created: Vec<i64> = numbers.map(|number| self.created_at(number)).collect();
        let active: Vec<Option<i64>> = created.iter().map(|created_at| self.last_active_at(*created_at)).collect();
        let years: Int32Array = created.iter().map(|created_at| Some(year(*created_at))).collect();
        self.made += rows;
        let batch = with_column(&self.template.slice(0, rows), "id", Arc::new(ids));
        let batch = with_column(&batch, "created_at", Arc::new(times(created.into_iter().map(Some))));
        let batch = with_column(&batch, "last_active_at", Arc::new(times(active.into_iter())));
        Some(with_column(&batch, "created_year", Arc::new(years)))
    }
}

/// Moments in Unix milliseconds, as the table has them.
fn times(millis: impl Iterator<Item = Option<i64>>) -> TimestampMicrosecondArray {
    let micros = millis.map(|millis| millis.map(|millis| millis * 1000));
    micros.collect::<TimestampMicrosecondArray>().with_timezone("UTC")
}

fn year(millis: i64) -> i32 {
    DateTime::from_timestamp_millis(millis).expect("a moment of the calendar").year()
}
