//! Which ids have been seen, in little memory.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

/// Ids seen, at 16 bytes each: at that width two ids never meet.
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

    /// Whether `id` has been seen.
    #[must_use]
    pub fn contains(&self, id: &str) -> bool {
        self.seen.contains(&self.of(id))
    }

    /// Takes `id` in; says whether it is new.
    pub fn insert(&mut self, id: &str) -> bool {
        self.seen.insert(self.of(id))
    }

    /// Forgets `id`; says whether it had been seen.
    pub fn remove(&mut self, id: &str) -> bool {
        self.seen.remove(&self.of(id))
    }

    /// How many ids have been seen.
    #[must_use]
    pub fn len(&self) -> usize {
        self.seen.len()
    }

    /// Whether no id has been seen.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }
}
