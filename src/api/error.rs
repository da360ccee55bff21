//! API errors: why a request failed, with everything that a user needs to act on it.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;

use super::secret::SecretKey;
use crate::error::{Error, ErrorKind};
use crate::network::{CERTIFICATE_HINT, has_proxy};

/// Why a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// 401: the key is not valid.
    Key,
    /// Clerk says that the feature is off in this instance. Only an error body from Clerk counts; a proxy's or
    /// gateway's does not.
    Absent,
    /// Clerk returned 404 for a path that every instance has: the key's instance cannot be found.
    Missing,
    /// Clerk denies this key access: any other 402, 403 or 404 from Clerk.
    Denied,
    /// Any other 4xx from Clerk: a parameter that it does not accept.
    Parameter,
    /// No complete response within the retry budget: connection failure, timeout, 408, 429 or 5xx.
    Unreachable,
    /// The server's certificate was refused.
    Certificate,
    /// A response that breaks the API contract, or that is not from Clerk but from a proxy or gateway.
    Malformed,
    /// The run was asked to stop.
    Interrupted,
}

/// A request that failed, either permanently or after its retry budget was spent.
#[derive(Clone, Debug)]
pub struct ApiError {
    /// What kind of failure it is.
    pub refusal: Refusal,
    /// The HTTP method.
    pub method: &'static str,
    /// The path, without its query.
    pub path: String,
    /// The HTTP status, if there was a response.
    pub status: Option<u16>,
    /// Clerk's error code.
    pub code: Option<String>,
    /// Clerk's long message, or a description of the network failure.
    pub message: String,
    /// Clerk's trace id, or else Cloudflare's ray id.
    pub trace_id: Option<String>,
    /// The number of attempts.
    pub attempts: u32,
    /// Time from the start of the first attempt to the end of the last.
    pub elapsed: Duration,
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: ", self.method, self.path)?;
        if let Some(status) = self.status {
            write!(f, "{status} ")?;
        }
        if let Some(code) = &self.code {
            write!(f, "{code} ")?;
        }
        write!(f, "{}", self.message)?;
        if let Some(trace_id) = &self.trace_id {
            write!(f, " (trace {trace_id})")?;
        }
        if self.attempts > 1 {
            write!(f, ", after {} attempts in {:.1} s", self.attempts, self.elapsed.as_secs_f64())?;
        }
        Ok(())
    }
}

impl std::error::Error for ApiError {}

impl ApiError {
    /// Returns whether Clerk itself refused the request, as opposed to a proxy or gateway in between.
    #[must_use]
    pub fn is_clerks(&self) -> bool {
        self.code.is_some()
    }
}

/// Paths that every instance has, so a 404 does not mean that a feature is off.
const ESSENTIAL: [&str; 3] = ["/users", "/users/count", "/instance"];

/// Classifies a response other than a 200. `code` is the code in Clerk's own error body; `None` for any other body.
pub(super) fn classify(path: &str, status: u16, code: Option<&str>) -> Refusal {
    let is_off = code.is_some_and(|code| code.contains("not_enabled") || code.starts_with("feature_"));
    let is_essential = ESSENTIAL.contains(&path);
    match (status, code) {
        (401, _) => Refusal::Key,
        (408 | 429 | 500..=599, _) => Refusal::Unreachable,
        (404, Some(_)) if is_essential => Refusal::Missing,
        (400 | 402..=404 | 422, Some(_)) if is_off && !is_essential => Refusal::Absent,
        (402, Some(_)) | (404, Some("resource_not_found")) if !is_essential => Refusal::Absent,
        (402..=404, Some(_)) => Refusal::Denied,
        (400..=499, Some(_)) => Refusal::Parameter,
        _ => Refusal::Malformed,
    }
}

impl From<ApiError> for Error {
    fn from(error: ApiError) -> Self {
        let (kind, hint) = match error.refusal {
            Refusal::Key => {
                (ErrorKind::KeyRefused, format!("Clerk refused the key; {}", super::secret::SecretKey::WHERE_FROM))
            }
            Refusal::Absent => (ErrorKind::Answer, "this key's instance does not have this feature".to_owned()),
            Refusal::Missing => (
                ErrorKind::Answer,
                "Clerk cannot find this key's instance: check that the instance still exists, and check --api-url"
                    .to_owned(),
            ),
            Refusal::Denied => (ErrorKind::Answer, "Clerk does not allow this key to read this path".to_owned()),
            Refusal::Parameter => {
                (ErrorKind::Answer, "Clerk does not accept this request; please report it with the trace id".to_owned())
            }
            Refusal::Unreachable if error.status.is_some() => (
                ErrorKind::Unreachable,
                "Clerk returned an error: run again later. No partial data was written".to_owned(),
            ),
            Refusal::Unreachable => (
                ErrorKind::Unreachable,
                format!("check the network{} and --api-url, then run again. No partial data was written", proxy_hint()),
            ),
            Refusal::Certificate => (ErrorKind::Settings, CERTIFICATE_HINT.to_owned()),
            Refusal::Interrupted => return Self::interrupted(),
            Refusal::Malformed => (
                ErrorKind::Answer,
                "is --api-url Clerk's Backend API? A proxy or gateway may have responded instead. Nothing from this \
                 response was written"
                    .to_owned(),
            ),
        };
        Self::new(kind, error.to_string()).with_hint(hint).with_source(error)
    }
}

/// Returns the words that name the proxy variables, if any is set.
fn proxy_hint() -> &'static str {
    if has_proxy() { ", the proxy (HTTPS_PROXY, ALL_PROXY, NO_PROXY)" } else { "" }
}

/// The contents of a Clerk error body.
#[derive(Debug, Default)]
pub(super) struct ClerkError {
    pub code: Option<String>,
    pub message: Option<String>,
    pub trace_id: Option<String>,
}

#[derive(Deserialize)]
struct ErrorBody {
    errors: Vec<BodyError>,
    clerk_trace_id: Option<String>,
}

#[derive(Deserialize)]
struct BodyError {
    code: Option<String>,
    message: Option<String>,
    long_message: Option<String>,
}

/// The most characters of server text that a message includes: enough to act on, never a whole body.
const LONGEST_TEXT: usize = 300;

impl ClerkError {
    /// Parses an error body. Every field is `None` unless the body is in Clerk's format: an object with a list of
    /// errors that have a code. The key is redacted before a text is shortened; otherwise a part of the key could
    /// remain.
    pub(super) fn read(body: &[u8], key: &SecretKey) -> Self {
        let shorten = |text: &str| shorten(&key.redact(text));
        let Ok(body) = serde_json::from_slice::<ErrorBody>(body) else { return Self::default() };
        let Some(first) = body.errors.into_iter().next() else { return Self::default() };
        let Some(code) = first.code.filter(|code| !code.is_empty()) else { return Self::default() };
        let message = first.long_message.filter(|text| !text.is_empty()).or(first.message);
        Self {
            code: Some(shorten(&code)),
            message: message.as_deref().map(&shorten),
            trace_id: body.clerk_trace_id.as_deref().map(&shorten),
        }
    }
}

fn shorten(text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    match text.char_indices().nth(LONGEST_TEXT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feature_is_off_only_if_clerk_says_so() {
        let off = "organization_not_enabled_in_instance";
        for (path, status, code, refusal) in [
            ("/organizations", 402, Some("subscription_required"), Refusal::Absent),
            ("/organizations", 400, Some(off), Refusal::Absent),
            ("/organizations", 403, Some(off), Refusal::Absent),
            ("/organizations", 422, Some("feature_not_available"), Refusal::Absent),
            ("/organizations", 404, Some("resource_not_found"), Refusal::Absent),
            ("/organizations", 404, Some("something_else"), Refusal::Denied),
            ("/organizations", 403, Some("authorization_invalid"), Refusal::Denied),
            ("/organizations", 422, Some("form_param_format_invalid"), Refusal::Parameter),
            ("/organizations", 400, Some("form_param_format_invalid"), Refusal::Parameter),
            ("/organizations", 402, None, Refusal::Malformed),
            ("/organizations", 403, None, Refusal::Malformed),
            ("/organizations", 404, None, Refusal::Malformed),
            ("/organizations", 422, None, Refusal::Malformed),
            ("/organizations", 302, None, Refusal::Malformed),
            ("/organizations", 503, Some(off), Refusal::Unreachable),
            ("/users", 404, Some("resource_not_found"), Refusal::Missing),
            ("/users/count", 404, Some(off), Refusal::Missing),
            ("/instance", 403, Some("authorization_invalid"), Refusal::Denied),
            ("/users", 403, Some(off), Refusal::Denied),
            ("/users", 422, Some("form_param_value_invalid"), Refusal::Parameter),
            ("/users", 401, None, Refusal::Key),
        ] {
            assert_eq!(classify(path, status, code), refusal, "{path} {status} {code:?}");
        }
    }

    #[test]
    fn only_an_error_body_in_clerks_format_has_a_code() {
        let key = SecretKey::new("sk_live_x").unwrap();
        let code = |body: &str| ClerkError::read(body.as_bytes(), &key).code;
        assert_eq!(code(r#"{"errors":[{"code":"a","message":"b"}]}"#).as_deref(), Some("a"));
        for body in [
            "",
            "RBAC: access denied",
            "{}",
            r#"{"message":"no Route matched with those values"}"#,
            r#"{"errors":[]}"#,
            r#"{"errors":[{"message":"b"}]}"#,
            r#"{"errors":[{"code":"","message":"b"}]}"#,
            r#"{"errors":"a"}"#,
            "<html></html>",
        ] {
            assert_eq!(code(body), None, "{body}");
        }
    }
}
