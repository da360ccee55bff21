//! Resources that are read whole: users by cursor at a full sync or to reconcile, organizations by offset always.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::failure::ListingFailure;
use super::resume::Finished;
use super::run::Run;
use super::staging::Staging;
use super::tally::Tally;
use super::task::Task;
use crate::api::{ApiError, Decoded, Lanes, ListRequest, Listing, Order, Page, Refusal, Scan, ScanPosition};
use crate::error::{Error, Result};
use crate::lake::{Checkpoint, Counts, Coverage, Table};
use crate::resource::{CursorList, Decode, OffsetList, PageRows, Resource};

/// The wait before a listing that came out shorter than the server's count is given another chance.
const PAUSE_BEFORE_CHANCE: Duration = Duration::from_millis(500);

/// At most this many rows of a table may always be removed, whatever share of it they are: but for those that are missing
/// because Clerk answered `null` instead of a list.
pub(super) const ALWAYS_REMOVABLE: u64 = 50;

/// All rows of a resource, staged.
struct Whole {
    staged: Finished,
    /// Rows among them that could not be read and are kept as the table has them.
    kept: u64,
    /// Rows beside them that cannot be read and never could.
    unreadable: u64,
    /// Up to when they are complete.
    watermark: DateTime<Utc>,
    /// Whether an interrupted run had read some of them.
    taken_over: bool,
    /// Whether Clerk answered `null` instead of a list.
    is_null: bool,
}

impl Whole {
    /// A listing that ended at `position`, with so many rows `kept` that could not be read.
    async fn of(staging: Staging<'_>, kept: u64, position: serde_json::Value) -> Result<Self> {
        Ok(Self {
            kept,
            unreadable: staging.rejected().saturating_sub(kept),
            watermark: staging.watermark(),
            taken_over: staging.taken_over > 0,
            is_null: staging.is_null,
            staged: staging.finish_at(position).await?,
        })
    }
}

/// A list that gives all rows of a resource.
#[derive(Clone, Copy)]
pub(super) enum WholeList {
    Cursor(CursorList),
    Offset(OffsetList),
}

impl WholeList {
    /// What asks for all rows, oldest first.
    fn request(self) -> ListRequest {
        match self {
            Self::Cursor(list) => list.oldest_first(),
            Self::Offset(list) => {
                let request = ListRequest::new(list.path, Order::Offset).with("order_by", "created_at");
                list.parameter.iter().fold(request, |request, (name, value)| request.with(name, *value))
            }
        }
    }

    fn decode(self) -> Decode {
        match self {
            Self::Cursor(list) => list.decode,
            Self::Offset(list) => list.decode,
        }
    }

    /// How often a listing that came out shorter than the server's count is given another chance.
    fn chances(self) -> u32 {
        match self {
            Self::Cursor(_) => 2,
            // Rows of one moment may come in another order at each request: every pass finds some that the ones before
            // have missed.
            Self::Offset(_) => 8,
        }
    }

    /// Whether every instance has it, so that a list that is refused is never a feature switched off.
    fn is_essential(self) -> bool {
        matches!(self, Self::Cursor(_))
    }
}

impl Task<'_, WholeList> {
    /// Reads all of the resource and makes it the table. Gives the moment up to which that is complete, if it is not
    /// this run's own start: an interrupted run had begun it.
    pub(super) async fn whole(&self, mut table: Table, tally: &mut Tally) -> Result<Option<DateTime<Utc>>> {
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
            Err(failure) => return Err(self.run.given_up(&table, failure).await),
        };
        let Whole { staged, kept, unreadable, watermark, taken_over, is_null } = whole;
        let resume_point = staged.resume_point().filter(|_| kept == 0);
        let staged = staged.into_rows();
        let diff = table.diff(staged, Coverage::Complete).await?;
        let counts = diff.counts();
        tally.prepared = counts;
        let always_removable = if is_null { 0 } else { ALWAYS_REMOVABLE };
        if let Err(refused) = self.run.refuse_shrinking(&table, counts, always_removable) {
            self.keep_for_later(&table, resume_point, share_deleted(&table, counts)).await;
            return Err(refused);
        }
        let change = self.run.change(tally).complete_up_to(watermark).with_unreadable(unreadable);
        self.run.claim_lake(&table).await?;
        let outcome = table.commit_diff(diff, change).await?;
        self.run.settle(outcome, watermark, &mut table, tally).await?;
        Ok(taken_over.then_some(watermark))
    }

    /// Keeps a complete listing whose commit was refused because it would remove `share` of the table: a run that may
    /// remove as many rows commits it without reading it again.
    async fn keep_for_later(&self, table: &Table, resume_point: Option<Checkpoint>, share: f64) {
        table.forget_checkpoints(&self.run.area).await;
        let Some(mut resume_point) = resume_point else { return };
        resume_point.refused_share = Some(share);
        if let Err(error) = table.save_checkpoint(&self.run.area, &resume_point).await {
            tracing::warn!(table = table.spec().name, %error, "the rows that were read cannot be kept for the next run");
        }
    }

    async fn read_whole(&self, table: &Table, tally: &mut Tally) -> Result<Whole, ListingFailure> {
        let request = self.list.request().until(self.run.watermark.timestamp_millis());
        let decode = self.list.decode();
        if request.order == Order::Offset {
            let mut listing = Listing::new(self.client.clone(), request, decode);
            let staging = Staging::new(self.run, self.resource, table)?;
            return self.read_from(&mut listing, staging, tally).await;
        }
        let now = self.run.now.timestamp_millis();
        let mut staging = Staging::new(self.run, self.resource, table)?;
        let position: Option<ScanPosition> =
            staging.take_over().await?.and_then(|position| serde_json::from_value(position).ok());
        if staging.is_complete {
            let position = serde_json::to_value(&position).unwrap_or_default();
            return Ok(Whole::of(staging, 0, position).await?);
        }
        let is_resumed = staging.taken_over > 0;
        let lanes = self.run.sync.options.lanes;
        let mut scan = Scan::new(self.client.clone(), request.clone(), decode, lanes, now, position);
        let failure = match self.read_from(&mut scan, staging, tally).await {
            Err(failure) if (scan.was_cut() || is_resumed) && !failure.passes() => failure,
            other => return other,
        };
        // One cursor over everything relies on less: on no filter, on every row saying when it was created, and on
        // nothing that an interrupted run had read.
        tracing::info!(failure = %Error::from(failure), "reading all again in one lane");
        table.forget_checkpoints(&self.run.area).await;
        let staging = Staging::new(self.run, self.resource, table)?;
        let mut scan = Scan::new(self.client.clone(), request, decode, Lanes::Fixed(1), now, None);
        self.read_from(&mut scan, staging, tally).await
    }

    /// Stages all that `source` lists.
    async fn read_from(
        &self,
        source: &mut impl Source,
        mut staging: Staging<'_>,
        tally: &mut Tally,
    ) -> Result<Whole, ListingFailure> {
        let expected = self.count().await?;
        self.run.sync.progress.started(self.resource.name, expected);
        let read = self.read_to_the_count(source, &mut staging).await;
        tally.take_staged(&staging);
        if let Err(failure) = read {
            staging.checkpoint_at(&failure, source.position()).await;
            return Err(staging.placed(failure));
        }
        self.run.set_aside(self.resource, &staging).await?;
        let kept = staging.keep_unreadable().await?;
        Ok(Whole::of(staging, kept, source.position()).await?)
    }

    /// How many rows the server says there are; `None` if no endpoint says that.
    async fn count(&self) -> Result<Option<u64>, ListingFailure> {
        match self.list {
            WholeList::Cursor(list) => Ok(Some(self.from(list).count().await?)),
            WholeList::Offset(_) => Ok(None),
        }
    }

    /// Stages a whole listing, which must come to as many rows as the server counts.
    async fn read_to_the_count(
        &self,
        source: &mut impl Source,
        staging: &mut Staging<'_>,
    ) -> Result<(), ListingFailure> {
        read_to_the_end(source, staging).await?;
        let mut needed = self.count().await?.or(staging.total);
        for _ in 0..self.list.chances() {
            let Some(count) = needed.filter(|count| staging.listed() < *count) else { return Ok(()) };
            // Who has been counted is there: what came since the last page is read, and held against that count.
            tokio::time::sleep(PAUSE_BEFORE_CHANCE).await;
            source.reopen();
            read_to_the_end(source, staging).await?;
            if staging.listed() >= count {
                return Ok(());
            }
            needed = self.count().await?.or(staging.total);
        }
        let Some(count) = needed.filter(|count| staging.listed() < *count) else { return Ok(()) };
        let count = match self.list {
            WholeList::Cursor(list) => self.from(list).take_imported(staging, count).await?,
            WholeList::Offset(_) => count,
        };
        if staging.listed() >= count {
            return Ok(());
        }
        Err(ListingFailure::Other(too_short(self.resource, staging.listed(), count)))
    }
}

/// Stages what is left of a listing.
async fn read_to_the_end(source: &mut impl Source, staging: &mut Staging<'_>) -> Result<(), ListingFailure> {
    while let Some(page) = source.next_page().await? {
        staging.take(page).await?;
        if staging.wants_checkpoint() {
            let position = source.position();
            if !position.is_null() {
                staging.checkpoint(position).await?;
            }
        }
    }
    Ok(())
}

impl Task<'_, CursorList> {
    /// Stages the rows that a list by cursor gives, in several lanes where that pays, and in one where it fails.
    /// What several lists bring is staged once, so nothing is lost by reading some of it again.
    pub(super) async fn take_listed(
        &self,
        request: ListRequest,
        staging: &mut Staging<'_>,
    ) -> Result<(), ListingFailure> {
        let (lanes, now) = (self.run.sync.options.lanes, self.run.now.timestamp_millis());
        let mut scan = Scan::new(self.client.clone(), request.clone(), self.list.decode, lanes, now, None);
        let failure = match read_to_the_end(&mut scan, staging).await {
            Err(failure) if scan.was_cut() && !failure.passes() => failure,
            other => return other,
        };
        tracing::info!(failure = %Error::from(failure), "reading the list again in one lane");
        let mut listing = Listing::new(self.client.clone(), request, self.list.decode);
        read_to_the_end(&mut listing, staging).await
    }

    /// How many rows the server says there are.
    pub(super) async fn count(&self) -> Result<u64, ListingFailure> {
        #[derive(Deserialize)]
        struct Body {
            total_count: serde_json::Number,
        }
        let count = self.client.get(self.list.count, &[], |body| {
            let body = serde_json::from_slice::<Body>(body).map_err(|_| "not a count of users".to_owned())?;
            whole(&body.total_count).ok_or_else(|| "the count of users is not a whole number".to_owned())
        });
        Ok(count.await?)
    }
}

impl Run<'_> {
    /// The error of a listing that failed. What it had staged is kept only for a failure that passes.
    pub(super) async fn given_up(&self, table: &Table, failure: ListingFailure) -> Error {
        if !failure.passes() {
            table.forget_checkpoints(&self.area).await;
        }
        failure.into()
    }

    /// Refuses a replacement that would remove more of the table than `max_shrink` allows, and more than a few rows.
    pub(super) fn refuse_shrinking(&self, table: &Table, counts: Counts, always_removable: u64) -> Result<()> {
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
        .with_hint("check that the key and --api-url are right; if so many are really gone, run once with --max-shrink 1"))
    }
}

/// The share of the table's rows, 0 to 1, that a commit would remove.
#[expect(clippy::cast_precision_loss, reason = "a share, not a count")]
fn share_deleted(table: &Table, counts: Counts) -> f64 {
    counts.deleted as f64 / table.rows().max(1) as f64
}

/// Returns the whole number that `number` is, be it written as `7` or as `7.0`.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is whole, and its size is checked")]
fn whole(number: &serde_json::Number) -> Option<u64> {
    let float = || number.as_f64().filter(|it| it.fract() == 0.0 && (0.0..1e15).contains(it)).map(|it| it as u64);
    number.as_u64().or_else(float)
}

/// What lists all of a resource: in one lane by offset, or in several by cursor.
trait Source {
    async fn next_page(&mut self) -> Result<Option<Page<PageRows>>, ApiError>;
    /// Opens it again after its end, for rows that came meanwhile.
    fn reopen(&mut self);
    /// Where it stands, for a run that goes on with it; null where none can.
    fn position(&self) -> serde_json::Value;
}

impl<D: Fn(&[u8]) -> Result<Decoded<PageRows>, String>> Source for Listing<D> {
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

impl<D> Source for Scan<D, PageRows>
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
    .with_hint("run again; if it stays so, report it: a list that may be incomplete is never committed")
}
