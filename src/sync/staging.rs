//! Pages to staged rows: what every resource that is listed has in common.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::TimestampMicrosecondType;
use chrono::{DateTime, Utc};
use datafusion::catalog::TableProvider;
use futures::{Stream, TryStreamExt};
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::failure::ListingFailure;
use super::odd_fields::OddFields;
use super::resume::Finished;
use super::run::Run;
use super::unreadable::UnreadableRows;
use crate::api::{ApiError, Fingerprints, Page};
use crate::error::{Error, Result};
use crate::lake::{Checkpoint, StagedRows, Table, Writer};
use crate::resource::json::Rejected;
use crate::resource::{PageRows, Resource};

/// So many rows are worth a checkpoint of their own.
const FEWEST_CHECKED: u64 = 2_500;

/// So many rows get one at the latest: until then the last part of each open file is held in memory.
const MOST_CHECKED: u64 = 40_000;

/// So many rows are worth keeping after a failure.
const FEWEST_KEPT: u64 = 500;

/// After this time whatever has been staged gets a checkpoint.
const LONGEST_UNCHECKED: Duration = Duration::from_secs(15);

/// Below so many rows the share of unreadable ones is judged only at the end.
const EARLY_JUDGEMENT: u64 = 2000;

/// A listing on its way to staged files, or several listings that may bring the same row: the first one counts,
/// since whatever happened to it after that is later than this run's watermark.
pub(super) struct Staging<'a> {
    run: &'a Run<'a>,
    resource: &'static Resource,
    table: &'a Table,
    writer: Writer,
    /// What has been closed so far, each part with its checkpoint.
    closed: Vec<StagedRows>,
    /// What is being closed while the next rows are read.
    closing: Option<Closing>,
    checked: Instant,
    /// The watermark of the run that began it: another than this one's, where it was taken over.
    watermark: DateTime<Utc>,
    seen: Option<Fingerprints>,
    unreadable: UnreadableRows,
    /// Fields that are NULL because they were of another type than the contract promises.
    pub odd: OddFields,
    /// Whether another run can resume from these rows: they are all from the beginning of a list, and none was lost on
    /// its way to a file.
    pub resumable: bool,
    /// The rows of the table before this run: a few changed rows do not stand for all.
    rows_before: u64,
    /// Rows staged so far, each counted once.
    pub rows: u64,
    /// How many of them an interrupted run had staged.
    pub taken_over: u64,
    /// The total that the server said last.
    pub total: Option<u64>,
    /// Whether a page was `null` instead of a list.
    pub is_null: bool,
    /// Whether the rows taken over are those of a complete listing, whose commit was refused before.
    pub is_complete: bool,
}

impl<'a> Staging<'a> {
    /// Staging for one listing, which does not bring a row twice.
    pub(super) fn new(run: &'a Run<'a>, resource: &'static Resource, table: &'a Table) -> Result<Self> {
        Ok(Self {
            run,
            resource,
            table,
            writer: table.writer()?,
            closed: Vec::new(),
            closing: None,
            checked: Instant::now(),
            watermark: run.watermark,
            seen: None,
            unreadable: UnreadableRows::default(),
            odd: OddFields::default(),
            resumable: true,
            rows_before: 0,
            rows: 0,
            taken_over: 0,
            total: None,
            is_null: false,
            is_complete: false,
        })
    }

    /// Staging for several listings of what changed in the table; it remembers each row by a few bytes.
    pub(super) fn of_changes(run: &'a Run<'a>, resource: &'static Resource, table: &'a Table) -> Result<Self> {
        let new = Self::new(run, resource, table)?;
        Ok(Self { seen: Some(Fingerprints::default()), rows_before: table.rows(), resumable: false, ..new })
    }

    /// How many rows the list has brought, those that could not be read included.
    pub(super) fn listed(&self) -> u64 {
        self.rows + self.rejected()
    }

    /// How many rows could not be read.
    pub(super) fn rejected(&self) -> u64 {
        self.unreadable.count()
    }

    /// Whether a row with this id has been staged; only where several listings are staged.
    pub(super) fn has(&self, id: &str) -> bool {
        self.seen.as_ref().is_some_and(|seen| seen.contains(id))
    }

    /// Whether a row with this id has come that cannot be read.
    pub(super) fn has_unreadable(&self, id: &str) -> bool {
        self.unreadable.ids().contains(id)
    }

    /// Stages rows of the table itself, changed, which no list has brought.
    pub(super) async fn stage_known(&mut self, rows: RecordBatch) -> Result<()> {
        let written = self.writer.write_stamped(rows).await;
        self.lost_if_failed(written)
    }

    /// Stages all pages of a listing.
    pub(super) async fn take_all(
        &mut self,
        pages: impl Stream<Item = Result<Page<PageRows>, ApiError>>,
    ) -> Result<(), ListingFailure> {
        let mut pages = std::pin::pin!(pages);
        while let Some(page) = pages.try_next().await.map_err(ListingFailure::Api)? {
            self.take(page).await.map_err(ListingFailure::Other)?;
        }
        Ok(())
    }

    /// Stages one page.
    pub(super) async fn take(&mut self, mut page: Page<PageRows>) -> Result<()> {
        if self.closing.as_ref().is_some_and(|closing| closing.files.is_finished()) {
            self.finish_checkpoint().await?;
        }
        if let Some(seen) = &mut self.seen {
            let listed = page.fresh.take().unwrap_or_else(|| vec![true; page.keys.len()]);
            let fresh = page.keys.iter().zip(listed).map(|(key, listed)| listed && seen.insert(&key.id));
            page.fresh = Some(fresh.collect());
        }
        let PageRows { batch, rejected, odd, is_null } = page.rows;
        self.is_null |= is_null;
        self.odd.take(odd);
        self.take_rejected(rejected);
        if !self.unreadable.ids().is_empty() {
            page.keys.iter().for_each(|key| self.unreadable.has_been_read(&key.id));
        }
        self.total = page.total_count.or(self.total);
        let batch = only_fresh(batch, page.fresh)?;
        self.rows += batch.num_rows() as u64;
        if self.listed() >= EARLY_JUDGEMENT {
            self.judge_rejected()?;
        }
        let written = self.writer.write(&batch, self.run.synced_at_micros()).await;
        self.lost_if_failed(written)?;
        self.run.sync.progress.advanced(self.resource.name, self.rows);
        Ok(())
    }

    /// Counts rows that cannot be read, but for those that another list has brought in a form that can be.
    fn take_rejected(&mut self, rejected: Vec<Rejected>) {
        for row in rejected {
            tracing::debug!(resource = self.resource.name, reason = row.reason, "a row cannot be read");
            if !row.key.as_ref().is_some_and(|key| self.has(&key.id)) {
                self.unreadable.insert(row);
            }
        }
    }

    /// After a failure to write, the rows on their way are lost: no resume point may claim them.
    fn lost_if_failed<T>(&mut self, outcome: Result<T>) -> Result<T> {
        self.resumable &= outcome.is_ok();
        outcome
    }

    /// `failure` as it counts after what has been read: a list that has begun is there, so whatever is refused
    /// later is no feature switched off.
    pub(super) fn placed(&self, failure: ListingFailure) -> ListingFailure {
        match failure {
            ListingFailure::Api(error) if self.listed() > 0 => ListingFailure::Other(error.into()),
            other => other,
        }
    }

    /// The rows set aside: those that could not be read.
    pub(super) fn set_aside(&self) -> &[Rejected] {
        self.unreadable.kept()
    }

    /// Keeps the rows that `table` has of those that could not be read: they are not gone. Gives how many.
    pub(super) async fn keep_unreadable(&mut self) -> Result<u64> {
        let mut kept = 0;
        let ids: Vec<String> = self.unreadable.ids().iter().cloned().collect();
        for ids in ids.chunks(1000) {
            for batch in self.table.rows_of(ids).await? {
                kept += batch.num_rows() as u64;
                self.writer.write_stamped(batch).await?;
            }
        }
        Ok(kept)
    }

    /// Takes over what an interrupted run had staged, if there is anything of use; gives where its listing stood.
    pub(super) async fn take_over(&mut self) -> Result<Option<Value>> {
        let (source, max_shrink) = (self.run.source_of(self.resource), self.run.sync.options.max_shrink);
        let taken = self.table.take_over(&self.run.area, &source, max_shrink).await?;
        let Some((checkpoint, staged)) = taken else { return Ok(None) };
        let (unreadable, odd) = serde_json::from_value(checkpoint.set_aside).unwrap_or_default();
        self.unreadable = UnreadableRows::restore(unreadable);
        self.odd = odd;
        self.rows = checkpoint.rows;
        self.taken_over = checkpoint.rows;
        self.is_complete = checkpoint.refused_share.is_some();
        self.watermark = checkpoint.watermark;
        self.closed = staged;
        self.run.sync.progress.note(&format!(
            "{}: going on after {} rows that an interrupted run had read (--fresh begins anew)",
            self.resource.name, checkpoint.rows
        ));
        self.run.sync.progress.advanced(self.resource.name, self.rows);
        Ok(Some(checkpoint.position))
    }

    /// Whether enough has been staged since the last checkpoint for another one: an interruption should cost a
    /// quarter of what has been read at most, or some seconds.
    pub(super) fn wants_checkpoint(&self) -> bool {
        let since = self.writer.rows();
        let due = since >= FEWEST_CHECKED.max(self.rows / 4).min(MOST_CHECKED)
            || (since > 0 && self.checked.elapsed() >= LONGEST_UNCHECKED);
        self.resumable && due
    }

    /// What a resume point keeps of rows that could not be read, and of fields.
    fn set_aside_so_far(&self) -> Value {
        serde_json::to_value((self.unreadable.save(), &self.odd)).unwrap_or_default()
    }

    /// Begins to close the files, and to write down that the listing stands at `position`: reading goes on
    /// meanwhile.
    pub(super) async fn checkpoint(&mut self, position: Value) -> Result<()> {
        self.finish_checkpoint().await?;
        self.checked = Instant::now();
        let set_aside = self.set_aside_so_far();
        let files = if self.writer.rows() > 0 {
            let writer = std::mem::replace(&mut self.writer, self.table.writer()?);
            tokio::spawn(async move { writer.finish().await.map(Some) })
        } else {
            tokio::spawn(async { Ok(None) })
        };
        self.closing = Some(Closing { files, position, set_aside });
        Ok(())
    }

    /// Waits for what is being closed, if anything is, and writes down how far that is.
    async fn finish_checkpoint(&mut self) -> Result<()> {
        let Some(mut closing) = self.closing.take() else { return Ok(()) };
        let closed = (&mut closing.files).await.map_err(|error| Error::bug(error.to_string())).flatten();
        let closed = self.lost_if_failed(closed)?;
        self.closed.extend(closed);
        let (position, set_aside) = (std::mem::take(&mut closing.position), std::mem::take(&mut closing.set_aside));
        let checkpoint =
            Checkpoint::new(self.run.source_of(self.resource), self.watermark, position, set_aside, &self.closed);
        if let Err(error) = self.table.save_checkpoint(&self.run.area, &checkpoint).await {
            tracing::warn!(%error, "an interruption now would cost what has been read so far");
        }
        Ok(())
    }

    /// The same after a failure that another run can go on from, where there is enough to be worth it.
    pub(super) async fn checkpoint_at(&mut self, failure: &ListingFailure, position: Value) {
        if !self.resumable || !failure.passes() || self.rows < FEWEST_KEPT {
            return;
        }
        if self.writer.rows() == 0 && self.closing.is_none() {
            return;
        }
        let saved = match self.checkpoint(position).await {
            Ok(()) => self.finish_checkpoint().await,
            Err(error) => Err(error),
        };
        match saved {
            Ok(()) => self.run.sync.progress.note(&format!(
                "{}: {} rows are kept, and the next sync goes on from there",
                self.resource.name, self.rows
            )),
            Err(error) => tracing::warn!(%error, "what has been read so far is read again by the next run"),
        }
    }

    /// The watermark that the rows are complete up to.
    pub(super) fn watermark(&self) -> DateTime<Utc> {
        self.watermark
    }

    /// The rows staged so far, as tables that can be read: one for each group of closed files. No resume point is
    /// written from here on.
    pub(super) async fn tables_so_far(&mut self) -> Result<Vec<Arc<dyn TableProvider>>> {
        self.resumable = false;
        self.finish_checkpoint().await?;
        let writer = std::mem::replace(&mut self.writer, self.table.writer()?);
        self.closed.push(writer.finish().await?);
        let closed = self.closed.iter().filter(|part| part.rows > 0);
        closed.map(|part| part.provider(&self.run.lake, &self.resource.table)).collect()
    }

    /// Closes the files.
    pub(super) async fn finish(self) -> Result<StagedRows> {
        Ok(self.finish_at(Value::Null).await?.into_rows())
    }

    /// Closes the files of a listing that has ended at `position`.
    pub(super) async fn finish_at(mut self, position: Value) -> Result<Finished> {
        self.judge_rejected()?;
        self.finish_checkpoint().await?;
        let set_aside = self.set_aside_so_far();
        self.closed.push(self.writer.finish().await?);
        let position = if self.resumable { position } else { Value::Null };
        let source = self.run.source_of(self.resource);
        let resume_point = Checkpoint::new(source, self.watermark, position, set_aside, &self.closed);
        Ok(Finished { parts: self.closed, resume_point })
    }

    /// Refuses a listing of which too much cannot be read: that is no odd row, but another format.
    /// One odd row in a short list is none either.
    #[expect(clippy::cast_precision_loss, reason = "a share, not a count")]
    pub(super) fn judge_rejected(&self) -> Result<()> {
        let allowed = self.run.sync.options.max_rejected;
        let share = self.rejected() as f64 / self.listed().max(self.rows_before).max(1) as f64;
        if share <= allowed || (self.rejected() == 1 && allowed > 0.0) {
            return Ok(());
        }
        Err(Error::answer(format!(
            "{} of {} rows of {} cannot be read ({:.1} %, more than --max-rejected {:.1} %)",
            self.rejected(),
            self.listed(),
            self.resource.name,
            share * 100.0,
            allowed * 100.0
        ))
        .with_hint("update clerk-lake; Clerk's format may have changed. The table was left as it was"))
    }
}

/// The moments in a column of a page, Unix microseconds; none where the row has none.
pub(super) fn moments<'b>(rows: &'b PageRows, column: &str) -> impl Iterator<Item = Option<i64>> + 'b {
    let moments = rows.batch.column_by_name(column).and_then(|it| it.as_primitive_opt::<TimestampMicrosecondType>());
    moments.into_iter().flat_map(arrow::array::PrimitiveArray::iter)
}

/// Files that are being closed, and what is known of the listing as far as they go. Dropping it stops that.
struct Closing {
    files: JoinHandle<Result<Option<StagedRows>>>,
    position: Value,
    set_aside: Value,
}

impl Drop for Closing {
    fn drop(&mut self) {
        self.files.abort();
    }
}

fn only_fresh(batch: RecordBatch, fresh: Option<Vec<bool>>) -> Result<RecordBatch> {
    match fresh {
        None => Ok(batch),
        Some(fresh) => filter_record_batch(&batch, &BooleanArray::from(fresh))
            .map_err(|error| Error::bug(format!("rows seen before could not be dropped: {error}"))),
    }
}
