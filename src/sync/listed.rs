//! Resources that are read whole: users by cursor at a full sync or to reconcile, organizations by offset always.

use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, NaiveTime, Utc};
use serde::Deserialize;

use super::failure::ListingFailure;
use super::resume::Finished;
use super::staging::Staging;
use super::{CLOCKS_APART, ResourceSummary, Run};
use crate::api::{ApiError, Client, Decoded, Lanes, ListRequest, Listing, Order, Page, Refusal, Scan, ScanPosition};
use crate::error::{Error, Result};
use crate::lake::{Checkpoint, Counts, Coverage, Table};
use crate::resource::{PageRows, Reading, Resource, USERS, Writing};

/// How often a listing that came out shorter than the server's count is given another chance.
const CHANCES: u32 = 2;

/// The same for a list by offset, in which rows of one moment may come in another order at each request: every pass finds
/// some that the ones before have missed.
const CHANCES_BY_OFFSET: u32 = 8;

/// The wait before each.
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
        let Whole { staged, kept, unreadable, watermark, taken_over, is_null } = whole;
        let resume_point = staged.resume_point().filter(|_| kept == 0);
        let staged = staged.into_rows();
        let diff = table.diff(staged, Coverage::Complete).await?;
        let counts = diff.counts();
        summary.take_counts(counts);
        let always_removable = if is_null { 0 } else { ALWAYS_REMOVABLE };
        if let Err(refused) = self.refuse_shrinking(resource, &table, counts, always_removable) {
            self.keep_for_later(&table, resume_point, share_deleted(&table, counts)).await;
            return Err(refused);
        }
        let change = self.change(summary).complete_up_to(watermark).with_unreadable(unreadable);
        self.claim_lake(&table).await?;
        let outcome = table.commit_diff(diff, change).await?;
        self.settle(outcome, watermark, &mut table, summary).await?;
        Ok(taken_over.then_some(watermark))
    }

    /// Keeps a complete listing whose commit was refused because it would remove `share` of the table: a run that may
    /// remove as many rows commits it without reading it again.
    async fn keep_for_later(&self, table: &Table, resume_point: Option<Checkpoint>, share: f64) {
        table.forget_checkpoints(&self.area).await;
        let Some(mut resume_point) = resume_point else { return };
        resume_point.refused_share = Some(share);
        if let Err(error) = table.save_checkpoint(&self.area, &resume_point).await {
            tracing::warn!(table = table.spec().name, %error, "the rows that were read cannot be kept for the next run");
        }
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
        let request = request.until(self.watermark.timestamp_millis());
        let decode = resource.decode_bytes();
        if request.order == Order::Offset {
            let mut listing = Listing::new(client.clone(), request, decode);
            let staging = Staging::new(self, resource, table)?;
            return self.read_from(resource, client, &mut listing, staging, summary).await;
        }
        let now = self.now.timestamp_millis();
        let mut staging = Staging::new(self, resource, table)?;
        let position: Option<ScanPosition> =
            staging.take_over().await?.and_then(|position| serde_json::from_value(position).ok());
        if staging.is_complete {
            let position = serde_json::to_value(&position).unwrap_or_default();
            return Ok(Whole::of(staging, 0, position).await?);
        }
        let is_resumed = staging.taken_over > 0;
        let lanes = self.sync.options.lanes;
        let mut scan = Scan::new(client.clone(), request.clone(), decode, lanes, now, position);
        let failure = match self.read_from(resource, client, &mut scan, staging, summary).await {
            Err(failure) if (scan.was_cut() || is_resumed) && !failure.passes() => failure,
            other => return other,
        };
        // One cursor over everything relies on less: on no filter, on every row saying when it was created, and on
        // nothing that an interrupted run had read.
        tracing::info!(failure = %Error::from(failure), "reading all again in one lane");
        table.forget_checkpoints(&self.area).await;
        let staging = Staging::new(self, resource, table)?;
        let mut scan = Scan::new(client.clone(), request, resource.decode_bytes(), Lanes::Fixed(1), now, None);
        self.read_from(resource, client, &mut scan, staging, summary).await
    }

    /// Stages the rows that a list by cursor gives, in several lanes where that pays, and in one where it fails.
    /// What several lists bring is staged once, so nothing is lost by reading some of it again.
    pub(super) async fn take_listed(
        &self,
        resource: &'static Resource,
        request: ListRequest,
        client: &Client,
        staging: &mut Staging<'_>,
    ) -> Result<(), ListingFailure> {
        let (lanes, now) = (self.sync.options.lanes, self.now.timestamp_millis());
        let mut scan = Scan::new(client.clone(), request.clone(), resource.decode_bytes(), lanes, now, None);
        let failure = match self.read_to_the_end(&mut scan, staging).await {
            Err(failure) if scan.was_cut() && !failure.passes() => failure,
            other => return other,
        };
        tracing::info!(failure = %Error::from(failure), "reading the list again in one lane");
        let mut listing = Listing::new(client.clone(), request, resource.decode_bytes());
        self.read_to_the_end(&mut listing, staging).await
    }

    /// Stages all that `source` lists.
    async fn read_from(
        &self,
        resource: &'static Resource,
        client: &Client,
        source: &mut impl Source,
        mut staging: Staging<'_>,
        summary: &mut ResourceSummary,
    ) -> Result<Whole, ListingFailure> {
        let expected = self.count(resource, client).await?;
        self.sync.progress.started(resource.name, expected);
        let read = self.read_to_the_count(resource, client, source, &mut staging).await;
        summary.rows_read = staging.rows - staging.taken_over;
        summary.rows_rejected = staging.rejected();
        summary.fields_nulled = staging.odd.counts.clone();
        if let Err(failure) = read {
            staging.checkpoint_at(&failure, source.position()).await;
            return Err(staging.placed(failure));
        }
        self.set_aside(resource, &staging).await?;
        let kept = staging.keep_unreadable().await?;
        Ok(Whole::of(staging, kept, source.position()).await?)
    }

    /// Stages a whole listing, which must come to as many rows as the server counts.
    async fn read_to_the_count(
        &self,
        resource: &'static Resource,
        client: &Client,
        source: &mut impl Source,
        staging: &mut Staging<'_>,
    ) -> Result<(), ListingFailure> {
        self.read_to_the_end(source, staging).await?;
        let mut needed = self.count(resource, client).await?.or(staging.total);
        let by_offset = matches!(resource.reading, Reading::Offset { .. });
        for _ in 0..if by_offset { CHANCES_BY_OFFSET } else { CHANCES } {
            let Some(count) = needed.filter(|count| staging.listed() < *count) else { return Ok(()) };
            // Who has been counted is there: what came since the last page is read, and held against that count.
            tokio::time::sleep(PAUSE_BEFORE_CHANCE).await;
            source.reopen();
            self.read_to_the_end(source, staging).await?;
            if staging.listed() >= count {
                return Ok(());
            }
            needed = self.count(resource, client).await?.or(staging.total);
        }
        let Some(count) = needed.filter(|count| staging.listed() < *count) else { return Ok(()) };
        let count = self.take_imported(resource, client, staging, count).await?;
        if staging.listed() >= count {
            return Ok(());
        }
        Err(ListingFailure::Other(too_short(resource, staging.listed(), count)))
    }

    async fn read_to_the_end(&self, source: &mut impl Source, staging: &mut Staging<'_>) -> Result<(), ListingFailure> {
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

    /// The listing of users active at `since` or later, oldest user first. The filter excludes its own moment.
    pub(super) fn users_active_since(&self, since: DateTime<Utc>) -> Result<ListRequest> {
        let Reading::Cursor { path, active_after, .. } = USERS.reading else {
            return Err(Error::bug("users are not listed by cursor"));
        };
        Ok(ListRequest::new(path, Order::Cursor)
            .with("order_by", "created_at")
            .with(active_after, (since.timestamp_millis() - 1).to_string())
            .until(self.watermark.timestamp_millis()))
    }

    /// How many rows the server says there are; none where this resource has no endpoint for that.
    pub(super) async fn count(&self, resource: &Resource, client: &Client) -> Result<Option<u64>, ListingFailure> {
        #[derive(Deserialize)]
        struct Body {
            total_count: serde_json::Number,
        }
        let Reading::Cursor { count, .. } = resource.reading else { return Ok(None) };
        let count = client.get(count, &[], |body| {
            let body = serde_json::from_slice::<Body>(body).map_err(|_| "not a count of users".to_owned())?;
            whole(&body.total_count).ok_or_else(|| "the count of users is not a whole number".to_owned())
        });
        Ok(Some(count.await?))
    }

    /// Refuses a replacement that would remove more of the table than `max_shrink` allows, and more than a few rows.
    pub(super) fn refuse_shrinking(
        &self,
        resource: &Resource,
        table: &Table,
        counts: Counts,
        always_removable: u64,
    ) -> Result<()> {
        let (share, allowed) = (share_deleted(table, counts), self.sync.options.max_shrink);
        if share <= allowed || counts.deleted <= always_removable {
            return Ok(());
        }
        Err(Error::answer(format!(
            "this sync would remove {} of the {} rows of {} ({:.0} %, more than --max-shrink {:.0} %); nothing was written",
            counts.deleted,
            table.rows(),
            resource.table.name,
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

impl<D: Fn(&Bytes) -> Result<Decoded<PageRows>, String>> Source for Listing<D> {
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
    D: Fn(&Bytes) -> Result<Decoded<PageRows>, String> + Clone + Send + Sync + 'static,
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
        Reading::PerUser { .. } | Reading::Derived { .. } | Reading::Ledger => {
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

fn too_short(resource: &Resource, read: u64, count: u64) -> Error {
    Error::answer(format!(
        "the list of {} ended after {read} rows, but Clerk counts {count}; nothing was written",
        resource.name
    ))
    .with_hint("run again; if it stays so, report it: a list that may be incomplete is never committed")
}
