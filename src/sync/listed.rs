//! Resources that are read whole: users by cursor at a full sync or to reconcile, organizations by offset always.

use std::time::Duration;

use chrono::{DateTime, NaiveTime, Utc};
use serde::Deserialize;

use super::staging::{ListingFailure, Staging};
use super::{CLOCKS_APART, ResourceSummary, Run};
use crate::api::{Client, Decoded, ListRequest, Listing, Order, Refusal, RowKey};
use crate::error::{Error, Result};
use crate::lake::{Counts, StagedRows, Table};
use crate::resource::{PageRows, Reading, Resource, USERS, Writing};

/// How often a listing that came out shorter than the server's count is given another chance.
const CHANCES: u32 = 2;

/// The wait before each.
const PAUSE_BEFORE_CHANCE: Duration = Duration::from_millis(500);

/// All rows of a resource, staged.
struct Whole {
    staged: StagedRows,
    /// Rows beside them that cannot be read and never could.
    unreadable: u64,
    /// Up to when they are complete.
    watermark: DateTime<Utc>,
    /// Whether an interrupted run had read some of them.
    taken_over: bool,
}

impl Run<'_> {
    /// Reads all of `resource` and makes it the table. Gives the moment up to which that is complete, if it is not
    /// this run's own start: an interrupted run had begun it.
    pub(super) async fn whole(
        &self,
        resource: &'static Resource,
        client: &Client,
        mut table: Table,
        summary: &mut ResourceSummary,
    ) -> Result<Option<DateTime<Utc>>> {
        debug_assert_eq!(resource.writing, Writing::Replace);
        summary.mode = "full";
        let whole = match self.read_whole(resource, client, &table, summary).await {
            Ok(whole) => whole,
            Err(ListingFailure::Api(error)) if error.refusal == Refusal::Absent && !is_essential(resource) => {
                self.sync
                    .progress
                    .warn(&format!("{} skipped, this instance does not have them: {error}", resource.name));
                summary.skip(error.to_string());
                return Ok(None);
            }
            Err(failure) => return Err(self.given_up(&table, failure).await),
        };
        let counts = table.changes_by(&whole.staged).await?;
        summary.take_counts(counts);
        if let Err(refused) = self.refuse_shrinking(resource, &table, counts) {
            table.forget_checkpoints(&self.area).await;
            return Err(refused);
        }
        let change = self.change(summary).complete_up_to(whole.watermark).with_unreadable(whole.unreadable);
        let outcome = table.replace(whole.staged, counts, change).await?;
        self.settle(outcome, whole.watermark, &table, summary).await?;
        Ok(whole.taken_over.then_some(whole.watermark))
    }

    /// The error of a listing that failed. What it had staged is kept only for a failure that passes.
    pub(super) async fn given_up(&self, table: &Table, failure: ListingFailure) -> Error {
        if !failure.passes() {
            table.forget_checkpoints(&self.area).await;
        }
        failure.into()
    }

    async fn read_whole(
        &self,
        resource: &'static Resource,
        client: &Client,
        table: &Table,
        summary: &mut ResourceSummary,
    ) -> Result<Whole, ListingFailure> {
        let request = whole_list(resource)?;
        let expected = self.count(resource, client).await?;
        self.sync.progress.started(resource.name, expected);
        let mut staging = Staging::new(self, resource, table)?;
        let trail = match request.order {
            Order::Cursor => staging.take_over().await?,
            Order::Offset => None,
        };
        let trail: Vec<RowKey> = trail.and_then(|trail| serde_json::from_value(trail).ok()).unwrap_or_default();
        let mut listing =
            Listing::new(client.clone(), request.after(trail), |body: &bytes::Bytes| (resource.decode)(body));
        let read = self.read_to_the_count(resource, client, &mut listing, &mut staging).await;
        summary.rows_read = staging.rows - staging.taken_over;
        summary.rows_rejected = staging.rejected;
        if let Err(failure) = read {
            staging.checkpoint_at(&failure, position(&listing)).await;
            return Err(staging.placed(failure));
        }
        self.set_aside(resource, &staging).await?;
        let kept = staging.keep_unreadable().await?;
        Ok(Whole {
            unreadable: staging.rejected.saturating_sub(kept),
            watermark: staging.watermark(),
            taken_over: staging.taken_over > 0,
            staged: staging.finish().await?,
        })
    }

    /// Stages a whole listing, which must come to as many rows as the server counts.
    async fn read_to_the_count<D>(
        &self,
        resource: &'static Resource,
        client: &Client,
        listing: &mut Listing<D>,
        staging: &mut Staging<'_>,
    ) -> Result<(), ListingFailure>
    where
        D: Fn(&bytes::Bytes) -> Result<Decoded<PageRows>, String> + Send + Sync,
    {
        let mut chances = CHANCES;
        loop {
            while let Some(page) = listing.next_page().await? {
                staging.take(page).await?;
                if staging.wants_checkpoint() && !listing.trail().is_empty() {
                    staging.checkpoint(position(listing)).await?;
                }
            }
            let count = self.count(resource, client).await?.or(staging.total);
            let read = staging.rows + staging.rejected;
            let Some(count) = count.filter(|count| read < *count) else { return Ok(()) };
            if chances == 0 {
                return Err(ListingFailure::Other(too_short(resource, read, count)));
            }
            chances -= 1;
            // Somebody may have signed up since the last page: whatever follows it is read, then counted again.
            tokio::time::sleep(PAUSE_BEFORE_CHANCE).await;
            listing.reopen();
        }
    }

    /// How many rows the server says there are; none where this resource has no endpoint for that.
    pub(super) async fn count(&self, resource: &Resource, client: &Client) -> Result<Option<u64>, ListingFailure> {
        #[derive(Deserialize)]
        struct Body {
            total_count: u64,
        }
        let Reading::Cursor { count, .. } = resource.reading else { return Ok(None) };
        let count = client.get(count, &[], |body| {
            serde_json::from_slice::<Body>(body).map_err(|error| format!("not a count: {error}"))
        });
        Ok(Some(count.await?.total_count))
    }

    /// Refuses a replacement that would remove more of the table than `max_shrink` allows.
    #[expect(clippy::cast_precision_loss, reason = "a share, not a count")]
    fn refuse_shrinking(&self, resource: &Resource, table: &Table, counts: Counts) -> Result<()> {
        let (rows, allowed) = (table.rows(), self.sync.options.max_shrink);
        let share = counts.deleted as f64 / rows.max(1) as f64;
        if share <= allowed {
            return Ok(());
        }
        Err(Error::answer(format!(
            "this sync would remove {} of the {rows} rows of {} ({:.0} %, more than --max-shrink {:.0} %); nothing was written",
            counts.deleted,
            resource.table.name,
            share * 100.0,
            allowed * 100.0
        ))
        .with_hint("check that the key and --api-url are right; if so many are really gone, run once with --max-shrink 1"))
    }
}

/// Where a listing stands, for a run that goes on with it.
fn position<D>(listing: &Listing<D>) -> serde_json::Value {
    serde_json::to_value(listing.trail()).unwrap_or_default()
}

/// Users are there on every instance: a list of them that is refused is never a feature switched off.
fn is_essential(resource: &Resource) -> bool {
    matches!(resource.reading, Reading::Cursor { .. })
}

/// The listing that gives all rows of a resource, oldest first.
fn whole_list(resource: &Resource) -> Result<ListRequest> {
    let request = match resource.reading {
        Reading::Cursor { path, .. } => ListRequest::new(path, Order::Cursor),
        Reading::Offset { path, parameter } => {
            let request = ListRequest::new(path, Order::Offset);
            parameter.iter().fold(request, |request, (name, value)| request.with(name, *value))
        }
        Reading::PerUser { .. } | Reading::Derived { .. } => {
            return Err(Error::bug(format!("{} has no list that gives all of it", resource.name)));
        }
    };
    Ok(request.with("order_by", "created_at"))
}

/// The start of the UTC day from which on activity may be later than `since`: a server whose clock is behind
/// another's may still have stamped it with the day before.
pub(super) fn day_of(since: DateTime<Utc>) -> DateTime<Utc> {
    (since - CLOCKS_APART).date_naive().and_time(NaiveTime::MIN).and_utc()
}

/// The listing of users active at `since` or later, oldest user first. The filter excludes its own moment.
pub(super) fn users_active_since(since: DateTime<Utc>) -> Result<ListRequest> {
    let Reading::Cursor { path, active_after, .. } = USERS.reading else {
        return Err(Error::bug("users are not listed by cursor"));
    };
    Ok(ListRequest::new(path, Order::Cursor)
        .with("order_by", "created_at")
        .with(active_after, (since.timestamp_millis() - 1).to_string()))
}

fn too_short(resource: &Resource, read: u64, count: u64) -> Error {
    Error::answer(format!(
        "the list of {} ended after {read} rows, but Clerk counts {count}; nothing was written",
        resource.name
    ))
    .with_hint("run again; if it stays so, report it: a list that may be incomplete is never committed")
}
