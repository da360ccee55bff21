//! The command line: arguments, printing, exit codes. The only code that prints.

mod arguments;
mod check;
mod config;
mod console;
mod demo;
mod demo_arguments;
mod documents;
mod harmless;
mod invocation;
mod maintain;
mod output;
mod progress;
mod query;
mod query_context;
mod report;
mod schema;
mod settings_file;
mod shell;
mod simulate;
mod status;
mod suggest;
mod summary;
mod sync;
mod terminal;
mod values;

use std::process::ExitCode;
use std::time::Duration;

use clerk_lake::lake::{Lake, Location};
use clerk_lake::{Error, ErrorKind, Result};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use arguments::{Cli, Command};
use console::Console;
use terminal::Terminal;

/// The size of the stack of each thread. Planning and running a query is recursive, so long statements need a deep
/// stack. The memory is reserved, and used only as far as the stack grows.
pub const STACK: usize = 256 << 20;

/// Runs the command given by the arguments and returns its exit code.
pub fn run() -> ExitCode {
    let mut terminal = Terminal::new();
    let cli = match invocation::parse(&mut terminal) {
        Ok(Ok(cli)) => cli,
        Ok(Err(usage)) => return Terminal::usage(&usage),
        Err(error) => return terminal.fail(&error),
    };
    console::set(Console { is_quiet: cli.quiet, color: cli.color, hides_progress: cli.no_progress });
    if let Err(error) = log_to_stderr(&cli) {
        return terminal.fail(&error);
    }
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
            if arguments.plan {
                return Box::pin(sync::plan(terminal, lake, &arguments, stop)).await;
            }
            Box::pin(sync::run(terminal, lake, &arguments, &cli.locating_flags, stop)).await
        }
        Command::Check(arguments) => {
            Box::pin(check::run(terminal, single_lake(&lakes), &arguments, &cli.locating_flags)).await
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
        Command::Completions(arguments) => documents::completions(terminal, arguments.shell),
        Command::Man => documents::man(terminal),
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

/// Logs to standard error: what `CLERK_LAKE_LOG` says, or else as much as `--verbose` and `--quiet` ask for.
///
/// # Errors
/// [`Settings`](ErrorKind::Settings) if `CLERK_LAKE_LOG` is not a filter.
fn log_to_stderr(cli: &Cli) -> Result<()> {
    let default = match cli.verbose {
        _ if cli.quiet => "off,clerk_lake=error",
        0 => "off,clerk_lake=warn",
        1 => "warn,clerk_lake=info,deltalake_core=off",
        2 => "warn,clerk_lake=debug",
        _ => "info,clerk_lake=trace",
    };
    let filter = config::environment("CLERK_LAKE_LOG").unwrap_or_else(|| default.to_owned());
    let filter = EnvFilter::try_new(&filter).map_err(|error| {
        Error::settings(format!("CLERK_LAKE_LOG={filter} is not a log filter: {error}"))
            .with_hint("a filter is a level (error, warn, info, debug or trace), or a list such as clerk_lake=debug")
    })?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(console::colors_stderr())
        .with_target(false)
        .init();
    Ok(())
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
