//! Atomic output files: rows go to a temporary file, which is renamed at the end.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

use clerk_lake::{Error, Result};

use crate::cli::terminal::check_write;

/// The number of names tried for the temporary file.
const MAX_NAME_ATTEMPTS: u32 = 1000;

/// An output file in progress. If it is dropped before [`OutputFile::persist`], the previous file stays unchanged and
/// the temporary file is removed.
pub struct OutputFile {
    /// The final path.
    path: PathBuf,
    /// The temporary file; `None` if the path is not a regular file (`/dev/null`, a pipe) and is written directly.
    temporary: Option<PathBuf>,
    file: File,
}

impl OutputFile {
    /// Creates the file for `path`.
    ///
    /// # Errors
    /// [`Settings`](clerk_lake::ErrorKind::Settings) if it cannot be created.
    pub fn create(path: &Path) -> Result<Self> {
        Self::open(path).map_err(|error| {
            Error::settings(format!("the output file {} cannot be written: {error}", path.display()))
                .with_hint("choose a file in an existing, writable directory")
        })
    }

    fn open(path: &Path) -> io::Result<Self> {
        // A symbolic link is kept; its target is replaced.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
        let before = fs::metadata(&path).ok();
        if before.as_ref().is_some_and(|before| !before.is_file()) {
            let file = OpenOptions::new().write(true).open(&path)?;
            return Ok(Self { path, temporary: None, file });
        }
        let (temporary, file) = create_temporary(&path)?;
        let output = Self { path, temporary: Some(temporary), file };
        if let Some(before) = before {
            output.file.set_permissions(before.permissions())?;
        }
        Ok(output)
    }

    /// Creates the file for `path`, with the content that it has now.
    ///
    /// # Errors
    /// [`Settings`](clerk_lake::ErrorKind::Settings) if it cannot be created.
    pub fn append(path: &Path) -> Result<Self> {
        let mut output = Self::create(path)?;
        if output.temporary.is_some() {
            let mut before = File::open(&output.path).map_err(|error| write_error(&error))?;
            io::copy(&mut before, &mut output.file).map_err(|error| write_error(&error))?;
        }
        Ok(output)
    }

    /// Returns a writer to the file. It must be flushed before [`OutputFile::persist`].
    ///
    /// # Errors
    /// [`Settings`](clerk_lake::ErrorKind::Settings) if the system refuses.
    pub fn writer(&self) -> Result<BufWriter<File>> {
        let file = self.file.try_clone().map_err(|error| write_error(&error))?;
        Ok(BufWriter::with_capacity(256 * 1024, file))
    }

    /// Syncs the file to disk and renames it to its final path.
    ///
    /// # Errors
    /// [`Settings`](clerk_lake::ErrorKind::Settings) if that fails.
    pub fn persist(mut self) -> Result<()> {
        if let Some(temporary) = &self.temporary {
            let moved = self.file.sync_all().and_then(|()| fs::rename(temporary, &self.path));
            moved.map_err(|error| write_error(&error))?;
        }
        self.temporary = None;
        // Sync the directory, so that the rename survives a crash. Not every system supports this.
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if let Ok(folder) = File::open(folder) {
            let _ = folder.sync_all();
        }
        Ok(())
    }
}

impl Drop for OutputFile {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            let _ = fs::remove_file(temporary);
        }
    }
}

/// Creates a new file with a hidden name in the directory of `path`.
///
/// A name that exists is skipped: a killed process leaves its temporary file, and in containers another process may
/// have the same process id.
fn create_temporary(path: &Path) -> io::Result<(PathBuf, File)> {
    let name = path.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::IsADirectory))?;
    let (name, process) = (name.to_string_lossy(), std::process::id());
    let mut number = 0;
    loop {
        let temporary = path.with_file_name(format!(".{name}.{process}-{number}.part"));
        match OpenOptions::new().write(true).create_new(true).open(&temporary) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && number < MAX_NAME_ATTEMPTS => number += 1,
            created => return created.map(|file| (temporary, file)),
        }
    }
}

fn write_error(error: &io::Error) -> Error {
    match check_write(Err(io::Error::new(error.kind(), error.to_string()))) {
        Err(error) => error,
        Ok(()) => Error::bug("broken pipe while writing a file"),
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
    fn a_file_is_replaced_only_when_it_is_complete() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("rows.csv");
        fs::write(&path, "old").expect("a file");
        for keeps in [false, true] {
            let file = OutputFile::create(&path).expect("a file");
            let mut writer = file.writer().expect("a writer");
            writer.write_all(b"new").and_then(|()| writer.flush()).expect("bytes");
            assert_eq!(fs::read_to_string(&path).expect("a file"), "old");
            if keeps {
                file.persist().expect("its place");
            } else {
                drop(file);
            }
            assert_eq!(fs::read_to_string(&path).expect("a file"), if keeps { "new" } else { "old" });
            assert_eq!(names(folder.path()), ["rows.csv"]);
        }
    }

    #[test]
    fn a_file_can_be_continued() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("rows.csv");
        for (text, content) in [("a\n", "a\n"), ("b\n", "a\nb\n")] {
            let file = if path.exists() { OutputFile::append(&path) } else { OutputFile::create(&path) };
            let file = file.expect("a file");
            let mut writer = file.writer().expect("a writer");
            writer.write_all(text.as_bytes()).and_then(|()| writer.flush()).expect("bytes");
            file.persist().expect("its place");
            assert_eq!(fs::read_to_string(&path).expect("a file"), content);
        }
    }

    #[test]
    fn a_file_left_by_a_killed_process_with_the_same_id_is_skipped() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("rows.csv");
        std::mem::forget(OutputFile::create(&path).expect("a file"));
        let left = names(folder.path());
        OutputFile::create(&path).and_then(OutputFile::persist).expect("its place");
        assert_eq!(names(folder.path()), [left, vec!["rows.csv".to_owned()]].concat());
    }

    #[cfg(unix)]
    #[test]
    fn links_and_permissions_are_kept_and_devices_are_written_directly() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let folder = tempfile::tempdir().expect("a folder");
        let (path, link) = (folder.path().join("rows.csv"), folder.path().join("link.csv"));
        fs::write(&path, "old").expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("permissions");
        symlink(&path, &link).expect("a link");
        OutputFile::create(&link).and_then(OutputFile::persist).expect("its place");
        assert!(fs::symlink_metadata(&link).expect("a link").is_symlink());
        assert_eq!(fs::read_to_string(&path).expect("a file"), "");
        assert_eq!(fs::metadata(&path).expect("a file").permissions().mode() & 0o777, 0o600);
        OutputFile::create(Path::new("/dev/null")).and_then(OutputFile::persist).expect("a device");
        assert!(!fs::metadata("/dev/null").expect("a device").is_file());
        assert!(OutputFile::create(folder.path()).is_err());
        assert!(OutputFile::create(&folder.path().join("nowhere/rows.csv")).is_err());
    }
}
