//! Resources that are listed by offset and cannot be filtered by time: all rows are read at each sync.
//!
//! No list of these has an order by time of change, so no request shows that nothing has changed but reading all of it.
//! Rows that have not changed are not written, and a table whose list is the same as before is not even read.

use std::collections::HashSet;
use std::time::Duration;

use super::failure::ListingFailure;
use super::replace::StagedListing;
use super::staging::Staging;
use super::tally::Tally;
use super::task::Task;
use crate::api::{AheadListing, ApiError, Decoded, ListRequest, Order, Page, Refusal, RowKey};
use crate::error::{Error, Result};
use crate::lake::Table;
use crate::resource::{Decode, OffsetList, PageRows, Paging, Resource};

/// The pause before a listing that came out shorter than the server's count is repeated.
const PAUSE_BEFORE_RETRY: Duration = Duration::from_millis(500);

/// How often a listing that came out shorter than the server's count is repeated. Rows with the same creation time may
/// come in a different order at each request. Each pass finds some rows that the earlier passes missed.
const RETRIES: u32 = 8;

/// The parameters of one of the lists whose union is a resource.
type ListQuery = Vec<(&'static str, &'static str)>;

impl Task<'_, OffsetList> {
    /// Reads all rows of the resource and replaces the table with them.
    pub(super) async fn sync_whole(&self, table: Table, tally: &mut Tally) -> Result<()> {
        match self.read_whole(&table, tally).await {
            Ok(listing) => self.replace(listing, table, tally).await.map(drop),
            Err(failure) => self.end_unread(&table, failure, tally).await,
        }
    }

    async fn read_whole(&self, table: &Table, tally: &mut Tally) -> Result<StagedListing, ListingFailure> {
        let queries = self.list.queries();
        // A row may be in several of the lists.
        let is_one_list = queries.len() == 1 && self.list.paging == Paging::Offset;
        let mut staging = if is_one_list {
            Staging::new(self.run, self.resource, table)?.with_digest()
        } else {
            Staging::of_changes(self.run, self.resource, table)?.with_digest()
        };
        self.run.sync.progress.started(self.resource.name, None);
        let read = self.read_lists(&queries, &mut staging).await;
        tally.set_staged(&staging);
        match read {
            Ok(()) => Ok(self.finish_listing(staging, serde_json::Value::Null).await?),
            Err(failure) => Err(staging.rule_out_absent(failure)),
        }
    }

    /// Stages all lists. If the instance does not have the path, the older path is tried.
    async fn read_lists(&self, queries: &[ListQuery], staging: &mut Staging<'_>) -> Result<(), ListingFailure> {
        let read = self.read_lists_at(self.list.path, queries, staging).await;
        match (read, self.list.older_path) {
            (Err(ListingFailure::Api(error)), Some(older)) if is_unknown_path(&error) && staging.listed() == 0 => {
                self.read_lists_at(older, queries, staging).await
            }
            (read, _) => read,
        }
    }

    async fn read_lists_at(
        &self,
        path: &'static str,
        queries: &[ListQuery],
        staging: &mut Staging<'_>,
    ) -> Result<(), ListingFailure> {
        for query in queries {
            match self.list.paging {
                Paging::Offset => self.read_pages(path, query, staging).await?,
                Paging::None => self.read_at_once(path, query, staging).await?,
            }
        }
        Ok(())
    }

    /// Stages a list page by page, until as many rows have been read as the server counts.
    async fn read_pages(
        &self,
        path: &'static str,
        query: &ListQuery,
        staging: &mut Staging<'_>,
    ) -> Result<(), ListingFailure> {
        let request = ListRequest::new(path, Order::Offset);
        let request = query.iter().fold(request, |request, (name, value)| request.with(name, *value));
        let lanes = self.run.sync.options.lanes;
        let mut listing = AheadListing::new(self.client.clone(), request, self.list.decode, lanes);
        let mut read = RowsRead::default();
        read.stage_all(&mut listing, staging).await?;
        for _ in 0..RETRIES {
            if read.is_complete() {
                return Ok(());
            }
            // Counted rows exist, so the list must contain them.
            tokio::time::sleep(PAUSE_BEFORE_RETRY).await;
            listing.reopen();
            read.stage_all(&mut listing, staging).await?;
        }
        if read.is_complete() { Ok(()) } else { Err(read.too_short(self.resource).into()) }
    }

    /// Stages a list that one response holds.
    async fn read_at_once(
        &self,
        path: &'static str,
        query: &ListQuery,
        staging: &mut Staging<'_>,
    ) -> Result<(), ListingFailure> {
        let query: Vec<_> = query.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        let decode: Decode = self.list.decode;
        let page = page_of(self.client.get(path, &query, decode).await?)?;
        let mut read = RowsRead::default();
        read.add(&page);
        staging.stage(page).await?;
        if read.is_complete() { Ok(()) } else { Err(read.too_short(self.resource).into()) }
    }
}

/// The rows read of one list, each counted once.
#[derive(Default)]
struct RowsRead {
    /// Rows that could be decoded.
    decoded: u64,
    /// The names of rejected rows, which overlapping pages repeat.
    rejected: HashSet<String>,
    /// The server's latest count.
    total: Option<u64>,
}

impl RowsRead {
    async fn stage_all(
        &mut self,
        listing: &mut AheadListing<Decode, PageRows>,
        staging: &mut Staging<'_>,
    ) -> Result<(), ListingFailure> {
        while let Some(page) = listing.next_page().await? {
            self.add(&page);
            staging.stage(page).await?;
        }
        Ok(())
    }

    fn add(&mut self, page: &Page<PageRows>) {
        self.decoded += page.fresh_count as u64;
        self.rejected.extend(page.rows.rejected.iter().map(|row| row.name.clone()));
        self.total = page.total_count.or(self.total);
    }

    fn count(&self) -> u64 {
        self.decoded + self.rejected.len() as u64
    }

    fn is_complete(&self) -> bool {
        self.total.is_none_or(|total| self.count() >= total)
    }

    fn too_short(&self, resource: &Resource) -> Error {
        too_short(resource, self.count(), self.total.unwrap_or_default())
    }
}

/// Returns a response that holds a whole list, as a page.
pub(super) fn page_of(decoded: Decoded<PageRows>) -> Result<Page<PageRows>> {
    let Decoded { keys, unreadable, total_count, rows } = decoded;
    let readable = keys.into_iter().enumerate().filter(|(at, _)| unreadable.binary_search(at).is_err());
    let keys: Option<Vec<RowKey>> = readable.map(|(_, key)| key).collect();
    let keys = keys.ok_or_else(|| Error::bug("a row without an id was decoded"))?;
    Ok(Page { rows, fresh: None, fresh_count: keys.len(), keys, total_count, offset: None })
}

/// Returns the error of a list that ended before as many rows as the server counts.
pub(super) fn too_short(resource: &Resource, read: u64, count: u64) -> Error {
    Error::answer(format!(
        "the list of {} ended after {read} rows, but Clerk counts {count}; nothing was written",
        resource.name
    ))
    .with_hint("run again; if the error persists, report it: a list that may be incomplete is never committed")
    .transient()
}

/// Returns whether the server does not know the path of a request.
pub(super) fn is_unknown_path(error: &ApiError) -> bool {
    error.status == Some(404) && matches!(error.refusal, Refusal::Absent | Refusal::Missing)
}
