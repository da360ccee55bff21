//! Runs statements and backslash commands: typed in a shell, or from an argument, a file or standard input.

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
use super::output::{Target, format_of};
use super::progress::count;
use super::query_context::QueryContext;
use super::terminal::{check_write, print_error};
use commands::{COMMANDS, MetaCommand};
use completion::CompletionWords;
use lines::{InputLine, LineSource};
use statements::{Statement, StatementSplitter};

pub use interrupts::Interrupts;
pub use lines::LineEditor;

/// What to do after a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Continue,
    /// The lake has been reopened: continue with its new names.
    Refreshed,
    Quit,
}

/// Runs statements and commands.
pub struct Shell<'t> {
    context: QueryContext,
    /// The format and the destination of results.
    target: Target,
    /// The format of rows that do not go to a file.
    format: Format,
    /// Values of the `$name` parameters of statements.
    values: Vec<(String, String)>,
    /// The header of the file that the statements come from.
    file: Query,
    out: &'t mut (dyn Write + Send),
    err: &'t mut (dyn Write + Send),
    is_interactive: bool,
    /// Whether the duration of each query is shown.
    shows_timing: bool,
}

impl<'t> Shell<'t> {
    /// Creates a shell that prints rows to `out` and messages to `err`.
    pub fn new(
        context: QueryContext,
        target: Target,
        values: Vec<(String, String)>,
        out: &'t mut (dyn Write + Send),
        err: &'t mut (dyn Write + Send),
    ) -> Self {
        let format = if target.file.is_some() { Format::Table } else { target.format };
        let file = Query::default();
        Self { context, target, format, values, file, out, err, is_interactive: false, shows_timing: false }
    }

    /// Runs the query called `name`.
    ///
    /// # Errors
    /// As [`QueryContext::print`]. Also [`Settings`](clerk_lake::ErrorKind::Settings) if there is no such query.
    pub async fn run_named(mut self, name: &str) -> Result<()> {
        let query = self.context.queries().named(name)?.clone();
        let parameters = self.parameters();
        self.context.open_only_tables_of(&query.sql);
        self.run_query(&query, &parameters).await
    }

    /// Runs all statements and commands of a text, and stops at the first that fails. The parameters in the header of
    /// the text apply to all statements.
    ///
    /// # Errors
    /// As [`QueryContext::print`]. Also [`Settings`](clerk_lake::ErrorKind::Settings) if there is nothing to run, or if
    /// there are several results and the output can hold only one.
    pub async fn run_all(mut self, text: Query) -> Result<()> {
        let statements = StatementSplitter::split(&text.sql);
        let results = results_before_redirect(&statements);
        if statements.is_empty() {
            return Err(Error::settings("no query given: use SQL, --name or --file")
                .with_hint("clerk-lake query 'SELECT count(*) FROM clerk_user', or clerk-lake query --list"));
        }
        if results > 1 && self.target.holds_one_result() {
            return Err(Error::settings(format!("{results} statements, but the output can hold only one result"))
                .with_hint("run one statement, or print the rows to standard output as csv or ndjson"));
        }
        self.parameters().check_used_in(&text.sql, &text.parameters)?;
        self.context.open_only_tables_of(&text.sql);
        self.file = text;
        for statement in statements {
            if self.execute(statement).await? == Next::Quit {
                break;
            }
        }
        Ok(())
    }

    /// Reads statements and commands from `lines` and runs them, until the user quits. A statement that fails prints
    /// its error, and the shell continues.
    ///
    /// # Errors
    /// If the lakes cannot be opened, if Ctrl-C arrives before they are open, or if lines cannot be read.
    pub async fn repl(mut self, lines: &mut impl LineSource, mut interrupts: Interrupts) -> Result<()> {
        self.is_interactive = true;
        let words = tokio::select! {
            words = self.banner() => words?,
            () = interrupts.next() => return Err(Error::new(ErrorKind::Interrupted, "interrupted")),
        };
        lines.set_words(words);
        let mut splitter = StatementSplitter::default();
        loop {
            check_write(self.out.flush())?;
            let line = match lines.read_line(splitter.prompt()).await {
                InputLine::Text(line) => line,
                InputLine::Interrupted => {
                    splitter.clear();
                    continue;
                }
                InputLine::End => return Ok(()),
                InputLine::Failed(why) => {
                    return Err(Error::settings(format!("cannot read from this terminal: {why}")));
                }
            };
            for statement in statements_of(&mut splitter, &line) {
                lines.add_to_history(&history_entry(&statement));
                interrupts.clear();
                let outcome = tokio::select! {
                    outcome = self.execute(statement) => Some(outcome),
                    () = interrupts.next() => None,
                };
                match outcome {
                    Some(Ok(Next::Quit)) => return Ok(()),
                    Some(Ok(Next::Refreshed)) => lines.set_words(self.words().await?),
                    Some(Ok(Next::Continue)) => {}
                    Some(Err(error)) => self.print_error(&error),
                    None => self.print_message("cancelled"),
                }
            }
        }
    }

    /// Opens the lakes and prints the banner. Returns the words that can be completed.
    async fn banner(&mut self) -> Result<CompletionWords> {
        let instances = self.context.snapshot().await?.instances();
        let names: Vec<_> = instances.iter().map(|instance| instance.name.clone()).collect();
        let version = env!("CARGO_PKG_VERSION");
        self.print_message(&format!(
            "clerk-lake {version}, querying {}. Type \\? for help, \\q to quit.",
            names.join(", ")
        ));
        self.words().await
    }

    async fn words(&mut self) -> Result<CompletionWords> {
        let queries = self.context.queries().iter().map(|query| query.name.clone()).collect();
        Box::pin(describe::words(self.context.snapshot().await?, queries)).await
    }

    async fn execute(&mut self, statement: Statement) -> Result<Next> {
        match statement {
            Statement::Sql(sql) => {
                let query = Query { name: String::new(), sql, ..self.file.clone() };
                let parameters = self.parameters().used_in(&query.sql);
                Box::pin(self.run_query(&query, &parameters)).await?;
                Ok(Next::Continue)
            }
            Statement::Command(text) => Box::pin(self.execute_command(MetaCommand::parse(&text)?)).await,
        }
    }

    async fn execute_command(&mut self, command: MetaCommand) -> Result<Next> {
        match command {
            MetaCommand::Tables => {
                let (queries, snapshot) = (self.context.queries().clone(), self.context.snapshot().await?);
                check_write(describe::tables(snapshot, &queries, self.out)?)?;
            }
            MetaCommand::Columns(name) => {
                let (queries, snapshot) = (self.context.queries().clone(), self.context.snapshot().await?);
                check_write(describe::columns(snapshot, &queries, &name, self.out).await?)?;
            }
            MetaCommand::Queries => check_write(describe::queries(self.context.queries(), self.out))?,
            MetaCommand::Run { name, values } => {
                let query = self.context.queries().named(&name)?.clone();
                let defaults = self.parameters().used_in(&query.sql);
                let parameters = values.into_iter().fold(defaults, |all, (name, value)| all.with(name, value));
                self.run_query(&query, &parameters).await?;
            }
            MetaCommand::Refresh => {
                self.context.close_snapshot();
                self.context.snapshot().await?;
                return Ok(Next::Refreshed);
            }
            MetaCommand::Quit => return Ok(Next::Quit),
            MetaCommand::Help => {
                for (usage, description) in COMMANDS {
                    check_write(writeln!(self.out, "{usage:<32} {description}"))?;
                }
                check_write(writeln!(self.out, "{:<32} run a statement; it may span several lines", "SELECT ...;"))?;
            }
            MetaCommand::Format(_) | MetaCommand::Output(_) | MetaCommand::Timing(_) => self.set(command)?,
        }
        Ok(Next::Continue)
    }

    /// Sets the format of rows, their destination, or whether durations are shown, and prints the settings.
    fn set(&mut self, command: MetaCommand) -> Result<()> {
        match command {
            MetaCommand::Format(Some(format)) => {
                self.target = Target::of(Some(format), self.target.file.as_deref())?;
                self.format = format;
            }
            MetaCommand::Output(Some(file)) => {
                let format = format_of(&file).unwrap_or(self.format);
                self.target = Target::of(Some(format), Some(&file))?;
            }
            MetaCommand::Output(None) => self.target = Target::of(Some(self.format), None)?,
            MetaCommand::Timing(on) => self.shows_timing = on.unwrap_or(!self.shows_timing),
            _ => {}
        }
        let file = self.target.file.as_ref();
        let output = file.map_or("standard output".to_owned(), |file| file.display().to_string());
        let format = format!("{:?}", self.target.format).to_lowercase();
        let timing = if self.shows_timing { "on" } else { "off" };
        self.print_message(&format!("output: {output}; format: {format}; timing: {timing}"));
        Ok(())
    }

    async fn run_query(&mut self, query: &Query, parameters: &Parameters) -> Result<()> {
        let began = Instant::now();
        let rows = self.context.print(query, parameters, &self.target, self.out).await?;
        let rows = format!("{} {}", count(rows), if rows == 1 { "row" } else { "rows" });
        let place = self.target.file.as_ref().map(|file| format!(" to {}", file.display())).unwrap_or_default();
        let time = format!("{:.3} s", began.elapsed().as_secs_f64());
        match (self.is_interactive, self.shows_timing) {
            (_, true) => self.print_message(&format!("{rows}{place}, {time}")),
            (true, false) => self.print_message(&format!("{rows}{place}")),
            (false, false) => {}
        }
        Ok(())
    }

    /// Returns the parameter values for a query that runs now.
    fn parameters(&self) -> Parameters {
        let now = Parameters::at(self.context.now());
        self.values.iter().fold(now, |all, (name, value)| all.with(name.clone(), value))
    }

    /// Prints a message below the rows printed so far.
    fn print_message(&mut self, text: &str) {
        let _ = self.out.flush();
        let _ = writeln!(self.err, "{text}");
    }

    fn print_error(&mut self, error: &Error) {
        let _ = self.out.flush();
        print_error(self.err, error);
    }
}

/// Returns the number of `statements` that produce rows before the first `\o` redirects the output.
fn results_before_redirect(statements: &[Statement]) -> usize {
    let is_command = |statement: &Statement, name: &str| matches!(statement, Statement::Command(text) if text.split_whitespace().next() == Some(name));
    let before = statements.iter().take_while(|statement| !is_command(statement, "\\o"));
    before.filter(|statement| matches!(statement, Statement::Sql(_)) || is_command(statement, "\\run")).count()
}

/// Returns the statements that end in `line`. As in other shells, `exit` and `quit` work without a backslash.
fn statements_of(splitter: &mut StatementSplitter, line: &str) -> Vec<Statement> {
    let word = line.trim().trim_end_matches(';');
    if splitter.is_idle() && matches!(word, "exit" | "quit") {
        return vec![Statement::Command("\\q".to_owned())];
    }
    splitter.push_line(line)
}

/// Returns the text of a statement for the history, in a form that can be run again.
fn history_entry(statement: &Statement) -> String {
    match statement {
        // After a comment, the semicolon must be on a new line.
        Statement::Sql(sql) if sql.lines().next_back().is_some_and(|line| line.contains("--")) => {
            format!("{}\n;", sql.trim())
        }
        Statement::Sql(sql) => format!("{};", sql.trim()),
        Statement::Command(text) => text.clone(),
    }
}

#[cfg(test)]
mod tests;
