//! What changed since the watermark, for resources that are listed by cursor: users.
//!
//! No single list shows every change (Backend API, "Users"): activity need not move `updated_at`, a ban or an
//! import moves it without activity, and a deletion shows in no list at all. So three things are asked: who was
//! active since the start of the watermark's day, who changed since the watermark, and how many there are. If
//! the count and the table still differ after that, somebody was deleted, and is looked for; if that does not explain
//! the count, all are read and the two are reconciled.

use chrono::{DateTime, TimeDelta, Utc};

use super::failure::ListingFailure;
use super::listed::{ALWAYS_REMOVABLE, WholeList};
use super::requests::{MOST_IDS, day_of};
use super::staging::{Staging, moments};
use super::tally::Tally;
use super::task::Task;
use super::verify::{Slice, VERIFIED_TO};
use crate::api::{Fingerprints, LARGEST_PAGE, Listing, Page, Refusal};
use crate::error::Result;
use crate::lake::{Coverage, Diff, Table};
use crate::query;
use crate::resource::{CursorList, Decode};

/// How far before the watermark changes are read again: what a replica may lag behind.
pub(super) const MARGIN: TimeDelta = TimeDelta::minutes(5);

/// How often the count is asked for again while users come in.
pub(super) const TRIES: u32 = 4;

/// How often the latest changes are walked through if rows changed at one moment are spread over pages. Their order is
/// not defined: a walk may miss some of them.
const PASSES: u32 = 3;

/// The key of a commit's figures under which it is recorded how many rows may have been deleted unseen.
pub(super) const UNSEEN_DELETIONS: &str = "rowsDeletedUnseen";

/// Where more than this share of the table has changed, reading all of it costs fewer requests.
const WORTHWHILE: u64 = 2;

/// The server's count of all rows, taken while changes were read, and how far rows were verified.
struct Counted {
    rows: u64,
    /// How many rows were staged after it was taken: at most so many of them are not in it.
    staged_after: u64,
    /// The slice that has been verified, if one was.
    slice: Option<Slice>,
}

impl Task<'_, CursorList> {
    /// Brings the table up to date with what changed since `since`. Gives what [`Run::whole`] gives, where it had
    /// to read everything.
    pub(super) async fn changes(
        &self,
        since: DateTime<Utc>,
        mut table: Table,
        tally: &mut Tally,
    ) -> Result<Option<DateTime<Utc>>> {
        tally.is_incremental = true;
        self.run.sync.progress.started(self.resource.name, None);
        let mut staging = Staging::of_changes(self.run, self.resource, &table)?;
        let read = self.read_changes(since, &table, &mut staging).await;
        tally.take_staged(&staging);
        let counted = match read {
            Ok(counted) => counted,
            // A list in an order of its own may be refused, or not move on. The whole list relies on neither.
            Err(ListingFailure::Api(error)) if matches!(error.refusal, Refusal::Parameter | Refusal::Malformed) => {
                tracing::info!(%error, "changes are not listed; reading all");
                None
            }
            Err(failure) => return Err(failure.into()),
        };
        let Some(counted) = counted else {
            drop(staging);
            return self.reconcile(table, tally, "what changed cannot be told apart").await;
        };
        if self.run.set_aside(self.resource, &staging).await? > 0 {
            // The count includes them; only a whole list says how they and the table belong together.
            drop(staging);
            return self.reconcile(table, tally, "some rows cannot be read").await;
        }
        // A row of the slice that cannot be read is not gone.
        let is_read = staging.rejected() == 0;
        let slice = counted.slice.as_ref().filter(|_| is_read);
        let coverage = slice.and_then(Slice::covered).map_or(Coverage::Partial, Coverage::Within);
        let mut diff = table.diff(staging.finish().await?, coverage).await?;
        let unreadable = table.unreadable().await?;
        let expected = rows_after(&table, &diff) + unreadable;
        let mut unseen = deleted_at_most(counted.rows, counted.staged_after, expected);
        if unseen.is_none() && unreadable == 0 {
            unseen = self.take_deletions(&table, &mut diff, &counted).await?;
        }
        let Some(unseen) = unseen else {
            let why = format!("Clerk counts {}, the table would have {expected}", counted.rows);
            return self.reconcile(table, tally, &why).await;
        };
        let counts = diff.counts();
        tally.prepared = counts;
        self.run.refuse_shrinking(&table, counts, ALWAYS_REMOVABLE)?;
        let change = self.run.change(tally).with_unreadable(unreadable);
        let mut change = counted.slice.iter().fold(change, |change, it| change.with_position(VERIFIED_TO, it.to));
        if unseen > 0 {
            change.info.insert(UNSEEN_DELETIONS.to_owned(), unseen.into());
        }
        let outcome = table.commit_diff(diff, change).await?;
        self.run.settle(outcome, self.run.watermark, &mut table, tally).await?;
        Ok(None)
    }

    /// Adds to `diff` who was deleted, if that explains the count. Returns how many deletions may have gone unseen all the
    /// same; `None` if the count is not explained.
    async fn take_deletions(
        &self,
        table: &Table,
        diff: &mut Diff,
        counted: &Counted,
    ) -> Result<Option<u64>, ListingFailure> {
        // If rows came while the changes were read, the count then does not say how many are gone.
        let before = if counted.staged_after == 0 { counted.rows } else { self.count().await? };
        let gone = rows_after(table, diff).checked_sub(before).filter(|gone| *gone > 0);
        let Some(gone) = gone else { return Ok(None) };
        let asked = self.client.traffic().requests;
        let Some(found) = self.find_deleted(table, diff, gone).await? else { return Ok(None) };
        table.delete_too(diff, &found).await?;
        let asked = self.client.traffic().requests - asked;
        self.run.sync.progress.note(&format!(
            "{}: {} deleted in Clerk, found with {asked} requests",
            self.resource.name,
            found.len()
        ));
        // If the count has moved meanwhile, some of these may have been deleted after it, and others before it.
        let after = self.count().await?;
        Ok(Some(if after == before { 0 } else { found.len() as u64 }))
    }

    /// Reads everything, since the lists of changes do not explain the count: somebody was deleted.
    async fn reconcile(&self, table: Table, tally: &mut Tally, why: &str) -> Result<Option<DateTime<Utc>>> {
        self.run.sync.progress.note(&format!("{}: reading all to reconcile ({why})", self.resource.name));
        self.from(WholeList::Cursor(self.list)).whole(table, tally).await
    }

    /// Stages what changed; returns the count that belongs to it, or `None` if the changes cannot be told from the
    /// lists, or reading everything is cheaper.
    async fn read_changes(
        &self,
        since: DateTime<Utc>,
        table: &Table,
        staging: &mut Staging<'_>,
    ) -> Result<Option<Counted>, ListingFailure> {
        let slice = self.take_slice(table, staging).await?;
        let active = self.list.active_since(day_of(since)).until(self.run.watermark.timestamp_millis());
        self.take_listed(active, staging).await?;
        self.take_set_aside(staging).await?;
        let mut before = self.count().await?;
        if !self.take_changed(since - MARGIN, table, staging).await? {
            return Ok(None);
        }
        let mut counted = None;
        for _ in 0..TRIES {
            let (rows, staged) = (self.count().await?, staging.rows);
            if rows == before {
                return Ok(Some(Counted { rows, staged_after: 0, slice }));
            }
            // Rows come and go meanwhile, as while users are imported.
            before = rows;
            self.take_arrivals(staging).await?;
            counted = Some(Counted { rows, staged_after: staging.rows - staged, slice: slice.clone() });
        }
        Ok(counted)
    }

    /// Stages the rows that could not be read before, if they can be now: what made them so need not show in any
    /// list of changes.
    async fn take_set_aside(&self, staging: &mut Staging<'_>) -> Result<(), ListingFailure> {
        for ids in query::ids_set_aside(&self.run.lake, self.resource).await?.chunks(MOST_IDS) {
            let mut named = Listing::new(self.client.clone(), self.list.named(ids), self.list.decode);
            staging.take_all(named.pages()).await?;
        }
        Ok(())
    }

    /// The rows in the order of their last change, newest first.
    pub(super) fn newest_changes(&self) -> Listing<Decode> {
        Listing::new(self.client.clone(), self.list.newest_change_first(), self.list.decode)
    }

    /// Stages the rows changed since `bound`, newest change first. Returns `false` if they are too many, or if it cannot
    /// be shown that all of them came.
    async fn take_changed(
        &self,
        bound: DateTime<Utc>,
        table: &Table,
        staging: &mut Staging<'_>,
    ) -> Result<bool, ListingFailure> {
        let mut listing = self.newest_changes();
        let most = table.rows() / WORTHWHILE + LARGEST_PAGE as u64;
        for _ in 0..PASSES {
            let walked = walk_changes(&mut listing, self.list.changed, bound.timestamp_micros(), most, staging).await?;
            match walked {
                Walked::TooFar => return Ok(false),
                Walked::Clean => return Ok(true),
                // Rows changed at one moment stand in no order of their own: they may have changed places.
                Walked::Tied => listing.reopen(),
            }
        }
        tracing::info!("rows changed at one moment came in another order in each pass");
        Ok(false)
    }
}

/// How many rows `table` will have after `diff`.
fn rows_after(table: &Table, diff: &Diff) -> u64 {
    (table.rows() + diff.counts().inserted).saturating_sub(diff.counts().deleted)
}

/// How many rows that the table would have may have been deleted in Clerk unseen, if it would have `expected` rows, Clerk
/// counted `rows`, and `staged_after` rows were staged after that: `None` if the count does not fit, and rows are missing
/// or have been deleted.
fn deleted_at_most(rows: u64, staged_after: u64, expected: u64) -> Option<u64> {
    expected.checked_sub(rows).filter(|more| *more <= staged_after)
}

/// How a walk through the latest changes went.
enum Walked {
    /// Down to the bound, and every row down to there has come.
    Clean,
    /// Down to the bound, but rows changed at one moment were spread over two pages, and some may have been missed.
    Tied,
    /// There are too many.
    TooFar,
}

/// Stages the rows changed since `bound` (Unix microseconds) from a listing that begins with the newest change.
async fn walk_changes(
    listing: &mut Listing<Decode>,
    changed: &str,
    bound: i64,
    most: u64,
    staging: &mut Staging<'_>,
) -> Result<Walked, ListingFailure> {
    // How many rows of the list the pages have covered, when the last of them was changed, and whether the row after it
    // was changed at the same moment.
    let (mut covered, mut last, mut tied) = (0, None, false);
    // The rows of this walk that are staged, and how many the list has down to the bound.
    let (mut staged, mut there, mut walked) = (Fingerprints::default(), 0, 0);
    while let Some(page) = listing.next_page().await? {
        let times: Vec<_> = moments(&page.rows, changed).collect();
        let listed = page.fresh.clone().unwrap_or_else(|| vec![true; times.len()]);
        let start = page.offset.unwrap_or_default();
        let after = usize::try_from(covered - start.min(covered)).ok().and_then(|at| times.get(at).copied().flatten());
        tied |= after.is_some() && after == last;
        if start + times.len() as u64 > covered {
            (covered, last) = (start + times.len() as u64, times.last().copied().flatten());
        }
        let is_older = |at: &Option<i64>| at.is_some_and(|at| at < bound);
        // Only rows that the listing vouches for tell how far it has come.
        let ended = times.iter().zip(&listed).any(|(at, fresh)| *fresh && is_older(at));
        let fresh: Vec<_> = times.iter().zip(&listed).map(|(at, fresh)| *fresh && !is_older(at)).collect();
        walked += fresh.iter().filter(|fresh| **fresh).count() as u64;
        let newer = times.iter().take_while(|at| !is_older(at)).count();
        if newer > 0 {
            there = start + newer as u64;
        }
        let keys: Vec<_> = page.keys.iter().take(newer).map(|key| key.id.clone()).collect();
        staging.take(Page { fresh: Some(fresh), ..page }).await?;
        for id in keys.iter().filter(|id| staging.has(id)) {
            staged.insert(id);
        }
        if ended {
            break;
        }
        if walked > most {
            return Ok(Walked::TooFar);
        }
    }
    // Without a defined order only the number of rows proves that none was missed.
    Ok(if tied && staged.len() as u64 != there { Walked::Tied } else { Walked::Clean })
}
