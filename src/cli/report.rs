//! `clerk-lake report`.

use std::io::{self, IsTerminal, Write};
use std::path::Path;

use clerk_lake::clock::Clock;
use clerk_lake::lake::Lake;
use clerk_lake::query::{Catalogue, Engine};
use clerk_lake::report::{Report, collect};
use clerk_lake::{Error, ErrorKind, Result};

use super::config;

use super::arguments;
use super::asking::catalogue;
use super::output::OutputFile;
use super::terminal::{Terminal, written};

/// Where the page goes if nothing else is said.
const FILE: &str = "clerk-lake-report.html";

/// How wide lines are where nothing says how wide the terminal is.
const WIDTH: usize = 80;

pub async fn run(terminal: &mut Terminal, lakes: &[Lake], arguments: &arguments::Report) -> Result<()> {
    let catalogue = catalogue(arguments.queries.as_deref())?;
    let engine = Engine::parse(&arguments.engine)?;
    let report = Box::pin(make(lakes, &engine, &catalogue, &arguments.param)).await?;
    if arguments.terminal {
        let text = report.terminal(width(), has_colours());
        written(terminal.out().write_all(text.as_bytes()))?;
    }
    let file = arguments.out.as_deref().or((!arguments.terminal).then_some(Path::new(FILE)));
    match file {
        Some(file) if file == Path::new("-") => written(terminal.out().write_all(report.html().as_bytes()))?,
        Some(file) => {
            let bytes = write(&report, file)?;
            terminal.flush();
            let _ = writeln!(terminal.err(), "{} is written ({} kB)", file.display(), bytes.div_ceil(1000));
        }
        None => {}
    }
    terminal.flush();
    warn(terminal, &report);
    terminal.flushed()
}

/// Asks all queries of `catalogue` over `lakes`, as they are now, on `engine`.
///
/// # Errors
/// As [`collect()`], and [`Query`](ErrorKind::Query) where every query fails.
pub async fn make(
    lakes: &[Lake],
    engine: &Engine,
    catalogue: &Catalogue,
    parameters: &[(String, i64)],
) -> Result<Report> {
    collect(lakes, engine, catalogue, parameters, Clock::system().now()).await?.if_any()
}

/// Writes the page to `file`, which is there whole or as it was before; gives its size in bytes.
///
/// # Errors
/// [`Settings`](ErrorKind::Settings) where there cannot be such a file; [`Unreachable`](ErrorKind::Unreachable)
/// where it cannot be written whole.
pub fn write(report: &Report, file: &Path) -> Result<usize> {
    let page = report.html();
    let output = OutputFile::create(file)?;
    let mut writer = output.writer()?;
    writer.write_all(page.as_bytes()).and_then(|()| writer.flush()).map_err(|error| {
        Error::new(ErrorKind::Unreachable, format!("{} cannot be written: {error}", file.display()))
            .with_hint("make room for it, or name another file with --out")
    })?;
    drop(writer);
    output.put_in_place()?;
    Ok(page.len())
}

/// Says which figures could not be made, and what to do about it.
pub fn warn(terminal: &mut Terminal, report: &Report) {
    let failures = report.failures();
    let mut hints: Vec<&str> = failures.iter().filter_map(|(_, error)| error.hint()).collect();
    hints.sort_unstable();
    hints.dedup();
    for (name, error) in &failures {
        let _ = writeln!(terminal.err(), "warning: {name} could not be made: {error}");
    }
    for hint in hints {
        let _ = writeln!(terminal.err(), "  help: {hint}");
    }
}

/// How many columns standard output has: what `COLUMNS` says, else the terminal.
fn width() -> usize {
    let said = config::environment("COLUMNS").and_then(|text| text.trim().parse().ok());
    let seen = || terminal_size::terminal_size_of(io::stdout()).map(|(width, _)| usize::from(width.0));
    said.or_else(seen).unwrap_or(WIDTH)
}

/// Whether standard output shows colours, and they are wanted (<https://no-color.org>).
fn has_colours() -> bool {
    let unwanted = config::environment("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = config::environment("TERM").is_some_and(|kind| kind == "dumb");
    io::stdout().is_terminal() && !unwanted && !dumb
}
