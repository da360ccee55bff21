//! The connection to Clerk: its HTTP client, its limits, and descriptions of requests that got no response.

use std::time::Duration;

use url::Url;

use crate::error::{Error, Result, chain};
use crate::network::{self, CertificateProblem, certificate_problem, host_of, is_loopback};

/// How long a client that never had a response tries to connect. A wrong address is then reported soon.
pub(super) const CONNECT_BUDGET: Duration = Duration::from_secs(8);

/// How long a client that never had a response waits before it reports that it still waits.
pub(super) const FIRST_NOTICE: Duration = Duration::from_secs(2);

/// Returns a builder for connections to `url`, with its proxy and its certificates.
///
/// # Errors
/// [`Settings`](crate::ErrorKind::Settings) if a file of CA certificates cannot be used.
pub(super) fn builder(url: &Url) -> Result<reqwest::ClientBuilder> {
    let http = reqwest::Client::builder();
    // No proxy leads to this machine, and over plain http it would see the key.
    let http = if is_loopback(url) { http.no_proxy() } else { http };
    if url.scheme() == "http" {
        // The certificates of the system are not loaded: there may be none.
        return Ok(http.tls_certs_only([]));
    }
    let mut extra = Vec::new();
    for (variable, content) in network::ca_files()? {
        let unusable = |error: reqwest::Error| network::unusable_ca_file(variable, &chain(&error));
        extra.extend(reqwest::Certificate::from_pem_bundle(&content).map_err(unusable)?);
    }
    Ok(http.tls_certs_merge(extra))
}

/// Returns the error of a client that cannot be built.
pub(super) fn cannot_start(error: &reqwest::Error) -> Error {
    let text = chain(error);
    match certificate_problem(&text) {
        Some(CertificateProblem { message, hint }) => Error::settings(message).with_hint(hint),
        None => Error::bug(format!("the HTTP client cannot start: {text}")),
    }
}

/// A request that got no response.
pub(super) struct NoResponse {
    /// What happened, in one line. The path is left out; the error shows it elsewhere.
    pub why: String,
    /// Whether the server's certificate was refused.
    pub is_certificate_refused: bool,
    /// Whether there was no connection.
    pub is_unconnected: bool,
}

/// Describes why a request to `url` got no response.
pub(super) fn explain(error: &reqwest::Error, url: &Url) -> NoResponse {
    let causes: Vec<String> = std::iter::successors(std::error::Error::source(error), |error| error.source())
        .map(ToString::to_string)
        .collect();
    let host = host_of(url);
    if let Some(problem) = causes.last().and_then(|cause| certificate_problem(cause)) {
        let why = format!("cannot connect to {host}: {}", problem.message);
        return NoResponse { why, is_certificate_refused: true, is_unconnected: true };
    }
    let what = if error.is_connect() {
        let through = network::proxy_of(url).map(|proxy| format!(" through the proxy in {}", proxy.variable));
        format!("cannot connect to {host}{}", through.unwrap_or_default())
    } else if error.is_timeout() {
        format!("no response from {host} in time")
    } else if error.is_body() || error.is_decode() {
        "the response is incomplete".to_owned()
    } else {
        format!("the request to {host} failed")
    };
    let why = causes.last().map_or_else(|| what.clone(), |cause| format!("{what} ({cause})"));
    NoResponse { why, is_certificate_refused: false, is_unconnected: error.is_connect() }
}
