//! Output streams: data goes to standard output, everything else to standard error.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use clerk_lake::harmless::harmless_lines;
use clerk_lake::{Error, ErrorKind};

use super::config;
use super::harmless::HarmlessWriter;

/// The width of a terminal that does not say how wide it is.
const DEFAULT_WIDTH: usize = 80;

/// The standard output and standard error of the process. What goes to a terminal is harmless: see
/// [`harmless`](super::harmless).
pub struct Terminal {
    out: io::BufWriter<HarmlessWriter<io::Stdout>>,
    err: HarmlessWriter<io::Stderr>,
}

impl Terminal {
    /// Returns the streams of this process. Standard output is buffered.
    pub fn new() -> Self {
        let out = HarmlessWriter::new(io::stdout(), io::stdout().is_terminal());
        let err = HarmlessWriter::new(io::stderr(), io::stderr().is_terminal());
        Self { out: io::BufWriter::new(out), err }
    }

    /// Returns standard output, for data.
    pub fn out(&mut self) -> &mut impl Write {
        &mut self.out
    }

    /// Returns standard error, for everything else.
    pub fn err(&mut self) -> &mut impl Write {
        &mut self.err
    }

    /// Returns standard output and standard error.
    pub fn streams(&mut self) -> (&mut (dyn Write + Send), &mut (dyn Write + Send)) {
        (&mut self.out, &mut self.err)
    }

    /// Whether standard output is a terminal.
    pub fn stdout_is_terminal() -> bool {
        io::stdout().is_terminal()
    }

    /// Returns the width of the terminal on standard output in columns; `None` if standard output is no terminal.
    pub fn stdout_width() -> Option<usize> {
        let detected = || terminal_size::terminal_size_of(io::stdout()).map(|(width, _)| usize::from(width.0));
        let configured = || config::environment("COLUMNS").and_then(|text| text.trim().parse().ok());
        let is_known = |width: &usize| *width > 0;
        let width = || detected().filter(is_known).or_else(configured).filter(is_known).unwrap_or(DEFAULT_WIDTH);
        Self::stdout_is_terminal().then(width)
    }

    /// Whether standard input and standard output are terminals.
    pub fn is_interactive() -> bool {
        io::stdin().is_terminal() && io::stdout().is_terminal()
    }

    /// Flushes standard output and ignores errors.
    pub fn flush(&mut self) {
        let _ = self.out.flush();
    }

    /// Flushes standard output and returns errors.
    pub fn try_flush(&mut self) -> clerk_lake::Result<()> {
        check_write(self.out.flush())
    }

    /// Prints an error with its hint, and returns its exit code.
    pub fn fail(&mut self, error: &Error) -> ExitCode {
        if is_reader_gone(error) {
            return ExitCode::SUCCESS;
        }
        self.flush();
        print_error(&mut self.err, error);
        ExitCode::from(exit_code(error.kind()))
    }

    /// Prints a message of clap and returns its exit code. Help and version go to standard output with 0, usage errors
    /// to standard error with 2.
    pub fn usage(usage: &clap::Error) -> ExitCode {
        let _ = usage.print();
        ExitCode::from(u8::try_from(usage.exit_code()).unwrap_or(2))
    }
}

/// Returns the exit code of the process for this kind of error.
fn exit_code(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::Settings => 2,
        ErrorKind::KeyRefused => 3,
        ErrorKind::Unreachable => 4,
        ErrorKind::Answer | ErrorKind::Damaged => 5,
        ErrorKind::Conflict => 6,
        ErrorKind::Query => 7,
        ErrorKind::Interrupted => 130,
        // A bug, or a kind that this program does not know.
        _ => 70,
    }
}

/// Prints an error with its hint to `err`.
pub fn print_error(err: &mut dyn Write, error: &Error) {
    if !error.message().is_empty() {
        let _ = writeln!(err, "error: {}", harmless_lines(error.message()));
    }
    if let Some(hint) = error.hint() {
        let _ = writeln!(err, "  help: {}", harmless_lines(hint));
    }
}

/// Converts the result of a write to standard output. A broken pipe, as with `| head`, ends the command at once and
/// quietly: see [`is_reader_gone`].
pub fn check_write(result: io::Result<()>) -> clerk_lake::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(reader_gone()),
        Err(error) => Err(Error::new(ErrorKind::Settings, format!("cannot write the output: {error}"))
            .with_hint("free disk space, or write somewhere else")),
        Ok(()) => Ok(()),
    }
}

/// The cause of the error that ends a command whose output nobody reads.
#[derive(Debug, thiserror::Error)]
#[error("the reader of the output has gone")]
struct ReaderGone;

/// Returns the error for output that nobody reads.
pub fn reader_gone() -> Error {
    Error::new(ErrorKind::Interrupted, "").with_source(ReaderGone)
}

/// Whether `error` only says that nobody reads the output. The program then ends quietly.
pub fn is_reader_gone(error: &Error) -> bool {
    std::error::Error::source(error).is_some_and(<dyn std::error::Error>::is::<ReaderGone>)
}
