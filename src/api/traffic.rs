//! Counts requests and bytes.

use std::sync::atomic::{AtomicU64, Ordering};

/// The traffic since the client or its [`scope`](super::Client::scope) was created.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Attempts sent, retries included.
    pub requests: u64,
    /// Attempts that were retries.
    pub retries: u64,
    /// Responses with status 429.
    pub throttled: u64,
    /// Bytes of response bodies, after decompression.
    pub bytes: u64,
}

#[derive(Default)]
pub(super) struct Counters {
    pub requests: AtomicU64,
    pub retries: AtomicU64,
    pub throttled: AtomicU64,
    pub bytes: AtomicU64,
}

impl Counters {
    pub(super) fn read(&self) -> Traffic {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Traffic {
            requests: read(&self.requests),
            retries: read(&self.retries),
            throttled: read(&self.throttled),
            bytes: read(&self.bytes),
        }
    }
}
