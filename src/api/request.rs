//! How long a request may be tried.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::client::Client;
use super::error::ApiError;
use super::retry::SHORTEST_ATTEMPT;

/// What is known of a request while it is tried.
pub(super) struct Request<'c, W> {
    client: &'c Client,
    start: Instant,
    /// How long the server had had requests wait when it began.
    held: Duration,
    waits: W,
    pub(super) attempts: u32,
    /// Answers that could not be understood.
    pub(super) garbled: u32,
}

impl<'c> Request<'c, ()> {
    pub(super) fn new(client: &'c Client) -> Request<'c, impl Iterator<Item = Duration> + use<>> {
        let waits = client.retry.waits(client.serial.fetch_add(1, Ordering::Relaxed));
        Request { client, start: Instant::now(), held: client.quota.held(), waits, attempts: 0, garbled: 0 }
    }
}

impl<W: Iterator<Item = Duration>> Request<'_, W> {
    pub(super) fn count_attempt(&mut self) {
        self.attempts += 1;
        self.client.counters.requests.fetch_add(1, Ordering::Relaxed);
        self.client.counters.retries.fetch_add(u64::from(self.attempts > 1), Ordering::Relaxed);
    }

    pub(super) fn next_wait(&mut self) -> Duration {
        self.waits.next().unwrap_or(self.client.retry.longest_wait)
    }

    /// How long the pauses are that the server has asked for meanwhile.
    fn held(&self) -> Duration {
        self.client.quota.held().saturating_sub(self.held)
    }

    /// How long it has been tried by the end of `wait`, without the pauses that the server has asked for.
    fn own_time(&self, wait: Duration) -> Duration {
        (self.start.elapsed() + wait).saturating_sub(self.held())
    }

    /// Whether the run had gone without an answer for longer than it may when this request began.
    pub(super) fn is_hopeless(&self) -> bool {
        let outage = self.client.outage.before(self.start, self.client.quota.held());
        let policy = &self.client.retry;
        outage.is_some_and(|outage| {
            outage.is_given_up || outage.own > policy.budget || outage.held > policy.throttle_budget
        })
    }

    pub(super) fn longest_attempt(&self) -> Duration {
        if self.is_hopeless() {
            SHORTEST_ATTEMPT
        } else {
            self.client.retry.longest_attempt(self.own_time(Duration::ZERO))
        }
    }

    /// Whether to give up instead of waiting for `wait`.
    pub(super) fn is_spent(&self, wait: Duration) -> bool {
        let policy = &self.client.retry;
        let is_over = self.own_time(wait) > policy.budget && self.attempts >= policy.least_attempts;
        is_over || self.held() > policy.throttle_budget || self.is_hopeless()
    }

    pub(super) fn failed(&self, error: ApiError) -> ApiError {
        ApiError { attempts: self.attempts, elapsed: self.start.elapsed(), ..error }
    }
}
