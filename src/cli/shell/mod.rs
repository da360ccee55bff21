//! Statements and commands, one after the other: typed, from a file, or from standard input.

mod commands;
mod completion;
pub mod describe;
mod interrupts;
mod lines;
mod statements;

use std::io::Write;
use std::time::Instant;

use clerk_lake::query::{Parameters, Query};
use clerk_lake::{Error, ErrorKind, Result};

use super::arguments::Format;
use super::asking::Asking;
use super::output::{Target, format_of};
use super::progress::count;
use super::terminal::{complain, written};
use commands::{COMMANDS, Command};
use completion::Words;
use lines::{Line, Lines};
use statements::{Piece, Statements};

pub use interrupts::Interrupts;
pub use lines::Typed;

/// What follows a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    GoOn,
    /// The lake has been opened anew.
    Refreshed,
    Leave,
}

/// Runs statements and commands.
pub struct Shell<'t> {
    asking: Asking,
    /// Where results go.
    target: Target,
    /// How rows are printed where they go to no file.
    format: Format,
    /// Values for the statements' `$name`s.
    given: Vec<(String, i64)>,
    /// What the file that statements come from says in its header.
    file: Query,
    out: &'t mut (dyn Write + Send),
    err: &'t mut (dyn Write + Send),
    /// Whether somebody sits there.
    is_typed_at: bool,
    tells_time: bool,
}

impl<'t> Shell<'t> {
    /// A shell that prints rows to `out`, and talks to `err`.
    pub fn new(
        asking: Asking,
        target: Target,
        given: Vec<(String, i64)>,
        out: &'t mut (dyn Write + Send),
        err: &'t mut (dyn Write + Send),
    ) -> Self {
        let format = if target.file.is_some() { Format::Table } else { target.format };
        let file = Query::default();
        Self { asking, target, format, given, file, out, err, is_typed_at: false, tells_time: false }
    }

    /// Runs the query of the catalogue that is called `name`.
    ///
    /// # Errors
    /// As [`Asking::print`], and [`Settings`](clerk_lake::ErrorKind::Settings) where there is none.
    pub async fn run_named(mut self, name: &str) -> Result<()> {
        let query = self.asking.catalogue().named(name)?.clone();
        let parameters = self.parameters();
        self.asking.narrow(&query.sql);
        self.ask(&query, &parameters).await
    }

    /// Runs all statements and commands of a text, up to the first that fails. What its header says of parameters
    /// counts for all of them.
    ///
    /// # Errors
    /// As [`Asking::print`], and [`Settings`](clerk_lake::ErrorKind::Settings) where there is nothing to run, or there
    /// are several results and only one fits where they are to go.
    pub async fn run_all(mut self, text: Query) -> Result<()> {
        let pieces = Statements::all(&text.sql);
        let results = results_for_one_place(&pieces);
        if pieces.is_empty() {
            return Err(Error::settings("nothing to ask: give SQL, --name or --file")
                .with_hint("clerk-lake query 'SELECT count(*) FROM clerk_user', or clerk-lake query --list"));
        }
        if results > 1 && self.target.holds_one_result() {
            return Err(Error::settings(format!("there are {results} statements, and room for one result"))
                .with_hint("give one statement, or print their rows as csv or ndjson"));
        }
        self.parameters().check_used_in(&text.sql, &text.parameters)?;
        self.asking.narrow(&text.sql);
        self.file = text;
        for piece in pieces {
            if self.obey(piece).await? == Next::Leave {
                break;
            }
        }
        Ok(())
    }

    /// Talks with whoever types, until they leave.
    ///
    /// # Errors
    /// Where the lakes cannot be opened, or Ctrl-C comes before they are, or there can be no lines; what a statement
    /// fails with is said, and no error.
    pub async fn converse(mut self, lines: &mut impl Lines, mut interrupts: Interrupts) -> Result<()> {
        self.is_typed_at = true;
        let words = tokio::select! {
            words = self.greet() => words?,
            () = interrupts.next() => return Err(Error::new(ErrorKind::Interrupted, "interrupted")),
        };
        lines.know(words);
        let mut statements = Statements::default();
        loop {
            written(self.out.flush())?;
            let line = match lines.next(statements.prompt()).await {
                Line::Text(line) => line,
                Line::Interrupted => {
                    statements.clear();
                    continue;
                }
                Line::End => return Ok(()),
                Line::Failed(why) => return Err(Error::settings(format!("this terminal cannot be read: {why}"))),
            };
            for piece in pieces_of(&mut statements, &line) {
                lines.remember(&typed(&piece));
                interrupts.forget();
                let outcome = tokio::select! {
                    outcome = self.obey(piece) => Some(outcome),
                    () = interrupts.next() => None,
                };
                match outcome {
                    Some(Ok(Next::Leave)) => return Ok(()),
                    Some(Ok(Next::Refreshed)) => lines.know(self.words().await?),
                    Some(Ok(Next::GoOn)) => {}
                    Some(Err(error)) => self.complain(&error),
                    None => self.say("cancelled"),
                }
            }
        }
    }

    /// Opens the lakes and says which they are; gives what can be completed.
    async fn greet(&mut self) -> Result<Words> {
        let instances = self.asking.snapshot().await?.instances();
        let names: Vec<_> = instances.iter().map(|instance| instance.name.clone()).collect();
        let version = env!("CARGO_PKG_VERSION");
        self.say(&format!("clerk-lake {version}, asking {}. \\? lists the commands, \\q leaves.", names.join(", ")));
        self.words().await
    }

    async fn words(&mut self) -> Result<Words> {
        let queries = self.asking.catalogue().queries().map(|query| query.name.clone()).collect();
        Box::pin(describe::words(self.asking.snapshot().await?, queries)).await
    }

    async fn obey(&mut self, piece: Piece) -> Result<Next> {
        match piece {
            Piece::Sql(sql) => {
                let query = Query { name: String::new(), sql, ..self.file.clone() };
                let parameters = self.parameters().used_in(&query.sql);
                Box::pin(self.ask(&query, &parameters)).await?;
                Ok(Next::GoOn)
            }
            Piece::Command(text) => Box::pin(self.command(Command::parse(&text)?)).await,
        }
    }

    async fn command(&mut self, command: Command) -> Result<Next> {
        match command {
            Command::Tables => {
                let (catalogue, snapshot) = (self.asking.catalogue().clone(), self.asking.snapshot().await?);
                written(describe::tables(snapshot, &catalogue, self.out)?)?;
            }
            Command::Columns(name) => {
                let (catalogue, snapshot) = (self.asking.catalogue().clone(), self.asking.snapshot().await?);
                written(describe::columns(snapshot, &catalogue, &name, self.out).await?)?;
            }
            Command::Queries => written(describe::queries(self.asking.catalogue(), self.out))?,
            Command::Run { name, values } => {
                let query = self.asking.catalogue().named(&name)?.clone();
                let own = self.parameters().used_in(&query.sql);
                let parameters = values.into_iter().fold(own, |all, (name, value)| all.with(name, value));
                self.ask(&query, &parameters).await?;
            }
            Command::Refresh => {
                self.asking.forget();
                self.asking.snapshot().await?;
                return Ok(Next::Refreshed);
            }
            Command::Quit => return Ok(Next::Leave),
            Command::Help => {
                for (usage, what) in COMMANDS {
                    written(writeln!(self.out, "{usage:<32} {what}"))?;
                }
                written(writeln!(self.out, "{:<32} a statement, over as many lines as it takes", "SELECT ...;"))?;
            }
            Command::Format(_) | Command::Output(_) | Command::Timing(_) => self.set(command)?,
        }
        Ok(Next::GoOn)
    }

    /// Sets how rows are printed, where they go, and whether times are told.
    fn set(&mut self, command: Command) -> Result<()> {
        match command {
            Command::Format(Some(format)) => {
                self.target = Target::of(Some(format), self.target.file.as_deref())?;
                self.format = format;
            }
            Command::Output(Some(file)) => {
                let format = format_of(&file).unwrap_or(self.format);
                self.target = Target::of(Some(format), Some(&file))?;
            }
            Command::Output(None) => self.target = Target::of(Some(self.format), None)?,
            Command::Timing(on) => self.tells_time = on.unwrap_or(!self.tells_time),
            _ => {}
        }
        let place = self.target.file.as_ref().map_or("here".to_owned(), |file| format!("to {}", file.display()));
        let format = format!("{:?}", self.target.format).to_lowercase();
        let time = if self.tells_time { ", and how long it takes" } else { "" };
        self.say(&format!("results go {place}, as {format}{time}"));
        Ok(())
    }

    async fn ask(&mut self, query: &Query, parameters: &Parameters) -> Result<()> {
        let began = Instant::now();
        let rows = self.asking.print(query, parameters, &self.target, self.out).await?;
        let rows = format!("{} {}", count(rows), if rows == 1 { "row" } else { "rows" });
        let place = self.target.file.as_ref().map(|file| format!(" to {}", file.display())).unwrap_or_default();
        let time = format!("{:.3} s", began.elapsed().as_secs_f64());
        match (self.is_typed_at, self.tells_time) {
            (_, true) => self.say(&format!("{rows}{place}, {time}")),
            (true, false) => self.say(&format!("{rows}{place}")),
            (false, false) => {}
        }
        Ok(())
    }

    /// Values for what is asked now.
    fn parameters(&self) -> Parameters {
        let now = Parameters::at(self.asking.now());
        self.given.iter().fold(now, |all, (name, value)| all.with(name.clone(), *value))
    }

    /// Says something, below the rows that have been printed.
    fn say(&mut self, text: &str) {
        let _ = self.out.flush();
        let _ = writeln!(self.err, "{text}");
    }

    fn complain(&mut self, error: &Error) {
        let _ = self.out.flush();
        complain(self.err, error);
    }
}

/// What ends in `line`. As people expect it of a shell, two words leave it without a backslash.
/// How many of `pieces` give rows before any of them says where these are to go.
fn results_for_one_place(pieces: &[Piece]) -> usize {
    let is_command = |piece: &Piece, name: &str| matches!(piece, Piece::Command(text) if text.split_whitespace().next() == Some(name));
    let of_one_place = pieces.iter().take_while(|piece| !is_command(piece, "\\o"));
    of_one_place.filter(|piece| matches!(piece, Piece::Sql(_)) || is_command(piece, "\\run")).count()
}

fn pieces_of(statements: &mut Statements, line: &str) -> Vec<Piece> {
    let word = line.trim().trim_end_matches(';');
    if statements.is_free() && matches!(word, "exit" | "quit") {
        return vec![Piece::Command("\\q".to_owned())];
    }
    statements.take(line)
}

/// A piece as the history keeps it: as it may be typed again.
fn typed(piece: &Piece) -> String {
    match piece {
        // Behind a comment, the end must be on a line of its own.
        Piece::Sql(sql) if sql.lines().next_back().is_some_and(|line| line.contains("--")) => {
            format!("{}\n;", sql.trim())
        }
        Piece::Sql(sql) => format!("{};", sql.trim()),
        Piece::Command(text) => text.clone(),
    }
}

#[cfg(test)]
mod tests;
