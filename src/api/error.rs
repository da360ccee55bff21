//! What Clerk answered instead of what was asked for, with all that a person needs to act on it.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;

use super::secret::SecretKey;
use crate::error::{Error, ErrorKind};

/// Why a request came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// 401: the key is not valid.
    Key,
    /// 402, 403 or 404: this instance does not have what was asked for.
    Absent,
    /// Any other 4xx: a parameter that Clerk does not accept.
    Parameter,
    /// No complete answer within the retry budget: connection, timeout, 408, 429 or 5xx.
    Unreachable,
    /// An answer that is not what the contract says.
    Malformed,
    /// The run was told to stop.
    Interrupted,
}

/// A request that failed: once for all, or past its retry budget.
#[derive(Clone, Debug)]
pub struct ApiError {
    /// What sort of failure it is.
    pub refusal: Refusal,
    /// The HTTP method.
    pub method: &'static str,
    /// The path, without its query.
    pub path: String,
    /// The HTTP status, where there was an answer.
    pub status: Option<u16>,
    /// Clerk's error code.
    pub code: Option<String>,
    /// Clerk's long message, or what failed on the way.
    pub message: String,
    /// Clerk's trace id, or Cloudflare's ray.
    pub trace_id: Option<String>,
    /// How often it was tried.
    pub attempts: u32,
    /// From the first attempt's start to the last one's end.
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

impl From<ApiError> for Error {
    fn from(error: ApiError) -> Self {
        let (kind, hint) = match error.refusal {
            Refusal::Key => (ErrorKind::KeyRefused, format!("Clerk refused the key; {}", super::secret::WHERE_FROM)),
            Refusal::Absent => {
                (ErrorKind::Answer, "check --api-url, and that this key's instance has this feature".to_owned())
            }
            Refusal::Parameter => {
                (ErrorKind::Answer, "Clerk does not accept this request; please report it with the trace id".to_owned())
            }
            Refusal::Unreachable if error.status.is_some() => (
                ErrorKind::Unreachable,
                "Clerk answers, but not with what was asked for: run again later; nothing half-done was written"
                    .to_owned(),
            ),
            Refusal::Unreachable => (
                ErrorKind::Unreachable,
                "check the network and --api-url, then run again: nothing half-done was written".to_owned(),
            ),
            Refusal::Interrupted => return Self::interrupted(),
            Refusal::Malformed => {
                (ErrorKind::Answer, "is --api-url Clerk's Backend API? Nothing was written from this answer".to_owned())
            }
        };
        Self::new(kind, error.to_string()).with_hint(hint).with_source(error)
    }
}

/// What Clerk says of an error, taken from its body.
#[derive(Debug, Default)]
pub(super) struct Complaint {
    pub code: Option<String>,
    pub message: Option<String>,
    pub trace_id: Option<String>,
}

#[derive(Deserialize)]
struct Body {
    errors: Vec<BodyError>,
    clerk_trace_id: Option<String>,
}

#[derive(Deserialize)]
struct BodyError {
    code: Option<String>,
    message: Option<String>,
    long_message: Option<String>,
}

/// How much of a server's text may reach a message: enough to act on, never a whole body.
const LONGEST_TEXT: usize = 300;

impl Complaint {
    /// Reads an error body; one that is not Clerk's gives nothing. The key is blacked out before a text is cut,
    /// or half of it could stay.
    pub(super) fn read(body: &[u8], key: &SecretKey) -> Self {
        let shorten = |text: &str| shorten(&key.redact(text));
        let Ok(body) = serde_json::from_slice::<Body>(body) else { return Self::default() };
        let mut complaint = Self { trace_id: body.clerk_trace_id.as_deref().map(&shorten), ..Self::default() };
        if let Some(first) = body.errors.into_iter().next() {
            complaint.code = first.code.as_deref().map(&shorten);
            let message = first.long_message.filter(|text| !text.is_empty()).or(first.message);
            complaint.message = message.as_deref().map(&shorten);
        }
        complaint
    }
}

fn shorten(text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    match text.char_indices().nth(LONGEST_TEXT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
