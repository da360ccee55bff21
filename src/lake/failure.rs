//! Converts failures of a store to errors with a kind and a hint for the user.
//!
//! delta-rs, Parquet and DataFusion pass the store's errors on as text, so they are classified by their text.

use std::borrow::Cow;

use super::bucket::CREDENTIALS_HINT;
use crate::error::{Error, ErrorKind, chain};
use crate::network::certificate_problem;

/// A failure that is recognized by its text.
struct KnownFailure {
    /// Lower-case texts. The failure matches if it contains any of them.
    patterns: &'static [&'static str],
    kind: ErrorKind,
    /// The message that replaces the store's text, if it is clearer.
    message: Option<&'static str>,
    hint: &'static str,
}

/// First match wins.
const KNOWN_FAILURES: [KnownFailure; 7] = [
    KnownFailure {
        patterns: &["no space left", "storage full", "quota exceeded", "file too large"],
        kind: ErrorKind::Unreachable,
        message: None,
        hint: "free space in the store, then run again: no partial data was written",
    },
    KnownFailure {
        patterns: &["nosuchbucket"],
        kind: ErrorKind::Settings,
        message: Some("the bucket does not exist"),
        hint: "check the bucket in --lake, and AWS_REGION and AWS_ENDPOINT_URL",
    },
    KnownFailure {
        patterns: &["requesttimetooskewed"],
        kind: ErrorKind::Settings,
        message: Some("this machine's clock differs too much from the store's (RequestTimeTooSkewed)"),
        hint: "set this machine's clock correctly",
    },
    KnownFailure {
        patterns: &["expiredtoken", "invalidtoken", "tokenrefreshrequired"],
        kind: ErrorKind::Settings,
        message: None,
        hint: "the credentials have expired: get new ones (AWS_SESSION_TOKEN)",
    },
    KnownFailure {
        patterns: &["authorizationheadermalformed", "permanentredirect", "incorrectly configured region"],
        kind: ErrorKind::Settings,
        message: None,
        hint: "the bucket is in another region: set AWS_REGION",
    },
    KnownFailure {
        patterns: &["169.254.169.254", "/latest/api/token", "/latest/meta-data/"],
        kind: ErrorKind::Settings,
        message: Some("no S3 credentials were found"),
        hint: CREDENTIALS_HINT,
    },
    KnownFailure {
        patterns: &[
            "permission denied",
            "access denied",
            "accessdenied",
            "forbidden",
            "read-only file system",
            "invalidaccesskeyid",
            "signaturedoesnotmatch",
        ],
        kind: ErrorKind::Settings,
        message: None,
        hint: "check the lake's location and the permission to write to it (for S3: the AWS_* settings)",
    },
];

/// The words after the address of a store that does not answer.
pub(super) const NO_ANSWER: &str = " did not answer within ";

/// Returns whether the cause of `error` is a missing file that a snapshot names: a commit has superseded it.
pub(crate) fn is_missing_file(error: &(dyn std::error::Error + 'static)) -> bool {
    let text = chain(error);
    text.contains("Object at location") && text.contains("not found")
}

/// Returns whether the cause of `error` is a failure of the store: it fails, is unreachable, or refuses the request. A
/// missing file is not such a failure.
pub(crate) fn is_of_store(error: &(dyn std::error::Error + 'static)) -> bool {
    let chain = std::iter::successors(Some(error), |error| error.source());
    let mut own = chain.filter_map(|error| error.downcast_ref::<object_store::Error>());
    match own.next() {
        Some(error) => !matches!(error, object_store::Error::NotFound { .. }),
        // Parquet passes the store's error on as text.
        None => chain_says_store(error),
    }
}

fn chain_says_store(error: &(dyn std::error::Error + 'static)) -> bool {
    let text = chain(error);
    text.contains("Object Store error: ") && !text.contains("not found")
}

/// Converts a failure of the store to an error for the user. `what` says what failed.
pub(crate) fn store_error(what: &str, error: &(dyn std::error::Error + 'static)) -> Error {
    let detail = chain(error);
    if let Some(problem) = certificate_problem(&detail) {
        let server = server_address(&detail).map(|server| format!(" ({server})")).unwrap_or_default();
        return Error::settings(format!("{what}: {}{server}", problem.message)).with_hint(problem.hint);
    }
    let lower = detail.to_lowercase();
    match KNOWN_FAILURES.iter().find(|known| known.patterns.iter().any(|text| lower.contains(text))) {
        Some(known) => {
            let message = known.message.map_or_else(|| without_markup(&detail), Cow::Borrowed);
            Error::new(known.kind, format!("{what}: {message}")).with_hint(known.hint)
        }
        None if is_missing_file(error) => {
            Error::new(ErrorKind::Unreachable, format!("{what}: {}", without_markup(&detail))).with_hint(
                "check that nothing else deletes files in the lake, such as a lifecycle rule; then run again",
            )
        }
        None => match unreachable_server(&detail) {
            Some(message) => Error::new(ErrorKind::Unreachable, format!("{what}: {message}"))
                .with_hint(
                    "check the network, AWS_ENDPOINT_URL and AWS_REGION, then run again: no partial data was written",
                )
                .transient(),
            None => Error::new(ErrorKind::Unreachable, format!("{what}: {}", without_markup(&detail)))
                .with_hint("run again: no partial data was written")
                .transient(),
        },
    }
}

/// Returns which server cannot be reached and why, if `text` says that there was no connection or no answer.
fn unreachable_server(text: &str) -> Option<String> {
    const CONNECT: &str = "client error (Connect): ";
    if let Some(at) = text.find(NO_ANSWER) {
        let url = text[..at].rfind("http")?;
        return Some(text[url..].to_owned());
    }
    let (_, why) = text.rsplit_once(CONNECT)?;
    Some(format!("cannot connect to {}: {why}", server_address(text)?))
}

/// Returns the scheme and host of the first URL in `text`.
fn server_address(text: &str) -> Option<&str> {
    let begin = ["http://", "https://"].into_iter().filter_map(|scheme| text.find(scheme)).min()?;
    let url = &text[begin..];
    let host = url.find("://")? + 3;
    let end = url[host..].find(['/', ' ', '?', ')']).map_or(url.len(), |end| end + host);
    Some(&url[..end])
}

/// Returns `text` with S3's XML error documents shortened to their code and message.
fn without_markup(text: &str) -> Cow<'_, str> {
    let Some(begin) = text.find("<?xml").or_else(|| text.find("<Error>")) else { return text.into() };
    let Some(end) = text[begin..].find("</Error>").map(|at| begin + at + "</Error>".len()) else { return text.into() };
    let document = &text[begin..end];
    let parts: Vec<_> = ["Code", "Message"].into_iter().filter_map(|name| element(document, name)).collect();
    format!("{}{}{}", &text[..begin], parts.join(": "), without_markup(&text[end..])).into()
}

/// Returns the text of the first element called `name`. `None` if there is none or it is empty.
fn element<'a>(document: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = document.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(text, _)| text).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_documents_are_shortened_to_code_and_message() {
        let text = "refused with 403 Forbidden: <?xml version=\"1.0\"?>\n<Error><Code>AccessDenied</Code>\
                    <Message>Access Denied</Message><RequestId>7</RequestId></Error>, after 3 tries";
        assert_eq!(without_markup(text), "refused with 403 Forbidden: AccessDenied: Access Denied, after 3 tries");
        assert_eq!(without_markup("a < b"), "a < b");
        assert_eq!(without_markup("cut off <Error><Code>Slow"), "cut off <Error><Code>Slow");
    }

    #[test]
    fn a_refusal_of_the_store_is_a_settings_error() {
        let refusal = std::io::Error::other("<Error><Code>AccessDenied</Code><Message>No.</Message></Error>");
        let error = store_error("cannot write to the lake", &refusal);
        assert_eq!(error.kind(), ErrorKind::Settings);
        assert_eq!(error.message(), "cannot write to the lake: AccessDenied: No.");
    }

    #[test]
    fn a_refused_certificate_names_the_server_and_the_variables() {
        let refusal = std::io::Error::other(
            "Error performing GET https://s3.corp:9000/bucket?list-type=2 - HTTP error: invalid peer certificate: UnknownIssuer",
        );
        let error = store_error("the lake cannot be listed", &refusal);
        assert_eq!(error.kind(), ErrorKind::Settings);
        let message =
            "the lake cannot be listed: the server's certificate is signed by an unknown CA (https://s3.corp:9000)";
        assert_eq!(error.message(), message);
        assert!(error.hint().is_some_and(|hint| hint.contains("SSL_CERT_FILE") && hint.contains("AWS_CA_BUNDLE")));
    }

    #[test]
    fn an_unreachable_server_is_named_once_with_the_cause() {
        for (text, message) in [
            (
                "Generic S3 error: Error performing GET http://s3.corp:9000/bucket?list-type=2 in 8.6s, after 10 retries \
                 - HTTP error: error sending request: client error (Connect): tcp connect error: Connection refused",
                "cannot connect to http://s3.corp:9000: tcp connect error: Connection refused",
            ),
            (
                "Generic S3 error: https://s3.corp did not answer within 8 s: dns error",
                "https://s3.corp did not answer within 8 s: dns error",
            ),
        ] {
            let error = store_error("no list", &std::io::Error::other(text));
            assert_eq!(
                (error.kind(), error.message()),
                (ErrorKind::Unreachable, format!("no list: {message}").as_str())
            );
        }
    }
}
