//! The tables that a run has opened. A run reads the log of a table again only if another run has committed.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use deltalake::table::state::DeltaTableState;

use crate::table::TableSpec;

/// The newest state of each table that this run has loaded.
///
/// Opening a table checks whether its state is still the newest: that lists the end of the log, and reads nothing.
#[derive(Debug, Default)]
pub(super) struct OpenedTables(Mutex<HashMap<&'static str, DeltaTableState>>);

impl OpenedTables {
    fn lock(&self) -> MutexGuard<'_, HashMap<&'static str, DeltaTableState>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the state of `spec`'s table; `None` if this run has not loaded it.
    pub(super) fn get(&self, spec: &TableSpec) -> Option<DeltaTableState> {
        self.lock().get(spec.name).cloned()
    }

    /// Keeps the state of `spec`'s table.
    pub(super) fn keep(&self, spec: &TableSpec, state: DeltaTableState) {
        self.lock().insert(spec.name, state);
    }

    /// Forgets the state of `spec`'s table, so that it is loaded again.
    pub(super) fn forget(&self, spec: &TableSpec) {
        self.lock().remove(spec.name);
    }
}
