//! Finds users deleted in Clerk without reading all users.
//!
//! A deletion appears in no list. The count shows how many users were deleted, and [`ranks`](super::ranks) finds the
//! ranges of creation times in which they are missing. Those ranges of the list are read. Before a row is deleted, the
//! user is requested by id.

use std::collections::HashSet;
use std::time::Duration;

use tokio::time::Instant;

use super::failure::ListingFailure;
use super::ranks::{ProbeResult, RankProbe, Search, Span};
use super::requests::{CREATED_AFTER, MAX_IDS};
use super::task::Task;
use crate::api::{Client, Decoded, LARGEST_PAGE, Listing, Refusal, RowKey};
use crate::lake::{Diff, Table};
use crate::resource::CursorList;

/// A probe without a response after this time skipped too many rows.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// After a probe that took this long, the next ones skip fewer rows.
const SLOW_PROBE: Duration = Duration::from_secs(2);

/// A search may take this long per page of the complete list.
const TIME_PER_PAGE: Duration = Duration::from_millis(100);

/// The least time limit of a search.
const MIN_SEARCH_TIME: Duration = Duration::from_secs(20);

/// A search may use 1/`SEARCH_SHARE` of the requests of a complete read: it sends one request at a time, whereas a
/// complete read uses several lanes.
const SEARCH_SHARE: usize = 4;

/// The least request limit of a search, unless a complete read takes fewer.
const MIN_REQUESTS: usize = 40;

impl Task<'_, CursorList> {
    /// Returns the ids of the rows that the table would have after `diff` and that are deleted in Clerk, if `deleted`
    /// rows are. Each of them was requested by id. `None` if not all are found, or if reading all rows is cheaper.
    ///
    /// # Errors
    /// Fails if a request fails, unless Clerk only refuses this form of request.
    pub(super) async fn find_deleted(
        &self,
        table: &Table,
        diff: &Diff,
        deleted: u64,
    ) -> Result<Option<Vec<String>>, ListingFailure> {
        let pages = usize::try_from(table.rows()).unwrap_or(usize::MAX) / LARGEST_PAGE;
        let max_requests = (pages / SEARCH_SHARE).max(MIN_REQUESTS).min(pages);
        // Each deletion costs one page, one more request to see its end, and a few probes.
        if deleted.saturating_mul(4) > max_requests as u64 {
            return Ok(None);
        }
        let Some(created) = table.creation_times(diff).await? else { return Ok(None) };
        let time = MIN_SEARCH_TIME.max(TIME_PER_PAGE * u32::try_from(pages).unwrap_or(u32::MAX));
        let mut probes = Probes { client: &self.client, list: self.list, until: Instant::now() + time };
        let spans = Search::new(&created, max_requests).spans(deleted, &mut probes).await;
        let spans = match spans {
            Ok(Some(spans)) => spans,
            Ok(None) => return Ok(None),
            Err(failure) if is_unsupported(&failure) => return Ok(None),
            Err(failure) => return Err(failure),
        };
        let mut missing = Vec::new();
        for span in spans {
            let found = match self.missing_in(span, &created, table).await {
                Err(failure) if is_unsupported(&failure) => return Ok(None),
                found => found?,
            };
            if (found.len() as u64) < span.missing {
                return Ok(None);
            }
            missing.extend(found);
        }
        let existing = self.existing_among(&missing).await?;
        Ok(Some(missing).filter(|_| existing.is_empty()))
    }

    /// Returns the ids of the table's rows in `span` that are not in the list.
    async fn missing_in(&self, span: Span, created: &[i64], table: &Table) -> Result<Vec<String>, ListingFailure> {
        let range = created[span.from]..=created[span.to - 1];
        let after = *range.start() - 1;
        let request = self.list.oldest_first().with(CREATED_AFTER, after.to_string());
        let mut listing = Listing::new(self.client.clone(), request, keys(self.list));
        let mut listed = HashSet::new();
        while let Some(page) = listing.next_page().await? {
            let has_passed = page.rows.iter().any(|key| key.created_at.is_some_and(|at| at > *range.end()));
            listed.extend(page.rows.into_iter().map(|key| key.id));
            if has_passed {
                break;
            }
        }
        let mut missing = table.keys_created(range).await?;
        missing.retain(|id| !listed.contains(id));
        Ok(missing)
    }

    /// Returns those of `ids` that are listed.
    async fn existing_among(&self, ids: &[String]) -> Result<HashSet<String>, ListingFailure> {
        let mut existing = HashSet::new();
        for ids in ids.chunks(MAX_IDS) {
            let mut listing = Listing::new(self.client.clone(), self.list.with_ids(ids), keys(self.list));
            while let Some(page) = listing.next_page().await? {
                existing.extend(page.rows.into_iter().map(|key| key.id).filter(|id| ids.contains(id)));
            }
        }
        Ok(existing)
    }
}

/// Returns whether the failure only means that the list does not support this form of request.
fn is_unsupported(failure: &ListingFailure) -> bool {
    matches!(failure, ListingFailure::Api(error) if matches!(error.refusal, Refusal::Parameter | Refusal::Malformed))
}

/// Decodes a page into the keys of its rows, including rows that are otherwise rejected.
fn keys(list: CursorList) -> impl Fn(&[u8]) -> Result<Decoded<Vec<RowKey>>, String> + Send + Sync {
    move |body| {
        let Decoded { keys, unreadable, total_count, .. } = (list.decode)(body)?;
        let rows = keys.iter().flatten().cloned().collect();
        Ok(Decoded { keys, unreadable, total_count, rows })
    }
}

/// Requests ranks from Clerk.
struct Probes<'a> {
    client: &'a Client,
    list: CursorList,
    /// When the search must end.
    until: Instant,
}

impl RankProbe for Probes<'_> {
    async fn created(
        &mut self,
        after: Option<i64>,
        offset: usize,
        limit: usize,
    ) -> Result<ProbeResult, ListingFailure> {
        if Instant::now() >= self.until {
            return Ok(ProbeResult::TimedOut);
        }
        let mut query = vec![("order_by", "created_at".to_owned()), ("limit", limit.to_string())];
        query.push(("offset", offset.to_string()));
        query.extend(after.map(|after| (CREATED_AFTER, after.to_string())));
        let sent_at = Instant::now();
        let client = self.client.within_retry_budget(PROBE_TIMEOUT);
        let answer = tokio::time::timeout(PROBE_TIMEOUT, client.get(self.list.path, &query, keys(self.list))).await;
        let decoded = match answer {
            Err(_) => return Ok(ProbeResult::TimedOut),
            Ok(Err(error)) if error.refusal == Refusal::Unreachable => return Ok(ProbeResult::TimedOut),
            Ok(decoded) => decoded?,
        };
        let times: Option<Vec<i64>> = decoded.rows.iter().map(|key| key.created_at).collect();
        let is_whole = decoded.keys.len() == decoded.rows.len();
        let times = times.filter(|_| is_whole).unwrap_or_default();
        Ok(if sent_at.elapsed() > SLOW_PROBE { ProbeResult::SlowTimes(times) } else { ProbeResult::Times(times) })
    }
}
