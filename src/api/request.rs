//! Retry state of one request.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::error::ApiError;
use super::outage::Outage;
use super::quota::Quota;
use super::retry::{RetryPolicy, SHORTEST_ATTEMPT};
use super::traffic::Counters;

/// One request, from its first attempt to its last.
pub(super) struct Request<'c, W> {
    policy: &'c RetryPolicy,
    quota: &'c Quota,
    counters: &'c Counters,
    outage: &'c Outage,
    start: Instant,
    /// Total of server-imposed pauses before the request began.
    paused_before: Duration,
    waits: W,
    pub(super) attempts: u32,
    /// The number of responses that could not be understood.
    pub(super) malformed: u32,
}

impl<'c> Request<'c, ()> {
    /// Starts the request with the number `number` of a run. All requests of the run share `quota`, `outage` and
    /// `counters`.
    pub(super) fn new(
        number: u64,
        policy: &'c RetryPolicy,
        quota: &'c Quota,
        outage: &'c Outage,
        counters: &'c Counters,
    ) -> Request<'c, impl Iterator<Item = Duration> + use<>> {
        let (waits, paused_before) = (policy.waits(number), quota.paused_total());
        Request {
            policy,
            quota,
            counters,
            outage,
            start: Instant::now(),
            paused_before,
            waits,
            attempts: 0,
            malformed: 0,
        }
    }
}

impl<W: Iterator<Item = Duration>> Request<'_, W> {
    pub(super) fn count_attempt(&mut self) {
        self.attempts += 1;
        self.counters.requests.fetch_add(1, Ordering::Relaxed);
        self.counters.retries.fetch_add(u64::from(self.attempts > 1), Ordering::Relaxed);
    }

    pub(super) fn next_wait(&mut self) -> Duration {
        self.waits.next().unwrap_or(self.policy.longest_wait)
    }

    /// Returns the total of server-imposed pauses since the request began.
    fn paused_time(&self) -> Duration {
        self.quota.paused_total().saturating_sub(self.paused_before)
    }

    /// Returns the age of the request at the end of `wait`, without server-imposed pauses.
    fn unpaused_time(&self, wait: Duration) -> Duration {
        (self.start.elapsed() + wait).saturating_sub(self.paused_time())
    }

    /// Returns the time since the first attempt.
    pub(super) fn age(&self) -> Duration {
        self.start.elapsed()
    }

    /// Returns whether an outage that began before this request has used up the run's retry budget.
    pub(super) fn is_run_budget_spent(&self) -> bool {
        let outage = self.outage.before(self.start, self.quota.paused_total());
        outage.is_some_and(|outage| {
            outage.is_given_up || outage.unpaused > self.policy.budget || outage.paused > self.policy.throttle_budget
        })
    }

    pub(super) fn longest_attempt(&self) -> Duration {
        if self.is_run_budget_spent() {
            SHORTEST_ATTEMPT
        } else {
            self.policy.longest_attempt(self.unpaused_time(Duration::ZERO))
        }
    }

    /// Returns whether to give up instead of waiting for `wait`.
    pub(super) fn is_budget_spent(&self, wait: Duration) -> bool {
        let is_too_late = self.unpaused_time(wait) > self.policy.budget && self.attempts >= self.policy.least_attempts;
        is_too_late || self.paused_time() > self.policy.throttle_budget || self.is_run_budget_spent()
    }

    pub(super) fn failed(&self, error: ApiError) -> ApiError {
        ApiError { attempts: self.attempts, elapsed: self.start.elapsed(), ..error }
    }
}
