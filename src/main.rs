//! The `clerk-lake` command: see `clerk-lake help`.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
