//! The location of a lake: a directory on local disk, or a prefix in an S3 bucket.

use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::TimeDelta;
use datafusion::execution::runtime_env::RuntimeEnv;
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
use object_store::path::Path;
use object_store::{ClientConfigKey, ObjectStore, RetryConfig};
use url::Url;

use super::local_disk::LocalDisk;
use super::run_store::RunStore;
use super::{profile, store_error};
use crate::error::{Error, Result};

/// Default of [`Location::taken_over_after`]. A live run writes its progress every few seconds.
const SILENT_FOR: TimeDelta = TimeDelta::minutes(5);

/// Default of [`Location::orphans_spared_for`]. A commit that the store applies late arrives within seconds, and no run
/// waits longer than this between moving files into place and committing them.
const SPARED_FOR: TimeDelta = TimeDelta::minutes(15);

/// Error text for a prefix that does not [round-trip through a URL](round_trips_through_url).
const UNSUPPORTED_CHARACTERS: &str = "contains a backslash, or a % before two hex digits, which the table format does \
     not support; choose another name (write a space as a space, not as %20)";

/// How long one operation of the store is retried.
const RETRY_TIMEOUT: Duration = Duration::from_mins(1);

/// How long the store may take to answer the first request.
const FIRST_ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// How long to wait for that first answer before logging a warning.
const WARN_AFTER: Duration = Duration::from_secs(5);

/// How long a cloud's metadata service may take to return credentials. Outside a cloud, nothing answers at its address.
const CREDENTIALS_TIMEOUT: Duration = Duration::from_secs(5);

/// The location of a lake: the store, and the prefix in it.
#[derive(Clone, Debug)]
pub struct Location {
    /// The whole store. Its root is the root of the file system or of the bucket.
    pub(super) root: Arc<dyn ObjectStore>,
    /// The URL of the store's root in DataFusion: `file:///` or `s3://bucket/`.
    pub(super) root_url: Url,
    /// The lake's prefix in the store.
    pub(super) prefix: Path,
    /// The lake's directory; `None` if the lake is not on local disk.
    pub(super) directory: Option<PathBuf>,
    /// How long a run may be silent before it counts as dead, in a store without locks.
    pub(super) silent_for: TimeDelta,
    /// See [`Location::orphans_spared_for`].
    pub(super) spared_for: TimeDelta,
    /// Whether each request to the store costs money and time.
    is_costly: bool,
    /// The run's view of the store, if `root` is one.
    pub(super) run_store: Option<Arc<RunStore>>,
    /// The URL that requests to the store go to, for messages.
    endpoint: String,
    /// Whether the store has answered a request yet.
    reached: Arc<AtomicBool>,
    shown: String,
}

impl Location {
    /// Parses the value of `--lake`: a path, a `file://` URL, or `s3://bucket/prefix` with the usual `AWS_*` settings
    /// from the environment. Paths and prefixes are taken literally, whatever characters they contain. A `file://` URL
    /// is percent-decoded: `%20` is a space. Does not access the file system's content or the network.
    ///
    /// # Errors
    /// [`Settings`](crate::ErrorKind::Settings) if `text` is none of these, or the S3 settings are incomplete or
    /// inconsistent.
    pub fn parse(text: &str) -> Result<Self> {
        if let Some((scheme, _)) = text.split_once("://") {
            return match scheme {
                "s3" | "s3a" => Self::s3("--lake", text),
                "file" if text.contains(['#', '?', '\\']) || text.trim() != text => {
                    Err(invalid(text, "contains characters that a file URL must encode; give the path instead"))
                }
                "file" => {
                    let path = Url::parse(text).ok().and_then(|url| url.to_file_path().ok());
                    path.map_or_else(|| Err(invalid(text, "is not a file URL")), |path| Self::local(&path))
                }
                _ => Err(invalid(text, "has an unsupported URL scheme")),
            };
        }
        if text.is_empty() {
            return Err(invalid(text, "is empty"));
        }
        Self::local(FilePath::new(text))
    }

    fn local(path: &FilePath) -> Result<Self> {
        let shown = path.display().to_string();
        let absolute =
            std::path::absolute(path).map_err(|error| invalid(&shown, &format!("cannot be resolved ({error})")))?;
        // Symbolic links are resolved, so that a lake has one name, whichever path leads to it.
        let directory = std::fs::canonicalize(&absolute).unwrap_or(absolute);
        let prefix = Path::from_absolute_path(&directory)
            .map_err(|error| invalid(&shown, &format!("cannot be used as a path ({error})")))?;
        let root_url = Url::parse("file:///").map_err(|error| Error::bug(error.to_string()))?;
        if !round_trips_through_url(&root_url, &prefix) {
            return Err(invalid(&shown, UNSUPPORTED_CHARACTERS));
        }
        Ok(Self {
            root: Arc::new(LocalDisk::new()),
            root_url,
            prefix,
            directory: Some(directory),
            silent_for: SILENT_FOR,
            spared_for: SPARED_FOR,
            is_costly: false,
            run_store: None,
            endpoint: String::new(),
            reached: Arc::default(),
            shown,
        })
    }

    /// Parses the URL of a file in a query, `s3://bucket/path`. Uses the same S3 settings as a lake.
    ///
    /// # Errors
    /// Same as [`Location::parse`].
    pub fn of_file(url: &str) -> Result<Self> {
        Self::s3("the file", url)
    }

    /// Parses the S3 URL `text`. Error messages call it `what`.
    fn s3(what: &str, text: &str) -> Result<Self> {
        let invalid = |why: &str| invalid_place(what, text, why);
        let (_, place) = text.split_once("://").ok_or_else(|| invalid("is not a URL"))?;
        let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
        if bucket.is_empty() {
            return Err(invalid("names no bucket"));
        }
        let is_name_char = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        if !bucket.chars().all(is_name_char) {
            return Err(invalid("has an invalid bucket name"));
        }
        // Parsed as plain text, because a URL parser cuts the prefix at `#` or `?`.
        let prefix = Path::parse(prefix).map_err(|error| invalid(&format!("has an invalid prefix ({error})")))?;
        let mut builder = profile::complete(AmazonS3Builder::from_env())?.with_bucket_name(bucket);
        let setting = |key| builder.get_config_value(&key);
        let endpoint = setting(AmazonS3ConfigKey::S3Endpoint).or_else(|| setting(AmazonS3ConfigKey::Endpoint));
        let region = setting(AmazonS3ConfigKey::Region).unwrap_or_else(|| "us-east-1".to_owned());
        let endpoint = endpoint.unwrap_or_else(|| format!("https://s3.{region}.amazonaws.com"));
        if endpoint.starts_with("http://") {
            builder = builder.with_allow_http(true);
        }
        let store = build_store(builder).map_err(|error| {
            Error::settings(format!("{what} {text:?} cannot be reached: {}", crate::error::chain(&error)))
                .with_hint("check the AWS_* environment variables and the profile in ~/.aws")
        })?;
        let root_url = Url::parse(&format!("s3://{bucket}/")).map_err(|error| Error::bug(error.to_string()))?;
        if !round_trips_through_url(&root_url, &prefix) {
            return Err(invalid(UNSUPPORTED_CHARACTERS));
        }
        Ok(Self {
            root: Arc::new(store),
            root_url,
            prefix,
            directory: None,
            silent_for: SILENT_FOR,
            spared_for: SPARED_FOR,
            is_costly: true,
            run_store: None,
            endpoint,
            reached: Arc::default(),
            shown: text.to_owned(),
        })
    }

    /// Returns the location of a lake in any object store, under the prefix `lake`. Its URL in DataFusion is
    /// `memory:///`. For tests, and for programs that use this library with their own store.
    ///
    /// # Errors
    /// Only [`Bug`](crate::ErrorKind::Bug), which no caller can cause.
    pub fn of_store(store: Arc<dyn ObjectStore>) -> Result<Self> {
        let root_url = Url::parse("memory:///").map_err(|error| Error::bug(error.to_string()))?;
        Ok(Self {
            root: store,
            root_url,
            prefix: Path::from("lake"),
            directory: None,
            silent_for: SILENT_FOR,
            spared_for: SPARED_FOR,
            is_costly: false,
            run_store: None,
            endpoint: String::new(),
            reached: Arc::default(),
            shown: "memory:///lake".to_owned(),
        })
    }

    /// Sets how long a run may be silent before it counts as dead. Another run may then resume from its staged files.
    /// Has no effect on local disk, where a live run holds a lock.
    #[must_use]
    pub fn taken_over_after(self, silent_for: TimeDelta) -> Self {
        Self { silent_for, ..self }
    }

    /// Marks the store as one in which each request costs money and time, so that a run sends few. An S3 bucket always
    /// is one.
    #[must_use]
    pub fn asked_sparingly(self) -> Self {
        Self { is_costly: true, ..self }
    }

    /// Returns this location with a run's own view of the store; see [`RunStore`]. A store whose requests cost little
    /// needs none, and is returned unchanged.
    pub(super) async fn for_run(&self) -> Result<Self> {
        if !self.is_costly || self.run_store.is_some() {
            return Ok(self.clone());
        }
        let opened = self.asked(RunStore::open(Arc::clone(&self.root), self.prefix.clone())).await;
        let store = Arc::new(opened.map_err(|error| store_error("the lake cannot be listed", &error))?);
        Ok(Self { root: Arc::clone(&store) as _, run_store: Some(store), ..self.clone() })
    }

    /// Sets how old an orphan file must be before a sweep removes it. A younger one may belong to a run that is about
    /// to commit it, or to a commit whose outcome is unknown. On local disk, the age matters only while another run
    /// is alive.
    #[must_use]
    pub fn orphans_spared_for(self, spared_for: TimeDelta) -> Self {
        Self { spared_for, ..self }
    }

    /// Wraps the store, for example in one that injects faults.
    #[must_use]
    pub fn wrapped(self, wrap: impl FnOnce(Arc<dyn ObjectStore>) -> Arc<dyn ObjectStore>) -> Self {
        Self { root: wrap(Arc::clone(&self.root)), ..self }
    }

    /// Returns whether this is the same location as `other`, even if the two are written differently.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        self.root_url == other.root_url && self.prefix == other.prefix
    }

    /// Registers the store in `runtime`, so that queries there can read from it.
    pub fn open_in(&self, runtime: &RuntimeEnv) {
        runtime.register_object_store(&self.root_url, Arc::clone(&self.root));
    }

    /// Returns the lake's directory; `None` if the lake is not on local disk.
    #[must_use]
    pub fn directory(&self) -> Option<&FilePath> {
        self.directory.as_deref()
    }

    /// Runs `work`, a request to the store. Until the store has answered a first request, `work` fails after
    /// [`FIRST_ANSWER_TIMEOUT`], so that a wrong address is reported soon.
    pub(super) async fn asked<T>(
        &self,
        work: impl Future<Output = object_store::Result<T>>,
    ) -> object_store::Result<T> {
        if self.directory.is_some() || self.reached.load(Ordering::Relaxed) {
            return work.await;
        }
        let mut work = std::pin::pin!(work);
        let answered = if let Ok(answered) = tokio::time::timeout(WARN_AFTER, &mut work).await {
            answered
        } else {
            tracing::warn!(lake = self.shown, endpoint = self.endpoint, "the store has not answered yet");
            let late = tokio::time::timeout(FIRST_ANSWER_TIMEOUT.saturating_sub(WARN_AFTER), work).await;
            late.unwrap_or_else(|_| {
                let source =
                    format!("{} did not answer within {} s", self.endpoint, FIRST_ANSWER_TIMEOUT.as_secs()).into();
                Err(object_store::Error::Generic { store: "S3", source })
            })
        };
        if matches!(answered, Ok(_) | Err(object_store::Error::NotFound { .. })) {
            self.reached.store(true, Ordering::Relaxed);
        }
        answered
    }

    /// Returns the URL of `path`, a directory in the store. It ends in a slash.
    pub(super) fn url_of(&self, path: &Path) -> Result<Url> {
        let mut url = self.root_url.clone();
        url.set_path("/");
        {
            let mut segments = url.path_segments_mut().map_err(|()| Error::bug("a root URL without a path"))?;
            segments.pop_if_empty();
            for part in path.parts() {
                segments.push(part.as_ref());
            }
            segments.push("");
        }
        Ok(url)
    }
}

/// Builds the store that `builder` describes. Requests to a credentials service time out early; all other requests are
/// retried for [`RETRY_TIMEOUT`].
fn build_store(builder: AmazonS3Builder) -> object_store::Result<AmazonS3> {
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

/// Returns whether `prefix` is unchanged after a round trip through a URL. The Delta kernel turns every path of a log
/// into a URL and back, which decodes `%41` to `A` and, on local disk, changes a backslash into a slash.
fn round_trips_through_url(root_url: &Url, prefix: &Path) -> bool {
    let mut url = root_url.clone();
    url.set_path(&format!("/{prefix}"));
    Path::from_url_path(url.path()).is_ok_and(|path| path == *prefix)
}

impl std::fmt::Display for Location {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.shown)
    }
}

fn invalid(text: &str, why: &str) -> Error {
    invalid_place("--lake", text, why)
}

fn invalid_place(what: &str, text: &str, why: &str) -> Error {
    Error::settings(format!("{what} {text:?} {why}")).with_hint("give a path, or s3://bucket/prefix")
}
