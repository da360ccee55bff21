//! Decides where the next page starts, which rows are new, and when a listing has ended. Pure; uses no network.

use super::cursor::CursorWalk;
use super::offset::OffsetWalk;
use super::{ListRequest, Order, RowKey};

/// The state of a walk through a list.
#[derive(Debug)]
pub(super) enum Walk {
    Cursor(CursorWalk),
    Offset(OffsetWalk),
}

impl Walk {
    pub(super) fn new(request: &ListRequest) -> Self {
        match request.order {
            Order::Cursor => Self::Cursor(CursorWalk::new(request)),
            Order::Offset => Self::Offset(OffsetWalk::new(request.limit)),
        }
    }

    pub(super) fn is_done(&self) -> bool {
        match self {
            Self::Cursor(walk) => walk.is_done(),
            Self::Offset(walk) => walk.is_done(),
        }
    }

    /// Returns the position of the next page's first row; `None` for a walk by cursor.
    pub(super) fn offset(&self) -> Option<u64> {
        match self {
            Self::Cursor(_) => None,
            Self::Offset(walk) => Some(walk.offset()),
        }
    }

    /// Returns the parameters of the next page.
    pub(super) fn query(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Cursor(walk) => walk.query(),
            Self::Offset(walk) => walk.query(),
        }
    }

    /// Accepts a page. Returns for each of its rows whether it is new.
    pub(super) fn accept(&mut self, rows: &[Option<RowKey>], total: Option<u64>) -> Result<Vec<bool>, String> {
        match self {
            Self::Cursor(walk) => walk.accept(rows),
            Self::Offset(walk) => walk.accept(rows, total),
        }
    }

    /// Steps back after the server refused the page. Returns whether there is an earlier position to continue from.
    pub(super) fn step_back(&mut self) -> bool {
        match self {
            Self::Cursor(walk) => walk.step_back(),
            Self::Offset(_) => false,
        }
    }

    /// Reopens a walk that has ended. A walk by cursor continues after its last row; a walk by offset starts from the
    /// beginning. Rows seen before are still known.
    pub(super) fn reopen(&mut self) {
        match self {
            Self::Cursor(walk) => walk.reopen(),
            Self::Offset(walk) => walk.reopen(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// Walks a list that `between` changes after every page. Returns the ids of the new rows.
    fn walk_all(
        mut rows: Vec<RowKey>,
        order: Order,
        page: usize,
        mut between: impl FnMut(usize, &mut Vec<RowKey>),
    ) -> Vec<String> {
        let mut walk = walk(order, page);
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
                    Some(id) => {
                        let Some(at) = rows.iter().position(|row| row.id == id) else {
                            assert!(walk.step_back());
                            continue;
                        };
                        at + 1
                    }
                },
            };
            let keys: Vec<_> = rows[start..].iter().take(page).cloned().collect();
            let fresh = walk.accept(&some(&keys), None).unwrap();
            got.extend(keys.iter().zip(fresh).filter(|(_, fresh)| *fresh).map(|(key, _)| key.id.clone()));
            between(turn, &mut rows);
        }
        panic!("the walk does not end");
    }

    fn walk(order: Order, limit: usize) -> Walk {
        Walk::new(&ListRequest { limit, ..ListRequest::new("/rows", order) })
    }

    fn some(rows: &[RowKey]) -> Vec<Option<RowKey>> {
        rows.iter().cloned().map(Some).collect()
    }

    fn rows(count: i64) -> Vec<RowKey> {
        (0..count).map(|n| RowKey { id: format!("row_{n}"), created_at: Some(n / 3) }).collect()
    }

    #[test]
    fn an_unchanged_list_is_read_completely_and_once_at_every_page_size() {
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
    fn rows_that_stay_are_never_lost_when_others_are_deleted() {
        for order in [Order::Cursor, Order::Offset] {
            for page in [1, 2, 5, 20] {
                let got = walk_all(rows(100), order, page, |turn, rows| {
                    if rows.len() > 50 {
                        rows.remove(turn * 7 % (rows.len() / 2));
                        rows.remove(turn * 5 % (rows.len() / 2));
                    }
                });
                let distinct: HashSet<_> = got.iter().collect();
                assert_eq!(distinct.len(), got.len(), "{order:?} {page}: a row was returned twice");
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
    fn hundreds_of_deleted_rows_cost_only_a_few_requests() {
        for gone in [1, 2, 37, 299, 499] {
            let mut walk = walk(Order::Cursor, 500);
            walk.accept(&some(&rows(500)), None).unwrap();
            let mut refused = 0;
            let cursor = loop {
                let query = walk.query();
                let (_, id) = query.into_iter().find(|(name, _)| *name == "starting_after").expect("a cursor");
                let cursor: usize = id[4..].parse().unwrap();
                if cursor < 500 - gone {
                    break cursor;
                }
                refused += 1;
                assert!(walk.step_back(), "{gone} deleted");
            };
            assert!(refused <= 10, "{gone} deleted: {refused} refused requests");
            let fresh = walk.accept(&some(&rows(600)[cursor + 1..]), None).unwrap();
            let new = fresh.iter().filter(|fresh| **fresh).count();
            // Rows that share the frontier's creation time can only be recognized by their ids.
            assert_eq!(new, 100, "{gone} deleted");
        }
    }

    #[test]
    fn an_empty_page_after_a_deleted_row_is_not_the_end() {
        for gone in 1..=10 {
            for (count, page) in [(30, 10), (10, 10), (12, 1)] {
                let mut list = rows(count);
                let mut walk = walk(Order::Cursor, page);
                let mut got = Vec::new();
                let mut requests = 0;
                while !walk.is_done() {
                    let cursor = walk.query().into_iter().find(|(name, _)| *name == "starting_after");
                    let start = match cursor {
                        None => 0,
                        Some((_, id)) => list.iter().position(|row| row.id == id).map_or(list.len(), |at| at + 1),
                    };
                    let keys: Vec<_> = list[start..].iter().take(page).cloned().collect();
                    let fresh = walk.accept(&some(&keys), None).unwrap();
                    got.extend(keys.into_iter().zip(fresh).filter(|(_, fresh)| *fresh).map(|(key, _)| key.id));
                    requests += 1;
                    if requests == 10 / page {
                        list.drain(10 - gone..10);
                    }
                    assert!(requests < 1000, "the walk does not end");
                }
                let expected: Vec<_> = rows(count).into_iter().map(|row| row.id).collect();
                assert_eq!(got, expected, "{gone} of {count} by {page}");
            }
        }
    }

    #[test]
    fn a_reopened_listing_returns_the_rows_added_meanwhile() {
        for order in [Order::Cursor, Order::Offset] {
            let mut walk = walk(order, 10);
            walk.accept(&some(&rows(4)), Some(4)).unwrap();
            if order == Order::Cursor {
                walk.accept(&[], None).unwrap();
                walk.accept(&some(&rows(4)[3..]), None).unwrap();
            }
            assert!(walk.is_done());
            walk.reopen();
            let page = if order == Order::Cursor { &rows(6)[4..] } else { &rows(6)[..] };
            let fresh = walk.accept(&some(page), Some(6)).unwrap();
            assert_eq!(fresh.iter().filter(|fresh| **fresh).count(), 2, "{order:?}");
        }
    }

    #[test]
    fn a_listing_ends_even_if_the_list_grows_as_fast_as_it_is_read() {
        for (until, most) in [(None, 20), (Some(1), 200)] {
            let request = ListRequest { limit: 2, until, ..ListRequest::new("/rows", Order::Cursor) };
            let mut walk = Walk::new(&request);
            let mut requests = 0;
            while !walk.is_done() {
                let cursor = walk.query().into_iter().find(|(name, _)| *name == "starting_after");
                let start = cursor.map_or(0, |(_, id)| id[4..].parse::<usize>().unwrap() + 1);
                requests += 1;
                // Without `until`, the list grows by one row per two requests; with `until`, by two rows per request.
                let count = if until.is_none() { 10 + requests / 2 } else { 10 + 2 * requests };
                let keys: Vec<_> = rows(i64::from(count)).into_iter().skip(start).take(2).collect();
                walk.accept(&some(&keys), None).unwrap();
                assert!(requests < most, "{until:?}: the walk does not end");
            }
        }
    }

    #[test]
    fn an_empty_list_is_requested_twice() {
        let mut walk = walk(Order::Cursor, 10);
        walk.accept(&[], None).unwrap();
        assert!(!walk.is_done());
        walk.accept(&[], None).unwrap();
        assert!(walk.is_done());
    }

    #[test]
    fn an_empty_page_before_the_total_is_an_error() {
        let mut walk = walk(Order::Offset, 10);
        assert!(walk.accept(&[], Some(3)).is_err());
    }

    #[test]
    fn a_listing_that_repeats_its_first_page_is_an_error() {
        let mut walk = walk(Order::Cursor, 3);
        let page = some(&rows(3));
        walk.accept(&page, None).unwrap();
        assert!(walk.accept(&page, None).is_err());
    }

    #[test]
    fn the_total_ends_an_offset_listing_without_another_request() {
        let mut walk = walk(Order::Offset, 10);
        walk.accept(&some(&rows(4)), Some(4)).unwrap();
        assert!(walk.is_done());
    }

    #[test]
    fn rows_without_an_id_at_the_end_do_not_make_the_listing_endless() {
        let mut walk = walk(Order::Cursor, 10);
        walk.accept(&[some(&rows(3)), vec![None]].concat(), None).unwrap();
        walk.accept(&[None], None).unwrap();
        walk.accept(&[some(&rows(3)[2..]), vec![None]].concat(), None).unwrap();
        assert!(walk.is_done());
    }
}
