//! A table's store in which data files become visible with the commit that names them, and not earlier.
//!
//! Everything that writes to a table (this program's writer, delta-rs' compaction) writes through [`StagedStore`]. Data
//! files go to the run's staging prefix, outside the table's directory. Before a commit is put into the log, the files
//! that it names are moved into place. Thus a plain Parquet reader of the directory never sees rows of an unfinished
//! run, and a commit never names a missing file. Only a few renames separate the first move from the commit. Files that
//! a crash leaves in the directory in between are swept by the next run ([`super::Table`]).

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
};

use super::durable;
use super::entry::{LogEntry, version_of};
use super::layout::{is_data_file, join};
use super::run_store::RunStore;
use super::upload::{Upload, UploadError};

/// How many times the log is read for a commit whose response was lost, and how many times such a commit is put again.
const MAX_TRIES: u32 = 4;

/// The delay between two reads, or two puts.
const RETRY_DELAY: Duration = Duration::from_millis(100);

/// How long after its first put a commit may be put again.
const RETRY_TIMEOUT: Duration = Duration::from_secs(10);

/// How many files are moved into place concurrently.
const CONCURRENT_MOVES: usize = 8;

/// See the [module](self).
pub(super) struct StagedStore {
    root: Arc<dyn ObjectStore>,
    table: PrefixStore<Arc<dyn ObjectStore>>,
    table_prefix: Path,
    /// The prefix where new data files are staged; `None` for a reader, which stages nothing.
    staging: Option<Path>,
    /// The run's view of the store, if `root` is one.
    run_store: Option<Arc<RunStore>>,
    /// Whether the store is a local disk, where no operation takes effect after it has failed.
    is_local: bool,
    /// Whether committed files are synced to a local disk before a commit counts.
    has_fsync: bool,
    staged: Arc<Staged>,
    /// The last version that was committed through this store; -1 if none.
    committed: AtomicI64,
    /// Whether the outcome of the last commit through this store is unknown.
    unknown: AtomicBool,
    failure: UploadError,
}

/// The staged files of a table: the path of each in the table, and its current path in the whole store.
type Staged = Mutex<HashMap<Path, Path>>;

impl StagedStore {
    /// Returns the store of the table at `table_prefix`. New data files are staged at `staging`.
    pub(super) fn new(root: Arc<dyn ObjectStore>, table_prefix: Path, staging: Option<Path>) -> Self {
        Self {
            table: PrefixStore::new(Arc::clone(&root), table_prefix.clone()),
            staging,
            run_store: None,
            is_local: false,
            has_fsync: false,
            table_prefix,
            staged: Arc::default(),
            committed: AtomicI64::new(-1),
            unknown: AtomicBool::new(false),
            failure: UploadError::default(),
            root,
        }
    }

    /// Sets the run's view of the store, if `root` is one.
    pub(super) fn seen_by_run(self, run_store: Option<Arc<RunStore>>) -> Self {
        Self { run_store, ..self }
    }

    /// Sets whether the store is a local disk, and if so, whether committed files are synced to it.
    pub(super) fn on_disk(self, is_local: bool, has_fsync: bool) -> Self {
        Self { is_local, has_fsync: is_local && has_fsync, ..self }
    }

    /// Returns the same store with another staging prefix. Both see the files that either has staged.
    pub(super) fn staging_at(&self, staging: Path) -> Self {
        Self {
            root: Arc::clone(&self.root),
            table: PrefixStore::new(Arc::clone(&self.root), self.table_prefix.clone()),
            table_prefix: self.table_prefix.clone(),
            staging: Some(staging),
            run_store: self.run_store.clone(),
            is_local: self.is_local,
            has_fsync: self.has_fsync,
            staged: Arc::clone(&self.staged),
            committed: AtomicI64::new(-1),
            unknown: AtomicBool::new(false),
            failure: UploadError::default(),
        }
    }

    /// Takes the last error in staging a data file since the previous call; `None` if all were staged. See [`Upload`].
    pub(super) fn take_failure(&self) -> Option<object_store::Error> {
        self.failure.take()
    }

    /// Takes the version that was committed through this store since the previous call, even if an error was reported
    /// for it afterwards.
    pub(super) fn take_committed(&self) -> Option<u64> {
        u64::try_from(self.committed.swap(-1, Ordering::AcqRel)).ok()
    }

    /// Takes whether the outcome of a commit through this store is unknown. The next call returns `false`.
    pub(super) fn take_unknown(&self) -> bool {
        self.unknown.swap(false, Ordering::AcqRel)
    }

    /// Returns whether a version was committed through this store since the last call of [`Self::take_committed`].
    pub(super) fn has_committed(&self) -> bool {
        self.committed.load(Ordering::Acquire) >= 0
    }

    fn note_committed(&self, version: u64) {
        self.committed.store(i64::try_from(version).unwrap_or(i64::MAX), Ordering::Release);
    }

    /// Notes that the data file `location` of the table is staged at `place` in the whole store.
    pub(super) fn note_staged(&self, location: Path, place: Path) {
        lock(&self.staged).insert(location, place);
    }

    /// Returns the current path of `location` in the whole store if it is staged.
    fn staged_at(&self, location: &Path) -> Option<Path> {
        lock(&self.staged).get(location).cloned()
    }

    /// Returns the path in the whole store from which `location` is read.
    fn place(&self, location: &Path) -> Path {
        self.staged_at(location).unwrap_or_else(|| join(&self.table_prefix, location))
    }

    /// Returns the path in the whole store to which a new file at `location` is written. Notes it as staged if it is.
    fn new_place(&self, location: &Path) -> Path {
        match &self.staging {
            Some(staging) if is_data_file(location) => {
                let place = join(staging, location);
                lock(&self.staged).insert(location.clone(), place.clone());
                place
            }
            _ => join(&self.table_prefix, location),
        }
    }

    /// Moves the staged files that a commit names into the table's directory. Returns their paths there.
    async fn publish(&self, files: Vec<(Path, Path)>) -> Result<Vec<Path>> {
        // All files are uploaded before the first is moved, so that the moves take little time.
        if let Some(run_store) = &self.run_store {
            run_store.send(files.iter().map(|(location, _)| self.place(location)).collect()).await?;
        }
        let moves: Vec<_> = files
            .iter()
            .map(|(location, named)| {
                let (root, from, to) = (Arc::clone(&self.root), self.place(location), join(&self.table_prefix, named));
                async move { root.rename(&from, &to).await }
            })
            .collect();
        let outcomes: Vec<_> = futures::stream::iter(moves).buffer_unordered(CONCURRENT_MOVES).collect().await;
        let (staged, named): (Vec<_>, Vec<_>) = files.into_iter().unzip();
        if let Some(error) = outcomes.into_iter().find_map(Result::err) {
            self.withdraw(&named).await;
            return Err(error);
        }
        let mut waiting = lock(&self.staged);
        for location in &staged {
            waiting.remove(location);
        }
        Ok(named)
    }

    /// Removes published files from the table's directory because their commit did not happen.
    async fn withdraw(&self, published: &[Path]) {
        for path in published {
            if let Err(error) = self.table.delete(path).await
                && !matches!(error, object_store::Error::NotFound { .. })
            {
                tracing::warn!(%path, %error, "cannot remove a file of a failed commit; the next run will");
            }
        }
    }

    /// Publishes a commit's files, then puts the commit into the log. If the response is lost, reads the log: the
    /// commit happened if the log contains exactly these bytes. If it has no such entry yet, puts the same bytes again.
    async fn commit(&self, location: &Path, version: u64, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        if let Some(error) = self.take_failure() {
            return Err(error);
        }
        let LogEntry { text, files } =
            LogEntry::new(&Bytes::from(payload), version, |path| self.staged_at(path).is_some());
        let published = self.publish(files).await?;
        if let Err(error) = self.sync_to_disk(&published).await {
            self.withdraw(&published).await;
            return Err(error);
        }
        let start = tokio::time::Instant::now();
        let mut tries = 0;
        let mut may_arrive_late = false;
        loop {
            let error = match self.table.put_opts(location, text.clone().into(), opts.clone()).await {
                Ok(result) => {
                    self.sync_entry(location, version).await?;
                    return Ok(result);
                }
                Err(error) => error,
            };
            may_arrive_late |= !(self.is_local || is_refusal(&error));
            let found = self.read_with_retries(location).await;
            match &found {
                Ok(found) if *found == text => {
                    self.sync_entry(location, version).await?;
                    return Ok(PutResult { e_tag: None, version: None });
                }
                // Another commit has this version. This one was refused, and will be refused if it arrives late.
                Ok(_) => {
                    self.withdraw(&published).await;
                    return Err(error);
                }
                _ => {}
            }
            let absent = is_absent(&found);
            // S3 returns 409 for a conditional put while another request for the same key is in progress.
            let is_busy = matches!(error, object_store::Error::AlreadyExists { .. });
            if absent && tries < MAX_TRIES && (is_busy || (may_arrive_late && start.elapsed() < RETRY_TIMEOUT)) {
                tries += 1;
                tokio::time::sleep(RETRY_DELAY).await;
                continue;
            }
            if absent && !may_arrive_late {
                self.withdraw(&published).await;
            } else {
                // The request may still take effect, so the files must stay.
                self.unknown.store(true, Ordering::Release);
            }
            return Err(error);
        }
    }

    /// Syncs files of the table and their directories to local disk, if the lake is on one and asks for that.
    async fn sync_to_disk(&self, files: &[Path]) -> Result<()> {
        if !self.has_fsync {
            return Ok(());
        }
        let files: Vec<Path> = files.iter().map(|file| join(&self.table_prefix, file)).collect();
        let lake: Path = self.table_prefix.parts().take(self.table_prefix.parts_count().saturating_sub(1)).collect();
        durable::sync(&files, &lake).await
    }

    /// Syncs the log entry of `version` to disk and notes the version as committed. If the sync fails, the outcome is
    /// unknown, because a power failure may undo the commit.
    async fn sync_entry(&self, location: &Path, version: u64) -> Result<()> {
        let synced = self.sync_to_disk(std::slice::from_ref(location)).await;
        match &synced {
            Ok(()) => self.note_committed(version),
            Err(_) => self.unknown.store(true, Ordering::Release),
        }
        synced
    }

    async fn read_with_retries(&self, location: &Path) -> Result<Bytes> {
        let mut tries = 0;
        loop {
            let found = match self.table.get(location).await {
                Ok(found) => found.bytes().await,
                Err(error) => Err(error),
            };
            let settled = matches!(found, Ok(_) | Err(object_store::Error::NotFound { .. }));
            tries += 1;
            if settled || tries == MAX_TRIES {
                return found;
            }
            tokio::time::sleep(RETRY_DELAY).await;
        }
    }
}

fn is_absent(found: &Result<Bytes>) -> bool {
    matches!(found, Err(object_store::Error::NotFound { .. }))
}

/// Returns whether `error` means that the store refused a put and will not apply it later. If the store's client has
/// retried the request, the last response says nothing about the earlier attempts, and the result is `false`.
fn is_refusal(error: &object_store::Error) -> bool {
    use object_store::Error as E;
    let refused = matches!(
        error,
        E::AlreadyExists { .. }
            | E::Precondition { .. }
            | E::NotModified { .. }
            | E::NotFound { .. }
            | E::NotSupported { .. }
            | E::NotImplemented { .. }
            | E::PermissionDenied { .. }
            | E::Unauthenticated { .. }
            | E::InvalidPath { .. }
    );
    // Matched by text, because the error type with the number of retries is private to the store's client.
    refused && !crate::error::chain(error).contains(" retries, ")
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Display for StagedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StagedStore({})", self.table_prefix)
    }
}

impl fmt::Debug for StagedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[async_trait]
impl ObjectStore for StagedStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        if let Some(version) = version_of(location).filter(|_| opts.mode == PutMode::Create) {
            return self.commit(location, version, payload, opts).await;
        }
        let put = self.root.put_opts(&self.new_place(location), payload, opts).await;
        if self.staged_at(location).is_none() {
            return put;
        }
        Ok(self.failure.noted(put))
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let upload = self.root.put_multipart_opts(&self.new_place(location), opts).await?;
        if self.staged_at(location).is_none() {
            return Ok(upload);
        }
        Ok(Box::new(Upload::new(upload, &self.failure)))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.root.get_opts(&self.place(location), options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.root.get_ranges(&self.place(location), ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let (staged, table) = (Arc::clone(&self.staged), self.table_prefix.clone());
        let places = locations.map_ok(move |path| lock(&staged).remove(&path).unwrap_or_else(|| join(&table, &path)));
        let table = self.table_prefix.clone();
        let deleted = self.root.delete_stream(places.boxed());
        deleted.map_ok(move |path| path.prefix_match(&table).map(Iterator::collect).unwrap_or(path)).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.table.list(prefix)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.table.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.table.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.table.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.table.rename_opts(from, to, options).await
    }
}

#[cfg(test)]
mod tests;
