//! `clerk-lake demo`: syncs 60 simulated days, then prints a chart and writes a report.

use std::io::{ErrorKind, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use chrono::{DateTime, NaiveTime, TimeDelta, Utc};
use clerk_lake::api::{Client, ClientConfig, RateLimit, SecretKey, parse_api_url};
use clerk_lake::clock::Clock;
use clerk_lake::lake::{Lake, Location};
use clerk_lake::query::{self, Engine, Parameters, Queries, queries};
use clerk_lake::resource::{self, DAILY_ACTIVE_USERS, ORGANIZATIONS, Resource, SESSIONS, TABLES, USER_ACTIVITY, USERS};
use clerk_lake::simulator::{Life, Simulator, SimulatorConfig};
use clerk_lake::sync::{Silent, Summary, SyncJob, SyncOptions};
use clerk_lake::{Error, Result};
use tokio_util::sync::CancellationToken;

use super::console;
use super::demo_arguments::DemoArguments;
use super::invocation::shell_word;
use super::progress::count;
use super::summary::{LEGEND, print_rows};
use super::sync::finish;
use super::terminal::{Terminal, check_write};

/// The id of the simulated instance. A directory is replaced only if its tables come from this instance.
const INSTANCE: &str = "ins_demo";

/// The name of the report file in the demo's directory.
const REPORT: &str = "report.html";

/// The length of the longest bar of the chart, in characters.
const BAR_WIDTH: usize = 50;

/// Days for which the instance has been in use before the first sync.
const DAYS_BEFORE: i64 = 60;

/// Time of the daily syncs, after midnight UTC. The day before is over then.
const SYNC_TIME: TimeDelta = TimeDelta::minutes(10);

/// Number of days in the chart.
const CHART_DAYS: i64 = 30;

pub async fn run(terminal: &mut Terminal, arguments: &DemoArguments, stop: CancellationToken) -> Result<()> {
    let location = Location::parse(&arguments.directory.to_string_lossy())?;
    // The demo can be run again, so its tables need not survive a power failure.
    let lake = Lake::new(location).with_fsync(false);
    clear(&lake).await?;
    let begun = Instant::now();
    let now = Clock::system().now();
    let mut instance = DemoInstance::start(now, arguments).await?;
    let days = arguments.days;
    print_line(
        terminal,
        &format!("Syncing {days} days of a simulated Clerk instance into {}, once a day …", lake.location()),
    )?;
    let midnight = now.date_naive().and_time(NaiveTime::MIN).and_utc();
    let times = (0..days).rev().map(|days| midnight - TimeDelta::days(days.into()) + SYNC_TIME);
    for at in times.filter(|at| *at < now) {
        finish(&instance.sync(at, &lake, daily(), stop.clone()).await?)?;
    }
    let summary = instance.sync(now, &lake, resource::defaults(), stop).await?;
    let seconds = begun.elapsed().as_secs_f64();
    print_line(terminal, &format!("{} syncs in {seconds:.1} s. The last one ({LEGEND}):\n", instance.syncs))?;
    if !console::is_quiet() {
        check_write(print_rows(&summary, terminal.out()))?;
    }
    finish(&summary)?;
    chart(terminal, &lake, now).await?;
    // The directory may be written with ~ or as a URL, in which case it is not a path.
    let is_path = arguments.directory.is_dir();
    let directory = lake.location().directory().filter(|_| !is_path).unwrap_or(&arguments.directory);
    report(terminal, &lake, &directory.join(REPORT)).await?;
    next_steps(terminal, &lake)
}

/// Returns the resources that the daily syncs read: those from which activity is recorded day by day, and organizations.
/// The last sync reads all of the default ones.
fn daily() -> Vec<&'static Resource> {
    vec![&USERS, &ORGANIZATIONS, &SESSIONS, &DAILY_ACTIVE_USERS, &USER_ACTIVITY]
}

/// The simulated instance, the activity of its users, and the syncs from it.
struct DemoInstance {
    simulator: Simulator,
    life: Life,
    client: Client,
    syncs: usize,
}

impl DemoInstance {
    async fn start(now: DateTime<Utc>, arguments: &DemoArguments) -> Result<Self> {
        let days = DAYS_BEFORE + i64::from(arguments.days);
        let start = (now - TimeDelta::days(days)).timestamp_millis();
        let config = SimulatorConfig {
            users: 0,
            organizations: 0,
            key: "sk_live_demo".to_owned(),
            instance_id: INSTANCE.to_owned(),
            now: Some(start),
            ..SimulatorConfig::default()
        };
        let simulator = Simulator::start(config)
            .await
            .map_err(|error| Error::bug(format!("cannot start the simulator: {error}")))?;
        let config = ClientConfig::new(parse_api_url(&simulator.url())?, SecretKey::new(&simulator.key())?);
        let client = Client::new(ClientConfig { rate_limit: RateLimit::Unlimited, ..config })?;
        let life = Life::new(start, days, arguments.users);
        let life = match arguments.organizations {
            Some(organizations) => life.with_organizations(organizations, arguments.users),
            None => life,
        };
        Ok(Self { simulator, life, client, syncs: 0 })
    }

    /// Simulates activity up to `at`, then syncs these resources.
    async fn sync(
        &mut self,
        at: DateTime<Utc>,
        lake: &Lake,
        resources: Vec<&'static Resource>,
        stop: CancellationToken,
    ) -> Result<Summary> {
        let until = at.timestamp_millis();
        self.simulator.with_model(|model| self.life.advance(model, until));
        self.simulator.set(|config| config.now = Some(until));
        self.syncs += 1;
        let sync = SyncJob {
            client: self.client.clone(),
            lake: lake.clone(),
            clock: Clock::fixed(at),
            options: SyncOptions { resources, ..SyncOptions::default() },
            progress: Arc::new(Silent),
            stop,
        };
        Ok(sync.run().await)
    }
}

/// Removes the tables of an earlier demo, and nothing else.
async fn clear(lake: &Lake) -> Result<()> {
    let Some(directory) = lake.location().directory() else {
        return Err(
            Error::settings("the demo writes only to a local directory").with_hint("choose another --directory")
        );
    };
    for spec in TABLES {
        let table = lake.table(spec).await?;
        if table.exists() && table.instance().as_deref() != Some(INSTANCE) {
            return Err(Error::settings(format!(
                "{} contains a lake that the demo did not create",
                directory.display()
            ))
            .with_hint("choose another --directory"));
        }
    }
    for spec in TABLES {
        match std::fs::remove_dir_all(directory.join(spec.name)) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(Error::settings(format!("cannot replace {}: {error}", directory.display()))
                    .with_hint("choose another --directory"));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Prints a bar chart of the daily active users of the last 30 days.
async fn chart(terminal: &mut Terminal, lake: &Lake, now: DateTime<Utc>) -> Result<()> {
    let context = query::context(lake).await?;
    let parameters = Parameters::at(now).with("lookback_days", CHART_DAYS);
    let batches = queries::builtin("active_users")?.run(&context, &parameters).await?;
    let days: Vec<(String, i64)> = batches.iter().flat_map(days).collect();
    let max = days.iter().map(|(_, users)| *users).max().unwrap_or(0).max(1);
    print_line(terminal, "\nDaily active users (UTC)\n")?;
    let today = now.date_naive().to_string();
    for (day, users) in days {
        let length = usize::try_from(users).unwrap_or(0) * BAR_WIDTH / usize::try_from(max).unwrap_or(1);
        let (bar, note) = if day == today { ("▒", " so far") } else { ("█", "") };
        print_line(terminal, &format!("{day}  {:>7}  {}{note}", count(users.unsigned_abs()), bar.repeat(length)))?;
    }
    Ok(())
}

/// Writes the report to the directory of the tables.
async fn report(terminal: &mut Terminal, lake: &Lake, file: &Path) -> Result<()> {
    let lakes = std::slice::from_ref(lake);
    let report = Box::pin(super::report::make(lakes, &Engine::Local, &Queries::builtin()?, &[])).await?;
    super::report::write(&report, file)?;
    print_line(terminal, &format!("\nReport, to open in a browser: {}", file.display()))?;
    super::report::warn(terminal, &report);
    Ok(())
}

/// Returns the days of the built-in query `active_users` with their numbers of users.
fn days(batch: &RecordBatch) -> Vec<(String, i64)> {
    let options = FormatOptions::default();
    let (Some(dates), Some(users)) = (batch.column_by_name("date"), batch.column_by_name("dau")) else {
        return Vec::new();
    };
    let Ok(dates) = ArrayFormatter::try_new(dates.as_ref(), &options) else { return Vec::new() };
    let Some(users) = users.as_primitive_opt::<Int64Type>() else { return Vec::new() };
    (0..batch.num_rows())
        .map(|row| (dates.value(row).to_string(), if users.is_null(row) { 0 } else { users.value(row) }))
        .collect()
}

fn next_steps(terminal: &mut Terminal, lake: &Lake) -> Result<()> {
    let lake = shell_word(&lake.location().to_string());
    let program = shell_word(&std::env::args().next().unwrap_or_else(|| "clerk-lake".to_owned()));
    print_line(
        terminal,
        &format!(
            "\nTry next\n\
         \x20 {program} query --lake {lake} \"SELECT status, count(*) FROM clerk_session GROUP BY status\"\n\
         \x20 {program} query --lake {lake} --name sign_ups --format csv\n\
         \x20 {program} report --lake {lake} --terminal\n\
         \x20 {program} status --lake {lake}\n\
         \x20 {program} schema\n\
         With your own instance\n\
         \x20 CLERK_SECRET_KEY=sk_live_… {program} sync"
        ),
    )?;
    terminal.flush();
    Ok(())
}

fn print_line(terminal: &mut Terminal, text: &str) -> Result<()> {
    if console::is_quiet() {
        return Ok(());
    }
    check_write(writeln!(terminal.out(), "{text}"))?;
    terminal.try_flush()
}
