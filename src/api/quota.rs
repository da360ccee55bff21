//! The request budget: how fast this program may ask, given that the instance's budget is shared with the
//! customer's own production traffic.
//!
//! The pace is even (GCRA, by `governor`) with a small burst; whoever is told to wait (`429`,
//! `X-RateLimit-Remaining: 0`) makes every lane wait. A `429` also means that others live on the same budget: the
//! pace is lowered, and grows back window by window. It does not retry and knows nothing of requests.

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use governor::DefaultDirectRateLimiter;
use tokio::time::Instant;

use super::secret::KeyKind;

/// The length of Clerk's rate-limit window.
pub const WINDOW: Duration = Duration::from_secs(10);

/// The longest wait that a server's header can impose at once.
const LONGEST_PAUSE: Duration = Duration::from_mins(5);

/// Of the allowed requests so many go out evenly, and so many at once after a pause. Together they leave room for
/// answers that take unlike long to ask for: what left in ten seconds may arrive in less.
const EVEN: f64 = 0.99;
const AT_ONCE: f64 = 0.005;

/// What a `429` leaves of the pace, what every window after it gives back, and the least that stays.
const AFTER_A_REFUSAL: f64 = 0.8;
const BACK_PER_WINDOW: f64 = 0.1;
const LEAST: f64 = 0.1;

/// How many requests the instance allows in ten seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateLimit {
    /// By kind of key, and by the server's `X-RateLimit-Limit` once it says so.
    Automatic,
    /// This many, whatever the server's headers say.
    Fixed(NonZeroU32),
    /// No pace of our own: only `429` slows this program down.
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

/// What a response's `X-RateLimit-*` headers said.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Headers {
    pub limit: Option<u32>,
    pub remaining: Option<u32>,
    /// How long until the window ends, by the server's own clock.
    pub reset_in: Option<Duration>,
}

struct State {
    limit: u32,
    /// What is left of the share, 0 to 1, after refusals.
    part: f64,
    /// When that was last changed.
    changed: Instant,
    granted: u64,
    limiter: Option<Arc<DefaultDirectRateLimiter>>,
    paused_until: Option<Instant>,
    /// How long all pauses are together, the one that is not over yet included.
    held: Duration,
}

impl State {
    /// Changes what is left of the share.
    fn set_part(&mut self, part: f64, share: f64) {
        self.part = part;
        self.changed = Instant::now();
        if self.limiter.is_some() {
            self.limiter = Some(limiter(self.limit, share * part));
        }
    }
}

/// The pace that all requests of a run share. Cheap to clone.
#[derive(Clone)]
pub struct Quota {
    state: Arc<Mutex<State>>,
    share: f64,
    rate_limit: RateLimit,
}

impl Quota {
    /// A pace that takes `share` (over 0, up to 1) of what `rate_limit` and `key` allow.
    #[must_use]
    pub fn new(rate_limit: RateLimit, key: KeyKind, share: f64) -> Self {
        let limit = match (rate_limit, key) {
            (RateLimit::Fixed(limit), _) => limit.get(),
            (_, KeyKind::Live) => 1000,
            (_, KeyKind::Test) => 100,
        };
        let limiter = (rate_limit != RateLimit::Unlimited).then(|| limiter(limit, share));
        Self {
            state: Arc::new(Mutex::new(State {
                limit,
                part: 1.0,
                changed: Instant::now(),
                granted: 0,
                limiter,
                paused_until: None,
                held: Duration::ZERO,
            })),
            share,
            rate_limit,
        }
    }

    /// Returns the requests per second that this pace allows, or `None` if it is unlimited.
    #[must_use]
    pub fn requests_per_second(&self) -> Option<f64> {
        let state = self.lock();
        state.limiter.as_ref().map(|_| f64::from(state.limit) * self.share * state.part / WINDOW.as_secs_f64())
    }

    /// How many requests have been let through so far.
    #[must_use]
    pub fn granted(&self) -> u64 {
        self.lock().granted
    }

    /// For how long the server has had every request wait so far.
    pub(super) fn held(&self) -> Duration {
        self.lock().held
    }

    /// Waits until one more request may be sent. Safe to cancel: a cancelled wait spends nothing.
    pub async fn acquire(&self) {
        loop {
            let (paused_until, limiter) = {
                let mut state = self.lock();
                if state.part < 1.0 && state.changed.elapsed() >= WINDOW {
                    let part = (state.part + BACK_PER_WINDOW).min(1.0);
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

    /// Takes in a `429` after which every request waits for `wait`: all go slower from then on. The refusals of one
    /// window are one: they are those of requests that were on their way together.
    pub(super) fn refused(&self, wait: Duration) {
        let mut state = self.lock();
        let first = state.part >= 1.0 || state.changed.elapsed() >= wait.max(WINDOW / 2);
        if first {
            let part = (state.part * AFTER_A_REFUSAL).max(LEAST);
            state.set_part(part, self.share);
        }
    }

    /// Makes every request wait for `wait`: the server said so.
    pub(super) fn pause(&self, wait: Duration) {
        let until = Instant::now() + wait.min(LONGEST_PAUSE);
        let mut state = self.lock();
        let held_until = state.paused_until.map_or(Instant::now(), |paused| paused.max(Instant::now()));
        if held_until < until {
            state.held += until - held_until;
            state.paused_until = Some(until);
        }
    }

    /// Takes in what a response said of the budget: its size, and how much of it is left for everybody. Returns for
    /// how long every request waits now, if too little is left.
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

    /// What is never taken of a window, so that the instance's own traffic finds something left: a fifth of
    /// the share that is not ours.
    fn reserve(&self, limit: u32) -> f64 {
        (1.0 - self.share) * f64::from(limit) / 5.0
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A limiter whose requests in any window, burst included, stay within `share` of `limit`.
fn limiter(limit: u32, share: f64) -> Arc<DefaultDirectRateLimiter> {
    let (burst, per_second) = pace(limit, share);
    let quota = governor::Quota::with_period(Duration::from_secs_f64(1.0 / per_second))
        .unwrap_or(governor::Quota::per_second(NonZeroU32::MIN))
        .allow_burst(burst);
    Arc::new(DefaultDirectRateLimiter::direct(quota))
}

/// How many requests may go out at once after a pause, and how many per second.
fn pace(limit: u32, share: f64) -> (NonZeroU32, f64) {
    let allowed = (f64::from(limit) * share).max(1.0);
    let burst = (allowed * AT_ONCE).ceil();
    let per_window = (allowed * EVEN).min((allowed - burst).max(0.5));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small positive number")]
    let burst = NonZeroU32::new(burst as u32).unwrap_or(NonZeroU32::MIN);
    (burst, per_window / WINDOW.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_pause_holds_every_request() {
        let quota = Quota::new(RateLimit::Unlimited, KeyKind::Live, 0.5);
        quota.pause(Duration::from_millis(30));
        let start = Instant::now();
        quota.acquire().await;
        assert!(start.elapsed() >= Duration::from_millis(30));
    }

    #[test]
    fn the_server_s_limit_replaces_the_guess_by_key() {
        let quota = Quota::new(RateLimit::Automatic, KeyKind::Test, 0.5);
        quota.observe(Headers { limit: Some(4000), ..Headers::default() });
        assert_eq!(quota.requests_per_second(), Some(200.0));
        let fixed = Quota::new(RateLimit::Fixed(NonZeroU32::MIN), KeyKind::Test, 1.0);
        fixed.observe(Headers { limit: Some(4000), ..Headers::default() });
        assert_eq!(fixed.requests_per_second(), Some(0.1));
    }

    #[tokio::test]
    async fn a_refusal_slows_the_pace_once_and_it_grows_back() {
        let quota = Quota::new(RateLimit::Automatic, KeyKind::Live, 1.0);
        let pace = || (quota.requests_per_second().unwrap() * 10.0).round();
        for _ in 0..5 {
            quota.refused(Duration::ZERO);
        }
        let is = |expected: f64| (pace() - 10.0 * expected).abs() < 1.0;
        assert!(is(80.0), "five refusals of one window: {}", pace());
        for expected in [90.0, 100.0, 100.0] {
            quota.lock().changed -= WINDOW;
            quota.acquire().await;
            assert!(is(expected), "{expected}: {}", pace());
        }
    }

    #[test]
    fn a_long_run_takes_almost_all_of_its_share_and_never_more() {
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
    fn the_pace_and_its_burst_stay_within_the_share() {
        for limit in [1, 7, 100, 1000, 5000] {
            for share in [0.1, 0.5, 1.0] {
                let quota = limiter(limit, share);
                let burst: f64 = (0..limit * 2).take_while(|_| quota.check().is_ok()).map(|_| 1.0).sum();
                assert!(burst <= (f64::from(limit) * share * AT_ONCE).ceil().max(1.0) + 1.0, "{limit} {share}");
            }
        }
    }
}
