//! `clerk-lake demo`: simulator, sync, queries and report in one go.

use std::io::{ErrorKind, Write};
use std::path::Path;
use std::time::Instant;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use clerk_lake::api::{Client, ClientConfig, SecretKey, parse_api_url};
use clerk_lake::clock::Clock;
use clerk_lake::lake::{Lake, Location};
use clerk_lake::query::{self, Catalogue, Engine, Parameters, catalogue};
use clerk_lake::resource::TABLES;
use clerk_lake::simulator::{Simulator, SimulatorConfig};
use clerk_lake::sync::{Sync, SyncOptions};
use clerk_lake::{Error, Result};
use tokio_util::sync::CancellationToken;

use super::arguments::Demo;
use super::progress::count;
use super::sync::{finish, print, progress};
use super::terminal::{Terminal, written};

/// The instance that the demo simulates; a directory is only ever replaced if its tables come from it.
const INSTANCE: &str = "ins_demo";

/// The file in the demo's directory that holds the report.
const REPORT: &str = "report.html";

/// How wide the longest bar of the chart is, in characters.
const WIDTH: usize = 50;

pub async fn run(terminal: &mut Terminal, arguments: &Demo, stop: CancellationToken) -> Result<()> {
    let lake = Lake::new(Location::parse(&arguments.directory.to_string_lossy())?);
    clear(&lake).await?;
    let start = Instant::now();
    let config = SimulatorConfig {
        users: arguments.users,
        organizations: arguments.organizations,
        key: "sk_live_demo".to_owned(),
        instance_id: INSTANCE.to_owned(),
        ..SimulatorConfig::default()
    };
    let simulator =
        Simulator::start(config).await.map_err(|error| Error::bug(format!("the simulator cannot start: {error}")))?;
    say(
        terminal,
        &format!(
            "A simulated Clerk instance with {} users and {} organizations listens on {}.",
            count(arguments.users as u64),
            count(arguments.organizations as u64),
            simulator.url()
        ),
    )?;
    let client = Client::new(ClientConfig::new(parse_api_url(&simulator.url())?, SecretKey::new(&simulator.key())?))?;
    let sync = Sync {
        progress: progress(&client),
        client,
        lake: lake.clone(),
        clock: Clock::system(),
        options: SyncOptions::default(),
        stop,
    };
    let summary = sync.run().await;
    say(terminal, &format!("Synced into {} in {:.1} s:\n", summary.lake, start.elapsed().as_secs_f64()))?;
    print(terminal, &summary, false)?;
    finish(&summary)?;
    chart(terminal, &lake).await?;
    report(terminal, &lake, &arguments.directory.join(REPORT)).await?;
    next_steps(terminal, &lake)
}

/// Removes the tables that an earlier demo wrote, and nothing else.
async fn clear(lake: &Lake) -> Result<()> {
    let Some(directory) = lake.location().directory() else {
        return Err(Error::settings("the demo writes to a directory").with_hint("choose another --directory"));
    };
    for spec in TABLES {
        let table = lake.table(spec).await?;
        if table.exists() && table.instance().as_deref() != Some(INSTANCE) {
            return Err(Error::settings(format!("{} holds a lake that no demo has written", directory.display()))
                .with_hint("choose another --directory"));
        }
    }
    for spec in TABLES {
        match std::fs::remove_dir_all(directory.join(spec.name)) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(Error::settings(format!("{} cannot be replaced: {error}", directory.display()))
                    .with_hint("choose another --directory"));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Draws the daily active users of the last 30 days.
async fn chart(terminal: &mut Terminal, lake: &Lake) -> Result<()> {
    let session = query::session(lake).await?;
    let query = catalogue::Query::ad_hoc("SELECT date, daily_active_users FROM clerk_daily_active_users ORDER BY date");
    let batches = query.run(&session, &Parameters::at(Clock::system().now())).await?;
    let days: Vec<(String, i64)> = batches.iter().flat_map(days).collect();
    let most = days.iter().map(|(_, users)| *users).max().unwrap_or(0).max(1);
    say(terminal, "\nDaily active users (by each user's last activity, UTC)\n")?;
    for (day, users) in days {
        let length = usize::try_from(users).unwrap_or(0) * WIDTH / usize::try_from(most).unwrap_or(1);
        say(terminal, &format!("{day}  {:>8}  {}", count(users.unsigned_abs()), "█".repeat(length)))?;
    }
    Ok(())
}

/// Writes the report beside the tables.
async fn report(terminal: &mut Terminal, lake: &Lake, file: &Path) -> Result<()> {
    let lakes = std::slice::from_ref(lake);
    let report = Box::pin(super::report::make(lakes, &Engine::Local, &Catalogue::builtin()?, &[])).await?;
    super::report::write(&report, file)?;
    say(terminal, &format!("\nThe report, for a browser: {}", file.display()))?;
    super::report::warn(terminal, &report);
    Ok(())
}

fn days(batch: &RecordBatch) -> Vec<(String, i64)> {
    let options = FormatOptions::default();
    let Ok(dates) = ArrayFormatter::try_new(batch.column(0).as_ref(), &options) else { return Vec::new() };
    let users = batch.column(1).as_primitive::<Int64Type>();
    (0..batch.num_rows())
        .map(|row| (dates.value(row).to_string(), if users.is_null(row) { 0 } else { users.value(row) }))
        .collect()
}

fn next_steps(terminal: &mut Terminal, lake: &Lake) -> Result<()> {
    let lake = lake.location();
    let program = std::env::args().next().unwrap_or_else(|| "clerk-lake".to_owned());
    say(
        terminal,
        &format!(
            "\nTry next\n\
         \x20 {program} query --lake {lake} \"SELECT status, count(*) FROM clerk_session GROUP BY status\"\n\
         \x20 {program} query --lake {lake} --name sign_ups --format csv\n\
         \x20 {program} report --lake {lake} --terminal\n\
         \x20 {program} status --lake {lake}\n\
         \x20 {program} schema\n\
         And with your own instance\n\
         \x20 CLERK_SECRET_KEY=sk_live_… {program} sync"
        ),
    )?;
    terminal.flush();
    Ok(())
}

fn say(terminal: &mut Terminal, text: &str) -> Result<()> {
    written(writeln!(terminal.out(), "{text}"))?;
    terminal.flush();
    Ok(())
}
