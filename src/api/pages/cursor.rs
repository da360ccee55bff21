//! Reads a list by `starting_after`. A page costs the same at any depth, and rows created during the listing come last.

use std::cmp::Ordering;
use std::collections::{HashSet, VecDeque};

use super::{ListRequest, RowKey};

/// The number of last rows that are remembered, as alternatives if the server refuses a cursor.
const REMEMBERED: usize = 1000;

/// The number of pages of rows created at `until` or later that are read, in case the list ends within them.
const MOST_LATE_PAGES: usize = 50;

/// A walk by `starting_after`, oldest first. It remembers the last rows, and the ids of all rows that share the newest
/// creation time. Its memory does not grow with the number of rows.
///
/// If the cursor's row was deleted meanwhile, the server may return an empty page, which looks like the end of the
/// list. An empty page therefore counts as the end only once the row before the cursor, or the beginning of the list,
/// leads to no new rows.
#[derive(Debug)]
pub(super) struct CursorWalk {
    limit: usize,
    until: Option<i64>,
    /// The number of pages whose rows were all created at `until` or later.
    late_pages: usize,
    /// The id of the row to start after; `None` at the beginning.
    cursor: Option<String>,
    /// The last rows seen, oldest first. The last of them is the cursor's row.
    remembered: VecDeque<RowKey>,
    /// Whether the list has rows before the remembered ones.
    forgotten: bool,
    /// The number of steps back since the last page with rows.
    steps: usize,
    /// The ids of rows after which an empty page came.
    empty_after: HashSet<String>,
    seen: Seen,
    /// Whether a page from the beginning of the list was empty.
    start_is_empty: bool,
    done: bool,
}

impl CursorWalk {
    pub(super) fn new(request: &ListRequest) -> Self {
        let trail = request.trail.as_slice();
        let frontier = trail.last().and_then(|row| row.created_at);
        let at_frontier = trail.iter().filter(|row| row.created_at == frontier).map(|row| row.id.clone());
        let seen = Seen { frontier, at_frontier: at_frontier.collect(), ..Seen::default() };
        let start = trail.len().saturating_sub(REMEMBERED);
        let remembered: VecDeque<_> = trail[start..].iter().cloned().collect();
        Self {
            limit: request.limit,
            until: request.until,
            late_pages: 0,
            cursor: remembered.back().map(|row| row.id.clone()),
            forgotten: !trail.is_empty(),
            remembered,
            steps: 0,
            empty_after: HashSet::new(),
            seen,
            start_is_empty: false,
            done: false,
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.done
    }

    /// Returns the parameters of the next page.
    pub(super) fn query(&self) -> Vec<(&'static str, String)> {
        let mut query = vec![("limit", self.limit.to_string())];
        if let Some(cursor) = &self.cursor {
            query.push(("starting_after", cursor.clone()));
        }
        query
    }

    /// Accepts a page. Returns for each of its rows whether it is new.
    pub(super) fn accept(&mut self, rows: &[Option<RowKey>]) -> Result<Vec<bool>, String> {
        // A row without an id cannot be a cursor, so a page of only such rows counts as empty. The caller's check of
        // the row count catches the error.
        let Some(last) = rows.iter().rev().flatten().next() else {
            self.accept_empty()?;
            return Ok(vec![false; rows.len()]);
        };
        if self.cursor.as_ref() == Some(&last.id) {
            return Err(format!("the page after {} ends with the same row: the listing makes no progress", last.id));
        }
        self.steps = 0;
        let mut fresh = Vec::with_capacity(rows.len());
        for row in rows {
            fresh.push(row.as_ref().map_or(Ok(false), |key| self.seen.insert(key))?);
        }
        for key in rows.iter().flatten() {
            self.remember(key);
        }
        // The page contains a row after which an empty page came. That row exists, so that empty page was the end of
        // the list, even if rows have been added since.
        let ended = rows.iter().flatten().any(|row| self.empty_after.contains(&row.id));
        if fresh.contains(&true) {
            self.empty_after.clear();
        }
        let first = rows.iter().flatten().find_map(|row| row.created_at);
        let is_late = self.until.is_some_and(|until| first.is_some_and(|first| first >= until));
        self.late_pages += usize::from(is_late);
        self.done = ended || self.late_pages > MOST_LATE_PAGES;
        self.cursor = Some(last.id.clone());
        Ok(fresh)
    }

    /// Handles an empty page: it is the end of the list, unless the cursor's row was deleted. If the first page is
    /// empty, it is requested once more.
    fn accept_empty(&mut self) -> Result<(), String> {
        let Some(cursor) = self.cursor.clone() else {
            self.done = self.start_is_empty;
            self.start_is_empty = true;
            return Ok(());
        };
        self.empty_after.insert(cursor);
        if self.step_back() {
            return Ok(());
        }
        // No earlier row is known. This happens to a resumed listing if all rows of its resume point were deleted.
        Err("all rows of the resume point were deleted: the listing must start again from the beginning".to_owned())
    }

    fn remember(&mut self, row: &RowKey) {
        if self.remembered.len() == REMEMBERED {
            self.remembered.pop_front();
            self.forgotten = true;
        }
        self.remembered.push_back(row.clone());
    }

    /// Moves the cursor to an earlier row, or to the beginning of the list. Returns false if neither is possible. Each
    /// consecutive step is twice as long as the previous one, because many rows may have been deleted at once. Rows
    /// that are returned again are recognized.
    pub(super) fn step_back(&mut self) -> bool {
        let Some(refused) = self.cursor.take() else { return false };
        if self.remembered.back().is_some_and(|row| row.id == refused) {
            self.remembered.pop_back();
        }
        let further = (1_usize << self.steps.min(10)) - 1;
        self.steps += 1;
        let kept = self.remembered.len().saturating_sub(further).max(1);
        self.remembered.truncate(kept);
        self.cursor = self.remembered.back().map(|row| row.id.clone());
        self.cursor.is_some() || !self.forgotten
    }

    pub(super) fn reopen(&mut self) {
        self.done = false;
        self.empty_after.clear();
    }
}

/// The rows seen in a listing ordered by creation time: all rows on one side of the frontier, and the ids of the rows
/// at the frontier. The direction is inferred from the rows, so no rows are lost if the server lists newest first.
#[derive(Debug, Default)]
struct Seen {
    frontier: Option<i64>,
    at_frontier: HashSet<String>,
    direction: Option<Ordering>,
    /// The ids of rows without a creation time.
    undated: HashSet<String>,
    /// The number of rows that were repeated or out of order.
    repeated: usize,
}

impl Seen {
    /// Records `key`. Returns whether it is new.
    fn insert(&mut self, key: &RowKey) -> Result<bool, String> {
        let Some(created_at) = key.created_at else { return Ok(self.undated.insert(key.id.clone())) };
        let side = self.frontier.map(|frontier| created_at.cmp(&frontier));
        match side {
            Some(Ordering::Equal) => return Ok(self.at_frontier.insert(key.id.clone())),
            Some(side) if *self.direction.get_or_insert(side) != side => {
                self.repeated += 1;
                // After a step back, at most the remembered rows are returned again. More repeated rows mean that the
                // list has another order.
                if self.repeated > 2 * REMEMBERED {
                    return Err("rows are not in the requested order (created_at)".to_owned());
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
