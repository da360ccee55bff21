//! An object store as one run sees it: listed once, each file that never changes fetched once, and small staged files not
//! sent before a commit needs them.
//!
//! In a bucket each question costs money and time, and a run asks the same ones again and again. What others write
//! meanwhile need not be seen: a commit that another run has come before is refused by the store, whatever this one
//! believes; then, and before a table's turn comes late in a long run, its part of the list is read again. Nothing is
//! believed of a file that may change: such files are always asked for.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::Utc;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::path::{Path, PathPart};
use object_store::{
    CopyOptions, GetOptions, GetRange, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions,
    Result,
};

use super::checkpoint::FILE as CHECKPOINT;
use super::entry::version_of;
use super::lock::STAGED;
use super::staged::join;

/// The name of the file that says which of a log's checkpoints is the last.
const HINT: &str = "_last_checkpoint";

/// A file of this size at most is fetched whole, and kept.
const MOST_KEPT: u64 = 4 * 1024 * 1024;

/// So many bytes of files are kept; beyond that all are forgotten.
const MOST_KEPT_IN_ALL: usize = 64 * 1024 * 1024;

/// So many bytes of staged files are held back.
const MOST_HELD_BACK: usize = 32 * 1024 * 1024;

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
        let meta = ObjectMeta { location: path.clone(), last_modified: Utc::now(), size, e_tag: None, version: None };
        if path.prefix_matches(&self.lake) {
            self.state().listed.insert(path.clone(), meta);
        }
    }

    fn note_copy(&self, from: &Path, to: &Path) {
        let size = self.state().listed.get(from).map_or(MOST_KEPT + 1, |object| object.size);
        self.note(to, size);
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
        self.keep(meta.clone(), &bytes);
        Ok(Some((meta, bytes)))
    }

    fn is_large(&self, path: &Path) -> bool {
        let state = self.state();
        state.large.contains(path) || state.listed.get(path).is_some_and(|object| object.size > MOST_KEPT)
    }

    /// Sends what was held back under `prefix`.
    async fn send(&self, prefix: &Path) -> Result<()> {
        let held: Vec<(Path, Bytes)> = {
            let state = self.state();
            let held = state.held_back.iter().filter(|(path, _)| path.prefix_matches(prefix));
            held.map(|(path, bytes)| (path.clone(), bytes.clone())).collect()
        };
        for (path, bytes) in held {
            let size = bytes.len();
            self.inner.put(&path, bytes.into()).await?;
            let mut state = self.state();
            if state.held_back.remove(&path).is_some() {
                state.held_back_bytes -= size;
            }
        }
        Ok(())
    }

    /// Moves a file that was held back to its place; `false` if it was not.
    async fn place(&self, from: &Path, to: &Path) -> Result<bool> {
        let Some(bytes) = self.state().held_back.get(from).cloned() else { return Ok(false) };
        self.inner.put(to, bytes.clone().into()).await?;
        self.note(to, bytes.len() as u64);
        let meta = self.state().listed.get(to).cloned();
        if let Some(meta) = meta {
            self.keep(meta, &bytes);
        }
        Ok(true)
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

fn absent(path: &Path) -> object_store::Error {
    let source = "it is not in the list of the lake's files".into();
    object_store::Error::NotFound { path: path.to_string(), source }
}

/// The answer to a request for a file whose content is known.
fn answer(meta: ObjectMeta, bytes: &Bytes, options: &GetOptions) -> Result<GetResult> {
    let size = bytes.len() as u64;
    let range = match &options.range {
        _ if options.head => 0..0,
        None => 0..size,
        Some(range) => within(range, size).ok_or_else(|| object_store::Error::Generic {
            store: "RunStore",
            source: format!("{range:?} is not in a file of {size} bytes").into(),
        })?,
    };
    let part = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
    let content = bytes.slice(part(range.start)..part(range.end));
    let payload = GetResultPayload::Stream(futures::stream::once(async move { Ok(content) }).boxed());
    Ok(GetResult { payload, meta, range, attributes: Default::default() })
}

fn within(range: &GetRange, size: u64) -> Option<Range<u64>> {
    let range = match range {
        GetRange::Bounded(range) => range.start..range.end.min(size),
        GetRange::Offset(from) => *from..size,
        GetRange::Suffix(last) => size.saturating_sub(*last)..size,
    };
    (range.start <= range.end && range.start <= size).then_some(range)
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

#[async_trait]
impl ObjectStore for RunStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let bytes = Bytes::from(payload.clone());
        let is_parquet = location.filename().is_some_and(|name| name.ends_with(".parquet"));
        if self.is_staged(location) && is_parquet && opts.mode == PutMode::Overwrite {
            let mut state = self.state();
            if bytes.len() as u64 <= MOST_KEPT && state.held_back_bytes + bytes.len() <= MOST_HELD_BACK {
                state.held_back_bytes += bytes.len();
                if let Some(before) = state.held_back.insert(location.clone(), bytes.clone()) {
                    state.held_back_bytes -= before.len();
                }
                drop(state);
                self.note(location, bytes.len() as u64);
                return Ok(PutResult { e_tag: None, version: None });
            }
        }
        // A later run may go on from what a checkpoint names: it must be there.
        if location.filename() == Some(CHECKPOINT)
            && self.is_staged(location)
            && let Some(part) = parent(location)
        {
            self.send(&part).await?;
        }
        let put = self.inner.put_opts(location, payload, opts).await;
        match &put {
            Ok(_) => {
                self.note(location, bytes.len() as u64);
                let meta = self.state().listed.get(location).cloned();
                if let Some(meta) = meta.filter(|_| self.is_final(location) && bytes.len() as u64 <= MOST_KEPT) {
                    self.keep(meta, &bytes);
                }
            }
            // Another run has come before: what it wrote must be seen from now on.
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
                let is_entry = self.in_table(location).is_some_and(|path| version_of(&path).is_some());
                if let Some(table) = self.table_of(location).filter(|_| is_entry) {
                    self.refresh(&table, true).await?;
                }
            }
            Err(_) => {}
        }
        put
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let upload = self.inner.put_multipart_opts(location, opts).await?;
        // How large it becomes is not known yet: too large to be kept.
        self.note(location, MOST_KEPT + 1);
        Ok(upload)
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        // The hint at the last checkpoint says no more than the list does.
        let is_hint = location.filename() == Some(HINT) && location.prefix_matches(&self.lake);
        if is_hint || self.is_known_absent(location) {
            return Err(absent(location));
        }
        let is_plain = options.if_match.is_none()
            && options.if_none_match.is_none()
            && options.if_modified_since.is_none()
            && options.if_unmodified_since.is_none()
            && options.version.is_none();
        if is_plain {
            if options.head {
                let listed = self.state().listed.get(location).cloned();
                match listed.filter(|_| self.is_final(location)) {
                    Some(meta) => return answer(meta, &Bytes::new(), &options),
                    // Whether a table has a log is asked before it is written; if another run begins it now, its first
                    // commit is refused.
                    None if self.is_final(location) => return Err(absent(location)),
                    None => {}
                }
            } else if let Some((meta, bytes)) = self.fetched(location).await? {
                return answer(meta, &bytes, &options);
            }
        }
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let (state, inner, lake) = (Arc::clone(&self.state), Arc::clone(&self.inner), self.lake.clone());
        let deleted = async_stream::stream! {
            let (mut locations, mut sent) = (locations, Vec::new());
            while let Some(location) = locations.next().await {
                match location {
                    // The store has never seen it.
                    Ok(path) if lock(&state).held_back.contains_key(&path) => {
                        lock(&state).forget(&path);
                        yield Ok(path);
                    }
                    Ok(path) if is_known_absent(&lock(&state), &lake, &path) => yield Ok(path),
                    other => sent.push(other),
                }
            }
            if sent.is_empty() {
                return;
            }
            let mut deleted = inner.delete_stream(futures::stream::iter(sent).boxed());
            while let Some(outcome) = deleted.next().await {
                if let Ok(path) = &outcome {
                    lock(&state).forget(path);
                }
                yield outcome;
            }
        };
        deleted.boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.listed_under(prefix) {
            Some(listed) => futures::stream::iter(listed.into_iter().map(Ok)).boxed(),
            None => self.inner.list(prefix),
        }
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.listed_under(prefix) {
            Some(listed) => {
                let offset = offset.clone();
                let after = listed.into_iter().filter(move |object| object.location > offset);
                futures::stream::iter(after.map(Ok).collect::<Vec<_>>()).boxed()
            }
            None => self.inner.list_with_offset(prefix, offset),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let (Some(listed), Some(prefix)) = (self.listed_under(prefix), prefix) else {
            return self.inner.list_with_delimiter(prefix).await;
        };
        let depth = prefix.parts_count() + 1;
        let (objects, deeper): (Vec<_>, Vec<_>) =
            listed.into_iter().partition(|object| object.location.parts_count() == depth);
        let mut common_prefixes: Vec<Path> =
            deeper.iter().map(|object| object.location.parts().take(depth).collect::<Path>()).collect();
        common_prefixes.dedup();
        Ok(ListResult { common_prefixes, objects })
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        if self.place(from, to).await? {
            return Ok(());
        }
        self.inner.copy_opts(from, to, options).await?;
        self.note_copy(from, to);
        Ok(())
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        if !self.place(from, to).await? {
            self.inner.rename_opts(from, to, options).await?;
            self.note_copy(from, to);
        }
        self.state().forget(from);
        Ok(())
    }
}

/// The directory that `path` lies in.
fn parent(path: &Path) -> Option<Path> {
    let parts: Vec<PathPart<'_>> = path.parts().collect();
    let (_, directories) = parts.split_last()?;
    Some(directories.iter().cloned().collect())
}
