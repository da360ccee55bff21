//! Progress of a run, on standard error: bars on a terminal, plain lines otherwise.

use std::collections::HashMap;
use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use clerk_lake::api::Client;
use clerk_lake::harmless::harmless_lines;
use clerk_lake::sync::{Progress, ResourceSummary};
use indicatif::{HumanCount, MultiProgress, ProgressBar, ProgressState, ProgressStyle};

use super::terminal::Terminal;

/// The interval between progress lines if standard error is not a terminal.
const LOG_INTERVAL: Duration = Duration::from_secs(15);

/// Progress bars, for a terminal.
pub struct ProgressBars {
    all: MultiProgress,
    open: Mutex<HashMap<String, Bar>>,
    client: Client,
}

struct Bar {
    line: ProgressBar,
    began: Instant,
    /// Number of requests sent before it began.
    requests: u64,
}

impl ProgressBars {
    /// Creates bars that also show how much of the request budget `client` uses.
    pub fn new(client: Client) -> Self {
        Self { all: MultiProgress::new(), open: Mutex::default(), client }
    }

    fn with_bar(&self, resource: &str, act: impl FnOnce(&Bar)) {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bar) = open.get(resource) {
            act(bar);
        }
    }

    /// Returns the share of the request budget in use. Empty if requests are not limited.
    fn budget(&self, bar: &Bar) -> String {
        let Some(rate) = self.client.quota().requests_per_second() else { return String::new() };
        #[expect(clippy::cast_precision_loss, reason = "an approximate share is enough")]
        let sent = (self.client.quota().granted() - bar.requests) as f64;
        let share = (sent / (rate * bar.began.elapsed().as_secs_f64()).max(1.0)).min(1.0);
        format!("{:.0} % of {rate:.0} requests/s", share * 100.0)
    }

    fn print_line(&self, text: &str) {
        let _ = self.all.println(harmless_lines(text));
    }
}

impl Progress for ProgressBars {
    fn started(&self, resource: &str, expected: Option<u64>) {
        let template = if expected.is_some() {
            "{prefix:20} {bar:20} {human_pos}/{human_len}  {rate}  {eta} left  {msg}"
        } else {
            "{prefix:20} {spinner} {human_pos} rows  {rate}  {msg}"
        };
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate is small and positive")]
        let style = style.with_key("rate", |state: &ProgressState, out: &mut dyn std::fmt::Write| {
            let _ = write!(out, "{} rows/s", HumanCount(state.per_sec().round().max(0.0) as u64));
        });
        let line = self.all.add(expected.map_or_else(ProgressBar::new_spinner, ProgressBar::new));
        line.set_style(style);
        line.set_prefix(resource.to_owned());
        line.enable_steady_tick(Duration::from_millis(120));
        let bar = Bar { line, began: Instant::now(), requests: self.client.quota().granted() };
        let before = self.open.lock().unwrap_or_else(PoisonError::into_inner).insert(resource.to_owned(), bar);
        if let Some(bar) = before {
            bar.line.finish_and_clear();
        }
    }

    fn advanced(&self, resource: &str, rows: u64) {
        self.with_bar(resource, |bar| {
            bar.line.set_position(rows);
            bar.line.set_message(self.budget(bar));
        });
    }

    fn finished(&self, summary: &ResourceSummary) {
        self.with_bar(&summary.name, |bar| bar.line.finish_and_clear());
    }

    fn note(&self, text: &str) {
        self.print_line(text);
    }

    fn warn(&self, text: &str) {
        self.print_line(&format!("warning: {text}"));
    }
}

/// Plain lines, for a log.
pub struct ProgressLines {
    last: Mutex<Instant>,
    /// Whether lines say how far the run is. Notes and warnings are printed in any case.
    shows_rows: bool,
}

impl ProgressLines {
    /// Creates it. The first interval starts now.
    pub fn new(shows_rows: bool) -> Self {
        Self { last: Mutex::new(Instant::now()), shows_rows }
    }
}

impl Progress for ProgressLines {
    fn started(&self, _: &str, _: Option<u64>) {}

    fn advanced(&self, resource: &str, rows: u64) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if self.shows_rows && last.elapsed() >= LOG_INTERVAL {
            *last = Instant::now();
            log_line(&format!("{resource}: {rows} rows so far"));
        }
    }

    fn finished(&self, _: &ResourceSummary) {}

    fn note(&self, text: &str) {
        log_line(text);
    }

    fn warn(&self, text: &str) {
        log_line(&format!("warning: {text}"));
    }
}

fn log_line(text: &str) {
    let _ = writeln!(Terminal::new().err(), "{}", harmless_lines(text));
}

/// Formats a number with thousands separators.
pub fn count(number: u64) -> String {
    HumanCount(number).to_string()
}
