//! A lake after years of small syncs, beside one that has the same rows from one sync: how long it takes to open, to
//! ask and to say what is in it, and how many files there are.
//!
//! `cargo bench --bench years` prints one table, of medians. `CLERK_LAKE_BENCH_USERS` says how many users there are,
//! `CLERK_LAKE_BENCH_COMMITS` how many incremental syncs change some of them (2,000), `CLERK_LAKE_BENCH_RUNS` how
//! often each line is measured. An hour goes by between two syncs, by the simulated clock. Users, and changes of every
//! kind but deletions; the program is the real one.

#![expect(clippy::print_stdout, reason = "the table is what it is for")]

mod clerk;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use clerk::{KEY, Simulator, program, size};

/// What happens between two syncs.
const CHANGES: [(&str, usize); 4] = [("create-user", 3), ("update-profile", 3), ("activity", 10), ("ban", 1)];

fn main() {
    let users = size("CLERK_LAKE_BENCH_USERS", 50_000);
    let commits = size("CLERK_LAKE_BENCH_COMMITS", 2000);
    let runs = size("CLERK_LAKE_BENCH_RUNS", 5).max(1);
    if std::env::args().any(|argument| argument == "--list" || argument == "--test") {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let (old, new) = (directory.path().join("old"), directory.path().join("new"));
    let simulator = Simulator::start(users, &[]);
    let start = Instant::now();
    for _ in 0..commits {
        change(&simulator.url);
        sync(&simulator.url, &old);
    }
    let each = start.elapsed().as_secs_f64() / f64::from(u32::try_from(commits).expect("a number of commits"));
    // The last changes are in both.
    sync(&simulator.url, &old);
    sync(&simulator.url, &new);
    println!("{users} users, {commits} syncs ({each:.2} s each, changes included), medians of {runs}");
    println!("{:<34}{:>12}{:>12}{:>8}", "", "many syncs", "one sync", "ratio");
    line("clerk-lake status, s", runs, &[&old, &new], &["status"]);
    line("count of users (opening it), s", runs, &[&old, &new], &["query", "SELECT count(*) FROM clerk_user"]);
    line("daily active users, s", runs, &[&old, &new], &["query", "--name", "daily_active_users"]);
    let [many, one] = [&old, &new].map(|lake| f64::from(u32::try_from(data_files(lake)).expect("a number of files")));
    println!("{:<34}{many:>12}{one:>12}{:>8.2}", "data files", many / one);
    let [many, one] = [&old, &new].map(|lake| answer(lake));
    assert_eq!(many, one, "both lakes hold the same rows");
}

/// Lets an hour go by and makes some changes, as `curl` would.
fn change(url: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let http = reqwest::Client::new();
        let hour = http.post(format!("{url}/_simulator/clock?advance=3600000"));
        hour.send().await.expect("an answer").error_for_status().expect("a clock");
        for (kind, count) in CHANGES {
            let address = format!("{url}/_simulator/change?kind={kind}&count={count}");
            http.post(address).send().await.expect("an answer").error_for_status().expect("a change");
        }
    });
}

fn sync(url: &str, lake: &Path) {
    let arguments = ["sync", "--resource", "users", "--rate-limit", "off", "--api-url", url];
    run(clerk_lake(lake, &arguments).env("CLERK_SECRET_KEY", KEY));
}

fn clerk_lake(lake: &Path, arguments: &[&str]) -> Command {
    let mut command = program();
    command.args(arguments).arg("--lake").arg(lake).stdin(Stdio::null());
    command
}

/// Runs it to its end; gives what it prints.
fn run(command: &mut Command) -> String {
    let output = command.output().expect("the program runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What tells two lakes apart: rows and what they add up to.
fn answer(lake: &Path) -> String {
    let sql = "SELECT count(*), sum(length(coalesce(first_name, ''))), max(updated_at), count(DISTINCT id), \
        count(*) FILTER (WHERE banned) FROM clerk_user";
    run(&mut clerk_lake(lake, &["query", "--format", "csv", sql]))
}

fn line(name: &str, runs: usize, lakes: &[&Path; 2], arguments: &[&str]) {
    let [many, one] = lakes.map(|lake| median(runs, || drop(run(&mut clerk_lake(lake, arguments)))).as_secs_f64());
    println!("{name:<34}{many:>12.3}{one:>12.3}{:>8.2}", many / one);
}

fn median(runs: usize, work: impl Fn()) -> Duration {
    let mut times: Vec<Duration> = (0..runs)
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[times.len() / 2]
}

fn data_files(lake: &Path) -> usize {
    let mut open = vec![lake.join("clerk_user")];
    let mut files = 0;
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("an entry").path()) {
            if entry.is_dir() && !entry.ends_with("_delta_log") {
                open.push(entry);
            } else if entry.extension().is_some_and(|extension| extension == "parquet") {
                files += 1;
            }
        }
    }
    files
}
