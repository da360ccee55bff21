//! Incremental sync of resources that are listed by cursor: users.
//!
//! No single list shows every change (Backend API, "Users"): activity need not move `updated_at`, a ban or an import
//! moves it without activity, and a deletion appears in no list. So a sync reads three things: the users active since
//! the start of the watermark's day, the users changed since the watermark, and the count of users. If the count and
//! the table still differ, a user was deleted, and the sync searches for deletions. If those do not explain the count,
//! it reads all users and reconciles the table with them.

use chrono::{DateTime, TimeDelta, Utc};

use super::failure::ListingFailure;
use super::replace::ALWAYS_REMOVABLE;
use super::requests::{MAX_IDS, day_of};
use super::staging::{Staging, timestamps};
use super::tally::Tally;
use super::task::Task;
use super::verify::{VERIFIED_TO, VerifiedSlice};
use crate::api::{Fingerprints, LARGEST_PAGE, Listing, Page, Refusal};
use crate::error::Result;
use crate::lake::{Coverage, Diff, Table};
use crate::query;
use crate::resource::{CursorList, Decode};

/// How far before the watermark changes are read again: the longest expected lag of a replica.
pub(super) const MARGIN: TimeDelta = TimeDelta::minutes(5);

/// How often the count is requested again while users are being created or deleted.
pub(super) const TRIES: u32 = 4;

/// How often the latest changes are read if rows with the same time of change are spread over pages. The order of such
/// rows is undefined, so one pass may miss some.
const PASSES: u32 = 3;

/// The key in the commit info for the number of rows that may have been deleted in Clerk without being found.
pub(super) const UNSEEN_DELETIONS: &str = "rowsDeletedUnseen";

/// If more than 1/`FULL_READ_DIVISOR` of the table changed, reading all rows costs fewer requests.
pub(super) const FULL_READ_DIVISOR: u64 = 2;

/// The server's count of rows, taken while changes were read, and the slice that was verified.
struct ServerCount {
    rows: u64,
    /// How many rows were staged after the count: at most this many are not included in it.
    staged_after: u64,
    /// The verified slice, if there is one.
    slice: Option<VerifiedSlice>,
}

impl Task<'_, CursorList> {
    /// Updates the table with the changes since `since`. Returns the same as [`Task::sync_whole`] if it had to read all
    /// rows.
    pub(super) async fn sync_changes(
        &self,
        since: DateTime<Utc>,
        mut table: Table,
        tally: &mut Tally,
    ) -> Result<Option<DateTime<Utc>>> {
        tally.is_incremental = true;
        self.run.sync.progress.started(self.resource.name, None);
        let mut staging = Staging::of_changes(self.run, self.resource, &table)?;
        let read = self.read_changes(since, &table, &mut staging).await;
        tally.set_staged(&staging);
        let counted = match read {
            Ok(counted) => counted,
            // The list by time of change may be refused or malformed. The complete list by creation needs neither its
            // order nor its filter.
            Err(ListingFailure::Api(error)) if matches!(error.refusal, Refusal::Parameter | Refusal::Malformed) => {
                tracing::info!(%error, "cannot list changes; reading all rows");
                None
            }
            Err(failure) => return Err(failure.into()),
        };
        let Some(counted) = counted else {
            drop(staging);
            return self.reconcile(table, tally, "the lists do not show which rows changed").await;
        };
        if self.run.record_rejected(self.resource, &staging).await? > 0 {
            // The count includes rejected rows. Only a complete list shows which rows of the table they belong to.
            drop(staging);
            return self.reconcile(table, tally, "some rows cannot be read").await;
        }
        // A row of the slice that cannot be decoded is not deleted.
        let is_read = staging.rejected() == 0;
        let slice = counted.slice.as_ref().filter(|_| is_read);
        let coverage = slice.and_then(VerifiedSlice::covered).map_or(Coverage::Partial, Coverage::Within);
        let mut diff = table.diff(staging.finish().await?, coverage).await?;
        let unreadable = table.unreadable().await?;
        let expected = rows_after(&table, &diff) + unreadable;
        let mut unseen = max_unseen_deletions(counted.rows, counted.staged_after, expected);
        if unseen.is_none() && unreadable == 0 {
            unseen = self.add_deletions(&table, &mut diff, &counted).await?;
        }
        let Some(unseen) = unseen else {
            let why = format!("Clerk counts {}, the table would have {expected}", counted.rows);
            return self.reconcile(table, tally, &why).await;
        };
        let counts = diff.counts();
        tally.prepared = counts;
        self.run.check_shrink(&table, counts, ALWAYS_REMOVABLE)?;
        self.run.record_tombstones(self.resource, &table, &diff, tally.watermark).await?;
        let change = self.run.change(tally).with_unreadable(unreadable);
        let mut change = counted.slice.iter().fold(change, |change, it| change.with_position(VERIFIED_TO, it.to));
        if unseen > 0 {
            change.info.insert(UNSEEN_DELETIONS.to_owned(), unseen.into());
        }
        let outcome = table.commit_diff(diff, change).await?;
        self.run.record_commit(outcome, self.run.watermark, &mut table, tally).await?;
        Ok(None)
    }

    /// Adds the deleted users to `diff` if they explain the count. Returns how many deletions may still be undetected;
    /// `None` if the count is not explained.
    async fn add_deletions(
        &self,
        table: &Table,
        diff: &mut Diff,
        counted: &ServerCount,
    ) -> Result<Option<u64>, ListingFailure> {
        // If rows were staged after the count, that count does not show how many users were deleted.
        let before = if counted.staged_after == 0 { counted.rows } else { self.count().await? };
        let deleted = rows_after(table, diff).checked_sub(before).filter(|deleted| *deleted > 0);
        let Some(deleted) = deleted else { return Ok(None) };
        let requests = self.client.traffic().requests;
        let Some(found) = self.find_deleted(table, diff, deleted).await? else { return Ok(None) };
        table.delete_too(diff, &found).await?;
        let requests = self.client.traffic().requests - requests;
        self.run.sync.progress.note(&format!(
            "{}: {} deleted in Clerk, found with {requests} requests",
            self.resource.name,
            found.len()
        ));
        // If the count changed meanwhile, some of these may have been deleted after it, and others deleted before it.
        let after = self.count().await?;
        Ok(Some(if after == before { 0 } else { found.len() as u64 }))
    }

    /// Reads all rows, because the lists of changes do not explain the count.
    async fn reconcile(&self, table: Table, tally: &mut Tally, why: &str) -> Result<Option<DateTime<Utc>>> {
        self.run.sync.progress.note(&format!("{}: reading all rows to find deletions ({why})", self.resource.name));
        self.sync_whole(table, tally).await
    }

    /// Stages the changed rows and returns the server's count for them. `None` if the lists do not show what changed,
    /// or if reading all rows is cheaper.
    async fn read_changes(
        &self,
        since: DateTime<Utc>,
        table: &Table,
        staging: &mut Staging<'_>,
    ) -> Result<Option<ServerCount>, ListingFailure> {
        let slice = self.stage_slice(table, staging).await?;
        let active = self.list.active_since(day_of(since)).until(self.run.watermark.timestamp_millis());
        self.stage_listed(active, staging).await?;
        self.retry_rejected(staging).await?;
        let mut before = self.count().await?;
        if !self.stage_changed(since - MARGIN, table, staging).await? {
            return Ok(None);
        }
        let mut counted = None;
        for _ in 0..TRIES {
            let (rows, staged) = (self.count().await?, staging.rows);
            if rows == before {
                return Ok(Some(ServerCount { rows, staged_after: 0, slice }));
            }
            // Users were created or deleted meanwhile, for example by an import.
            before = rows;
            self.stage_arrivals(staging).await?;
            counted = Some(ServerCount { rows, staged_after: staging.rows - staged, slice: slice.clone() });
        }
        Ok(counted)
    }

    /// Stages the rows that were rejected before, if they can be decoded now: the change that fixed them need not
    /// appear in any list of changes.
    async fn retry_rejected(&self, staging: &mut Staging<'_>) -> Result<(), ListingFailure> {
        for ids in query::ids_set_aside(&self.run.lake, self.resource).await?.chunks(MAX_IDS) {
            let mut listing = Listing::new(self.client.clone(), self.list.with_ids(ids), self.list.decode);
            staging.stage_all(listing.pages()).await?;
        }
        Ok(())
    }

    /// Lists the rows by time of change, newest first.
    pub(super) fn newest_changes(&self) -> Listing<Decode> {
        Listing::new(self.client.clone(), self.list.newest_change_first(), self.list.decode)
    }

    /// Stages the rows changed since `bound`, newest change first. Returns `false` if there are too many, or if it
    /// cannot be proved that all were listed.
    async fn stage_changed(
        &self,
        bound: DateTime<Utc>,
        table: &Table,
        staging: &mut Staging<'_>,
    ) -> Result<bool, ListingFailure> {
        let mut listing = self.newest_changes();
        let most = table.rows() / FULL_READ_DIVISOR + LARGEST_PAGE as u64;
        for _ in 0..PASSES {
            let walked = walk_changes(&mut listing, self.list.changed, bound.timestamp_micros(), most, staging).await?;
            match walked {
                WalkOutcome::TooMany => return Ok(false),
                WalkOutcome::Complete => return Ok(true),
                // The order of rows with the same time of change is undefined: it may have differed between pages.
                WalkOutcome::Tied => listing.reopen(),
            }
        }
        tracing::info!("rows with the same time of change came in a different order in each pass");
        Ok(false)
    }
}

/// Returns how many rows `table` will have after `diff`.
fn rows_after(table: &Table, diff: &Diff) -> u64 {
    (table.rows() + diff.counts().inserted).saturating_sub(diff.counts().deleted)
}

/// Returns how many rows of the table may have been deleted in Clerk without being found. The table would have
/// `expected` rows, Clerk counted `rows`, and `staged_after` rows were staged after that. `None` if the count does not
/// fit: rows are missing, or deletions must be found.
fn max_unseen_deletions(rows: u64, staged_after: u64, expected: u64) -> Option<u64> {
    expected.checked_sub(rows).filter(|more| *more <= staged_after)
}

/// The outcome of reading the latest changes.
enum WalkOutcome {
    /// Reached the bound, and every row down to it was listed.
    Complete,
    /// Reached the bound, but rows with the same time of change were spread over two pages: some may have been missed.
    Tied,
    /// Stopped because there are too many changes.
    TooMany,
}

/// Stages the rows changed since `bound` (Unix microseconds) from a listing by time of change, newest first.
async fn walk_changes(
    listing: &mut Listing<Decode>,
    changed: &str,
    bound: i64,
    most: u64,
    staging: &mut Staging<'_>,
) -> Result<WalkOutcome, ListingFailure> {
    // The number of rows of the list covered so far, the time of change of the last one, and whether any row after a
    // page boundary has the same time of change as the row before it.
    let (mut covered, mut last, mut tied) = (0, None, false);
    // The staged rows of this pass, the number of rows in the list down to the bound, and the number of new rows in
    // this pass.
    let (mut staged, mut there, mut walked) = (Fingerprints::default(), 0, 0);
    while let Some(page) = listing.next_page().await? {
        let times: Vec<_> = timestamps(&page.rows, changed).collect();
        let listed = page.fresh.clone().unwrap_or_else(|| vec![true; times.len()]);
        let start = page.offset.unwrap_or_default();
        let after = usize::try_from(covered - start.min(covered)).ok().and_then(|at| times.get(at).copied().flatten());
        tied |= after.is_some() && after == last;
        if start + times.len() as u64 > covered {
            (covered, last) = (start + times.len() as u64, times.last().copied().flatten());
        }
        let is_older = |at: &Option<i64>| at.is_some_and(|at| at < bound);
        // Only rows that are new in this listing show how far it has come.
        let ended = times.iter().zip(&listed).any(|(at, fresh)| *fresh && is_older(at));
        let fresh: Vec<_> = times.iter().zip(&listed).map(|(at, fresh)| *fresh && !is_older(at)).collect();
        walked += fresh.iter().filter(|fresh| **fresh).count() as u64;
        let newer = times.iter().take_while(|at| !is_older(at)).count();
        if newer > 0 {
            there = start + newer as u64;
        }
        let keys: Vec<_> = page.keys.iter().take(newer).map(|key| key.id.clone()).collect();
        staging.stage(Page { fresh: Some(fresh), ..page }).await?;
        for id in keys.iter().filter(|id| staging.has(id)) {
            staged.insert(id);
        }
        if ended {
            break;
        }
        if walked > most {
            return Ok(WalkOutcome::TooMany);
        }
    }
    // If the order is undefined, only the number of rows proves that none was missed.
    Ok(if tied && staged.len() as u64 != there { WalkOutcome::Tied } else { WalkOutcome::Complete })
}
