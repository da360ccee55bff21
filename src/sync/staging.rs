//! Pages to staged rows: what every resource that is listed has in common.

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::TimestampMicrosecondType;
use futures::{Stream, TryStreamExt};

use crate::api::{ApiError, Fingerprints, Page};
use crate::error::{Error, Result};
use crate::lake::{StagedRows, Table, Writer};
use crate::resource::json::Rejected;
use crate::resource::{PageRows, Resource};

use super::{Progress, Run};

/// So many rows are kept of those that could not be read; more are only counted.
const MOST_SET_ASIDE: usize = 10_000;

/// Below so many rows the share of unreadable ones is judged only at the end.
const EARLY_JUDGEMENT: u64 = 2000;

/// A listing on its way to staged files, or several listings that may bring the same row: the first one counts,
/// since whatever happened to it after that is later than this run's watermark.
pub(super) struct Staging<'a> {
    resource: &'static Resource,
    writer: Writer,
    progress: &'a dyn Progress,
    synced_at_micros: i64,
    max_rejected: f64,
    seen: Option<Fingerprints>,
    /// Rows that could not be read, by their id or text: a page boundary may bring one twice.
    rejected_rows: Fingerprints,
    set_aside: Vec<Rejected>,
    /// The rows of the table before this run: a few changed rows do not stand for all.
    rows_before: u64,
    /// Rows staged so far, each counted once.
    pub rows: u64,
    /// Rows that could not be read.
    pub rejected: u64,
    /// The total that the server said last.
    pub total: Option<u64>,
}

impl<'a> Staging<'a> {
    /// Staging for one listing, which does not bring a row twice.
    pub(super) fn new(run: &Run<'a>, resource: &'static Resource, writer: Writer) -> Self {
        Self {
            resource,
            writer,
            progress: run.sync.progress.as_ref(),
            synced_at_micros: run.synced_at_micros(),
            max_rejected: run.sync.options.max_rejected,
            seen: None,
            rejected_rows: Fingerprints::default(),
            set_aside: Vec::new(),
            rows_before: 0,
            rows: 0,
            rejected: 0,
            total: None,
        }
    }

    /// Staging for several listings of what changed in a table of `rows_before` rows; it remembers each row by a
    /// few bytes.
    pub(super) fn of_changes(run: &Run<'a>, resource: &'static Resource, writer: Writer, rows_before: u64) -> Self {
        Self { seen: Some(Fingerprints::default()), rows_before, ..Self::new(run, resource, writer) }
    }

    /// Whether a row with this id has been staged; only where several listings are staged.
    pub(super) fn has(&self, id: &str) -> bool {
        self.seen.as_ref().is_some_and(|seen| seen.contains(id))
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
        if let Some(seen) = &mut self.seen {
            let listed = page.fresh.take().unwrap_or_else(|| vec![true; page.keys.len()]);
            let fresh = page.keys.iter().zip(listed).map(|(key, listed)| listed && seen.insert(&key.id));
            page.fresh = Some(fresh.collect());
        }
        let PageRows { batch, rejected } = page.rows;
        for row in rejected {
            tracing::debug!(resource = self.resource.name, reason = row.reason, "a row cannot be read");
            if self.rejected_rows.insert(row.name()) {
                self.rejected += 1;
                if self.set_aside.len() < MOST_SET_ASIDE {
                    self.set_aside.push(row);
                }
            }
        }
        self.total = page.total_count.or(self.total);
        let batch = only_fresh(batch, page.fresh)?;
        self.rows += batch.num_rows() as u64;
        if self.rows + self.rejected >= EARLY_JUDGEMENT {
            self.judge_rejected()?;
        }
        self.writer.write(&batch, self.synced_at_micros).await?;
        self.progress.advanced(self.resource.name, self.rows);
        Ok(())
    }

    /// `failure` as it counts after what has been read: a list that has begun is there, so whatever is refused
    /// later is no feature switched off.
    pub(super) fn placed(&self, failure: ListingFailure) -> ListingFailure {
        match failure {
            ListingFailure::Api(error) if self.rows + self.rejected > 0 => ListingFailure::Other(error.into()),
            other => other,
        }
    }

    /// The rows set aside: those that could not be read.
    pub(super) fn set_aside(&self) -> &[Rejected] {
        &self.set_aside
    }

    /// Keeps the rows that `table` has of those that could not be read: they are not gone. Gives how many.
    pub(super) async fn keep_unreadable(&mut self, table: &Table) -> Result<u64> {
        let ids: Vec<_> = self.set_aside.iter().filter_map(|row| row.key.as_ref()).map(|key| key.id.clone()).collect();
        let mut kept = 0;
        for batch in table.rows_of(&ids).await? {
            kept += batch.num_rows() as u64;
            self.writer.write_stamped(batch).await?;
        }
        Ok(kept)
    }

    /// Closes the files.
    pub(super) async fn finish(self) -> Result<StagedRows> {
        self.judge_rejected()?;
        self.writer.finish().await
    }

    /// Refuses a listing of which too much cannot be read: that is no odd row, but another format.
    /// One odd row in a short list is none either.
    #[expect(clippy::cast_precision_loss, reason = "a share, not a count")]
    pub(super) fn judge_rejected(&self) -> Result<()> {
        let share = self.rejected as f64 / (self.rows + self.rejected).max(self.rows_before).max(1) as f64;
        if share <= self.max_rejected || (self.rejected == 1 && self.max_rejected > 0.0) {
            return Ok(());
        }
        Err(Error::answer(format!(
            "{} of {} rows of {} cannot be read ({:.1} %, more than --max-rejected {:.1} %)",
            self.rejected,
            self.rows + self.rejected,
            self.resource.name,
            share * 100.0,
            self.max_rejected * 100.0
        ))
        .with_hint("update clerk-lake; Clerk's format may have changed. The table was left as it was"))
    }
}

/// The moments in a column of a page, Unix microseconds; none where the row has none.
pub(super) fn moments<'b>(rows: &'b PageRows, column: &str) -> impl Iterator<Item = Option<i64>> + 'b {
    let moments = rows.batch.column_by_name(column).and_then(|it| it.as_primitive_opt::<TimestampMicrosecondType>());
    moments.into_iter().flat_map(arrow::array::PrimitiveArray::iter)
}

/// Why a listing stopped: Clerk's answer may mean that the resource is not there, anything else is an error.
#[derive(Debug)]
pub(super) enum ListingFailure {
    Api(ApiError),
    Other(Error),
}

impl From<ListingFailure> for Error {
    fn from(failure: ListingFailure) -> Self {
        match failure {
            ListingFailure::Api(error) => error.into(),
            ListingFailure::Other(error) => error,
        }
    }
}

impl From<ApiError> for ListingFailure {
    fn from(error: ApiError) -> Self {
        Self::Api(error)
    }
}

impl From<Error> for ListingFailure {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

fn only_fresh(batch: RecordBatch, fresh: Option<Vec<bool>>) -> Result<RecordBatch> {
    match fresh {
        None => Ok(batch),
        Some(fresh) => filter_record_batch(&batch, &BooleanArray::from(fresh))
            .map_err(|error| Error::bug(format!("rows seen before could not be dropped: {error}"))),
    }
}
