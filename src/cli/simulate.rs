//! `clerk-lake simulate`.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use clap::Args;
use clerk_lake::simulator::{
    ChangeKind, Changes, FaultKind, Faults, List, ListRefusal, RequestLimit, Simulator, SimulatorConfig,
};
use clerk_lake::{Error, Result};

use super::suggest::nearest;
use super::terminal::{Terminal, check_write};

/// Arguments of `simulate`.
#[derive(Debug, Args)]
pub struct SimulateArguments {
    /// Listen on this address
    #[arg(long, default_value = "127.0.0.1:8787")]
    pub address: std::net::SocketAddr,
    /// Simulate this many users
    #[arg(long, default_value_t = 1000)]
    pub users: usize,
    /// Simulate this many organizations
    #[arg(long, default_value_t = 50)]
    pub organizations: usize,
    /// Draw the simulated data from this random seed
    #[arg(long, default_value_t = 42)]
    pub seed: u64,
    /// Accept this secret key
    #[arg(long, env = "CLERK_LAKE_SIMULATED_KEY", default_value = "sk_live_simulated")]
    pub simulated_key: String,
    /// Give the simulated instance this id
    #[arg(long, default_value = "ins_simulated")]
    pub instance: String,
    /// Allow this many requests per 10 s, and respond to others with 429
    #[arg(long, value_name = "REQUESTS")]
    pub limit: Option<u32>,
    /// Wait this many milliseconds before each response
    #[arg(long, default_value_t = 0, value_name = "MS")]
    pub latency: u64,
    /// Add this many microseconds per row that an offset skips
    #[arg(long, default_value_t = 0, value_name = "US")]
    pub offset_cost: u64,
    /// Let a request time out if its offset skips more rows than this
    #[arg(long, value_name = "ROWS")]
    pub offset_limit: Option<usize>,
    /// Refuse to list all sessions at once, as live instances do
    #[arg(long)]
    pub no_plain_sessions: bool,
    /// Respond to organization lists with this HTTP status
    ///
    /// Instances without organizations respond with an error status.
    #[arg(long, value_name = "STATUS")]
    pub organizations_status: Option<u16>,
    /// Refuse a list: `memberships=404`, `invitations=403-text`
    ///
    /// As Clerk does if the feature is off: 402, 400, 403, 422, 404, or
    /// `403-feature` for an error code that begins with `feature_`.
    /// As a gateway does: `403-text`, `404-html`.
    #[arg(long, value_delimiter = ',', value_name = "LIST=STATUS")]
    pub disable: Vec<String>,
    /// Start with this many rows of a list: `memberships=200000`
    #[arg(long, value_delimiter = ',', value_name = "LIST=ROWS")]
    pub rows: Vec<String>,
    /// Silently limit pages to this many rows
    #[arg(long, value_name = "ROWS")]
    pub clamp: Option<usize>,
    /// Inject these kinds of faults in turn; `all` for every kind
    #[arg(long, value_delimiter = ',', value_name = "KIND")]
    pub fault: Vec<String>,
    /// Inject a fault into every Nth request
    #[arg(long, default_value_t = 10, value_name = "N")]
    pub fault_every: u64,
    /// Change the data before every Nth list request
    #[arg(long, value_name = "N")]
    pub change_every: Option<u64>,
    /// Make this many changes each time
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub changes: usize,
}

pub async fn run(terminal: &mut Terminal, arguments: &SimulateArguments) -> Result<()> {
    let config = SimulatorConfig {
        seed: arguments.seed,
        users: arguments.users,
        organizations: arguments.organizations,
        address: arguments.address,
        key: arguments.simulated_key.clone(),
        instance_id: arguments.instance.clone(),
        rate_limit: arguments.limit.map(|requests| RequestLimit {
            requests,
            window: Duration::from_secs(10),
            headers: true,
        }),
        plain_session_listing: !arguments.no_plain_sessions,
        organizations_status: arguments.organizations_status,
        disabled: by_list(&arguments.disable, "--disable", |text| text.parse::<ListRefusal>().ok())?,
        counts: by_list(&arguments.rows, "--rows", |text| text.parse().ok())?,
        latency: Duration::from_millis(arguments.latency),
        offset_cost: Duration::from_micros(arguments.offset_cost),
        offset_limit: arguments.offset_limit,
        clamp: arguments.clamp,
        faults: faults(arguments)?,
        changes: arguments.change_every.map(|every| Changes {
            every,
            per_step: arguments.changes,
            kinds: ChangeKind::ALL.to_vec(),
            most: None,
        }),
        ..SimulatorConfig::default()
    };
    let simulator = Simulator::start(config).await.map_err(|error| {
        Error::settings(format!("the simulator cannot listen on {}: {error}", arguments.address))
            .with_hint("choose another --address; port 0 selects a free port")
    })?;
    let out = terminal.out();
    check_write(writeln!(out, "{}", simulator.url()))?;
    terminal.flush();
    let usage = format!(
        "Serving {} users. In another terminal, run:\n\
         \x20 CLERK_SECRET_KEY={} clerk-lake sync --api-url {}\n\
         Press Ctrl-C to stop.",
        arguments.users,
        arguments.simulated_key,
        simulator.url()
    );
    let _ = writeln!(terminal.err(), "{usage}");
    simulator.stopped().await;
    Ok(())
}

/// Reads arguments of the form `LIST=VALUE`.
fn by_list<T>(texts: &[String], flag: &str, parse: impl Fn(&str) -> Option<T>) -> Result<BTreeMap<List, T>> {
    let read = |text: &String| {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        let list = name.parse::<List>().map_err(|_| unknown_list(flag, name))?;
        let value = parse(value).ok_or_else(|| Error::settings(format!("{flag}: {text:?} has no valid value")))?;
        Ok((list, value))
    };
    texts.iter().map(read).collect()
}

fn unknown_list(flag: &str, name: &str) -> Error {
    let known = List::ALL.map(List::name);
    let error = Error::settings(format!("{flag}: there is no list called {name:?}"));
    match nearest(name, known) {
        Some(meant) => error.with_hint(format!("did you mean {meant}?")),
        None => error.with_hint(format!("the lists are: {}", known.join(", "))),
    }
}

fn faults(arguments: &SimulateArguments) -> Result<Faults> {
    let mut kinds = Vec::new();
    for name in &arguments.fault {
        if name == "all" {
            kinds.extend(FaultKind::ALL);
        } else {
            kinds.push(name.parse::<FaultKind>().map_err(|_| unknown_fault(name))?);
        }
    }
    let every = if kinds.is_empty() { 0 } else { arguments.fault_every };
    Ok(Faults { every, kinds, ..Faults::default() })
}

fn unknown_fault(name: &str) -> Error {
    let known: Vec<_> = FaultKind::ALL.iter().map(ToString::to_string).collect();
    let error = Error::settings(format!("there is no fault called {name:?}"));
    match nearest(name, known.iter().map(String::as_str).chain(["all"])) {
        Some(meant) => error.with_hint(format!("did you mean {meant}?")),
        None => error.with_hint(format!("the faults are: all, {}", known.join(", "))),
    }
}
