//! Clerk's clock, read from the `Date` header of its responses.

use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, Utc};

/// The server's clock, read from the `Date` of valid responses only. An error page may come from a proxy or gateway,
/// whose clock does not count.
#[derive(Debug)]
pub(super) struct ServerClock {
    /// Unix milliseconds; `i64::MAX` before the first `Date`.
    earliest: AtomicI64,
    /// Unix milliseconds; `i64::MIN` before the first `Date`.
    latest: AtomicI64,
}

impl Default for ServerClock {
    fn default() -> Self {
        Self { earliest: AtomicI64::new(i64::MAX), latest: AtomicI64::new(i64::MIN) }
    }
}

impl ServerClock {
    pub(super) fn record(&self, date: Option<DateTime<Utc>>) {
        if let Some(date) = date {
            self.earliest.fetch_min(date.timestamp_millis(), Ordering::Relaxed);
            self.latest.fetch_max(date.timestamp_millis(), Ordering::Relaxed);
        }
    }

    /// Returns the earliest `Date` seen; `None` before the first one. It is never later than the first `Date`, even if
    /// servers' clocks differ.
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
    fn the_earliest_and_the_latest_date_are_kept() {
        let clock = ServerClock::default();
        clock.record(None);
        assert_eq!((clock.earliest(), clock.latest()), (None, None));
        let at = |millis| DateTime::from_timestamp_millis(millis);
        for millis in [7000, 5000, 9000] {
            clock.record(at(millis));
        }
        assert_eq!((clock.earliest(), clock.latest()), (at(5000), at(9000)));
    }
}
