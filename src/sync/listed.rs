//! Resources that are read completely: users by cursor in a full sync or to reconcile, organizations always, by offset.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::failure::ListingFailure;
use super::resume::Finished;
use super::run::Run;
use super::staging::Staging;
use super::tally::Tally;
use super::task::Task;
use crate::api::{
    AheadListing, ApiError, Client, Decoded, Lanes, ListRequest, Listing, Order, Page, Refusal, Scan, ScanPosition,
};
use crate::error::{Error, Result};
use crate::lake::{Counts, Coverage, ResumePoint, Table};
use crate::resource::{CursorList, Decode, OffsetList, PageRows, Resource};

/// The pause before a listing that came out shorter than the server's count is continued.
const PAUSE_BEFORE_RETRY: Duration = Duration::from_millis(500);

/// A commit may always delete this many rows, whatever share of the table they are, except if Clerk answered `null`
/// instead of a list.
pub(super) const ALWAYS_REMOVABLE: u64 = 50;

/// A complete listing of a resource, staged.
struct StagedListing {
    staged: Finished,
    /// Rows that could not be decoded and keep their old values from the table.
    kept: u64,
    /// Rows that cannot be decoded and are not in the table.
    unreadable: u64,
    /// The time up to which the rows are complete.
    watermark: DateTime<Utc>,
    /// Whether an interrupted run read some of the rows.
    is_resumed: bool,
    /// Whether Clerk answered `null` instead of a list.
    is_null: bool,
}

impl StagedListing {
    /// Builds it from a listing that ended at `position`. `kept` rows could not be decoded and keep their old values.
    async fn of(staging: Staging<'_>, kept: u64, position: serde_json::Value) -> Result<Self> {
        Ok(Self {
            kept,
            unreadable: staging.rejected().saturating_sub(kept),
            watermark: staging.watermark(),
            is_resumed: staging.resumed_rows > 0,
            is_null: staging.is_null,
            staged: staging.finish_at(position).await?,
        })
    }
}

/// A list that returns all rows of a resource.
#[derive(Clone, Copy)]
pub(super) enum WholeList {
    Cursor(CursorList),
    Offset(OffsetList),
}

impl WholeList {
    /// Returns the request for all rows, oldest first.
    fn request(self) -> ListRequest {
        match self {
            Self::Cursor(list) => list.oldest_first(),
            Self::Offset(list) => {
                // TODO(lead): read all of `list.queries()`, `Paging::None` and `older_path`.
                let query = list.queries().into_iter().next().unwrap_or_default();
                let request = ListRequest::new(list.path, Order::Offset);
                query.into_iter().fold(request, |request, (name, value)| request.with(name, value))
            }
        }
    }

    fn decode(self) -> Decode {
        match self {
            Self::Cursor(list) => list.decode,
            Self::Offset(list) => list.decode,
        }
    }

    /// How often a listing that came out shorter than the server's count is continued.
    fn retries(self) -> u32 {
        match self {
            Self::Cursor(_) => 2,
            // Rows with the same creation time may come in a different order at each request. Each pass finds some rows
            // that the earlier passes missed.
            Self::Offset(_) => 8,
        }
    }

    /// Returns whether every instance has the list. If so, a refused list never means that a feature is switched off.
    fn is_essential(self) -> bool {
        matches!(self, Self::Cursor(_))
    }
}

impl Task<'_, WholeList> {
    /// Reads all rows of the resource and replaces the table with them. Returns the time up to which the table is
    /// complete if an interrupted run started the listing; `None` if this run did.
    pub(super) async fn sync_whole(&self, mut table: Table, tally: &mut Tally) -> Result<Option<DateTime<Utc>>> {
        tally.is_incremental = false;
        let resource = self.resource;
        let whole = match self.read_whole(&table, tally).await {
            Ok(whole) => whole,
            Err(ListingFailure::Api(error)) if error.refusal == Refusal::Absent && !self.list.is_essential() => {
                self.run
                    .sync
                    .progress
                    .warn(&format!("{} skipped, this instance does not have them: {error}", resource.name));
                tally.skipped = Some(error.to_string());
                return Ok(None);
            }
            Err(failure) => return Err(self.run.listing_error(&table, failure).await),
        };
        let StagedListing { staged, kept, unreadable, watermark, is_resumed, is_null } = whole;
        let resume_point = staged.resume_point().filter(|_| kept == 0);
        let staged = staged.into_rows();
        let diff = table.diff(staged, Coverage::Complete).await?;
        let counts = diff.counts();
        tally.prepared = counts;
        let always_removable = if is_null { 0 } else { ALWAYS_REMOVABLE };
        if let Err(refused) = self.run.check_shrink(&table, counts, always_removable) {
            self.keep_for_later(&table, resume_point, share_deleted(&table, counts)).await;
            return Err(refused);
        }
        let change = self.run.change(tally).complete_up_to(watermark).with_unreadable(unreadable);
        self.run.claim_lake(&table).await?;
        self.run.record_tombstones(self.resource, &table, &diff, tally.watermark).await?;
        let outcome = table.commit_diff(diff, change).await?;
        self.run.record_commit(outcome, watermark, &mut table, tally).await?;
        Ok(is_resumed.then_some(watermark))
    }

    /// Keeps a complete listing whose commit was refused because it would delete `share` of the table. A later run that
    /// may delete as many rows commits it without reading it again.
    async fn keep_for_later(&self, table: &Table, resume_point: Option<ResumePoint>, share: f64) {
        table.forget_checkpoints(&self.run.area).await;
        let Some(mut resume_point) = resume_point else { return };
        resume_point.refused_share = Some(share);
        if let Err(error) = table.save_resume_point(&self.run.area, &resume_point).await {
            tracing::warn!(table = table.spec().name, %error, "cannot keep the staged rows for the next run");
        }
    }

    async fn read_whole(&self, table: &Table, tally: &mut Tally) -> Result<StagedListing, ListingFailure> {
        let request = self.list.request().until(self.run.watermark.timestamp_millis());
        let decode = self.list.decode();
        if request.order == Order::Offset {
            let lanes = self.run.sync.options.lanes;
            let mut listing = AheadListing::new(self.client.clone(), request, decode, lanes);
            let staging = Staging::new(self.run, self.resource, table)?;
            return self.read_from(&mut listing, staging, tally).await;
        }
        let now = self.run.now.timestamp_millis();
        let mut staging = Staging::new(self.run, self.resource, table)?;
        let position: Option<ScanPosition> =
            staging.resume().await?.and_then(|position| serde_json::from_value(position).ok());
        if staging.is_complete {
            let position = serde_json::to_value(&position).unwrap_or_default();
            return Ok(StagedListing::of(staging, 0, position).await?);
        }
        let is_resumed = staging.resumed_rows > 0;
        let lanes = self.run.sync.options.lanes;
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

    /// Stages all rows of `source`.
    async fn read_from(
        &self,
        source: &mut impl RowSource,
        mut staging: Staging<'_>,
        tally: &mut Tally,
    ) -> Result<StagedListing, ListingFailure> {
        let expected = self.count().await?;
        self.run.sync.progress.started(self.resource.name, expected);
        let read = self.read_to_the_count(source, &mut staging).await;
        tally.set_staged(&staging);
        if let Err(failure) = read {
            staging.save_after_failure(&failure, source.position()).await;
            return Err(staging.rule_out_absent(failure));
        }
        self.run.record_rejected(self.resource, &staging).await?;
        let kept = staging.keep_unreadable().await?;
        Ok(StagedListing::of(staging, kept, source.position()).await?)
    }

    /// Returns the server's count of rows; `None` if no endpoint returns one.
    async fn count(&self) -> Result<Option<u64>, ListingFailure> {
        match self.list {
            WholeList::Cursor(list) => Ok(Some(self.from(list).count().await?)),
            WholeList::Offset(_) => Ok(None),
        }
    }

    /// Stages a complete listing. It must contain at least as many rows as the server counts.
    async fn read_to_the_count(
        &self,
        source: &mut impl RowSource,
        staging: &mut Staging<'_>,
    ) -> Result<(), ListingFailure> {
        read_to_the_end(source, staging).await?;
        let mut needed = self.count().await?.or(staging.total);
        for _ in 0..self.list.retries() {
            let Some(count) = needed.filter(|count| staging.listed() < *count) else { return Ok(()) };
            // Counted rows exist, so the listing must contain them: rows created since the last page are read, and the
            // listing is compared with this count.
            tokio::time::sleep(PAUSE_BEFORE_RETRY).await;
            source.reopen();
            read_to_the_end(source, staging).await?;
            if staging.listed() >= count {
                return Ok(());
            }
            needed = self.count().await?.or(staging.total);
        }
        let Some(count) = needed.filter(|count| staging.listed() < *count) else { return Ok(()) };
        let count = match self.list {
            WholeList::Cursor(list) => self.from(list).stage_imported(staging, count).await?,
            WholeList::Offset(_) => count,
        };
        if staging.listed() >= count {
            return Ok(());
        }
        Err(ListingFailure::Other(too_short(self.resource, staging.listed(), count)))
    }
}

/// Stages the remaining pages of a listing.
async fn read_to_the_end(source: &mut impl RowSource, staging: &mut Staging<'_>) -> Result<(), ListingFailure> {
    while let Some(page) = source.next_page().await? {
        staging.stage(page).await?;
        if staging.is_resume_point_due() {
            let position = source.position();
            if !position.is_null() {
                staging.begin_resume_point(position).await?;
            }
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

impl Run<'_> {
    /// Returns the error of a failed listing. Its staged rows are kept only if another run can resume the listing.
    pub(super) async fn listing_error(&self, table: &Table, failure: ListingFailure) -> Error {
        if !failure.is_resumable() {
            table.forget_checkpoints(&self.area).await;
        }
        failure.into()
    }

    /// Refuses a commit that would delete more than `max_shrink` of the table's rows and more than `always_removable`
    /// rows.
    pub(super) fn check_shrink(&self, table: &Table, counts: Counts, always_removable: u64) -> Result<()> {
        let (share, allowed) = (share_deleted(table, counts), self.sync.options.max_shrink);
        if share <= allowed || counts.deleted <= always_removable {
            return Ok(());
        }
        Err(Error::answer(format!(
            "this sync would remove {} of the {} rows of {} ({:.0} %, more than --max-shrink {:.0} %); nothing was written",
            counts.deleted,
            table.rows(),
            table.spec().name,
            share * 100.0,
            allowed * 100.0
        ))
        .with_hint("check the key and --api-url; if the rows were deleted in Clerk, run once with --max-shrink 1"))
    }
}

/// Returns the share of the table's rows, 0 to 1, that a commit would delete.
#[expect(clippy::cast_precision_loss, reason = "a share, not a count")]
fn share_deleted(table: &Table, counts: Counts) -> f64 {
    counts.deleted as f64 / table.rows().max(1) as f64
}

/// Returns `number` as an integer, written as `7` or as `7.0`; `None` if it is not one.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is whole, and its size is checked")]
fn as_whole_number(number: &serde_json::Number) -> Option<u64> {
    let float = || number.as_f64().filter(|it| it.fract() == 0.0 && (0.0..1e15).contains(it)).map(|it| it as u64);
    number.as_u64().or_else(float)
}

/// A source of all rows of a resource: one lane by offset, or several lanes by cursor.
trait RowSource {
    async fn next_page(&mut self) -> Result<Option<Page<PageRows>>, ApiError>;
    /// Reopens the listing after its end, to read rows created meanwhile.
    fn reopen(&mut self);
    /// Returns the position from which another run can resume; null if none can.
    fn position(&self) -> serde_json::Value;
}

impl<D> RowSource for AheadListing<D, PageRows>
where
    D: Fn(&[u8]) -> Result<Decoded<PageRows>, String> + Clone + Send + Sync + 'static,
{
    async fn next_page(&mut self) -> Result<Option<Page<PageRows>>, ApiError> {
        Self::next_page(self).await
    }

    fn reopen(&mut self) {
        Self::reopen(self);
    }

    fn position(&self) -> serde_json::Value {
        serde_json::Value::Null
    }
}

impl<D> RowSource for Scan<D, PageRows>
where
    D: Fn(&[u8]) -> Result<Decoded<PageRows>, String> + Clone + Send + Sync + 'static,
{
    async fn next_page(&mut self) -> Result<Option<Page<PageRows>>, ApiError> {
        Self::next_page(self).await
    }

    fn reopen(&mut self) {
        Self::reopen(self);
    }

    fn position(&self) -> serde_json::Value {
        serde_json::to_value(Self::position(self)).unwrap_or_default()
    }
}

fn too_short(resource: &Resource, read: u64, count: u64) -> Error {
    Error::answer(format!(
        "the list of {} ended after {read} rows, but Clerk counts {count}; nothing was written",
        resource.name
    ))
    .with_hint("run again; if the error persists, report it: a list that may be incomplete is never committed")
    .transient()
}
