//! Replaces a table with a complete listing of its resource. Only rows that have changed are written.

use chrono::{DateTime, Utc};

use super::failure::ListingFailure;
use super::options::Extent;
use super::resume::Finished;
use super::run::{Run, lock};
use super::staging::Staging;
use super::tally::Tally;
use super::task::Task;
use crate::api::{ApiError, Refusal};
use crate::error::{Error, Result};
use crate::lake::{Counts, Coverage, Diff, ResumePoint, Table};
use crate::resource::{ALL, Resource};

/// A commit may always delete this many rows, whatever share of the table they are, except if Clerk answered `null`
/// instead of a list.
pub(super) const ALWAYS_REMOVABLE: u64 = 50;

/// The commit position with the digest of the list that the table was last filled from; 0 if it is not known.
const LISTED_DIGEST: &str = "clerk-lake.listed";

/// A complete listing of a resource, staged.
pub(super) struct StagedListing {
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
    /// A digest of the rows; `None` if it is not known.
    digest: Option<i64>,
}

impl StagedListing {
    /// Builds it from a listing that ended at `position`. `kept` rows could not be decoded and keep their old values.
    pub(super) async fn of(staging: Staging<'_>, kept: u64, position: serde_json::Value) -> Result<Self> {
        Ok(Self {
            kept,
            unreadable: staging.rejected().saturating_sub(kept),
            watermark: staging.watermark(),
            is_resumed: staging.resumed_rows > 0,
            is_null: staging.is_null,
            digest: staging.digest(),
            staged: staging.finish_at(position).await?,
        })
    }
}

impl<L> Task<'_, L> {
    /// Records the rejected rows of a listing that has ended at `position`, and closes its files.
    pub(super) async fn finish_listing(
        &self,
        mut staging: Staging<'_>,
        position: serde_json::Value,
    ) -> Result<StagedListing> {
        self.run.record_rejected(self.resource, &staging).await?;
        let kept = staging.keep_unreadable().await?;
        StagedListing::of(staging, kept, position).await
    }

    /// Replaces the table with a complete listing. Returns the time up to which the table is complete if an interrupted
    /// run started the listing; `None` if this run did.
    pub(super) async fn replace(
        &self,
        listing: StagedListing,
        mut table: Table,
        tally: &mut Tally,
    ) -> Result<Option<DateTime<Utc>>> {
        let StagedListing { staged, kept, unreadable, watermark, is_resumed, is_null, digest } = listing;
        let resume_point = staged.resume_point().filter(|_| kept == 0);
        let staged = staged.into_rows();
        let recorded = table.position(LISTED_DIGEST).await?;
        let is_unchanged = digest.is_some_and(|digest| digest != 0)
            && recorded == digest
            && self.run.sync.options.extent != Extent::Full
            && table.rows() == staged.rows;
        // Equal digests prove that the list is the one that the table was filled from, without reading the table.
        let diff = if is_unchanged { Diff::unchanged(staged) } else { table.diff(staged, Coverage::Complete).await? };
        let counts = diff.counts();
        tally.prepared = counts;
        let always_removable = if is_null { 0 } else { ALWAYS_REMOVABLE };
        if let Err(refused) = self.run.check_shrink(&table, counts, always_removable) {
            self.keep_for_later(&table, resume_point, share_deleted(&table, counts)).await;
            return Err(refused);
        }
        let change = self.run.change(tally).complete_up_to(watermark).with_unreadable(unreadable);
        // An earlier digest must not outlive the rows that it describes.
        let digest = digest.or(recorded.map(|_| 0));
        let change = digest.into_iter().fold(change, |change, digest| change.with_position(LISTED_DIGEST, digest));
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

    /// Ends the sync of a resource whose list cannot be read. An instance may lack the resource, which is no failure.
    pub(super) async fn end_unread(&self, table: &Table, failure: ListingFailure, tally: &mut Tally) -> Result<()> {
        match failure {
            ListingFailure::Api(error) if error.refusal == Refusal::Absent => {
                self.run.note_absent(self.resource, &error);
                tally.skipped = Some(error.to_string());
                Ok(())
            }
            failure => Err(self.run.listing_error(table, failure).await),
        }
    }
}

impl Run<'_> {
    /// Notes that the instance does not have a resource.
    pub(super) fn note_absent(&self, resource: &'static Resource, error: &ApiError) {
        lock(&self.absent).push((resource.name, error.to_string()));
    }

    /// Warns of the resources that the instance does not have, all in one line.
    pub(super) fn warn_of_absent(&self) {
        let mut absent = std::mem::take(&mut *lock(&self.absent));
        absent.sort_by_key(|(name, _)| ALL.iter().position(|resource| resource.name == *name));
        let Some((_, error)) = absent.first() else { return };
        let names: Vec<&str> = absent.iter().map(|(name, _)| *name).collect();
        let names = names.join(", ");
        self.sync.progress.warn(&format!("{names} skipped, this instance does not have them: {error}"));
    }

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
