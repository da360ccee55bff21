//! Resources that are read whole: users by cursor at a full sync or to reconcile, organizations by offset always.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::staging::{ListingFailure, Staging};
use super::{ResourceSummary, Run};
use crate::api::{Client, ListRequest, Listing, Order, Refusal};
use crate::error::{Error, Result};
use crate::lake::{Counts, StagedRows, Table};
use crate::resource::{Reading, Resource, USERS, Writing};

/// How often a listing that came out shorter than the server's count is given another chance.
const CHANCES: u32 = 2;

/// The wait before each.
const PAUSE_BEFORE_CHANCE: Duration = Duration::from_millis(500);

impl Run<'_> {
    /// Reads all of `resource` and makes it the table.
    pub(super) async fn whole(
        &self,
        resource: &'static Resource,
        client: &Client,
        mut table: Table,
        summary: &mut ResourceSummary,
    ) -> Result<()> {
        debug_assert_eq!(resource.writing, Writing::Replace);
        summary.mode = "full";
        let (staged, unreadable) = match self.read_whole(resource, client, &table, summary).await {
            Ok(read) => read,
            Err(ListingFailure::Api(error)) if error.refusal == Refusal::Absent && !is_essential(resource) => {
                self.sync
                    .progress
                    .warn(&format!("{} skipped, this instance does not have them: {error}", resource.name));
                summary.skip(error.to_string());
                return Ok(());
            }
            Err(failure) => return Err(failure.into()),
        };
        let counts = table.changes_by(&staged).await?;
        summary.take_counts(counts);
        self.refuse_shrinking(resource, &table, counts)?;
        let change = self.change(summary).with_unreadable(unreadable);
        let outcome = table.replace(staged, counts, change).await?;
        self.settle(outcome, &table, summary)
    }

    /// Stages all rows; gives them, and how many there are beside them that cannot be read and never could.
    async fn read_whole(
        &self,
        resource: &'static Resource,
        client: &Client,
        table: &Table,
        summary: &mut ResourceSummary,
    ) -> Result<(StagedRows, u64), ListingFailure> {
        let request = whole_list(resource)?;
        let expected = self.count(resource, client).await?;
        self.sync.progress.started(resource.name, expected);
        let mut staging = Staging::new(self, resource, table.writer()?);
        let mut listing = Listing::new(client.clone(), request, |body: &bytes::Bytes| (resource.decode)(body));
        staging.take_all(listing.pages()).await.map_err(|failure| staging.placed(failure))?;
        let mut chances = CHANCES;
        loop {
            let count = self.count(resource, client).await?.or(staging.total);
            let read = staging.rows + staging.rejected;
            summary.rows_read = staging.rows;
            summary.rows_rejected = staging.rejected;
            let Some(count) = count.filter(|count| read < *count) else {
                self.set_aside(resource, &staging).await?;
                let kept = staging.keep_unreadable(table).await?;
                let unreadable = staging.rejected.saturating_sub(kept);
                return Ok((staging.finish().await?, unreadable));
            };
            if chances == 0 {
                return Err(ListingFailure::Other(too_short(resource, read, count)));
            }
            chances -= 1;
            // Somebody may have signed up since the last page: whatever follows it is read, then counted again.
            tokio::time::sleep(PAUSE_BEFORE_CHANCE).await;
            listing.reopen();
            staging.take_all(listing.pages()).await?;
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
