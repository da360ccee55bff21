//! Positions: named numbers that commits record as Delta `txn` actions. The watermark is one of them.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Deserialize;

/// How many of the newest log entries are searched for a position.
const MAX_ENTRIES: u64 = 4;

/// The positions that the newest commits of a table record.
///
/// A sync records nearly all positions in each commit, but a compaction records none. Searching the log for one position
/// reads the last checkpoint and all later entries; these few small files are read faster.
#[derive(Debug, Default)]
pub(super) struct NewestPositions(Mutex<Recorded>);

#[derive(Debug, Default)]
struct Recorded {
    /// The table version that the positions belong to.
    version: u64,
    /// How many log entries have been read, from this version backwards. An entry that is missing or damaged counts as
    /// the last.
    entries: u64,
    positions: HashMap<String, i64>,
}

impl NewestPositions {
    /// Returns the position called `name` if the entries that have been read record it. Otherwise, returns the version
    /// of the entry to read next; `None` if all have been read.
    pub(super) fn find(&self, version: u64, name: &str) -> Result<i64, Option<u64>> {
        let mut recorded = self.lock();
        if recorded.version != version {
            *recorded = Recorded { version, ..Recorded::default() };
        }
        let next = (recorded.entries < MAX_ENTRIES).then(|| version.checked_sub(recorded.entries)).flatten();
        recorded.positions.get(name).copied().ok_or(next)
    }

    /// Adds the positions of the log entry of `version`, the next one; `None` if there is no such entry. A damaged entry is
    /// not used, nor are older ones: a checkpoint may have what it recorded.
    pub(super) fn add(&self, version: u64, entry: Option<&[u8]>) {
        let mut recorded = self.lock();
        if recorded.version.checked_sub(recorded.entries) != Some(version) {
            return;
        }
        let positions = entry.and_then(positions_of);
        recorded.entries = if positions.is_some() { recorded.entries + 1 } else { MAX_ENTRIES };
        for (name, position) in positions.unwrap_or_default() {
            recorded.positions.entry(name).or_insert(position);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Recorded> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the positions that a log entry records; `None` if the entry is damaged: empty, or not a JSON object per line.
fn positions_of(entry: &[u8]) -> Option<HashMap<String, i64>> {
    #[derive(Deserialize)]
    struct Line {
        txn: Option<Transaction>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Transaction {
        app_id: String,
        version: i64,
    }
    let entry = entry.trim_ascii();
    let lines = entry.split(|byte| *byte == b'\n').map(|line| serde_json::from_slice::<Line>(line).ok());
    let lines: Vec<Line> = lines.collect::<Option<_>>()?;
    Some(lines.into_iter().filter_map(|line| line.txn).map(|it| (it.app_id, it.version)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_positions_of_an_entry_are_its_txn_actions() {
        let entry = b"{\"commitInfo\":{\"timestamp\":1}}\n{\"txn\":{\"appId\":\"a\",\"version\":7}}\n\
            {\"add\":{\"path\":\"x\"}}\n{\"txn\":{\"appId\":\"b\",\"version\":-1,\"lastUpdated\":3}}\n";
        assert_eq!(positions_of(entry), Some(HashMap::from([("a".to_owned(), 7), ("b".to_owned(), -1)])));
        assert_eq!(positions_of(b"{}\n"), Some(HashMap::new()));
    }

    #[test]
    fn the_newest_entry_that_records_a_position_wins_and_few_entries_are_read() {
        let newest = NewestPositions::default();
        let entry = |name: &str, version: i64| format!("{{\"txn\":{{\"appId\":\"{name}\",\"version\":{version}}}}}");
        assert_eq!(newest.find(9, "a"), Err(Some(9)));
        newest.add(9, Some(b"{}"));
        newest.add(8, Some(entry("a", 2).as_bytes()));
        assert_eq!(newest.find(9, "a"), Ok(2));
        assert_eq!(newest.find(9, "b"), Err(Some(7)));
        newest.add(7, Some(entry("a", 1).as_bytes()));
        newest.add(6, Some(b"{}"));
        assert_eq!((newest.find(9, "a"), newest.find(9, "b")), (Ok(2), Err(None)));
        assert_eq!(newest.find(10, "a"), Err(Some(10)));
        newest.add(10, None);
        assert_eq!(newest.find(10, "a"), Err(None));
    }

    #[test]
    fn a_damaged_entry_and_older_ones_are_not_used() {
        let cut = b"{\"commitInfo\":{}}\n{\"txn\":{\"appId\":\"a\",\"version\":7}}\n{\"add\":{\"pa";
        for damaged in [&b""[..], b"\n", b"no log entry", cut] {
            let newest = NewestPositions::default();
            assert_eq!(newest.find(9, "a"), Err(Some(9)));
            newest.add(9, Some(damaged));
            assert_eq!(newest.find(9, "a"), Err(None), "{}", String::from_utf8_lossy(damaged));
        }
    }

    #[test]
    fn nothing_is_read_before_the_first_version() {
        let newest = NewestPositions::default();
        newest.add(0, Some(b"{}"));
        assert_eq!(newest.find(0, "a"), Err(None));
    }
}
