//! What time it is at Clerk, as its answers say.

use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, Utc};

/// The server's clock, from the `Date` of answers that were understood. An error page may come from anybody on the
/// way, whose clock says nothing.
#[derive(Debug)]
pub(super) struct ServerClock {
    /// Unix milliseconds; `i64::MAX` before an answer has said.
    earliest: AtomicI64,
    /// Unix milliseconds; `i64::MIN` before an answer has said.
    latest: AtomicI64,
}

impl Default for ServerClock {
    fn default() -> Self {
        Self { earliest: AtomicI64::new(i64::MAX), latest: AtomicI64::new(i64::MIN) }
    }
}

impl ServerClock {
    pub(super) fn take(&self, date: Option<DateTime<Utc>>) {
        if let Some(date) = date {
            self.earliest.fetch_min(date.timestamp_millis(), Ordering::Relaxed);
            self.latest.fetch_max(date.timestamp_millis(), Ordering::Relaxed);
        }
    }

    /// The earliest moment that an answer has said: not later than the first one, whichever clock is ahead.
    pub(super) fn earliest(&self) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp_millis(self.earliest.load(Ordering::Relaxed))
    }

    pub(super) fn latest(&self) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp_millis(self.latest.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_and_the_latest_date_are_known_once_an_answer_has_said() {
        let clock = ServerClock::default();
        clock.take(None);
        assert_eq!((clock.earliest(), clock.latest()), (None, None));
        let at = |millis| DateTime::from_timestamp_millis(millis);
        for millis in [7000, 5000, 9000] {
            clock.take(at(millis));
        }
        assert_eq!((clock.earliest(), clock.latest()), (at(5000), at(9000)));
    }
}
