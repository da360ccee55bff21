//! How many rows Clerk's lists have, found with few requests. A number that is known is not requested again.
//!
//! The number of users active since a time is the position of the first one who was not, in a list that is ordered by
//! that time.

use std::collections::HashMap;
use std::sync::Mutex;

use chrono::{DateTime, Utc};
use tokio::sync::OnceCell;

use super::by_offset::is_unknown_path;
use super::run::lock;
use super::staging::timestamps;
use crate::api::{ApiError, Client, Decoded, LARGEST_PAGE, Refusal};
use crate::resource::{
    Decode, FixedParameters, OffsetList, PageRows, Paging, PerUserList, Reading, Resource, USER_LIST,
};

/// The size of a list, or of several lists whose union is a resource.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ListSize {
    /// The number of rows that are listed. A row that is in several lists counts several times.
    pub(super) listed: u64,
    /// The least number of different rows: several lists may share all rows but those of the longest.
    pub(super) different: u64,
    /// Whether Clerk says how many rows each list has. If not, there may be more.
    pub(super) is_counted: bool,
    /// The number of requests that read all rows.
    pub(super) pages: u64,
}

/// The numbers of rows in Clerk's lists. See the [module](self).
pub(super) struct ListCounts {
    client: Client,
    /// The most requests that are sent to estimate one number.
    max_probes: u32,
    users: OnceCell<u64>,
    sizes: Mutex<HashMap<&'static str, Result<ListSize, ApiError>>>,
}

impl ListCounts {
    pub(super) fn new(client: Client, max_probes: u32) -> Self {
        Self { client, max_probes, users: OnceCell::new(), sizes: Mutex::default() }
    }

    /// Returns the number of users.
    pub(super) async fn users(&self) -> Result<u64, ApiError> {
        self.users.get_or_try_init(|| USER_LIST.count_rows(&self.client)).await.copied()
    }

    /// Returns the size of the list of `resource`; 0 for a resource that Clerk does not list as a whole.
    pub(super) async fn size_of(&self, resource: &Resource) -> Result<ListSize, ApiError> {
        let known = lock(&self.sizes).get(resource.name).cloned();
        if let Some(known) = known {
            return known;
        }
        let size = match resource.reading {
            Reading::Cursor(_) => self.users().await.map(|rows| whole(rows, pages(rows))),
            Reading::Offset(list) => self.size_of_parts(list).await,
            Reading::PerUser(list) => self.size_of_all(list).await,
            Reading::Single(_) => Ok(whole(1, 1)),
            Reading::PerParent(_) | Reading::Derived(_) | Reading::Ledger => Ok(ListSize::default()),
        };
        lock(&self.sizes).insert(resource.name, size.clone());
        size
    }

    /// Returns the size of a list by offset. If the instance does not know its path, the older path is tried.
    async fn size_of_parts(&self, list: OffsetList) -> Result<ListSize, ApiError> {
        let mut size = whole(0, 0);
        for query in list.queries() {
            let part = match (self.size_at(list, list.path, &query).await, list.older_path) {
                (Err(error), Some(older)) if is_unknown_path(&error) => self.size_at(list, older, &query).await?,
                (part, _) => part?,
            };
            size.listed += part.listed;
            size.different = size.different.max(part.different);
            size.is_counted &= part.is_counted;
            size.pages += part.pages;
        }
        Ok(size)
    }

    async fn size_at(
        &self,
        list: OffsetList,
        path: &str,
        query: &[(&'static str, &'static str)],
    ) -> Result<ListSize, ApiError> {
        let is_paged = list.paging == Paging::Offset;
        let limit: FixedParameters = if is_paged { &[("limit", "1")] } else { &[] };
        let query = limit.iter().chain(query).map(|(name, value)| (*name, (*value).to_owned()));
        let page = self.rows_at(path, &query.collect::<Vec<_>>(), list.decode).await?;
        Ok(size_in(&page, is_paged))
    }

    async fn size_of_all(&self, list: PerUserList) -> Result<ListSize, ApiError> {
        let query = [("limit", "1".to_owned()), ("paginated", "true".to_owned())];
        Ok(size_in(&self.rows_at(list.path, &query, list.decode).await?, true))
    }

    /// Returns about how many of the `total` users have a time of `bound` or later in `column`. Exact up to one page of
    /// users, and then off by a quarter at most if the number of probes suffices. `total` if Clerk does not list users in
    /// this order.
    pub(super) async fn since(&self, column: &str, bound: DateTime<Utc>, total: u64) -> Result<u64, ApiError> {
        let bound = bound.timestamp_micros();
        let page = match self.newest(column, 0, LARGEST_PAGE).await {
            Err(error) if error.refusal == Refusal::Parameter => return Ok(total),
            page => page?,
        };
        let recent = |page: &PageRows| timestamps(page, column).filter(|at| at.is_some_and(|at| at >= bound)).count();
        let (listed, found) = (page.batch.num_rows(), recent(&page));
        // Some servers send fewer rows than requested.
        if found < listed || listed as u64 >= total {
            return Ok(found as u64);
        }
        let (mut low, mut high) = (found as u64, total);
        for _ in 0..self.max_probes {
            if high <= low + low / 4 {
                break;
            }
            let probe = if high == total { (low * 4).min(total - 1) } else { u64::midpoint(low, high) };
            if probe <= low {
                break;
            }
            if recent(&self.newest(column, probe, 1).await?) > 0 {
                low = probe;
            } else {
                high = probe;
            }
        }
        Ok(u64::midpoint(low, high))
    }

    /// Returns users in the order of `column`, newest first, from the position `offset` on.
    async fn newest(&self, column: &str, offset: u64, limit: usize) -> Result<PageRows, ApiError> {
        let query = [("limit", limit.to_string()), ("offset", offset.to_string()), ("order_by", format!("-{column}"))];
        Ok(self.rows_at(USER_LIST.path, &query, USER_LIST.decode).await?.rows)
    }

    /// Returns the rows at `path`.
    pub(super) async fn rows_at(
        &self,
        path: &str,
        query: &[(&str, String)],
        decode: Decode,
    ) -> Result<Decoded<PageRows>, ApiError> {
        self.client.get(path, query, decode).await
    }
}

/// Returns the size of a list by its first page.
fn size_in(page: &Decoded<PageRows>, is_paged: bool) -> ListSize {
    let listed = page.keys.len() as u64;
    let rows = page.total_count.unwrap_or(listed);
    let is_counted = page.total_count.is_some() || !is_paged || listed == 0;
    ListSize { is_counted, ..whole(rows, if is_paged { pages(rows) } else { 1 }) }
}

fn whole(rows: u64, pages: u64) -> ListSize {
    ListSize { listed: rows, different: rows, is_counted: true, pages }
}

/// Returns the number of pages of a list with `rows` rows.
pub(super) fn pages(rows: u64) -> u64 {
    rows.div_ceil(LARGEST_PAGE as u64).max(1)
}
