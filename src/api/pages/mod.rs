//! A listing as a stream of pages.
//!
//! A failed page is an item *and* ends the stream; it never looks like the last page. When a listing has
//! ended is said in one place, the pure [`walk`], without any network. What a row is, this module does not
//! know: a resource's decoder turns a body into rows and says each row's [`RowKey`].

mod walk;

use bytes::Bytes;
use futures::Stream;

use super::{ApiError, Client, Refusal};
use walk::Walk;

/// What a listing must know of a row: who it is, and where it stands in the order of creation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowKey {
    /// The row's id.
    pub id: String,
    /// When it was created, Unix milliseconds; none where the row does not say.
    pub created_at: Option<i64>,
}

/// A page's body, read.
#[derive(Debug)]
pub struct Decoded<T> {
    /// The keys of the rows that could be read, in the order of `rows`.
    pub keys: Vec<RowKey>,
    /// How many rows the page held, readable or not.
    pub received: usize,
    /// How many rows the server says the whole listing has.
    pub total_count: Option<u64>,
    /// The rows, in whatever form the decoder gives them.
    pub rows: T,
}

/// One page, with the rows that this listing had not seen before.
#[derive(Debug)]
pub struct Page<T> {
    /// The rows, in the decoder's form; repeated ones included.
    pub rows: T,
    /// For each row whether it is new to this listing; none where all are.
    pub fresh: Option<Vec<bool>>,
    /// How many rows are new.
    pub fresh_count: usize,
    /// The last row's key; a cursor listing can start again after it.
    pub last: Option<RowKey>,
    /// How many rows the server says the whole listing has.
    pub total_count: Option<u64>,
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
    /// The row after which a cursor listing starts; none for its beginning.
    pub start_after: Option<RowKey>,
}

impl ListRequest {
    /// A listing of `path`, with the largest page that Clerk allows.
    #[must_use]
    pub fn new(path: impl Into<String>, order: Order) -> Self {
        Self { path: path.into(), query: Vec::new(), order, limit: 500, start_after: None }
    }

    /// The same cursor listing, from after `row` on.
    #[must_use]
    pub fn after(self, row: RowKey) -> Self {
        Self { start_after: Some(row), ..self }
    }

    /// The same listing with a parameter more.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.query.push((name, value.into()));
        self
    }
}

/// Lists `request` to its end. The stream holds one page at a time; dropping it between pages loses nothing
/// but the pages not yet read.
///
/// It ends after an empty page, or when the total that the server knows has been reached, and on the first
/// error. It does not compare what came with a count from elsewhere: that is for whoever commits it.
///
/// # Errors
/// Each item is what [`Client::get`] gives, and [`Refusal::Malformed`] where a listing does not move on.
pub fn list<T, D>(
    client: Client,
    request: ListRequest,
    decode: D,
) -> impl Stream<Item = Result<Page<T>, ApiError>> + Send
where
    T: Send,
    D: Fn(&Bytes) -> Result<Decoded<T>, String> + Send + Sync,
{
    async_stream::try_stream! {
        let mut walk = Walk::new(request.order, request.limit, request.start_after);
        while !walk.is_done() {
            let mut query = request.query.clone();
            query.extend(walk.query());
            let answer = client.get(&request.path, &query, |body: &Bytes| decode(body)).await;
            let decoded = match answer {
                Ok(decoded) => decoded,
                Err(error) if refuses_cursor(&error) && walk.step_back() => continue,
                Err(error) => Err(error)?,
            };
            let fresh = walk
                .accept(&decoded.keys, decoded.received, decoded.total_count)
                .map_err(|why| stuck(&request.path, &why))?;
            let last = decoded.keys.last().cloned();
            let fresh_count = fresh.iter().filter(|fresh| **fresh).count();
            let fresh = (fresh_count < fresh.len()).then_some(fresh);
            yield Page { rows: decoded.rows, fresh, fresh_count, last, total_count: decoded.total_count };
        }
    }
}

/// A deleted row may be refused as a cursor; nobody knows with which status.
fn refuses_cursor(error: &ApiError) -> bool {
    matches!(error.refusal, Refusal::Parameter) || (error.refusal == Refusal::Absent && error.status == Some(404))
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
