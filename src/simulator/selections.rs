//! Remembers which rows a list request selects and in which order, so that its pages need not sort or filter again.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// Maximum number of remembered selections.
const MAX: usize = 16;

/// The ids of the rows that a request selects, in order.
type SelectedIds = Arc<Vec<String>>;

/// Selections by request, newest last.
#[derive(Debug, Default)]
pub(super) struct Selections(Mutex<VecDeque<(String, u64, SelectedIds)>>);

impl Selections {
    /// Returns the selection of `request` if it was made at `version` of the data, or else the one that `select` makes.
    pub(super) fn get(&self, request: &str, version: u64, select: impl FnOnce() -> Vec<String>) -> SelectedIds {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = known.iter().find(|(other, at, _)| other == request && *at == version);
        if let Some((_, _, ids)) = found {
            return Arc::clone(ids);
        }
        let ids = Arc::new(select());
        known.retain(|(other, _, _)| other != request);
        if known.len() == MAX {
            known.pop_front();
        }
        known.push_back((request.to_owned(), version, Arc::clone(&ids)));
        ids
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selection_is_made_once_per_version() {
        let selections = Selections::default();
        let made =
            |request: &str, version, id: &str| selections.get(request, version, || vec![id.to_owned()])[0].clone();
        assert_eq!(made("a", 1, "first"), "first");
        assert_eq!(made("a", 1, "second"), "first");
        assert_eq!(made("b", 1, "second"), "second");
        assert_eq!(made("a", 2, "third"), "third");
        for number in 0..2 * MAX {
            made(&number.to_string(), 2, "other");
        }
        assert_eq!(made("a", 2, "fourth"), "fourth");
    }
}
