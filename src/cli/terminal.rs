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

    /// For data, and for everything else.
    pub fn streams(&mut self) -> (&mut (dyn Write + Send), &mut (dyn Write + Send)) {
        (&mut self.out, &mut self.err)
    }

    /// Whether somebody watches standard error.
    pub fn is_watched() -> bool {
        io::stderr().is_terminal()
    }

    /// Whether somebody types, and sees what is answered.
    pub fn is_typed_at() -> bool {
        io::stdin().is_terminal() && io::stdout().is_terminal()
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
        complain(&mut self.err, error);
        ExitCode::from(error.kind().exit_code())
    }

    /// Prints what clap has to say: help and version to standard output with 0, mistakes to standard error with 2.
    pub fn usage(usage: &clap::Error) -> ExitCode {
        let _ = usage.print();
        ExitCode::from(u8::try_from(usage.exit_code()).unwrap_or(2))
    }
}

/// Says to `err` what went wrong and what to do.
pub fn complain(err: &mut dyn Write, error: &Error) {
    if !error.message().is_empty() {
        let _ = writeln!(err, "error: {error}");
    }
    if let Some(hint) = error.hint() {
        let _ = writeln!(err, "  help: {hint}");
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
