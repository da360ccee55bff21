//! Reads a list as a stream of pages.
//!
//! A failed page is an item *and* ends the stream, so it never looks like the last page. Only the `walk` module decides
//! when a listing has ended; it is pure and does not use the network. This module does not know what a row is: a
//! resource's decoder turns a body into rows and returns the [`RowKey`] of each row.

mod ahead;
mod cursor;
mod fingerprints;
mod lane;
mod offset;
mod pace;
pub mod scan;
mod walk;

use futures::Stream;
use serde::{Deserialize, Serialize};

use super::{ApiError, Client, Refusal};
pub use ahead::AheadListing;
pub use fingerprints::Fingerprints;
use walk::Walk;

/// What a listing needs to know about a row: its id and its position in the order of creation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowKey {
    /// The row's id.
    pub id: String,
    /// The creation time in Unix milliseconds; `None` if the row has none.
    pub created_at: Option<i64>,
}

/// The decoded body of a page.
#[derive(Debug)]
pub struct Decoded<T> {
    /// The key of every row, in the order of the page; `None` for a row without an id.
    pub keys: Vec<Option<RowKey>>,
    /// Indexes of the rows that could not be decoded, in ascending order.
    pub unreadable: Vec<usize>,
    /// The number of rows in the whole list, if the server reports it.
    pub total_count: Option<u64>,
    /// The rows that could be decoded, in the decoder's type.
    pub rows: T,
}

/// One page of a listing, with a mark for each row that the listing had not returned before.
#[derive(Debug)]
pub struct Page<T> {
    /// The rows, in the decoder's type, including repeated rows.
    pub rows: T,
    /// For each row, whether it is new to this listing; `None` if all rows are new.
    pub fresh: Option<Vec<bool>>,
    /// The number of new rows.
    pub fresh_count: usize,
    /// The keys of the rows that could be decoded, in the order of `rows`.
    pub keys: Vec<RowKey>,
    /// The number of rows in the whole list, if the server reports it.
    pub total_count: Option<u64>,
    /// The position of the page's first row in the list, from 0; `None` for a page read by cursor.
    pub offset: Option<u64>,
}

/// How a listing moves from page to page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// By `starting_after`, oldest first. A page costs the same at any depth, and rows created during the listing come
    /// last.
    Cursor,
    /// By `offset`, in the order of the query's `order_by`. Each page overlaps the previous one by one row.
    Offset,
}

/// A request for a listing: path, parameters, order and page size.
#[derive(Clone, Debug)]
pub struct ListRequest {
    /// The path under `/v1`.
    pub path: String,
    /// The parameters that are the same for every page.
    pub query: Vec<(&'static str, String)>,
    /// How to move from page to page.
    pub order: Order,
    /// The number of rows requested per page, 1 to 500. The server may send fewer.
    pub limit: usize,
    /// The resume point: the last rows already read, oldest first. A cursor listing starts after the last of them, or
    /// after an earlier one if the last is deleted. Empty for a listing from the beginning.
    pub trail: Vec<RowKey>,
    /// Rows created at this time or later (Unix milliseconds) are not needed. A cursor listing may end after some pages
    /// of such rows; otherwise it might never end while new rows keep arriving. `None`: the listing is read to its end.
    pub until: Option<i64>,
}

/// The largest page size that Clerk allows.
pub const LARGEST_PAGE: usize = 500;

impl ListRequest {
    /// Creates a request for the whole list at `path`, with the largest page size.
    #[must_use]
    pub fn new(path: impl Into<String>, order: Order) -> Self {
        Self { path: path.into(), query: Vec::new(), order, limit: LARGEST_PAGE, trail: Vec::new(), until: None }
    }

    /// Adds a parameter to every page.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.query.push((name, value.into()));
        self
    }

    /// Ends the listing some pages after it reaches `until`, in Unix milliseconds. See the field `until`.
    #[must_use]
    pub fn until(self, until: i64) -> Self {
        Self { until: Some(until), ..self }
    }

    /// Resumes the listing after the last row of `trail`.
    #[must_use]
    pub fn after(self, trail: Vec<RowKey>) -> Self {
        Self { trail, ..self }
    }
}

/// A listing in progress. It holds one page at a time.
pub struct Listing<D> {
    client: Client,
    request: ListRequest,
    decode: D,
    walk: Walk,
}

impl<D> Listing<D> {
    /// Creates a listing whose pages are decoded by `decode`. Sends no request yet.
    pub fn new(client: Client, request: ListRequest, decode: D) -> Self {
        let walk = Walk::new(&request);
        Self { client, request, decode, walk }
    }

    /// Returns the next page; `None` if the listing has ended. A listing ends after an empty page or when it reaches
    /// the total that the server reports. For a cursor listing, an empty page counts only once a row that still exists
    /// confirms it. The listing does not compare its rows with a count from elsewhere: the caller must do so before
    /// committing them.
    ///
    /// # Errors
    /// The errors of [`Client::get`], and [`Refusal::Malformed`] if a listing makes no progress.
    pub async fn next_page<T>(&mut self) -> Result<Option<Page<T>>, ApiError>
    where
        D: Fn(&[u8]) -> Result<Decoded<T>, String>,
    {
        while !self.walk.is_done() {
            let mut query = self.request.query.clone();
            query.extend(self.walk.query());
            let offset = self.walk.offset();
            let result = self.client.get(&self.request.path, &query, &self.decode).await;
            let decoded = match result {
                Ok(decoded) => decoded,
                Err(error) if refuses_cursor(&error) && self.walk.step_back() => continue,
                Err(error) => return Err(error),
            };
            let page = accept(&mut self.walk, decoded, offset);
            return page.map(Some).map_err(|why| malformed_listing(&self.request.path, &why));
        }
        Ok(None)
    }

    /// Reopens a listing that has ended, to read rows that were added meanwhile or were missed. A cursor listing
    /// continues after its last row; an offset listing reads the whole list again. Rows returned before are still
    /// known.
    pub fn reopen(&mut self) {
        self.walk.reopen();
    }

    /// Returns the remaining pages as a stream. An error ends the stream. Dropping the stream between two pages loses
    /// nothing.
    pub fn pages<T>(&mut self) -> impl Stream<Item = Result<Page<T>, ApiError>> + Send
    where
        T: Send,
        D: Fn(&[u8]) -> Result<Decoded<T>, String> + Send + Sync,
    {
        async_stream::try_stream! {
            while let Some(page) = self.next_page().await? {
                yield page;
            }
        }
    }
}

/// Returns all pages of `request` as a stream, like [`Listing::pages`] but owning its listing.
///
/// # Errors
/// The errors of [`Listing::next_page`], as items of the stream.
pub fn list<T, D>(
    client: Client,
    request: ListRequest,
    decode: D,
) -> impl Stream<Item = Result<Page<T>, ApiError>> + Send
where
    T: Send,
    D: Fn(&[u8]) -> Result<Decoded<T>, String> + Send + Sync,
{
    async_stream::try_stream! {
        let mut listing = Listing::new(client, request, decode);
        while let Some(page) = listing.next_page().await? {
            yield page;
        }
    }
}

/// Passes a page to the walk, and marks the rows that are new. The error says why the listing cannot go on.
fn accept<T>(walk: &mut Walk, decoded: Decoded<T>, offset: Option<u64>) -> Result<Page<T>, String> {
    let Decoded { rows, keys, unreadable, total_count } = decoded;
    let fresh = walk.accept(&keys, total_count)?;
    let readable = |at: usize| unreadable.binary_search(&at).is_err();
    let keys = keys.into_iter().enumerate().filter(|(at, _)| readable(*at)).map(|(_, key)| key);
    let keys = keys.map(|key| key.ok_or("a row without an id was decoded"));
    let keys = keys.collect::<Result<Vec<_>, _>>()?;
    let fresh: Vec<_> = fresh.into_iter().enumerate().filter(|(at, _)| readable(*at)).map(|(_, fresh)| fresh).collect();
    let fresh_count = fresh.iter().filter(|fresh| **fresh).count();
    let fresh = (fresh_count < fresh.len()).then_some(fresh);
    Ok(Page { rows, fresh, fresh_count, keys, total_count, offset })
}

/// Returns whether the error may mean that the cursor's row was deleted. Clerk does not document the status for this
/// case.
fn refuses_cursor(error: &ApiError) -> bool {
    let is_unknown = matches!(error.refusal, Refusal::Absent | Refusal::Missing | Refusal::Denied);
    error.refusal == Refusal::Parameter || (is_unknown && error.status == Some(404))
}

fn malformed_listing(path: &str, why: &str) -> ApiError {
    ApiError {
        refusal: Refusal::Malformed,
        method: "GET",
        path: format!("/v1{path}"),
        status: Some(200),
        code: None,
        message: why.to_owned(),
        trace_id: None,
        attempts: 1,
        elapsed: std::time::Duration::ZERO,
    }
}
