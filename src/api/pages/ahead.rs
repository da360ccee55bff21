//! Reads a list by `offset` with several requests in flight.
//!
//! Once the server has stated the total, the offsets of the next pages are known, so their pages are requested ahead.
//! What a page proves does not depend on when it was read: [`OffsetWalk`](super::offset) accepts it only if it begins
//! with a row that was seen before. If the walk goes elsewhere, because a page was short or did not connect, the pages
//! requested ahead are discarded.

use std::collections::VecDeque;

use super::lane::Lane;
use super::pace::{Lanes, Pace};
use super::walk::Walk;
use super::{ApiError, Client, Decoded, ListRequest, Page, accept, malformed_listing};

type PageLane<T> = Lane<Result<Decoded<T>, ApiError>>;

/// A listing by offset in progress. It holds one page for each lane.
pub struct AheadListing<D, T> {
    client: Client,
    request: ListRequest,
    decode: D,
    walk: Walk,
    pace: Pace,
    /// The pages in flight, by offset, in the order of the list.
    ahead: VecDeque<(u64, PageLane<T>)>,
}

impl<D, T> AheadListing<D, T>
where
    D: Fn(&[u8]) -> Result<Decoded<T>, String> + Clone + Send + Sync + 'static,
    T: Send + 'static,
{
    /// Creates a listing by offset whose pages are decoded by `decode`. Sends no request yet.
    pub fn new(client: Client, request: ListRequest, decode: D, lanes: Lanes) -> Self {
        let (walk, pace) = (Walk::new(&request), Pace::new(lanes, &client));
        Self { client, request, decode, walk, pace, ahead: VecDeque::new() }
    }

    /// Returns the next page; `None` if the listing has ended, as [`Listing::next_page`](super::Listing::next_page)
    /// does.
    ///
    /// # Errors
    /// The errors of [`Client::get`], and [`Refusal::Malformed`](super::Refusal::Malformed) if the listing makes no
    /// progress.
    pub async fn next_page(&mut self) -> Result<Option<Page<T>>, ApiError> {
        if self.walk.is_done() {
            return Ok(None);
        }
        let offset = self.walk.offset().unwrap_or_default();
        if self.ahead.front().is_none_or(|(at, _)| *at != offset) {
            self.ahead.clear();
            self.fetch(offset);
        }
        let Some((_, lane)) = self.ahead.front_mut() else { return Ok(None) };
        let decoded = lane.await;
        self.ahead.pop_front();
        let decoded = decoded?;
        let received = decoded.keys.len() as u64;
        let page = accept(&mut self.walk, decoded, Some(offset));
        let page = page.map_err(|why| malformed_listing(&self.request.path, &why))?;
        self.pace.count(page.fresh_count);
        self.fetch_ahead(received, page.total_count);
        Ok(Some(page))
    }

    /// Requests the pages that follow, if `total` says that there are any. The last page had `received` rows, and so
    /// the next ones have.
    fn fetch_ahead(&mut self, received: u64, total: Option<u64>) {
        let (Some(next), Some(total)) = (self.walk.offset().filter(|_| !self.walk.is_done()), total) else {
            return self.ahead.clear();
        };
        if received < 2 || self.ahead.front().is_some_and(|(at, _)| *at != next) {
            self.ahead.clear();
        }
        while self.ahead.len() < self.pace.lanes {
            let last = self.ahead.back().map(|(at, _)| *at);
            let offset = last.map_or(next, |last| last + received - 1);
            // A page that would hold only its overlap is left to the walk, which knows whether it is needed.
            if received < 2 || (last.is_some() && offset + 1 >= total) {
                return;
            }
            self.fetch(offset);
        }
    }

    fn fetch(&mut self, offset: u64) {
        let (client, decode, path) = (self.client.clone(), self.decode.clone(), self.request.path.clone());
        let mut query = self.request.query.clone();
        query.extend([("limit", self.request.limit.to_string()), ("offset", offset.to_string())]);
        let page = async move { client.get(&path, &query, &decode).await };
        self.ahead.push_back((offset, Lane::spawn(page)));
    }

    /// Reads the whole list again, to find rows that were added meanwhile or were missed. Rows returned before are still
    /// known.
    pub fn reopen(&mut self) {
        self.ahead.clear();
        self.walk.reopen();
    }
}
