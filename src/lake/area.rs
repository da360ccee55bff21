//! A run's staging area: `<lake>/_staged/<run>/`, where data files wait for their commit.
//!
//! It belongs to one run. On local disk the run holds a lock for as long as its process lives, so what a dead
//! run left is known to be dead and removed at once; on S3, which has no locks, it is removed after a day.

use std::fs::File;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use chrono::TimeDelta;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use super::{Lake, store_error};
use crate::error::{Error, Result};

const STAGED: &str = "_staged";

/// After how long a run on a store without locks counts as dead.
const DEAD_AFTER: TimeDelta = TimeDelta::days(1);

/// See the [module](self). Dropping it removes a local area; [`RunArea::remove`] removes any.
#[derive(Debug)]
pub struct RunArea {
    run: String,
    prefix: Path,
    root: Arc<dyn ObjectStore>,
    local: Option<LocalLock>,
}

#[derive(Debug)]
struct LocalLock {
    directory: PathBuf,
    /// Whether the lake's directory is this run's doing: it goes again if nothing was put there.
    created: bool,
    staged: PathBuf,
    run: String,
    /// Held, not read: closing it gives up the lock.
    _lock: File,
}

impl RunArea {
    /// Opens an area for a new run and removes what dead runs left. This is also the proof that the lake can
    /// be written.
    ///
    /// # Errors
    /// [`Settings`](crate::ErrorKind::Settings) where the lake cannot be written;
    /// [`Unreachable`](crate::ErrorKind::Unreachable) where the store fails.
    pub async fn open(lake: &Lake) -> Result<Self> {
        let run = uuid::Uuid::new_v4().simple().to_string();
        let location = lake.location();
        let staged = super::staged::join(&location.prefix, &Path::from(STAGED));
        let area = Self {
            prefix: super::staged::join(&staged, &Path::from(run.as_str())),
            root: Arc::clone(&location.root),
            local: location.directory().map(|directory| LocalLock::take(directory, &run)).transpose()?,
            run,
        };
        if area.local.is_none() {
            area.remove_dead_on_store(&staged).await?;
        }
        Ok(area)
    }

    /// The run's id.
    #[must_use]
    pub fn run(&self) -> &str {
        &self.run
    }

    /// The prefix, in the store, at which something called `name` is staged.
    pub(super) fn prefix_for(&self, name: &str) -> Path {
        super::staged::join(&self.prefix, &Path::from(name))
    }

    /// Removes everything that is still staged.
    pub async fn remove(self) {
        if self.local.is_none() {
            remove_all(&self.root, &self.prefix).await;
        }
    }

    /// Writes a marker, whose age is none by the store's own clock, and removes areas that are a day older.
    async fn remove_dead_on_store(&self, staged: &Path) -> Result<()> {
        let marker = self.prefix_for("started");
        let refused = |error| store_error("the lake cannot be written", &error);
        self.root.put(&marker, "".into()).await.map_err(refused)?;
        let now = self.root.head(&marker).await.map_err(refused)?.last_modified;
        let runs = self.root.list_with_delimiter(Some(staged)).await.map_err(refused)?.common_prefixes;
        for run in runs {
            let objects: Vec<_> = self.root.list(Some(&run)).try_collect().await.map_err(refused)?;
            if objects.iter().all(|object| now - object.last_modified > DEAD_AFTER) {
                remove_all(&self.root, &run).await;
            }
        }
        Ok(())
    }
}

async fn remove_all(root: &Arc<dyn ObjectStore>, prefix: &Path) {
    let paths = root.list(Some(prefix)).map_ok(|object| object.location).boxed();
    let removed: Vec<_> = root.delete_stream(paths).collect().await;
    if let Some(error) = removed.into_iter().find_map(std::result::Result::err) {
        tracing::warn!(%prefix, %error, "staged files could not be removed; a later run will");
    }
}

impl LocalLock {
    fn take(directory: &FilePath, run: &str) -> Result<Self> {
        let staged = directory.join(STAGED);
        let created = !directory.exists();
        let refused = |error: &std::io::Error| cannot_write(directory, error);
        std::fs::create_dir_all(&staged).map_err(|error| refused(&error))?;
        remove_dead(&staged);
        // The lock's name appears only once the lock is held, so that nobody takes this run for dead.
        let unnamed = staged.join(format!("{run}.new"));
        let lock = create_in(&staged, &unnamed).map_err(|error| refused(&error))?;
        lock.try_lock().map_err(|error| refused(&error.into()))?;
        std::fs::rename(&unnamed, staged.join(format!("{run}.lock"))).map_err(|error| refused(&error))?;
        std::fs::create_dir(staged.join(run)).map_err(|error| refused(&error))?;
        Ok(Self { directory: directory.to_owned(), created, staged, run: run.to_owned(), _lock: lock })
    }
}

impl Drop for LocalLock {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(self.staged.join(&self.run));
        let _ = std::fs::remove_file(self.staged.join(format!("{}.lock", self.run)));
        // Only the last one to leave succeeds.
        let _ = std::fs::remove_dir(&self.staged);
        if self.created {
            let _ = std::fs::remove_dir(&self.directory);
        }
    }
}

/// Creates a file in `staged`, which a run that ends right now may be removing.
fn create_in(staged: &FilePath, file: &FilePath) -> std::io::Result<File> {
    for _ in 0..10 {
        match File::create(file) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => std::fs::create_dir_all(staged)?,
            other => return other,
        }
    }
    File::create(file)
}

/// Removes the areas of runs whose lock nobody holds.
fn remove_dead(staged: &FilePath) {
    let Ok(entries) = std::fs::read_dir(staged) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let lock = path.with_extension("lock");
        let held = File::open(&lock).is_ok_and(|file| file.try_lock().is_err());
        if held || path.extension().is_some_and(|extension| extension == "new") {
            continue;
        }
        let _ = std::fs::remove_dir_all(path.with_extension(""));
        let _ = std::fs::remove_file(lock);
    }
}

fn cannot_write(directory: &FilePath, error: &std::io::Error) -> Error {
    use std::io::ErrorKind;
    let message = format!("the lake {} cannot be written: {error}", directory.display());
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            Error::new(crate::error::ErrorKind::Unreachable, message).with_hint("make room on the disk, then run again")
        }
        _ => Error::settings(message).with_hint("choose another --lake, or give this user the right to write there"),
    }
}
