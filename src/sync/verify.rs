//! Rolling verification: each incremental sync reads a slice of the rows again, in the order of their creation.
//!
//! Some changes show in no list: a lockout that expires, a field that an operator corrects. A slice is a page of users, or
//! the hundred-and-sixty-eighth part of the table if that is more: hourly syncs come round once a week at the latest.

use super::Run;
use super::failure::ListingFailure;
use super::staging::Staging;
use crate::api::{Client, ListRequest, Listing, Order};
use crate::lake::Table;
use crate::resource::{Reading, Resource};

/// How many slices a table has: the hours of a week.
const SLICES: u64 = 168;

/// Up to which moment of creation rows have been verified in this round: Unix milliseconds, or [`START`].
pub(super) const VERIFIED_TO: &str = "clerk-lake.verified_to";

/// Where a round begins.
const START: i64 = i64::MIN;

impl Run<'_> {
    /// Stages the next slice of rows; returns up to where the table is verified with it.
    pub(super) async fn take_slice(
        &self,
        resource: &'static Resource,
        client: &Client,
        table: &Table,
        staging: &mut Staging<'_>,
    ) -> Result<i64, ListingFailure> {
        let from = table.position(VERIFIED_TO).await?.unwrap_or(START);
        let Reading::Cursor { path, .. } = resource.reading else { return Ok(from) };
        let request = ListRequest::new(path, Order::Cursor).with("order_by", "created_at");
        // Rows that were created at the same moment as the last one may not have been read yet.
        let request = if from == START { request } else { request.with("created_at_after", (from - 1).to_string()) };
        let mut listing = Listing::new(client.clone(), request, resource.decode_bytes());
        let (wanted, mut read, mut to) = (table.rows().div_ceil(SLICES), 0, from);
        while let Some(page) = listing.next_page().await? {
            read += page.keys.len() as u64;
            to = page.keys.iter().rev().find_map(|key| key.created_at).unwrap_or(to);
            staging.take(page).await?;
            // All rows have come, or a filter that is not heeded leads nowhere: the next round begins.
            if read >= table.rows() || to < from {
                return Ok(START);
            }
            if read >= wanted && to > from {
                return Ok(to);
            }
        }
        Ok(START)
    }
}
