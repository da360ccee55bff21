//! The `clerk-lake` binary. See `clerk-lake help`.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
