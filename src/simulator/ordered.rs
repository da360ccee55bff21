//! Rows that are listed by creation and changed by id.

use std::collections::{BTreeMap, HashMap};

use rand::RngExt;
use rand::rngs::ChaCha8Rng;

/// Rows in order of creation, found by id.
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
    /// Adds a row.
    pub fn insert(&mut self, created_at: i64, id: &str, row: T) {
        self.created.insert(id.to_owned(), created_at);
        self.rows.insert((created_at, id.to_owned()), row);
    }

    /// The row with this id.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&T> {
        self.rows.get(&self.key(id)?)
    }

    /// The row with this id, to be changed.
    pub fn get_mut(&mut self, id: &str) -> Option<&mut T> {
        let key = self.key(id)?;
        self.rows.get_mut(&key)
    }

    /// Takes the row with this id away.
    pub fn remove(&mut self, id: &str) -> Option<T> {
        let key = self.key(id)?;
        self.created.remove(id);
        self.rows.remove(&key)
    }

    /// Where the row with this id stands.
    #[must_use]
    pub fn key(&self, id: &str) -> Option<(i64, String)> {
        self.created.get(id).map(|created_at| (*created_at, id.to_owned()))
    }

    /// All rows, oldest first.
    #[must_use]
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &T> {
        self.rows.values()
    }

    /// All rows created at `moment` or later, oldest first.
    #[must_use]
    pub fn since(&self, moment: i64) -> impl DoubleEndedIterator<Item = &T> {
        self.rows.range((moment, String::new())..).map(|(_, row)| row)
    }

    /// The rows after `key`, oldest first.
    pub fn after(&self, key: (i64, String)) -> impl Iterator<Item = &T> {
        self.rows.range((std::ops::Bound::Excluded(key), std::ops::Bound::Unbounded)).map(|(_, row)| row)
    }

    /// The rows before `key`, newest first.
    pub fn before(&self, key: (i64, String)) -> impl Iterator<Item = &T> {
        self.rows.range(..key).rev().map(|(_, row)| row)
    }

    /// A row drawn at random: any of a small number with equal chances, else one near a moment drawn at random.
    pub fn draw(&self, random: &mut ChaCha8Rng) -> Option<&T> {
        const SMALL: usize = 5000;
        if self.rows.len() <= SMALL {
            let at = (!self.rows.is_empty()).then(|| random.random_range(0..self.rows.len()))?;
            return self.rows.values().nth(at);
        }
        let (first, last) = (self.rows.keys().next()?, self.rows.keys().next_back()?);
        let moment = random.random_range(first.0..=last.0);
        self.rows.range((moment, String::new())..).nth(random.random_range(0..4)).map(|(_, row)| row)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}
