//! One run's cached view of an object store. The lake is listed once, each immutable file is fetched once, and small
//! staged files are not uploaded before a commit needs them.
//!
//! In a bucket each request costs money and time, and a run repeats the same requests many times. The run need not see
//! what others write meanwhile: if another run has committed first, the store refuses this run's commit, whatever the
//! cache contains. After such a refusal, the files of the table are listed again. The same happens before a table is
//! processed late in a long run. Files that may change are never cached.

mod store;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::{StreamExt, TryStreamExt};
use object_store::path::{Path, PathPart};
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, Result};

use super::entry::version_of;
use super::layout::{RESUME_POINT, STAGED, join};

/// The name of the file that points to the last checkpoint of a log.
const HINT: &str = "_last_checkpoint";

/// Maximum size of a file that is fetched whole and cached.
const MAX_CACHED_FILE_BYTES: u64 = 4 * 1024 * 1024;

/// Maximum size of the cache. When it is exceeded, the cache is cleared.
const MAX_CACHED_BYTES: usize = 64 * 1024 * 1024;

/// Maximum total size of the staged files that are held back in memory.
const MAX_HELD_BACK_BYTES: usize = 32 * 1024 * 1024;

/// How many files are uploaded concurrently.
const CONCURRENT_UPLOADS: usize = 8;

/// Listed modification time of the run's own files. It lies in the future, so that a sweep leaves them alone.
const OWN_FILE_TIME: DateTime<Utc> = DateTime::<Utc>::MAX_UTC;

/// How long the list of a table's files is used before it is read again when the table's turn comes.
const LIST_VALID_FOR: Duration = Duration::from_secs(10);

/// See the [module](self).
pub(super) struct RunStore {
    inner: Arc<dyn ObjectStore>,
    lake: Path,
    state: Arc<Mutex<RunState>>,
    /// Held during a fetch. A second request for the same file waits, and then finds the file in the cache.
    fetch_lock: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct RunState {
    listed: BTreeMap<Path, ObjectMeta>,
    /// When the files of each table were last listed on their own.
    read: HashMap<String, Instant>,
    /// When the whole lake was listed.
    opened: Option<Instant>,
    cached: HashMap<Path, (ObjectMeta, Bytes)>,
    cached_bytes: usize,
    /// Files that are too large to be cached.
    large: HashSet<Path>,
    /// Staged files that are not uploaded yet.
    held_back: HashMap<Path, Bytes>,
    held_back_bytes: usize,
}

impl RunState {
    fn drop_cached(&mut self, path: &Path) {
        if let Some((_, bytes)) = self.cached.remove(path) {
            self.cached_bytes -= bytes.len();
        }
    }

    fn forget(&mut self, path: &Path) {
        self.listed.remove(path);
        self.drop_cached(path);
        if let Some(bytes) = self.held_back.remove(path) {
            self.held_back_bytes -= bytes.len();
        }
    }
}

fn lock(state: &Mutex<RunState>) -> MutexGuard<'_, RunState> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn is_known_absent(state: &RunState, lake: &Path, path: &Path) -> bool {
    let name = path.filename().unwrap_or_default();
    (name == HINT || name == RESUME_POINT) && path.prefix_matches(lake) && !state.listed.contains_key(path)
}

impl RunStore {
    /// Creates a run's view of the store `inner`. `listed` are all objects of the lake at the prefix `lake`.
    pub(super) fn new(inner: Arc<dyn ObjectStore>, lake: Path, listed: Vec<ObjectMeta>) -> Self {
        let listed = listed.into_iter().map(|object| (object.location.clone(), object)).collect();
        let state = RunState { listed, opened: Some(Instant::now()), ..RunState::default() };
        Self { inner, lake, state: Arc::new(Mutex::new(state)), fetch_lock: tokio::sync::Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, RunState> {
        lock(&self.state)
    }

    /// Lists a table's files again, if `at_once` is set or the last list is older than [`LIST_VALID_FOR`].
    pub(super) async fn refresh(&self, table: &str, at_once: bool) -> Result<()> {
        {
            let state = self.state();
            let read = state.read.get(table).copied().or(state.opened);
            if !at_once && read.is_some_and(|read| read.elapsed() < LIST_VALID_FOR) {
                return Ok(());
            }
        }
        let prefix = join(&self.lake, &Path::from(table));
        let listed: Vec<ObjectMeta> = self.inner.list(Some(&prefix)).try_collect().await?;
        let mut state = self.state();
        state.listed.retain(|path, _| !path.prefix_matches(&prefix));
        state.listed.extend(listed.into_iter().map(|object| (object.location.clone(), object)));
        state.read.insert(table.to_owned(), Instant::now());
        Ok(())
    }

    /// Returns the name of the table that `path` belongs to; `None` if it is outside the lake.
    fn table_of(&self, path: &Path) -> Option<String> {
        path.prefix_match(&self.lake)?.next().map(|part| part.as_ref().to_owned())
    }

    /// Returns `path` relative to its table; `None` if it is outside the lake.
    fn in_table(&self, path: &Path) -> Option<Path> {
        Some(path.prefix_match(&self.lake)?.skip(1).collect())
    }

    fn is_staged(&self, path: &Path) -> bool {
        path.prefix_match(&self.lake).and_then(|mut parts| parts.next()).is_some_and(|part| part.as_ref() == STAGED)
    }

    /// Returns whether the file at `path` is immutable: a Parquet file or a log entry.
    fn is_final(&self, path: &Path) -> bool {
        let name = path.filename().unwrap_or_default();
        let is_parquet = name.ends_with(".parquet");
        let is_entry = self.in_table(path).is_some_and(|path| version_of(&path).is_some());
        path.prefix_matches(&self.lake) && (is_parquet || is_entry)
    }

    /// Returns whether `path` is not listed and need not be requested: it is the pointer to the last checkpoint, or a
    /// resume point, which only this run writes.
    fn is_known_absent(&self, path: &Path) -> bool {
        is_known_absent(&self.state(), &self.lake, path)
    }

    /// Adds a file that this run has written to the list.
    fn note(&self, path: &Path, size: u64) {
        let meta =
            ObjectMeta { location: path.clone(), last_modified: OWN_FILE_TIME, size, e_tag: None, version: None };
        if path.prefix_matches(&self.lake) {
            self.state().listed.insert(path.clone(), meta);
        }
    }

    /// Notes that `to` has the same content as `from`.
    fn note_copy(&self, from: &Path, to: &Path) {
        let (size, cached) = {
            let state = self.state();
            (
                state.listed.get(from).map_or(MAX_CACHED_FILE_BYTES + 1, |object| object.size),
                state.cached.get(from).cloned(),
            )
        };
        self.note(to, size);
        if let Some((meta, bytes)) = cached {
            self.cache(ObjectMeta { location: to.clone(), ..meta }, &bytes);
        }
    }

    fn cache(&self, meta: ObjectMeta, bytes: &Bytes) {
        let mut state = self.state();
        if state.cached_bytes + bytes.len() > MAX_CACHED_BYTES {
            state.cached.clear();
            state.cached_bytes = 0;
        }
        state.cached_bytes += bytes.len();
        if let Some((_, before)) = state.cached.insert(meta.location.clone(), (meta, bytes.clone())) {
            state.cached_bytes -= before.len();
        }
    }

    /// Returns the file at `path` if its content is held back or cached.
    fn cached_content(&self, path: &Path) -> Option<(ObjectMeta, Bytes)> {
        let state = self.state();
        if let Some(bytes) = state.held_back.get(path) {
            let meta = state.listed.get(path).cloned();
            return meta.map(|meta| (meta, bytes.clone()));
        }
        state.cached.get(path).cloned()
    }

    /// Returns the whole file at `path`, from the cache or the store; `None` if it is large or may change.
    async fn fetch(&self, path: &Path) -> Result<Option<(ObjectMeta, Bytes)>> {
        if let Some(cached) = self.cached_content(path) {
            return Ok(Some(cached));
        }
        if !self.is_final(path) || self.is_large(path) {
            return Ok(None);
        }
        let _one_at_a_time = self.fetch_lock.lock().await;
        if let Some(cached) = self.cached_content(path) {
            return Ok(Some(cached));
        }
        let found = self.inner.get(path).await?;
        if found.meta.size > MAX_CACHED_FILE_BYTES {
            self.state().large.insert(path.clone());
            return Ok(None);
        }
        let meta = found.meta.clone();
        let bytes = found.bytes().await?;
        // Not listed yet if it is another run's commit, or one of this run's whose response was lost.
        self.state().listed.insert(path.clone(), meta.clone());
        self.cache(meta.clone(), &bytes);
        Ok(Some((meta, bytes)))
    }

    fn is_large(&self, path: &Path) -> bool {
        let state = self.state();
        state.large.contains(path) || state.listed.get(path).is_some_and(|object| object.size > MAX_CACHED_FILE_BYTES)
    }

    /// Uploads all files under `prefix` that are held back.
    pub(super) async fn send_under(&self, prefix: &Path) -> Result<()> {
        let held = self.state().held_back.keys().filter(|path| path.prefix_matches(prefix)).cloned().collect();
        self.send(held).await
    }

    /// Uploads those of `paths` that are held back. Afterwards they are staged in the store like all others.
    pub(super) async fn send(&self, paths: Vec<Path>) -> Result<()> {
        let send = |path: Path| async move {
            let Some(bytes) = self.state().held_back.get(&path).cloned() else { return Ok(()) };
            self.inner.put(&path, bytes.clone().into()).await?;
            let meta = {
                let mut state = self.state();
                if state.held_back.remove(&path).is_some() {
                    state.held_back_bytes -= bytes.len();
                }
                state.listed.get(&path).cloned()
            };
            if let Some(meta) = meta {
                self.cache(meta, &bytes);
            }
            Ok(())
        };
        futures::stream::iter(paths.into_iter().map(send)).buffer_unordered(CONCURRENT_UPLOADS).try_collect().await
    }

    /// Returns the listed files under `prefix`; `None` if `prefix` is outside the lake.
    fn listed_under(&self, prefix: Option<&Path>) -> Option<Vec<ObjectMeta>> {
        let prefix = prefix.filter(|prefix| prefix.prefix_matches(&self.lake))?;
        let state = self.state();
        let under =
            state.listed.range(prefix.clone()..).take_while(|(path, _)| path.as_ref().starts_with(prefix.as_ref()));
        Some(
            under
                .filter(|(path, _)| path.prefix_matches(prefix) && *path != prefix)
                .map(|(_, it)| it.clone())
                .collect(),
        )
    }
}

impl fmt::Display for RunStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RunStore({})", self.inner)
    }
}

impl fmt::Debug for RunStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Returns the directory of `path`.
fn parent(path: &Path) -> Option<Path> {
    let parts: Vec<PathPart<'_>> = path.parts().collect();
    let (_, directories) = parts.split_last()?;
    Some(directories.iter().cloned().collect())
}
