//! What changed since the watermark, for resources that are listed by cursor: users.
//!
//! No single list shows every change (Backend API, "Users"): activity need not move `updated_at`, a ban or an
//! import moves it without activity, and a deletion shows in no list at all. So three things are asked: who was
//! active since the start of the watermark's day, who changed since the watermark, and how many there are. Where
//! the count and the table still differ after that, all are read and the two are reconciled.

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};

use super::listed::day_of;
use super::staging::{ListingFailure, Staging, moments};
use super::{ResourceSummary, Run};
use crate::api::pages::LARGEST_PAGE;
use crate::api::{ApiError, Client, Decoded, ListRequest, Listing, Order, Page, Refusal};
use crate::error::Result;
use crate::lake::{StagedRows, Table};
use crate::query;
use crate::resource::{PageRows, Reading, Resource};

/// How far before the watermark changes are read again: what a replica may lag behind.
const MARGIN: TimeDelta = TimeDelta::minutes(5);

/// How many rows can be asked for by id at a time.
const MOST_IDS: usize = 100;

/// How often the count is asked for again while users come in.
const TRIES: u32 = 4;

/// How often the latest changes are walked through where rows changed at one moment are spread over pages.
const PASSES: u32 = 3;

/// Where more than this share of the table has changed, reading all of it costs fewer requests.
const WORTHWHILE: u64 = 2;

/// What the lists of changes brought.
struct Changes {
    staged: StagedRows,
    /// The server's count at a moment when these rows were complete; none where it never stood still.
    count: Option<u64>,
    /// Rows that the count includes and that came too late to be staged: the next run brings them.
    late: u64,
}

impl Run<'_> {
    /// Brings the table up to date with what changed since `since`. Gives what [`Run::whole`] gives, where it had
    /// to read everything.
    pub(super) async fn changes(
        &self,
        resource: &'static Resource,
        since: DateTime<Utc>,
        client: &Client,
        mut table: Table,
        summary: &mut ResourceSummary,
    ) -> Result<Option<DateTime<Utc>>> {
        summary.mode = "incremental";
        self.sync.progress.started(resource.name, None);
        let mut staging = Staging::of_changes(self, resource, &table)?;
        let read = self.read_changes(resource, since, client, &table, &mut staging).await;
        summary.rows_read = staging.rows;
        summary.rows_rejected = staging.rejected;
        summary.fields_nulled = staging.odd.counts.clone();
        let counted = match read {
            Ok(counted) => counted,
            Err(ListingFailure::Api(error)) if matches!(error.refusal, Refusal::Parameter) => {
                tracing::info!(%error, "changes are not listed; reading all");
                None
            }
            Err(failure) => return Err(failure.into()),
        };
        let Some((count, late)) = counted else {
            drop(staging);
            return self.reconcile(resource, client, table, summary, "what changed cannot be told apart").await;
        };
        if self.set_aside(resource, &staging).await? > 0 {
            // The count includes them; only a whole list says how they and the table belong together.
            drop(staging);
            return self.reconcile(resource, client, table, summary, "some rows cannot be read").await;
        }
        let changes = Changes { staged: staging.finish().await?, count, late };
        let prepared = table.prepare_upsert(changes.staged).await?;
        let unreadable = table.unreadable().await?;
        let expected = table.rows() + prepared.counts().inserted + changes.late + unreadable;
        if changes.count != Some(expected) {
            let why = changes.count.map_or_else(
                || "the count does not stand still".to_owned(),
                |count| format!("Clerk counts {count}, the table would have {expected}"),
            );
            return self.reconcile(resource, client, table, summary, &why).await;
        }
        summary.take_counts(prepared.counts());
        let change = self.change(summary).with_unreadable(unreadable);
        let outcome = table.commit_upsert(prepared, change).await?;
        self.settle(outcome, self.watermark, &mut table, summary).await?;
        Ok(None)
    }

    /// Reads everything, since the lists of changes do not explain the count: somebody was deleted.
    async fn reconcile(
        &self,
        resource: &'static Resource,
        client: &Client,
        table: Table,
        summary: &mut ResourceSummary,
        why: &str,
    ) -> Result<Option<DateTime<Utc>>> {
        self.sync.progress.note(&format!("{}: reading all to reconcile ({why})", resource.name));
        self.whole(resource, client, table, summary).await
    }

    /// Stages what changed; gives the count that belongs to it and how many rows came late. None where another
    /// way is cheaper.
    async fn read_changes(
        &self,
        resource: &'static Resource,
        since: DateTime<Utc>,
        client: &Client,
        table: &Table,
        staging: &mut Staging<'_>,
    ) -> Result<Option<(Option<u64>, u64)>, ListingFailure> {
        self.take_listed(resource, self.users_active_since(day_of(since))?, client, staging).await?;
        self.take_set_aside(resource, client, staging).await?;
        let mut before = self.count(resource, client).await?;
        if !self.take_changed(resource, since - MARGIN, client, table, staging).await? {
            return Ok(None);
        }
        let mut late = 0;
        for _ in 0..TRIES {
            let after = self.count(resource, client).await?;
            if after == before {
                return Ok(Some((after, late)));
            }
            before = after;
            late = self.count_late(resource, client, staging).await?;
        }
        Ok(Some((None, late)))
    }

    /// Stages the rows that could not be read before, if they can be now: what made them so need not show in any
    /// list of changes.
    async fn take_set_aside(
        &self,
        resource: &'static Resource,
        client: &Client,
        staging: &mut Staging<'_>,
    ) -> Result<(), ListingFailure> {
        let Reading::Cursor { path, .. } = resource.reading else { return Ok(()) };
        for ids in query::ids_set_aside(&self.sync.lake, resource).await?.chunks(MOST_IDS) {
            let request = ListRequest::new(path, Order::Cursor).with("order_by", "created_at");
            let request = ids.iter().fold(request, |request, id| request.with("user_id[]", id));
            let mut named = Listing::new(client.clone(), request, |body: &Bytes| (resource.decode)(body));
            staging.take_all(named.pages()).await?;
        }
        Ok(())
    }

    /// Stages the rows changed since `bound`, newest change first; false where they are too many for this way.
    async fn take_changed(
        &self,
        resource: &'static Resource,
        bound: DateTime<Utc>,
        client: &Client,
        table: &Table,
        staging: &mut Staging<'_>,
    ) -> Result<bool, ListingFailure> {
        let Some((mut listing, changed)) = newest_changes(resource, client) else { return Ok(false) };
        let most = table.rows() / WORTHWHILE + LARGEST_PAGE as u64;
        for _ in 0..PASSES {
            let walked = walk_changes(&mut listing, changed, bound.timestamp_micros(), most, staging).await?;
            match walked {
                Walked::TooFar => return Ok(false),
                Walked::Clean => return Ok(true),
                // Rows changed at one moment stand in no order of their own: they may have changed places.
                Walked::Tied => listing.reopen(),
            }
        }
        Ok(true)
    }

    /// How many users have signed up that were not there when the changes were read.
    async fn count_late(
        &self,
        resource: &'static Resource,
        client: &Client,
        staging: &Staging<'_>,
    ) -> Result<u64, ListingFailure> {
        let Some((mut listing, changed)) = newest_changes(resource, client) else { return Ok(0) };
        let start = self.watermark.timestamp_millis();
        let mut late = 0;
        while let Some(page) = next(&mut listing).await? {
            let fresh = page.fresh.clone().unwrap_or_else(|| vec![true; page.keys.len()]);
            late += page
                .keys
                .iter()
                .zip(fresh)
                .filter(|(key, fresh)| *fresh && key.created_at.is_some_and(|at| at >= start) && !staging.has(&key.id))
                .count() as u64;
            if moments(&page.rows, changed).flatten().any(|at| at < self.watermark.timestamp_micros()) {
                break;
            }
        }
        Ok(late)
    }
}

/// How a walk through the latest changes went.
enum Walked {
    /// Down to the bound, and every row stood in its place.
    Clean,
    /// Down to the bound, but rows changed at one moment were spread over two pages, some of them new.
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
    let (mut walked, mut tied, mut last) = (0, false, None);
    while let Some(page) = next(listing).await? {
        let times: Vec<_> = moments(&page.rows, changed).collect();
        let listed = page.fresh.clone().unwrap_or_else(|| vec![true; times.len()]);
        // Only rows that the listing vouches for tell how far it has come.
        let first = times.iter().zip(&listed).find(|(_, fresh)| **fresh).and_then(|(at, _)| *at);
        tied |= first.is_some() && first == last;
        let is_older = |at: &Option<i64>| at.is_some_and(|at| at < bound);
        let ended = times.iter().zip(&listed).any(|(at, fresh)| *fresh && is_older(at));
        let fresh: Vec<_> = times.iter().zip(&listed).map(|(at, fresh)| *fresh && !is_older(at)).collect();
        last = times.iter().zip(&listed).rev().find(|(_, fresh)| **fresh).map_or(last, |(at, _)| *at);
        walked += fresh.iter().filter(|fresh| **fresh).count() as u64;
        staging.take(Page { fresh: Some(fresh), ..page }).await?;
        if ended {
            break;
        }
        if walked > most {
            return Ok(Walked::TooFar);
        }
    }
    Ok(if tied && walked > 0 { Walked::Tied } else { Walked::Clean })
}

type Decode = Box<dyn Fn(&Bytes) -> Result<Decoded<PageRows>, String> + Send + Sync>;

/// The rows in the order of their last change, newest first, and the column that says when that was.
fn newest_changes(resource: &'static Resource, client: &Client) -> Option<(Listing<Decode>, &'static str)> {
    let Reading::Cursor { path, changed, .. } = resource.reading else { return None };
    let request = ListRequest::new(path, Order::Offset).with("order_by", format!("-{changed}"));
    let decode: Decode = Box::new(|body| (resource.decode)(body));
    Some((Listing::new(client.clone(), request, decode), changed))
}

async fn next(listing: &mut Listing<Decode>) -> Result<Option<Page<PageRows>>, ApiError> {
    listing.next_page().await
}
