//! `clerk-lake sync`.

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clerk_lake::api::{Client, ClientConfig, RetryPolicy, parse_api_url};
use clerk_lake::lake::Lake;
use clerk_lake::resource;
use clerk_lake::sync::{Extent, Progress, Silent, Summary, SyncJob, SyncOptions};
use clerk_lake::{Error, Result};
use tokio_util::sync::CancellationToken;

use super::progress::{ProgressBars, ProgressLines};
use super::summary::{print_plan, print_summary};
use super::terminal::{Terminal, check_write, print_error};
use super::values::selected;
use super::{arguments, config, console};

pub async fn run(
    terminal: &mut Terminal,
    lake: Lake,
    arguments: &arguments::SyncArguments,
    locating_flags: &str,
    stop: CancellationToken,
) -> Result<()> {
    let begun = Instant::now();
    let summary = job(lake, arguments, stop)?.run_with_second_try().await;
    let printed = print(terminal, &summary, begun.elapsed(), arguments.json, locating_flags);
    finish(&summary).and(printed)
}

/// Prints what a sync would do, and writes nothing.
pub async fn plan(
    terminal: &mut Terminal,
    lake: Lake,
    arguments: &arguments::SyncArguments,
    stop: CancellationToken,
) -> Result<()> {
    let plan = job(lake, arguments, stop)?.plan().await?;
    if arguments.json {
        let text = serde_json::to_string(&plan).map_err(|error| Error::bug(error.to_string()))?;
        check_write(writeln!(terminal.out(), "{text}"))?;
    } else {
        check_write(print_plan(&plan, terminal.out()))?;
    }
    terminal.try_flush()
}

fn job(lake: Lake, arguments: &arguments::SyncArguments, stop: CancellationToken) -> Result<SyncJob> {
    let api_url = parse_api_url(&arguments.api_url)?;
    let config = ClientConfig {
        quota_share: arguments.quota_share,
        rate_limit: arguments.rate_limit,
        retry: RetryPolicy {
            budget: arguments.retry_budget,
            jitter_seed: u64::from(std::process::id()),
            ..RetryPolicy::default()
        },
        ..ClientConfig::new(api_url, config::secret_key()?)
    };
    let client = Client::new(config)?;
    let (progress, options) = (progress(&client), options(arguments));
    Ok(SyncJob { client, lake, clock: config::clock()?, options, progress, stop })
}

fn options(arguments: &arguments::SyncArguments) -> SyncOptions {
    let resources = selected(&arguments.resource);
    SyncOptions {
        extent: match arguments.since {
            _ if arguments.full => Extent::Full,
            Some(since) => Extent::Since(since),
            None => Extent::Changes,
        },
        lanes: arguments.lanes,
        fresh: arguments.fresh,
        resources: if resources.is_empty() { resource::defaults() } else { resources },
        dau_lookback_days: arguments.dau_lookback_days,
        session_lookback_days: arguments.session_lookback_days,
        session_refresh: arguments.session_refresh,
        verify_every: arguments.verify_every,
        max_shrink: arguments.max_shrink,
        max_rejected: arguments.max_rejected,
    }
}

/// Returns bars if standard error is a terminal, and plain lines otherwise.
fn progress(client: &Client) -> Arc<dyn Progress> {
    if console::is_quiet() {
        Arc::new(Silent)
    } else if console::shows_progress() && console::stderr_can_redraw() {
        Arc::new(ProgressBars::new(client.clone()))
    } else {
        Arc::new(ProgressLines::new(console::shows_progress()))
    }
}

/// Prints the summary of a run. With `--quiet`, prints only failures that [`finish`] does not return.
fn print(
    terminal: &mut Terminal,
    summary: &Summary,
    elapsed: Duration,
    json: bool,
    locating_flags: &str,
) -> Result<()> {
    if json {
        let text = serde_json::to_string(summary).map_err(|error| Error::bug(error.to_string()))?;
        check_write(writeln!(terminal.out(), "{text}"))?;
    } else if console::is_quiet() {
        let worst = summary.worst().map(Error::message);
        let failures = summary.resources.iter().filter_map(|resource| resource.failure.as_ref());
        let mut others: Vec<_> = failures.filter(|error| Some(error.message()) != worst).collect();
        others.dedup_by_key(|error| error.message());
        for error in others {
            print_error(terminal.err(), error);
        }
    } else if summary.began {
        check_write(print_summary(summary, elapsed, locating_flags, terminal.out()))?;
    }
    terminal.try_flush()
}

/// Returns the worst failure of the run as an error. The summary has the others.
pub fn finish(summary: &Summary) -> Result<()> {
    summary.worst().map_or(Ok(()), |error| Err(error.clone()))
}
