//! Where output goes: data to standard output, everything else to standard error.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use clerk_lake::Error;

/// The process's two outputs.
pub struct Terminal {
    out: io::BufWriter<io::Stdout>,
    err: io::Stderr,
}

impl Terminal {
    /// The process's own.
    pub fn new() -> Self {
        Self { out: io::BufWriter::new(io::stdout()), err: io::stderr() }
    }

    /// For data.
    pub fn out(&mut self) -> &mut impl Write {
        &mut self.out
    }

    /// For everything else.
    pub fn err(&mut self) -> &mut impl Write {
        &mut self.err
    }

    /// Whether somebody watches standard error.
    pub fn is_watched() -> bool {
        io::stderr().is_terminal()
    }

    /// Sends out what is buffered.
    pub fn flush(&mut self) {
        let _ = self.out.flush();
    }

    /// Sends out what is buffered, and says if it could not.
    pub fn flushed(&mut self) -> clerk_lake::Result<()> {
        written(self.out.flush())
    }

    /// Says what went wrong and what to do; gives the exit code.
    pub fn fail(&mut self, error: &Error) -> ExitCode {
        self.flush();
        if !error.message().is_empty() {
            let _ = writeln!(self.err, "error: {error}");
        }
        if let Some(hint) = error.hint() {
            let _ = writeln!(self.err, "  help: {hint}");
        }
        ExitCode::from(error.kind().exit_code())
    }

    /// Prints what clap has to say: help and version to standard output with 0, mistakes to standard error with 2.
    pub fn usage(usage: &clap::Error) -> ExitCode {
        let _ = usage.print();
        ExitCode::from(u8::try_from(usage.exit_code()).unwrap_or(2))
    }
}

/// A failed write to standard output: a reader that has gone away (`| head`) ends the program quietly.
pub fn written(result: io::Result<()>) -> clerk_lake::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(Error::new(clerk_lake::ErrorKind::Unreachable, format!("cannot write the output: {error}"))),
        Ok(()) => Ok(()),
    }
}
