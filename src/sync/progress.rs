//! Progress of a run, for its observer.

use super::ResourceSummary;

/// Receives the progress of a run. Called from the run's own task: implementations must not block.
pub trait Progress: Send + Sync {
    /// A resource is about to be read. `expected` is the number of rows; `None` if unknown.
    fn started(&self, resource: &str, expected: Option<u64>);
    /// `rows` rows of the resource have been read so far.
    fn advanced(&self, resource: &str, rows: u64);
    /// The resource is finished, successfully or not.
    fn finished(&self, summary: &ResourceSummary);
    /// Reports something the user should know. The run continues.
    fn note(&self, text: &str);
    /// Reports something the user should act on. The run continues.
    fn warn(&self, text: &str);
}

/// Discards all progress.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn started(&self, _: &str, _: Option<u64>) {}
    fn advanced(&self, _: &str, _: u64) {}
    fn finished(&self, _: &ResourceSummary) {}
    fn note(&self, _: &str) {}
    fn warn(&self, _: &str) {}
}
