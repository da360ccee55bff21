//! Users who were deleted in Clerk, found without reading everything.
//!
//! A deletion shows in no list. The count says how many users are gone, and [`ranks`](super::ranks) says between which
//! moments they had been created; these stretches of the list are read, and whoever is missing there is asked for by id
//! before the table lets go of them.

use std::collections::HashSet;
use std::time::Duration;

use tokio::time::Instant;

use super::failure::ListingFailure;
use super::ranks::{Answer, Ranks, Search, Span};
use super::requests::{CREATED_AFTER, MOST_IDS};
use super::task::Task;
use crate::api::{Client, Decoded, LARGEST_PAGE, Listing, Refusal, RowKey};
use crate::lake::{Diff, Table};
use crate::resource::CursorList;

/// A probe that has no answer after this time has skipped too many rows.
const PATIENCE: Duration = Duration::from_secs(5);

/// A probe that took this long should have skipped fewer.
const LATE: Duration = Duration::from_secs(2);

/// A search may take this long for each page that reading everything takes.
const TIME_PER_PAGE: Duration = Duration::from_millis(100);

/// But always this long.
const LEAST_TIME: Duration = Duration::from_secs(20);

/// A search is worth this share of the requests that reading everything takes: it stands still meanwhile, whereas a scan
/// has several lanes.
const WORTH: usize = 4;

/// But always this many requests, if reading everything takes more.
const LEAST_REQUESTS: usize = 40;

impl Task<'_, CursorList> {
    /// The ids of rows that the table would have after `diff` and that are deleted in Clerk, if `gone` of them are: each
    /// of them has been asked for. `None` if that many cannot be found, or if reading everything costs less.
    ///
    /// # Errors
    /// What the requests fail with, unless it only says that the list cannot be searched like this.
    pub(super) async fn find_deleted(
        &self,
        table: &Table,
        diff: &Diff,
        gone: u64,
    ) -> Result<Option<Vec<String>>, ListingFailure> {
        let pages = usize::try_from(table.rows()).unwrap_or(usize::MAX) / LARGEST_PAGE;
        let most_requests = (pages / WORTH).max(LEAST_REQUESTS).min(pages);
        // Each deletion costs a page, one more request to see its end, and a few probes.
        if gone.saturating_mul(4) > most_requests as u64 {
            return Ok(None);
        }
        let Some(created) = table.creation_times(diff).await? else { return Ok(None) };
        let time = LEAST_TIME.max(TIME_PER_PAGE * u32::try_from(pages).unwrap_or(u32::MAX));
        let mut probes = Probes { client: &self.client, list: self.list, until: Instant::now() + time };
        let spans = Search::new(&created, most_requests).spans(gone, &mut probes).await;
        let spans = match spans {
            Ok(Some(spans)) => spans,
            Ok(None) => return Ok(None),
            Err(failure) if says_nothing(&failure) => return Ok(None),
            Err(failure) => return Err(failure),
        };
        let mut missing = Vec::new();
        for span in spans {
            let found = match self.missing_in(span, &created, table).await {
                Err(failure) if says_nothing(&failure) => return Ok(None),
                found => found?,
            };
            if (found.len() as u64) < span.missing {
                return Ok(None);
            }
            missing.extend(found);
        }
        let there = self.listed_among(&missing).await?;
        Ok(Some(missing).filter(|_| there.is_empty()))
    }

    /// The ids of the table's rows in `span` that are not in the list.
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

    /// Which rows with these ids are listed.
    async fn listed_among(&self, ids: &[String]) -> Result<HashSet<String>, ListingFailure> {
        let mut there = HashSet::new();
        for ids in ids.chunks(MOST_IDS) {
            let mut listing = Listing::new(self.client.clone(), self.list.named(ids), keys(self.list));
            while let Some(page) = listing.next_page().await? {
                there.extend(page.rows.into_iter().map(|key| key.id).filter(|id| ids.contains(id)));
            }
        }
        Ok(there)
    }
}

/// Whether a failure says no more than that the list cannot be asked in this way.
fn says_nothing(failure: &ListingFailure) -> bool {
    matches!(failure, ListingFailure::Api(error) if matches!(error.refusal, Refusal::Parameter | Refusal::Malformed))
}

/// Turns a page into the keys of its rows, those of rows that cannot be read otherwise included.
fn keys(list: CursorList) -> impl Fn(&[u8]) -> Result<Decoded<Vec<RowKey>>, String> + Send + Sync {
    move |body| {
        let Decoded { keys, unreadable, total_count, .. } = (list.decode)(body)?;
        let rows = keys.iter().flatten().cloned().collect();
        Ok(Decoded { keys, unreadable, total_count, rows })
    }
}

/// Asks Clerk for ranks.
struct Probes<'a> {
    client: &'a Client,
    list: CursorList,
    /// When the search is to end.
    until: Instant,
}

impl Ranks for Probes<'_> {
    async fn created(&mut self, after: Option<i64>, offset: usize, limit: usize) -> Result<Answer, ListingFailure> {
        if Instant::now() >= self.until {
            return Ok(Answer::None);
        }
        let mut query = vec![("order_by", "created_at".to_owned()), ("limit", limit.to_string())];
        query.push(("offset", offset.to_string()));
        query.extend(after.map(|after| (CREATED_AFTER, after.to_string())));
        let asked = Instant::now();
        let client = self.client.within_retry_budget(PATIENCE);
        let answer = tokio::time::timeout(PATIENCE, client.get(self.list.path, &query, keys(self.list))).await;
        let decoded = match answer {
            Err(_) => return Ok(Answer::None),
            Ok(Err(error)) if error.refusal == Refusal::Unreachable => return Ok(Answer::None),
            Ok(decoded) => decoded?,
        };
        let moments: Option<Vec<i64>> = decoded.rows.iter().map(|key| key.created_at).collect();
        let is_whole = decoded.keys.len() == decoded.rows.len();
        let moments = moments.filter(|_| is_whole).unwrap_or_default();
        Ok(if asked.elapsed() > LATE { Answer::Late(moments) } else { Answer::Moments(moments) })
    }
}
