//! `clerk-lake report`.

use std::io::{self, Write};
use std::path::Path;

use clerk_lake::clock::Clock;
use clerk_lake::lake::Lake;
use clerk_lake::query::{Engine, Queries};
use clerk_lake::report::{Report, collect};
use clerk_lake::{Error, ErrorKind, Result};

use super::output::OutputFile;
use super::query_context::{limited, queries};
use super::terminal::{Terminal, check_write};
use super::{arguments, config, console};

/// The file of the page if `--out` is not given.
const DEFAULT_FILE: &str = "clerk-lake-report.html";

/// The line width if the width of the terminal is unknown.
const DEFAULT_WIDTH: usize = 80;

pub async fn run(terminal: &mut Terminal, lakes: Vec<Lake>, arguments: &arguments::ReportArguments) -> Result<()> {
    let queries = queries(arguments.queries.as_deref(), &arguments.limits)?;
    let engine = Engine::parse(&arguments.engine)?;
    let lakes = limited(lakes, &arguments.limits);
    let report = Box::pin(make(&lakes, &engine, &queries, &arguments.param)).await?;
    if arguments.terminal {
        let text = report.terminal(width(), console::colors_stdout());
        check_write(terminal.out().write_all(text.as_bytes()))?;
    }
    let file = arguments.out.as_deref().or((!arguments.terminal).then_some(Path::new(DEFAULT_FILE)));
    match file {
        Some(file) if file == Path::new("-") => check_write(terminal.out().write_all(report.html().as_bytes()))?,
        Some(file) => {
            let bytes = write(&report, file)?;
            terminal.flush();
            if !console::is_quiet() {
                let _ = writeln!(terminal.err(), "wrote {} ({} kB)", file.display(), bytes.div_ceil(1000));
            }
        }
        None => {}
    }
    terminal.flush();
    warn(terminal, &report);
    terminal.try_flush()
}

/// Runs all `queries` over `lakes`, as they are now, on `engine`.
///
/// # Errors
/// As [`collect()`]. Also [`Query`](ErrorKind::Query) if every query fails.
pub async fn make(
    lakes: &[Lake],
    engine: &Engine,
    queries: &Queries,
    parameters: &[(String, String)],
) -> Result<Report> {
    collect(lakes, engine, queries, parameters, Clock::system().now()).await?.if_any()
}

/// Writes the page to `file` atomically. Returns its size in bytes.
///
/// # Errors
/// [`Settings`](ErrorKind::Settings) if the file cannot be created or written.
pub fn write(report: &Report, file: &Path) -> Result<usize> {
    let page = report.html();
    let output = OutputFile::create(file)?;
    let mut writer = output.writer()?;
    writer.write_all(page.as_bytes()).and_then(|()| writer.flush()).map_err(|error| {
        Error::new(ErrorKind::Unreachable, format!("{} cannot be written: {error}", file.display()))
            .with_hint("free disk space, or choose another file with --out")
    })?;
    drop(writer);
    output.persist()?;
    Ok(page.len())
}

/// Prints which queries failed, with their hints.
pub fn warn(terminal: &mut Terminal, report: &Report) {
    if console::is_quiet() {
        return;
    }
    let failures = report.failures();
    let mut hints: Vec<&str> = failures.iter().filter_map(|(_, error)| error.hint()).collect();
    hints.sort_unstable();
    hints.dedup();
    for (name, error) in &failures {
        let _ = writeln!(terminal.err(), "warning: query {name} failed: {error}");
    }
    for hint in hints {
        let _ = writeln!(terminal.err(), "  help: {hint}");
    }
}

/// Returns the width of standard output in columns: the value of `COLUMNS`, or else the width of the terminal.
fn width() -> usize {
    let configured = config::environment("COLUMNS").and_then(|text| text.trim().parse().ok());
    let detected = || terminal_size::terminal_size_of(io::stdout()).map(|(width, _)| usize::from(width.0));
    configured.or_else(detected).unwrap_or(DEFAULT_WIDTH)
}
