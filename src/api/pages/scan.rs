//! Reads a cursor listing in several lanes at once.
//!
//! A cursor is sequential, so the round-trip time limits a single lane. The range of creation times is cut into
//! half-open slices, and each slice is read with its own cursor. A lane that has finished takes half of the largest
//! unread remainder. A filter sets the beginning of a slice, but nothing sets its end: the first row beyond the end
//! shows that the slice is complete. This costs half a page per slice, and saves the requests that would confirm the
//! end of a list. The filter excludes its own boundary and has millisecond precision, so every row is also checked
//! here: it counts for the slice that contains its creation time, and for no other. The last slice has no end, so it
//! includes rows created during the scan.
//!
//! Unlike a single cursor, several lanes require that the filter works and that every row has a creation time. If a
//! requirement is not met, or if the filter makes the server slow, the scan ends with an error. If [`Scan::was_cut`]
//! then returns true, a scan with one lane may still succeed.

use std::collections::VecDeque;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use serde::{Deserialize, Serialize};

use super::lane::Lane;
pub use super::pace::Lanes;
use super::pace::{Pace, RequestStart, SLOW_AT_LEAST, Speed};
use super::{ApiError, Client, Decoded, ListRequest, Listing, Page, RowKey, malformed_listing};

/// A slice is cut only if at least this many pages of it are left, because a cut costs half a page.
const MIN_PAGES_TO_CUT: usize = 3;

/// The number of a slice's last rows that are kept as its resume point.
const TRAIL_ROWS: usize = 100;

/// A part of the range of creation times, in Unix milliseconds, and how much of it has been delivered.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct CreationRange {
    /// The first time in the slice; `None` if it has no beginning.
    start: Option<i64>,
    /// The first time after the slice; `None` if it has no end.
    end: Option<i64>,
    /// The last rows delivered, oldest first.
    trail: VecDeque<RowKey>,
    /// The number of rows delivered.
    rows: u64,
    done: bool,
}

impl CreationRange {
    /// Returns the creation time of the last row delivered.
    fn frontier(&self) -> Option<i64> {
        self.trail.back().and_then(|row| row.created_at)
    }

    /// Estimates how many rows are left, from the density of the rows delivered so far. A slice without an end is
    /// estimated up to `horizon`. Also returns the creation time up to which the slice has been read. `None` if the
    /// slice is done, if too little is left to cut, or if the last row delivered is missing or has no creation time.
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
            if self.trail.len() == TRAIL_ROWS {
                self.trail.pop_front();
            }
            self.trail.push_back(key.clone());
            self.rows += 1;
        }
    }
}

/// The resume point of a scan, for another run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ScanPosition(Vec<CreationRange>);

/// The result of a lane: its slice, its listing and the next page.
struct LaneOutcome<D, T> {
    at: usize,
    listing: Listing<D>,
    page: Result<Option<Page<T>>, ApiError>,
    took: Duration,
}

/// A cursor listing in several lanes, each of which reads the rows created in one range of time.
pub struct Scan<D, T> {
    client: Client,
    whole: ListRequest,
    decode: D,
    /// The assumed end of a slice without an end, in Unix milliseconds.
    horizon: i64,
    /// The creation time of the oldest row, as far as it is known.
    first: i64,
    slices: Vec<CreationRange>,
    /// The listing of the last slice, once it has ended.
    ended: Option<Listing<D>>,
    walking: FuturesUnordered<Lane<LaneOutcome<D, T>>>,
    /// The number of rows in the largest page so far.
    page_rows: usize,
    /// Whether a row without a creation time has arrived.
    undated: bool,
    speed: Speed,
    pace: Pace,
}

impl<D, T> Scan<D, T>
where
    D: Fn(&[u8]) -> Result<Decoded<T>, String> + Clone + Send + Sync + 'static,
    T: Send + 'static,
{
    /// Creates a scan of `whole`, a cursor listing, oldest first, from its beginning or from `position`. `now` is the
    /// server's time in Unix milliseconds.
    pub fn new(
        client: Client,
        whole: ListRequest,
        decode: D,
        lanes: Lanes,
        now: i64,
        position: Option<ScanPosition>,
    ) -> Self {
        let slices = position.map(|position| position.0).filter(|slices| !slices.is_empty());
        let slices = slices.unwrap_or_else(|| vec![CreationRange::default()]);
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

    /// Returns the next page of any slice; `None` once all slices have ended.
    ///
    /// # Errors
    /// The errors of [`Listing::next_page`], and [`Refusal::Malformed`](super::Refusal::Malformed) if the server sends
    /// rows that the filter excludes or rows without a creation time, or if the filter makes it slow.
    pub async fn next_page(&mut self) -> Result<Option<Page<T>>, ApiError> {
        loop {
            self.cut();
            let next = tokio::time::timeout(SLOW_AT_LEAST, self.walking.next()).await;
            if let Some(why) = self.why_lanes_are_slow(next.as_ref().ok().and_then(Option::as_ref)) {
                return Err(malformed_listing(&self.whole.path, &why));
            }
            // Timed out without a page. The timeout only serves to check whether the lanes are slow.
            let Ok(next) = next else { continue };
            let Some(LaneOutcome { at, listing, page, .. }) = next else { return Ok(None) };
            let Some(mut page) = page? else {
                self.end(at, listing);
                continue;
            };
            let is_past_end = self.clip(at, &mut page).map_err(|why| malformed_listing(&self.whole.path, &why))?;
            if is_past_end {
                self.end(at, listing);
            } else {
                self.fetch_next(at, listing);
            }
            self.pace.count(page.fresh_count);
            return Ok(Some(page));
        }
    }

    /// Returns whether the scan has been cut into slices.
    #[must_use]
    pub fn was_cut(&self) -> bool {
        self.slices.len() > 1
    }

    /// Returns the resume point. It covers the rows delivered, not the pages in flight.
    #[must_use]
    pub fn position(&self) -> ScanPosition {
        ScanPosition(self.slices.iter().filter(|slice| !slice.done || slice.end.is_none()).cloned().collect())
    }

    /// Reopens the last slice, to read rows that were added after it had ended.
    pub fn reopen(&mut self) {
        let last = self.slices.iter().position(|slice| slice.end.is_none());
        if let (Some(at), Some(mut listing)) = (last, self.ended.take()) {
            listing.reopen();
            self.slices[at].done = false;
            self.fetch_next(at, listing);
        }
    }

    fn begin(&mut self, at: usize) {
        let request = self.slices[at].request(&self.whole);
        let listing = Listing::new(self.client.clone(), request, self.decode.clone());
        self.fetch_next(at, listing);
    }

    /// Fetches and decodes the next page of a slice in a separate task, so that pages are decoded on several cores.
    fn fetch_next(&mut self, at: usize, mut listing: Listing<D>) {
        let start = RequestStart::now(&self.client);
        if self.slices[at].start.is_some() && self.slices[at].rows == 0 {
            self.speed.first_pages.push((at, start));
        }
        let client = self.client.clone();
        let page = async move {
            let page = listing.next_page().await;
            LaneOutcome { at, listing, page, took: start.elapsed(&client) }
        };
        self.walking.push(Lane::spawn(page));
    }

    fn end(&mut self, at: usize, listing: Listing<D>) {
        self.slices[at].done = true;
        if self.slices[at].end.is_none() {
            self.ended = Some(listing);
        }
    }

    /// Cuts the largest remainders until every lane has a slice. If the first page is not full, nothing is cut, because
    /// the page may be the whole list.
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
            if pages < MIN_PAGES_TO_CUT {
                return;
            }
            // If only one slice is being read, it is cut for all lanes at once.
            let idle = self.pace.lanes - self.walking.len();
            let alone = self.walking.len() <= 1;
            let parts = if alone { (idle + 1).min(pages / 2).max(2) } else { 2 };
            self.cut_slice(at, up_to, parts);
        }
    }

    /// Cuts the part of a slice after `up_to` into `parts`.
    fn cut_slice(&mut self, at: usize, up_to: i64, parts: usize) {
        let end = self.slices[at].end;
        let left = end.unwrap_or(self.horizon) - up_to;
        let bound =
            |part: usize| up_to + i64::try_from(i128::from(left) * part as i128 / parts as i128).unwrap_or(left) + 1;
        self.slices[at].end = Some(bound(1));
        for part in 1..parts {
            let end = if part + 1 < parts { Some(bound(part + 1)) } else { end };
            self.slices.push(CreationRange { start: Some(bound(part)), end, ..CreationRange::default() });
            self.begin(self.slices.len() - 1);
        }
    }

    /// Records how long a page took. Returns why several lanes are slower than one without the filter; `None` if they
    /// are not, or if the user has set the number of lanes.
    fn why_lanes_are_slow(&mut self, outcome: Option<&LaneOutcome<D, T>>) -> Option<String> {
        if let Some(outcome) = outcome {
            self.speed.record(outcome.at, self.slices[outcome.at].start.is_some(), outcome.took);
        }
        self.speed.too_slow(self.pace.lanes, &self.client).filter(|_| self.pace.may_change)
    }

    /// Marks the rows of a page that lie outside its slice as not new. Returns whether any row lies beyond the end of
    /// the slice.
    fn clip(&mut self, at: usize, page: &mut Page<T>) -> Result<bool, String> {
        let slice = &self.slices[at];
        let mut fresh = page.fresh.take().unwrap_or_else(|| vec![true; page.keys.len()]);
        let mut is_past_end = false;
        self.page_rows = self.page_rows.max(page.keys.len());
        for (key, fresh) in page.keys.iter().zip(&mut fresh) {
            let Some(created_at) = key.created_at else {
                self.undated = true;
                if self.slices.len() > 1 {
                    return Err("the server sent rows without a creation time".to_owned());
                }
                continue;
            };
            // A filter that includes its own boundary is harmless; a filter that the server ignores is not.
            if slice.start.is_some_and(|start| created_at < start - 1) {
                return Err("the server sent rows that the filter created_at_after excludes".to_owned());
            }
            *fresh &= slice.start.is_none_or(|start| created_at >= start);
            self.first = self.first.min(created_at);
            if slice.end.is_some_and(|end| created_at >= end) {
                is_past_end = true;
                *fresh = false;
            }
        }
        self.slices[at].deliver(&page.keys, &fresh);
        page.fresh_count = fresh.iter().filter(|fresh| **fresh).count();
        page.fresh = (page.fresh_count < fresh.len()).then_some(fresh);
        Ok(is_past_end)
    }
}
