//! Rows that appear while a list is read: users who sign up, and users who are imported with a creation time that the
//! list has already passed.

use std::collections::HashSet;

use super::failure::ListingFailure;
use super::incremental::{MARGIN, TRIES};
use super::staging::{Staging, timestamps};
use super::task::Task;
use crate::api::{Page, Refusal};
use crate::query;
use crate::resource::CursorList;

/// After an import, at most this many changed rows are compared with the staged rows.
const MAX_IMPORTED: usize = 100_000;

impl Task<'_, CursorList> {
    /// Stages the rows created or changed since the run started that are not staged yet.
    pub(super) async fn stage_arrivals(&self, staging: &mut Staging<'_>) -> Result<(), ListingFailure> {
        let (mut listing, changed) = (self.newest_changes(), self.list.changed);
        let bound = self.run.watermark.timestamp_micros();
        while let Some(page) = listing.next_page().await? {
            let ended = timestamps(&page.rows, changed).flatten().any(|at| at < bound);
            let is_older = timestamps(&page.rows, changed).map(|at| at.is_some_and(|at| at < bound));
            let listed = page.fresh.clone().unwrap_or_else(|| vec![true; page.keys.len()]);
            let fresh = listed.into_iter().zip(is_older).map(|(fresh, is_older)| fresh && !is_older).collect();
            staging.stage(Page { fresh: Some(fresh), ..page }).await?;
            if ended {
                break;
            }
        }
        Ok(())
    }

    /// Stages the rows that a listing by creation time missed because they were imported meanwhile with a creation time
    /// that it had already passed. All rows imported since its start are among the latest changes. Returns the count to
    /// compare the staged rows with. The staged rows reach it if nothing else was missed.
    pub(super) async fn stage_imported(&self, staging: &mut Staging<'_>, count: u64) -> Result<u64, ListingFailure> {
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
                    // Without the list of changes, the listing stays too short.
                    Err(error) if matches!(error.refusal, Refusal::Malformed | Refusal::Parameter) => return Ok(count),
                    Err(error) => return Err(error.into()),
                };
                let ended = timestamps(&page.rows, changed).flatten().any(|at| at < bound);
                let listed = page.fresh.clone().unwrap_or_else(|| vec![true; page.keys.len()]);
                found.extend(page.keys.iter().zip(listed).filter(|(_, fresh)| *fresh).map(|(key, _)| key.id.clone()));
                pages.push(page);
                if ended {
                    break;
                }
                if found.len() > MAX_IMPORTED {
                    return Ok(count);
                }
            }
            self.remove_staged(&mut found, staging).await?;
            for page in pages {
                let fresh = page.keys.iter().map(|key| found.remove(&key.id)).collect();
                staging.stage(Page { fresh: Some(fresh), ..page }).await?;
            }
            if staging.listed() >= count {
                return Ok(count);
            }
            count = self.count().await?;
        }
        Ok(count)
    }

    /// Removes the ids of staged rows from `ids`.
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
