//! Every query of the catalogue over the lake of a large instance: how long each takes, from opening the lake to the
//! last row.
//!
//! `cargo bench --bench queries` writes a lake on local disk and prints one table, of medians; after `--`, parts of
//! names say which queries are asked. `CLERK_LAKE_BENCH_USERS` (1,000,000), `CLERK_LAKE_BENCH_SESSIONS` (3,000,000)
//! and `CLERK_LAKE_BENCH_ACTIVITY` (rows of the ledger, 20,000,000) say how large it is, `CLERK_LAKE_BENCH_RUNS` (5)
//! how often each query is asked. Everything is drawn from a seed that differs at every run; it is printed, and
//! `CLERK_LAKE_BENCH_SEED` fixes it.

#![expect(clippy::print_stdout, reason = "the table is what it is for")]

#[path = "../clerk.rs"]
#[expect(dead_code, reason = "no simulated Clerk is needed: the rows are made here")]
mod clerk;
mod ledger;
mod objects;
mod tables;

use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use clerk_lake::clock::Clock;
use clerk_lake::lake::{Lake, Location};
use clerk_lake::query::{self, Parameters, Query, catalogue};
use clerk_lake::resource::TABLES;

use clerk::{seed, size};
use tables::Filling;

/// How large the instance is.
#[derive(Clone, Copy)]
struct Sizes {
    users: usize,
    sessions: usize,
    activity: usize,
}

fn main() {
    let sizes = Sizes {
        users: size("CLERK_LAKE_BENCH_USERS", 1_000_000),
        sessions: size("CLERK_LAKE_BENCH_SESSIONS", 3_000_000),
        activity: size("CLERK_LAKE_BENCH_ACTIVITY", 20_000_000),
    };
    let runs = size("CLERK_LAKE_BENCH_RUNS", 5).max(1);
    if std::env::args().any(|argument| argument == "--list" || argument == "--test") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let directory = tempfile::tempdir().expect("a directory");
    let location = Location::parse(&directory.path().to_string_lossy()).expect("a place for a lake");
    let lake = Lake::new(location);
    runtime.block_on(async {
        let start = Instant::now();
        Box::pin(fill(&lake, sizes)).await;
        println!("A lake written in {:.1} s:", start.elapsed().as_secs_f64());
        tell(&lake).await;
        println!("\n{:<28}{:>10}{:>12}{:>8}", format!("medians of {runs}"), "seconds", "slowest", "rows");
        for query in asked() {
            line(&lake, &query, runs).await;
        }
    });
}

async fn fill(lake: &Lake, sizes: Sizes) {
    let filling = Filling::begin(lake, seed()).await;
    let users = objects::users(&filling, sizes.users).await;
    objects::sessions(&filling, &users, sizes.sessions).await;
    objects::organizations(&filling, sizes.users / 50).await;
    ledger::fill(&filling, &users, sizes.activity).await;
    filling.end().await;
}

/// Says what is in the lake.
async fn tell(lake: &Lake) {
    for spec in TABLES {
        let table = lake.table(spec).await.expect("a table");
        if table.exists() {
            let megabytes = table.bytes() / 1_000_000;
            println!("{:<28}{:>12} rows{:>6} files{megabytes:>6} MB", spec.name, table.rows(), table.file_count());
        }
    }
}

/// The queries that are asked: all, or those whose name has a part that is given.
fn asked() -> Vec<Query> {
    let parts: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let is_asked = |query: &Query| parts.is_empty() || parts.iter().any(|part| query.name.contains(part.as_str()));
    catalogue::all().expect("a catalogue").into_iter().filter(is_asked).collect()
}

async fn line(lake: &Lake, query: &Query, runs: usize) {
    let mut times = Vec::new();
    let mut rows = 0;
    for _ in 0..runs {
        let (time, found) = ask(lake, query).await;
        times.push(time);
        rows = found;
    }
    times.sort_unstable();
    let [median, slowest] = [times[runs / 2], times[runs - 1]].map(|time| time.as_secs_f64());
    println!("{:<28}{median:>10.3}{slowest:>12.3}{rows:>8}", query.name);
}

async fn ask(lake: &Lake, query: &Query) -> (Duration, usize) {
    let parameters = Parameters::at(Clock::system().now());
    let start = Instant::now();
    let session = query::session(lake).await.expect("a lake with tables");
    let batches = query.run(&session, &parameters).await.expect("an answer");
    (start.elapsed(), batches.iter().map(RecordBatch::num_rows).sum())
}
