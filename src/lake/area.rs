//! A run's staging area: `<lake>/_staged/<run>/`, where data files wait for their commit.
//!
//! It belongs to one run. On local disk the run holds a lock for as long as its process lives, so what a dead
//! run left is known to be dead; on S3, which has no locks, it counts as dead when it has been silent for a
//! while. What a dead run left is removed, but for listings with a [checkpoint](super::checkpoint), which a later
//! run may go on with for a week.

use std::fs::File;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions};

use super::checkpoint::FILE as CHECKPOINT;
use super::{Lake, Location, store_error};
use crate::error::{Error, Result};

const STAGED: &str = "_staged";

/// What a run on a store without locks writes to see what time it is there.
const MARKER: &str = "now";

/// After how long a run on a store without locks counts as dead beyond doubt.
const DEAD_AFTER: TimeDelta = TimeDelta::days(1);

/// How often a run tries to make its area while another removes the directory.
const TRIES: u32 = 100;

/// For how long a checkpoint is kept.
const RESUMABLE_FOR: TimeDelta = TimeDelta::days(7);

/// A run's own place under `_staged`, where data files wait for their commit. Dropping it removes a local area;
/// [`RunArea::remove`] removes any. Listings with a checkpoint stay, for a later run to go on with.
#[derive(Debug)]
pub struct RunArea {
    run: String,
    /// `<lake>/_staged`, in the whole store.
    all: Path,
    prefix: Path,
    root: Arc<dyn ObjectStore>,
    location: Arc<Location>,
    local: Option<LocalLock>,
    writers: Arc<AtomicU32>,
    /// After how long without a word a run on a store without locks may be taken over.
    silent_for: TimeDelta,
    sparing: Sparing,
}

/// Which orphan files a sweep leaves alone: those written after this moment, by the store's own clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sparing {
    /// When the run's area was opened, by the store's clock.
    opened: DateTime<Utc>,
    /// The same moment by a monotonic clock.
    since: Instant,
    spared_for: TimeDelta,
}

impl Sparing {
    /// Whether a sweep may remove an orphan file that was `written` then.
    pub(super) fn allows(&self, written: DateTime<Utc>) -> bool {
        let elapsed = TimeDelta::from_std(self.since.elapsed()).unwrap_or_default();
        self.spared_for <= TimeDelta::zero() || self.opened + elapsed - written >= self.spared_for
    }
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
        let local = location.directory().map(|directory| LocalLock::take(directory, &run)).transpose()?;
        let mut area = Self {
            prefix: super::staged::join(&staged, &Path::from(run.as_str())),
            root: Arc::clone(&location.root),
            location: Arc::clone(&lake.location),
            writers: Arc::default(),
            silent_for: location.silent_for,
            sparing: Sparing { opened: DateTime::UNIX_EPOCH, since: Instant::now(), spared_for: location.spared_for },
            all: staged,
            run,
            local,
        };
        area.sparing = match &area.local {
            // Whatever lies there is of a dead run if no other is alive.
            Some(local) if !local.has_company() => Sparing { spared_for: TimeDelta::zero(), ..area.sparing },
            Some(local) => Sparing { opened: local.opened(), ..area.sparing },
            None => Sparing { opened: area.remove_dead_on_store().await?, since: Instant::now(), ..area.sparing },
        };
        Ok(area)
    }

    /// The run's id.
    #[must_use]
    pub fn run(&self) -> &str {
        &self.run
    }

    /// Which orphan files this run's sweeps leave alone.
    pub(super) fn sparing(&self) -> Sparing {
        self.sparing
    }

    /// How many writers there have been; whoever opens one more counts it.
    pub(super) fn writers(&self) -> Arc<AtomicU32> {
        Arc::clone(&self.writers)
    }

    /// The prefix, in the store, at which something called `name` is staged.
    pub(super) fn prefix_for(&self, name: &str) -> Path {
        super::staged::join(&self.prefix, &Path::from(name))
    }

    /// Removes everything that is still staged, but for listings with a checkpoint.
    pub async fn remove(self) {
        if self.local.is_none() {
            self.remove_but_checkpoints(&self.prefix).await;
        }
    }

    /// Forgets this run's checkpoint of the table called `table`, and those that dead runs left of it.
    pub(super) async fn forget(&self, table: &str) {
        let own = super::staged::join(&self.prefix_for(table), &Path::from(CHECKPOINT));
        if let Err(error) = self.root.delete(&own).await
            && !matches!(error, object_store::Error::NotFound { .. })
        {
            tracing::warn!(%error, "a checkpoint that is of no use could not be removed");
        }
        for dead in self.dead_areas(table).await.unwrap_or_default() {
            remove_all(&self.root, &dead).await;
            if let (Some(local), Some(run)) = (&self.local, dead.parts().nth(self.all.parts().count())) {
                local.remove_if_empty(run.as_ref());
            }
        }
    }

    /// The parts of dead runs' areas that hold a checkpoint of the table called `table`.
    pub(super) async fn dead_areas(&self, table: &str) -> Result<Vec<Path>> {
        let refused = |error| store_error("what was staged cannot be listed", &error);
        let mut dead = Vec::new();
        for run in self.root.list_with_delimiter(Some(&self.all)).await.map_err(refused)?.common_prefixes {
            let part = super::staged::join(&run, &Path::from(table));
            let checkpoint = super::staged::join(&part, &Path::from(CHECKPOINT));
            let Ok(found) = self.root.head(&checkpoint).await else { continue };
            let is_dead = match (&self.local, run.filename()) {
                _ if run == self.prefix => false,
                (Some(local), Some(name)) => !local.is_held(name),
                _ => self.now().await? - found.last_modified >= self.silent_for,
            };
            if is_dead {
                dead.push(part);
            }
        }
        Ok(dead)
    }

    /// What time it is by the store's own clock: the age of a marker that is written now is none.
    async fn now(&self) -> Result<DateTime<Utc>> {
        let refused = |error| store_error("the lake cannot be written", &error);
        let marker = self.prefix_for(MARKER);
        self.location.asked(self.root.put(&marker, "".into())).await.map_err(refused)?;
        Ok(self.root.head(&marker).await.map_err(refused)?.last_modified)
    }

    /// Proves that the store refuses to put what is there already, as commits need: the marker, once more.
    async fn prove_conditions(&self) -> Result<()> {
        let new = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        let marker = self.prefix_for(MARKER);
        let why = match self.root.put_opts(&marker, "".into(), new).await {
            Err(object_store::Error::AlreadyExists { .. }) => return Ok(()),
            Err(error @ object_store::Error::NotImplemented { .. }) => error.to_string(),
            Err(error) => return Err(store_error("the lake cannot be written", &error)),
            Ok(_) => "it puts an object in place of another although it is asked not to (If-None-Match)".to_owned(),
        };
        // Whatever becomes of it: it is a marker, which the next run removes.
        let _ = self.root.delete(&marker).await;
        Err(Error::settings(format!("the store cannot keep two runs apart: {why}"))
            .with_hint("use one with conditional writes, such as S3, MinIO or R2; leave AWS_CONDITIONAL_PUT alone"))
    }

    /// Removes areas whose runs are dead beyond doubt, and checkpoints that are too old. This is also the proof
    /// that the store can be written. Returns what time it is by the store's clock.
    async fn remove_dead_on_store(&self) -> Result<DateTime<Utc>> {
        let refused = |error| store_error("what was staged cannot be listed", &error);
        let now = self.now().await?;
        self.prove_conditions().await?;
        for run in self.root.list_with_delimiter(Some(&self.all)).await.map_err(refused)?.common_prefixes {
            let objects: Vec<_> = self.root.list(Some(&run)).try_collect().await.map_err(refused)?;
            let silent_for = |span| objects.iter().all(|object| now - object.last_modified > span);
            if silent_for(RESUMABLE_FOR) {
                remove_all(&self.root, &run).await;
            } else if silent_for(DEAD_AFTER) {
                self.remove_but_checkpoints(&run).await;
            }
        }
        Ok(now)
    }

    /// Removes what lies in the area at `run`, but for tables' parts that hold a checkpoint.
    async fn remove_but_checkpoints(&self, run: &Path) {
        let Ok(parts) = self.root.list_with_delimiter(Some(run)).await else { return };
        for part in parts.common_prefixes {
            let checkpoint = super::staged::join(&part, &Path::from(CHECKPOINT));
            if matches!(self.root.head(&checkpoint).await, Err(object_store::Error::NotFound { .. })) {
                remove_all(&self.root, &part).await;
            }
        }
        for object in parts.objects {
            // A marker; the next run that finds it removes it.
            let _ = self.root.delete(&object.location).await;
        }
    }
}

async fn remove_all(root: &Arc<dyn ObjectStore>, prefix: &Path) {
    let paths = root.list(Some(prefix)).map_ok(|object| object.location).boxed();
    let removed: Vec<_> = root.delete_stream(paths).collect().await;
    let absent = |error: &object_store::Error| matches!(error, object_store::Error::NotFound { .. });
    if let Some(error) = removed.into_iter().filter_map(std::result::Result::err).find(|error| !absent(error)) {
        tracing::warn!(%prefix, %error, "staged files could not be removed; a later run will");
    }
}

impl LocalLock {
    fn take(directory: &FilePath, run: &str) -> Result<Self> {
        let staged = directory.join(STAGED);
        let created = !directory.exists();
        let lock = take_lock(&staged, run).map_err(|error| cannot_write(directory, &error))?;
        let lock = Self { directory: directory.to_owned(), created, staged, run: run.to_owned(), _lock: lock };
        prove_links(&lock.staged.join(run), |from, to| std::fs::hard_link(from, to))
            .map_err(|why| cannot_keep_apart(directory, &why))?;
        Ok(lock)
    }
}

/// Makes `run`'s area, and a lock that is held for as long as the file is open.
fn take_lock(staged: &FilePath, run: &str) -> std::io::Result<File> {
    let mut tries = 0;
    loop {
        match try_lock(staged, run) {
            // A run that ends right now removes the directory, which is empty.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && tries < TRIES => tries += 1,
            taken => return taken,
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}

fn try_lock(staged: &FilePath, run: &str) -> std::io::Result<File> {
    std::fs::create_dir_all(staged)?;
    remove_dead(staged);
    // The lock's name appears only once the lock is held, so that nobody takes this run for dead.
    let unnamed = staged.join(format!("{run}.new"));
    let lock = File::create(&unnamed)?;
    // Whoever looks whether it is held holds it for that instant.
    lock.lock()?;
    std::fs::rename(&unnamed, staged.join(format!("{run}.lock")))?;
    std::fs::create_dir(staged.join(run))?;
    Ok(lock)
}

/// Proves that the file system refuses to `link` a file in place of another, as commits need.
fn prove_links(area: &FilePath, link: impl Fn(&FilePath, &FilePath) -> std::io::Result<()>) -> Result<(), String> {
    let (file, name) = (area.join("probe"), area.join("probe.link"));
    let said = |error: std::io::Error| format!("it has no hard links ({error})");
    let proof =
        File::create(&file).and_then(|_| link(&file, &name)).map_err(said).and_then(|()| match link(&file, &name) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(said(error)),
            Ok(()) => Err("it links a file in place of another although it must not".to_owned()),
        });
    for probe in [file, name] {
        let _ = std::fs::remove_file(probe);
    }
    proof
}

impl LocalLock {
    /// Whether the run called `run` is alive.
    fn is_held(&self, run: &str) -> bool {
        is_locked(&self.staged.join(format!("{run}.lock")))
    }

    /// Whether another run is alive.
    fn has_company(&self) -> bool {
        let own = format!("{}.lock", self.run);
        let entries = std::fs::read_dir(&self.staged).into_iter().flatten().flatten();
        let is_lock = |path: &FilePath| path.extension().is_some_and(|extension| extension == "lock");
        entries.map(|entry| entry.path()).any(|path| is_lock(&path) && !path.ends_with(&own) && is_locked(&path))
    }

    /// When this run began, by the clock of the disk.
    fn opened(&self) -> DateTime<Utc> {
        let lock = std::fs::metadata(self.staged.join(format!("{}.lock", self.run)));
        lock.and_then(|found| found.modified()).map(DateTime::from).unwrap_or(DateTime::UNIX_EPOCH)
    }

    /// Removes the area of a dead run once nothing is left in it.
    fn remove_if_empty(&self, run: &str) {
        let area = self.staged.join(run);
        remove_empty(&area);
        let _ = std::fs::remove_dir(area);
    }
}

impl Drop for LocalLock {
    fn drop(&mut self) {
        remove_area(&self.staged.join(&self.run));
        let _ = std::fs::remove_file(self.staged.join(format!("{}.lock", self.run)));
        // Only the last one to leave succeeds.
        let _ = std::fs::remove_dir(&self.staged);
        if self.created {
            let _ = std::fs::remove_dir(&self.directory);
        }
    }
}

/// Removes an area, but for tables' parts that hold a checkpoint which is not too old.
fn remove_area(area: &FilePath) {
    for part in std::fs::read_dir(area).into_iter().flatten().flatten() {
        if age_of(&part.path().join(CHECKPOINT)).is_none_or(|age| age > RESUMABLE_FOR) {
            let _ = if part.path().is_dir() {
                std::fs::remove_dir_all(part.path())
            } else {
                std::fs::remove_file(part.path())
            };
        }
    }
    let _ = std::fs::remove_dir(area);
}

/// How long ago a file was written; none where there is none.
fn age_of(file: &FilePath) -> Option<TimeDelta> {
    let written = std::fs::metadata(file).and_then(|found| found.modified()).ok()?;
    TimeDelta::from_std(written.elapsed().unwrap_or_default()).ok()
}

/// Removes the directories below `directory` in which there is nothing.
fn remove_empty(directory: &FilePath) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            remove_empty(&entry.path());
            let _ = std::fs::remove_dir(entry.path());
        }
    }
}

fn is_locked(lock: &FilePath) -> bool {
    File::open(lock).is_ok_and(|file| file.try_lock().is_err())
}

/// Removes the areas of runs whose lock nobody holds.
fn remove_dead(staged: &FilePath) {
    let Ok(entries) = std::fs::read_dir(staged) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let lock = path.with_extension("lock");
        if path.extension().is_some_and(|extension| extension == "new") {
            // A run that begins right now, unless it died in that instant.
            if !is_locked(&path) && age_of(&path).is_some_and(|age| age > TimeDelta::minutes(1)) {
                let _ = std::fs::remove_file(path);
            }
            continue;
        }
        if is_locked(&lock) {
            continue;
        }
        remove_area(&path.with_extension(""));
        let _ = std::fs::remove_file(lock);
    }
}

fn cannot_keep_apart(directory: &FilePath, why: &str) -> Error {
    Error::settings(format!("the file system of {} cannot keep two runs apart: {why}", directory.display()))
        .with_hint("use a local disk or a share with hard links and file locks, or an object store")
}

fn cannot_write(directory: &FilePath, error: &std::io::Error) -> Error {
    use std::io::ErrorKind;
    if error.kind() == ErrorKind::Unsupported || error.to_string().contains("No locks available") {
        return cannot_keep_apart(directory, &format!("it has no file locks ({error})"));
    }
    let message = format!("the lake {} cannot be written: {error}", directory.display());
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            Error::new(crate::error::ErrorKind::Unreachable, message).with_hint("make room on the disk, then run again")
        }
        _ => Error::settings(message).with_hint("choose another --lake, or give this user the right to write there"),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Error as IoError, ErrorKind as IoErrorKind};

    use super::*;

    #[test]
    fn a_file_system_without_hard_links_is_refused_by_name() {
        let area = tempfile::tempdir().unwrap();
        let refused = prove_links(area.path(), |_, _| Err(IoError::from(IoErrorKind::Unsupported))).unwrap_err();
        assert!(refused.contains("no hard links"), "{refused}");
        let error = cannot_keep_apart(area.path(), &refused);
        assert_eq!(error.kind(), crate::ErrorKind::Settings);
        assert!(prove_links(area.path(), |_, _| Ok(())).is_err(), "links that replace a file keep nobody apart");
        assert_eq!(prove_links(area.path(), |from, to| std::fs::hard_link(from, to)), Ok(()));
        assert_eq!(std::fs::read_dir(area.path()).unwrap().count(), 0, "the probe is gone");
    }

    #[test]
    fn a_file_system_without_locks_is_refused_by_name() {
        let error = cannot_write(FilePath::new("/share"), &IoError::from(IoErrorKind::Unsupported));
        assert_eq!(error.kind(), crate::ErrorKind::Settings);
        assert!(error.message().contains("/share") && error.message().contains("no file locks"), "{error}");
    }
}
