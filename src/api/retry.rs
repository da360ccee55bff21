//! When to retry and when to give up: exponential back-off with jitter (by `backon`) within a time budget.

use std::time::Duration;

use backon::BackoffBuilder;
use chrono::{DateTime, Utc};

/// Limits for retries. Every duration is wall time.
#[derive(Clone, Debug)]
pub struct RetryPolicy {
    /// How long a request may keep failing, counted from its first attempt, and how long a run may go without a
    /// successful response. Pauses that Clerk asks for do not count.
    pub budget: Duration,
    /// The minimum number of attempts per request, even if the request's budget is spent. It does not apply once the
    /// run's budget is spent.
    pub least_attempts: u32,
    /// The budget for pauses that Clerk asks for (`429`, `Retry-After`).
    pub throttle_budget: Duration,
    /// The wait before the first retry.
    pub first_wait: Duration,
    /// The longest wait between two attempts.
    pub longest_wait: Duration,
    /// A request fails after this many responses that cannot be understood.
    pub malformed_attempts: u32,
    /// The seed of the jitter, so that a run can be replayed.
    pub jitter_seed: u64,
}

/// The shortest time allowed for an attempt, even if less of the budget is left.
pub(super) const SHORTEST_ATTEMPT: Duration = Duration::from_secs(10);

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            budget: Duration::from_mins(2),
            least_attempts: 2,
            throttle_budget: Duration::from_mins(4),
            first_wait: Duration::from_millis(250),
            longest_wait: Duration::from_secs(15),
            malformed_attempts: 4,
            jitter_seed: 0,
        }
    }
}

impl RetryPolicy {
    /// Returns the same policy with another time budget.
    #[must_use]
    pub fn with_budget(&self, budget: Duration) -> Self {
        Self { budget, ..self.clone() }
    }

    /// Returns the longest time for an attempt: at most half the budget, so that a server that does not respond is
    /// tried twice, and at most what is left of the budget, but at least [`SHORTEST_ATTEMPT`].
    pub(super) fn longest_attempt(&self, unpaused_time: Duration) -> Duration {
        (self.budget / 2).min(self.budget.saturating_sub(unpaused_time)).max(SHORTEST_ATTEMPT)
    }

    /// Returns the waits between attempts. The iterator is endless; the time budget ends the retries.
    pub(super) fn waits(&self, request: u64) -> impl Iterator<Item = Duration> + use<> {
        backon::ExponentialBuilder::new()
            .with_min_delay(self.first_wait)
            .with_max_delay(self.longest_wait)
            .with_factor(2.0)
            .with_jitter()
            .with_jitter_seed(self.jitter_seed ^ request.wrapping_mul(0x9E37_79B9_7F4A_7C15))
            .without_max_times()
            .build()
    }
}

/// The longest accepted `Retry-After`. Longer values are ignored as implausible.
const LONGEST_RETRY_AFTER: Duration = Duration::from_hours(1);

/// Parses `Retry-After`: seconds, or an HTTP date relative to the server's own `Date`. Returns `None` if the value is
/// in the past, more than an hour away, or in neither format.
pub(super) fn retry_after(value: &str, server_now: Option<DateTime<Utc>>) -> Option<Duration> {
    let wait = if let Ok(seconds) = value.trim().parse::<f64>() {
        Duration::try_from_secs_f64(seconds).ok()?
    } else {
        let until = DateTime::parse_from_rfc2822(value.trim()).ok()?;
        until.with_timezone(&Utc).signed_duration_since(server_now?).to_std().ok()?
    };
    (wait <= LONGEST_RETRY_AFTER).then_some(wait)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_accepts_seconds_and_dates() {
        assert_eq!(retry_after("7", None), Some(Duration::from_secs(7)));
        let now = DateTime::parse_from_rfc2822("Tue, 24 Nov 2026 08:00:00 GMT").unwrap().with_timezone(&Utc);
        assert_eq!(retry_after("Tue, 24 Nov 2026 08:00:30 GMT", Some(now)), Some(Duration::from_secs(30)));
        for nonsense in ["soon", "", "-1", "inf", "NaN", "3601", "18446744073709551615", "1e300"] {
            assert_eq!(retry_after(nonsense, Some(now)), None, "{nonsense}");
        }
        for date in ["Tue, 24 Nov 2026 07:59:59 GMT", "Wed, 25 Nov 2026 08:00:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT"]
        {
            assert_eq!(retry_after(date, Some(now)), None, "{date}");
        }
    }

    #[test]
    fn waits_grow_and_are_bounded() {
        let policy = RetryPolicy::default();
        let waits: Vec<_> = policy.waits(1).take(20).collect();
        assert!(waits.iter().all(|wait| *wait <= policy.longest_wait * 2));
        assert!(waits[10] > waits[0]);
        assert_eq!(waits, policy.waits(1).take(20).collect::<Vec<_>>());
    }
}
