//! A file that is there whole or not at all: rows go to one beside it, which takes its place at the end.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

use clerk_lake::{Error, Result};

use crate::cli::terminal::written;

/// So many names may be taken.
const MOST_TAKEN: u32 = 1000;

/// A file that is being written. Dropped before its end, it leaves what was there before, and nothing else.
pub struct OutputFile {
    /// Where it is to be; where it is already, for what is no plain file.
    path: PathBuf,
    /// Where it is until then; none for what is no plain file (`/dev/null`, a pipe), which is written directly.
    beside: Option<PathBuf>,
    file: File,
}

impl OutputFile {
    /// Begins the file at `path`.
    ///
    /// # Errors
    /// [`Settings`](clerk_lake::ErrorKind::Settings) where there cannot be one.
    pub fn create(path: &Path) -> Result<Self> {
        Self::begin(path).map_err(|error| {
            Error::settings(format!("the output file {} cannot be written: {error}", path.display()))
                .with_hint("name a file in a folder that is there and may be written")
        })
    }

    fn begin(path: &Path) -> io::Result<Self> {
        // A link stays one: what it leads to is replaced.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
        let before = fs::metadata(&path).ok();
        if before.as_ref().is_some_and(|before| !before.is_file()) {
            let file = OpenOptions::new().write(true).open(&path)?;
            return Ok(Self { path, beside: None, file });
        }
        let (beside, file) = create_beside(&path)?;
        let begun = Self { path, beside: Some(beside), file };
        if let Some(before) = before {
            begun.file.set_permissions(before.permissions())?;
        }
        Ok(begun)
    }

    /// What writes to it; all of it must have been flushed before the file is put in its place.
    ///
    /// # Errors
    /// [`Unreachable`](clerk_lake::ErrorKind::Unreachable) where the system refuses.
    pub fn writer(&self) -> Result<BufWriter<File>> {
        let file = self.file.try_clone().map_err(|error| not_written(&error))?;
        Ok(BufWriter::with_capacity(256 * 1024, file))
    }

    /// Makes sure that all of it is on disk, and puts it in its place.
    ///
    /// # Errors
    /// [`Unreachable`](clerk_lake::ErrorKind::Unreachable) where that fails.
    pub fn put_in_place(mut self) -> Result<()> {
        if let Some(beside) = &self.beside {
            let moved = self.file.sync_all().and_then(|()| fs::rename(beside, &self.path));
            moved.map_err(|error| not_written(&error))?;
        }
        self.beside = None;
        // The name, too, outlives a crash; not every system lets a folder be synced.
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if let Ok(folder) = File::open(folder) {
            let _ = folder.sync_all();
        }
        Ok(())
    }
}

impl Drop for OutputFile {
    fn drop(&mut self) {
        if let Some(beside) = &self.beside {
            let _ = fs::remove_file(beside);
        }
    }
}

/// A new file with a hidden name in the same folder, which is nobody else's. A name that is taken is left alone: what
/// was killed leaves its file, and in a container every process may have the same number.
fn create_beside(path: &Path) -> io::Result<(PathBuf, File)> {
    let name = path.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::IsADirectory))?;
    let (name, process) = (name.to_string_lossy(), std::process::id());
    let mut number = 0;
    loop {
        let beside = path.with_file_name(format!(".{name}.{process}-{number}.part"));
        match OpenOptions::new().write(true).create_new(true).open(&beside) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && number < MOST_TAKEN => number += 1,
            created => return created.map(|file| (beside, file)),
        }
    }
}

fn not_written(error: &io::Error) -> Error {
    match written(Err(io::Error::new(error.kind(), error.to_string()))) {
        Err(error) => error,
        Ok(()) => Error::bug("a file that went away"),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").file_name());
        let mut names: Vec<_> = entries.map(|name| name.to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_replaced_at_its_end_and_not_before() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("rows.csv");
        fs::write(&path, "old").expect("a file");
        for keeps in [false, true] {
            let file = OutputFile::create(&path).expect("a file");
            let mut writer = file.writer().expect("a writer");
            writer.write_all(b"new").and_then(|()| writer.flush()).expect("bytes");
            assert_eq!(fs::read_to_string(&path).expect("a file"), "old");
            if keeps {
                file.put_in_place().expect("its place");
            } else {
                drop(file);
            }
            assert_eq!(fs::read_to_string(&path).expect("a file"), if keeps { "new" } else { "old" });
            assert_eq!(names(folder.path()), ["rows.csv"]);
        }
    }

    #[test]
    fn what_a_killed_process_of_the_same_number_has_left_is_not_in_the_way() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("rows.csv");
        std::mem::forget(OutputFile::create(&path).expect("a file"));
        let left = names(folder.path());
        OutputFile::create(&path).and_then(OutputFile::put_in_place).expect("its place");
        assert_eq!(names(folder.path()), [left, vec!["rows.csv".to_owned()]].concat());
    }

    #[cfg(unix)]
    #[test]
    fn links_and_permissions_stay_and_devices_are_written_directly() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let folder = tempfile::tempdir().expect("a folder");
        let (path, link) = (folder.path().join("rows.csv"), folder.path().join("link.csv"));
        fs::write(&path, "old").expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("permissions");
        symlink(&path, &link).expect("a link");
        OutputFile::create(&link).and_then(OutputFile::put_in_place).expect("its place");
        assert!(fs::symlink_metadata(&link).expect("a link").is_symlink());
        assert_eq!(fs::read_to_string(&path).expect("a file"), "");
        assert_eq!(fs::metadata(&path).expect("a file").permissions().mode() & 0o777, 0o600);
        OutputFile::create(Path::new("/dev/null")).and_then(OutputFile::put_in_place).expect("a device");
        assert!(!fs::metadata("/dev/null").expect("a device").is_file());
        assert!(OutputFile::create(folder.path()).is_err());
        assert!(OutputFile::create(&folder.path().join("nowhere/rows.csv")).is_err());
    }
}
