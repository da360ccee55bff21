//! Staging: turns pages into staged files, for every resource that is listed.

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
use crate::lake::{ResumePoint, StagedRows, Table, Writer, content_digest};
use crate::resource::json::Rejected;
use crate::resource::{PageRows, Resource};

/// A resume point covers at least this many new rows, unless much time has passed.
const MIN_ROWS_PER_RESUME_POINT: u64 = 2_500;

/// A resume point is due after this many new rows at the latest: until then the last part of each open file is held in
/// memory.
const MAX_ROWS_PER_RESUME_POINT: u64 = 40_000;

/// After a failure, staged rows are kept if there are at least this many.
const MIN_ROWS_KEPT: u64 = 500;

/// A resume point is due after this time, if any row has been staged since the last one.
const MAX_TIME_PER_RESUME_POINT: Duration = Duration::from_secs(15);

/// Below this many rows, the share of rejected rows is checked only at the end of the listing.
const MIN_ROWS_FOR_EARLY_CHECK: u64 = 2000;

/// Writes the rows of one or several listings to staged files. If several listings return the same row, the first one
/// wins: any later change to the row is later than this run's watermark.
pub(super) struct Staging<'a> {
    run: &'a Run<'a>,
    resource: &'static Resource,
    table: &'a Table,
    writer: Writer,
    /// The files closed so far, one part per resume point.
    closed: Vec<StagedRows>,
    /// The files that are being closed while the next rows are read.
    closing: Option<Closing>,
    last_resume_point: Instant,
    /// The watermark of the run that started the listing: an earlier run's if the listing was resumed.
    watermark: DateTime<Utc>,
    seen: Option<Fingerprints>,
    unreadable: UnreadableRows,
    /// Fields stored as NULL because their values have an unexpected type.
    pub odd: OddFields,
    /// Whether another run can resume from these rows: they cover a list from its beginning, and none was lost in a
    /// failed write.
    pub resumable: bool,
    /// A digest of the content of the staged rows, if it is wanted.
    digest: Option<u64>,
    /// The rows of the table before this run. The share of rejected rows is relative to them if they are more than the
    /// listed rows.
    rows_before: u64,
    /// Rows staged so far, each counted once.
    pub rows: u64,
    /// How many of the staged rows an interrupted run staged.
    pub resumed_rows: u64,
    /// The latest total count in a server response.
    pub total: Option<u64>,
    /// Whether a page was `null` instead of a list.
    pub is_null: bool,
    /// Whether the resumed rows are a complete listing whose commit was refused before.
    pub is_complete: bool,
}

impl<'a> Staging<'a> {
    /// Creates the staging for one listing, which returns no row twice.
    pub(super) fn new(run: &'a Run<'a>, resource: &'static Resource, table: &'a Table) -> Result<Self> {
        Ok(Self {
            run,
            resource,
            table,
            writer: table.writer()?,
            closed: Vec::new(),
            closing: None,
            last_resume_point: Instant::now(),
            watermark: run.watermark,
            seen: None,
            unreadable: UnreadableRows::default(),
            odd: OddFields::default(),
            resumable: true,
            digest: None,
            rows_before: 0,
            rows: 0,
            resumed_rows: 0,
            total: None,
            is_null: false,
            is_complete: false,
        })
    }

    /// Creates the staging for several listings of changes. It remembers a hash of each row's id, to stage each row
    /// once.
    pub(super) fn of_changes(run: &'a Run<'a>, resource: &'static Resource, table: &'a Table) -> Result<Self> {
        let new = Self::new(run, resource, table)?;
        Ok(Self { seen: Some(Fingerprints::default()), rows_before: table.rows(), resumable: false, ..new })
    }

    /// Makes the staging compute a digest of the rows that it stages.
    pub(super) fn with_digest(self) -> Self {
        Self { digest: Some(0), ..self }
    }

    /// Returns the digest of all rows of a list; `None` if it was not computed, or if rows were rejected.
    pub(super) fn digest(&self) -> Option<i64> {
        self.digest.filter(|_| self.rejected() == 0).map(u64::cast_signed)
    }

    /// Returns how many rows were listed, including rejected ones.
    pub(super) fn listed(&self) -> u64 {
        self.rows + self.rejected()
    }

    /// Returns how many rows were rejected.
    pub(super) fn rejected(&self) -> u64 {
        self.unreadable.count()
    }

    /// Returns whether a row with this id is staged. Always `false` for the staging of one listing.
    pub(super) fn has(&self, id: &str) -> bool {
        self.seen.as_ref().is_some_and(|seen| seen.contains(id))
    }

    /// Returns whether a row with this id was rejected.
    pub(super) fn has_unreadable(&self, id: &str) -> bool {
        self.unreadable.ids().contains(id)
    }

    /// Stages changed rows of the table itself, which no list returned.
    pub(super) async fn stage_known(&mut self, rows: RecordBatch) -> Result<()> {
        let written = self.writer.write_stamped(rows).await;
        self.clear_resumable_on_error(written)
    }

    /// Stages all pages of a listing.
    pub(super) async fn stage_all(
        &mut self,
        pages: impl Stream<Item = Result<Page<PageRows>, ApiError>>,
    ) -> Result<(), ListingFailure> {
        let mut pages = std::pin::pin!(pages);
        while let Some(page) = pages.try_next().await.map_err(ListingFailure::Api)? {
            self.stage(page).await.map_err(ListingFailure::Other)?;
        }
        Ok(())
    }

    /// Stages one page.
    pub(super) async fn stage(&mut self, mut page: Page<PageRows>) -> Result<()> {
        if self.closing.as_ref().is_some_and(|closing| closing.files.is_finished()) {
            self.finish_resume_point().await?;
        }
        if let Some(seen) = &mut self.seen {
            let listed = page.fresh.take().unwrap_or_else(|| vec![true; page.keys.len()]);
            let fresh = page.keys.iter().zip(listed).map(|(key, listed)| listed && seen.insert(&key.id));
            page.fresh = Some(fresh.collect());
        }
        let PageRows { batch, rejected, odd, is_null } = page.rows;
        self.is_null |= is_null;
        self.odd.add(odd);
        self.add_rejected(rejected);
        if !self.unreadable.ids().is_empty() {
            page.keys.iter().for_each(|key| self.unreadable.mark_readable(&key.id));
        }
        self.total = page.total_count.or(self.total);
        let batch = only_fresh(batch, page.fresh)?;
        if let Some(digest) = &mut self.digest {
            *digest = digest.wrapping_add(content_digest(&batch)?);
        }
        self.rows += batch.num_rows() as u64;
        if self.listed() >= MIN_ROWS_FOR_EARLY_CHECK {
            self.check_rejected_share()?;
        }
        let written = self.writer.write(&batch, self.run.synced_at_micros()).await;
        self.clear_resumable_on_error(written)?;
        self.run.sync.progress.advanced(self.resource.name, self.rows);
        Ok(())
    }

    /// Counts rejected rows, except those that another list returned in a readable form.
    fn add_rejected(&mut self, rejected: Vec<Rejected>) {
        for row in rejected {
            tracing::debug!(resource = self.resource.name, reason = row.reason, "row rejected");
            if !row.key.as_ref().is_some_and(|key| self.has(&key.id)) {
                self.unreadable.insert(row);
            }
        }
    }

    /// After a failed write, rows are lost: no resume point may claim them.
    fn clear_resumable_on_error<T>(&mut self, outcome: Result<T>) -> Result<T> {
        self.resumable &= outcome.is_ok();
        outcome
    }

    /// Returns `failure`, which no longer counts as an absent resource if rows have been listed: the list exists, so a
    /// later refusal does not mean that a feature is switched off.
    pub(super) fn rule_out_absent(&self, failure: ListingFailure) -> ListingFailure {
        match failure {
            ListingFailure::Api(error) if self.listed() > 0 => ListingFailure::Other(error.into()),
            other => other,
        }
    }

    /// Returns the rejected rows to record.
    pub(super) fn rejected_rows(&self) -> &[Rejected] {
        self.unreadable.kept()
    }

    /// Keeps the table's version of rejected rows, because they are not deleted. Returns how many it kept.
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

    /// Resumes from the staged rows of an interrupted run, if there are any. Returns the position of its listing.
    pub(super) async fn resume(&mut self) -> Result<Option<Value>> {
        let (source, max_shrink) = (self.run.source_of(self.resource), self.run.sync.options.max_shrink);
        let taken = self.table.resume_listing(&self.run.area, &source, max_shrink).await?;
        let Some((checkpoint, staged)) = taken else { return Ok(None) };
        let (unreadable, odd) = serde_json::from_value(checkpoint.set_aside).unwrap_or_default();
        self.unreadable = UnreadableRows::restore(unreadable);
        self.odd = odd;
        self.rows = checkpoint.rows;
        self.resumed_rows = checkpoint.rows;
        self.is_complete = checkpoint.refused_share.is_some();
        self.watermark = checkpoint.watermark;
        self.closed = staged;
        self.run.sync.progress.note(&format!(
            "{}: resuming after {} rows that an interrupted run had read (--fresh starts over)",
            self.resource.name, checkpoint.rows
        ));
        self.run.sync.progress.advanced(self.resource.name, self.rows);
        Ok(Some(checkpoint.position))
    }

    /// Returns whether a new resume point is due: an interruption should cost at most a quarter of the rows read so
    /// far, or a few seconds.
    pub(super) fn is_resume_point_due(&self) -> bool {
        let since = self.writer.rows();
        let due = since >= MIN_ROWS_PER_RESUME_POINT.max(self.rows / 4).min(MAX_ROWS_PER_RESUME_POINT)
            || (since > 0 && self.last_resume_point.elapsed() >= MAX_TIME_PER_RESUME_POINT);
        self.resumable && due
    }

    /// Returns the rejected rows and NULL fields to save in a resume point.
    fn rejected_state(&self) -> Value {
        serde_json::to_value((self.unreadable.save(), &self.odd)).unwrap_or_default()
    }

    /// Starts to close the files and to save a resume point at `position`. Reading continues meanwhile.
    pub(super) async fn begin_resume_point(&mut self, position: Value) -> Result<()> {
        self.finish_resume_point().await?;
        self.last_resume_point = Instant::now();
        let set_aside = self.rejected_state();
        let files = if self.writer.rows() > 0 {
            let writer = std::mem::replace(&mut self.writer, self.table.writer()?);
            tokio::spawn(async move { writer.finish().await.map(Some) })
        } else {
            tokio::spawn(async { Ok(None) })
        };
        self.closing = Some(Closing { files, position, set_aside });
        Ok(())
    }

    /// Waits for the files that are being closed, if any, and saves their resume point.
    async fn finish_resume_point(&mut self) -> Result<()> {
        let Some(mut closing) = self.closing.take() else { return Ok(()) };
        let closed = (&mut closing.files).await.map_err(|error| Error::bug(error.to_string())).flatten();
        let closed = self.clear_resumable_on_error(closed)?;
        self.closed.extend(closed);
        let (position, set_aside) = (std::mem::take(&mut closing.position), std::mem::take(&mut closing.set_aside));
        let checkpoint =
            ResumePoint::new(self.run.source_of(self.resource), self.watermark, position, set_aside, &self.closed);
        if let Err(error) = self.table.save_resume_point(&self.run.area, &checkpoint).await {
            tracing::warn!(%error, "cannot save a resume point; an interruption loses rows read since the last one");
        }
        Ok(())
    }

    /// Saves a resume point after a failure, if another run can resume the listing and there are enough rows to be
    /// worth it.
    pub(super) async fn save_after_failure(&mut self, failure: &ListingFailure, position: Value) {
        if !self.resumable || !failure.is_resumable() || self.rows < MIN_ROWS_KEPT {
            return;
        }
        if self.writer.rows() == 0 && self.closing.is_none() {
            return;
        }
        let saved = match self.begin_resume_point(position).await {
            Ok(()) => self.finish_resume_point().await,
            Err(error) => Err(error),
        };
        match saved {
            Ok(()) => self.run.sync.progress.note(&format!(
                "{}: {} rows are kept; the next sync resumes after them",
                self.resource.name, self.rows
            )),
            Err(error) => tracing::warn!(%error, "cannot save a resume point; the next run reads these rows again"),
        }
    }

    /// Returns the watermark up to which the rows are complete.
    pub(super) fn watermark(&self) -> DateTime<Utc> {
        self.watermark
    }

    /// Returns the rows staged so far as readable tables, one for each group of closed files. No resume point is saved
    /// afterwards.
    pub(super) async fn tables_so_far(&mut self) -> Result<Vec<Arc<dyn TableProvider>>> {
        self.resumable = false;
        self.finish_resume_point().await?;
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
        self.check_rejected_share()?;
        self.finish_resume_point().await?;
        let set_aside = self.rejected_state();
        self.closed.push(self.writer.finish().await?);
        let position = if self.resumable { position } else { Value::Null };
        let source = self.run.source_of(self.resource);
        let resume_point = ResumePoint::new(source, self.watermark, position, set_aside, &self.closed);
        Ok(Finished { parts: self.closed, resume_point })
    }

    /// Refuses a listing with too many rejected rows: that suggests a changed format rather than a few odd rows. A
    /// single rejected row never fails a listing, unless `max_rejected` is 0.
    #[expect(clippy::cast_precision_loss, reason = "a share, not a count")]
    pub(super) fn check_rejected_share(&self) -> Result<()> {
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
        .with_hint("Clerk's format may have changed: update clerk-lake. The table was not changed"))
    }
}

/// Returns the times in a column of a page, in Unix microseconds; `None` for a row without one.
pub(super) fn timestamps<'b>(rows: &'b PageRows, column: &str) -> impl Iterator<Item = Option<i64>> + 'b {
    let timestamps = rows.batch.column_by_name(column).and_then(|it| it.as_primitive_opt::<TimestampMicrosecondType>());
    timestamps.into_iter().flat_map(arrow::array::PrimitiveArray::iter)
}

/// Files that are being closed, and the state of the listing at that point. Dropping it aborts the closing.
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
            .map_err(|error| Error::bug(format!("cannot filter out rows listed before: {error}"))),
    }
}
