//! Reads a list by `offset` while the list may change.

use super::{Fingerprints, RowKey};

/// The number of consecutive pages without new rows after which an offset listing fails.
const BARREN_PAGES: usize = 200;

/// The maximum number of passes over a list if the walk cannot verify that its pages are contiguous. Passes repeat
/// until one finds no new rows.
const MOST_PASSES: u32 = 6;

/// A walk by `offset`. Each page overlaps the previous one by one row.
///
/// If the first row of a page is new, rows before it may have been missed, because a deletion moved them to a lower
/// offset. The walk then steps back until it finds a row it knows. All rows before the next page have therefore been
/// seen. The walk remembers 16 bytes per row, because such a list has no reliable order.
#[derive(Debug)]
pub(super) struct OffsetWalk {
    limit: usize,
    offset: usize,
    seen: Fingerprints,
    /// The number of rows to step back if the next page does not connect.
    step: usize,
    /// Whether the requested page starts directly after the last known row, without overlap, to find out whether the
    /// list continues.
    probing: bool,
    /// The number of consecutive pages without new rows.
    barren: usize,
    /// The maximum of `barren`.
    barren_allowed: usize,
    /// Whether this pass accepted rows without verifying that they follow the known ones. This happens if a page has
    /// only one row, because such pages do not overlap.
    unsure: bool,
    /// The number of new rows in this pass.
    found: usize,
    passes: u32,
    done: bool,
}

impl OffsetWalk {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            offset: 0,
            seen: Fingerprints::default(),
            step: 1,
            probing: false,
            barren: 0,
            barren_allowed: BARREN_PAGES,
            unsure: false,
            found: 0,
            passes: 1,
            done: false,
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.done
    }

    /// Returns the position of the next page's first row.
    pub(super) fn offset(&self) -> u64 {
        self.offset as u64
    }

    /// Returns the parameters of the next page.
    pub(super) fn query(&self) -> Vec<(&'static str, String)> {
        vec![("limit", self.limit.to_string()), ("offset", self.offset.to_string())]
    }

    pub(super) fn reopen(&mut self) {
        // All pages up to the current offset are read again and contain no new rows.
        let barren_allowed = BARREN_PAGES + self.offset;
        let passes = self.passes + 1;
        *self = Self { seen: std::mem::take(&mut self.seen), barren_allowed, passes, ..Self::new(self.limit) };
    }

    /// Accepts a page. Returns for each of its rows whether it is new.
    pub(super) fn accept(&mut self, rows: &[Option<RowKey>], total: Option<u64>) -> Result<Vec<bool>, String> {
        // A row without an id cannot be recognized, so the first row with an id decides.
        let overlaps = rows.iter().flatten().next().is_some_and(|first| self.seen.contains(&first.id));
        let connects = self.offset == 0 || self.probing || overlaps;
        if connects && rows.is_empty() && total.is_some_and(|total| total > self.offset as u64) {
            return Err(format!(
                "the page at offset {} is empty, but the server's total count says that more rows follow",
                self.offset
            ));
        }
        // Rows of a page that does not connect are not accepted yet, because rows before them may be missing. They are
        // read again after the step back.
        let fresh: Vec<bool> =
            rows.iter().map(|row| connects && row.as_ref().is_some_and(|key| self.seen.insert(&key.id))).collect();
        self.barren = if fresh.contains(&true) { 0 } else { self.barren + 1 };
        if self.barren > self.barren_allowed {
            return Err(format!("{} pages in a row contain no new rows: the listing makes no progress", self.barren));
        }
        self.found += fresh.iter().filter(|fresh| **fresh).count();
        if connects {
            self.unsure |= self.probing && !overlaps && !rows.is_empty();
            self.advance(rows.len(), total);
            if self.done && self.unsure && self.found > 0 && self.passes < MOST_PASSES {
                self.reopen();
            }
        } else {
            self.offset = self.offset.saturating_sub(self.step);
            self.step = (self.step * 2).min(self.limit);
        }
        Ok(fresh)
    }

    /// Moves to the next page or to the end, after a page that connects to the previous one.
    fn advance(&mut self, received: usize, total: Option<u64>) {
        let end = self.offset + received;
        self.step = 1;
        self.done = received == 0 || total.is_some_and(|total| end as u64 >= total);
        // A page of one row is the first row of the list or the overlap, so it does not show what follows. Read the
        // next page without overlap.
        self.probing = received == 1 && !self.probing;
        self.offset = if self.probing { end } else { end.saturating_sub(1) };
    }
}
