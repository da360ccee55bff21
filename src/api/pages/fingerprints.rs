//! A memory-saving set of ids.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

/// A set of ids that stores 16 bytes per id. At this hash width, collisions are practically impossible.
#[derive(Debug, Default)]
pub struct Fingerprints {
    seen: HashSet<u128>,
    keys: [RandomState; 2],
}

impl Fingerprints {
    fn of(&self, id: &str) -> u128 {
        let [high, low] = &self.keys;
        u128::from(high.hash_one(id)) << 64 | u128::from(low.hash_one(id))
    }

    /// Returns whether the set contains `id`.
    #[must_use]
    pub fn contains(&self, id: &str) -> bool {
        self.seen.contains(&self.of(id))
    }

    /// Inserts `id`. Returns whether it is new.
    pub fn insert(&mut self, id: &str) -> bool {
        self.seen.insert(self.of(id))
    }

    /// Removes `id`. Returns whether the set contained it.
    pub fn remove(&mut self, id: &str) -> bool {
        self.seen.remove(&self.of(id))
    }

    /// Returns the number of ids.
    #[must_use]
    pub fn len(&self) -> usize {
        self.seen.len()
    }

    /// Returns whether the set is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }
}
