//! Injected faults: their kinds, and the requests that they affect.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultKind {
    /// 500 with Clerk's error body.
    ServerError,
    /// 502 with a gateway's HTML page.
    BadGatewayHtml,
    /// 503 with `Retry-After: 1`.
    Unavailable,
    /// 429 with `Retry-After: 1`.
    TooManyRequests,
    /// 408 with Clerk's error body.
    RequestTimeout,
    /// The connection closes before the response.
    Reset,
    /// The connection closes in the middle of the body.
    CutBody,
    /// The first half of the body, and then nothing more.
    StalledBody,
    /// 200 with truncated JSON.
    MalformedJson,
    /// 200 with an HTML page.
    Html,
    /// A page of at most 3 rows, whatever the requested limit.
    ClampedPage,
    /// 200 with an empty body.
    EmptyBody,
    /// 404 with Clerk's error body.
    NotFound,
    /// 403 in plain text, from a gateway.
    GatewayForbidden,
    /// 404 in plain text, from a gateway.
    GatewayNotFound,
}

impl FaultKind {
    /// The kinds that a client must survive by retrying.
    pub const ALL: [Self; 12] = [
        Self::ServerError,
        Self::BadGatewayHtml,
        Self::Unavailable,
        Self::TooManyRequests,
        Self::RequestTimeout,
        Self::Reset,
        Self::CutBody,
        Self::StalledBody,
        Self::MalformedJson,
        Self::Html,
        Self::ClampedPage,
        Self::EmptyBody,
    ];

    /// The kinds that a client must not retry.
    pub const FINAL: [Self; 3] = [Self::NotFound, Self::GatewayForbidden, Self::GatewayNotFound];

    const fn name(self) -> &'static str {
        match self {
            Self::ServerError => "server-error",
            Self::BadGatewayHtml => "bad-gateway-html",
            Self::Unavailable => "unavailable",
            Self::TooManyRequests => "too-many-requests",
            Self::RequestTimeout => "request-timeout",
            Self::Reset => "reset",
            Self::CutBody => "cut-body",
            Self::StalledBody => "stalled-body",
            Self::MalformedJson => "malformed-json",
            Self::Html => "html",
            Self::ClampedPage => "clamped-page",
            Self::EmptyBody => "empty-body",
            Self::NotFound => "not-found",
            Self::GatewayForbidden => "gateway-forbidden",
            Self::GatewayNotFound => "gateway-not-found",
        }
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for FaultKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut kinds = Self::ALL.into_iter().chain(Self::FINAL);
        kinds.find(|kind| kind.name() == text).ok_or_else(|| format!("unknown fault kind {text:?}"))
    }
}

/// The response to a cursor that is not a user, or no longer one. The API contract does not specify it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UnknownCursor {
    /// 404.
    #[default]
    NotFound,
    /// 422.
    Unprocessable,
    /// 200 with an empty page, which looks like the end of the list.
    EmptyPage,
}

/// Fault settings: which requests fail, and how.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Faults {
    /// Every n-th matching request fails; 0 for none.
    pub every: u64,
    /// The kinds of faults, used in turn.
    pub kinds: Vec<FaultKind>,
    /// Maximum number of faults; `None` for no maximum.
    pub limit: Option<u64>,
    /// Only requests whose path contains this text match; `None` for all requests.
    pub path: Option<String>,
    /// Response to a cursor that is not a user.
    pub unknown_cursor: UnknownCursor,
    /// For every n-th request with a cursor, the user that it points to is deleted before the response; 0 for none.
    pub cursor_deleted_every: u64,
}

impl Faults {
    /// Creates settings by which every n-th request fails with one of these kinds, in turn.
    #[must_use]
    pub fn every(every: u64, kinds: impl Into<Vec<FaultKind>>) -> Self {
        Self { every, kinds: kinds.into(), ..Self::default() }
    }

    /// Creates settings by which every request fails with this kind.
    #[must_use]
    pub fn always(kind: FaultKind) -> Self {
        Self::every(1, [kind])
    }

    /// Restricts the faults to requests whose path contains `path`.
    #[must_use]
    pub fn on(self, path: &str) -> Self {
        Self { path: Some(path.to_owned()), ..self }
    }
}

/// Counts requests and decides which ones fail.
#[derive(Debug, Default)]
pub(super) struct FaultCounter {
    matching: u64,
    injected: u64,
}

impl FaultCounter {
    pub(super) fn next(&mut self, faults: &Faults, path: &str) -> Option<FaultKind> {
        if faults.every == 0 || faults.kinds.is_empty() || faults.path.as_ref().is_some_and(|part| !path.contains(part))
        {
            return None;
        }
        self.matching += 1;
        if !self.matching.is_multiple_of(faults.every) || faults.limit.is_some_and(|limit| self.injected >= limit) {
            return None;
        }
        let kinds = faults.kinds.len() as u64;
        let at = usize::try_from(self.injected % kinds).unwrap_or(0);
        self.injected += 1;
        faults.kinds.get(at).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_nth_request_fails_with_the_next_kind_up_to_the_limit() {
        let faults = Faults { limit: Some(3), ..Faults::every(2, [FaultKind::Reset, FaultKind::Html]) };
        let mut counter = FaultCounter::default();
        let got: Vec<_> = (0..10).filter_map(|_| counter.next(&faults, "/v1/users")).collect();
        assert_eq!(got, [FaultKind::Reset, FaultKind::Html, FaultKind::Reset]);
    }

    #[test]
    fn displayed_names_parse_back() {
        for kind in FaultKind::ALL.into_iter().chain(FaultKind::FINAL) {
            assert_eq!(kind.to_string().parse::<FaultKind>(), Ok(kind));
        }
    }
}
