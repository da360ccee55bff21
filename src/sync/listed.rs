//! Resources that are listed by cursor, read completely: in a full sync, or to reconcile.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::by_offset::too_short;
use super::failure::ListingFailure;
use super::replace::StagedListing;
use super::staging::Staging;
use super::tally::Tally;
use super::task::Task;
use crate::api::{ApiError, Client, Lanes, ListRequest, Listing, Scan, ScanPosition};
use crate::error::{Error, Result};
use crate::lake::Table;
use crate::resource::{CursorList, Decode, PageRows};

/// The pause before a listing that came out shorter than the server's count is continued.
const PAUSE_BEFORE_RETRY: Duration = Duration::from_millis(500);

/// How often it is continued.
const RETRIES: u32 = 2;

impl Task<'_, CursorList> {
    /// Reads all rows of the resource and replaces the table with them. Returns the time up to which the table is
    /// complete if an interrupted run started the listing; `None` if this run did.
    pub(super) async fn sync_whole(&self, table: Table, tally: &mut Tally) -> Result<Option<DateTime<Utc>>> {
        tally.is_incremental = false;
        match self.read_whole(&table, tally).await {
            Ok(listing) => self.replace(listing, table, tally).await,
            // Every instance has the list, so a refusal never means that a feature is switched off.
            Err(failure) => Err(self.run.listing_error(&table, failure).await),
        }
    }

    async fn read_whole(&self, table: &Table, tally: &mut Tally) -> Result<StagedListing, ListingFailure> {
        let request = self.list.oldest_first().until(self.run.watermark.timestamp_millis());
        let (decode, lanes, now) = (self.list.decode, self.run.sync.options.lanes, self.run.now.timestamp_millis());
        let mut staging = Staging::new(self.run, self.resource, table)?;
        let position: Option<ScanPosition> =
            staging.resume().await?.and_then(|position| serde_json::from_value(position).ok());
        if staging.is_complete {
            let position = serde_json::to_value(&position).unwrap_or_default();
            return Ok(StagedListing::of(staging, 0, position).await?);
        }
        let is_resumed = staging.resumed_rows > 0;
        let mut scan = Scan::new(self.client.clone(), request.clone(), decode, lanes, now, position);
        let failure = match self.read_from(&mut scan, staging, tally).await {
            Err(failure) if (scan.was_cut() || is_resumed) && !failure.is_resumable() => failure,
            other => return other,
        };
        // A single cursor over the whole list needs fewer assumptions: it uses no filter, no creation times, and no
        // rows of an interrupted run.
        tracing::info!(failure = %Error::from(failure), "reading the whole list again in one lane");
        table.forget_checkpoints(&self.run.area).await;
        let staging = Staging::new(self.run, self.resource, table)?;
        let mut scan = Scan::new(self.client.clone(), request, decode, Lanes::Fixed(1), now, None);
        self.read_from(&mut scan, staging, tally).await
    }

    /// Stages all rows of `scan`.
    async fn read_from(
        &self,
        scan: &mut Scan<Decode, PageRows>,
        mut staging: Staging<'_>,
        tally: &mut Tally,
    ) -> Result<StagedListing, ListingFailure> {
        let expected = self.count().await?;
        self.run.sync.progress.started(self.resource.name, Some(expected));
        let read = self.read_to_the_count(scan, &mut staging).await;
        tally.set_staged(&staging);
        if let Err(failure) = read {
            staging.save_after_failure(&failure, position_of(scan)).await;
            return Err(staging.rule_out_absent(failure));
        }
        Ok(self.finish_listing(staging, position_of(scan)).await?)
    }

    /// Stages a complete listing. It must contain at least as many rows as the server counts.
    async fn read_to_the_count(
        &self,
        scan: &mut Scan<Decode, PageRows>,
        staging: &mut Staging<'_>,
    ) -> Result<(), ListingFailure> {
        read_to_the_end(scan, staging).await?;
        let mut needed = self.count().await?;
        for _ in 0..RETRIES {
            if staging.listed() >= needed {
                return Ok(());
            }
            // Counted rows exist, so the listing must contain them: rows created since the last page are read, and the
            // listing is compared with this count.
            tokio::time::sleep(PAUSE_BEFORE_RETRY).await;
            scan.reopen();
            read_to_the_end(scan, staging).await?;
            if staging.listed() >= needed {
                return Ok(());
            }
            needed = self.count().await?;
        }
        if staging.listed() >= needed {
            return Ok(());
        }
        let needed = self.stage_imported(staging, needed).await?;
        if staging.listed() >= needed {
            return Ok(());
        }
        Err(ListingFailure::Other(too_short(self.resource, staging.listed(), needed)))
    }
}

/// Stages the remaining pages of a listing.
async fn read_to_the_end(scan: &mut Scan<Decode, PageRows>, staging: &mut Staging<'_>) -> Result<(), ListingFailure> {
    while let Some(page) = scan.next_page().await? {
        staging.stage(page).await?;
        if staging.is_resume_point_due() {
            staging.begin_resume_point(position_of(scan)).await?;
        }
    }
    Ok(())
}

impl Task<'_, CursorList> {
    /// Stages the rows of a list by cursor: in several lanes if that is faster, and in one lane if several lanes fail.
    /// A row that several lists return is staged once, so reading part of a list again does no harm.
    pub(super) async fn stage_listed(
        &self,
        request: ListRequest,
        staging: &mut Staging<'_>,
    ) -> Result<(), ListingFailure> {
        let (lanes, now) = (self.run.sync.options.lanes, self.run.now.timestamp_millis());
        let mut scan = Scan::new(self.client.clone(), request.clone(), self.list.decode, lanes, now, None);
        let failure = match read_to_the_end(&mut scan, staging).await {
            Err(failure) if scan.was_cut() && !failure.is_resumable() => failure,
            other => return other,
        };
        tracing::info!(failure = %Error::from(failure), "reading the list again in one lane");
        let mut listing = Listing::new(self.client.clone(), request, self.list.decode);
        staging.stage_all(listing.pages()).await
    }

    /// Returns the server's count of rows.
    pub(super) async fn count(&self) -> Result<u64, ListingFailure> {
        Ok(self.list.count_rows(&self.client).await?)
    }
}

impl CursorList {
    /// Returns the server's count of rows.
    pub(super) async fn count_rows(&self, client: &Client) -> Result<u64, ApiError> {
        #[derive(Deserialize)]
        struct CountBody {
            total_count: serde_json::Number,
        }
        let count = client.get(self.count, &[], |body| {
            let body = serde_json::from_slice::<CountBody>(body).map_err(|_| "not a count of users".to_owned())?;
            as_whole_number(&body.total_count).ok_or_else(|| "the count of users is not an integer".to_owned())
        });
        count.await
    }
}

/// Returns `number` as an integer, written as `7` or as `7.0`; `None` if it is not one.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is whole, and its size is checked")]
fn as_whole_number(number: &serde_json::Number) -> Option<u64> {
    let float = || number.as_f64().filter(|it| it.fract() == 0.0 && (0.0..1e15).contains(it)).map(|it| it as u64);
    number.as_u64().or_else(float)
}

/// Returns the position from which another run can resume `scan`.
fn position_of(scan: &Scan<Decode, PageRows>) -> serde_json::Value {
    serde_json::to_value(scan.position()).unwrap_or_default()
}
