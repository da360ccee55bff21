//! A table's store in which data files become visible with the commit that names them, and not before.
//!
//! Everything that writes to a table (this program's writer, delta-rs' MERGE and compaction) writes through
//! [`StagedStore`]. Data files go to the run's staging prefix, outside the table's directory; when a commit is
//! put into the log, the files that it names are moved into place first. So a plain Parquet reader of the
//! directory never meets rows of a run that is still under way, and a commit never names a file that is not
//! there. Between the moves and the commit lie a few renames; what a crash leaves there is swept by the next
//! run ([`super::Table`]).

use std::collections::HashSet;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

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

/// How many files are moved into place at a time.
const MOVES_AT_ONCE: usize = 8;

/// See the [module](self).
pub(super) struct StagedStore {
    root: Arc<dyn ObjectStore>,
    table: PrefixStore<Arc<dyn ObjectStore>>,
    table_prefix: Path,
    /// Where this run stages; none for a reader, which stages nothing.
    staging: Option<(PrefixStore<Arc<dyn ObjectStore>>, Path)>,
    staged: Arc<Mutex<HashSet<Path>>>,
}

impl StagedStore {
    /// The store of the table at `table_prefix`, staging at `staging_prefix`.
    pub(super) fn new(root: Arc<dyn ObjectStore>, table_prefix: Path, staging_prefix: Option<Path>) -> Self {
        Self {
            table: PrefixStore::new(Arc::clone(&root), table_prefix.clone()),
            staging: staging_prefix.map(|prefix| (PrefixStore::new(Arc::clone(&root), prefix.clone()), prefix)),
            table_prefix,
            staged: Arc::default(),
            root,
        }
    }

    /// Where `location` is now, if it is staged.
    fn staging_for(&self, location: &Path) -> Option<&PrefixStore<Arc<dyn ObjectStore>>> {
        let (store, _) = self.staging.as_ref()?;
        self.lock().contains(location).then_some(store)
    }

    /// Whether a new file at `location` is to be staged; notes that it is.
    fn stage(&self, location: &Path) -> Option<&PrefixStore<Arc<dyn ObjectStore>>> {
        let (store, _) = self.staging.as_ref()?;
        is_data_file(location).then(|| {
            self.lock().insert(location.clone());
            store
        })
    }

    /// Moves the staged files that a commit names into the table's directory; says which.
    async fn publish(&self, commit: &[u8]) -> Result<Vec<Path>> {
        let Some((_, staging_prefix)) = &self.staging else { return Ok(Vec::new()) };
        let named: Vec<Path> = {
            let staged = self.lock();
            added_paths(commit).filter(|path| staged.contains(path)).collect()
        };
        let places = |path| (join(staging_prefix, path), join(&self.table_prefix, path));
        let moves: Vec<_> = named
            .iter()
            .map(places)
            .map(|(from, to)| {
                let root = Arc::clone(&self.root);
                async move { root.rename(&from, &to).await }
            })
            .collect();
        futures::stream::iter(moves).buffer_unordered(MOVES_AT_ONCE).try_collect::<()>().await?;
        let mut staged = self.lock();
        for path in &named {
            staged.remove(path);
        }
        Ok(named)
    }

    /// Takes published files out of the table's directory again: their commit did not happen.
    async fn withdraw(&self, published: &[Path]) {
        for path in published {
            if let Err(error) = self.table.delete(path).await {
                tracing::warn!(%path, %error, "a file of a commit that failed could not be removed; the next run will");
            }
        }
    }

    /// Puts a commit into the log, its files first. An answer lost on the way is looked up: the commit
    /// happened if the log holds exactly these bytes.
    async fn commit(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let bytes = Bytes::from(payload.clone());
        let published = self.publish(&bytes).await?;
        let error = match self.table.put_opts(location, payload, opts).await {
            Ok(result) => return Ok(result),
            Err(error) => error,
        };
        match self.read(location).await {
            Ok(found) if found == bytes => Ok(PutResult { e_tag: None, version: None }),
            // Another commit is there, or none: ours did not happen.
            Ok(_) | Err(object_store::Error::NotFound { .. }) => {
                self.withdraw(&published).await;
                Err(error)
            }
            // Nobody can say: the files must stay, in case the commit is there after all.
            Err(_) => Err(error),
        }
    }

    async fn read(&self, location: &Path) -> Result<Bytes> {
        self.table.get(location).await?.bytes().await
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashSet<Path>> {
        self.staged.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether `path`, relative to a table, is one of its data files.
pub(super) fn is_data_file(path: &Path) -> bool {
    path.as_ref().ends_with(".parquet") && path.parts().next().is_none_or(|part| part.as_ref() != "_delta_log")
}

/// Whether `path`, relative to a table, is a commit of its log.
fn is_commit(path: &Path) -> bool {
    path.as_ref()
        .strip_prefix("_delta_log/")
        .and_then(|name| name.strip_suffix(".json"))
        .is_some_and(|name| name.len() == 20 && name.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The paths of the files that a commit adds, relative to the table.
fn added_paths(commit: &[u8]) -> impl Iterator<Item = Path> {
    #[derive(serde::Deserialize)]
    struct Line {
        add: Option<AddedFile>,
    }
    #[derive(serde::Deserialize)]
    struct AddedFile {
        path: String,
    }
    commit
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice::<Line>(line).ok()?.add)
        .filter_map(|add| Path::from_url_path(&add.path).ok())
}

/// `path` under `prefix`.
pub(super) fn join(prefix: &Path, path: &Path) -> Path {
    prefix.parts().chain(path.parts()).collect()
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
        if let Some(staging) = self.stage(location) {
            return staging.put_opts(location, payload, opts).await;
        }
        if is_commit(location) && opts.mode == PutMode::Create {
            return self.commit(location, payload, opts).await;
        }
        self.table.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.stage(location).unwrap_or(&self.table).put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.staging_for(location).unwrap_or(&self.table).get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.staging_for(location).unwrap_or(&self.table).get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let staged = Arc::clone(&self.staged);
        let staging = self.staging.as_ref().map(|(_, prefix)| prefix.clone());
        let table = self.table_prefix.clone();
        let to_root = locations.map_ok(move |path| {
            let mut staged = staged.lock().unwrap_or_else(PoisonError::into_inner);
            match &staging {
                Some(staging) if staged.remove(&path) => join(staging, &path),
                _ => join(&table, &path),
            }
        });
        self.root.delete_stream(to_root.boxed())
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
mod tests {
    use object_store::memory::InMemory;

    use super::*;

    const COMMIT: &str = "{\"commitInfo\":{}}\n{\"add\":{\"path\":\"y=1/a.parquet\"}}\n";

    async fn names(store: &Arc<dyn ObjectStore>) -> Vec<String> {
        let mut names: Vec<_> = store.list(None).map_ok(|meta| meta.location.to_string()).try_collect().await.unwrap();
        names.sort();
        names
    }

    fn create() -> PutOptions {
        PutOptions { mode: PutMode::Create, ..PutOptions::default() }
    }

    #[tokio::test]
    async fn a_data_file_becomes_visible_with_the_commit_that_names_it() {
        let root: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let store = StagedStore::new(Arc::clone(&root), Path::from("lake/t"), Some(Path::from("lake/_staged/r/t")));
        store.put(&Path::from("y=1/a.parquet"), "rows".into()).await.unwrap();
        assert_eq!(names(&root).await, ["lake/_staged/r/t/y=1/a.parquet"]);
        assert_eq!(store.get(&Path::from("y=1/a.parquet")).await.unwrap().bytes().await.unwrap(), "rows");
        let log = Path::from("_delta_log/00000000000000000000.json");
        store.put_opts(&log, COMMIT.into(), create()).await.unwrap();
        assert_eq!(names(&root).await, ["lake/t/_delta_log/00000000000000000000.json", "lake/t/y=1/a.parquet"]);
    }

    #[tokio::test]
    async fn a_commit_that_loses_leaves_none_of_its_files() {
        let root: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let log = Path::from("_delta_log/00000000000000000000.json");
        root.put(&Path::from("lake/t/_delta_log/00000000000000000000.json"), "{}".into()).await.unwrap();
        let store = StagedStore::new(Arc::clone(&root), Path::from("lake/t"), Some(Path::from("lake/_staged/r/t")));
        store.put(&Path::from("y=1/a.parquet"), "rows".into()).await.unwrap();
        let error = store.put_opts(&log, COMMIT.into(), create()).await.unwrap_err();
        assert!(matches!(error, object_store::Error::AlreadyExists { .. }), "{error}");
        assert_eq!(names(&root).await, ["lake/t/_delta_log/00000000000000000000.json"]);
    }
}
