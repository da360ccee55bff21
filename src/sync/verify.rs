//! Rolling verification: each incremental sync reads a slice of the rows again, in the order of their creation.
//!
//! Some changes show in no list: a lockout that expires, a field that an operator corrects. A slice is a page of users, or
//! as much of the table as the time since the last sync is of `verify_every`, if that is more: within that
//! time every row has been read.

use std::ops::Range;

use chrono::TimeDelta;

use super::failure::ListingFailure;
use super::requests::CREATED_AFTER;
use super::staging::Staging;
use super::task::Task;
use crate::api::Listing;
use crate::lake::Table;
use crate::resource::CursorList;

/// The position under which a table says up to which moment of creation its rows have been verified in this round: Unix
/// milliseconds, or the least number at the beginning of one.
pub const VERIFIED_TO: &str = "clerk-lake.verified_to";

/// Where a round begins.
const START: i64 = i64::MIN;

impl Task<'_, CursorList> {
    /// Stages the next slice of rows; `None` if rows are not to be verified.
    pub(super) async fn take_slice(
        &self,
        table: &Table,
        staging: &mut Staging<'_>,
    ) -> Result<Option<Slice>, ListingFailure> {
        let every = self.run.sync.options.verify_every;
        let Some(since) = table.watermark().await?.filter(|_| every > TimeDelta::zero()) else { return Ok(None) };
        let from = table.position(VERIFIED_TO).await?.unwrap_or(START);
        let request = self.list.oldest_first();
        // Rows that were created at the same moment as the last one may not have been read yet.
        let request = if from == START { request } else { request.with(CREATED_AFTER, (from - 1).to_string()) };
        let mut listing = Listing::new(self.client.clone(), request, self.list.decode);
        let wanted = slice(table.rows(), self.run.watermark - since, every);
        let (mut read, mut to, mut is_heeded) = (0, from, true);
        while let Some(page) = listing.next_page().await? {
            read += page.keys.len() as u64;
            is_heeded &= page.keys.iter().all(|key| key.created_at.is_none_or(|at| at >= from));
            to = page.keys.iter().rev().find_map(|key| key.created_at).unwrap_or(to);
            staging.take(page).await?;
            // All rows have come, or a filter that is not heeded leads nowhere: the next round begins.
            if read >= table.rows() || to < from {
                return Ok(Some(Slice { to: START, read: is_heeded.then_some(from..to) }));
            }
            if read >= wanted && to > from {
                return Ok(Some(Slice { to, read: is_heeded.then_some(from..to) }));
            }
        }
        Ok(Some(Slice { to: START, read: is_heeded.then_some(from..to) }))
    }
}

/// Rows that have been read again.
#[derive(Clone, Debug)]
pub(super) struct Slice {
    /// Up to where the table is verified with them: where the next slice begins.
    pub(super) to: i64,
    /// The moments of creation between which all rows came, Unix milliseconds; `None` if the list goes by others.
    read: Option<Range<i64>>,
}

impl Slice {
    /// The moments of creation between which all rows came, Unix microseconds.
    pub(super) fn covered(&self) -> Option<Range<i64>> {
        let Range { start, end } = self.read.clone()?;
        Some(start.saturating_mul(1000)..end.saturating_mul(1000))
    }
}

/// How many of so many `rows` are due after `elapsed`, if all are to be read within `every`.
fn slice(rows: u64, elapsed: TimeDelta, every: TimeDelta) -> u64 {
    let (elapsed, every) = (elapsed.num_seconds().max(0), every.num_seconds().max(1));
    let due = u128::from(rows) * u128::from(elapsed.unsigned_abs()) / u128::from(every.unsigned_abs());
    u64::try_from(due).unwrap_or(rows).min(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_is_the_share_of_the_time_that_has_passed() {
        let week = TimeDelta::days(7);
        assert_eq!(slice(1_680_000, TimeDelta::hours(1), week), 10_000);
        assert_eq!(slice(100, TimeDelta::hours(1), week), 0);
        assert_eq!(slice(100, TimeDelta::days(30), week), 100);
        assert_eq!(slice(100, TimeDelta::days(-1), week), 0);
    }
}
