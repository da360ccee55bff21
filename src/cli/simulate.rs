//! `clerk-lake simulate`.

use std::io::Write;
use std::time::Duration;

use clerk_lake::simulator::{ChangeKind, Changes, FaultKind, Faults, RequestLimit, Simulator, SimulatorConfig};
use clerk_lake::{Error, Result};

use super::arguments::SimulateArguments;
use super::terminal::{Terminal, check_write};

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
    check_write(writeln!(terminal.err(), "{usage}"))?;
    simulator.stopped().await;
    Ok(())
}

fn faults(arguments: &SimulateArguments) -> Result<Faults> {
    let mut kinds = Vec::new();
    for name in &arguments.fault {
        if name == "all" {
            kinds.extend(FaultKind::ALL);
        } else {
            kinds.push(name.parse::<FaultKind>().map_err(|_| {
                let known: Vec<_> = FaultKind::ALL.iter().map(ToString::to_string).collect();
                Error::settings(format!("there is no fault called {name:?}"))
                    .with_hint(format!("the faults are: all, {}", known.join(", ")))
            })?);
        }
    }
    let every = if kinds.is_empty() { 0 } else { arguments.fault_every };
    Ok(Faults { every, kinds, ..Faults::default() })
}
