//! The `clerk-lake` binary. See `clerk-lake help`.

mod cli;

use std::process::ExitCode;

/// The exit code after a panic, which is a bug.
const PANICKED: u8 = 70;

fn main() -> ExitCode {
    // The stack of the first thread has a fixed size, which is too small for long statements.
    match std::thread::Builder::new().name("main".to_owned()).stack_size(cli::STACK).spawn(cli::run) {
        Ok(thread) => thread.join().unwrap_or_else(|_| ExitCode::from(PANICKED)),
        // Too little memory for such a stack: everything but long statements works without it.
        Err(_) => cli::run(),
    }
}
