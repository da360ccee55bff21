//! The lock that a run holds on local disk. A run whose lock is free is dead, so its files can be removed safely. A
//! file system without file locks or hard links is refused.

use std::fs::File;
use std::path::{Path as FilePath, PathBuf};

use chrono::{DateTime, TimeDelta, Utc};

use super::layout::{RESUME_POINT, STAGED};
use crate::error::{Error, Result};

/// How many times a run tries to create its area while other runs remove the directory.
const MAX_TRIES: u32 = 100;

/// How long the resume point of an interrupted listing is kept.
pub(super) const RESUMABLE_FOR: TimeDelta = TimeDelta::days(7);

/// See the [module](self). Dropping it releases the lock and removes the run's staged files.
#[derive(Debug)]
pub(super) struct LocalLock {
    directory: PathBuf,
    /// Whether this run created the lake's directory. If so, it is removed at the end if it is empty.
    created: bool,
    staged: PathBuf,
    run: String,
    /// Never read. Closing the file releases the lock.
    _lock: File,
}

impl LocalLock {
    /// Takes the lock of `run`, and removes the areas of dead runs.
    pub(super) fn take(directory: &FilePath, run: &str) -> Result<Self> {
        remove_dead(&directory.join(STAGED));
        Self::take_only(directory, run)
    }

    /// Takes the lock of `run`, and leaves the areas of dead runs alone.
    fn take_only(directory: &FilePath, run: &str) -> Result<Self> {
        let staged = directory.join(STAGED);
        let created = !directory.exists();
        let lock = take_lock(&staged, run).map_err(|error| cannot_write(directory, &error))?;
        let lock = Self { directory: directory.to_owned(), created, staged, run: run.to_owned(), _lock: lock };
        prove_links(&lock.staged.join(run), |from, to| std::fs::hard_link(from, to))
            .map_err(|why| cannot_keep_apart(directory, &why))?;
        Ok(lock)
    }

    /// Proves that a run could write to `directory` and would be protected from concurrent runs. Nothing stays behind, not
    /// even a directory above that does not exist yet.
    pub(super) fn prove(directory: &FilePath, run: &str) -> Result<()> {
        let absent: Vec<&FilePath> = directory.ancestors().take_while(|it| !it.exists()).collect();
        let proof = Self::take_only(directory, run).map(drop);
        // Fails while another run has files there.
        let _ = std::fs::remove_dir(directory.join(STAGED));
        for created in absent {
            let _ = std::fs::remove_dir(created);
        }
        proof
    }
}

/// Creates `run`'s area, and a lock that is held for as long as the returned file is open.
fn take_lock(staged: &FilePath, run: &str) -> std::io::Result<File> {
    let mut tries = 0;
    loop {
        match try_lock(staged, run) {
            // Another run has ended and removed the empty directory in between.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && tries < MAX_TRIES => tries += 1,
            taken => return taken,
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}

fn try_lock(staged: &FilePath, run: &str) -> std::io::Result<File> {
    std::fs::create_dir_all(staged)?;
    // The lock file gets its final name only once the lock is held, so that no other run takes this one for dead.
    let unnamed = staged.join(format!("{run}.new"));
    let lock = File::create(&unnamed)?;
    // Waits instead of failing, because another run that tests the lock holds it briefly.
    lock.lock()?;
    std::fs::rename(&unnamed, staged.join(format!("{run}.lock")))?;
    std::fs::create_dir(staged.join(run))?;
    Ok(lock)
}

/// Checks that `link` refuses to replace an existing file. Commits rely on this.
fn prove_links(area: &FilePath, link: impl Fn(&FilePath, &FilePath) -> std::io::Result<()>) -> Result<(), String> {
    let (file, name) = (area.join("probe"), area.join("probe.link"));
    let failed = |error: std::io::Error| format!("it does not support hard links ({error})");
    let proof =
        File::create(&file).and_then(|_| link(&file, &name)).map_err(failed).and_then(|()| match link(&file, &name) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(failed(error)),
            Ok(()) => Err("a hard link replaces an existing file, which it must not".to_owned()),
        });
    for probe in [file, name] {
        let _ = std::fs::remove_file(probe);
    }
    proof
}

impl LocalLock {
    /// Returns whether the run with the id `run` is alive.
    pub(super) fn is_held(&self, run: &str) -> bool {
        is_locked(&self.staged.join(format!("{run}.lock")))
    }

    /// Returns whether another run is alive.
    pub(super) fn has_company(&self) -> bool {
        let own = format!("{}.lock", self.run);
        let entries = std::fs::read_dir(&self.staged).into_iter().flatten().flatten();
        let is_lock = |path: &FilePath| path.extension().is_some_and(|extension| extension == "lock");
        entries.map(|entry| entry.path()).any(|path| is_lock(&path) && !path.ends_with(&own) && is_locked(&path))
    }

    /// Returns when this run started, by the file system's clock.
    pub(super) fn opened(&self) -> DateTime<Utc> {
        let lock = std::fs::metadata(self.staged.join(format!("{}.lock", self.run)));
        lock.and_then(|found| found.modified()).map_or(DateTime::UNIX_EPOCH, DateTime::from)
    }

    /// Removes the area of a dead run if it contains no files.
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
        // Fails while other runs have files there.
        let _ = std::fs::remove_dir(&self.staged);
        if self.created {
            let _ = std::fs::remove_dir(&self.directory);
        }
    }
}

/// Removes an area, except for tables with a resume point that is not older than [`RESUMABLE_FOR`].
fn remove_area(area: &FilePath) {
    for part in std::fs::read_dir(area).into_iter().flatten().flatten() {
        if age_of(&part.path().join(RESUME_POINT)).is_none_or(|age| age > RESUMABLE_FOR) {
            let _ = if part.path().is_dir() {
                std::fs::remove_dir_all(part.path())
            } else {
                std::fs::remove_file(part.path())
            };
        }
    }
    let _ = std::fs::remove_dir(area);
}

/// Returns how long ago `file` was written; `None` if it does not exist.
fn age_of(file: &FilePath) -> Option<TimeDelta> {
    let written = std::fs::metadata(file).and_then(|found| found.modified()).ok()?;
    TimeDelta::from_std(written.elapsed().unwrap_or_default()).ok()
}

/// Removes all directories below `directory` that contain no files.
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

/// Removes the areas of dead runs, whose lock is free.
fn remove_dead(staged: &FilePath) {
    let Ok(entries) = std::fs::read_dir(staged) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let lock = path.with_extension("lock");
        if path.extension().is_some_and(|extension| extension == "new") {
            // A run that is just starting, unless it died before it renamed this file.
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
    Error::settings(format!(
        "the file system of {} cannot protect the lake from concurrent runs: {why}",
        directory.display()
    ))
    .with_hint("use a local disk or a share with hard links and file locks, or an object store")
}

fn cannot_write(directory: &FilePath, error: &std::io::Error) -> Error {
    use std::io::ErrorKind;
    if error.kind() == ErrorKind::Unsupported || error.to_string().contains("No locks available") {
        return cannot_keep_apart(directory, &format!("it does not support file locks ({error})"));
    }
    let message = format!("the lake {} cannot be written: {error}", directory.display());
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            Error::new(crate::error::ErrorKind::Unreachable, message).with_hint("free disk space, then run again")
        }
        _ => Error::settings(message).with_hint("choose another --lake, or give this user write permission there"),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Error as IoError, ErrorKind as IoErrorKind};

    use super::*;

    #[test]
    fn a_file_system_without_hard_links_is_refused() {
        let area = tempfile::tempdir().unwrap();
        let refused = prove_links(area.path(), |_, _| Err(IoError::from(IoErrorKind::Unsupported))).unwrap_err();
        assert!(refused.contains("does not support hard links"), "{refused}");
        let error = cannot_keep_apart(area.path(), &refused);
        assert_eq!(error.kind(), crate::ErrorKind::Settings);
        assert!(prove_links(area.path(), |_, _| Ok(())).is_err(), "links that replace a file do not isolate runs");
        assert_eq!(prove_links(area.path(), |from, to| std::fs::hard_link(from, to)), Ok(()));
        assert_eq!(std::fs::read_dir(area.path()).unwrap().count(), 0, "the probe is gone");
    }

    #[test]
    fn a_proof_leaves_nothing_behind() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("a/b/lake");
        LocalLock::prove(&directory, "run").unwrap();
        assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0);
        // The area of a dead run stays for the next run.
        let staged = directory.join(STAGED).join("dead");
        std::fs::create_dir_all(&staged).unwrap();
        LocalLock::prove(&directory, "run").unwrap();
        assert!(staged.exists());
        assert_eq!(std::fs::read_dir(directory.join(STAGED)).unwrap().count(), 1);
    }

    #[test]
    fn a_file_system_without_file_locks_is_refused() {
        let error = cannot_write(FilePath::new("/share"), &IoError::from(IoErrorKind::Unsupported));
        assert_eq!(error.kind(), crate::ErrorKind::Settings);
        assert!(
            error.message().contains("/share") && error.message().contains("does not support file locks"),
            "{error}"
        );
    }
}
