//! A fixed-window rate limit, like Clerk's.

use std::time::{Duration, Instant};

/// A number of requests per window. Requests beyond it get status 429.
#[derive(Clone, Copy, Debug)]
pub struct RequestLimit {
    /// Number of requests allowed per window.
    pub requests: u32,
    /// Length of the window.
    pub window: Duration,
    /// Whether responses have the headers `X-RequestLimit-Limit`, `-Remaining` and `-Reset`.
    pub headers: bool,
}

/// The rate limit's decision about one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub allowed: bool,
    pub remaining: u32,
    pub until_reset: Duration,
}

#[derive(Debug, Default)]
pub(super) struct Window {
    began: Option<Instant>,
    used: u32,
}

impl Window {
    pub(super) fn admit(&mut self, limit: RequestLimit, now: Instant) -> Verdict {
        let began = if let Some(began) = self.began.filter(|began| now.duration_since(*began) < limit.window) {
            began
        } else {
            self.used = 0;
            *self.began.insert(now)
        };
        let allowed = self.used < limit.requests;
        self.used += u32::from(allowed);
        Verdict {
            allowed,
            remaining: limit.requests - self.used,
            until_reset: limit.window.saturating_sub(now.duration_since(began)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_admits_requests_up_to_the_limit_and_then_resets() {
        let limit = RequestLimit { requests: 2, window: Duration::from_secs(10), headers: false };
        let (mut window, start) = (Window::default(), Instant::now());
        assert!(window.admit(limit, start).allowed);
        assert!(window.admit(limit, start).allowed);
        let refused = window.admit(limit, start + Duration::from_secs(4));
        assert_eq!(refused, Verdict { allowed: false, remaining: 0, until_reset: Duration::from_secs(6) });
        assert!(window.admit(limit, start + Duration::from_secs(10)).allowed);
    }
}
