//! A run's work on one resource.

use super::run::Run;
use crate::api::Client;
use crate::resource::Resource;

/// A run's work on one resource, whose rows come from `L`.
pub(super) struct Task<'r, L> {
    pub(super) run: &'r Run<'r>,
    pub(super) resource: &'static Resource,
    /// Where the rows come from.
    pub(super) list: L,
    /// The client whose requests are counted for this resource.
    pub(super) client: Client,
}

impl<'r, L> Task<'r, L> {
    /// Returns the same task with the rows coming from `list`.
    pub(super) fn from<M>(&self, list: M) -> Task<'r, M> {
        Task { run: self.run, resource: self.resource, list, client: self.client.clone() }
    }
}
