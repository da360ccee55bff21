//! Response headers.

use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::header::{CONTENT_TYPE, DATE, HeaderMap, LOCATION, RETRY_AFTER};

use super::quota::Headers;
use super::retry::retry_after;

/// The response headers that the client uses.
pub(super) struct Head {
    pub is_html: bool,
    pub date: Option<DateTime<Utc>>,
    pub ray: Option<String>,
    pub location: Option<String>,
    pub retry_after: Option<Duration>,
    pub quota: Headers,
}

impl Head {
    pub(super) fn read(headers: &HeaderMap) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let date = text(DATE.as_str())
            .and_then(|date| DateTime::parse_from_rfc2822(date).ok())
            .map(|date| date.with_timezone(&Utc));
        Self {
            is_html: text(CONTENT_TYPE.as_str()).is_some_and(|kind| kind.contains("html")),
            ray: text("cf-ray").map(str::to_owned),
            location: text(LOCATION.as_str()).map(str::to_owned),
            retry_after: text(RETRY_AFTER.as_str()).and_then(|value| retry_after(value, date)),
            quota: Headers {
                limit: text("x-ratelimit-limit").and_then(|limit| limit.parse().ok()),
                remaining: text("x-ratelimit-remaining").and_then(|remaining| remaining.parse().ok()),
                reset_in: text("x-ratelimit-reset").and_then(|value| reset_in(value, date)),
            },
            date,
        }
    }
}

/// The latest plausible end of a rate-limit window, in seconds from now.
const FURTHEST_RESET: i64 = 60;

/// Parses `X-RateLimit-Reset`: Unix seconds, or seconds from now. Servers have been seen to send milliseconds, times in
/// the past and times hours away, so returns `None` unless the reset is at most a minute away.
fn reset_in(value: &str, server_now: Option<DateTime<Utc>>) -> Option<Duration> {
    let reset: i64 = value.trim().parse().ok()?;
    let is_near = |seconds: &i64| (0..=FURTHEST_RESET).contains(seconds);
    let absolute = || server_now.map(|now| reset.saturating_sub(now.timestamp()));
    let seconds = Some(reset).filter(is_near).or_else(absolute).filter(is_near)?;
    u64::try_from(seconds).ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_implausible_reset_is_ignored() {
        let now = DateTime::from_timestamp(1_790_000_000, 0);
        for (value, seconds) in [
            ("1790000007", Some(7)),
            ("1790000060", Some(60)),
            ("1790000000", Some(0)),
            ("12", Some(12)),
            ("1790000061", None),
            ("1789999940", None),
            ("1790000010000", None),
            ("10000", None),
            ("-5", None),
            ("9223372036854775807", None),
            ("-9223372036854775808", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(reset_in(value, now), seconds.map(Duration::from_secs), "{value}");
        }
        assert_eq!(reset_in("1790000007", None), None);
    }
}
