//! How long Clerk has been failing, over all requests of a run, and who is told of long waits.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// A wait longer than this is said.
pub(super) const LONG_WAIT: Duration = Duration::from_secs(5);

/// Waits that are shared by many requests are said once in this time.
const SAID_AGAIN: Duration = Duration::from_secs(10);

/// Takes a line for people.
pub type Notice = Arc<dyn Fn(&str) + Send + Sync>;

/// The time since the first failure after which nothing has succeeded.
#[derive(Debug, Default)]
pub(super) struct Outage(Mutex<Option<Beginning>>);

#[derive(Clone, Copy, Debug)]
struct Beginning {
    at: Instant,
    /// How long the server had had requests wait until then.
    held: Duration,
    /// Whether a request has been given up since.
    is_given_up: bool,
}

/// How long something has lasted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lasting {
    /// Without the pauses that the server asked for.
    pub own: Duration,
    /// Those pauses.
    pub held: Duration,
    /// Whether a request has spent its budget on it.
    pub is_given_up: bool,
}

impl Outage {
    /// Takes in a failure of a request sent at `sent`; `held` is how long the server had had requests wait by then.
    pub(super) fn failed(&self, sent: Instant, held: Duration) {
        self.lock().get_or_insert(Beginning { at: sent, held, is_given_up: false });
    }

    /// Takes in that a request has spent its budget: the others need not.
    pub(super) fn give_up(&self) {
        if let Some(outage) = self.lock().as_mut() {
            outage.is_given_up = true;
        }
    }

    pub(super) fn ended(&self) {
        *self.lock() = None;
    }

    /// How long an outage has lasted that began before `start`, `None` if there is none.
    pub(super) fn before(&self, start: Instant, held: Duration) -> Option<Lasting> {
        let beginning = self.lock().filter(|outage| outage.at < start)?;
        let held = held.saturating_sub(beginning.held);
        let own = beginning.at.elapsed().saturating_sub(held);
        Some(Lasting { own, held, is_given_up: beginning.is_given_up })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Beginning>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells of long waits.
#[derive(Default)]
pub(super) struct Waits {
    to: Option<Notice>,
    last: Mutex<Option<Instant>>,
}

impl Waits {
    pub(super) fn told_to(to: Notice) -> Self {
        Self { to: Some(to), last: Mutex::default() }
    }

    /// Says `text`, unless a wait has been said a moment ago: requests that run side by side wait together.
    pub(super) fn say(&self, text: &str) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_some_and(|last| last.elapsed() < SAID_AGAIN) {
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
        assert!(outage.before(start, Duration::ZERO).is_none(), "it began with this request");
        outage.failed(Instant::now(), Duration::from_secs(10));
        let lasting = outage.before(Instant::now(), Duration::from_secs(10)).unwrap();
        assert_eq!((lasting.own.as_secs(), lasting.held.as_secs(), lasting.is_given_up), (20, 10, false));
        outage.give_up();
        assert!(outage.before(Instant::now(), Duration::ZERO).unwrap().is_given_up);
        outage.ended();
        assert!(outage.before(Instant::now(), Duration::ZERO).is_none());
    }

    #[test]
    fn waits_side_by_side_are_said_once() {
        let said = Arc::new(Mutex::new(Vec::new()));
        let waits = Waits::told_to(Arc::new({
            let said = Arc::clone(&said);
            move |text: &str| said.lock().unwrap().push(text.to_owned())
        }));
        waits.say("one");
        waits.say("two");
        *waits.last.lock().unwrap() = Some(Instant::now() - SAID_AGAIN);
        waits.say("three");
        assert_eq!(*said.lock().unwrap(), ["one", "three"]);
    }
}
