//! Measures every built-in query over the lake of a large instance, from opening the lake to the last row.
//!
//! `cargo bench --bench queries` writes a lake to local disk and prints one table of medians. Arguments after `--`
//! select the queries whose names contain one of them.
//!
//! `CLERK_LAKE_BENCH_USERS` (1,000,000), `CLERK_LAKE_BENCH_SESSIONS` (3,000,000) and `CLERK_LAKE_BENCH_ACTIVITY` (rows
//! of the activity ledger, 20,000,000) set the size of the lake. `CLERK_LAKE_BENCH_RUNS` (5) sets the number of runs
//! per query. All data is generated from a random seed, which differs from run to run and is printed.
//! `CLERK_LAKE_BENCH_SEED` sets it.

#![expect(clippy::print_stdout, reason = "the bench prints its results")]

#[path = "../clerk.rs"]
#[expect(dead_code, reason = "the bench generates its rows and needs no simulated instance")]
mod clerk;
mod ledger;
mod objects;
mod tables;

use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use clerk_lake::clock::Clock;
use clerk_lake::lake::{Lake, Location};
use clerk_lake::query::{self, Parameters, Query, queries};
use clerk_lake::resource::TABLES;

use clerk::{seed, size};
use tables::LakeBuilder;

/// Size of the instance.
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
    let location = Location::parse(&directory.path().to_string_lossy()).expect("a lake location");
    let lake = Lake::new(location);
    runtime.block_on(async {
        let start = Instant::now();
        Box::pin(fill(&lake, sizes)).await;
        println!("Wrote a lake in {:.1} s:", start.elapsed().as_secs_f64());
        print_tables(&lake).await;
        println!("\n{:<28}{:>10}{:>12}{:>8}", format!("medians of {runs} runs"), "seconds", "slowest", "rows");
        for query in selected() {
            measure(&lake, &query, runs).await;
        }
    });
}

async fn fill(lake: &Lake, sizes: Sizes) {
    let builder = LakeBuilder::start(lake, seed()).await;
    let users = objects::users(&builder, sizes.users).await;
    objects::sessions(&builder, &users, sizes.sessions).await;
    objects::organizations(&builder, sizes.users / 50).await;
    ledger::fill(&builder, &users, sizes.activity).await;
    builder.finish().await;
}

/// Prints the size of each table in the lake.
async fn print_tables(lake: &Lake) {
    for spec in TABLES {
        let table = lake.table(spec).await.expect("a table");
        if table.exists() {
            let megabytes = table.bytes() / 1_000_000;
            println!("{:<28}{:>12} rows{:>6} files{megabytes:>6} MB", spec.name, table.rows(), table.file_count());
        }
    }
}

/// Returns the selected queries: those whose name contains an argument, or all if there are no arguments.
fn selected() -> Vec<Query> {
    let parts: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let is_selected = |query: &Query| parts.is_empty() || parts.iter().any(|part| query.name.contains(part.as_str()));
    queries::all().expect("the built-in queries").into_iter().filter(is_selected).collect()
}

/// Runs `query` `runs` times and prints its line of the table.
async fn measure(lake: &Lake, query: &Query, runs: usize) {
    let mut times = Vec::new();
    let mut rows = 0;
    for _ in 0..runs {
        let (time, found) = run(lake, query).await;
        times.push(time);
        rows = found;
    }
    times.sort_unstable();
    let [median, slowest] = [times[runs / 2], times[runs - 1]].map(|time| time.as_secs_f64());
    println!("{:<28}{median:>10.3}{slowest:>12.3}{rows:>8}", query.name);
}

/// Opens the lake and runs `query` once. Returns the time and the number of rows.
async fn run(lake: &Lake, query: &Query) -> (Duration, usize) {
    let parameters = Parameters::at(Clock::system().now());
    let start = Instant::now();
    let context = query::context(lake).await.expect("a lake with tables");
    let batches = query.run(&context, &parameters).await.expect("query results");
    (start.elapsed(), batches.iter().map(RecordBatch::num_rows).sum())
}
