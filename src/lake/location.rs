//! Where a lake is: a directory on local disk, or a prefix of an S3 bucket.

use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::TimeDelta;
use datafusion::execution::runtime_env::RuntimeEnv;
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ClientConfigKey, ObjectStore, RetryConfig};
use url::Url;

use super::run_store::RunStore;
use super::{profile, store_error};
use crate::error::{Error, Result};

/// See [`Location::taken_over_after`]: a run writes down how far it has come every few seconds.
const SILENT_FOR: TimeDelta = TimeDelta::minutes(5);

/// See [`Location::orphans_spared_for`]: a commit that a store carries out late comes within seconds, and no run waits
/// longer between moving files into place and committing them.
const SPARED_FOR: TimeDelta = TimeDelta::minutes(15);

/// What is said of a place that does not [survive](survives).
const CANNOT_BE_CARRIED: &str = "has a % before two digits, or a backslash, which the table format cannot carry; choose another name (a blank is \
     written as a blank)";

/// How long a store may be asked again and again for one operation.
const RETRIED_FOR: Duration = Duration::from_mins(1);

/// How long a store may take to answer for the first time.
const FIRST_CONTACT: Duration = Duration::from_secs(20);

/// After how long that is said.
const SAID_AFTER: Duration = Duration::from_secs(5);

/// How long the metadata service of a cloud may take to give credentials. Where there is none, nothing answers.
const CREDENTIALS_WITHIN: Duration = Duration::from_secs(5);

/// A lake's place: the store, and the prefix in it.
#[derive(Clone, Debug)]
pub struct Location {
    /// The whole store, its root being the file system's or the bucket's.
    pub(super) root: Arc<dyn ObjectStore>,
    /// The store's root, as DataFusion knows it: `file:///` or `s3://bucket/`.
    pub(super) root_url: Url,
    /// The lake's prefix in the store.
    pub(super) prefix: Path,
    /// The lake's directory, where it is on local disk.
    pub(super) directory: Option<PathBuf>,
    /// After how long without a word a run counts as dead, in a store without locks.
    pub(super) silent_for: TimeDelta,
    /// See [`Location::orphans_spared_for`].
    pub(super) spared_for: TimeDelta,
    /// Whether each question to the store costs money and time.
    is_costly: bool,
    /// The store as a run sees it, if that is what `root` is.
    pub(super) run_store: Option<Arc<RunStore>>,
    /// Who answers for the store.
    endpoint: String,
    /// Whether it has answered yet.
    reached: Arc<AtomicBool>,
    shown: String,
}

impl Location {
    /// Reads `--lake`: a path, a `file://` URL, or `s3://bucket/prefix` with the usual `AWS_*` settings taken
    /// from the environment. A path and a prefix are taken as they are written, whatever characters they have; a
    /// `file://` URL is one, and may have `%20` for a blank. Nothing is touched.
    ///
    /// # Errors
    /// [`Settings`](crate::ErrorKind::Settings) where it is neither, or the S3 settings do not add up.
    pub fn parse(text: &str) -> Result<Self> {
        if let Some((scheme, _)) = text.split_once("://") {
            return match scheme {
                "s3" | "s3a" => Self::s3("--lake", text),
                "file" if text.contains(['#', '?', '\\']) || text.trim() != text => {
                    Err(wrong(text, "has characters that a file URL must encode: give the path instead"))
                }
                "file" => {
                    let path = Url::parse(text).ok().and_then(|url| url.to_file_path().ok());
                    path.map_or_else(|| Err(wrong(text, "is not a file URL")), |path| Self::local(&path))
                }
                _ => Err(wrong(text, "is of a kind that is not supported")),
            };
        }
        if text.is_empty() {
            return Err(wrong(text, "is empty"));
        }
        Self::local(FilePath::new(text))
    }

    fn local(path: &FilePath) -> Result<Self> {
        let shown = path.display().to_string();
        let absolute =
            std::path::absolute(path).map_err(|error| wrong(&shown, &format!("cannot be resolved ({error})")))?;
        // Links are resolved once, so that the same lake has the same name however it is reached.
        let directory = std::fs::canonicalize(&absolute).unwrap_or(absolute);
        let prefix = Path::from_absolute_path(&directory)
            .map_err(|error| wrong(&shown, &format!("cannot be used as a path ({error})")))?;
        let root_url = Url::parse("file:///").map_err(|error| Error::bug(error.to_string()))?;
        if !survives(&root_url, &prefix) {
            return Err(wrong(&shown, CANNOT_BE_CARRIED));
        }
        Ok(Self {
            root: Arc::new(LocalFileSystem::new()),
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

    /// The place of a file that a query names, `s3://bucket/path`, reached with the same settings as a lake there.
    ///
    /// # Errors
    /// As [`Location::parse`].
    pub fn of_file(url: &str) -> Result<Self> {
        Self::s3("the file", url)
    }

    /// The place that `text` names, as `what`.
    fn s3(what: &str, text: &str) -> Result<Self> {
        let wrong = |why: &str| wrong_as(what, text, why);
        let (_, place) = text.split_once("://").ok_or_else(|| wrong("is not a URL"))?;
        let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
        if bucket.is_empty() {
            return Err(wrong("names no bucket"));
        }
        let is_of_a_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        if !bucket.chars().all(is_of_a_name) {
            return Err(wrong("names a bucket that cannot be one"));
        }
        // As it is written: a URL would lose what follows `#` or `?`.
        let prefix =
            Path::parse(prefix).map_err(|error| wrong(&format!("has a prefix that cannot be used ({error})")))?;
        let mut builder = profile::complete(AmazonS3Builder::from_env())?.with_bucket_name(bucket);
        let said = |key| builder.get_config_value(&key);
        let endpoint = said(AmazonS3ConfigKey::S3Endpoint).or_else(|| said(AmazonS3ConfigKey::Endpoint));
        let region = said(AmazonS3ConfigKey::Region).unwrap_or_else(|| "us-east-1".to_owned());
        let endpoint = endpoint.unwrap_or_else(|| format!("https://s3.{region}.amazonaws.com"));
        if endpoint.starts_with("http://") {
            builder = builder.with_allow_http(true);
        }
        let store = built(builder).map_err(|error| {
            Error::settings(format!("{what} {text:?} cannot be reached: {}", crate::error::chain(&error)))
                .with_hint("check the AWS_* variables, and the profile in ~/.aws")
        })?;
        let root_url = Url::parse(&format!("s3://{bucket}/")).map_err(|error| Error::bug(error.to_string()))?;
        if !survives(&root_url, &prefix) {
            return Err(wrong(CANNOT_BE_CARRIED));
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

    /// A lake at the root of any object store, which queries know as `memory:///`: for tests, and for whoever
    /// embeds this library over a store of their own.
    ///
    /// # Errors
    /// None that a caller could cause.
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

    /// The same place, in which a run that has been silent for `silent_for` counts as dead: what it had staged may
    /// be taken over. It does not matter on local disk, where a live run holds a lock.
    #[must_use]
    pub fn taken_over_after(self, silent_for: TimeDelta) -> Self {
        Self { silent_for, ..self }
    }

    /// The same place, in a store in which each question costs money and time: a run asks few. A bucket is one.
    #[must_use]
    pub fn asked_sparingly(self) -> Self {
        Self { is_costly: true, ..self }
    }

    /// The same place as one run sees it; see [`RunStore`].
    pub(super) async fn for_run(&self) -> Result<Self> {
        if !self.is_costly || self.run_store.is_some() {
            return Ok(self.clone());
        }
        let opened = self.asked(RunStore::open(Arc::clone(&self.root), self.prefix.clone())).await;
        let store = Arc::new(opened.map_err(|error| store_error("the lake cannot be listed", &error))?);
        Ok(Self { root: Arc::clone(&store) as _, run_store: Some(store), ..self.clone() })
    }

    /// The same place, in which a sweep leaves orphan files alone until they are as old as `spared_for`. A younger one
    /// may belong to a run that is about to commit it, or to a commit whose outcome is unknown. On local disk this
    /// counts only while another run is alive.
    #[must_use]
    pub fn orphans_spared_for(self, spared_for: TimeDelta) -> Self {
        Self { spared_for, ..self }
    }

    /// The same place with its store wrapped, for instance by one that fails on purpose.
    #[must_use]
    pub fn wrapped(self, wrap: impl FnOnce(Arc<dyn ObjectStore>) -> Arc<dyn ObjectStore>) -> Self {
        Self { root: wrap(Arc::clone(&self.root)), ..self }
    }

    /// Whether it is the same place as `other`, however it is named.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        self.root_url == other.root_url && self.prefix == other.prefix
    }

    /// Lets what runs in `runtime` read from this place's store.
    pub fn open_in(&self, runtime: &RuntimeEnv) {
        runtime.register_object_store(&self.root_url, Arc::clone(&self.root));
    }

    /// The lake's directory, where it is on local disk.
    #[must_use]
    pub fn directory(&self) -> Option<&FilePath> {
        self.directory.as_deref()
    }

    /// Does `work`, which asks the store for something. If the store has not answered at all yet, gives it some seconds:
    /// a wrong address should be known soon.
    pub(super) async fn asked<T>(
        &self,
        work: impl Future<Output = object_store::Result<T>>,
    ) -> object_store::Result<T> {
        if self.directory.is_some() || self.reached.load(Ordering::Relaxed) {
            return work.await;
        }
        let mut work = std::pin::pin!(work);
        let answered = if let Ok(answered) = tokio::time::timeout(SAID_AFTER, &mut work).await {
            answered
        } else {
            tracing::warn!(lake = self.shown, endpoint = self.endpoint, "still waiting for the store to answer");
            let late = tokio::time::timeout(FIRST_CONTACT.saturating_sub(SAID_AFTER), work).await;
            late.unwrap_or_else(|_| {
                let source = format!("{} did not answer within {} s", self.endpoint, FIRST_CONTACT.as_secs()).into();
                Err(object_store::Error::Generic { store: "S3", source })
            })
        };
        if matches!(answered, Ok(_) | Err(object_store::Error::NotFound { .. })) {
            self.reached.store(true, Ordering::Relaxed);
        }
        answered
    }

    /// The URL of something in the lake.
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

/// The store that `builder` describes. Its credentials, if they come from a service, are asked for impatiently; all
/// else is tried again for a while.
fn built(builder: AmazonS3Builder) -> object_store::Result<AmazonS3> {
    let retry = RetryConfig { retry_timeout: RETRIED_FOR, ..RetryConfig::default() };
    let impatient = RetryConfig { max_retries: 2, retry_timeout: CREDENTIALS_WITHIN, ..RetryConfig::default() };
    let keys = [AmazonS3ConfigKey::AccessKeyId, AmazonS3ConfigKey::WebIdentityTokenFile];
    if keys.iter().any(|key| builder.get_config_value(key).is_some()) {
        return builder.with_retry(retry).build();
    }
    let timeout = AmazonS3ConfigKey::Client(ClientConfigKey::Timeout);
    let asking = builder.clone().with_retry(impatient).with_config(timeout, "2s");
    let credentials = Arc::clone(asking.build()?.credentials());
    builder.with_credentials(credentials).with_retry(retry).build()
}

/// Whether `prefix` is the same after a way through a URL, as the Delta kernel sends every path of a log: it takes `%41`
/// for the letter that it stands for in a URL, and on disk a backslash for a slash.
fn survives(root_url: &Url, prefix: &Path) -> bool {
    let mut url = root_url.clone();
    url.set_path(&format!("/{prefix}"));
    Path::from_url_path(url.path()).is_ok_and(|path| path == *prefix)
}

impl std::fmt::Display for Location {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.shown)
    }
}

fn wrong(text: &str, why: &str) -> Error {
    wrong_as("--lake", text, why)
}

fn wrong_as(what: &str, text: &str, why: &str) -> Error {
    Error::settings(format!("{what} {text:?} {why}")).with_hint("give a path, or s3://bucket/prefix")
}
