//! A walk by `starting_after`: it costs the same however deep it goes, and what is created meanwhile comes last.

use std::cmp::Ordering;
use std::collections::{HashSet, VecDeque};

use super::{ListRequest, RowKey};

/// How many rows before the last one a refused cursor may fall back on.
const REMEMBERED: usize = 1000;

/// How many pages of rows that are later than asked for are read, in case the list ends there.
const MOST_LATE_PAGES: usize = 50;

/// A walk by `starting_after`, oldest first. It remembers the last rows, and the ids that share the newest
/// moment of creation; nothing grows with the number of rows.
///
/// An empty page after a row that was deleted meanwhile looks like the end and is none. So the end counts only
/// once the row before the cursor, or the beginning of the list, leads to nothing but rows known already.
#[derive(Debug)]
pub(super) struct CursorWalk {
    limit: usize,
    until: Option<i64>,
    /// Pages that hold nothing but rows created at `until` or later.
    late_pages: usize,
    /// The row to start after; none at the beginning.
    cursor: Option<String>,
    /// The last rows seen, oldest first, the cursor's row at the end.
    remembered: VecDeque<RowKey>,
    /// Whether there are rows before the remembered ones.
    forgotten: bool,
    /// How many steps back have been taken since a page came.
    steps: usize,
    /// Rows after which nothing came.
    empty_after: HashSet<String>,
    seen: Seen,
    /// Whether the beginning of the list led to nothing.
    nothing: bool,
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
            nothing: false,
            done: false,
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.done
    }

    /// The parameters of the next page.
    pub(super) fn query(&self) -> Vec<(&'static str, String)> {
        let mut query = vec![("limit", self.limit.to_string())];
        if let Some(cursor) = &self.cursor {
            query.push(("starting_after", cursor.clone()));
        }
        query
    }

    /// Takes in a page; says for each of its rows whether it is new.
    pub(super) fn accept(&mut self, rows: &[Option<RowKey>]) -> Result<Vec<bool>, String> {
        // Nothing can start after rows without an id: they count as the end, which whoever counts the rows will check.
        let Some(last) = rows.iter().rev().flatten().next() else {
            self.accept_nothing()?;
            return Ok(vec![false; rows.len()]);
        };
        if self.cursor.as_ref() == Some(&last.id) {
            return Err(format!("the page after {} ends with that same row: the listing does not move on", last.id));
        }
        self.steps = 0;
        let mut fresh = Vec::with_capacity(rows.len());
        for row in rows {
            fresh.push(row.as_ref().map_or(Ok(false), |key| self.seen.insert(key))?);
        }
        for key in rows.iter().flatten() {
            self.remember(key);
        }
        // A row is there after which nothing came: that was the end, whatever has come meanwhile.
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

    /// Nothing came after the cursor: the end, unless the cursor's row is gone. That there is nothing at all is
    /// asked once more.
    fn accept_nothing(&mut self) -> Result<(), String> {
        let Some(cursor) = self.cursor.clone() else {
            self.done = self.nothing;
            self.nothing = true;
            return Ok(());
        };
        self.empty_after.insert(cursor);
        if self.step_back() {
            return Ok(());
        }
        // Nothing is known of what stood before: a listing gone on with whose last rows are all gone.
        Err("the rows to go on from are gone: the listing must begin anew".to_owned())
    }

    fn remember(&mut self, row: &RowKey) {
        if self.remembered.len() == REMEMBERED {
            self.remembered.pop_front();
            self.forgotten = true;
        }
        self.remembered.push_back(row.clone());
    }

    /// To a row before the cursor's, or to the beginning; false if neither is known. Each step in a row is twice as long
    /// as the one before: many rows may have been deleted at once. Rows that come again are known.
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
