//! Rows that come while a list is read: users who sign up, and users who are imported with a moment of creation that the
//! list has passed already.

use std::collections::HashSet;

use super::failure::ListingFailure;
use super::incremental::{MARGIN, TRIES};
use super::staging::{Staging, moments};
use super::task::Task;
use crate::api::{Page, Refusal};
use crate::query;
use crate::resource::CursorList;

/// At most this many rows are held against the staged ones after an import.
const MOST_IMPORTED: usize = 100_000;

impl Task<'_, CursorList> {
    /// Stages the rows that have come or changed since the run began and are not staged yet.
    pub(super) async fn take_arrivals(&self, staging: &mut Staging<'_>) -> Result<(), ListingFailure> {
        let (mut listing, changed) = (self.newest_changes(), self.list.changed);
        let bound = self.run.watermark.timestamp_micros();
        while let Some(page) = listing.next_page().await? {
            let ended = moments(&page.rows, changed).flatten().any(|at| at < bound);
            let is_older = moments(&page.rows, changed).map(|at| at.is_some_and(|at| at < bound));
            let listed = page.fresh.clone().unwrap_or_else(|| vec![true; page.keys.len()]);
            let fresh = listed.into_iter().zip(is_older).map(|(fresh, is_older)| fresh && !is_older).collect();
            staging.take(Page { fresh: Some(fresh), ..page }).await?;
            if ended {
                break;
            }
        }
        Ok(())
    }

    /// Stages the rows that a listing by creation has missed because they were imported while it went on, with a moment
    /// of creation that it had passed already: whatever was imported since it began is among the latest changes. Returns
    /// the count that the staged rows are to be held against; it is at least `count` if nothing else was missed.
    pub(super) async fn take_imported(&self, staging: &mut Staging<'_>, count: u64) -> Result<u64, ListingFailure> {
        let mut count = count;
        for _ in 0..TRIES {
            let (mut listing, changed) = (self.newest_changes(), self.list.changed);
            let bound = (staging.watermark() - MARGIN).timestamp_micros();
            let mut pages = Vec::new();
            let mut found = HashSet::new();
            loop {
                let page = match listing.next_page().await {
                    Ok(Some(page)) => page,
                    Ok(None) => break,
                    // Whatever these changes are, the listing is too short without them.
                    Err(error) if matches!(error.refusal, Refusal::Malformed | Refusal::Parameter) => return Ok(count),
                    Err(error) => return Err(error.into()),
                };
                let ended = moments(&page.rows, changed).flatten().any(|at| at < bound);
                let listed = page.fresh.clone().unwrap_or_else(|| vec![true; page.keys.len()]);
                found.extend(page.keys.iter().zip(listed).filter(|(_, fresh)| *fresh).map(|(key, _)| key.id.clone()));
                pages.push(page);
                if ended {
                    break;
                }
                if found.len() > MOST_IMPORTED {
                    return Ok(count);
                }
            }
            self.remove_staged(&mut found, staging).await?;
            for page in pages {
                let fresh = page.keys.iter().map(|key| found.remove(&key.id)).collect();
                staging.take(Page { fresh: Some(fresh), ..page }).await?;
            }
            if staging.listed() >= count {
                return Ok(count);
            }
            count = self.count().await?;
        }
        Ok(count)
    }

    /// Removes from `ids` those of rows that are staged.
    async fn remove_staged(&self, ids: &mut HashSet<String>, staging: &mut Staging<'_>) -> Result<(), ListingFailure> {
        let key = self.resource.table.key.first().copied().unwrap_or_default();
        for table in staging.tables_so_far().await? {
            let mut remove = |id: &str| {
                ids.remove(id);
            };
            query::for_each_text(&self.run.lake, &table, key, &mut remove).await?;
        }
        Ok(())
    }
}
