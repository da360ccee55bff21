//! The request budget: limits the request rate of this program, because the instance's budget is shared with the
//! customer's own production traffic.
//!
//! Requests are paced evenly (GCRA, by `governor`) with a small burst. If the server asks for a pause (`429`,
//! `X-RateLimit-Remaining: 0`), every lane waits. A `429` also means that others use the same budget, so the rate is
//! lowered and recovers window by window. This module does not retry and knows nothing about the requests themselves.

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use governor::DefaultDirectRateLimiter;
use tokio::time::Instant;

use super::secret::KeyKind;

/// The length of Clerk's rate-limit window.
pub const WINDOW: Duration = Duration::from_secs(10);

/// The longest pause that one response header can impose.
const LONGEST_PAUSE: Duration = Duration::from_mins(5);

/// The parts of the allowed requests that are sent at a steady rate and in a burst after a pause. Together they are
/// less than 1, because network latency varies: requests sent within ten seconds may arrive within less.
const STEADY_PART: f64 = 0.99;
const BURST_PART: f64 = 0.005;

/// How the rate reacts to a `429`. The `429` multiplies the rate by the first value, every window after it adds the
/// second, and the rate never falls below the third. The last two are parts of the quota share.
const THROTTLE_FACTOR: f64 = 0.8;
const RECOVERY_PER_WINDOW: f64 = 0.1;
const LOWEST_PART: f64 = 0.1;

/// The number of requests that the instance allows per ten seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateLimit {
    /// Determined by the kind of key, then by the server's `X-RateLimit-Limit` once a response has it.
    Automatic,
    /// This number, regardless of the server's headers.
    Fixed(NonZeroU32),
    /// No limit in this program: only a `429` slows it down.
    Unlimited,
}

impl std::str::FromStr for RateLimit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Self::Automatic),
            "off" => Ok(Self::Unlimited),
            number => number.parse().map(Self::Fixed).map_err(|_| {
                "expected auto, off, or the number of requests per 10 s that the instance allows".to_owned()
            }),
        }
    }
}

/// The `X-RateLimit-*` headers of a response.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Headers {
    pub limit: Option<u32>,
    pub remaining: Option<u32>,
    /// The time until the window ends, by the server's clock.
    pub reset_in: Option<Duration>,
}

struct QuotaState {
    limit: u32,
    /// The part of the quota share in use, over 0 to 1. Less than 1 after a `429`.
    part: f64,
    /// When `part` last changed.
    changed: Instant,
    granted: u64,
    limiter: Option<Arc<DefaultDirectRateLimiter>>,
    paused_until: Option<Instant>,
    /// Total length of all pauses, including the rest of the current one.
    paused_total: Duration,
}

impl QuotaState {
    /// Sets the part of the quota share in use.
    fn set_part(&mut self, part: f64, share: f64) {
        self.part = part;
        self.changed = Instant::now();
        if self.limiter.is_some() {
            self.limiter = Some(limiter(self.limit, share * part));
        }
    }
}

/// The request budget that all requests of a run share. Cheap to clone.
#[derive(Clone)]
pub struct Quota {
    state: Arc<Mutex<QuotaState>>,
    share: f64,
    rate_limit: RateLimit,
}

impl Quota {
    /// Creates a budget of `share` (more than 0, at most 1) of what `rate_limit` and `key` allow.
    #[must_use]
    pub fn new(rate_limit: RateLimit, key: KeyKind, share: f64) -> Self {
        let limit = match (rate_limit, key) {
            (RateLimit::Fixed(limit), _) => limit.get(),
            (_, KeyKind::Live) => 1000,
            (_, KeyKind::Test) => 100,
        };
        let limiter = (rate_limit != RateLimit::Unlimited).then(|| limiter(limit, share));
        Self {
            state: Arc::new(Mutex::new(QuotaState {
                limit,
                part: 1.0,
                changed: Instant::now(),
                granted: 0,
                limiter,
                paused_until: None,
                paused_total: Duration::ZERO,
            })),
            share,
            rate_limit,
        }
    }

    /// Returns the allowed requests per second; `None` if unlimited.
    #[must_use]
    pub fn requests_per_second(&self) -> Option<f64> {
        let state = self.lock();
        state.limiter.as_ref().map(|_| f64::from(state.limit) * self.share * state.part / WINDOW.as_secs_f64())
    }

    /// Returns the number of requests let through so far.
    #[must_use]
    pub fn granted(&self) -> u64 {
        self.lock().granted
    }

    /// Returns the total length of all server-imposed pauses so far, including the rest of the current one.
    pub(super) fn paused_total(&self) -> Duration {
        self.lock().paused_total
    }

    /// Waits until one more request may be sent. Safe to cancel: a cancelled wait spends nothing.
    pub async fn acquire(&self) {
        loop {
            let (paused_until, limiter) = {
                let mut state = self.lock();
                if state.part < 1.0 && state.changed.elapsed() >= WINDOW {
                    let part = (state.part + RECOVERY_PER_WINDOW).min(1.0);
                    state.set_part(part, self.share);
                }
                (state.paused_until, state.limiter.clone())
            };
            if let Some(until) = paused_until
                && until > Instant::now()
            {
                tokio::time::sleep_until(until).await;
                continue;
            }
            if let Some(limiter) = limiter {
                limiter.until_ready().await;
            }
            let mut state = self.lock();
            if state.paused_until.is_none_or(|until| until <= Instant::now()) {
                state.granted += 1;
                return;
            }
        }
    }

    /// Lowers the rate after a `429` that makes every request wait for `wait`. Several `429`s in one window count as
    /// one, because those requests were in flight together.
    pub(super) fn throttle(&self, wait: Duration) {
        let mut state = self.lock();
        let is_first = state.part >= 1.0 || state.changed.elapsed() >= wait.max(WINDOW / 2);
        if is_first {
            let part = (state.part * THROTTLE_FACTOR).max(LOWEST_PART);
            state.set_part(part, self.share);
        }
    }

    /// Makes every request wait for `wait`, because the server asked for it.
    pub(super) fn pause(&self, wait: Duration) {
        let until = Instant::now() + wait.min(LONGEST_PAUSE);
        let mut state = self.lock();
        let paused_until = state.paused_until.map_or(Instant::now(), |paused| paused.max(Instant::now()));
        if paused_until < until {
            state.paused_total += until - paused_until;
            state.paused_until = Some(until);
        }
    }

    /// Records a response's rate-limit headers: the size of the budget, and how much of it is left for all clients of
    /// the instance. If too little is left, every request waits until the window ends; returns the length of this wait.
    pub(super) fn observe(&self, headers: Headers) -> Option<Duration> {
        if self.rate_limit == RateLimit::Unlimited {
            return None;
        }
        let limit = headers.limit.filter(|limit| *limit > 0)?;
        if self.rate_limit == RateLimit::Automatic {
            let mut state = self.lock();
            if state.limit != limit {
                state.limit = limit;
                state.limiter = Some(limiter(limit, self.share * state.part));
            }
        }
        if let (Some(remaining), Some(wait)) = (headers.remaining, headers.reset_in)
            && f64::from(remaining) <= self.reserve(limit)
        {
            self.pause(wait);
            return Some(wait);
        }
        None
    }

    /// Returns the number of requests per window that this program leaves for the instance's own traffic: a fifth of
    /// the share that is not ours.
    fn reserve(&self, limit: u32) -> f64 {
        (1.0 - self.share) * f64::from(limit) / 5.0
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, QuotaState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns a limiter that keeps the requests of any window, burst included, within `share` of `limit`.
fn limiter(limit: u32, share: f64) -> Arc<DefaultDirectRateLimiter> {
    let (burst, per_second) = pace(limit, share);
    let quota = governor::Quota::with_period(Duration::from_secs_f64(1.0 / per_second))
        .unwrap_or(governor::Quota::per_second(NonZeroU32::MIN))
        .allow_burst(burst);
    Arc::new(DefaultDirectRateLimiter::direct(quota))
}

/// Returns the burst size after a pause, and the requests per second.
fn pace(limit: u32, share: f64) -> (NonZeroU32, f64) {
    let allowed = (f64::from(limit) * share).max(1.0);
    let burst = (allowed * BURST_PART).ceil();
    let per_window = (allowed * STEADY_PART).min((allowed - burst).max(0.5));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small positive number")]
    let burst = NonZeroU32::new(burst as u32).unwrap_or(NonZeroU32::MIN);
    (burst, per_window / WINDOW.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_pause_delays_every_request() {
        let quota = Quota::new(RateLimit::Unlimited, KeyKind::Live, 0.5);
        quota.pause(Duration::from_millis(30));
        let start = Instant::now();
        quota.acquire().await;
        assert!(start.elapsed() >= Duration::from_millis(30));
    }

    #[test]
    fn the_limit_in_the_header_replaces_the_default_for_the_key() {
        let quota = Quota::new(RateLimit::Automatic, KeyKind::Test, 0.5);
        quota.observe(Headers { limit: Some(4000), ..Headers::default() });
        assert_eq!(quota.requests_per_second(), Some(200.0));
        let fixed = Quota::new(RateLimit::Fixed(NonZeroU32::MIN), KeyKind::Test, 1.0);
        fixed.observe(Headers { limit: Some(4000), ..Headers::default() });
        assert_eq!(fixed.requests_per_second(), Some(0.1));
    }

    #[tokio::test]
    async fn a_429_lowers_the_rate_once_and_the_rate_recovers() {
        let quota = Quota::new(RateLimit::Automatic, KeyKind::Live, 1.0);
        let pace = || (quota.requests_per_second().unwrap() * 10.0).round();
        for _ in 0..5 {
            quota.throttle(Duration::ZERO);
        }
        let is = |expected: f64| (pace() - 10.0 * expected).abs() < 1.0;
        assert!(is(80.0), "five 429s in one window: {}", pace());
        for expected in [90.0, 100.0, 100.0] {
            quota.lock().changed -= WINDOW;
            quota.acquire().await;
            assert!(is(expected), "{expected}: {}", pace());
        }
    }

    #[test]
    fn a_long_run_uses_almost_all_of_its_share_and_never_more() {
        for limit in [100, 1000, 5000] {
            for share in [0.5, 1.0] {
                let (burst, per_second) = pace(limit, share);
                let (allowed, per_window) = (f64::from(limit) * share, per_second * WINDOW.as_secs_f64());
                assert!(per_window >= 0.97 * allowed, "{limit} {share}: {per_window}");
                assert!(per_window + f64::from(burst.get()) <= allowed, "{limit} {share}: {per_window} {burst}");
            }
        }
    }

    #[test]
    fn the_burst_stays_within_the_share() {
        for limit in [1, 7, 100, 1000, 5000] {
            for share in [0.1, 0.5, 1.0] {
                let quota = limiter(limit, share);
                let burst: f64 = (0..limit * 2).take_while(|_| quota.check().is_ok()).map(|_| 1.0).sum();
                assert!(burst <= (f64::from(limit) * share * BURST_PART).ceil().max(1.0) + 1.0, "{limit} {share}");
            }
        }
    }
}
