//! Runs statements and backslash commands: typed in a shell, or from an argument, a file or standard input.

mod commands;
mod completion;
pub mod describe;
mod interrupts;
mod lines;
mod statements;

use std::io::Write;
use std::time::Instant;

use clerk_lake::harmless::harmless_lines;
use clerk_lake::query::{Parameters, Query};
use clerk_lake::{Error, ErrorKind, Result};

use super::arguments::Format;
use super::output::{Pager, TableLayout, Target, counted, elapsed, format_of};
use super::query_context::QueryContext;
use super::terminal::{Terminal, check_write, is_reader_gone, print_error, reader_gone};
use commands::{COMMANDS, MetaCommand};
use completion::CompletionWords;
use lines::{InputLine, LineSource, is_exit};
use statements::{Statement, split};

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

/// The prompt.
const PROMPT: &str = "clerk-lake> ";

/// How results are shown.
#[derive(Clone, Debug, Default)]
pub struct Display {
    /// How tables are laid out.
    pub layout: TableLayout,
    /// Whether the duration of each query is shown.
    pub shows_timing: bool,
    /// The pager of the shell; `None` if there is none.
    pub pager: Option<String>,
}

/// Where the statements of a text come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextOrigin {
    /// An argument: it can be SQL that somebody else has written, so it cannot contain commands.
    Argument,
    /// A file or standard input.
    File,
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
    display: Display,
    /// The number of results in the file of the target.
    results_in_file: usize,
}

impl<'t> Shell<'t> {
    /// Creates a shell that prints rows to `out` and messages to `err`.
    pub fn new(
        context: QueryContext,
        target: Target,
        display: Display,
        values: Vec<(String, String)>,
        out: &'t mut (dyn Write + Send),
        err: &'t mut (dyn Write + Send),
    ) -> Self {
        let format = if target.file.is_some() { Format::Table } else { target.format };
        let file = Query::default();
        let is_interactive = false;
        Self { context, target, format, values, file, out, err, is_interactive, display, results_in_file: 0 }
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
    pub async fn run_all(mut self, text: Query, origin: TextOrigin) -> Result<()> {
        let statements = split(&text.sql);
        if origin == TextOrigin::Argument {
            check_no_command(&statements)?;
        }
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
        loop {
            check_write(self.out.flush())?;
            let text = match lines.read_line(PROMPT).await {
                InputLine::Text(text) => text,
                InputLine::Interrupted => continue,
                InputLine::End => return Ok(()),
                InputLine::Failed(why) => {
                    return Err(Error::settings(format!("cannot read from this terminal: {why}")));
                }
            };
            if !text.trim().is_empty() {
                lines.add_to_history(text.trim());
            }
            if is_exit(&text) {
                return Ok(());
            }
            for statement in split(&text) {
                interrupts.clear();
                let outcome = tokio::select! {
                    outcome = self.execute(statement) => Some(outcome),
                    () = interrupts.next() => None,
                };
                match outcome {
                    Some(Ok(Next::Quit)) => return Ok(()),
                    Some(Ok(Next::Refreshed)) => lines.set_words(self.words().await?),
                    Some(Ok(Next::Continue)) => {}
                    // The statements after it may build on it.
                    Some(Err(error)) => {
                        self.print_error(&error);
                        break;
                    }
                    None => {
                        self.print_message("cancelled");
                        break;
                    }
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
                let mut out = Pager::new(self.display.pager.clone(), self.out);
                check_write(describe::tables(snapshot, &queries, &mut out)?)?;
            }
            MetaCommand::Columns(name) => {
                let (queries, snapshot) = (self.context.queries().clone(), self.context.snapshot().await?);
                let mut out = Pager::new(self.display.pager.clone(), self.out);
                check_write(describe::columns(snapshot, &queries, &name, &mut out).await?)?;
            }
            MetaCommand::Queries => {
                let mut out = Pager::new(self.display.pager.clone(), self.out);
                check_write(describe::queries(self.context.queries(), &mut out))?;
            }
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
            MetaCommand::Format(_)
            | MetaCommand::Output(_)
            | MetaCommand::Timing(_)
            | MetaCommand::Expanded(_)
            | MetaCommand::MaxRows(_) => self.set(command)?,
        }
        Ok(Next::Continue)
    }

    /// Sets how and where results are shown, and prints the settings.
    fn set(&mut self, command: MetaCommand) -> Result<()> {
        match command {
            MetaCommand::Format(Some(format)) => {
                self.target = Target::of(Some(format), self.target.file.as_deref())?;
                self.format = format;
            }
            MetaCommand::Output(Some(file)) => {
                let format = format_of(&file).unwrap_or(self.format);
                self.target = Target::of(Some(format), Some(&file))?;
                self.results_in_file = 0;
            }
            MetaCommand::Output(None) => self.target = Target::of(Some(self.format), None)?,
            MetaCommand::Timing(on) => self.display.shows_timing = on.unwrap_or(!self.display.shows_timing),
            MetaCommand::Expanded(on) => {
                let layout = &mut self.display.layout;
                layout.is_expanded = on.unwrap_or(!layout.is_expanded);
            }
            MetaCommand::MaxRows(Some(rows)) => self.display.layout.max_rows = rows,
            _ => {}
        }
        let file = self.target.file.as_ref();
        let output = file.map_or("standard output".to_owned(), |file| file.display().to_string());
        let format = format!("{:?}", self.target.format).to_lowercase();
        let on = |is_on| if is_on { "on" } else { "off" };
        let expanded = on(self.display.layout.is_expanded);
        let rows = match self.display.layout.max_rows {
            0 => "all".to_owned(),
            rows => rows.to_string(),
        };
        let timing = on(self.display.shows_timing);
        self.print_message(&format!(
            "output: {output}; format: {format}; expanded: {expanded}; rows: {rows}; timing: {timing}"
        ));
        Ok(())
    }

    async fn run_query(&mut self, query: &Query, parameters: &Parameters) -> Result<()> {
        let began = Instant::now();
        let continues = self.continues_file()?;
        let is_file = self.target.file.is_some();
        let shows_timing = self.display.shows_timing;
        let layout = TableLayout {
            began: shows_timing.then_some(began),
            width: if is_file { None } else { Terminal::stdout_width() },
            ..self.display.layout.clone()
        };
        let pager = self.display.pager.clone().filter(|_| self.is_interactive && !is_file);
        let rows = {
            let mut out = Pager::new(pager, self.out);
            let rows = Box::pin(self.context.print(query, parameters, (&self.target, &layout), continues, &mut out));
            tokio::select! {
                rows = rows => rows,
                () = stdout_closed(), if !is_file => Err(reader_gone()),
            }
        };
        let rows = match rows {
            // Whoever leaves the pager has seen enough.
            Err(error) if self.is_interactive && is_reader_gone(&error) => return Ok(()),
            rows => rows?,
        };
        self.results_in_file += usize::from(is_file);
        let has_footer = self.target.format == Format::Table && !is_file;
        if has_footer || !(self.is_interactive || shows_timing) {
            return Ok(());
        }
        let place = self.target.file.as_ref().map(|file| format!(" to {}", file.display())).unwrap_or_default();
        let time = if shows_timing { format!(", {}", elapsed(began)) } else { String::new() };
        self.print_message(&format!("{}{place}{time}", counted(rows, "row")));
        Ok(())
    }

    /// Whether the next result goes below those that the file of the target already has.
    ///
    /// # Errors
    /// [`Settings`](ErrorKind::Settings) if the format holds only one result.
    fn continues_file(&self) -> Result<bool> {
        match &self.target.file {
            Some(file) if self.results_in_file > 0 && !self.target.can_append() => Err(Error::settings(format!(
                "{} already holds a result, and its format holds only one",
                file.display()
            ))
            .with_hint("choose another file with \\o, or the extension .csv or .ndjson")),
            file => Ok(file.is_some() && self.results_in_file > 0),
        }
    }

    /// Returns the parameter values for a query that runs now.
    fn parameters(&self) -> Parameters {
        let now = Parameters::at(self.context.now());
        self.values.iter().fold(now, |all, (name, value)| all.with(name.clone(), value))
    }

    /// Prints a message below the rows printed so far.
    fn print_message(&mut self, text: &str) {
        let _ = self.out.flush();
        let _ = writeln!(self.err, "{}", harmless_lines(text));
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

/// Refuses backslash commands: they can write files.
fn check_no_command(statements: &[Statement]) -> Result<()> {
    let command = statements.iter().find_map(|statement| match statement {
        Statement::Command(text) => Some(text.split_whitespace().next().unwrap_or_default()),
        Statement::Sql(_) => None,
    });
    command.map_or(Ok(()), |command| {
        Err(Error::settings(format!("{command} is a command of the shell, and cannot stand in a SQL argument"))
            .with_hint("put it into a file and run that with --file, or type it in the shell"))
    })
}

/// Waits until nobody can read standard output any more. Never returns if that cannot be seen.
#[cfg(target_os = "linux")]
async fn stdout_closed() {
    use tokio::io::{Interest, unix::AsyncFd};
    #[expect(deprecated, reason = "its replacement is unsafe; standard output stays open, so this is sound")]
    let watched = || AsyncFd::with_interest(std::io::stdout(), Interest::ERROR);
    // A pipe or a socket can be watched. A terminal does not close before its program.
    if !Terminal::stdout_is_terminal()
        && let Ok(stdout) = watched()
        && stdout.ready(Interest::ERROR).await.is_ok()
    {
        return;
    }
    std::future::pending::<()>().await;
}

#[cfg(not(target_os = "linux"))]
async fn stdout_closed() {
    std::future::pending::<()>().await;
}

#[cfg(test)]
mod tests;
