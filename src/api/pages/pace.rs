//! How many lanes a scan has: as many as the latency and the request budget call for, and one where the filter that
//! parts them makes the server slow.

use std::time::Duration;

use tokio::time::Instant;

use super::Client;

/// The most lanes that are ever worth it.
const MOST_LANES: usize = 16;

/// A filtered page that takes longer than this many pages of all lanes without a filter, and longer than
/// [`SLOW_AT_LEAST`], makes lanes a loss.
const SLOW: u32 = 2;
pub(super) const SLOW_AT_LEAST: Duration = Duration::from_secs(3);

/// From so many filtered pages on their mean counts, and by so many it is known whether they are slow.
const JUDGED_FILTERED: u32 = 4;
const KNOWN: u32 = 40;

/// How many lanes walk a listing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lanes {
    /// As many as the latency and the request budget call for, for as long as another one pays.
    #[default]
    Automatic,
    /// This many, 1 to 16.
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

/// How long pages take, with the filter and without it.
#[derive(Debug, Default)]
pub(super) struct Speed {
    /// The last page without a filter.
    plain: Option<Duration>,
    /// All pages with it so far.
    filtered: Duration,
    filtered_pages: u32,
    /// The slices whose first filtered page is on its way, and since when.
    pub(super) first_pages: Vec<(usize, Began)>,
}

/// When something was asked for, and how long the server had had requests wait until then.
#[derive(Clone, Copy, Debug)]
pub(super) struct Began(Instant, Duration);

impl Began {
    pub(super) fn now(client: &Client) -> Self {
        Self(Instant::now(), client.quota().held())
    }

    /// How long that was ago; a time in which nothing was let through does not count.
    pub(super) fn elapsed(self, client: &Client) -> Duration {
        self.0.elapsed().saturating_sub(client.quota().held().saturating_sub(self.1))
    }
}

impl Speed {
    pub(super) fn came(&mut self, at: usize, is_filtered: bool, took: Duration) {
        self.first_pages.retain(|(slice, _)| *slice != at);
        if is_filtered {
            self.filtered += took;
            self.filtered_pages += 1;
        } else {
            self.plain = Some(took);
        }
    }

    /// Why lanes do not pay, where that is so.
    pub(super) fn too_slow(&self, lanes: usize, client: &Client) -> Option<String> {
        let plain = self.plain.filter(|_| self.filtered_pages < KNOWN)?;
        let lanes = u32::try_from(lanes).unwrap_or(u32::MAX);
        let allowed = plain.saturating_mul(lanes).saturating_mul(SLOW).max(SLOW_AT_LEAST);
        // None has come yet, and even the one asked for last is late; or some have, and were slow.
        let waited = self.first_pages.iter().map(|(_, began)| began.elapsed(client)).min();
        let waited = waited.filter(|_| self.filtered_pages == 0).unwrap_or_default();
        let mean =
            if self.filtered_pages < JUDGED_FILTERED { Duration::ZERO } else { self.filtered / self.filtered_pages };
        (waited.max(mean) > allowed).then(|| {
            format!("the filter created_at_after makes pages slow: over {allowed:.1?}, {plain:.1?} without it")
        })
    }
}

/// How many lanes there are: as many as fill the request budget, then twice as many for as long as that pays.
#[derive(Debug)]
pub(super) struct Pace {
    pub(super) lanes: usize,
    /// Requests per second that the budget allows.
    budget: Option<f64>,
    /// Whether the number is this scan's own to choose.
    pub(super) may_change: bool,
    settled: bool,
    since: Instant,
    /// Pages since the beginning.
    pub(super) pages_read: usize,
    pages: usize,
    rows: usize,
    best: f64,
}

/// Over so many pages, and this long at least, a number of lanes is judged.
const JUDGED_PAGES: usize = 12;
const JUDGED_TIME: Duration = Duration::from_millis(200);

/// A budget of which this share is used has no room for another lane.
const FULL: f64 = 0.9;

/// Twice as many lanes must bring so many times the rows to be worth it.
const WORTH_DOUBLING: f64 = 1.2;

impl Pace {
    pub(super) fn new(lanes: Lanes, client: &Client) -> Self {
        let budget = client.quota().requests_per_second();
        let lanes_now = match lanes {
            Lanes::Fixed(lanes) => lanes,
            Lanes::Automatic => lanes_for(budget, client.latency()),
        };
        let may_change = lanes == Lanes::Automatic;
        Self {
            lanes: lanes_now,
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

    /// Takes in a page's rows; may change the number of lanes.
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    pub(super) fn count(&mut self, rows: usize) {
        self.pages_read += 1;
        self.pages += 1;
        self.rows += rows;
        let elapsed = self.since.elapsed();
        if self.settled || self.pages < JUDGED_PAGES.max(self.lanes * 2) || elapsed < JUDGED_TIME {
            return;
        }
        let rate = self.rows as f64 / elapsed.as_secs_f64();
        if self.budget.is_some_and(|budget| self.pages as f64 / elapsed.as_secs_f64() >= budget * FULL) {
            self.settled = true;
        } else if rate > self.best * WORTH_DOUBLING && self.lanes < MOST_LANES {
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

/// As many lanes as keep a budget of `rate` requests per second busy where an answer takes `latency`.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small positive number")]
fn lanes_for(rate: Option<f64>, latency: Option<Duration>) -> usize {
    match (rate, latency) {
        (Some(rate), Some(latency)) => ((rate * latency.as_secs_f64() * 1.2).ceil() as usize).clamp(1, MOST_LANES),
        _ => 1,
    }
}
