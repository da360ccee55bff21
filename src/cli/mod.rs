//! The command line: arguments, printing, exit codes. The only code that prints.

mod arguments;
mod demo;
mod output;
mod progress;
mod query;
mod schema;
mod simulate;
mod status;
mod sync;
mod terminal;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};
use clerk_lake::lake::{Lake, Location};
use clerk_lake::{Error, ErrorKind, Result, config};
use tracing_subscriber::EnvFilter;

use arguments::{Cli, Command};
use terminal::Terminal;

/// Runs the command that the arguments name; says how it went by the exit code.
pub fn run() -> ExitCode {
    let mut terminal = Terminal::new();
    let cli = match parse() {
        Ok(Ok(cli)) => cli,
        Ok(Err(usage)) => return Terminal::usage(&usage),
        Err(error) => return terminal.fail(&error),
    };
    log_to_stderr(cli.verbose);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return terminal.fail(&Error::bug(format!("the runtime cannot start: {error}"))),
    };
    let outcome = runtime.block_on(async {
        tokio::select! {
            outcome = command(&mut terminal, cli) => outcome,
            () = interrupted() => Err(Error::new(ErrorKind::Interrupted, "interrupted")
                .with_hint("what was finished is committed; run the same command again to go on")),
        }
    });
    // A stalled connection or a blocked read must not hold up the exit.
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => terminal.fail(&error),
    }
}

async fn command(terminal: &mut Terminal, cli: Cli) -> Result<()> {
    let lake = |text: &str| Location::parse(text).map(Lake::new);
    match cli.command {
        Command::Sync(arguments) => Box::pin(sync::run(terminal, lake(&cli.lake)?, &arguments)).await,
        Command::Query(arguments) => query::run(terminal, &lake(&cli.lake)?, &arguments).await,
        Command::Status(arguments) => status::run(terminal, &lake(&cli.lake)?, &arguments).await,
        Command::Schema(arguments) => schema::run(terminal, &arguments),
        Command::Simulate(arguments) => simulate::run(terminal, &arguments).await,
        Command::Demo(arguments) => Box::pin(demo::run(terminal, &arguments)).await,
    }
}

/// Reads the command line, the settings file's values as its defaults.
fn parse() -> Result<std::result::Result<Cli, clap::Error>> {
    let file = config_file();
    let command = config::with_file(Cli::command(), file.as_deref())?;
    Ok(command.try_get_matches().and_then(|mut matches| Cli::from_arg_matches_mut(&mut matches)))
}

/// The settings file that the user named, found before the command line is parsed for good.
fn config_file() -> Option<PathBuf> {
    let mut arguments = std::env::args_os().skip(1);
    while let Some(argument) = arguments.next() {
        let text = argument.to_string_lossy();
        if text == "--config" {
            return arguments.next().map(PathBuf::from);
        }
        if let Some(path) = text.strip_prefix("--config=") {
            return Some(PathBuf::from(path));
        }
    }
    config::environment("CLERK_LAKE_CONFIG").map(PathBuf::from)
}

fn log_to_stderr(verbose: u8) {
    let default = match verbose {
        0 => "off,clerk_lake=warn",
        1 => "warn,clerk_lake=info,deltalake_core=off",
        2 => "warn,clerk_lake=debug",
        _ => "info,clerk_lake=trace",
    };
    let filter = EnvFilter::try_new(config::environment("CLERK_LAKE_LOG").unwrap_or_default())
        .ok()
        .filter(|_| config::environment("CLERK_LAKE_LOG").is_some())
        .unwrap_or_else(|| EnvFilter::new(default));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false).init();
}

/// Ends when the process is asked to stop: Ctrl-C, or a scheduler's SIGTERM.
async fn interrupted() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let Ok(mut terminated) = signal(SignalKind::terminate()) else {
            let _ = tokio::signal::ctrl_c().await;
            return;
        };
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminated.recv() => {}
        }
    }
    #[cfg(not(unix))]
    let _ = tokio::signal::ctrl_c().await;
}
