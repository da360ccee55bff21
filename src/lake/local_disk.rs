//! Local disk as an object store that lists the end of a long directory quickly.
//!
//! Opening a Delta table lists the log from the last checkpoint on. `LocalFileSystem` reads the metadata of every file in
//! the directory first; this store reads it only for files after the offset.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use async_stream::try_stream;
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
};

/// See the [module](self).
#[derive(Clone, Debug)]
pub(super) struct LocalDisk {
    inner: Arc<LocalFileSystem>,
}

impl LocalDisk {
    pub(super) fn new() -> Self {
        Self { inner: Arc::new(LocalFileSystem::new()) }
    }
}

/// An entry of a directory.
struct DirectoryEntry {
    location: Path,
    is_directory: bool,
}

/// Returns the entries of `directory` in the order of their names; `None` if a name has characters that a location
/// encodes.
fn entries(directory: &std::path::Path, prefix: &Path) -> std::io::Result<Option<Vec<DirectoryEntry>>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let is_plain = |name: &&str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-=".contains(&byte));
        let Some(name) = name.to_str().filter(is_plain) else { return Ok(None) };
        let is_directory = entry.file_type()?.is_dir();
        found.push(DirectoryEntry { location: prefix.clone().join(name), is_directory });
    }
    found.sort_unstable_by(|one, other| one.location.cmp(&other.location));
    Ok(Some(found))
}

/// Reads a directory without blocking the runtime. A directory that does not exist has no entries.
async fn entries_of(directory: PathBuf, prefix: Path) -> Result<Option<Vec<DirectoryEntry>>> {
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| Error::Generic { store: "LocalFileSystem", source };
    match tokio::task::spawn_blocking(move || entries(&directory, &prefix)).await {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::NotFound => Ok(Some(Vec::new())),
        Ok(Err(error)) => Err(failed(Box::new(error))),
        Err(error) => Err(failed(Box::new(error))),
    }
}

impl fmt::Display for LocalDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.inner, f)
    }
}

#[async_trait]
impl ObjectStore for LocalDisk {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.inner.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        let Some(prefix) = prefix.cloned() else { return self.inner.list_with_offset(None, offset) };
        let (inner, offset) = (Arc::clone(&self.inner), offset.clone());
        try_stream! {
            let directory = inner.path_to_filesystem(&prefix)?;
            let Some(entries) = entries_of(directory, prefix.clone()).await? else {
                let mut all = inner.list_with_offset(Some(&prefix), &offset);
                while let Some(object) = all.try_next().await? {
                    yield object;
                }
                return;
            };
            for DirectoryEntry { location, is_directory } in entries {
                if is_directory {
                    let mut below = inner.list_with_offset(Some(&location), &offset);
                    while let Some(object) = below.try_next().await? {
                        yield object;
                    }
                } else if location > offset {
                    match inner.head(&location).await {
                        Ok(object) => yield object,
                        // Removed since the directory was read.
                        Err(Error::NotFound { .. }) => {}
                        Err(error) => Err(error)?,
                    }
                }
            }
        }
        .boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.inner.rename_opts(from, to, options).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn files_after_an_offset_are_listed_as_the_library_lists_them() {
        let directory = tempfile::tempdir().expect("a directory");
        for name in ["a.json", "b.json", "c/d.json", "e.json", "_f/g/h.json"] {
            let path = directory.path().join(name);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
            std::fs::write(path, name).expect("a file");
        }
        let prefix = Path::from_absolute_path(directory.path()).expect("a path");
        let (disk, library) = (LocalDisk::new(), LocalFileSystem::new());
        for odd in [false, true] {
            if odd {
                std::fs::write(directory.path().join("ä b.json"), "odd").expect("a file");
            }
            for offset in ["", "a.json", "b", "c/d.json", "z"] {
                let offset = prefix.clone().join(offset);
                let list = |store: &dyn ObjectStore| store.list_with_offset(Some(&prefix), &offset);
                let mut found: Vec<ObjectMeta> = list(&disk).try_collect().await.expect("a list");
                let mut expected: Vec<ObjectMeta> = list(&library).try_collect().await.expect("a list");
                found.sort_by(|one, other| one.location.cmp(&other.location));
                expected.sort_by(|one, other| one.location.cmp(&other.location));
                assert_eq!(found, expected, "after {offset}");
            }
        }
        let nowhere = prefix.join("nowhere");
        let found: Vec<ObjectMeta> =
            disk.list_with_offset(Some(&nowhere), &nowhere).try_collect().await.expect("a list");
        assert!(found.is_empty());
    }
}
