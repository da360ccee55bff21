//! How a run goes on, on standard error: bars on a terminal, plain lines elsewhere.

use std::collections::HashMap;
use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use clerk_lake::api::Client;
use clerk_lake::sync::{Progress, ResourceStatus, ResourceSummary};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::terminal::Terminal;

/// How often a run that nobody watches says where it is.
const QUIET_INTERVAL: Duration = Duration::from_secs(15);

/// Bars for whoever watches.
pub struct Bars {
    all: MultiProgress,
    open: Mutex<HashMap<String, ProgressBar>>,
    client: Client,
}

impl Bars {
    /// Bars that also show what `client` has asked.
    pub fn new(client: Client) -> Self {
        Self { all: MultiProgress::new(), open: Mutex::default(), client }
    }

    fn with_bar(&self, resource: &str, act: impl FnOnce(&ProgressBar)) {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bar) = open.get(resource) {
            act(bar);
        }
    }

    fn say(&self, text: &str) {
        let _ = self.all.println(text);
    }
}

impl Progress for Bars {
    fn started(&self, resource: &str, expected: Option<u64>) {
        let template = if expected.is_some() {
            "{prefix:20} {bar:24} {human_pos}/{human_len} rows  {per_sec}  {eta} left  {msg}"
        } else {
            "{prefix:20} {spinner} {human_pos} rows  {per_sec}  {msg}"
        };
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = self.all.add(expected.map_or_else(ProgressBar::new_spinner, ProgressBar::new));
        bar.set_style(style);
        bar.set_prefix(resource.to_owned());
        bar.enable_steady_tick(Duration::from_millis(120));
        if let Some(rate) = self.client.quota().requests_per_second() {
            bar.set_message(format!("(budget {rate:.0} requests/s)"));
        }
        let before = self.open.lock().unwrap_or_else(PoisonError::into_inner).insert(resource.to_owned(), bar);
        if let Some(bar) = before {
            bar.finish_and_clear();
        }
    }

    fn advanced(&self, resource: &str, rows: u64) {
        self.with_bar(resource, |bar| bar.set_position(rows));
    }

    fn finished(&self, summary: &ResourceSummary) {
        self.with_bar(&summary.name, ProgressBar::finish_and_clear);
    }

    fn note(&self, text: &str) {
        self.say(text);
    }

    fn warn(&self, text: &str) {
        self.say(&format!("warning: {text}"));
    }
}

/// Plain lines, for a log.
pub struct Lines {
    last: Mutex<Instant>,
}

impl Lines {
    /// Lines that begin now.
    pub fn new() -> Self {
        Self { last: Mutex::new(Instant::now()) }
    }
}

impl Progress for Lines {
    fn started(&self, _: &str, _: Option<u64>) {}

    fn advanced(&self, resource: &str, rows: u64) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.elapsed() >= QUIET_INTERVAL {
            *last = Instant::now();
            say(&format!("{resource}: {rows} rows so far"));
        }
    }

    fn finished(&self, _: &ResourceSummary) {}

    fn note(&self, text: &str) {
        say(text);
    }

    fn warn(&self, text: &str) {
        say(&format!("warning: {text}"));
    }
}

fn say(text: &str) {
    let _ = writeln!(Terminal::new().err(), "{text}");
}

/// One line that says what became of a resource.
pub fn outcome(summary: &ResourceSummary) -> String {
    let name = &summary.name;
    match summary.status {
        ResourceStatus::Failed => format!("{name:<20} failed   {}", summary.error.as_deref().unwrap_or_default()),
        ResourceStatus::Skipped => format!("{name:<20} skipped  {}", summary.error.as_deref().unwrap_or_default()),
        ResourceStatus::Ok => {
            let rejected = match summary.rows_rejected {
                0 => String::new(),
                rows => format!("  {} could not be read", count(rows)),
            };
            #[expect(clippy::cast_precision_loss, reason = "seconds for people")]
            let seconds = summary.elapsed_ms as f64 / 1000.0;
            format!(
                "{name:<20} ok       {:>10} rows  +{} ~{} -{}{rejected}  {} requests  {seconds:.1} s",
                count(summary.rows_total),
                count(summary.rows_inserted),
                count(summary.rows_updated),
                count(summary.rows_deleted),
                count(summary.requests),
            )
        }
    }
}

/// A number with its thousands apart.
pub fn count(number: u64) -> String {
    indicatif::HumanCount(number).to_string()
}
