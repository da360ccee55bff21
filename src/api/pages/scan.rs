//! A cursor listing walked by several lanes at once.
//!
//! A cursor is sequential, so one lane is bound by the time of a round trip. The range of creation is cut into
//! closed-open slices, each walked with a cursor of its own; a lane that has nothing left takes half of the
//! largest remainder. The server's filters exclude both ends and know whole milliseconds, so every row is also
//! held against its slice here: it counts for the slice that its moment of creation lies in, and for no other.
//! The last slice has no end: who signs up meanwhile is in it.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::{ApiError, Client, Decoded, ListRequest, Listing, Page, RowKey, stuck};

/// The most lanes that are ever worth it.
const MOST_LANES: usize = 16;

/// A slice is cut in two only where each half is worth so many rows.
const WORTH_CUTTING: f64 = 1000.0;

/// How many of a slice's last rows are written down for whoever goes on with it.
const TRAIL: usize = 100;

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

/// A part of the range of creation, in Unix milliseconds, and how far it has been delivered.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Slice {
    /// The first moment in it; none for the beginning of time.
    start: Option<i64>,
    /// The first moment after it; none for the end of time.
    end: Option<i64>,
    /// The last rows delivered, oldest first.
    trail: VecDeque<RowKey>,
    /// How many have been delivered.
    rows: u64,
    done: bool,
}

impl Slice {
    /// The moment of the last row delivered.
    fn frontier(&self) -> Option<i64> {
        self.trail.back().and_then(|row| row.created_at)
    }

    /// How many rows are left, judged by those that came, up to `horizon` where there is no end; and the moment
    /// up to which it has been walked.
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    fn remainder(&self, first: i64, horizon: i64) -> Option<(f64, i64)> {
        let frontier = self.frontier()?;
        let walked = (frontier - self.start.unwrap_or(first)).max(1) as f64;
        let left = self.end.unwrap_or(horizon) - frontier;
        (!self.done && left > 1).then(|| (self.rows as f64 / walked * left as f64, frontier))
    }

    fn request(&self, whole: &ListRequest) -> ListRequest {
        let mut request = whole.clone();
        if let Some(start) = self.start {
            request = request.with("created_at_after", (start - 1).to_string());
        }
        if let Some(end) = self.end {
            request = request.with("created_at_before", end.to_string());
        }
        request.after(self.trail.iter().cloned().collect())
    }

    fn deliver(&mut self, keys: &[RowKey], fresh: &[bool]) {
        for (key, _) in keys.iter().zip(fresh).filter(|(_, fresh)| **fresh) {
            if self.trail.len() == TRAIL {
                self.trail.pop_front();
            }
            self.trail.push_back(key.clone());
            self.rows += 1;
        }
    }
}

/// Where a scan stands, for another run to go on with.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ScanPosition(Vec<Slice>);

/// What a lane comes back with: its slice, its listing and the next page.
type Outcome<D, T> = (usize, Listing<D>, Result<Option<Page<T>>, ApiError>);

/// See the [module](self).
pub struct Scan<D, T> {
    client: Client,
    whole: ListRequest,
    decode: D,
    /// What counts as now where a slice has no end, Unix milliseconds.
    horizon: i64,
    /// The oldest row's moment, as far as it is known.
    first: i64,
    slices: Vec<Slice>,
    /// The last slice's listing, once it has ended.
    ended: Option<Listing<D>>,
    walking: FuturesUnordered<Lane<Outcome<D, T>>>,
    pace: Pace,
}

impl<D, T> Scan<D, T>
where
    D: Fn(&Bytes) -> Result<Decoded<T>, String> + Clone + Send + Sync + 'static,
    T: Send + 'static,
{
    /// A scan of `whole`, a cursor listing oldest first, from its beginning or from `position`. `now` is what the
    /// server's clock says, Unix milliseconds.
    pub fn new(
        client: Client,
        whole: ListRequest,
        decode: D,
        lanes: Lanes,
        now: i64,
        position: Option<ScanPosition>,
    ) -> Self {
        let slices = position.map(|position| position.0).filter(|slices| !slices.is_empty());
        let slices = slices.unwrap_or_else(|| vec![Slice::default()]);
        let first = slices.iter().filter_map(|slice| slice.start.or(slice.frontier())).min().unwrap_or(now);
        let pace = Pace::new(lanes, &client);
        let mut scan = Self {
            client,
            whole,
            decode,
            horizon: now,
            first,
            slices,
            ended: None,
            walking: FuturesUnordered::new(),
            pace,
        };
        for at in 0..scan.slices.len() {
            if !scan.slices[at].done || scan.slices[at].end.is_none() {
                scan.slices[at].done = false;
                scan.begin(at);
            }
        }
        scan
    }

    /// The next page of any slice; none once all of them have ended.
    ///
    /// # Errors
    /// What [`Listing::next_page`] gives, and [`Refusal::Malformed`](super::Refusal::Malformed) where the server
    /// sends rows that a filter excludes.
    pub async fn next_page(&mut self) -> Result<Option<Page<T>>, ApiError> {
        loop {
            self.cut();
            let Some((at, listing, outcome)) = self.walking.next().await else { return Ok(None) };
            let Some(mut page) = outcome? else {
                self.end(at, listing);
                continue;
            };
            let passed = self.clip(at, &mut page).map_err(|why| stuck(&self.whole.path, &why))?;
            if passed {
                self.end(at, listing);
            } else {
                self.go_on(at, listing);
            }
            self.pace.count(page.fresh_count);
            return Ok(Some(page));
        }
    }

    /// Whether it has been cut into slices.
    #[must_use]
    pub fn was_cut(&self) -> bool {
        self.slices.len() > 1
    }

    /// Where it stands: what has been delivered, and nothing that is still on its way.
    #[must_use]
    pub fn position(&self) -> ScanPosition {
        ScanPosition(self.slices.iter().filter(|slice| !slice.done || slice.end.is_none()).cloned().collect())
    }

    /// Opens the last slice again, for rows that came after it had ended.
    pub fn reopen(&mut self) {
        let last = self.slices.iter().position(|slice| slice.end.is_none());
        if let (Some(at), Some(mut listing)) = (last, self.ended.take()) {
            listing.reopen();
            self.slices[at].done = false;
            self.go_on(at, listing);
        }
    }

    fn begin(&mut self, at: usize) {
        let request = self.slices[at].request(&self.whole);
        let listing = Listing::new(self.client.clone(), request, self.decode.clone());
        self.go_on(at, listing);
    }

    /// Fetches and reads a slice's next page in a task of its own: several pages are read on several cores.
    fn go_on(&mut self, at: usize, mut listing: Listing<D>) {
        let page = async move {
            let outcome = listing.next_page().await;
            (at, listing, outcome)
        };
        self.walking.push(Lane(tokio::spawn(page)));
    }

    fn end(&mut self, at: usize, listing: Listing<D>) {
        self.slices[at].done = true;
        if self.slices[at].end.is_none() {
            self.ended = Some(listing);
        }
    }

    /// Cuts remainders in two for as long as there are lanes without a slice.
    fn cut(&mut self) {
        while self.walking.len() < self.pace.lanes {
            let remainder =
                |at: usize| self.slices[at].remainder(self.first, self.horizon).map(|(rows, up_to)| (rows, up_to, at));
            let largest = (0..self.slices.len()).filter_map(remainder).max_by(|left, right| left.0.total_cmp(&right.0));
            let Some((_, up_to, at)) = largest.filter(|(rows, ..)| *rows >= WORTH_CUTTING) else { return };
            let end = self.slices[at].end;
            let middle = up_to + (end.unwrap_or(self.horizon) - up_to) / 2 + 1;
            self.slices[at].end = Some(middle);
            self.slices.push(Slice { start: Some(middle), end, ..Slice::default() });
            self.begin(self.slices.len() - 1);
        }
    }

    /// Drops the rows of a page that lie beyond its slice; whether there were any.
    fn clip(&mut self, at: usize, page: &mut Page<T>) -> Result<bool, String> {
        let slice = &self.slices[at];
        let mut fresh = page.fresh.take().unwrap_or_else(|| vec![true; page.keys.len()]);
        let mut passed = false;
        for (key, fresh) in page.keys.iter().zip(&mut fresh) {
            let Some(created_at) = key.created_at else { continue };
            // A filter that includes its own moment is harmless; one that is not heeded is not.
            if slice.start.is_some_and(|start| created_at < start - 1) {
                return Err("rows came that the filter created_at_after excludes".to_owned());
            }
            *fresh &= slice.start.is_none_or(|start| created_at >= start);
            self.first = self.first.min(created_at);
            if slice.end.is_some_and(|end| created_at >= end) {
                passed = true;
                *fresh = false;
            }
        }
        self.slices[at].deliver(&page.keys, &fresh);
        page.fresh_count = fresh.iter().filter(|fresh| **fresh).count();
        page.fresh = (page.fresh_count < fresh.len()).then_some(fresh);
        Ok(passed)
    }
}

/// A lane's task; dropping it stops it.
struct Lane<O>(JoinHandle<O>);

impl<O> Future for Lane<O> {
    type Output = O;

    fn poll(mut self: std::pin::Pin<&mut Self>, context: &mut std::task::Context<'_>) -> std::task::Poll<O> {
        match self.0.poll_unpin(context) {
            std::task::Poll::Ready(Ok(outcome)) => std::task::Poll::Ready(outcome),
            // A panic in a lane is a panic here; an aborted lane is never polled again.
            std::task::Poll::Ready(Err(error)) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => std::task::Poll::Pending,
            },
            std::task::Poll::Pending => std::task::Poll::Pending,
        }
    }
}

impl<O> Drop for Lane<O> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// How many lanes there are: as many as fill the request budget, then twice as many for as long as that pays.
#[derive(Debug)]
struct Pace {
    lanes: usize,
    /// Requests per second that the budget allows.
    budget: Option<f64>,
    settled: bool,
    since: Instant,
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
    fn new(lanes: Lanes, client: &Client) -> Self {
        let budget = client.quota().requests_per_second();
        let lanes_now = match lanes {
            Lanes::Fixed(lanes) => lanes,
            Lanes::Automatic => lanes_for(budget, client.latency()),
        };
        let settled = lanes != Lanes::Automatic;
        Self { lanes: lanes_now, budget, settled, since: Instant::now(), pages: 0, rows: 0, best: 0.0 }
    }

    /// Takes in a page's rows; may change the number of lanes.
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    fn count(&mut self, rows: usize) {
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
