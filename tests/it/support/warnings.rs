//! The warnings of a sync.

use std::sync::Mutex;

use clerk_lake::sync::{Progress, ResourceSummary};

/// Collects the warnings of a sync.
#[derive(Default)]
pub struct Warnings(Mutex<Vec<String>>);

impl Warnings {
    pub fn texts(&self) -> Vec<String> {
        self.0.lock().expect("a lock").clone()
    }
}

impl Progress for Warnings {
    fn started(&self, _: &str, _: Option<u64>) {}
    fn advanced(&self, _: &str, _: u64) {}
    fn finished(&self, _: &ResourceSummary) {}
    fn note(&self, _: &str) {}
    fn warn(&self, text: &str) {
        self.0.lock().expect("a lock").push(text.to_owned());
    }
}
