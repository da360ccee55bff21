//! The tables that a run has opened. A run reads the log of each table once, and then only what was committed since.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use deltalake::table::state::DeltaTableState;

use super::table::Table;
use crate::error::Result;
use crate::table::TableSpec;

/// The newest state of each table that this run has loaded.
///
/// Readers in the run may see a state that another run has replaced meanwhile. A commit that is based on it is refused
/// by the store.
#[derive(Debug, Default)]
pub(super) struct OpenedTables(Mutex<HashMap<&'static str, DeltaTableState>>);

impl OpenedTables {
    fn lock(&self) -> MutexGuard<'_, HashMap<&'static str, DeltaTableState>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets the state of `spec`'s table, so that it is loaded again.
    pub(super) fn forget(&self, spec: &TableSpec) {
        self.lock().remove(spec.name);
    }
}

impl Table {
    /// Takes over the state that this run has loaded before. A table opened for writing is also updated to the newest
    /// version. Returns `false` if the table has to be loaded.
    pub(super) async fn load_opened(&mut self) -> Result<bool> {
        let Some(opened) = &self.lake.opened else { return Ok(false) };
        let Some(state) = opened.lock().get(self.spec.name).cloned() else { return Ok(false) };
        let version = state.version();
        self.delta.state = Some(state);
        if self.staging.is_none() || (self.delta.update_state().await.is_ok() && self.version() == Some(version)) {
            return Ok(true);
        }
        // Another run has committed. Loading the table checks the new log entries.
        opened.forget(self.spec);
        self.delta.state = None;
        Ok(false)
    }

    /// Keeps the current state for the next time that this run opens the table.
    pub(super) fn note_opened(&self) {
        let Some(opened) = &self.lake.opened else { return };
        if let Some(state) = self.delta.state.clone().filter(|_| self.useless_checkpoints.is_empty()) {
            opened.lock().insert(self.spec.name, state);
        }
    }

    /// Has this run load the table again when it opens it next.
    pub(super) fn forget_opened(&self) {
        if let Some(opened) = &self.lake.opened {
            opened.forget(self.spec);
        }
    }
}
