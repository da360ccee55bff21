//! Where the next page starts, which rows are new, and when a listing has ended: pure, without any network.

use std::cmp::Ordering;
use std::collections::{HashSet, VecDeque};

use super::{Order, RowKey};

/// A position in a listing.
#[derive(Debug)]
pub(super) enum Walk {
    Cursor(CursorWalk),
    Offset(OffsetWalk),
}

impl Walk {
    pub(super) fn new(order: Order, limit: usize, start_after: Option<RowKey>) -> Self {
        match order {
            Order::Cursor => Self::Cursor(CursorWalk::new(limit, start_after)),
            Order::Offset => Self::Offset(OffsetWalk::new(limit)),
        }
    }

    pub(super) fn is_done(&self) -> bool {
        match self {
            Self::Cursor(walk) => walk.done,
            Self::Offset(walk) => walk.done,
        }
    }

    /// The parameters of the next page.
    pub(super) fn query(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Cursor(walk) => walk.query(),
            Self::Offset(walk) => {
                vec![("limit", walk.limit.to_string()), ("offset", walk.offset.to_string())]
            }
        }
    }

    /// Takes in a page; says for each of its rows whether it is new.
    pub(super) fn accept(&mut self, keys: &[RowKey], received: usize, total: Option<u64>) -> Result<Vec<bool>, String> {
        match self {
            Self::Cursor(walk) => walk.accept(keys, received),
            Self::Offset(walk) => walk.accept(keys, received, total),
        }
    }

    /// The server refused the page: whether there is another place from which to go on.
    pub(super) fn step_back(&mut self) -> bool {
        match self {
            Self::Cursor(walk) => walk.step_back(),
            Self::Offset(_) => false,
        }
    }
}

/// How many rows before the last one a refused cursor may fall back on.
const REMEMBERED: usize = 1000;

/// A walk by `starting_after`, oldest first. It remembers the last rows, and the ids that share the newest
/// moment of creation; nothing grows with the number of rows.
#[derive(Debug)]
pub(super) struct CursorWalk {
    limit: usize,
    /// The row to start after; none at the beginning.
    cursor: Option<String>,
    /// The last rows seen, oldest first, the cursor's row at the end.
    remembered: VecDeque<String>,
    seen: Seen,
    /// Rows without an id at the end of the last page: they come again, and nothing can start after them.
    trailing_unreadable: usize,
    done: bool,
}

impl CursorWalk {
    fn new(limit: usize, start_after: Option<RowKey>) -> Self {
        let mut seen = Seen::default();
        if let Some(row) = &start_after {
            seen.frontier = row.created_at;
            seen.at_frontier.insert(row.id.clone());
        }
        Self {
            limit,
            cursor: start_after.map(|row| row.id),
            remembered: VecDeque::new(),
            seen,
            trailing_unreadable: 0,
            done: false,
        }
    }

    fn query(&self) -> Vec<(&'static str, String)> {
        let mut query = vec![("limit", self.limit.to_string())];
        if let Some(cursor) = &self.cursor {
            query.push(("starting_after", cursor.clone()));
        }
        query
    }

    fn accept(&mut self, keys: &[RowKey], received: usize) -> Result<Vec<bool>, String> {
        let Some(last) = keys.last() else {
            if received > self.trailing_unreadable {
                return Err(format!("a page of {received} rows came without a single id to go on from"));
            }
            self.done = true;
            return Ok(Vec::new());
        };
        if self.cursor.as_ref() == Some(&last.id) {
            return Err(format!("the page after {} ends with that same row: the listing does not move on", last.id));
        }
        let mut fresh = Vec::with_capacity(keys.len());
        for key in keys {
            fresh.push(self.seen.insert(key)?);
        }
        for (key, _) in keys.iter().zip(&fresh).filter(|(_, fresh)| **fresh) {
            if self.remembered.len() == REMEMBERED {
                self.remembered.pop_front();
            }
            self.remembered.push_back(key.id.clone());
        }
        self.cursor = Some(last.id.clone());
        self.trailing_unreadable = received.saturating_sub(keys.len());
        Ok(fresh)
    }

    fn step_back(&mut self) -> bool {
        let Some(refused) = self.cursor.take() else { return false };
        if self.remembered.back() == Some(&refused) {
            self.remembered.pop_back();
        }
        self.cursor = self.remembered.back().cloned();
        self.cursor.is_some()
    }
}

/// Which rows of a listing ordered by creation have been seen: all beyond the frontier, and the ids at it. The
/// direction is read off the rows, so that a server that lists newest first loses nothing either.
#[derive(Debug, Default)]
struct Seen {
    frontier: Option<i64>,
    at_frontier: HashSet<String>,
    direction: Option<Ordering>,
    /// Ids of rows that do not say when they were created.
    undated: HashSet<String>,
    /// How many rows came again or out of order.
    repeated: usize,
}

impl Seen {
    /// Whether `key` is new.
    fn insert(&mut self, key: &RowKey) -> Result<bool, String> {
        let Some(created_at) = key.created_at else { return Ok(self.undated.insert(key.id.clone())) };
        let side = self.frontier.map(|frontier| created_at.cmp(&frontier));
        match side {
            Some(Ordering::Equal) => return Ok(self.at_frontier.insert(key.id.clone())),
            Some(side) if *self.direction.get_or_insert(side) != side => {
                self.repeated += 1;
                // After a refused cursor at most the remembered rows come again; more means another order.
                if self.repeated > 2 * REMEMBERED {
                    return Err("rows come in another order than the one asked for (created_at)".to_owned());
                }
                return Ok(false);
            }
            _ => {}
        }
        self.frontier = Some(created_at);
        self.at_frontier.clear();
        self.at_frontier.insert(key.id.clone());
        Ok(true)
    }
}

/// How many pages in a row may bring nothing new before an offset listing counts as stuck.
const BARREN_PAGES: usize = 200;

/// A walk by `offset`, each page overlapping the one before it by a row. A page whose first row is new may
/// have lost rows before it (a deletion moved them up): the walk steps back until it meets a row it knows.
/// It remembers every id, since such a list has no order that can be relied on; these lists are short.
#[derive(Debug)]
pub(super) struct OffsetWalk {
    limit: usize,
    offset: usize,
    seen: HashSet<String>,
    /// How far to step back next time a page does not connect.
    step: usize,
    /// The page asked for starts right after the last known row, without overlap, to see whether there is more.
    probing: bool,
    barren: usize,
    done: bool,
}

impl OffsetWalk {
    fn new(limit: usize) -> Self {
        Self { limit, offset: 0, seen: HashSet::new(), step: 1, probing: false, barren: 0, done: false }
    }

    fn accept(&mut self, keys: &[RowKey], received: usize, total: Option<u64>) -> Result<Vec<bool>, String> {
        let overlaps = keys.first().is_some_and(|first| self.seen.contains(&first.id));
        let fresh: Vec<bool> = keys.iter().map(|key| self.seen.insert(key.id.clone())).collect();
        self.barren = if fresh.contains(&true) { 0 } else { self.barren + 1 };
        if self.barren > BARREN_PAGES {
            return Err(format!("{BARREN_PAGES} pages in a row brought nothing new: the listing does not move on"));
        }
        if self.offset == 0 || self.probing || overlaps {
            self.go_on(received, total);
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A list that is walked while it changes.
    fn walk_all(
        mut rows: Vec<RowKey>,
        order: Order,
        page: usize,
        mut between: impl FnMut(usize, &mut Vec<RowKey>),
    ) -> Vec<String> {
        let mut walk = Walk::new(order, page, None);
        let mut got = Vec::new();
        for turn in 0..10_000 {
            if walk.is_done() {
                return got;
            }
            let query = walk.query();
            let value = |name| query.iter().find(|(n, _)| *n == name).map(|(_, v)| v.clone());
            let start = match order {
                Order::Offset => value("offset").unwrap().parse::<usize>().unwrap().min(rows.len()),
                Order::Cursor => match value("starting_after") {
                    None => 0,
                    Some(id) => match rows.iter().position(|row| row.id == id) {
                        Some(at) => at + 1,
                        None => {
                            assert!(walk.step_back());
                            continue;
                        }
                    },
                },
            };
            let keys: Vec<_> = rows[start..].iter().take(page).cloned().collect();
            let fresh = walk.accept(&keys, keys.len(), None).unwrap();
            got.extend(keys.iter().zip(fresh).filter(|(_, fresh)| *fresh).map(|(key, _)| key.id.clone()));
            between(turn, &mut rows);
        }
        panic!("the walk does not end");
    }

    fn rows(count: i64) -> Vec<RowKey> {
        (0..count).map(|n| RowKey { id: format!("row_{n}"), created_at: Some(n / 3) }).collect()
    }

    #[test]
    fn a_quiet_list_comes_whole_and_once_at_every_page_size() {
        for order in [Order::Cursor, Order::Offset] {
            for count in [0, 1, 2, 9, 10, 11, 100] {
                for page in [1, 2, 3, 10, 500] {
                    let ids: Vec<_> = rows(count).into_iter().map(|row| row.id).collect();
                    assert_eq!(walk_all(rows(count), order, page, |_, _| ()), ids, "{order:?} {count} {page}");
                }
            }
        }
    }

    #[test]
    fn rows_that_stay_are_never_lost_when_others_go() {
        for order in [Order::Cursor, Order::Offset] {
            for page in [1, 2, 5, 20] {
                let got = walk_all(rows(100), order, page, |turn, rows| {
                    if rows.len() > 50 {
                        rows.remove(turn * 7 % (rows.len() / 2));
                        rows.remove(turn * 5 % (rows.len() / 2));
                    }
                });
                let distinct: HashSet<_> = got.iter().collect();
                assert_eq!(distinct.len(), got.len(), "{order:?} {page}: a row came twice");
                for n in 75..100 {
                    assert!(distinct.contains(&format!("row_{n}")), "{order:?} {page}: row_{n} was lost");
                }
            }
        }
    }

    #[test]
    fn a_cursor_whose_row_was_deleted_falls_back_to_the_row_before() {
        let got = walk_all(rows(30), Order::Cursor, 10, |turn, rows| {
            if turn == 0 {
                rows.retain(|row| row.id != "row_9" && row.id != "row_8");
            }
        });
        assert_eq!(got.len(), 30);
    }

    #[test]
    fn a_listing_that_repeats_its_first_page_is_an_error() {
        let mut walk = Walk::new(Order::Cursor, 3, None);
        let page = rows(3);
        walk.accept(&page, 3, None).unwrap();
        assert!(walk.accept(&page, 3, None).is_err());
    }

    #[test]
    fn the_total_ends_an_offset_listing_without_another_request() {
        let mut walk = Walk::new(Order::Offset, 10, None);
        walk.accept(&rows(4), 4, Some(4)).unwrap();
        assert!(walk.is_done());
    }

    #[test]
    fn unreadable_rows_at_the_end_do_not_make_it_endless() {
        let mut walk = Walk::new(Order::Cursor, 10, None);
        walk.accept(&rows(3), 4, None).unwrap();
        walk.accept(&[], 1, None).unwrap();
        assert!(walk.is_done());
        let mut walk = Walk::new(Order::Cursor, 10, None);
        assert!(walk.accept(&[], 10, None).is_err());
    }
}
