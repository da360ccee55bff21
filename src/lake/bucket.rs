//! The store of a lake in an S3 bucket: its settings, its credentials and its way through proxies.

use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
use object_store::path::Path;
use object_store::{ClientConfigKey, RetryConfig};
use url::Url;

use super::profile;
use super::s3_http::{LastFailure, S3Connector};
use crate::error::{Error, Result, chain};
use crate::network::{self, DIRECT};

/// How long one operation of the store is retried.
const RETRY_TIMEOUT: Duration = Duration::from_mins(1);

/// How long a cloud's metadata service may take to return credentials. Outside a cloud, nothing answers at its address.
const CREDENTIALS_TIMEOUT: Duration = Duration::from_secs(5);

/// What to do if there are no credentials.
pub(super) const CREDENTIALS_HINT: &str = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or run on \
     a machine with an IAM role";

/// A place in a bucket.
pub(super) struct Bucket {
    pub store: AmazonS3,
    /// `s3://bucket/`.
    pub root_url: Url,
    pub prefix: Path,
    /// The URL that requests go to, for messages.
    pub endpoint: String,
    pub last_failure: LastFailure,
}

impl Bucket {
    /// Opens the bucket and the prefix in the S3 URL `text`, with the `AWS_*` settings of the environment. Error
    /// messages call the URL `what`. Sends no request.
    ///
    /// # Errors
    /// [`Settings`](crate::ErrorKind::Settings) if the URL is invalid, or the settings are incomplete or inconsistent.
    pub(super) fn open(what: &str, text: &str) -> Result<Self> {
        let invalid = |why: &str| invalid_place(what, text, why);
        let (_, place) = text.split_once("://").ok_or_else(|| invalid("is not a URL"))?;
        let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
        if bucket.is_empty() {
            return Err(invalid("names no bucket"));
        }
        if !is_bucket_name(bucket) {
            return Err(invalid("has an invalid bucket name"));
        }
        // Parsed as plain text, because a URL parser cuts the prefix at `#` or `?`.
        let prefix = Path::parse(prefix).map_err(|error| invalid(&format!("has an invalid prefix ({error})")))?;
        let root_url = Url::parse(&format!("s3://{bucket}/")).map_err(|error| Error::bug(error.to_string()))?;
        let mut builder = profile::complete(AmazonS3Builder::from_env())?.with_bucket_name(bucket);
        let endpoint = endpoint(&builder);
        if endpoint.starts_with("http://") {
            builder = builder.with_allow_http(true);
        }
        if let Ok(url) = Url::parse(&endpoint) {
            builder = with_proxy(builder, &url)?;
        }
        let last_failure = LastFailure::default();
        let builder = builder.with_http_connector(S3Connector::new(last_failure.clone())?);
        require_credentials(&builder)?;
        let store = build(builder).map_err(|error| {
            Error::settings(format!("{what} {text:?} cannot be reached: {}", chain(&error)))
                .with_hint("check the AWS_* environment variables and the profile in ~/.aws")
        })?;
        Ok(Self { store, root_url, prefix, endpoint, last_failure })
    }
}

fn is_bucket_name(name: &str) -> bool {
    let is_inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    let is_outer = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    name.chars().all(is_inner) && is_outer(name.chars().next()) && is_outer(name.chars().last())
}

fn endpoint(builder: &AmazonS3Builder) -> String {
    let setting = |key| builder.get_config_value(&key);
    let endpoint = setting(AmazonS3ConfigKey::S3Endpoint).or_else(|| setting(AmazonS3ConfigKey::Endpoint));
    let region = setting(AmazonS3ConfigKey::Region).unwrap_or_else(|| "us-east-1".to_owned());
    endpoint.unwrap_or_else(|| format!("https://s3.{region}.amazonaws.com"))
}

/// Sets the proxy for `endpoint`. Without this, the HTTP client would lead requests to this machine and to metadata
/// services through the proxies of the environment too. A proxy in `AWS_PROXY_URL` is left as it is.
fn with_proxy(builder: AmazonS3Builder, endpoint: &Url) -> Result<AmazonS3Builder> {
    let [url, excludes] = [ClientConfigKey::ProxyUrl, ClientConfigKey::ProxyExcludes].map(AmazonS3ConfigKey::Client);
    if !network::has_proxy() || builder.get_config_value(&url).is_some() {
        return Ok(builder);
    }
    match network::proxy_of(endpoint) {
        Some(proxy) if proxy.is_socks() => Err(Error::settings(format!(
            "{} names a SOCKS proxy, which clerk-lake does not support for S3",
            proxy.variable
        ))
        .with_hint(format!(
            "add {} to NO_PROXY, or name an HTTP proxy in HTTPS_PROXY",
            endpoint.host_str().unwrap_or("the store's host")
        ))),
        Some(proxy) => {
            let direct = format!("{DIRECT},{}", network::no_proxy());
            Ok(builder.with_config(url, proxy.url).with_config(excludes, direct))
        }
        // The client has no setting for "no proxy". A proxy that is excluded for every host is never used.
        None => Ok(builder.with_config(url, "http://localhost").with_config(excludes, "*,0.0.0.0/0,::/0")),
    }
}

/// Returns an error if there are no credentials and the environment forbids to ask the metadata service for some.
fn require_credentials(builder: &AmazonS3Builder) -> Result<()> {
    use AmazonS3ConfigKey as Key;
    let sources = [
        Key::AccessKeyId,
        Key::SecretAccessKey,
        Key::WebIdentityTokenFile,
        Key::ContainerCredentialsRelativeUri,
        Key::ContainerCredentialsFullUri,
    ];
    let is_set = |key: &Key| builder.get_config_value(key).is_some();
    let is_unsigned = builder.get_config_value(&Key::SkipSignature).is_some_and(|value| value != "false");
    if is_unsigned || sources.iter().any(is_set) || !profile::is_metadata_disabled() {
        return Ok(());
    }
    Err(Error::settings("no S3 credentials were found, and AWS_EC2_METADATA_DISABLED is set")
        .with_hint(CREDENTIALS_HINT))
}

/// Builds the store that `builder` describes. Requests to a credentials service time out early; all other requests are
/// retried for [`RETRY_TIMEOUT`].
fn build(builder: AmazonS3Builder) -> object_store::Result<AmazonS3> {
    let retry = RetryConfig { retry_timeout: RETRY_TIMEOUT, ..RetryConfig::default() };
    let credentials_retry =
        RetryConfig { max_retries: 2, retry_timeout: CREDENTIALS_TIMEOUT, ..RetryConfig::default() };
    let keys = [AmazonS3ConfigKey::AccessKeyId, AmazonS3ConfigKey::WebIdentityTokenFile];
    if keys.iter().any(|key| builder.get_config_value(key).is_some()) {
        return builder.with_retry(retry).build();
    }
    let timeout = AmazonS3ConfigKey::Client(ClientConfigKey::Timeout);
    let credentials_builder = builder.clone().with_retry(credentials_retry).with_config(timeout, "2s");
    let credentials = Arc::clone(credentials_builder.build()?.credentials());
    builder.with_credentials(credentials).with_retry(retry).build()
}

/// Returns the error for `text`, the location of `what`.
pub(super) fn invalid_place(what: &str, text: &str, why: &str) -> Error {
    Error::settings(format!("{what} {text:?} {why}")).with_hint("give a path, or s3://bucket/prefix")
}
