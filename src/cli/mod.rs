//! The command line: arguments, printing, exit codes. The only code that prints.

mod arguments;
mod config;
mod demo;
mod maintain;
mod output;
mod progress;
mod query;
mod query_context;
mod report;
mod schema;
mod shell;
mod simulate;
mod status;
mod sync;
mod terminal;
mod values;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::parser::ValueSource;
use clap::{CommandFactory, FromArgMatches};
use clerk_lake::lake::{Lake, Location};
use clerk_lake::{Error, ErrorKind, Result};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use arguments::{Cli, Command};
use terminal::Terminal;

/// The size of the stack of each thread. Planning and running a query is recursive, so long statements need a deep
/// stack. The memory is reserved, and used only as far as the stack grows.
pub const STACK: usize = 256 << 20;

/// Runs the command given by the arguments and returns its exit code.
pub fn run() -> ExitCode {
    let mut terminal = Terminal::new();
    let cli = match parse(&mut terminal) {
        Ok(Ok(cli)) => cli,
        Ok(Err(usage)) => return Terminal::usage(&usage),
        Err(error) => return terminal.fail(&error),
    };
    log_to_stderr(cli.verbose);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().thread_stack_size(STACK).build() {
        Ok(runtime) => runtime,
        Err(error) => return terminal.fail(&Error::bug(format!("cannot start the async runtime: {error}"))),
    };
    let outcome = runtime.block_on(run_until_interrupted(&mut terminal, cli));
    // A stalled connection or a blocked read must not delay the exit.
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => terminal.fail(&error),
    }
}

/// How long an interrupted run may take to finish the commit in progress.
const GRACE_PERIOD: Duration = Duration::from_secs(8);

/// Runs the command until it ends or a signal arrives.
///
/// After the first signal, `sync` and `demo` get [`GRACE_PERIOD`] to stop. A second signal ends them at once. Every
/// other command ends at the first signal.
async fn run_until_interrupted(terminal: &mut Terminal, cli: Cli) -> Result<()> {
    let stop = CancellationToken::new();
    if matches!(&cli.command, Command::Query(arguments) if query::is_shell(arguments)) {
        // The shell handles Ctrl-C itself: it discards the typed input, or cancels the running statement.
        return Box::pin(dispatch(terminal, cli, stop)).await;
    }
    let stops_by_itself = matches!(cli.command, Command::Sync(_) | Command::Demo(_));
    let is_server = matches!(cli.command, Command::Simulate(_));
    let mut signals = Signals::listen();
    let mut work = std::pin::pin!(dispatch(terminal, cli, stop.clone()));
    tokio::select! {
        outcome = &mut work => return outcome,
        () = signals.next() => {}
    }
    if is_server {
        return Ok(());
    }
    if !stops_by_itself {
        return Err(Error::new(ErrorKind::Interrupted, "interrupted"));
    }
    stop.cancel();
    tokio::select! {
        _ = &mut work => {}
        () = signals.next() => {}
        () = tokio::time::sleep(GRACE_PERIOD) => {}
    }
    Err(Error::interrupted())
}

async fn dispatch(terminal: &mut Terminal, cli: Cli, stop: CancellationToken) -> Result<()> {
    let lakes = cli.lake;
    match cli.command {
        Command::Sync(arguments) => {
            let lake = single_lake(&lakes)?.keeping(arguments.keep.into());
            Box::pin(sync::run(terminal, lake, &arguments, stop)).await
        }
        Command::Query(arguments) => Box::pin(query::run(terminal, all_lakes(&lakes)?, arguments)).await,
        Command::Report(arguments) => Box::pin(report::run(terminal, all_lakes(&lakes)?, &arguments)).await,
        Command::Status(arguments) => status::run(terminal, &single_lake(&lakes)?, &arguments).await,
        Command::Maintain(arguments) => {
            let lake = single_lake(&lakes)?.keeping(arguments.keep.into());
            Box::pin(maintain::run(terminal, &lake, arguments.repair)).await
        }
        Command::Schema(arguments) => schema::run(terminal, &arguments),
        Command::Simulate(arguments) => simulate::run(terminal, &arguments).await,
        Command::Demo(arguments) => Box::pin(demo::run(terminal, &arguments, stop)).await,
    }
}

/// Returns every lake given by `--lake`. Opens none of them.
fn all_lakes(lakes: &[String]) -> Result<Vec<Lake>> {
    lakes.iter().map(|lake| Location::parse(lake).map(Lake::new)).collect()
}

/// Returns the lake for a command that works on exactly one.
///
/// # Errors
/// [`Settings`](ErrorKind::Settings) if several lakes are given.
fn single_lake(lakes: &[String]) -> Result<Lake> {
    match lakes {
        [lake] => Location::parse(lake).map(Lake::new),
        _ => Err(Error::settings(format!("this command works on one lake, but {} are given", lakes.len()))
            .with_hint("give one --lake; only clerk-lake query and clerk-lake report can read several lakes")),
    }
}

/// Parses the command line. Values from the settings files are the defaults of the flags.
fn parse(terminal: &mut Terminal) -> Result<std::result::Result<Cli, clap::Error>> {
    let file = config_file();
    let settings = config::with_files(Cli::command(), file.as_deref())?;
    let mut matches = match settings.command.try_get_matches() {
        Ok(matches) => matches,
        Err(usage) => return Ok(Err(usage)),
    };
    let name = matches.subcommand_name().unwrap_or_default().to_owned();
    let source = |id: &str| {
        let (_, of_command) = matches.subcommand()?;
        of_command.try_contains_id(id).is_ok_and(|is_there| is_there).then(|| of_command.value_source(id)).flatten()
    };
    let is_default = |id: &str| source(id) == Some(ValueSource::DefaultValue);
    if settings.sets_api_url && is_default("api_url") {
        return Err(untrusted_api_url());
    }
    if settings.sets_lake && is_default("lake") && !matches!(name.as_str(), "schema" | "simulate" | "demo") {
        let of_command = matches.subcommand().map(|(_, of_command)| of_command);
        let lakes = of_command.and_then(|of_command| of_command.get_many::<String>("lake"));
        let lakes: Vec<_> = lakes.into_iter().flatten().map(String::as_str).collect();
        let _ = writeln!(terminal.err(), "lake: {}, from {}", lakes.join(", "), config::DEFAULT_FILE);
    }
    Ok(Cli::from_arg_matches_mut(&mut matches))
}

/// `api_url` is refused from the settings file of the working directory: that file may come from someone else, who must
/// not be able to redirect the secret key.
fn untrusted_api_url() -> Error {
    let own =
        config::user_file().map_or_else(|| "your own settings file".to_owned(), |path| path.display().to_string());
    Error::settings(format!(
        "api_url is not accepted from {} in the working directory, because it decides where the secret key is sent",
        config::DEFAULT_FILE
    ))
    .with_hint(format!(
        "use --api-url, set CLERK_LAKE_API_URL, move the setting to {own}, or name the file explicitly: --config {}",
        config::DEFAULT_FILE
    ))
}

/// Returns the settings file given by `--config` or `CLERK_LAKE_CONFIG`.
///
/// It is needed before the command line is parsed, because it provides the defaults.
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
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(Terminal::stderr_is_terminal())
        .with_target(false)
        .init();
}

/// Signals that ask the program to stop: SIGINT (Ctrl-C), or SIGTERM from a scheduler.
struct Signals {
    #[cfg(unix)]
    terminated: Option<tokio::signal::unix::Signal>,
    #[cfg(unix)]
    interrupted: Option<tokio::signal::unix::Signal>,
}

impl Signals {
    fn listen() -> Self {
        #[cfg(unix)]
        use tokio::signal::unix::{SignalKind, signal};
        Self {
            #[cfg(unix)]
            terminated: signal(SignalKind::terminate()).ok(),
            #[cfg(unix)]
            interrupted: signal(SignalKind::interrupt()).ok(),
        }
    }

    #[cfg(unix)]
    async fn next(&mut self) {
        async fn received(signal: Option<&mut tokio::signal::unix::Signal>) {
            match signal {
                Some(signal) => drop(signal.recv().await),
                None => std::future::pending().await,
            }
        }
        tokio::select! {
            () = received(self.terminated.as_mut()) => {}
            () = received(self.interrupted.as_mut()) => {}
        }
    }

    #[cfg(not(unix))]
    async fn next(&mut self) {
        let _ = tokio::signal::ctrl_c().await;
    }
}
