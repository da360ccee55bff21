//! A cursor listing walked by several lanes at once.
//!
//! A cursor is sequential, so one lane is bound by the time of a round trip. The range of creation is cut into
//! closed-open slices, each walked with a cursor of its own; a lane that has nothing left takes half of the
//! largest remainder. A filter says where a slice begins, and nothing where it ends: the first row beyond tells,
//! which costs half a page and spares the requests that would prove an end. The filter excludes its own moment and
//! knows whole milliseconds, so every row is also held against its slice here: it counts for the slice that its
//! moment of creation lies in, and for no other. The last slice has no end: who signs up meanwhile is in it.
//!
//! Lanes rely on more than one cursor does: on the filter, and on every row saying when it was created. Where
//! either fails, or the filter makes the server slow, the scan ends with an error after which [`Scan::was_cut`]
//! says that one lane may still succeed.

use std::collections::VecDeque;
use std::time::Duration;

use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;

pub use super::pace::Lanes;
use super::pace::{Began, Pace, SLOW_AT_LEAST, Speed};
use super::{ApiError, Client, Decoded, ListRequest, Listing, Page, RowKey, stuck};

/// A slice is cut only where so many pages of it are left: a cut costs half a page.
const WORTH_CUTTING: usize = 3;

/// How many of a slice's last rows are written down for whoever goes on with it.
const TRAIL: usize = 100;

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
struct Outcome<D, T> {
    at: usize,
    listing: Listing<D>,
    page: Result<Option<Page<T>>, ApiError>,
    took: Duration,
}

/// A listing by cursor in several lanes, each of which reads the rows created in a stretch of time.
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
    /// The rows of the largest page so far.
    page_rows: usize,
    /// Whether a row has come that does not say when it was created.
    undated: bool,
    speed: Speed,
    pace: Pace,
}

impl<D, T> Scan<D, T>
where
    D: Fn(&[u8]) -> Result<Decoded<T>, String> + Clone + Send + Sync + 'static,
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
            page_rows: 0,
            undated: false,
            speed: Speed::default(),
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
            let next = tokio::time::timeout(SLOW_AT_LEAST, self.walking.next()).await;
            if let Some(why) = self.why_lanes_are_slow(next.as_ref().ok().and_then(Option::as_ref)) {
                return Err(stuck(&self.whole.path, &why));
            }
            // Nothing has come for so long that it was worth a look.
            let Ok(next) = next else { continue };
            let Some(Outcome { at, listing, page, .. }) = next else { return Ok(None) };
            let Some(mut page) = page? else {
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
        let began = Began::now(&self.client);
        if self.slices[at].start.is_some() && self.slices[at].rows == 0 {
            self.speed.first_pages.push((at, began));
        }
        let client = self.client.clone();
        let page = async move {
            let page = listing.next_page().await;
            Outcome { at, listing, page, took: began.elapsed(&client) }
        };
        self.walking.push(Lane(tokio::spawn(page)));
    }

    fn end(&mut self, at: usize, listing: Listing<D>) {
        self.slices[at].done = true;
        if self.slices[at].end.is_none() {
            self.ended = Some(listing);
        }
    }

    /// Cuts remainders for as long as there are lanes without a slice. A first page that is not full may be all
    /// there is.
    fn cut(&mut self) {
        let short = self.pace.pages_read == 1 && self.page_rows < self.whole.limit;
        while self.walking.len() < self.pace.lanes && !self.undated && !short {
            let remainder =
                |at: usize| self.slices[at].remainder(self.first, self.horizon).map(|(rows, up_to)| (rows, up_to, at));
            let largest = (0..self.slices.len()).filter_map(remainder).max_by(|left, right| left.0.total_cmp(&right.0));
            let Some((rows, up_to, at)) = largest else { return };
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_precision_loss,
                clippy::cast_sign_loss,
                reason = "an estimate, and positive"
            )]
            let pages = (rows / self.page_rows.max(1) as f64) as usize;
            if pages < WORTH_CUTTING {
                return;
            }
            // Who walks alone is cut for all lanes at once.
            let idle = self.pace.lanes - self.walking.len();
            let alone = self.walking.len() <= 1;
            let parts = if alone { (idle + 1).min(pages / 2).max(2) } else { 2 };
            self.cut_slice(at, up_to, parts);
        }
    }

    /// Cuts what is left of a slice after `up_to` into `parts`.
    fn cut_slice(&mut self, at: usize, up_to: i64, parts: usize) {
        let end = self.slices[at].end;
        let left = end.unwrap_or(self.horizon) - up_to;
        let bound =
            |part: usize| up_to + i64::try_from(i128::from(left) * part as i128 / parts as i128).unwrap_or(left) + 1;
        self.slices[at].end = Some(bound(1));
        for part in 1..parts {
            let end = if part + 1 < parts { Some(bound(part + 1)) } else { end };
            self.slices.push(Slice { start: Some(bound(part)), end, ..Slice::default() });
            self.begin(self.slices.len() - 1);
        }
    }

    /// Takes in how long a page took; says why lanes are slower than one without the filter, where they are and
    /// nobody has asked for them.
    fn why_lanes_are_slow(&mut self, came: Option<&Outcome<D, T>>) -> Option<String> {
        if let Some(came) = came {
            self.speed.came(came.at, self.slices[came.at].start.is_some(), came.took);
        }
        self.speed.too_slow(self.pace.lanes, &self.client).filter(|_| self.pace.may_change)
    }

    /// Drops the rows of a page that lie beyond its slice; whether there were any.
    fn clip(&mut self, at: usize, page: &mut Page<T>) -> Result<bool, String> {
        let slice = &self.slices[at];
        let mut fresh = page.fresh.take().unwrap_or_else(|| vec![true; page.keys.len()]);
        let mut passed = false;
        self.page_rows = self.page_rows.max(page.keys.len());
        for (key, fresh) in page.keys.iter().zip(&mut fresh) {
            let Some(created_at) = key.created_at else {
                self.undated = true;
                if self.slices.len() > 1 {
                    return Err("rows came that do not say when they were created".to_owned());
                }
                continue;
            };
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
