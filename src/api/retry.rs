//! When to try again, and when to stop: exponential back-off with jitter (by `backon`) inside a budget of time.

use std::time::Duration;

use backon::BackoffBuilder;
use chrono::{DateTime, Utc};

/// How long to go on trying. Every duration is wall time.
#[derive(Clone, Debug)]
pub struct RetryPolicy {
    /// How long a request may fail, from its first attempt, and how long a run may go without an answer; pauses that
    /// Clerk asks for do not count.
    pub budget: Duration,
    /// How often a request is tried at least, whatever the budget, unless the run's is spent already.
    pub least_attempts: u32,
    /// The budget for pauses that Clerk asks for (`429`, `Retry-After`).
    pub throttle_budget: Duration,
    /// The first wait.
    pub first_wait: Duration,
    /// The longest wait between two attempts.
    pub longest_wait: Duration,
    /// How often an answer that cannot be understood is asked for again.
    pub malformed_attempts: u32,
    /// Seeds the jitter, so that a run can be replayed.
    pub jitter_seed: u64,
}

/// An attempt may take that long, however little is left of a budget.
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
    /// The same policy with another budget of time.
    #[must_use]
    pub fn with_budget(&self, budget: Duration) -> Self {
        Self { budget, ..self.clone() }
    }

    /// The longest that an attempt may take, so that a silent server is asked twice within the budget.
    pub(super) fn longest_attempt(&self, own_time: Duration) -> Duration {
        (self.budget / 2).min(self.budget.saturating_sub(own_time)).max(SHORTEST_ATTEMPT)
    }

    /// The waits between attempts, one after the other; they never end, the budget does.
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

/// The longest wait that `Retry-After` can ask for: whatever says more does not mean it.
const LONGEST_ASKED: Duration = Duration::from_hours(1);

/// Reads `Retry-After`: seconds, or an HTTP date as seen from the server's own `Date`. `None` for what is past, more
/// than an hour away, or neither.
pub(super) fn retry_after(value: &str, server_now: Option<DateTime<Utc>>) -> Option<Duration> {
    let wait = if let Ok(seconds) = value.trim().parse::<f64>() {
        Duration::try_from_secs_f64(seconds).ok()?
    } else {
        let until = DateTime::parse_from_rfc2822(value.trim()).ok()?;
        until.with_timezone(&Utc).signed_duration_since(server_now?).to_std().ok()?
    };
    (wait <= LONGEST_ASKED).then_some(wait)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
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
