//! `clerk-lake check`.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use clap::builder::BoolishValueParser;
use clerk_lake::api::{Client, ClientConfig, DEFAULT_API_URL, RateLimit, RetryPolicy, parse_api_url};
use clerk_lake::harmless::harmless_lines;
use clerk_lake::lake::Lake;
use clerk_lake::resource;
use clerk_lake::sync::{
    Check, CheckReport, CheckStatus, KeyCheck, KeyState, LakeCheck, ListCheck, ListState, Progress, Silent, SyncCost,
    SyncOptions,
};
use clerk_lake::{Error, Result};

use super::progress::{ProgressLines, count};
use super::summary::{about, minutes_text};
use super::terminal::{Terminal, check_write, print_error};
use super::values::{resources, seconds, selected};
use super::{config, console};

/// Arguments of `check`.
#[derive(Debug, Args)]
pub struct CheckArguments {
    /// Check only this resource, `all` or `default`; repeatable
    ///
    /// By default, every list is tried, and the cost is that of the resources that a sync reads by default.
    #[arg(long, alias = "resources", env = "CLERK_LAKE_RESOURCE", value_delimiter = ',', value_name = "NAME", value_parser = resources())]
    pub resource: Vec<String>,
    /// Send requests to Clerk's Backend API at this URL
    #[arg(long, env = "CLERK_LAKE_API_URL", default_value = DEFAULT_API_URL, value_name = "URL")]
    pub api_url: String,
    /// Use this share of the instance's request budget: over 0, up to 1
    #[arg(long, env = "CLERK_LAKE_QUOTA_SHARE", default_value_t = 0.5, value_name = "SHARE")]
    pub quota_share: f64,
    /// Assume that the instance allows N requests per 10 s, or auto, or off
    ///
    /// `auto` uses the limit for the kind of key, or the one in Clerk's response headers. With `off`, only a 429
    /// response slows requests down.
    #[arg(long, env = "CLERK_LAKE_RATE_LIMIT", default_value = "auto", value_name = "N")]
    pub rate_limit: RateLimit,
    /// Retry a request that fails for this long
    #[arg(long, env = "CLERK_LAKE_RETRY_BUDGET", default_value = "8", value_name = "SECONDS", value_parser = seconds)]
    pub retry_budget: Duration,
    /// Print one JSON document to stdout
    #[arg(long, env = "CLERK_LAKE_JSON", value_parser = BoolishValueParser::new())]
    pub json: bool,
}

/// Attempts of a request whose response cannot be understood.
const MALFORMED_ATTEMPTS: u32 = 2;

pub async fn run(
    terminal: &mut Terminal,
    lake: Result<Lake>,
    arguments: &CheckArguments,
    locating_flags: &str,
) -> Result<()> {
    let selection = selected(&arguments.resource);
    let is_selected = !selection.is_empty();
    let check = Check {
        client: client(arguments),
        lake,
        clock: config::clock()?,
        lists: if is_selected { selection.clone() } else { resource::ALL.to_vec() },
        options: SyncOptions {
            resources: if is_selected { selection } else { resource::defaults() },
            ..SyncOptions::default()
        },
        progress: progress(),
    };
    let report = check.run().await;
    if arguments.json {
        let text = serde_json::to_string(&report).map_err(|error| Error::bug(error.to_string()))?;
        check_write(writeln!(terminal.out(), "{text}"))?;
    } else if !console::is_quiet() {
        check_write(print(&report, locating_flags, terminal.out()))?;
    }
    terminal.try_flush()?;
    finish(terminal, &report)
}

fn client(arguments: &CheckArguments) -> Result<Client> {
    let retry = RetryPolicy {
        budget: arguments.retry_budget,
        throttle_budget: arguments.retry_budget,
        malformed_attempts: MALFORMED_ATTEMPTS,
        jitter_seed: u64::from(std::process::id()),
        ..RetryPolicy::default()
    };
    let (quota_share, rate_limit) = (arguments.quota_share, arguments.rate_limit);
    let config = ClientConfig::new(parse_api_url(&arguments.api_url)?, config::secret_key()?);
    Client::new(ClientConfig { quota_share, rate_limit, retry, ..config })
}

fn progress() -> Arc<dyn Progress> {
    if console::is_quiet() { Arc::new(Silent) } else { Arc::new(ProgressLines::new(false)) }
}

/// Prints all problems but the most severe one, which it returns. Of several problems with the same hint, the last one
/// shows it.
fn finish(terminal: &mut Terminal, report: &CheckReport) -> Result<()> {
    let Some(worst) = report.worst() else { return Ok(()) };
    let others = report.problems.iter().filter(|problem| !std::ptr::eq(*problem, worst));
    let ordered: Vec<_> = others.chain([worst]).map(|problem| &problem.error).collect();
    for pair in ordered.windows(2) {
        if pair[0].hint() == pair[1].hint() {
            print_error(terminal.err(), &Error::new(pair[0].kind(), pair[0].message()));
        } else {
            print_error(terminal.err(), pair[0]);
        }
    }
    Err(worst.error.clone())
}

fn print(report: &CheckReport, locating_flags: &str, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{:<4}  {}", "key", key(&report.key))?;
    writeln!(out, "{:<4}  {}", "lake", lake(&report.lake))?;
    print_lists(&report.lists, out)?;
    print_costs(report, out)?;
    if report.status == CheckStatus::Ok {
        writeln!(out, "\nNo problem was found. Next: clerk-lake sync{locating_flags}")?;
    }
    Ok(())
}

fn print_lists(lists: &[ListCheck], out: &mut impl Write) -> io::Result<()> {
    if lists.is_empty() {
        return Ok(());
    }
    if lists.iter().all(|list| list.state == ListState::Unchecked) {
        return writeln!(out, "\nThe lists were not checked, because Clerk has not accepted the key.");
    }
    writeln!(out, "\n{:<24} {:<12} {:>12}  note", "list", "state", "rows")?;
    for ListCheck { name, state, rows, why, is_default } in lists {
        let rows = rows.map_or_else(|| "-".to_owned(), count);
        let is_readable = *state == ListState::Ok;
        let note =
            why.as_deref().or_else(|| (is_readable && !is_default).then_some("a sync reads it only if selected"));
        let line = format!("{name:<24} {:<12} {rows:>12}  {}", state_word(*state), note.unwrap_or_default());
        writeln!(out, "{}", harmless_lines(line.trim_end()))?;
    }
    Ok(())
}

fn key(key: &KeyCheck) -> String {
    let instance = key.instance.as_deref().unwrap_or("an unknown instance");
    let environment = key.environment.as_ref().map(|it| format!(" ({it})")).unwrap_or_default();
    let why = key.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    let text = match key.state {
        KeyState::Ok => format!("ok, of {instance}{environment}{why}"),
        KeyState::Limited => format!("of {instance}{why}"),
        KeyState::Refused => format!("refused{why}"),
        KeyState::Unknown => format!("unknown{why}"),
    };
    harmless_lines(&text).into_owned()
}

fn lake(lake: &LakeCheck) -> String {
    let Some(location) = &lake.location else { return "the location is invalid".to_owned() };
    let is_writable = if lake.is_writable { "can be written" } else { "cannot be written" };
    let content = match (&lake.instance, lake.exists) {
        (Some(instance), _) => format!(", holds {instance}"),
        (None, Some(true)) => ", holds an unknown instance".to_owned(),
        (None, Some(false)) => ", is empty".to_owned(),
        (None, None) => String::new(),
    };
    harmless_lines(&format!("{location} {is_writable}{content}")).into_owned()
}

const fn state_word(state: ListState) -> &'static str {
    match state {
        ListState::Ok => "ok",
        ListState::NotEnabled => "not enabled",
        ListState::Refused => "refused",
        ListState::Failed => "failed",
        ListState::Unchecked => "not checked",
    }
}

fn print_costs(report: &CheckReport, out: &mut impl Write) -> io::Result<()> {
    let (Some(first), Some(hourly)) = (&report.first_sync, &report.hourly_sync) else { return Ok(()) };
    writeln!(out, "\n{:<24} {:>12} {:>12}  time", "cost", "rows", "requests")?;
    for (name, cost) in [("first sync", first), ("hourly sync", hourly)] {
        let rows = cost.resources.iter().map(|resource| resource.rows).sum();
        writeln!(out, "{name:<24} {:>12} {:>12}  {}", about(rows), about(cost.requests), minutes_text(cost.minutes))?;
    }
    print_left_out(first, out)?;
    match report.requests_per_second {
        Some(rate) => writeln!(out, "\nThe times are those of the request budget, {rate:.0} requests per second."),
        None => writeln!(out, "\nThe times are those without a limit on requests."),
    }
}

fn print_left_out(cost: &SyncCost, out: &mut impl Write) -> io::Result<()> {
    if cost.left_out.is_empty() {
        return Ok(());
    }
    writeln!(out, "Not included, because they cannot be read: {}", cost.left_out.join(", "))
}
