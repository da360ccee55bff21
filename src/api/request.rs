//! How long a request may be tried.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::error::ApiError;
use super::outage::Outage;
use super::quota::Quota;
use super::retry::{RetryPolicy, SHORTEST_ATTEMPT};
use super::traffic::Counters;

/// What is known of a request while it is tried.
pub(super) struct Request<'c, W> {
    policy: &'c RetryPolicy,
    quota: &'c Quota,
    counters: &'c Counters,
    outage: &'c Outage,
    start: Instant,
    /// How long the server had had requests wait when it began.
    held: Duration,
    waits: W,
    pub(super) attempts: u32,
    /// Answers that could not be understood.
    pub(super) garbled: u32,
}

impl<'c> Request<'c, ()> {
    /// The `number`th request of a run, which has used `quota` and seen `outage` so far.
    pub(super) fn new(
        number: u64,
        policy: &'c RetryPolicy,
        quota: &'c Quota,
        outage: &'c Outage,
        counters: &'c Counters,
    ) -> Request<'c, impl Iterator<Item = Duration> + use<>> {
        let (waits, held) = (policy.waits(number), quota.held());
        Request { policy, quota, counters, outage, start: Instant::now(), held, waits, attempts: 0, garbled: 0 }
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

    /// How long the pauses are that the server has asked for meanwhile.
    fn held(&self) -> Duration {
        self.quota.held().saturating_sub(self.held)
    }

    /// How long it has been tried by the end of `wait`, without the pauses that the server has asked for.
    fn own_time(&self, wait: Duration) -> Duration {
        (self.start.elapsed() + wait).saturating_sub(self.held())
    }

    /// Whether the run had gone without an answer for longer than it may when this request began.
    pub(super) fn is_hopeless(&self) -> bool {
        let outage = self.outage.before(self.start, self.quota.held());
        outage.is_some_and(|outage| {
            outage.is_given_up || outage.own > self.policy.budget || outage.held > self.policy.throttle_budget
        })
    }

    pub(super) fn longest_attempt(&self) -> Duration {
        if self.is_hopeless() { SHORTEST_ATTEMPT } else { self.policy.longest_attempt(self.own_time(Duration::ZERO)) }
    }

    /// Whether to give up instead of waiting for `wait`.
    pub(super) fn is_spent(&self, wait: Duration) -> bool {
        let is_over = self.own_time(wait) > self.policy.budget && self.attempts >= self.policy.least_attempts;
        is_over || self.held() > self.policy.throttle_budget || self.is_hopeless()
    }

    pub(super) fn failed(&self, error: ApiError) -> ApiError {
        ApiError { attempts: self.attempts, elapsed: self.start.elapsed(), ..error }
    }
}
