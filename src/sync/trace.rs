//! The trace that a failed run leaves in the lake, for `status`.

use chrono::{DateTime, Utc};

use super::summary::{ResourceSummary, Summary};
use crate::api::ApiError;
use crate::error::{Error, ErrorKind};
use crate::lake::{FailedResource, FailedRun};

/// The most characters of an error that are kept.
const LONGEST_ERROR: usize = 300;

/// Returns the record of a run with this summary; `None` if nothing failed.
///
/// There is no record of a run that the lake or its settings refused at the start: it must not write to that lake.
pub(super) fn of_run(summary: &Summary, started_at: DateTime<Utc>, finished_at: DateTime<Utc>) -> Option<FailedRun> {
    let failures: Vec<_> = summary.resources.iter().filter_map(of_resource).collect();
    let was_refused = !summary.began && summary.worst().is_some_and(|error| error.kind() == ErrorKind::Settings);
    (!failures.is_empty() && !was_refused).then_some(FailedRun { started_at, finished_at, failures })
}

fn of_resource(summary: &ResourceSummary) -> Option<FailedResource> {
    let error = without_data(summary.failure.as_ref()?);
    Some(FailedResource { resource: summary.name.clone(), error })
}

/// Returns the message of `error` without what may be data of users: the text that Clerk sent, quoted values, and email
/// addresses.
fn without_data(error: &Error) -> String {
    let of_clerk = std::error::Error::source(error).and_then(<dyn std::error::Error>::downcast_ref::<ApiError>);
    let message = match of_clerk {
        Some(ApiError { method, path, status: Some(status), code, .. }) => {
            let code = code.as_deref().map(|code| format!(" {code}")).unwrap_or_default();
            format!("{method} {path}: {status}{code}")
        }
        _ => error.message().to_owned(),
    };
    let is_quoted = |at: usize| at % 2 == 1;
    let parts: Vec<_> =
        message.split('"').enumerate().map(|(at, part)| if is_quoted(at) { "…" } else { part }).collect();
    let words = parts.join("\"");
    let words = words.split(' ').map(|word| if word.contains('@') { "…" } else { word });
    words.collect::<Vec<_>>().join(" ").chars().take(LONGEST_ERROR).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_left_out_of_a_trace() {
        let error =
            Error::answer("row \"user_1\": invalid type \"ada@example.com\", expected a number, of ada@example.com");
        assert_eq!(without_data(&error), "row \"…\": invalid type \"…\", expected a number, of …");
        let unclosed = Error::answer("bad value \"secret");
        assert_eq!(without_data(&unclosed), "bad value \"…");
        assert_eq!(without_data(&Error::answer("x".repeat(1000))).len(), LONGEST_ERROR);
    }
}
