//! Output streams: data goes to standard output, everything else to standard error.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use clerk_lake::{Error, ErrorKind};

/// The standard output and standard error of the process.
pub struct Terminal {
    out: io::BufWriter<io::Stdout>,
    err: io::Stderr,
}

impl Terminal {
    /// Returns the streams of this process. Standard output is buffered.
    pub fn new() -> Self {
        Self { out: io::BufWriter::new(io::stdout()), err: io::stderr() }
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
        let _ = writeln!(err, "error: {error}");
    }
    if let Some(hint) = error.hint() {
        let _ = writeln!(err, "  help: {hint}");
    }
}

/// Converts the result of a write to standard output. A broken pipe, as with `| head`, is not an error: the program
/// ends quietly.
pub fn check_write(result: io::Result<()>) -> clerk_lake::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(Error::new(clerk_lake::ErrorKind::Unreachable, format!("cannot write the output: {error}"))),
        Ok(()) => Ok(()),
    }
}
