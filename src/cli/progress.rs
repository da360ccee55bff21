//! How a run goes on, on standard error: bars on a terminal, plain lines elsewhere.

use std::collections::HashMap;
use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use clerk_lake::ErrorKind;
use clerk_lake::api::Client;
use clerk_lake::sync::{Progress, ResourceStatus, ResourceSummary};
use indicatif::{HumanCount, MultiProgress, ProgressBar, ProgressState, ProgressStyle};

use super::terminal::Terminal;

/// How often a run that nobody watches says where it is.
const QUIET_INTERVAL: Duration = Duration::from_secs(15);

/// Bars for whoever watches.
pub struct Bars {
    all: MultiProgress,
    open: Mutex<HashMap<String, Bar>>,
    client: Client,
}

struct Bar {
    line: ProgressBar,
    began: Instant,
    /// Requests let through before it began.
    requests: u64,
}

impl Bars {
    /// Bars that also show what `client` has asked.
    pub fn new(client: Client) -> Self {
        Self { all: MultiProgress::new(), open: Mutex::default(), client }
    }

    fn with_bar(&self, resource: &str, act: impl FnOnce(&Bar)) {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bar) = open.get(resource) {
            act(bar);
        }
    }

    /// How much of the request budget is used, if there is one.
    fn budget(&self, bar: &Bar) -> String {
        let Some(rate) = self.client.quota().requests_per_second() else { return String::new() };
        #[expect(clippy::cast_precision_loss, reason = "a share for people")]
        let asked = (self.client.quota().granted() - bar.requests) as f64;
        let share = (asked / (rate * bar.began.elapsed().as_secs_f64()).max(1.0)).min(1.0);
        format!("{:.0} % of {rate:.0} requests/s", share * 100.0)
    }

    fn say(&self, text: &str) {
        let _ = self.all.println(text);
    }
}

impl Progress for Bars {
    fn started(&self, resource: &str, expected: Option<u64>) {
        let template = if expected.is_some() {
            "{prefix:13} {bar:20} {human_pos}/{human_len}  {rate}  {eta} left  {msg}"
        } else {
            "{prefix:13} {spinner} {human_pos} rows  {rate}  {msg}"
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
    let why = summary.error.as_deref().unwrap_or_default();
    let stopped = summary.failure.as_ref().is_some_and(|error| error.kind() == ErrorKind::Interrupted);
    match summary.status {
        ResourceStatus::Failed if stopped && summary.requests == 0 => format!("{name:<20} not begun"),
        ResourceStatus::Failed if stopped => format!("{name:<20} stopped"),
        ResourceStatus::Failed => format!("{name:<20} failed   {why}"),
        ResourceStatus::Skipped if summary.requests == 0 => format!("{name:<20} skipped  {why}"),
        ResourceStatus::Skipped => format!("{name:<20} skipped  not on this instance"),
        ResourceStatus::Ok => {
            let rejected = match summary.rows_rejected {
                0 => String::new(),
                rows => format!("  {} could not be read", count(rows)),
            };
            #[expect(clippy::cast_precision_loss, reason = "seconds for people")]
            let seconds = summary.elapsed_ms as f64 / 1000.0;
            format!(
                "{name:<20} ok       {:>10} rows  +{} ~{} -{}{rejected}  {} {}  {seconds:.1} s",
                count(summary.rows_total),
                count(summary.rows_inserted),
                count(summary.rows_updated),
                count(summary.rows_deleted),
                count(summary.requests),
                if summary.requests == 1 { "request" } else { "requests" },
            )
        }
    }
}

/// A number with its thousands apart.
pub fn count(number: u64) -> String {
    HumanCount(number).to_string()
}
