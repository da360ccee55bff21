//! Measures a full sync of users by the program, and compares it with the parts of its work.
//!
//! The parts are the download, parsing the JSON and writing Parquet. A single thread of this process runs each part on
//! its own.
//!
//! `cargo bench --bench sync` prints one table of medians. `CLERK_LAKE_BENCH_USERS` sets the number of users,
//! `CLERK_LAKE_BENCH_RUNS` the number of runs per line. The bench holds all pages in memory, about 3 KB per user. It
//! reads times and memory from `/proc` and therefore requires Linux.

#![expect(clippy::print_stdout, reason = "the bench prints its results")]

mod clerk;
mod pages;
mod parse;
mod rows;

use std::fs::File;
use std::hint::black_box;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};

use clerk::{KEY, Simulator, program, size};
use pages::{body, list_users};

/// Length of a clock tick in `/proc`: 10 ms on every Linux.
const TICK: Duration = Duration::from_millis(10);

/// Interval at which the running program is polled.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Time and memory that a piece of work took.
#[derive(Clone, Copy)]
struct Cost {
    wall: Duration,
    /// CPU time of all threads, in user mode and in the kernel.
    cpu: Duration,
    /// Peak memory; 0 if unknown.
    peak_kib: u64,
}

fn main() {
    if !is_selected() {
        return;
    }
    let users = size("CLERK_LAKE_BENCH_USERS", 250_000);
    let runs = size("CLERK_LAKE_BENCH_RUNS", 5).max(1);
    let simulator = Simulator::start(users, &[]);
    let sync = medians(runs, || sync(&simulator.url, users));
    let parts = parts(&simulator.url, runs);
    print(users, runs, sync, &parts);
}

/// Returns whether the arguments select this bench. `cargo bench -- FILTER` passes the filter to every bench.
fn is_selected() -> bool {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runs_nothing = arguments.iter().any(|argument| argument == "--list" || argument == "--test");
    let filters: Vec<_> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    !runs_nothing && (filters.is_empty() || filters.iter().any(|filter| "sync".contains(filter.as_str())))
}

/// Runs one full sync by the program into an empty lake.
fn sync(url: &str, users: usize) -> Cost {
    let directory = tempfile::tempdir().expect("a directory");
    let (out, err) = (directory.path().join("stdout"), directory.path().join("stderr"));
    let start = Instant::now();
    let mut child = program()
        .args(["sync", "--resource", "users", "--full", "--rate-limit", "off", "--json", "--api-url", url, "--lake"])
        .arg(directory.path().join("lake"))
        .env("CLERK_SECRET_KEY", KEY)
        .stdin(Stdio::null())
        .stdout(File::create(&out).expect("a file"))
        .stderr(File::create(&err).expect("a file"))
        .spawn()
        .expect("the program starts");
    let cost = watch(child.id(), start);
    let status = child.wait().expect("the program ends");
    assert!(status.success(), "{}", std::fs::read_to_string(&err).unwrap_or_default());
    let summary = std::fs::read(&out).expect("the summary");
    let summary: Value = serde_json::from_slice(&summary).expect("the summary is JSON");
    assert_eq!(summary["resources"][0]["rows_total"], Value::from(users), "{summary}");
    cost
}

/// Polls a process until it ends.
///
/// The caller must not have waited for the process, so that its times remain readable.
fn watch(id: u32, start: Instant) -> Cost {
    let (times_file, memory_file) = (format!("/proc/{id}/stat"), format!("/proc/{id}/status"));
    let mut peak_kib = 0;
    loop {
        let (has_ended, cpu) = times(Path::new(&times_file));
        if has_ended {
            return Cost { wall: start.elapsed(), cpu, peak_kib };
        }
        peak_kib = peak(Path::new(&memory_file)).unwrap_or(peak_kib);
        std::thread::sleep(POLL_INTERVAL);
    }
}

/// Returns whether a process or thread has ended, and its CPU time so far.
fn times(stat: &Path) -> (bool, Duration) {
    let text = std::fs::read_to_string(stat).expect("a file of /proc");
    // The name in parentheses may contain any character, even `)`. The state and numbers follow it.
    let (_, fields) = text.rsplit_once(')').expect("a name in parentheses");
    let fields: Vec<_> = fields.split_whitespace().collect();
    let ticks = |at: usize| fields[at].parse::<u32>().expect("a number of ticks");
    (fields[0] == "Z", TICK * (ticks(11) + ticks(12)))
}

/// Returns the peak memory of a process in KiB; `None` if the process has ended.
fn peak(status: &Path) -> Option<u64> {
    let text = std::fs::read_to_string(status).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches("kB").trim_end().parse().ok()
}

/// Measures the parts of a sync's work, one after the other, on one thread.
fn parts(url: &str, runs: usize) -> [(&'static str, Cost); 3] {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let http = reqwest::Client::new();
    let list = runtime.block_on(list_users(&http, url));
    let download = medians(runs, || cost_of(|| download(&runtime, &http, &list.addresses)));
    let parse = medians(runs, || cost_of(|| parse_all(&list.pages)));
    // Each page is dropped once its batch is decoded.
    let batches: Vec<_> = list.pages.into_iter().map(|page| rows::in_file(&rows::decode(&page))).collect();
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("users.parquet");
    let write = medians(runs, || {
        cost_of(|| {
            black_box(rows::write_file(&file, &batches, rows::lake_properties()));
        })
    });
    [("download", download), ("parse JSON", parse), ("write Parquet", write)]
}

fn download(runtime: &Runtime, http: &reqwest::Client, addresses: &[String]) {
    runtime.block_on(async {
        for address in addresses {
            black_box(body(http, address).await);
        }
    });
}

fn parse_all(pages: &[Bytes]) {
    for page in pages {
        black_box(parse::users(page));
    }
}

/// Returns what `work` costs on this thread.
fn cost_of(work: impl FnOnce()) -> Cost {
    let own = Path::new("/proc/thread-self/stat");
    let (start, (_, before)) = (Instant::now(), times(own));
    work();
    Cost { wall: start.elapsed(), cpu: times(own).1.saturating_sub(before), peak_kib: 0 }
}

/// Calls `run` `runs` times and returns the median of each value separately.
fn medians(runs: usize, run: impl Fn() -> Cost) -> Cost {
    let costs: Vec<Cost> = (0..runs).map(|_| run()).collect();
    Cost {
        wall: middle(costs.iter().map(|cost| cost.wall)),
        cpu: middle(costs.iter().map(|cost| cost.cpu)),
        peak_kib: middle(costs.iter().map(|cost| cost.peak_kib)),
    }
}

fn middle<T: Ord + Copy>(values: impl Iterator<Item = T>) -> T {
    let mut values: Vec<T> = values.collect();
    values.sort_unstable();
    values[values.len() / 2]
}

fn print(users: usize, runs: usize, sync: Cost, parts: &[(&str, Cost)]) {
    println!("full sync of {users} users, medians of {runs} runs");
    println!("{:<28}{:>10}{:>10}", "", "wall s", "CPU s");
    line("clerk-lake sync", sync.wall, sync.cpu);
    for (name, cost) in parts {
        line(&format!("  bare: {name}"), cost.wall, cost.cpu);
    }
    let wall: Duration = parts.iter().map(|(_, cost)| cost.wall).sum();
    let cpu: Duration = parts.iter().map(|(_, cost)| cost.cpu).sum();
    line("  sum of the bare parts", wall, cpu);
    let per_second = f64::from(u32::try_from(users).expect("fewer than 2^32 users")) / sync.wall.as_secs_f64();
    println!("CPU time of the sync relative to the parts: {:.2}", sync.cpu.as_secs_f64() / cpu.as_secs_f64());
    println!("users per second: {per_second:.0}");
    println!("peak memory of the sync: {} MiB", sync.peak_kib / 1024);
}

fn line(name: &str, wall: Duration, cpu: Duration) {
    println!("{name:<28}{:>10.2}{:>10.2}", wall.as_secs_f64(), cpu.as_secs_f64());
}
