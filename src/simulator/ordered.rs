//! Rows listed in order of creation and changed by id.

use std::collections::HashMap;

use rand::RngExt;
use rand::rngs::ChaCha8Rng;

/// Maximum number of rows in a chunk.
const CHUNK: usize = 256;

/// Sort key of a row: its creation time and its id.
type RowPosition = (i64, String);

/// Rows ordered by creation time and id, with lookup by id.
///
/// The rows are kept in chunks, so that skipping an offset takes a step per chunk and not per row.
#[derive(Clone, Debug)]
pub struct Ordered<T> {
    chunks: Vec<Vec<(RowPosition, T)>>,
    created: HashMap<String, i64>,
    /// Number of times that rows may have changed.
    version: u64,
}

impl<T> Default for Ordered<T> {
    fn default() -> Self {
        Self { chunks: Vec::new(), created: HashMap::new(), version: 0 }
    }
}

impl<T> Ordered<T> {
    /// Adds a row created at `created_at`, in Unix milliseconds. Replaces the row with the same id.
    pub fn insert(&mut self, created_at: i64, id: &str, row: T) {
        self.remove(id);
        self.version += 1;
        self.created.insert(id.to_owned(), created_at);
        let key = (created_at, id.to_owned());
        let at = self.chunk_of(&key);
        let Some(chunk) = self.chunks.get_mut(at) else { return self.chunks.push(vec![(key, row)]) };
        let within = chunk.partition_point(|(other, _)| *other < key);
        chunk.insert(within, (key, row));
        if chunk.len() > CHUNK {
            // Rows are mostly added at the end, where full chunks should stay full.
            let half = if within + 1 == chunk.len() { CHUNK } else { CHUNK / 2 };
            let rest = chunk.split_off(half);
            self.chunks.insert(at + 1, rest);
        }
    }

    /// Returns the row with this id.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&T> {
        let (chunk, within) = self.place(id)?;
        self.chunks.get(chunk)?.get(within).map(|(_, row)| row)
    }

    /// Returns the row with this id, mutable.
    pub fn get_mut(&mut self, id: &str) -> Option<&mut T> {
        let (chunk, within) = self.place(id)?;
        self.version += 1;
        self.chunks.get_mut(chunk)?.get_mut(within).map(|(_, row)| row)
    }

    /// Removes and returns the row with this id.
    pub fn remove(&mut self, id: &str) -> Option<T> {
        let (at, within) = self.place(id)?;
        self.version += 1;
        self.created.remove(id);
        let chunk = self.chunks.get_mut(at)?;
        let (_, row) = chunk.remove(within);
        if chunk.is_empty() {
            self.chunks.remove(at);
        }
        Some(row)
    }

    /// Returns the sort key of the row with this id: its creation time and the id.
    #[must_use]
    pub fn key(&self, id: &str) -> Option<(i64, String)> {
        self.created.get(id).map(|created_at| (*created_at, id.to_owned()))
    }

    /// Iterates over all rows, oldest first.
    #[must_use]
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &T> {
        self.chunks.iter().flatten().map(|(_, row)| row)
    }

    /// Iterates over the rows after the oldest `offset` rows, oldest first.
    pub fn skip_oldest(&self, mut offset: usize) -> impl Iterator<Item = &T> {
        let mut first = 0;
        while let Some(chunk) = self.chunks.get(first).filter(|chunk| chunk.len() <= offset) {
            offset -= chunk.len();
            first += 1;
        }
        self.chunks[first..].iter().flatten().skip(offset).map(|(_, row)| row)
    }

    /// Iterates over the rows before the newest `offset` rows, newest first.
    pub fn skip_newest(&self, mut offset: usize) -> impl Iterator<Item = &T> {
        let mut end = self.chunks.len();
        while let Some(chunk) = self.chunks[..end].last().filter(|chunk| chunk.len() <= offset) {
            offset -= chunk.len();
            end -= 1;
        }
        self.chunks[..end].iter().rev().flat_map(|chunk| chunk.iter().rev()).skip(offset).map(|(_, row)| row)
    }

    /// Iterates over the rows created at `time` or later, oldest first.
    #[must_use]
    pub fn since(&self, time: i64) -> impl DoubleEndedIterator<Item = &T> {
        self.not_before(&(time, String::new())).map(|(_, row)| row)
    }

    /// Iterates over the rows after `key`, oldest first.
    pub fn after(&self, key: (i64, String)) -> impl Iterator<Item = &T> {
        self.not_before(&key).filter(move |(other, _)| *other != key).map(|(_, row)| row)
    }

    /// Iterates over the rows before `key`, newest first.
    pub fn before(&self, key: (i64, String)) -> impl Iterator<Item = &T> {
        let end = (self.chunk_of(&key) + 1).min(self.chunks.len());
        let rows = self.chunks[..end].iter().rev().flat_map(|chunk| chunk.iter().rev());
        rows.skip_while(move |(other, _)| *other >= key).map(|(_, row)| row)
    }

    /// Draws a row at random.
    ///
    /// With up to 5000 rows, every row is equally likely. With more, this picks a random creation time and returns one
    /// of the first four rows from that time on. Returns `None` if there are no rows, and in rare cases near the newest
    /// row.
    pub fn draw(&self, random: &mut ChaCha8Rng) -> Option<&T> {
        const SMALL: usize = 5000;
        if self.len() <= SMALL {
            let at = (!self.is_empty()).then(|| random.random_range(0..self.len()))?;
            return self.skip_oldest(at).next();
        }
        let (first, last) = (self.chunks.first()?.first()?, self.chunks.last()?.last()?);
        let time = random.random_range(first.0.0..=last.0.0);
        self.since(time).nth(random.random_range(0..4))
    }

    /// Returns a number that grows with each change.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// Returns the number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.created.len()
    }

    /// Returns whether there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.created.is_empty()
    }

    /// Iterates over the rows at `key` or after it, oldest first.
    fn not_before<'a>(
        &'a self,
        key: &RowPosition,
    ) -> impl DoubleEndedIterator<Item = &'a (RowPosition, T)> + use<'a, T> {
        let at = self.chunk_of(key);
        let (first, rest) = match self.chunks.get(at) {
            Some(chunk) => (&chunk[chunk.partition_point(|(other, _)| other < key)..], &self.chunks[at + 1..]),
            None => (&[][..], &[][..]),
        };
        first.iter().chain(rest.iter().flatten())
    }

    /// Returns the number of the chunk in which `key` is, or belongs.
    fn chunk_of(&self, key: &RowPosition) -> usize {
        self.chunks.partition_point(|chunk| chunk.first().is_some_and(|(first, _)| first <= key)).saturating_sub(1)
    }

    /// Returns where the row with this id is: the number of its chunk, and its number in the chunk.
    fn place(&self, id: &str) -> Option<(usize, usize)> {
        let key = self.key(id)?;
        let at = self.chunk_of(&key);
        let within = self.chunks.get(at)?.binary_search_by(|(other, _)| other.cmp(&key)).ok()?;
        Some((at, within))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rand::SeedableRng;

    use super::*;

    #[test]
    fn rows_are_ordered_and_found_like_those_of_a_sorted_map() {
        let mut random = ChaCha8Rng::seed_from_u64(3);
        let (mut rows, mut sorted) = (Ordered::default(), BTreeMap::new());
        for number in 0..3000 {
            let (time, id) = (random.random_range(0..500), format!("id{}", random.random_range(0..2000)));
            let old = sorted.keys().find(|(_, other): &&(i64, String)| *other == id).cloned();
            assert_eq!(rows.get(&id).copied(), old.as_ref().map(|old| sorted[old]));
            if let Some(old) = old {
                assert_eq!(rows.remove(&id), sorted.remove(&old));
            }
            if number % 4 > 0 {
                rows.insert(time, &id, number);
                sorted.insert((time, id), number);
            }
        }
        let wanted: Vec<i32> = sorted.values().copied().collect();
        let reversed: Vec<i32> = wanted.iter().rev().copied().collect();
        assert_eq!(rows.len(), wanted.len());
        for offset in [0, 1, 255, 256, 257, wanted.len() - 1, wanted.len(), wanted.len() + 1] {
            let rest = offset.min(wanted.len());
            assert_eq!(rows.skip_oldest(offset).copied().collect::<Vec<_>>(), wanted[rest..]);
            assert_eq!(rows.skip_newest(offset).copied().collect::<Vec<_>>(), reversed[rest..]);
        }
        for time in [-1, 0, 250, 499, 500] {
            let key = (time, "id7".to_owned());
            let since: Vec<_> = sorted.range((time, String::new())..).map(|(_, row)| *row).collect();
            assert_eq!(rows.since(time).copied().collect::<Vec<_>>(), since);
            let after: Vec<_> = sorted.range(key.clone()..).filter(|it| *it.0 != key).map(|(_, row)| *row).collect();
            assert_eq!(rows.after(key.clone()).copied().collect::<Vec<_>>(), after);
            let before: Vec<_> = sorted.range(..key.clone()).rev().map(|(_, row)| *row).collect();
            assert_eq!(rows.before(key).copied().collect::<Vec<_>>(), before);
        }
    }
}
