//! Positions: named numbers that commits record as Delta `txn` actions. The watermark is one of them.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Deserialize;

/// The positions that the newest commit of a table records, and the table version that they were read at.
///
/// A sync records nearly all positions in each commit, so that one small file has them. Searching the log for one
/// position reads the last checkpoint and all later entries.
#[derive(Debug, Default)]
pub(super) struct NewestPositions(Mutex<Option<(u64, HashMap<String, i64>)>>);

impl NewestPositions {
    /// Returns whether the log entry of `version` has been read.
    pub(super) fn are_of(&self, version: u64) -> bool {
        self.lock().as_ref().is_some_and(|(of, _)| *of == version)
    }

    /// Returns the position called `name` if the entry that was read records it.
    pub(super) fn get(&self, name: &str) -> Option<i64> {
        self.lock().as_ref().and_then(|(_, positions)| positions.get(name).copied())
    }

    fn lock(&self) -> MutexGuard<'_, Option<(u64, HashMap<String, i64>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the positions of the log entry of `version`.
    pub(super) fn set(&self, version: u64, entry: &[u8]) {
        *self.lock() = Some((version, positions_of(entry)));
    }
}

/// Returns the positions that a log entry records.
fn positions_of(entry: &[u8]) -> HashMap<String, i64> {
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
    let lines = entry.split(|byte| *byte == b'\n');
    let transactions = lines.filter_map(|line| serde_json::from_slice::<Line>(line).ok()?.txn);
    transactions.map(|it| (it.app_id, it.version)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_positions_of_an_entry_are_its_txn_actions() {
        let entry = b"{\"commitInfo\":{\"timestamp\":1}}\n{\"txn\":{\"appId\":\"a\",\"version\":7}}\n\
            {\"add\":{\"path\":\"x\"}}\n{\"txn\":{\"appId\":\"b\",\"version\":-1,\"lastUpdated\":3}}\n";
        assert_eq!(positions_of(entry), HashMap::from([("a".to_owned(), 7), ("b".to_owned(), -1)]));
        assert_eq!(positions_of(b"no log entry"), HashMap::new());
    }
}
