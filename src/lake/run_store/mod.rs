//! An object store as one run sees it: listed once, each file that never changes fetched once, and small staged files not
//! sent before a commit needs them.
//!
//! In a bucket each question costs money and time, and a run asks the same ones again and again. What others write
//! meanwhile need not be seen: a commit that another run has come before is refused by the store, whatever this one
//! believes; then, and before a table's turn comes late in a long run, its part of the list is read again. Nothing is
//! believed of a file that may change: such files are always asked for.

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
use super::layout::{CHECKPOINT, STAGED, join};

/// The name of the file that says which of a log's checkpoints is the last.
const HINT: &str = "_last_checkpoint";

/// A file of this size at most is fetched whole, and kept.
const MOST_KEPT: u64 = 4 * 1024 * 1024;

/// So many bytes of files are kept; beyond that all are forgotten.
const MOST_KEPT_IN_ALL: usize = 64 * 1024 * 1024;

/// So many bytes of staged files are held back.
const MOST_HELD_BACK: usize = 32 * 1024 * 1024;

/// So many files are sent at a time.
const SENT_AT_ONCE: usize = 8;

/// When the run's own files were written, as far as a sweep must know: it leaves them alone.
const YOUNG: DateTime<Utc> = DateTime::<Utc>::MAX_UTC;

/// A table's part of the list that is as old as this is read again when the table's turn comes.
const TRUSTED_FOR: Duration = Duration::from_secs(10);

/// See the [module](self).
pub(super) struct RunStore {
    inner: Arc<dyn ObjectStore>,
    lake: Path,
    state: Arc<Mutex<State>>,
    /// One file is fetched at a time: whoever asks for another part of it finds it here.
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    listed: BTreeMap<Path, ObjectMeta>,
    /// When each table's part of the list was read.
    read: HashMap<String, Instant>,
    /// When all of it was.
    opened: Option<Instant>,
    kept: HashMap<Path, (ObjectMeta, Bytes)>,
    kept_bytes: usize,
    /// Files that are too large to be kept.
    large: HashSet<Path>,
    /// Staged files that the store does not have yet.
    held_back: HashMap<Path, Bytes>,
    held_back_bytes: usize,
}

impl State {
    fn drop_kept(&mut self, path: &Path) {
        if let Some((_, bytes)) = self.kept.remove(path) {
            self.kept_bytes -= bytes.len();
        }
    }

    fn forget(&mut self, path: &Path) {
        self.listed.remove(path);
        self.drop_kept(path);
        if let Some(bytes) = self.held_back.remove(path) {
            self.held_back_bytes -= bytes.len();
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn is_known_absent(state: &State, lake: &Path, path: &Path) -> bool {
    let name = path.filename().unwrap_or_default();
    (name == HINT || name == CHECKPOINT) && path.prefix_matches(lake) && !state.listed.contains_key(path)
}

impl RunStore {
    /// The store `inner` as a run over the lake at `lake` sees it. Lists the lake.
    pub(super) async fn open(inner: Arc<dyn ObjectStore>, lake: Path) -> Result<Self> {
        let listed: Vec<ObjectMeta> = inner.list(Some(&lake)).try_collect().await?;
        let listed = listed.into_iter().map(|object| (object.location.clone(), object)).collect();
        let state = State { listed, opened: Some(Instant::now()), ..State::default() };
        Ok(Self { inner, lake, state: Arc::new(Mutex::new(state)), fetching: tokio::sync::Mutex::default() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Reads the list of a table's files again, unless that was done just now or `at_once` says so anyway.
    pub(super) async fn refresh(&self, table: &str, at_once: bool) -> Result<()> {
        {
            let state = self.state();
            let read = state.read.get(table).copied().or(state.opened);
            if !at_once && read.is_some_and(|read| read.elapsed() < TRUSTED_FOR) {
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

    /// The table that a path of the lake belongs to.
    fn table_of(&self, path: &Path) -> Option<String> {
        path.prefix_match(&self.lake)?.next().map(|part| part.as_ref().to_owned())
    }

    /// The part of a path that is relative to its table.
    fn in_table(&self, path: &Path) -> Option<Path> {
        Some(path.prefix_match(&self.lake)?.skip(1).collect())
    }

    fn is_staged(&self, path: &Path) -> bool {
        path.prefix_match(&self.lake).and_then(|mut parts| parts.next()).is_some_and(|part| part.as_ref() == STAGED)
    }

    /// Whether what lies at `path` is never replaced by something else.
    fn is_final(&self, path: &Path) -> bool {
        let name = path.filename().unwrap_or_default();
        let is_parquet = name.ends_with(".parquet");
        let is_entry = self.in_table(path).is_some_and(|path| version_of(&path).is_some());
        path.prefix_matches(&self.lake) && (is_parquet || is_entry)
    }

    /// Whether nothing lies at `path` as far as the run knows, and it is of no use to ask: a hint, or what only this run
    /// writes.
    fn is_known_absent(&self, path: &Path) -> bool {
        is_known_absent(&self.state(), &self.lake, path)
    }

    fn note(&self, path: &Path, size: u64) {
        let meta = ObjectMeta { location: path.clone(), last_modified: YOUNG, size, e_tag: None, version: None };
        if path.prefix_matches(&self.lake) {
            self.state().listed.insert(path.clone(), meta);
        }
    }

    /// Notes that `to` holds the same as `from`.
    fn note_copy(&self, from: &Path, to: &Path) {
        let (size, known) = {
            let state = self.state();
            (state.listed.get(from).map_or(MOST_KEPT + 1, |object| object.size), state.kept.get(from).cloned())
        };
        self.note(to, size);
        if let Some((meta, bytes)) = known {
            self.keep(ObjectMeta { location: to.clone(), ..meta }, &bytes);
        }
    }

    fn keep(&self, meta: ObjectMeta, bytes: &Bytes) {
        let mut state = self.state();
        if state.kept_bytes + bytes.len() > MOST_KEPT_IN_ALL {
            state.kept.clear();
            state.kept_bytes = 0;
        }
        state.kept_bytes += bytes.len();
        if let Some((_, before)) = state.kept.insert(meta.location.clone(), (meta, bytes.clone())) {
            state.kept_bytes -= before.len();
        }
    }

    /// What is known of the content of the file at `path`.
    fn known(&self, path: &Path) -> Option<(ObjectMeta, Bytes)> {
        let state = self.state();
        if let Some(bytes) = state.held_back.get(path) {
            let meta = state.listed.get(path).cloned();
            return meta.map(|meta| (meta, bytes.clone()));
        }
        state.kept.get(path).cloned()
    }

    /// The whole file at `path`, if it is small and final.
    async fn fetched(&self, path: &Path) -> Result<Option<(ObjectMeta, Bytes)>> {
        if let Some(known) = self.known(path) {
            return Ok(Some(known));
        }
        if !self.is_final(path) || self.is_large(path) {
            return Ok(None);
        }
        let _one_at_a_time = self.fetching.lock().await;
        if let Some(known) = self.known(path) {
            return Ok(Some(known));
        }
        let found = self.inner.get(path).await?;
        if found.meta.size > MOST_KEPT {
            self.state().large.insert(path.clone());
            return Ok(None);
        }
        let meta = found.meta.clone();
        let bytes = found.bytes().await?;
        // A commit whose answer was lost, or another run's.
        self.state().listed.insert(path.clone(), meta.clone());
        self.keep(meta.clone(), &bytes);
        Ok(Some((meta, bytes)))
    }

    fn is_large(&self, path: &Path) -> bool {
        let state = self.state();
        state.large.contains(path) || state.listed.get(path).is_some_and(|object| object.size > MOST_KEPT)
    }

    /// Sends what was held back under `prefix`.
    pub(super) async fn send_under(&self, prefix: &Path) -> Result<()> {
        let held = self.state().held_back.keys().filter(|path| path.prefix_matches(prefix)).cloned().collect();
        self.send(held).await
    }

    /// Sends those of these files that were held back: afterwards they lie where they are staged, as others do.
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
                self.keep(meta, &bytes);
            }
            Ok(())
        };
        futures::stream::iter(paths.into_iter().map(send)).buffer_unordered(SENT_AT_ONCE).try_collect().await
    }

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

/// The directory that `path` lies in.
fn parent(path: &Path) -> Option<Path> {
    let parts: Vec<PathPart<'_>> = path.parts().collect();
    let (_, directories) = parts.split_last()?;
    Some(directories.iter().cloned().collect())
}
