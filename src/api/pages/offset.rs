//! A walk by `offset`, over a list that changes while it is read.

use super::{Fingerprints, RowKey};

/// How many pages in a row may bring nothing new before an offset listing counts as stuck.
const BARREN_PAGES: usize = 200;

/// How often a list whose pages cannot be seen to follow each other is gone through until nothing new comes.
const MOST_PASSES: u32 = 6;

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
    /// Whether this pass took in rows without seeing that they follow the known ones: pages of one row overlap
    /// with nothing.
    unsure: bool,
    /// How many new rows this pass brought.
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

    /// The position of the next page's first row.
    pub(super) fn offset(&self) -> u64 {
        self.offset as u64
    }

    /// The parameters of the next page.
    pub(super) fn query(&self) -> Vec<(&'static str, String)> {
        vec![("limit", self.limit.to_string()), ("offset", self.offset.to_string())]
    }

    pub(super) fn reopen(&mut self) {
        // All pages up to here come again, and bring nothing new.
        let barren_allowed = BARREN_PAGES + self.offset;
        let passes = self.passes + 1;
        *self = Self { seen: std::mem::take(&mut self.seen), barren_allowed, passes, ..Self::new(self.limit) };
    }

    /// Takes in a page; says for each of its rows whether it is new.
    pub(super) fn accept(&mut self, rows: &[Option<RowKey>], total: Option<u64>) -> Result<Vec<bool>, String> {
        // A row without an id cannot be known: the first one that has an id tells.
        let overlaps = rows.iter().flatten().next().is_some_and(|first| self.seen.contains(&first.id));
        let connects = self.offset == 0 || self.probing || overlaps;
        if connects && rows.is_empty() && total.is_some_and(|total| total > self.offset as u64) {
            return Err(format!("nothing came at offset {}, and the list is said to go on", self.offset));
        }
        // Rows of a page that does not connect come again; until then they tell nothing of the rows before them.
        let fresh: Vec<bool> =
            rows.iter().map(|row| connects && row.as_ref().is_some_and(|key| self.seen.insert(&key.id))).collect();
        self.barren = if fresh.contains(&true) { 0 } else { self.barren + 1 };
        if self.barren > self.barren_allowed {
            return Err(format!("{} pages in a row brought nothing new: the listing does not move on", self.barren));
        }
        self.found += fresh.iter().filter(|fresh| **fresh).count();
        if connects {
            self.unsure |= self.probing && !overlaps && !rows.is_empty();
            self.go_on(rows.len(), total);
            if self.done && self.unsure && self.found > 0 && self.passes < MOST_PASSES {
                self.reopen();
            }
        } else {
            self.offset = self.offset.saturating_sub(self.step);
            self.step = (self.step * 2).min(self.limit);
        }
        Ok(fresh)
    }

    /// The page connects to the one before it: on to the next, or to the end.
    fn go_on(&mut self, received: usize, total: Option<u64>) {
        let end = self.offset + received;
        self.step = 1;
        self.done = received == 0 || total.is_some_and(|total| end as u64 >= total);
        // A page of one row, known or the first, says nothing of what follows: ask without overlap.
        self.probing = received == 1 && !self.probing;
        self.offset = if self.probing { end } else { end.saturating_sub(1) };
    }
}
