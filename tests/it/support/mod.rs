//! What the tests share: a simulator, a lake in a directory of its own, the real binary, and rows as JSON.

pub mod expected;
pub mod follower;
pub mod ledger;
pub mod questions;
pub mod s3;
pub mod store;
pub mod stub;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta};
use clerk_lake::api::{Client, ClientConfig, RateLimit, RetryPolicy, SecretKey, parse_api_url};
use clerk_lake::clock::Clock;
use clerk_lake::lake::{Keeping, Lake, Location};
use clerk_lake::query::{self, Parameters, catalogue::Query};
use clerk_lake::resource::{self, REJECTED_ROWS, Resource};
use clerk_lake::simulator::{Simulator, SimulatorConfig};
use clerk_lake::sync::{CancellationToken, Silent, Summary, Sync, SyncOptions};
use serde_json::Value;
use tempfile::TempDir;

/// The key of every simulated instance here; long enough to be found wherever it leaks.
pub const KEY: &str = "sk_live_n0tAr3alK3y";

/// A simulated instance and an empty lake.
pub struct World {
    pub simulator: Simulator,
    pub directory: TempDir,
    pub options: SyncOptions,
    pub keeping: Keeping,
}

impl World {
    /// An instance of a few hundred users.
    pub async fn new() -> Self {
        Self::with(|_| ()).await
    }

    /// The same with its settings changed.
    pub async fn with(change: impl FnOnce(&mut SimulatorConfig)) -> Self {
        // A few months of sessions: each is a file of its own in each sync, and two tables have them.
        let mut config = SimulatorConfig {
            users: 700,
            organizations: 40,
            activity_days: 75,
            key: KEY.to_owned(),
            ..SimulatorConfig::default()
        };
        change(&mut config);
        let simulator = Simulator::start(config).await.expect("the simulator starts");
        Self {
            simulator,
            directory: tempfile::tempdir().expect("a directory"),
            // Rolling verification would hide what the lists of changes miss.
            options: SyncOptions {
                session_refresh: TimeDelta::zero(),
                verify_every: TimeDelta::zero(),
                ..SyncOptions::default()
            },
            keeping: Keeping::default(),
        }
    }

    /// The lake's directory.
    pub fn path(&self) -> PathBuf {
        self.directory.path().join("lake")
    }

    pub fn lake(&self) -> Lake {
        Lake::new(Location::parse(&self.path().to_string_lossy()).expect("a location")).keeping(self.keeping)
    }

    pub fn client(&self) -> Client {
        Client::new(self.client_config()).expect("a client")
    }

    /// Settings with short waits: what is tested is what happens, not how long it takes.
    pub fn client_config(&self) -> ClientConfig {
        ClientConfig {
            rate_limit: RateLimit::Unlimited,
            retry: quick_retries(),
            stall_timeout: Duration::from_millis(400),
            ..ClientConfig::new(
                parse_api_url(&self.simulator.url()).expect("a URL"),
                SecretKey::new(&self.simulator.key()).expect("a key"),
            )
        }
    }

    /// Syncs all resources.
    pub async fn sync(&self) -> Summary {
        self.sync_with(self.client(), self.lake(), self.options.clone()).await
    }

    /// Syncs the resources called `names`.
    pub async fn sync_only(&self, names: &[&str]) -> Summary {
        let resources = names.iter().map(|name| named(name)).collect();
        self.sync_with(self.client(), self.lake(), SyncOptions { resources, ..self.options.clone() }).await
    }

    pub async fn sync_with(&self, client: Client, lake: Lake, options: SyncOptions) -> Summary {
        Sync { client, lake, clock: self.clock(), options, progress: Arc::new(Silent), stop: CancellationToken::new() }
            .run()
            .await
    }

    /// The clock of a machine that is right: where the instance's clock stands still, this one does too.
    pub fn clock(&self) -> Clock {
        let moment = self.simulator.standing_clock().and_then(DateTime::from_timestamp_millis);
        moment.map_or_else(Clock::system, Clock::fixed)
    }

    /// The rows that `sql` gives over the lake.
    pub async fn rows(&self, sql: &str) -> Vec<Value> {
        let session = query::session(&self.lake()).await.expect("a lake with tables");
        let batches = Query::ad_hoc(sql).run(&session, &Parameters::at(Clock::system().now())).await.expect("a query");
        as_json(&batches)
    }

    /// The one number that `sql` gives.
    pub async fn number(&self, sql: &str) -> i64 {
        let rows = self.rows(sql).await;
        rows[0].as_object().and_then(|row| row.values().next()?.as_i64()).expect("a number")
    }

    /// The real program, told of this lake and this instance.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program(self.directory.path());
        command.env("CLERK_SECRET_KEY", KEY).env("CLERK_LAKE_API_URL", self.simulator.url());
        command.env("CLERK_LAKE_LAKE", self.path()).env("CLERK_LAKE_SESSION_REFRESH", "0").args(arguments);
        if self.simulator.standing_clock().is_some() {
            command.env("CLERK_LAKE_NOW", self.clock().now().to_rfc3339());
        }
        command
    }

    /// Runs the real program without holding up the simulator, which lives in this process.
    pub async fn run(&self, arguments: &[&str]) -> Output {
        output(self.command(arguments)).await
    }
}

/// Whether golden files are to be written anew.
#[expect(clippy::disallowed_methods, reason = "a switch of the tests, not a setting of the program")]
pub fn is_blessing() -> bool {
    std::env::var("CLERK_LAKE_BLESS").is_ok_and(|value| !value.is_empty())
}

#[expect(clippy::disallowed_methods, reason = "switches of the test, not settings of the program")]
pub fn switch(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

/// How far apart the cases of an exhaustive test are: all of them if `CLERK_LAKE_EXHAUSTIVE=1`, else one in `default`.
pub fn one_in(default: u64) -> u64 {
    if switch("CLERK_LAKE_EXHAUSTIVE").is_some_and(|on| on > 0) { 1 } else { default }
}

/// All of `cases` if `CLERK_LAKE_EXHAUSTIVE=1`, else every second one, from number `from` on: another test of the same
/// cases takes the others.
pub fn every_second<T: Copy>(cases: &[T], from: usize) -> impl Iterator<Item = T> {
    let apart = usize::try_from(one_in(2)).expect("a small number");
    let from = if apart == 1 { 0 } else { from };
    cases.iter().copied().skip(from).step_by(apart).collect::<Vec<_>>().into_iter()
}

/// The real program in `directory`, with an environment of its own.
pub fn program(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_clerk-lake"));
    command.current_dir(directory).env_clear().env("PATH", "/usr/bin:/bin");
    command
}

pub async fn output(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || command.output().expect("the program runs")).await.expect("the thread ends")
}

pub fn named(name: &str) -> &'static Resource {
    Resource::named(name).expect("a resource")
}

pub fn quick_retries() -> RetryPolicy {
    RetryPolicy {
        budget: Duration::from_secs(20),
        first_wait: Duration::from_millis(2),
        longest_wait: Duration::from_millis(20),
        ..RetryPolicy::default()
    }
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Rows as JSON objects, nulls included.
pub fn as_json(batches: &[arrow::array::RecordBatch]) -> Vec<Value> {
    let mut bytes = Vec::new();
    let mut writer = arrow::json::WriterBuilder::new()
        .with_explicit_nulls(true)
        .build::<_, arrow::json::writer::LineDelimited>(&mut bytes);
    for batch in batches {
        writer.write(batch).expect("rows as JSON");
    }
    writer.finish().expect("rows as JSON");
    let text = String::from_utf8(bytes).expect("text");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// Every file below `directory`, relative to it, with its content.
pub fn files(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut open = vec![directory.to_path_buf()];
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(&next).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else {
                let content = std::fs::read(&path).unwrap_or_default();
                found.push((path.strip_prefix(directory).expect("below").to_path_buf(), content));
            }
        }
    }
    found.sort();
    found
}

/// The lake's content as a plain Parquet reader sees it: the rows of `**/part-*.parquet` in a table's directory.
pub fn plain_rows(lake: &Path, table: &str) -> usize {
    files(&lake.join(table))
        .into_iter()
        .filter(|(path, _)| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            name.starts_with("part-") && path.extension().is_some_and(|it| it == "parquet")
        })
        .map(|(_, content)| {
            use parquet::file::reader::{FileReader, SerializedFileReader};
            let reader = SerializedFileReader::new(bytes::Bytes::from(content)).expect("a Parquet file");
            usize::try_from(reader.metadata().file_metadata().num_rows()).expect("a count")
        })
        .sum()
}

/// The name of every table that a sync of everything writes.
pub fn tables() -> impl Iterator<Item = &'static str> {
    let written = resource::TABLES.into_iter().filter(|spec| spec.name != REJECTED_ROWS.name);
    written.map(|spec| spec.name)
}
