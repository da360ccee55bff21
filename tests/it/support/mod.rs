//! Shared test support: a simulator, a lake in a temporary directory, the real binary, and rows as JSON.

pub mod connections;
pub mod engine_queries;
pub mod expected;
pub mod faulty_store;
pub mod follower;
pub mod ledger;
pub mod s3;
pub mod stub;
pub mod terminal;
pub mod warnings;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta};
use clerk_lake::api::{Client, ClientConfig, RateLimit, RetryPolicy, SecretKey, parse_api_url};
use clerk_lake::clock::Clock;
use clerk_lake::lake::{Lake, Location, MaintenanceOptions};
use clerk_lake::query::{self, Parameters, queries::Query};
use clerk_lake::resource::{self, ACTIVITY_DAYS, Resource};
use clerk_lake::simulator::{Simulator, SimulatorConfig};
use clerk_lake::sync::{CancellationToken, Silent, Summary, SyncJob, SyncOptions};
use serde_json::Value;
use tempfile::TempDir;

/// The key of every simulated instance. It is long enough to be recognized if it leaks.
pub const KEY: &str = "sk_live_n0tAr3alK3y";

/// A simulated instance and an empty lake.
pub struct World {
    pub simulator: Simulator,
    pub directory: TempDir,
    pub options: SyncOptions,
    pub keeping: MaintenanceOptions,
}

impl World {
    /// Starts an instance with a few hundred users.
    pub async fn new() -> Self {
        Self::with(|_| ()).await
    }

    /// Starts an instance with changed settings.
    pub async fn with(change: impl FnOnce(&mut SimulatorConfig)) -> Self {
        // A few months of sessions: each month is one file per sync, in two tables.
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
            // No rolling verification: it would hide what the incremental lists miss.
            options: SyncOptions {
                session_refresh: TimeDelta::zero(),
                verify_every: TimeDelta::zero(),
                ..SyncOptions::default()
            },
            keeping: MaintenanceOptions::default(),
        }
    }

    /// Returns the directory of the lake.
    pub fn path(&self) -> PathBuf {
        self.directory.path().join("lake")
    }

    pub fn lake(&self) -> Lake {
        Lake::new(Location::parse(&self.path().to_string_lossy()).expect("a location")).keeping(self.keeping)
    }

    pub fn client(&self) -> Client {
        Client::new(self.client_config()).expect("a client")
    }

    /// Returns client settings with short waits, so that failures do not slow the tests down.
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

    /// Syncs the resources with these names.
    pub async fn sync_only(&self, names: &[&str]) -> Summary {
        let resources = names.iter().map(|name| named(name)).collect();
        self.sync_with(self.client(), self.lake(), SyncOptions { resources, ..self.options.clone() }).await
    }

    pub async fn sync_with(&self, client: Client, lake: Lake, options: SyncOptions) -> Summary {
        SyncJob {
            client,
            lake,
            clock: self.clock(),
            options,
            progress: Arc::new(Silent),
            stop: CancellationToken::new(),
        }
        .run()
        .await
    }

    /// Returns the clock of a machine whose time is correct. It is fixed if the clock of the instance is.
    pub fn clock(&self) -> Clock {
        let moment = self.simulator.standing_clock().and_then(DateTime::from_timestamp_millis);
        moment.map_or_else(Clock::system, Clock::fixed)
    }

    /// Returns the rows that `sql` returns over the lake.
    pub async fn rows(&self, sql: &str) -> Vec<Value> {
        let context = query::context(&self.lake()).await.expect("a lake with tables");
        let batches = Query::ad_hoc(sql).run(&context, &Parameters::at(Clock::system().now())).await.expect("a query");
        as_json(&batches)
    }

    /// Returns the single number that `sql` returns.
    pub async fn number(&self, sql: &str) -> i64 {
        let rows = self.rows(sql).await;
        rows[0].as_object().and_then(|row| row.values().next()?.as_i64()).expect("a number")
    }

    /// Returns a command of the real program, set up for this lake and this instance.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program(self.directory.path());
        command.env("CLERK_SECRET_KEY", KEY).env("CLERK_LAKE_API_URL", self.simulator.url());
        command.env("CLERK_LAKE_LAKE", self.path()).env("CLERK_LAKE_SESSION_REFRESH", "0").args(arguments);
        if self.simulator.standing_clock().is_some() {
            command.env("CLERK_LAKE_NOW", self.clock().now().to_rfc3339());
        }
        command
    }

    /// Runs the real program without blocking the simulator, which runs in this process.
    pub async fn run(&self, arguments: &[&str]) -> Output {
        output(self.command(arguments)).await
    }
}

/// Whether golden files are rewritten.
#[expect(clippy::disallowed_methods, reason = "a setting of the tests, not of the program")]
pub fn is_blessing() -> bool {
    std::env::var("CLERK_LAKE_BLESS").is_ok_and(|value| !value.is_empty())
}

/// Returns the number in an environment variable; `None` if it is unset or empty.
#[expect(clippy::disallowed_methods, reason = "a setting of the tests, not of the program")]
pub fn env_number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
}

/// Returns the step between the tested cases: 1 if `CLERK_LAKE_EXHAUSTIVE=1`, otherwise `default`.
pub fn sample_step(default: u64) -> u64 {
    if env_number("CLERK_LAKE_EXHAUSTIVE").is_some_and(|on| on > 0) { 1 } else { default }
}

/// Returns all `cases` if `CLERK_LAKE_EXHAUSTIVE=1`, otherwise every second case from index `from` on. Another test of
/// the same cases takes the others.
pub fn every_second<T: Copy>(cases: &[T], from: usize) -> impl Iterator<Item = T> {
    let step = usize::try_from(sample_step(2)).expect("a small number");
    let from = if step == 1 { 0 } else { from };
    cases.iter().copied().skip(from).step_by(step).collect::<Vec<_>>().into_iter()
}

/// Returns a command of the real program that runs in `directory` with a clean environment.
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

/// Converts rows to JSON objects, including nulls.
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

/// Returns every file below `directory`, as its relative path and its content.
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

/// Returns the number of rows that a plain Parquet reader sees: those of `**/part-*.parquet` in the table's directory.
pub fn plain_row_count(lake: &Path, table: &str) -> usize {
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

/// Returns the name of every table that a sync writes if no resources are selected.
pub fn tables() -> impl Iterator<Item = &'static str> {
    let is_written = |name| name == ACTIVITY_DAYS.name || resource::defaults().iter().any(|it| it.table.name == name);
    resource::TABLES.into_iter().map(|spec| spec.name).filter(move |name| is_written(*name))
}
