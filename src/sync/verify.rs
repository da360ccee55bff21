//! Rolling verification: each incremental sync re-reads a slice of the rows, in order of creation.
//!
//! Some changes appear in no list: a lockout that expires, a field that an operator corrects. A slice is one page of
//! users, or more if needed: its share of the table is the time since the last sync divided by `verify_every`. So every
//! row is read again within that period.

use std::ops::Range;

use chrono::TimeDelta;

use super::failure::ListingFailure;
use super::requests::CREATED_AFTER;
use super::staging::Staging;
use super::task::Task;
use crate::api::Listing;
use crate::lake::Table;
use crate::resource::CursorList;

/// The commit position for the creation time up to which rows have been verified in the current round: Unix
/// milliseconds, or `i64::MIN` at the start of a round.
pub const VERIFIED_TO: &str = "clerk-lake.verified_to";

/// The position at the start of a round.
const START: i64 = i64::MIN;

impl Task<'_, CursorList> {
    /// Stages the next slice of rows; `None` if verification is off or the table has no watermark.
    pub(super) async fn stage_slice(
        &self,
        table: &Table,
        staging: &mut Staging<'_>,
    ) -> Result<Option<VerifiedSlice>, ListingFailure> {
        let every = self.run.sync.options.verify_every;
        let Some(since) = table.watermark().await?.filter(|_| every > TimeDelta::zero()) else { return Ok(None) };
        let from = table.position(VERIFIED_TO).await?.unwrap_or(START);
        let request = self.list.oldest_first();
        // Other rows with the same creation time as the last row may not have been read yet.
        let request = if from == START { request } else { request.with(CREATED_AFTER, (from - 1).to_string()) };
        let mut listing = Listing::new(self.client.clone(), request, self.list.decode);
        let wanted = slice(table.rows(), self.run.watermark - since, every);
        let (mut read, mut to, mut is_heeded) = (0, from, true);
        while let Some(page) = listing.next_page().await? {
            read += page.keys.len() as u64;
            is_heeded &= page.keys.iter().all(|key| key.created_at.is_none_or(|at| at >= from));
            to = page.keys.iter().rev().find_map(|key| key.created_at).unwrap_or(to);
            staging.stage(page).await?;
            // All rows were read, or the server ignores the filter: start a new round.
            if read >= table.rows() || to < from {
                return Ok(Some(VerifiedSlice { to: START, read: is_heeded.then_some(from..to) }));
            }
            if read >= wanted && to > from {
                return Ok(Some(VerifiedSlice { to, read: is_heeded.then_some(from..to) }));
            }
        }
        Ok(Some(VerifiedSlice { to: START, read: is_heeded.then_some(from..to) }))
    }
}

/// A slice of rows that have been read again.
#[derive(Clone, Debug)]
pub(super) struct VerifiedSlice {
    /// The creation time at which the next slice begins.
    pub(super) to: i64,
    /// The range of creation times whose rows were all read, in Unix milliseconds; `None` if the server ignores the
    /// filter.
    read: Option<Range<i64>>,
}

impl VerifiedSlice {
    /// Returns the range of creation times whose rows were all read, in Unix microseconds.
    pub(super) fn covered(&self) -> Option<Range<i64>> {
        let Range { start, end } = self.read.clone()?;
        Some(start.saturating_mul(1000)..end.saturating_mul(1000))
    }
}

/// Returns how many of `rows` rows are due after `elapsed`, if all are to be read within `every`.
pub(super) fn slice(rows: u64, elapsed: TimeDelta, every: TimeDelta) -> u64 {
    let (elapsed, every) = (elapsed.num_seconds().max(0), every.num_seconds().max(1));
    let due = u128::from(rows) * u128::from(elapsed.unsigned_abs()) / u128::from(every.unsigned_abs());
    u64::try_from(due).unwrap_or(rows).min(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_of_a_slice_is_proportional_to_the_elapsed_time() {
        let week = TimeDelta::days(7);
        assert_eq!(slice(1_680_000, TimeDelta::hours(1), week), 10_000);
        assert_eq!(slice(100, TimeDelta::hours(1), week), 0);
        assert_eq!(slice(100, TimeDelta::days(30), week), 100);
        assert_eq!(slice(100, TimeDelta::days(-1), week), 0);
    }
}
