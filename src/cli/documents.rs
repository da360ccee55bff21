//! `clerk-lake completions` and `clerk-lake man`: texts that are made from the definition of the command line.

use std::io::Write;

use clap::{Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;
use clerk_lake::{Error, Result};

use super::arguments::Cli;
use super::terminal::{Terminal, check_write};

/// Prints the script that completes the commands and flags of `clerk-lake` in a shell.
pub fn completions(terminal: &mut Terminal, shell: Shell) -> Result<()> {
    // The generator panics if it cannot write, so it writes to memory.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "clerk-lake", &mut script);
    check_write(terminal.out().write_all(&script))?;
    terminal.try_flush()
}

/// Prints the manual page of `clerk-lake`, followed by those of its commands, as roff.
pub fn man(terminal: &mut Terminal) -> Result<()> {
    let mut root = Cli::command().disable_help_subcommand(true);
    root.build();
    let mut pages = Vec::new();
    for command in std::iter::once(&root).chain(root.get_subcommands()) {
        page(command, &mut pages).map_err(|error| Error::bug(format!("cannot make a manual page: {error}")))?;
    }
    check_write(terminal.out().write_all(&pages))?;
    terminal.try_flush()
}

fn page(command: &Command, pages: &mut Vec<u8>) -> std::io::Result<()> {
    let source = format!("clerk-lake {}", env!("CARGO_PKG_VERSION"));
    Man::new(command.clone()).manual("clerk-lake").source(source).render(pages)
}
