//! A walk by `offset`, over a list that changes while it is read.

use super::{Fingerprints, RowKey};

/// How many pages in a row may bring nothing new before an offset listing counts as stuck.
const BARREN_PAGES: usize = 200;

/// A walk by `offset`, each page overlapping the one before it by a row. A page whose first row is new may
/// have lost rows before it (a deletion moved them up): the walk steps back until it meets a row it knows. So the
/// rows seen are always all those that stand before the next page.
/// It remembers every row by 16 bytes, since such a list has no order that can be relied on.
#[derive(Debug)]
pub(super) struct OffsetWalk {
    limit: usize,
    offset: usize,
    seen: Fingerprints,
    /// How far to step back next time a page does not connect.
    step: usize,
    /// The page asked for starts right after the last known row, without overlap, to see whether there is more.
    probing: bool,
    barren: usize,
    /// How many pages in a row may bring nothing new.
    barren_allowed: usize,
    /// The rows of the largest page so far.
    largest: usize,
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
            largest: 0,
            done: false,
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.done
    }

    /// The parameters of the next page.
    pub(super) fn query(&self) -> Vec<(&'static str, String)> {
        vec![("limit", self.limit.to_string()), ("offset", self.offset.to_string())]
    }

    pub(super) fn reopen(&mut self) {
        // All pages up to here come again, and bring nothing new.
        let barren_allowed = BARREN_PAGES + self.offset;
        *self = Self { seen: std::mem::take(&mut self.seen), barren_allowed, ..Self::new(self.limit) };
    }

    pub(super) fn accept(&mut self, keys: &[RowKey], received: usize, total: Option<u64>) -> Result<Vec<bool>, String> {
        let overlaps = keys.first().is_some_and(|first| self.seen.contains(&first.id));
        self.largest = self.largest.max(received);
        let connects = self.offset == 0 || self.probing || overlaps;
        // Rows of a page that does not connect come again; until then they tell nothing of the rows before them.
        let fresh: Vec<bool> = keys.iter().map(|key| connects && self.seen.insert(&key.id)).collect();
        self.barren = if fresh.contains(&true) { 0 } else { self.barren + 1 };
        if self.barren > self.barren_allowed {
            return Err(format!("{} pages in a row brought nothing new: the listing does not move on", self.barren));
        }
        if connects {
            self.go_on(received, overlaps, total);
        } else {
            self.offset = self.offset.saturating_sub(self.step);
            self.step = (self.step * 2).min(self.limit);
        }
        Ok(fresh)
    }

    /// The page connects to the one before it: on to the next, or to the end.
    fn go_on(&mut self, received: usize, overlaps: bool, total: Option<u64>) {
        let end = self.offset + received;
        self.step = 1;
        // A page that holds the last known row alone, from a server that sends larger ones, has nothing after it.
        let alone = received == 1 && overlaps && self.largest > 1;
        self.done = received == 0 || alone || total.is_some_and(|total| end as u64 >= total);
        // A page of one row, known or the first, says nothing of what follows: ask without overlap.
        self.probing = received == 1 && !self.probing;
        self.offset = if self.probing { end } else { end.saturating_sub(1) };
    }
}
