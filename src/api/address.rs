//! The address of Clerk's Backend API.

use url::Url;

use crate::error::{Error, Result};
use crate::network::is_loopback;

/// The default address of Clerk's Backend API.
pub const DEFAULT_API_URL: &str = "https://api.clerk.com";

/// Parses `--api-url`: an absolute https URL, with or without `/v1`. Plain http is accepted only for this machine,
/// because every request carries the key.
///
/// # Errors
/// [`Settings`](crate::ErrorKind::Settings) if `text` is not such a URL.
pub fn parse_api_url(text: &str) -> Result<Url> {
    let invalid = |why: &str| {
        Error::settings(format!("--api-url {text:?} {why}"))
            .with_hint(format!("use an absolute http(s) URL, such as {DEFAULT_API_URL}"))
    };
    let mut url = Url::parse(text.trim()).map_err(|error| invalid(&format!("is not a URL ({error})")))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return Err(invalid("is not an absolute http(s) URL"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Error::settings("--api-url must not contain a user name or password")
            .with_hint("set the key in CLERK_SECRET_KEY"));
    }
    if url.scheme() == "http" && !is_loopback(&url) {
        return Err(Error::settings(format!("--api-url {text:?} would send the key unencrypted over a network"))
            .with_hint(
                "use https; plain http is allowed only for localhost, 127.0.0.1 and [::1], even behind an HTTP or SOCKS proxy",
            ));
    }
    url.set_query(None);
    url.set_fragment(None);
    let path = url.path().trim_end_matches('/').trim_end_matches("/v1").to_owned();
    url.set_path(&path);
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_accepted_for_loopback_only() {
        for url in
            ["http://localhost:1", "http://127.0.0.1", "http://127.8.8.8:1/v1", "http://[::1]:1", "https://x.dev"]
        {
            assert!(parse_api_url(url).is_ok(), "{url}");
        }
        for url in [
            "http://10.0.0.1",
            "http://api.clerk.com",
            "http://localhost.example.com",
            "http://0.0.0.0",
            "http://[::ffff:10.0.0.1]",
            "http://192.168.1.1:8080/v1",
        ] {
            let error = parse_api_url(url).unwrap_err();
            assert_eq!(error.kind(), crate::ErrorKind::Settings);
            assert!(error.hint().is_some_and(|hint| hint.contains("https")), "{url}");
        }
    }

    #[test]
    fn the_path_v1_is_optional() {
        for url in ["https://x.dev/", "https://x.dev/v1", "https://x.dev/v1/?a=b#c"] {
            assert_eq!(parse_api_url(url).unwrap().as_str(), "https://x.dev/", "{url}");
        }
    }
}
