//! Rules that hold for every connection, to Clerk and to the store: addresses of this machine, proxies, certificates.

use std::borrow::Cow;

use url::{Host, Url};

use crate::error::{Error, Result};

/// The text of an error about missing certificates, from the certificate verifier.
const NO_CERTIFICATES: &str = "No CA certificates were loaded";

/// The prefix of an error about a certificate that was refused, from the TLS library.
const REFUSED: &str = "invalid peer certificate: ";

/// The variable that names a file with further CA certificates, as for the AWS command line.
const CA_BUNDLE: &str = "AWS_CA_BUNDLE";

/// The variable that names the file with the CA certificates of the system.
const CERT_FILE: &str = "SSL_CERT_FILE";

/// What to do about a certificate that was refused.
pub(crate) const CERTIFICATE_HINT: &str = "check the address and this machine's clock; if a private CA, such as that of \
     a company's proxy, signs certificates here, name the file with its CA certificate in SSL_CERT_FILE or AWS_CA_BUNDLE";

/// Hosts that are never reached through a proxy: this machine, and the addresses of metadata services.
pub(crate) const DIRECT: &str = "localhost,127.0.0.0/8,::1,169.254.0.0/16,fd00:ec2::254";

/// A proxy from the environment. Its URL may contain a password.
pub(crate) struct Proxy {
    /// The variable that names the proxy.
    pub variable: &'static str,
    pub url: String,
}

impl Proxy {
    pub(crate) fn is_socks(&self) -> bool {
        self.url.to_ascii_lowercase().starts_with("socks")
    }
}

/// Returns whether `url` is an address of this machine.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Returns the host of `url`, and the port if the URL names one.
pub(crate) fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// Returns the proxy through which the environment says to reach `url`. `None` for an address of this machine, and for
/// a host that `NO_PROXY` names.
pub(crate) fn proxy_of(url: &Url) -> Option<Proxy> {
    let no_proxy = no_proxy();
    if is_loopback(url) || is_excluded(url.host_str().unwrap_or_default(), &no_proxy) {
        return None;
    }
    let variables: &[&'static str] = if url.scheme() == "https" { &HTTPS_VARIABLES } else { &HTTP_VARIABLES };
    variables.iter().find_map(|&variable| Some(Proxy { variable, url: environment(variable)? }))
}

const HTTPS_VARIABLES: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
const HTTP_VARIABLES: [&str; 4] = ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"];

/// Returns whether the environment names any proxy.
pub(crate) fn has_proxy() -> bool {
    HTTPS_VARIABLES.iter().chain(&HTTP_VARIABLES).any(|variable| environment(variable).is_some())
}

/// Returns the hosts that the environment excludes from proxies, separated by commas.
pub(crate) fn no_proxy() -> String {
    environment("NO_PROXY").or_else(|| environment("no_proxy")).unwrap_or_default()
}

fn is_excluded(host: &str, no_proxy: &str) -> bool {
    let is_match = |entry: &str| {
        let entry = entry.trim_start_matches('.');
        let parent = host.len().checked_sub(entry.len()).and_then(|at| host.get(at..)).unwrap_or_default();
        let is_under = host.len() == entry.len() || host[..host.len() - parent.len()].ends_with('.');
        entry == "*" || (!entry.is_empty() && parent.eq_ignore_ascii_case(entry) && is_under)
    };
    no_proxy.split(',').map(str::trim).any(is_match)
}

/// Returns the files with CA certificates, in PEM format, that count in addition to those which the TLS library finds by
/// itself: `AWS_CA_BUNDLE`, and on macOS and Windows `SSL_CERT_FILE`, which the TLS library reads on all other systems.
///
/// # Errors
/// [`Settings`](crate::ErrorKind::Settings) if a file cannot be read.
pub(crate) fn ca_files() -> Result<Vec<(&'static str, Vec<u8>)>> {
    let read = |variable: &'static str| {
        let file = environment(variable)?;
        let unreadable = |error| unusable_ca_file(variable, &format!("{file} cannot be read: {error}"));
        Some(std::fs::read(&file).map(|content| (variable, content)).map_err(unreadable))
    };
    let extra = cfg!(any(windows, target_vendor = "apple")).then_some(CERT_FILE);
    std::iter::once(CA_BUNDLE).chain(extra).filter_map(read).collect()
}

/// Returns the error for a file of CA certificates, named by `variable`, that cannot be used.
pub(crate) fn unusable_ca_file(variable: &str, why: &str) -> Error {
    Error::settings(format!("{variable}: {why}")).with_hint("it must name a file with CA certificates in PEM format")
}

/// A failure to verify the certificate of a server, for people.
pub(crate) struct CertificateProblem<'a> {
    pub message: Cow<'a, str>,
    pub hint: &'static str,
}

/// Returns what is wrong with a certificate, if the text of an error says so. Repeating the request cannot help then.
///
/// The text is examined because TLS errors reach this program inside errors of several other crates.
pub(crate) fn certificate_problem(text: &str) -> Option<CertificateProblem<'_>> {
    if text.contains(NO_CERTIFICATES) {
        return Some(CertificateProblem {
            message: "no CA certificates were found on this machine, and HTTPS needs them".into(),
            hint: "install the package ca-certificates, or name a file with CA certificates in SSL_CERT_FILE",
        });
    }
    let (_, why) = text.split_once(REFUSED)?;
    let message = if why.starts_with("UnknownIssuer") {
        "the server's certificate is signed by an unknown CA".into()
    } else if why.contains("CaUsedAsEndEntity") {
        "the server uses a CA certificate as its own: is it self-signed?".into()
    } else {
        let why = why.split(", after ").next().unwrap_or(why).trim_end_matches(')');
        format!("the server's certificate was refused: {why}").into()
    };
    Some(CertificateProblem { message, hint: CERTIFICATE_HINT })
}

#[expect(clippy::disallowed_methods, reason = "variables of the network stack, some of which its crates read too")]
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_excluded_by_name_and_by_domain() {
        for (host, no_proxy, excluded) in [
            ("s3.example.com", "", false),
            ("s3.example.com", "*", true),
            ("s3.example.com", "other.com, s3.example.com", true),
            ("s3.example.com", "example.com", true),
            ("s3.example.com", ".Example.com", true),
            ("badexample.com", "example.com", false),
            ("com", "example.com", false),
            ("10.0.0.1", "10.0.0.1", true),
            ("b\u{fc}cher.com", "cher.com", false),
        ] {
            assert_eq!(is_excluded(host, no_proxy), excluded, "{host} {no_proxy:?}");
        }
    }

    #[test]
    fn a_certificate_problem_is_recognized_by_its_text() {
        let text = |text| certificate_problem(text).map(|problem| problem.message.into_owned());
        assert_eq!(text("connection refused"), None);
        for (error, message) in [
            ("(invalid peer certificate: UnknownIssuer)", "unknown CA"),
            ("invalid peer certificate: Other(OtherError(CaUsedAsEndEntity))", "self-signed"),
            ("invalid peer certificate: certificate expired: verification time 5", "certificate expired"),
            ("builder error: No CA certificates were loaded from the system", "no CA certificates"),
        ] {
            assert!(text(error).is_some_and(|text| text.contains(message)), "{error}");
        }
    }
}
