//! `clerk-lake query`.

use std::io::Read;
use std::path::Path;

use clerk_lake::lake::Lake;
use clerk_lake::query::{self, Catalogue, Engine};
use clerk_lake::{Error, Result};

use super::arguments::{Format, Query};
use super::asking::{Asking, catalogue};
use super::output::Target;
use super::shell::{Interrupts, Shell, Typed, describe};
use super::terminal::{Terminal, written};

pub async fn run(terminal: &mut Terminal, lakes: Vec<Lake>, arguments: Query) -> Result<()> {
    let catalogue = catalogue(arguments.queries.as_deref())?;
    if arguments.list {
        return list(terminal, &catalogue, arguments.format);
    }
    let target = Target::of(arguments.format, arguments.output.as_deref())?;
    let engine = Engine::parse(&arguments.engine)?;
    let text = text(&arguments).await?;
    let asking = Asking::new(lakes, arguments.at, engine, catalogue).of_changes(arguments.changes_since)?;
    let asking = if arguments.name.is_none() && text.is_none() { asking.renewing() } else { asking };
    let (out, err) = terminal.streams();
    let shell = Shell::new(asking, target, arguments.param, out, err);
    let outcome = match (arguments.name, text) {
        (Some(name), _) => Box::pin(shell.run_named(&name)).await,
        (None, Some(text)) => Box::pin(shell.run_all(text)).await,
        (None, None) => {
            let mut lines = Typed::listen();
            Box::pin(shell.converse(&mut lines, Interrupts::listen())).await
        }
    };
    outcome.and(terminal.flushed())
}

/// Whether these arguments ask for a shell: they say nothing to ask, and somebody sits there.
pub fn is_shell(arguments: &Query) -> bool {
    let Query { sql, name, file, list, .. } = arguments;
    sql.is_none() && name.is_none() && file.is_none() && !list && Terminal::is_typed_at()
}

/// What is to be asked in SQL; none for a query of the catalogue, and for a shell.
async fn text(arguments: &Query) -> Result<Option<query::Query>> {
    match (&arguments.sql, &arguments.file) {
        _ if arguments.name.is_some() || is_shell(arguments) => Ok(None),
        (Some(sql), _) => Ok(Some(query::Query::ad_hoc(sql))),
        (None, Some(file)) if file != Path::new("-") => query::Query::from_file(file).map(Some),
        (None, _) => query::Query::parse("standard input", &standard_input().await?).map(Some),
    }
}

/// All of standard input. Waiting for it blocks, and must not hold up an interruption.
async fn standard_input() -> Result<String> {
    let read = tokio::task::spawn_blocking(|| {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map(|_| text)
    });
    let read = read.await.map_err(|error| Error::bug(format!("standard input: {error}")))?;
    read.map_err(|error| {
        Error::settings(format!("standard input cannot be read: {error}")).with_hint("it must hold SQL, as UTF-8")
    })
}

fn list(terminal: &mut Terminal, catalogue: &Catalogue, format: Option<Format>) -> Result<()> {
    let (out, _) = terminal.streams();
    if matches!(format, Some(Format::Json | Format::Ndjson)) {
        written(writeln!(out, "{}", describe::queries_as_json(catalogue)))?;
    } else {
        written(describe::queries(catalogue, out))?;
    }
    terminal.flushed()
}
