//! What the user wants to see: `--quiet`, `--color` and `--no-progress`.

use std::io::{IsTerminal, stderr, stdout};
use std::sync::OnceLock;

use clap::ColorChoice;

use super::config;

/// What the user wants to see. It is set once, before the command runs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Console {
    /// Whether only errors are printed, besides the data that the command was asked for.
    pub is_quiet: bool,
    /// When output is colored.
    pub color: ColorChoice,
    /// Whether the progress of a sync is not shown.
    pub hides_progress: bool,
}

static CONSOLE: OnceLock<Console> = OnceLock::new();

/// Sets what the user wants to see. Only the first call has an effect.
pub fn set(console: Console) {
    let _ = CONSOLE.set(console);
}

fn get() -> Console {
    CONSOLE.get().copied().unwrap_or_default()
}

/// Whether only errors are printed, besides the data that the command was asked for.
pub fn is_quiet() -> bool {
    get().is_quiet
}

/// Whether a sync shows how far it is.
pub fn shows_progress() -> bool {
    !get().hides_progress && !get().is_quiet
}

/// Whether standard error can show lines that change. A dumb terminal cannot.
pub fn stderr_can_redraw() -> bool {
    stderr().is_terminal() && !is_dumb()
}

/// Whether text on standard output is colored.
pub fn colors_stdout() -> bool {
    colors(stdout().is_terminal())
}

/// Whether text on standard error is colored.
pub fn colors_stderr() -> bool {
    colors(stderr().is_terminal())
}

/// Whether text on a stream is colored. `--color` overrides `NO_COLOR` (<https://no-color.org>).
fn colors(is_terminal: bool) -> bool {
    match get().color {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => is_terminal && config::environment("NO_COLOR").is_none() && !is_dumb(),
    }
}

fn is_dumb() -> bool {
    config::environment("TERM").is_some_and(|kind| kind == "dumb")
}
