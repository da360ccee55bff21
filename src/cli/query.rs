//! `clerk-lake query`.

use std::io::{Read, Write};
use std::path::Path;

use clerk_lake::clock::Clock;
use clerk_lake::lake::Lake;
use clerk_lake::query::{Engine, Parameters, catalogue, session_of_changes};
use clerk_lake::{Error, ErrorKind, Result};

use super::arguments::Query;
use super::output::Sink;
use super::terminal::{Terminal, written};

pub async fn run(terminal: &mut Terminal, lake: &Lake, arguments: &Query) -> Result<()> {
    if arguments.list {
        return list(terminal);
    }
    let mut parameters = Parameters::at(Clock::system().now());
    for (name, value) in &arguments.param {
        parameters = parameters.with(name, *value);
    }
    let query = match (&arguments.sql, &arguments.name, &arguments.file) {
        (_, Some(name), _) => catalogue::builtin(name)?,
        (Some(sql), ..) => catalogue::Query::ad_hoc(sql),
        (_, _, Some(file)) => catalogue::Query::ad_hoc(&read(file)?),
        (None, None, None) => {
            return Err(Error::settings("nothing to ask: give SQL, --name or --file")
                .with_hint("clerk-lake query 'SELECT count(*) FROM clerk_user', or clerk-lake query --list"));
        }
    };
    let engine = Engine::parse(&arguments.engine)?;
    if !arguments.changes_since.is_empty() && engine != Engine::Local {
        return Err(
            Error::settings("--changes-since cannot be asked of another engine").with_hint("leave --engine out")
        );
    }
    let mut again = 1;
    let printed = loop {
        let session = match arguments.changes_since.as_slice() {
            [] => engine.session(lake, arguments.at).await?,
            since => Box::pin(session_of_changes(lake, &query.sql, since)).await?,
        };
        let plan = query.plan(&session, &parameters).await?;
        let mut sink = Sink::new(arguments.format, terminal.out());
        match sink.print(plan).await {
            // A sync has replaced files that this snapshot reads; as long as nothing is printed, start anew.
            Err(error) if error.kind() == ErrorKind::Conflict && arguments.at.is_some() => break Err(not_kept()),
            Err(error) if error.kind() == ErrorKind::Conflict && sink.is_untouched() && again > 0 => again -= 1,
            other => break other.and_then(|schema| sink.finish(&schema)),
        }
    };
    printed.and(terminal.flushed())
}

fn not_kept() -> Error {
    Error::new(ErrorKind::Query, "the lake no longer has the files that it had then")
        .with_hint("a lake keeps as much of its past as --history says: sync with --history 30d, for example")
}

fn list(terminal: &mut Terminal) -> Result<()> {
    let out = terminal.out();
    for query in catalogue::all()? {
        let parameters: Vec<_> = query.parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
        written(writeln!(
            out,
            "{}{}{}",
            query.name,
            if parameters.is_empty() { "" } else { "  " },
            parameters.join(" ")
        ))?;
        written(writeln!(out, "    {}", query.description))?;
    }
    terminal.flushed()
}

fn read(file: &Path) -> Result<String> {
    let mut text = String::new();
    let read = if file == Path::new("-") {
        std::io::stdin().read_to_string(&mut text).map(|_| ())
    } else {
        std::fs::read_to_string(file).map(|found| text = found)
    };
    read.map_err(|error| {
        Error::settings(format!("the query file {} cannot be read: {error}", file.display()))
            .with_hint("name a file that holds SQL, or - for standard input")
    })?;
    Ok(text)
}
