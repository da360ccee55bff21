//! Who watches a run.

use super::ResourceSummary;

/// Told how a run goes on. Called from the run's own task: it must not block.
pub trait Progress: Send + Sync {
    /// A resource is about to be read; `expected` rows, where the server says how many there are.
    fn started(&self, resource: &str, expected: Option<u64>);
    /// So many rows of it have been read so far.
    fn advanced(&self, resource: &str, rows: u64);
    /// It is done, one way or the other.
    fn finished(&self, summary: &ResourceSummary);
    /// Something that the user should know and that stops nothing.
    fn note(&self, text: &str);
    /// Something that the user should act on and that stops nothing.
    fn warn(&self, text: &str);
}

/// Nobody watches.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn started(&self, _: &str, _: Option<u64>) {}
    fn advanced(&self, _: &str, _: u64) {}
    fn finished(&self, _: &ResourceSummary) {}
    fn note(&self, _: &str) {}
    fn warn(&self, _: &str) {}
}
