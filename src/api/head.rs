//! What can be said of a response before its body: its headers, and why there was none.

use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::header::{CONTENT_TYPE, DATE, HeaderMap, LOCATION, RETRY_AFTER};

use super::quota::Headers;
use super::retry::retry_after;

/// What the headers of a response say.
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
        let reset = text("x-ratelimit-reset").and_then(|reset| reset.parse::<i64>().ok());
        Self {
            is_html: text(CONTENT_TYPE.as_str()).is_some_and(|kind| kind.contains("html")),
            ray: text("cf-ray").map(str::to_owned),
            location: text(LOCATION.as_str()).map(str::to_owned),
            retry_after: text(RETRY_AFTER.as_str()).and_then(|value| retry_after(value, date)),
            quota: Headers {
                limit: text("x-ratelimit-limit").and_then(|limit| limit.parse().ok()),
                remaining: text("x-ratelimit-remaining").and_then(|remaining| remaining.parse().ok()),
                reset_in: reset
                    .zip(date)
                    .and_then(|(reset, date)| u64::try_from(reset - date.timestamp()).ok())
                    .map(Duration::from_secs),
            },
            date,
        }
    }
}

/// What went wrong on the way, in a line; the URL is left out, the path is said elsewhere.
pub(super) fn explain(error: &reqwest::Error) -> String {
    let mut causes = Vec::new();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        causes.push(error.to_string());
        cause = error.source();
    }
    let what = if error.is_timeout() {
        "no answer in time"
    } else if error.is_connect() {
        "cannot connect"
    } else if error.is_body() || error.is_decode() {
        "the answer broke off"
    } else {
        "the request failed"
    };
    causes.last().map_or_else(|| what.to_owned(), |cause| format!("{what} ({cause})"))
}
