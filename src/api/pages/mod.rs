//! A listing as a stream of pages.
//!
//! A failed page is an item *and* ends the stream; it never looks like the last page. When a listing has
//! ended is said in one place, the pure `walk`, without any network. What a row is, this module does not
//! know: a resource's decoder turns a body into rows and says each row's [`RowKey`].

mod cursor;
mod fingerprints;
mod offset;
mod pace;
pub mod scan;
mod walk;

use futures::Stream;
use serde::{Deserialize, Serialize};

use super::{ApiError, Client, Refusal};
pub use fingerprints::Fingerprints;
use walk::Walk;

/// What a listing must know of a row: who it is, and where it stands in the order of creation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowKey {
    /// The row's id.
    pub id: String,
    /// When it was created, Unix milliseconds; `None` if the row does not say.
    pub created_at: Option<i64>,
}

/// A page's body, read.
#[derive(Debug)]
pub struct Decoded<T> {
    /// The key of every row of the page, in its order; `None` if a row has no id.
    pub keys: Vec<Option<RowKey>>,
    /// Which of them, by their place in the page and in ascending order, could not be read.
    pub unreadable: Vec<usize>,
    /// How many rows the server says the whole listing has.
    pub total_count: Option<u64>,
    /// The rows that could be read, in the decoder's form.
    pub rows: T,
}

/// One page, with the rows that this listing had not seen before.
#[derive(Debug)]
pub struct Page<T> {
    /// The rows, in the decoder's form; repeated ones included.
    pub rows: T,
    /// For each row whether it is new to this listing; `None` if all are.
    pub fresh: Option<Vec<bool>>,
    /// How many rows are new.
    pub fresh_count: usize,
    /// The keys of the rows that could be read, in the order of `rows`.
    pub keys: Vec<RowKey>,
    /// How many rows the server says the whole listing has.
    pub total_count: Option<u64>,
    /// The position of the page's first row in the list, counted from 0; `None` for a page read by cursor.
    pub offset: Option<u64>,
}

/// How to walk through a listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// `starting_after`, oldest first: a page costs the same however deep, and rows created meanwhile come last.
    Cursor,
    /// `offset`, pages overlapping by one row, in the order that the query's `order_by` says.
    Offset,
}

/// One listing: where, how, and with which filters.
#[derive(Clone, Debug)]
pub struct ListRequest {
    /// The path under `/v1`.
    pub path: String,
    /// Parameters that stay the same from page to page.
    pub query: Vec<(&'static str, String)>,
    /// How to walk through it.
    pub order: Order,
    /// Rows asked for per page, 1 to 500; the server may send fewer.
    pub limit: usize,
    /// The last rows of a listing that is to be gone on with, oldest first: a cursor listing starts after the
    /// last one, or after one before it where that one is gone. Empty for a listing from its beginning.
    pub trail: Vec<RowKey>,
    /// Rows created at this moment or later (Unix milliseconds) are not what is asked for: a cursor listing that
    /// brings page after page of them has an end only because it is given one. None: it is followed to its end.
    pub until: Option<i64>,
}

/// The largest page that Clerk sends.
pub const LARGEST_PAGE: usize = 500;

impl ListRequest {
    /// The whole listing at `path`, in the largest pages.
    #[must_use]
    pub fn new(path: impl Into<String>, order: Order) -> Self {
        Self { path: path.into(), query: Vec::new(), order, limit: LARGEST_PAGE, trail: Vec::new(), until: None }
    }

    /// The same with one more parameter on every page.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.query.push((name, value.into()));
        self
    }

    /// The same, given up some pages after `until`, Unix milliseconds.
    #[must_use]
    pub fn until(self, until: i64) -> Self {
        Self { until: Some(until), ..self }
    }

    /// The same, gone on with after the last row of `trail`.
    #[must_use]
    pub fn after(self, trail: Vec<RowKey>) -> Self {
        Self { trail, ..self }
    }
}

/// A listing on its way. It holds one page at a time.
pub struct Listing<D> {
    client: Client,
    request: ListRequest,
    decode: D,
    walk: Walk,
}

impl<D> Listing<D> {
    /// A listing whose pages `decode` reads; nothing is asked yet.
    pub fn new(client: Client, request: ListRequest, decode: D) -> Self {
        let walk = Walk::new(&request);
        Self { client, request, decode, walk }
    }

    /// The next page; none once the listing has ended: after an empty page, confirmed for a cursor listing by a
    /// row that is still there, or when the total that the server knows has been reached. It does not compare
    /// what came with a count from elsewhere: that is for whoever commits it.
    ///
    /// # Errors
    /// What [`Client::get`] gives, and [`Refusal::Malformed`] where a listing does not move on.
    pub async fn next_page<T>(&mut self) -> Result<Option<Page<T>>, ApiError>
    where
        D: Fn(&[u8]) -> Result<Decoded<T>, String>,
    {
        while !self.walk.is_done() {
            let mut query = self.request.query.clone();
            query.extend(self.walk.query());
            let offset = self.walk.offset();
            let answer = self.client.get(&self.request.path, &query, &self.decode).await;
            let decoded = match answer {
                Ok(decoded) => decoded,
                Err(error) if refuses_cursor(&error) && self.walk.step_back() => continue,
                Err(error) => return Err(error),
            };
            let Decoded { rows, keys, unreadable, total_count } = decoded;
            let fresh = self.walk.accept(&keys, total_count).map_err(|why| stuck(&self.request.path, &why))?;
            let readable = |at: usize| unreadable.binary_search(&at).is_err();
            let keys: Vec<_> =
                keys.into_iter().enumerate().filter(|(at, _)| readable(*at)).map(|(_, key)| key).collect();
            let fresh: Vec<_> =
                fresh.into_iter().enumerate().filter(|(at, _)| readable(*at)).map(|(_, fresh)| fresh).collect();
            let keys = keys.into_iter().map(|key| key.ok_or("a row was read that has no id"));
            let keys = keys.collect::<Result<Vec<_>, _>>().map_err(|why| stuck(&self.request.path, why))?;
            let fresh_count = fresh.iter().filter(|fresh| **fresh).count();
            let fresh = (fresh_count < fresh.len()).then_some(fresh);
            return Ok(Some(Page { rows, fresh, fresh_count, keys, total_count, offset }));
        }
        Ok(None)
    }

    /// Opens an ended listing again, for rows that came meanwhile or were missed: a cursor listing goes on after
    /// its last row, an offset listing goes through all of it once more. Rows seen before stay seen.
    pub fn reopen(&mut self) {
        self.walk.reopen();
    }

    /// The pages that are left, as a stream. An error ends it; dropping it between two pages loses nothing.
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

/// Lists `request` to its end, as a stream of pages: [`Listing::pages`] that owns its listing.
///
/// # Errors
/// Each item is what [`Listing::next_page`] gives.
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

/// A deleted row may be refused as a cursor; nobody knows with which status.
fn refuses_cursor(error: &ApiError) -> bool {
    let is_unknown = matches!(error.refusal, Refusal::Absent | Refusal::Missing | Refusal::Denied);
    error.refusal == Refusal::Parameter || (is_unknown && error.status == Some(404))
}

fn stuck(path: &str, why: &str) -> ApiError {
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
