//! What a store's failures mean to the user: their kind, and what to do about them.
//!
//! Delta-rs, Parquet and DataFusion pass the store's errors on as text, so they are told apart by what they say.

use std::borrow::Cow;

use crate::error::{Error, ErrorKind, chain};

/// A failure that is known by its text.
struct Sign {
    /// Any of these, in small letters.
    says: &'static [&'static str],
    kind: ErrorKind,
    /// What is said instead of the store's own words, where these say less.
    instead: Option<&'static str>,
    hint: &'static str,
}

/// The first that fits counts.
const SIGNS: [Sign; 7] = [
    Sign {
        says: &["no space left", "storage full", "quota exceeded", "file too large"],
        kind: ErrorKind::Unreachable,
        instead: None,
        hint: "make room in the store, then run again: nothing half-done was written",
    },
    Sign {
        says: &["nosuchbucket"],
        kind: ErrorKind::Settings,
        instead: Some("the bucket does not exist"),
        hint: "check the bucket in --lake, and AWS_REGION and AWS_ENDPOINT_URL",
    },
    Sign {
        says: &["requesttimetooskewed"],
        kind: ErrorKind::Settings,
        instead: Some("the store refuses requests of this machine's time (RequestTimeTooSkewed)"),
        hint: "set this machine's clock right",
    },
    Sign {
        says: &["expiredtoken", "invalidtoken", "tokenrefreshrequired"],
        kind: ErrorKind::Settings,
        instead: None,
        hint: "the credentials have expired: get new ones (AWS_SESSION_TOKEN)",
    },
    Sign {
        says: &["authorizationheadermalformed", "permanentredirect", "incorrectly configured region"],
        kind: ErrorKind::Settings,
        instead: None,
        hint: "the bucket is in another region: set AWS_REGION",
    },
    Sign {
        says: &["169.254.169.254", "/latest/api/token", "/latest/meta-data/"],
        kind: ErrorKind::Settings,
        instead: Some("no S3 credentials were found"),
        hint: "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run where a role gives them",
    },
    Sign {
        says: &[
            "permission denied",
            "access denied",
            "accessdenied",
            "forbidden",
            "read-only file system",
            "invalidaccesskeyid",
            "signaturedoesnotmatch",
        ],
        kind: ErrorKind::Settings,
        instead: None,
        hint: "check the lake's place and the right to write there (for S3: the AWS_* settings)",
    },
];

/// Whether `error` comes from a file that a snapshot names and that is gone: a commit has superseded it.
pub(crate) fn is_missing_file(error: &(dyn std::error::Error + 'static)) -> bool {
    let text = chain(error);
    text.contains("Object at location") && text.contains("not found")
}

/// Whether `error` is the store's own: it fails, cannot be reached, or refuses. That a file is not there is none.
pub(crate) fn is_of_store(error: &(dyn std::error::Error + 'static)) -> bool {
    let chain = std::iter::successors(Some(error), |error| error.source());
    let mut own = chain.filter_map(|error| error.downcast_ref::<object_store::Error>());
    match own.next() {
        Some(error) => !matches!(error, object_store::Error::NotFound { .. }),
        // Parquet passes it on as text.
        None => chain_says_store(error),
    }
}

fn chain_says_store(error: &(dyn std::error::Error + 'static)) -> bool {
    let text = chain(error);
    text.contains("Object Store error: ") && !text.contains("not found")
}

/// A failure of the store, as the user must see it.
pub(crate) fn store_error(what: &str, error: &(dyn std::error::Error + 'static)) -> Error {
    let detail = chain(error);
    let lower = detail.to_lowercase();
    match SIGNS.iter().find(|sign| sign.says.iter().any(|text| lower.contains(text))) {
        Some(sign) => {
            let said = sign.instead.map_or_else(|| without_markup(&detail), Cow::Borrowed);
            Error::new(sign.kind, format!("{what}: {said}")).with_hint(sign.hint)
        }
        None => Error::new(ErrorKind::Unreachable, format!("{what}: {}", without_markup(&detail)))
            .with_hint("run again: nothing half-done was written"),
    }
}

/// `text` with S3's error documents, which are XML, cut down to their code and message.
fn without_markup(text: &str) -> Cow<'_, str> {
    let Some(begin) = text.find("<?xml").or_else(|| text.find("<Error>")) else { return text.into() };
    let Some(end) = text[begin..].find("</Error>").map(|at| begin + at + "</Error>".len()) else { return text.into() };
    let document = &text[begin..end];
    let said: Vec<_> = ["Code", "Message"].into_iter().filter_map(|name| element(document, name)).collect();
    format!("{}{}{}", &text[..begin], said.join(": "), without_markup(&text[end..])).into()
}

/// The text of the first element called `name`.
fn element<'a>(document: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = document.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(text, _)| text).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_document_is_cut_down_to_what_it_says() {
        let text = "refused with 403 Forbidden: <?xml version=\"1.0\"?>\n<Error><Code>AccessDenied</Code>\
                    <Message>Access Denied</Message><RequestId>7</RequestId></Error>, after 3 tries";
        assert_eq!(without_markup(text), "refused with 403 Forbidden: AccessDenied: Access Denied, after 3 tries");
        assert_eq!(without_markup("a < b"), "a < b");
        assert_eq!(without_markup("cut off <Error><Code>Slow"), "cut off <Error><Code>Slow");
    }

    #[test]
    fn a_store_that_refuses_is_a_matter_of_settings_and_says_so_plainly() {
        let refusal = std::io::Error::other("<Error><Code>AccessDenied</Code><Message>No.</Message></Error>");
        let error = store_error("the lake cannot be written", &refusal);
        assert_eq!(error.kind(), ErrorKind::Settings);
        assert_eq!(error.message(), "the lake cannot be written: AccessDenied: No.");
    }
}
