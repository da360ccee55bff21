//! `clerk-lake query`.

use std::io::{Read, Write};
use std::path::Path;

use clerk_lake::lake::Lake;
use clerk_lake::query::{self, Engine, Queries};
use clerk_lake::{Error, Result};

use super::arguments::{Format, QueryArguments};
use super::output::{Pager, TableLayout, Target};
use super::query_context::{QueryContext, limited, queries};
use super::shell::{Display, Interrupts, LineEditor, Shell, TextOrigin, describe};
use super::terminal::{Terminal, check_write, is_reader_gone};
use super::{config, console};

pub async fn run(terminal: &mut Terminal, lakes: Vec<Lake>, arguments: QueryArguments) -> Result<()> {
    let queries = queries(arguments.queries.as_deref(), &arguments.limits)?;
    if let Some(name) = &arguments.show {
        return show(terminal, queries.named(name)?);
    }
    if arguments.list {
        return list(terminal, &queries, arguments.format);
    }
    let target = Target::of(arguments.format, arguments.output.as_deref())?;
    let display = display(&arguments);
    let engine = Engine::parse(&arguments.engine)?;
    let origin = if arguments.sql.is_some() { TextOrigin::Argument } else { TextOrigin::File };
    let lakes = limited(lakes, &arguments.limits);
    let text = text(&arguments).await?;
    let context =
        QueryContext::new(lakes, arguments.at, engine, queries).with_changes_since(arguments.changes_since)?;
    let context = if arguments.name.is_none() && text.is_none() { context.with_snapshot_renewal() } else { context };
    let (out, err) = terminal.streams();
    let shell = Shell::new(context, target, display, arguments.param, out, err);
    let outcome = match (arguments.name, text) {
        (Some(name), _) => Box::pin(shell.run_named(&name)).await,
        (None, Some(text)) => Box::pin(shell.run_all(text, origin)).await,
        (None, None) => {
            let mut editor = LineEditor::start();
            Box::pin(shell.repl(&mut editor, Interrupts::listen())).await
        }
    };
    match outcome {
        Err(error) if is_reader_gone(&error) => Ok(()),
        outcome => outcome.and(terminal.try_flush()),
    }
}

/// Returns how results are shown: on a terminal, tables fit into its width.
fn display(arguments: &QueryArguments) -> Display {
    let is_terminal = Terminal::stdout_is_terminal();
    let layout = TableLayout {
        width: Terminal::stdout_width(),
        max_rows: arguments.max_rows,
        is_expanded: arguments.expanded,
        has_styles: console::colors_stdout(),
        is_terminal,
        escapes_formulas: arguments.escape_formulas,
        began: None,
    };
    let is_paged = is_shell(arguments) && !arguments.no_pager;
    let pager = is_paged.then(|| Pager::command(config::environment_or_empty("PAGER"))).flatten();
    Display { layout, shows_timing: is_terminal, pager }
}

/// Whether these arguments open a shell: no query is given, and standard input and output are terminals.
pub fn is_shell(arguments: &QueryArguments) -> bool {
    let QueryArguments { sql, name, file, list, show, .. } = arguments;
    sql.is_none() && name.is_none() && file.is_none() && show.is_none() && !list && Terminal::is_interactive()
}

/// Returns the SQL to run. `None` for `--name` and for a shell.
async fn text(arguments: &QueryArguments) -> Result<Option<query::Query>> {
    match (&arguments.sql, &arguments.file) {
        _ if arguments.name.is_some() || is_shell(arguments) => Ok(None),
        (Some(sql), _) => Ok(Some(query::Query::ad_hoc(sql))),
        (None, Some(file)) if file != Path::new("-") => query::Query::from_file(file).map(Some),
        (None, _) => query::Query::parse("standard input", &standard_input().await?).map(Some),
    }
}

/// Reads all of standard input. The read blocks, so it runs on another thread, where it does not delay an interrupt.
async fn standard_input() -> Result<String> {
    let read = tokio::task::spawn_blocking(|| {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map(|_| text)
    });
    let read = read.await.map_err(|error| Error::bug(format!("standard input: {error}")))?;
    read.map_err(|error| {
        Error::settings(format!("cannot read standard input: {error}")).with_hint("standard input must be SQL in UTF-8")
    })
}

/// Prints the SQL of `query`, with its header.
fn show(terminal: &mut Terminal, query: &query::Query) -> Result<()> {
    check_write(writeln!(terminal.out(), "{}", query.sql.trim_end()))?;
    terminal.try_flush()
}

fn list(terminal: &mut Terminal, queries: &Queries, format: Option<Format>) -> Result<()> {
    let (out, _) = terminal.streams();
    if matches!(format, Some(Format::Json | Format::Ndjson)) {
        check_write(writeln!(out, "{}", describe::queries_as_json(queries)))?;
    } else {
        check_write(describe::queries(queries, out))?;
    }
    terminal.try_flush()
}
