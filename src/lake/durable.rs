//! Makes commits on local disk durable: the files that a commit names, and their directories, are synced before the
//! commit counts.
//!
//! An object store does this before it responds. A local file system holds writes in memory for a while, and a power
//! failure in that time can leave a log entry that names empty files.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path as FilePath, PathBuf};

use futures::{StreamExt, TryStreamExt};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{Error, Result};

/// How many files are synced concurrently. A file system combines several syncs into one journal write.
const SYNCS_AT_ONCE: usize = 16;

/// Syncs these files of the local file system, then every directory from theirs up to `top` and the parent of `top`. A
/// new file survives a power failure only if its directory is synced too.
pub(super) async fn sync(files: &[Path], top: &Path) -> Result<()> {
    let local = LocalFileSystem::new();
    let place = |path: &Path| local.path_to_filesystem(path);
    let files: Vec<PathBuf> = files.iter().map(place).collect::<Result<_>>()?;
    let top = place(top)?;
    let mut directories = BTreeSet::new();
    for file in &files {
        directories.extend(file.ancestors().skip(1).take_while(|it| it.starts_with(&top)).map(FilePath::to_owned));
    }
    // The lake's directory may be new, so its parent is synced too.
    directories.extend(top.parent().map(FilePath::to_owned));
    sync_all(files).await?;
    sync_all(directories.into_iter().collect()).await
}

async fn sync_all(paths: Vec<PathBuf>) -> Result<()> {
    let syncs = paths.into_iter().map(|path| async move {
        let synced = tokio::task::spawn_blocking(move || sync_one(&path)).await;
        synced.map_err(|error| failed(error.into()))?.map_err(|error| failed(error.into()))
    });
    futures::stream::iter(syncs).buffer_unordered(SYNCS_AT_ONCE).try_collect().await
}

#[cfg(unix)]
fn sync_one(path: &FilePath) -> std::io::Result<()> {
    File::open(path)?.sync_all()
}

/// Outside Unix, a directory cannot be opened as a file, and syncing a file requires write access.
#[cfg(not(unix))]
fn sync_one(path: &FilePath) -> std::io::Result<()> {
    if path.is_dir() { Ok(()) } else { File::options().write(true).open(path)?.sync_all() }
}

fn failed(source: Box<dyn std::error::Error + Send + Sync>) -> Error {
    Error::Generic { store: "LocalFileSystem", source }
}
