//! Where rows are missing from a list, found by asking for the ranks of a few of its rows.
//!
//! The table says how many rows lie between two moments of creation, and the list says which row is the k-th after a
//! moment. Where the k-th row and the one after it were created at different moments, exactly k rows lie up to there, in
//! whatever order those of one moment come. So one probe splits a span of the table in two of which the number of missing
//! rows is known; spans without any are done with, and the others are split until a page or two are left.

use super::failure::ListingFailure;
use crate::api::LARGEST_PAGE;

/// Probes do not skip fewer rows than this, however slow skipping is: reading everything is cheaper then.
const LEAST_WIDTH: usize = 2_000;

/// What can be asked about a list in the order of creation.
pub(super) trait Ranks {
    /// When the rows from number `offset` on, counted from 0, were created among those created after `after`: `limit`
    /// moments at most, Unix milliseconds, oldest first.
    async fn created(&mut self, after: Option<i64>, offset: usize, limit: usize) -> Result<Answer, ListingFailure>;
}

/// What a probe comes to.
#[derive(Debug)]
pub(super) enum Answer {
    /// The moments, in time.
    Moments(Vec<i64>),
    /// The same, but it took long: the next probes are to skip fewer rows.
    Late(Vec<i64>),
    /// No answer in time.
    None,
}

/// Some of a table's rows, by their places in the order of creation, and how many of them are missing from the list. Rows
/// of one moment are never in two spans.
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

    /// How many pages it has, at least one.
    fn pages(self) -> usize {
        self.rows().div_ceil(LARGEST_PAGE).max(1)
    }

    /// Whether reading it costs no more requests than going on to split it.
    fn is_small(self) -> bool {
        self.pages() as u64 <= self.missing.saturating_mul(2)
    }
}

/// A search for the rows of a table that a list no longer has.
pub(super) struct Search<'a> {
    /// When each row of the table was created, Unix milliseconds, ascending.
    created: &'a [i64],
    /// How many rows a probe may skip.
    width: usize,
    /// How many more requests the search is worth.
    left: usize,
}

/// What a probe says of a span.
enum Split {
    /// It has so many rows missing up to this place.
    At { place: usize, missing: u64 },
    /// It cannot be split: all of its rows, or too many, share one moment.
    Indivisible,
    /// The probe took too long.
    TooSlow,
    /// The list does not fit the table.
    Contradiction,
}

impl<'a> Search<'a> {
    /// A search that is worth `most_requests`, those that read the spans it finds included.
    pub(super) fn new(created: &'a [i64], most_requests: usize) -> Self {
        Self { created, width: usize::MAX, left: most_requests }
    }

    /// The spans of which rows are missing, oldest first, if `missing` rows are missing in all. `None` if the list does
    /// not fit the table, or if reading all of it costs less than going on.
    ///
    /// # Errors
    /// Whatever `ranks` fails with.
    pub(super) async fn spans(
        mut self,
        missing: u64,
        ranks: &mut impl Ranks,
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
                    // One more finds out that a list has ended.
                    let Some(left) = self.left.checked_sub(span.pages() + 1) else { return Ok(None) };
                    self.left = left;
                    found.push(span);
                }
                Split::TooSlow if self.width >= LEAST_WIDTH => open.push(span),
                Split::TooSlow | Split::Contradiction => return Ok(None),
            }
        }
        Ok(Some(found))
    }

    /// Asks for the rank of a row in the middle of `span`, or of one as near to its start as a probe may skip to.
    async fn split(&mut self, span: Span, ranks: &mut impl Ranks) -> Result<Split, ListingFailure> {
        let Some(middle) = self.boundary(span, span.from + (span.rows() / 2).min(self.width)) else {
            return Ok(Split::Indivisible);
        };
        let after = span.from.checked_sub(1).map(|last| self.created[last]);
        let rank = middle - span.from;
        for limit in [2, LARGEST_PAGE] {
            let Some(left) = self.left.checked_sub(1) else { return Ok(Split::Contradiction) };
            self.left = left;
            let moments = match ranks.created(after, rank - 1, limit).await? {
                Answer::Moments(moments) => moments,
                Answer::Late(moments) => {
                    self.width = (rank / 2).max(1);
                    moments
                }
                Answer::None => {
                    self.width = rank / 4;
                    return Ok(Split::TooSlow);
                }
            };
            let is_ordered =
                moments.is_sorted() && moments.first().is_some_and(|first| after.is_none_or(|it| it < *first));
            if !is_ordered {
                return Ok(Split::Contradiction);
            }
            // The first row that was created before the one after it: so many rows lie up to there.
            if let Some(at) = moments.windows(2).position(|pair| pair[0] < pair[1]) {
                return Ok(self.judge(span, moments[at], rank + at));
            }
        }
        Ok(Split::Indivisible)
    }

    /// What it says of `span` that the list has so many rows in it up to and including `moment`.
    fn judge(&self, span: Span, moment: i64, rows: usize) -> Split {
        let place = self.created.partition_point(|created| *created <= moment);
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

    /// The place nearest to `wanted` inside of `span` that no moment is on both sides of.
    fn boundary(&self, span: Span, wanted: usize) -> Option<usize> {
        let is_boundary = |place: &usize| self.created[*place - 1] < self.created[*place];
        let before = (span.from + 1..=wanted).rev().find(is_boundary);
        before.or_else(|| (wanted + 1..span.to).find(is_boundary))
    }
}

#[cfg(test)]
mod tests;
