//! Rows listed in order of creation and changed by id.

use std::collections::{BTreeMap, HashMap};

use rand::RngExt;
use rand::rngs::ChaCha8Rng;

/// Rows ordered by creation time and id, with lookup by id.
#[derive(Clone, Debug)]
pub struct Ordered<T> {
    rows: BTreeMap<(i64, String), T>,
    created: HashMap<String, i64>,
}

impl<T> Default for Ordered<T> {
    fn default() -> Self {
        Self { rows: BTreeMap::new(), created: HashMap::new() }
    }
}

impl<T> Ordered<T> {
    /// Adds a row created at `created_at`, in Unix milliseconds.
    pub fn insert(&mut self, created_at: i64, id: &str, row: T) {
        self.created.insert(id.to_owned(), created_at);
        self.rows.insert((created_at, id.to_owned()), row);
    }

    /// Returns the row with this id.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&T> {
        self.rows.get(&self.key(id)?)
    }

    /// Returns the row with this id, mutable.
    pub fn get_mut(&mut self, id: &str) -> Option<&mut T> {
        let key = self.key(id)?;
        self.rows.get_mut(&key)
    }

    /// Removes and returns the row with this id.
    pub fn remove(&mut self, id: &str) -> Option<T> {
        let key = self.key(id)?;
        self.created.remove(id);
        self.rows.remove(&key)
    }

    /// Returns the sort key of the row with this id: its creation time and the id.
    #[must_use]
    pub fn key(&self, id: &str) -> Option<(i64, String)> {
        self.created.get(id).map(|created_at| (*created_at, id.to_owned()))
    }

    /// Iterates over all rows, oldest first.
    #[must_use]
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &T> {
        self.rows.values()
    }

    /// Iterates over the rows created at `time` or later, oldest first.
    #[must_use]
    pub fn since(&self, time: i64) -> impl DoubleEndedIterator<Item = &T> {
        self.rows.range((time, String::new())..).map(|(_, row)| row)
    }

    /// Iterates over the rows after `key`, oldest first.
    pub fn after(&self, key: (i64, String)) -> impl Iterator<Item = &T> {
        self.rows.range((std::ops::Bound::Excluded(key), std::ops::Bound::Unbounded)).map(|(_, row)| row)
    }

    /// Iterates over the rows before `key`, newest first.
    pub fn before(&self, key: (i64, String)) -> impl Iterator<Item = &T> {
        self.rows.range(..key).rev().map(|(_, row)| row)
    }

    /// Draws a row at random.
    ///
    /// With up to 5000 rows, every row is equally likely. With more, this picks a random creation time and returns one
    /// of the first four rows from that time on. Returns `None` if there are no rows, and in rare cases near the newest
    /// row.
    pub fn draw(&self, random: &mut ChaCha8Rng) -> Option<&T> {
        const SMALL: usize = 5000;
        if self.rows.len() <= SMALL {
            let at = (!self.rows.is_empty()).then(|| random.random_range(0..self.rows.len()))?;
            return self.rows.values().nth(at);
        }
        let (first, last) = (self.rows.keys().next()?, self.rows.keys().next_back()?);
        let time = random.random_range(first.0..=last.0);
        self.rows.range((time, String::new())..).nth(random.random_range(0..4)).map(|(_, row)| row)
    }

    /// Returns the number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Returns whether there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}
