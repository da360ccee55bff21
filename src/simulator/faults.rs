//! What goes wrong on purpose, and when.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A way for an answer to go wrong.
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
    /// 408.
    RequestTimeout,
    /// The connection closes before any answer.
    Reset,
    /// The connection closes in the middle of the body.
    CutBody,
    /// Half the body, then silence.
    StalledBody,
    /// 200 with JSON that breaks off.
    MalformedJson,
    /// 200 with an HTML page.
    Html,
    /// A page of at most 3 rows, whatever was asked for.
    ClampedPage,
    /// 200 with nothing in it.
    EmptyBody,
    /// 404 with Clerk's error body.
    NotFound,
    /// 403 in plain text, from a gateway.
    GatewayForbidden,
    /// 404 in plain text, from a gateway.
    GatewayNotFound,
}

impl FaultKind {
    /// Every kind that a client is to survive by asking again.
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

    /// The kinds that are final.
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
        kinds.find(|kind| kind.name() == text).ok_or_else(|| format!("no fault is called {text:?}"))
    }
}

/// What is answered to a cursor that is no row (any more); the contract does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UnknownCursor {
    /// 404.
    #[default]
    NotFound,
    /// 422.
    Unprocessable,
    /// 200 and an empty page: the trap.
    EmptyPage,
}

/// Which requests go wrong, and how.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Faults {
    /// Every n-th matching request goes wrong; 0 for none.
    pub every: u64,
    /// The kinds, taken in turn.
    pub kinds: Vec<FaultKind>,
    /// At most so many.
    pub limit: Option<u64>,
    /// Only requests whose path contains this.
    pub path: Option<String>,
    /// What is answered to a cursor that is no row.
    pub unknown_cursor: UnknownCursor,
    /// The user whom every n-th cursor names is deleted right before the answer; 0 for none.
    pub cursor_deleted_every: u64,
}

impl Faults {
    /// Every n-th request goes wrong in one of these ways.
    #[must_use]
    pub fn every(every: u64, kinds: impl Into<Vec<FaultKind>>) -> Self {
        Self { every, kinds: kinds.into(), ..Self::default() }
    }

    /// Every request goes wrong in this way.
    #[must_use]
    pub fn always(kind: FaultKind) -> Self {
        Self::every(1, [kind])
    }

    /// The same for requests whose path contains `path` only.
    #[must_use]
    pub fn on(self, path: &str) -> Self {
        Self { path: Some(path.to_owned()), ..self }
    }
}

/// Counts requests and says which go wrong.
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
    fn every_nth_request_fails_in_turn_up_to_the_limit() {
        let faults = Faults { limit: Some(3), ..Faults::every(2, [FaultKind::Reset, FaultKind::Html]) };
        let mut counter = FaultCounter::default();
        let got: Vec<_> = (0..10).filter_map(|_| counter.next(&faults, "/v1/users")).collect();
        assert_eq!(got, [FaultKind::Reset, FaultKind::Html, FaultKind::Reset]);
    }

    #[test]
    fn names_read_back() {
        for kind in FaultKind::ALL.into_iter().chain(FaultKind::FINAL) {
            assert_eq!(kind.to_string().parse::<FaultKind>(), Ok(kind));
        }
    }
}
