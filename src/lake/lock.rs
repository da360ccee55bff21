//! The lock of a run on local disk: what a dead run left is known to be dead, and a file system without locks or hard
//! links is refused.

use std::fs::File;
use std::path::{Path as FilePath, PathBuf};

use chrono::{DateTime, TimeDelta, Utc};

use super::layout::{CHECKPOINT, STAGED};
use crate::error::{Error, Result};

/// How often a run tries to make its area while another removes the directory.
const TRIES: u32 = 100;

/// For how long a checkpoint is kept.
pub(super) const RESUMABLE_FOR: TimeDelta = TimeDelta::days(7);

/// See the [module](self). Dropping it gives up the lock, and removes what the run has staged.
#[derive(Debug)]
pub(super) struct LocalLock {
    directory: PathBuf,
    /// Whether the lake's directory is this run's doing: it goes again if nothing was put there.
    created: bool,
    staged: PathBuf,
    run: String,
    /// Held, not read: closing it gives up the lock.
    _lock: File,
}

impl LocalLock {
    pub(super) fn take(directory: &FilePath, run: &str) -> Result<Self> {
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
    pub(super) fn is_held(&self, run: &str) -> bool {
        is_locked(&self.staged.join(format!("{run}.lock")))
    }

    /// Whether another run is alive.
    pub(super) fn has_company(&self) -> bool {
        let own = format!("{}.lock", self.run);
        let entries = std::fs::read_dir(&self.staged).into_iter().flatten().flatten();
        let is_lock = |path: &FilePath| path.extension().is_some_and(|extension| extension == "lock");
        entries.map(|entry| entry.path()).any(|path| is_lock(&path) && !path.ends_with(&own) && is_locked(&path))
    }

    /// When this run began, by the clock of the disk.
    pub(super) fn opened(&self) -> DateTime<Utc> {
        let lock = std::fs::metadata(self.staged.join(format!("{}.lock", self.run)));
        lock.and_then(|found| found.modified()).map_or(DateTime::UNIX_EPOCH, DateTime::from)
    }

    /// Removes the area of a dead run once nothing is left in it.
    pub(super) fn remove_if_empty(&self, run: &str) {
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
