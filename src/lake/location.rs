//! The location of a lake: a directory on local disk, or a prefix in an S3 bucket.

use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::TimeDelta;
use datafusion::execution::runtime_env::RuntimeEnv;
use futures::TryStreamExt;
use object_store::ObjectStore;
use object_store::path::Path;
use url::Url;

use super::bucket::{Bucket, invalid_place};
use super::failure::NO_ANSWER;
use super::local_disk::LocalDisk;
use super::run_store::RunStore;
use super::s3_http::LastFailure;
use super::store_error;
use crate::error::{Error, Result};
use crate::harmless::harmless_lines;

/// Default of [`Location::taken_over_after`]. A live run writes its progress every few seconds.
const SILENT_FOR: TimeDelta = TimeDelta::minutes(5);

/// Default of [`Location::orphans_spared_for`]. A commit that the store applies late arrives within seconds, and no run
/// waits longer than this between moving files into place and committing them.
const SPARED_FOR: TimeDelta = TimeDelta::minutes(15);

/// Error text for a prefix that does not [round-trip through a URL](round_trips_through_url).
const UNSUPPORTED_CHARACTERS: &str = "contains a backslash, or a % before two hex digits, which the table format does \
     not support; choose another name (write a space as a space, not as %20)";

/// How long the store may take to answer the first request.
const FIRST_ANSWER_TIMEOUT: Duration = Duration::from_secs(8);

/// How long to wait for that first answer before logging a warning.
const WARN_AFTER: Duration = Duration::from_secs(2);

/// Schemes of URLs. A text such as `s3:/bucket` is a mistyped URL, not a path.
const SCHEMES: [&str; 18] = [
    "s3", "s3a", "s3n", "gs", "gcs", "az", "azure", "abfs", "abfss", "adl", "wasb", "wasbs", "hdfs", "http", "https",
    "file", "memory", "r2",
];

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
    /// Whether it has been reported that the store does not answer.
    is_late: Arc<AtomicBool>,
    last_failure: LastFailure,
    shown: String,
}

impl Location {
    /// Parses the value of `--lake`: a path, a `file://` URL, or `s3://bucket/prefix` with the usual `AWS_*` settings
    /// from the environment. Paths and prefixes are taken literally, whatever characters they contain, except that a
    /// leading `~` is the user's home directory. A `file://` URL is percent-decoded: `%20` is a space. Does not access
    /// the file system's content or the network.
    ///
    /// # Errors
    /// [`Settings`](crate::ErrorKind::Settings) if `text` is none of these, or the S3 settings are incomplete or
    /// inconsistent.
    pub fn parse(text: &str) -> Result<Self> {
        if text.trim().is_empty() {
            return Err(invalid(text, "is empty"));
        }
        if let Some((scheme, rest)) = text.split_once("://") {
            return match scheme.to_ascii_lowercase().as_str() {
                scheme @ ("s3" | "s3a") => Self::s3("--lake", &format!("{scheme}://{rest}")),
                "file" if text.contains(['#', '?', '\\']) || text.trim() != text => {
                    Err(invalid(text, "contains characters that a file URL must encode; give the path instead"))
                }
                "file" => {
                    let path = Url::parse(text).ok().and_then(|url| url.to_file_path().ok());
                    path.map_or_else(
                        || Err(invalid(text, "is not a file URL, which has three slashes: file:///path")),
                        |path| Self::local(&path),
                    )
                }
                _ => Err(invalid(text, "has an unsupported URL scheme")),
            };
        }
        if let Some((scheme, _)) = text.split_once(':')
            && SCHEMES.contains(&scheme.to_ascii_lowercase().as_str())
        {
            let why = format!("is not a complete URL: \"{scheme}:\" must be followed by two slashes");
            return Err(invalid_place("--lake", text, &why)
                .with_hint(format!("write s3://bucket/prefix; for a directory of that name, write ./{text}")));
        }
        Self::local(&expanded(text)?)
    }

    fn local(path: &FilePath) -> Result<Self> {
        let shown = path.display().to_string();
        let absolute =
            std::path::absolute(path).map_err(|error| invalid(&shown, &format!("cannot be resolved ({error})")))?;
        // Symbolic links are resolved, so that a lake has one name, whichever path leads to it.
        let directory = std::fs::canonicalize(&absolute).unwrap_or(absolute);
        if directory.is_file() {
            return Err(invalid(&shown, "is a file, not a directory"));
        }
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
            is_late: Arc::default(),
            last_failure: LastFailure::default(),
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
        let Bucket { store, root_url, prefix, endpoint, last_failure } = Bucket::open(what, text)?;
        if !round_trips_through_url(&root_url, &prefix) {
            return Err(invalid_place(what, text, UNSUPPORTED_CHARACTERS));
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
            is_late: Arc::default(),
            last_failure,
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
            is_late: Arc::default(),
            last_failure: LastFailure::default(),
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
        let failed = |error| store_error("the lake cannot be listed", &error);
        let mut list = self.root.list(Some(&self.prefix));
        // Only the first page must come soon: a long list has many.
        let mut listed = Vec::new();
        if let Some(first) = self.asked(list.try_next()).await.map_err(failed)? {
            listed.push(first);
            listed.extend(list.try_collect::<Vec<_>>().await.map_err(failed)?);
        }
        let store = Arc::new(RunStore::new(Arc::clone(&self.root), self.prefix.clone(), listed));
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
            if !self.is_late.swap(true, Ordering::Relaxed) {
                tracing::warn!("connecting to {}: no answer after {} s", self.endpoint, WARN_AFTER.as_secs());
            }
            let late = tokio::time::timeout(FIRST_ANSWER_TIMEOUT.saturating_sub(WARN_AFTER), work).await;
            late.unwrap_or_else(|_| Err(self.no_answer()))
        };
        if matches!(answered, Ok(_) | Err(object_store::Error::NotFound { .. })) {
            self.reached.store(true, Ordering::Relaxed);
        }
        answered
    }

    /// Returns the error of a store that did not answer, with the reason if it is known.
    fn no_answer(&self) -> object_store::Error {
        let why = self.last_failure.read().map(|why| format!(": {why}")).unwrap_or_default();
        let seconds = FIRST_ANSWER_TIMEOUT.as_secs();
        let source = format!("{}{NO_ANSWER}{seconds} s{why}", self.endpoint).into();
        object_store::Error::Generic { store: "S3", source }
    }

    /// Returns whether the store has answered a request. Always true on local disk.
    pub(super) fn has_answered(&self) -> bool {
        self.directory.is_some() || self.reached.load(Ordering::Relaxed)
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

/// Returns the path in `text`, with a leading `~` replaced by the user's home directory. A shell does this only at the
/// start of a word, and nothing does it for a value in a settings file.
fn expanded(text: &str) -> Result<PathBuf> {
    let Some(rest) = text.strip_prefix('~') else { return Ok(PathBuf::from(text)) };
    if !rest.is_empty() && !rest.starts_with('/') {
        return Err(invalid(text, "names another user's home directory")
            .with_hint(format!("write the path of that directory; for a directory of that name, write ./{text}")));
    }
    let home = std::env::home_dir().filter(|home| home.is_absolute());
    let home = home.ok_or_else(|| invalid(text, "begins with ~, but the home directory is unknown: set HOME"))?;
    Ok(home.join(rest.trim_start_matches('/')))
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
        f.write_str(&harmless_lines(&self.shown))
    }
}

fn invalid(text: &str, why: &str) -> Error {
    invalid_place("--lake", text, why)
}
