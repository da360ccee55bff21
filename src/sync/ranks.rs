//! Finds where rows are missing from a list by requesting the ranks of a few rows.
//!
//! The table shows how many rows lie between two creation times, and the list shows which row is the k-th after a time.
//! If the k-th row and the next row have different creation times, exactly k rows lie up to there, whatever the order
//! of rows with equal times. So one probe splits a span of the table into two with a known number of missing rows.
//! Spans without missing rows are done; the others are split until a page or two are left.

use super::failure::ListingFailure;
use crate::api::LARGEST_PAGE;

/// Probes do not skip fewer rows than this, however slow skipping is: reading all rows is cheaper then.
const MIN_PROBE_WIDTH: usize = 2_000;

/// Requests ranks from a list in order of creation.
pub(super) trait RankProbe {
    /// Among the rows created after `after`, returns the creation times of up to `limit` rows, starting at row `offset`
    /// (from 0): Unix milliseconds, oldest first.
    async fn created(&mut self, after: Option<i64>, offset: usize, limit: usize)
    -> Result<ProbeResult, ListingFailure>;
}

/// The result of a probe.
#[derive(Debug)]
pub(super) enum ProbeResult {
    /// The creation times.
    Times(Vec<i64>),
    /// The creation times, but the probe was slow: the next probes skip fewer rows.
    SlowTimes(Vec<i64>),
    /// No response in time.
    TimedOut,
}

/// A range of a table's rows in order of creation, and how many of them are missing from the list. Rows with the same
/// creation time are never in two spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) missing: u64,
}

impl Span {
    fn rows(self) -> usize {
        self.to - self.from
    }

    /// Returns the number of pages, at least one.
    fn pages(self) -> usize {
        self.rows().div_ceil(LARGEST_PAGE).max(1)
    }

    /// Returns whether reading the span costs no more requests than splitting it further.
    fn is_small(self) -> bool {
        self.pages() as u64 <= self.missing.saturating_mul(2)
    }
}

/// A search for the rows of a table that a list no longer has.
pub(super) struct Search<'a> {
    /// The creation times of the table's rows, in Unix milliseconds, ascending.
    created: &'a [i64],
    /// How many rows a probe may skip.
    max_skip: usize,
    /// How many more requests the search may use.
    requests_left: usize,
}

/// How a probe splits a span.
enum Split {
    /// At `place`; `missing` rows are missing before it.
    At { place: usize, missing: u64 },
    /// Not at all: all of its rows, or too many, have the same creation time.
    Indivisible,
    /// Not yet: the probe took too long.
    TooSlow,
    /// The list does not match the table.
    Contradiction,
}

impl<'a> Search<'a> {
    /// Creates a search that may use `max_requests`, including the requests that read the spans it finds.
    pub(super) fn new(created: &'a [i64], max_requests: usize) -> Self {
        Self { created, max_skip: usize::MAX, requests_left: max_requests }
    }

    /// Returns the spans with missing rows, oldest first, if `missing` rows are missing in total. `None` if the list
    /// does not match the table, or if reading the whole list is cheaper than continuing.
    ///
    /// # Errors
    /// Fails if `ranks` fails.
    pub(super) async fn spans(
        mut self,
        missing: u64,
        ranks: &mut impl RankProbe,
    ) -> Result<Option<Vec<Span>>, ListingFailure> {
        let mut open = vec![Span { from: 0, to: self.created.len(), missing }];
        let mut found = Vec::new();
        while let Some(span) = open.pop() {
            if span.missing == 0 {
                continue;
            }
            if span.missing > span.rows() as u64 {
                return Ok(None);
            }
            let split = if span.is_small() { Split::Indivisible } else { self.split(span, ranks).await? };
            match split {
                Split::At { place, missing } => {
                    open.push(Span { from: place, to: span.to, missing: span.missing - missing });
                    open.push(Span { from: span.from, to: place, missing });
                }
                Split::Indivisible => {
                    // One more request shows that the list has ended.
                    let Some(left) = self.requests_left.checked_sub(span.pages() + 1) else { return Ok(None) };
                    self.requests_left = left;
                    found.push(span);
                }
                Split::TooSlow if self.max_skip >= MIN_PROBE_WIDTH => open.push(span),
                Split::TooSlow | Split::Contradiction => return Ok(None),
            }
        }
        Ok(Some(found))
    }

    /// Splits `span` by requesting the rank of a row in its middle, or of a row nearer to its start if a probe may not
    /// skip that many rows.
    async fn split(&mut self, span: Span, ranks: &mut impl RankProbe) -> Result<Split, ListingFailure> {
        let Some(middle) = self.boundary(span, span.from + (span.rows() / 2).min(self.max_skip)) else {
            return Ok(Split::Indivisible);
        };
        let after = span.from.checked_sub(1).map(|last| self.created[last]);
        let rank = middle - span.from;
        for limit in [2, LARGEST_PAGE] {
            let Some(left) = self.requests_left.checked_sub(1) else { return Ok(Split::Contradiction) };
            self.requests_left = left;
            let times = match ranks.created(after, rank - 1, limit).await? {
                ProbeResult::Times(times) => times,
                ProbeResult::SlowTimes(times) => {
                    self.max_skip = (rank / 2).max(1);
                    times
                }
                ProbeResult::TimedOut => {
                    self.max_skip = rank / 4;
                    return Ok(Split::TooSlow);
                }
            };
            let is_ordered = times.is_sorted() && times.first().is_some_and(|first| after.is_none_or(|it| it < *first));
            if !is_ordered {
                return Ok(Split::Contradiction);
            }
            // The first row that was created before the next row: `rank + at` rows lie up to it.
            if let Some(at) = times.windows(2).position(|pair| pair[0] < pair[1]) {
                return Ok(self.split_at(span, times[at], rank + at));
            }
        }
        Ok(Split::Indivisible)
    }

    /// Returns how `span` is split if the list has `rows` rows in it up to and including `created_at`.
    fn split_at(&self, span: Span, created_at: i64, rows: usize) -> Split {
        let place = self.created.partition_point(|created| *created <= created_at);
        if place > span.to || place < span.from {
            return Split::Contradiction;
        }
        let Some(missing) = (place - span.from).checked_sub(rows) else { return Split::Contradiction };
        let missing = missing as u64;
        match missing {
            _ if missing > span.missing => Split::Contradiction,
            _ if place == span.to && missing == span.missing => Split::Indivisible,
            _ if place == span.to || place == span.from => Split::Contradiction,
            _ => Split::At { place, missing },
        }
    }

    /// Returns a place near `wanted` inside `span` such that the rows before and after it have different creation
    /// times.
    fn boundary(&self, span: Span, wanted: usize) -> Option<usize> {
        let is_boundary = |place: &usize| self.created[*place - 1] < self.created[*place];
        let before = (span.from + 1..=wanted).rev().find(is_boundary);
        before.or_else(|| (wanted + 1..span.to).find(is_boundary))
    }
}

#[cfg(test)]
mod tests;
