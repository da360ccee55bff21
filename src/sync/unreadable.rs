//! The rejected rows of a listing. Each counts once, and no longer counts if it is listed again in a readable form.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::api::Fingerprints;
use crate::resource::json::Rejected;

/// At most this many rows are kept for `clerk_rejected_row`; more are only counted.
const MAX_KEPT: usize = 10_000;

/// The rejected rows so far. A page boundary, a retry or a second list may return one of them again, possibly in a
/// readable form.
#[derive(Debug, Default)]
pub(super) struct UnreadableRows {
    /// Each row's id, or a hash of the row if it has no readable id.
    names: Fingerprints,
    ids: BTreeSet<String>,
    kept: Vec<Rejected>,
}

/// The rejected rows as saved in a resume point.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Saved {
    ids: BTreeSet<String>,
    kept: Vec<Rejected>,
}

impl UnreadableRows {
    /// Adds a row, unless it is known already.
    pub(super) fn insert(&mut self, row: Rejected) {
        if !self.names.insert(row.name()) {
            return;
        }
        self.ids.extend(row.key.iter().map(|key| key.id.clone()));
        if self.kept.len() < MAX_KEPT {
            self.kept.push(row);
        }
    }

    /// Removes the row with this id: it has been listed in a readable form.
    pub(super) fn mark_readable(&mut self, id: &str) {
        if self.ids.remove(id) {
            self.names.remove(id);
            self.kept.retain(|row| row.key.as_ref().is_none_or(|key| key.id != id));
        }
    }

    /// Returns the number of rejected rows.
    pub(super) fn count(&self) -> u64 {
        self.names.len() as u64
    }

    /// Returns the ids of the rejected rows that have one.
    pub(super) fn ids(&self) -> &BTreeSet<String> {
        &self.ids
    }

    /// Returns the rows to record in `clerk_rejected_row`.
    pub(super) fn kept(&self) -> &[Rejected] {
        &self.kept
    }

    /// Returns the rejected rows to save in a resume point.
    pub(super) fn save(&self) -> Value {
        let saved = Saved { ids: self.ids.clone(), kept: self.kept.clone() };
        serde_json::to_value(saved).unwrap_or_default()
    }

    /// Restores the rejected rows of a resume point. Rows without a readable id are not restored: the resumed listing
    /// may return them again, and they could not be recognized.
    pub(super) fn restore(saved: Value) -> Self {
        let Saved { ids, kept } = serde_json::from_value(saved).unwrap_or_default();
        let mut restored = Self::default();
        for row in kept.into_iter().filter(|row| row.key.is_some()) {
            restored.insert(row);
        }
        for id in ids {
            restored.names.insert(&id);
            restored.ids.insert(id);
        }
        restored
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::RowKey;

    fn row(id: Option<&str>, raw: &str) -> Rejected {
        let key = id.map(|id| RowKey { id: id.to_owned(), created_at: None });
        Rejected { name: id.unwrap_or(raw).to_owned(), raw: raw.to_owned(), reason: "odd".to_owned(), at: 0, key }
    }

    #[test]
    fn a_row_counts_once_and_not_after_it_is_read() {
        let mut rows = UnreadableRows::default();
        for _ in 0..2 {
            rows.insert(row(Some("a"), "{\"id\":\"a\"}"));
            rows.insert(row(None, "{}"));
        }
        assert_eq!((rows.count(), rows.kept().len()), (2, 2));
        rows.mark_readable("a");
        rows.mark_readable("b");
        assert_eq!((rows.count(), rows.kept().len(), rows.ids().len()), (1, 1, 0));
    }

    #[test]
    fn a_resume_point_keeps_every_id_but_no_row_without_one() {
        let mut rows = UnreadableRows::default();
        for n in 0..MAX_KEPT + 5 {
            rows.insert(row(Some(&format!("id_{n}")), ""));
        }
        rows.insert(row(None, "[]"));
        let restored = UnreadableRows::restore(rows.save());
        assert_eq!(restored.count(), MAX_KEPT as u64 + 5);
        assert_eq!(restored.ids(), rows.ids());
    }
}
