//! Chooses the number of lanes of a scan: as many as latency and request budget allow, or one if the filter that
//! separates the lanes makes the server slow.

use std::time::Duration;

use tokio::time::Instant;

use super::Client;

/// The maximum number of lanes.
const MOST_LANES: usize = 16;

/// A filtered page is too slow if it takes longer than [`SLOW_AT_LEAST`] and longer than [`SLOW_FACTOR`] times the
/// number of lanes times the duration of an unfiltered page. Several lanes are then slower than one.
const SLOW_FACTOR: u32 = 2;
pub(super) const SLOW_AT_LEAST: Duration = Duration::from_secs(3);

/// The mean duration of filtered pages is judged from the first number of filtered pages on, and until the second.
const FILTERED_PAGES_MIN: u32 = 4;
const FILTERED_PAGES_MAX: u32 = 40;

/// The number of lanes that read a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lanes {
    /// As many as latency and request budget allow, as long as another lane pays.
    #[default]
    Automatic,
    /// This number, 1 to 16.
    Fixed(usize),
}

impl std::str::FromStr for Lanes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse() {
            _ if text == "auto" => Ok(Self::Automatic),
            Ok(lanes @ 1..=MOST_LANES) => Ok(Self::Fixed(lanes)),
            _ => Err(format!("expected auto, or a number from 1 to {MOST_LANES}")),
        }
    }
}

/// Measures how long pages take with and without the filter.
#[derive(Debug, Default)]
pub(super) struct Speed {
    /// The time of the last page without a filter.
    plain: Option<Duration>,
    /// The total time of all filtered pages so far.
    filtered: Duration,
    filtered_pages: u32,
    /// The slices whose first filtered page is in flight, and when it was requested.
    pub(super) first_pages: Vec<(usize, RequestStart)>,
}

/// The start of a request: the time, and the total of server-imposed pauses until then.
#[derive(Clone, Copy, Debug)]
pub(super) struct RequestStart(Instant, Duration);

impl RequestStart {
    pub(super) fn now(client: &Client) -> Self {
        Self(Instant::now(), client.quota().paused_total())
    }

    /// Returns the time since the start, without server-imposed pauses.
    pub(super) fn elapsed(self, client: &Client) -> Duration {
        self.0.elapsed().saturating_sub(client.quota().paused_total().saturating_sub(self.1))
    }
}

impl Speed {
    pub(super) fn record(&mut self, at: usize, is_filtered: bool, took: Duration) {
        self.first_pages.retain(|(slice, _)| *slice != at);
        if is_filtered {
            self.filtered += took;
            self.filtered_pages += 1;
        } else {
            self.plain = Some(took);
        }
    }

    /// Returns why several lanes do not pay; `None` if they do, or if it is not known yet.
    pub(super) fn too_slow(&self, lanes: usize, client: &Client) -> Option<String> {
        let plain = self.plain.filter(|_| self.filtered_pages < FILTERED_PAGES_MAX)?;
        let lanes = u32::try_from(lanes).unwrap_or(u32::MAX);
        let allowed = plain.saturating_mul(lanes).saturating_mul(SLOW_FACTOR).max(SLOW_AT_LEAST);
        // If no filtered page has arrived yet, the one requested last is judged by its waiting time so far. Otherwise
        // the mean is judged.
        let waited = self.first_pages.iter().map(|(_, start)| start.elapsed(client)).min();
        let waited = waited.filter(|_| self.filtered_pages == 0).unwrap_or_default();
        let mean =
            if self.filtered_pages < FILTERED_PAGES_MIN { Duration::ZERO } else { self.filtered / self.filtered_pages };
        (waited.max(mean) > allowed).then(|| {
            format!(
                "the filter created_at_after makes pages slow: more than {allowed:.1?} per page, {plain:.1?} without it"
            )
        })
    }
}

/// Adapts the number of lanes: it starts with as many as fill the request budget, then doubles them as long as that
/// pays.
#[derive(Debug)]
pub(super) struct Pace {
    pub(super) lanes: usize,
    /// Requests per second that the budget allows; `None` if unlimited.
    budget: Option<f64>,
    /// Whether the scan chooses the number of lanes itself.
    pub(super) may_change: bool,
    settled: bool,
    since: Instant,
    /// Pages since the scan began.
    pub(super) pages_read: usize,
    pages: usize,
    rows: usize,
    best: f64,
}

/// A number of lanes is judged after at least this many pages and this much time.
const MEASURED_PAGES: usize = 12;
const MEASURED_TIME: Duration = Duration::from_millis(200);

/// If at least this part of the budget is used, another lane does not help.
const BUDGET_FULL: f64 = 0.9;

/// Doubling the lanes must multiply the row rate by more than this to be worthwhile.
const DOUBLING_GAIN: f64 = 1.2;

impl Pace {
    pub(super) fn new(lanes: Lanes, client: &Client) -> Self {
        let budget = client.quota().requests_per_second();
        let initial_lanes = match lanes {
            Lanes::Fixed(lanes) => lanes,
            Lanes::Automatic => lanes_for(budget, client.latency()),
        };
        let may_change = lanes == Lanes::Automatic;
        Self {
            lanes: initial_lanes,
            budget,
            may_change,
            settled: !may_change,
            since: Instant::now(),
            pages_read: 0,
            pages: 0,
            rows: 0,
            best: 0.0,
        }
    }

    /// Records the rows of a page. May change the number of lanes.
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    pub(super) fn count(&mut self, rows: usize) {
        self.pages_read += 1;
        self.pages += 1;
        self.rows += rows;
        let elapsed = self.since.elapsed();
        if self.settled || self.pages < MEASURED_PAGES.max(self.lanes * 2) || elapsed < MEASURED_TIME {
            return;
        }
        let rate = self.rows as f64 / elapsed.as_secs_f64();
        if self.budget.is_some_and(|budget| self.pages as f64 / elapsed.as_secs_f64() >= budget * BUDGET_FULL) {
            self.settled = true;
        } else if rate > self.best * DOUBLING_GAIN && self.lanes < MOST_LANES {
            self.best = rate;
            self.lanes = (self.lanes * 2).min(MOST_LANES);
        } else {
            self.settled = true;
            if rate < self.best {
                self.lanes = (self.lanes / 2).max(1);
            }
        }
        (self.since, self.pages, self.rows) = (Instant::now(), 0, 0);
    }
}

/// Returns the number of lanes that keep a budget of `rate` requests per second busy if a response takes `latency`.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small positive number")]
fn lanes_for(rate: Option<f64>, latency: Option<Duration>) -> usize {
    match (rate, latency) {
        (Some(rate), Some(latency)) => ((rate * latency.as_secs_f64() * 1.2).ceil() as usize).clamp(1, MOST_LANES),
        _ => 1,
    }
}
