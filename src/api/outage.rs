//! Tracks how long Clerk has been failing across all requests of a run, and reports long waits.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Waits longer than this are reported.
pub(super) const LONG_WAIT: Duration = Duration::from_secs(5);

/// The shortest time between two reports. Concurrent requests wait together, so one report is enough.
const NOTICE_INTERVAL: Duration = Duration::from_secs(10);

/// Receives a one-line message for people.
pub type Notice = Arc<dyn Fn(&str) + Send + Sync>;

/// The current outage: it starts with the first failure and ends with the next success.
#[derive(Debug, Default)]
pub(super) struct Outage(Mutex<Option<OutageStart>>);

#[derive(Clone, Copy, Debug)]
struct OutageStart {
    at: Instant,
    /// Total of server-imposed pauses before the outage began.
    paused_before: Duration,
    /// Whether a request has been given up during the outage.
    is_given_up: bool,
}

/// The length of an outage.
#[derive(Clone, Copy, Debug)]
pub(super) struct OutageLength {
    /// Time without server-imposed pauses.
    pub unpaused: Duration,
    /// Total of server-imposed pauses.
    pub paused: Duration,
    /// Whether a request has spent its retry budget during the outage.
    pub is_given_up: bool,
}

impl Outage {
    /// Records a failure of a request sent at `sent`. `paused` is the total of server-imposed pauses so far.
    pub(super) fn failed(&self, sent: Instant, paused: Duration) {
        self.lock().get_or_insert(OutageStart { at: sent, paused_before: paused, is_given_up: false });
    }

    /// Records that a request has spent its retry budget, so that other requests need not spend theirs.
    pub(super) fn give_up(&self) {
        if let Some(outage) = self.lock().as_mut() {
            outage.is_given_up = true;
        }
    }

    pub(super) fn ended(&self) {
        *self.lock() = None;
    }

    /// Returns the length of the current outage if it began before `start`, otherwise `None`. `paused` is the total of
    /// server-imposed pauses so far.
    pub(super) fn before(&self, start: Instant, paused: Duration) -> Option<OutageLength> {
        let outage = self.lock().filter(|outage| outage.at < start)?;
        let paused = paused.saturating_sub(outage.paused_before);
        let unpaused = outage.at.elapsed().saturating_sub(paused);
        Some(OutageLength { unpaused, paused, is_given_up: outage.is_given_up })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<OutageStart>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reports long waits.
#[derive(Default)]
pub(super) struct WaitNotices {
    to: Option<Notice>,
    last: Mutex<Option<Instant>>,
}

impl WaitNotices {
    pub(super) fn new(to: Notice) -> Self {
        Self { to: Some(to), last: Mutex::default() }
    }

    /// Reports `text`, unless a wait was reported less than [`NOTICE_INTERVAL`] ago.
    pub(super) fn notify(&self, text: &str) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_some_and(|last| last.elapsed() < NOTICE_INTERVAL) {
            tracing::debug!("{text}");
            return;
        }
        *last = Some(Instant::now());
        if let Some(to) = &self.to {
            to(text);
        } else {
            tracing::warn!("{text}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_lasts_from_its_first_failure_to_the_next_success() {
        let (outage, start) = (Outage::default(), Instant::now() - Duration::from_secs(30));
        outage.failed(start, Duration::ZERO);
        assert!(outage.before(start, Duration::ZERO).is_none(), "the outage began with this request");
        outage.failed(Instant::now(), Duration::from_secs(10));
        let length = outage.before(Instant::now(), Duration::from_secs(10)).unwrap();
        assert_eq!((length.unpaused.as_secs(), length.paused.as_secs(), length.is_given_up), (20, 10, false));
        outage.give_up();
        assert!(outage.before(Instant::now(), Duration::ZERO).unwrap().is_given_up);
        outage.ended();
        assert!(outage.before(Instant::now(), Duration::ZERO).is_none());
    }

    #[test]
    fn concurrent_waits_are_reported_once() {
        let reported = Arc::new(Mutex::new(Vec::new()));
        let waits = WaitNotices::new(Arc::new({
            let reported = Arc::clone(&reported);
            move |text: &str| reported.lock().unwrap().push(text.to_owned())
        }));
        waits.notify("one");
        waits.notify("two");
        *waits.last.lock().unwrap() = Some(Instant::now() - NOTICE_INTERVAL);
        waits.notify("three");
        assert_eq!(*reported.lock().unwrap(), ["one", "three"]);
    }
}
