//! `clerk-lake sync`.

use std::io::Write;
use std::sync::Arc;

use clerk_lake::api::{Client, ClientConfig, RetryPolicy, parse_api_url};
use clerk_lake::lake::Lake;
use clerk_lake::resource::{self, Resource};
use clerk_lake::sync::{Extent, Progress, Summary, SyncJob, SyncOptions};
use clerk_lake::{Error, Result};

use super::config;
use tokio_util::sync::CancellationToken;

use super::arguments;
use super::progress::{ProgressBars, ProgressLines, outcome};
use super::terminal::{Terminal, check_write};

pub async fn run(
    terminal: &mut Terminal,
    lake: Lake,
    arguments: &arguments::SyncArguments,
    stop: CancellationToken,
) -> Result<()> {
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
    let sync = SyncJob { client, lake, clock: config::clock()?, options, progress, stop };
    let summary = sync.run().await;
    print(terminal, &summary, arguments.json)?;
    finish(&summary)
}

fn options(arguments: &arguments::SyncArguments) -> SyncOptions {
    let resources: Vec<&'static Resource> =
        arguments.resource.iter().filter_map(|name| Resource::named(name)).collect();
    SyncOptions {
        extent: match arguments.since {
            _ if arguments.full => Extent::Full,
            Some(since) => Extent::Since(since),
            None => Extent::Changes,
        },
        lanes: arguments.lanes,
        fresh: arguments.fresh,
        resources: if resources.is_empty() { resource::ALL.to_vec() } else { resources },
        dau_lookback_days: arguments.dau_lookback_days,
        session_lookback_days: arguments.session_lookback_days,
        session_refresh: arguments.session_refresh,
        verify_every: arguments.verify_every,
        max_shrink: arguments.max_shrink,
        max_rejected: arguments.max_rejected,
    }
}

/// Returns bars if standard error is a terminal, and plain lines otherwise.
pub fn progress(client: &Client) -> Arc<dyn Progress> {
    if Terminal::stderr_is_terminal() {
        Arc::new(ProgressBars::new(client.clone()))
    } else {
        Arc::new(ProgressLines::new())
    }
}

/// Prints the summary of a run.
pub fn print(terminal: &mut Terminal, summary: &Summary, json: bool) -> Result<()> {
    let out = terminal.out();
    if json {
        let text = serde_json::to_string(summary).map_err(|error| Error::bug(error.to_string()))?;
        check_write(writeln!(out, "{text}"))?;
    } else if summary.began {
        for resource in &summary.resources {
            check_write(writeln!(out, "{}", outcome(resource)))?;
        }
    }
    terminal.try_flush()
}

/// Returns the worst failure of the run as an error. [`print`] has printed the others.
pub fn finish(summary: &Summary) -> Result<()> {
    summary.worst().map_or(Ok(()), |error| Err(error.clone()))
}
