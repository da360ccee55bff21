//! A commit's text as it is written to the log: the staged files that it names, and the names of its change data files.
//!
//! A change data file is named after its version, which is known only at the commit. Therefore its name alone tells
//! whether the log still has the entry of its version, and the pattern of data files (`part-*.parquet`) does not match
//! it.

use bytes::Bytes;
use object_store::path::{Path, PathPart};
use serde::Deserialize;

use super::change_data::is_change_data;

/// The number of digits of a version in a file name.
const DIGITS: usize = 20;

/// A commit's text and the staged files that it names.
pub(super) struct LogEntry {
    /// The text that is written to the log.
    pub text: Bytes,
    /// The staged files that the text names: for each, its staged path and its path in the table.
    pub files: Vec<(Path, Path)>,
}

/// A line of a commit, if it is an action that names a file. Both fields are `None` for any other line.
#[derive(Default, Deserialize)]
struct LogLine {
    add: Option<Named>,
    cdc: Option<Named>,
}

#[derive(Deserialize)]
struct Named {
    path: String,
}

impl LogEntry {
    /// Returns the commit of `version` with this `text`, with its change data files renamed after the version. Files
    /// that are not staged keep their names.
    pub(super) fn new(text: &[u8], version: u64, is_staged: impl Fn(&Path) -> bool) -> Self {
        let mut written = Vec::with_capacity(text.len());
        let mut files = Vec::new();
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            let LogLine { add, cdc } = serde_json::from_slice(line).unwrap_or_default();
            let is_change_data = cdc.is_some();
            let staged =
                add.or(cdc).and_then(|file| Path::from_url_path(&file.path).ok()).filter(|path| is_staged(path));
            match staged {
                Some(path) if is_change_data => {
                    let (line, renamed) = renamed(line, &path, version);
                    written.extend_from_slice(line.as_bytes());
                    files.push((path, renamed));
                }
                Some(path) => {
                    written.extend_from_slice(line);
                    files.push((path.clone(), path));
                }
                None => written.extend_from_slice(line),
            }
        }
        Self { text: written.into(), files }
    }
}

/// Renames the change data file at `path` after `version`. Returns the action `line` with the new name, and the new
/// path.
fn renamed(line: &[u8], path: &Path, version: u64) -> (String, Path) {
    let old = path.filename().unwrap_or_default();
    let new = format!("cdc-{version:0DIGITS$}-{}", old.strip_prefix("part-").unwrap_or(old));
    let line = String::from_utf8_lossy(line).replace(&format!("/{old}\""), &format!("/{new}\""));
    let directories = path.parts().take(path.parts_count().saturating_sub(1));
    (line, directories.chain([PathPart::from(new)]).collect())
}

/// Returns the version of the log entry at `path`, relative to a table. `None` if it is not a log entry.
pub(super) fn version_of(path: &Path) -> Option<u64> {
    let name = path.as_ref().strip_prefix("_delta_log/")?.strip_suffix(".json")?;
    version(name)
}

/// Returns the version of the change data file at `path`, relative to a table. `None` if this program did not name the
/// file.
pub(super) fn version_of_change_data(path: &Path) -> Option<u64> {
    let name = path.filename().filter(|_| is_change_data(path))?.strip_prefix("cdc-")?;
    let (digits, rest) = name.split_at_checked(DIGITS)?;
    version(digits).filter(|_| rest.starts_with('-'))
}

fn version(digits: &str) -> Option<u64> {
    let is_version = digits.len() == DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| is_version)
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "{\"commitInfo\":{}}\n{\"add\":{\"path\":\"y=1/part-0-a.parquet\"}}\n\
        {\"cdc\":{\"path\":\"_change_data/y=1/part-0-b.parquet\",\"size\":1}}\n";

    #[test]
    fn change_data_files_are_named_after_their_version() {
        let entry = LogEntry::new(COMMIT.as_bytes(), 7, |_| true);
        let name = "_change_data/y=1/cdc-00000000000000000007-0-b.parquet";
        let named: Vec<_> = entry.files.iter().map(|(from, to)| (from.as_ref(), to.as_ref())).collect();
        let data = "y=1/part-0-a.parquet";
        assert_eq!(named, [(data, data), ("_change_data/y=1/part-0-b.parquet", name)]);
        let text = String::from_utf8(entry.text.to_vec()).expect("text");
        assert_eq!(text, COMMIT.replace("_change_data/y=1/part-0-b.parquet", name));
        assert_eq!(version_of_change_data(&Path::from(name)), Some(7));
    }

    #[test]
    fn files_that_are_not_staged_keep_their_names() {
        let entry = LogEntry::new(COMMIT.as_bytes(), 7, |_| false);
        assert!(entry.files.is_empty());
        assert_eq!(entry.text, COMMIT.as_bytes());
    }

    #[test]
    fn file_names_of_other_programs_have_no_version() {
        let spark = "_change_data/cdc-00000-6b2a8f1e-4f0c-4d7a-9a55-1c2d3e4f5a6b.c000.snappy.parquet";
        let elsewhere = "y=1/cdc-00000000000000000007-0-b.parquet";
        for path in [spark, elsewhere, "_change_data/part-0-b.parquet", "_change_data/cdc-+0000000000000000007-b"] {
            assert_eq!(version_of_change_data(&Path::from(path)), None, "{path}");
        }
        assert_eq!(version_of(&Path::from("_delta_log/00000000000000000012.json")), Some(12));
        assert_eq!(version_of(&Path::from("_delta_log/00000000000000000012.checkpoint.parquet")), None);
    }
}
