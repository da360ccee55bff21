//! Damaged tables: log entries, Delta checkpoints or data files that are missing, truncated or unreadable.
//!
//! delta-rs reports that such a table cannot be read, but not always why. This module checks the log and the data
//! files, and names the damaged file. A damaged checkpoint does not stop a read if all commits exist.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use deltalake::logstore::get_actions;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::file::reader::{FileReader, SerializedFileReader};
use serde::Deserialize;

use super::entry::version_of;
use super::hiding::HidingStore;
use super::layout::join;
use super::store_error;
use super::table::{DataFile, Table};
use crate::error::{Error, ErrorKind, Result};

/// The file of the log that names the last checkpoint.
pub(super) const LAST_CHECKPOINT: &str = "_delta_log/_last_checkpoint";

/// How many log entries are read concurrently.
const ENTRIES_AT_ONCE: usize = 16;

/// The damage of one file of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    Gone,
    Unreadable,
    /// Its size differs from the size in the log.
    Cut,
}

impl Flaw {
    fn description(self) -> &'static str {
        match self {
            Self::Gone => "is missing",
            Self::Unreadable => "cannot be read",
            Self::Cut => "has the wrong size",
        }
    }
}

/// The state of a table's log, and its damage.
#[derive(Debug, Default)]
pub(super) struct LogState {
    /// The newest version that has a log entry or a checkpoint.
    pub newest: u64,
    /// The first version whose log entry is needed: the one after the newest readable checkpoint.
    pub first: u64,
    /// Needed log entries that are missing or unreadable, by version.
    pub flawed: BTreeMap<u64, Flaw>,
    /// Damaged checkpoints, and the hint if it names one of them or cannot be parsed. Paths are relative to the table.
    pub useless: Vec<Path>,
    /// Whether the readable checkpoint or one of the needed log entries declares the table's columns.
    pub has_metadata: bool,
}

#[derive(Deserialize)]
struct CheckpointHint {
    version: u64,
}

impl Table {
    /// Opens the table without its damaged checkpoints, if all commits exist. `error` is the error of opening it with
    /// them.
    ///
    /// # Errors
    /// [`Damaged`](ErrorKind::Damaged) if the log has lost commits; `error` if the log is not damaged.
    pub(super) async fn open_around(&mut self, error: Error) -> Result<()> {
        let Ok(log) = self.log_state().await else { return Err(error) };
        if let Some((version, flaw)) = log.flawed.first_key_value() {
            return Err(self.damaged(&entry_path(*version), *flaw, log.flawed.len()));
        }
        if log.useless.is_empty() {
            return Err(error);
        }
        let prefix = self.lake.table_prefix(self.spec.name);
        let hidden: HashSet<Path> = log.useless.iter().map(|path| join(&prefix, path)).collect();
        let root = Arc::new(HidingStore::new(Arc::clone(&self.lake.location().root), hidden));
        self.reopen_over(root)?;
        if self.delta.load().await.is_err() || self.version() != Some(log.newest) {
            return Err(error);
        }
        tracing::warn!(
            table = self.spec.name, file = %log.useless[0],
            "a checkpoint of the log is missing or damaged: the table was read from its commits"
        );
        self.useless_checkpoints = log.useless;
        Ok(())
    }

    /// Checks, on local disk, that no needed log entry is empty. A power failure can leave an empty entry; delta-rs
    /// reads it as a commit without actions, and a sweep would then remove the files that the entry named.
    ///
    /// # Errors
    /// [`Damaged`](ErrorKind::Damaged) if a needed entry is empty.
    pub(super) async fn refuse_empty_entries(&self) -> Result<()> {
        if self.lake.location().directory().is_none() {
            return Ok(());
        }
        // Entries up to the last checkpoint are not needed to open the table.
        let entries = match self.hint().await?.flatten() {
            None => self.listed_under("_delta_log").await?,
            Some(checkpoint) => {
                let log = Path::from("_delta_log");
                let listed = self.store.list_with_offset(Some(&log), &entry_path(checkpoint));
                listed.try_collect().await.map_err(|error| self.log_unreadable(&error))?
            }
        };
        if !entries.iter().any(|object| object.size == 0 && version_of(&object.location).is_some()) {
            return Ok(());
        }
        let log = self.log_state().await?;
        match log.flawed.first_key_value() {
            Some((version, flaw)) => Err(self.damaged(&entry_path(*version), *flaw, log.flawed.len())),
            None => Ok(()),
        }
    }

    /// Checks every file of the log that is needed to open the table.
    pub(super) async fn log_state(&self) -> Result<LogState> {
        let mut entries = BTreeSet::new();
        let mut checkpoints: BTreeMap<u64, Vec<Path>> = BTreeMap::new();
        for object in self.listed_under("_delta_log").await? {
            if let Some(version) = version_of(&object.location) {
                entries.insert(version);
            } else if let Some(version) = version_of_checkpoint(&object.location) {
                checkpoints.entry(version).or_default().push(object.location);
            }
        }
        let hint = self.hint().await?;
        let mut log = LogState::default();
        let newest_checkpoint = checkpoints.last_key_value().map(|(version, _)| *version);
        log.newest = entries.last().copied().max(newest_checkpoint).unwrap_or_default();
        for (version, files) in checkpoints.iter().rev() {
            if self.are_readable(files).await? {
                (log.first, log.has_metadata) = (version + 1, true);
                break;
            }
            log.useless.extend(files.iter().cloned());
        }
        let readable = log.first.checked_sub(1);
        if hint.is_some_and(|hint| hint.is_none_or(|version| readable.is_none_or(|readable| readable < version))) {
            log.useless.push(Path::from(LAST_CHECKPOINT));
        }
        self.check_entries(&entries, &mut log).await?;
        Ok(log)
    }

    async fn check_entries(&self, entries: &BTreeSet<u64>, log: &mut LogState) -> Result<()> {
        let read = |version: u64| async move {
            let content = match self.store.get(&entry_path(version)).await {
                Ok(found) => found.bytes().await,
                Err(error) => Err(error),
            };
            (version, content)
        };
        let gone = (log.first..=log.newest).filter(|version| !entries.contains(version));
        log.flawed.extend(gone.map(|version| (version, Flaw::Gone)));
        let existing: Vec<u64> = entries.range(log.first..).copied().collect();
        let mut contents = futures::stream::iter(existing).map(read).buffered(ENTRIES_AT_ONCE);
        while let Some((version, content)) = contents.next().await {
            let content = content.map_err(|error| self.log_unreadable(&error))?;
            match get_actions(version, &content) {
                Ok(actions) if !actions.is_empty() => {
                    let is_metadata = |action| matches!(action, &deltalake::kernel::Action::Metadata(_));
                    log.has_metadata |= actions.iter().any(is_metadata);
                }
                _ => drop(log.flawed.insert(version, Flaw::Unreadable)),
            }
        }
        Ok(())
    }

    /// Returns the version that the log's hint names: `None` if there is no hint, `Some(None)` if it cannot be parsed.
    async fn hint(&self) -> Result<Option<Option<u64>>> {
        let found = match self.store.get(&Path::from(LAST_CHECKPOINT)).await {
            Ok(found) => found.bytes().await,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => Err(error),
        };
        let found = found.map_err(|error| self.log_unreadable(&error))?;
        Ok(Some(serde_json::from_slice::<CheckpointHint>(&found).ok().map(|hint| hint.version)))
    }

    /// Returns whether these Parquet files exist and can be read completely.
    async fn are_readable(&self, files: &[Path]) -> Result<bool> {
        for file in files {
            let content = match self.store.get(file).await {
                Ok(found) => found.bytes().await,
                Err(error) => Err(error),
            };
            match content {
                Ok(content) if is_whole(content.clone()) => {}
                Ok(_) | Err(object_store::Error::NotFound { .. }) => return Ok(false),
                Err(error) => return Err(self.log_unreadable(&error)),
            }
        }
        Ok(true)
    }

    /// Returns the data files of the table's version that are missing, or whose size differs from the size in the log.
    pub(super) async fn flawed_files(&self) -> Result<Vec<(DataFile, Flaw)>> {
        if !self.exists() {
            return Ok(Vec::new());
        }
        let listed: Result<HashMap<Path, u64>, _> =
            self.store.list(None).map_ok(|object| (object.location, object.size)).try_collect().await;
        let listed = listed.map_err(|error| self.log_unreadable(&error))?;
        let flaw = |file: DataFile| match listed.get(&Path::from(file.path.as_str())) {
            None => Some((file, Flaw::Gone)),
            Some(size) if *size != file.bytes => Some((file, Flaw::Cut)),
            Some(_) => None,
        };
        Ok(self.files().filter_map(flaw).collect())
    }

    /// Returns the error that names a damaged file of the table's newest version. `None` if all data files exist with
    /// the size in the log, or if this cannot be determined.
    pub async fn damage(&self) -> Option<Error> {
        if let Some(error) = &self.damaged {
            return Some(error.clone());
        }
        // Another run may have superseded files of the version that this table is open at.
        let mut newest = Self::open(&self.lake, self.spec, None).await;
        if let Err(error) = &mut newest {
            return (error.kind() == ErrorKind::Damaged).then(|| error.clone());
        }
        let newest = newest.ok()?;
        let flawed = newest.flawed_files().await.ok()?;
        let (file, flaw) = flawed.first()?;
        Some(newest.damaged(&Path::from(file.path.as_str()), *flaw, flawed.len()))
    }

    /// Returns the error of a damaged table: `file`, relative to the table, has `flaw`, and `flawed` files are damaged
    /// in total.
    pub(super) fn damaged(&self, file: &Path, flaw: Flaw, flawed: usize) -> Error {
        let others = match flawed {
            0 | 1 => String::new(),
            several => format!(" ({several} damaged files in total)"),
        };
        let name = self.spec.name;
        let text =
            format!("the table {name} in {} is damaged: {file} {}{others}", self.lake.location(), flaw.description());
        Error::new(ErrorKind::Damaged, text).with_hint(
            "run clerk-lake sync --full, which reads the table again from Clerk and keeps the rows that can still be \
             read; clerk-lake maintain --repair repairs what it can without Clerk",
        )
    }

    fn log_unreadable(&self, error: &object_store::Error) -> Error {
        store_error(&format!("the log of {} cannot be read", self.spec.name), error)
    }
}

/// Returns the path of the log entry of `version`, relative to its table.
pub(super) fn entry_path(version: u64) -> Path {
    Path::from(format!("_delta_log/{version:020}.json"))
}

/// Returns the version of the checkpoint, or part of a checkpoint, at `path`. `None` if it is not a checkpoint.
fn version_of_checkpoint(path: &Path) -> Option<u64> {
    let name = path.as_ref().strip_prefix("_delta_log/")?;
    let (version, rest) = name.split_once('.')?;
    let is_one = version.len() == 20 && rest.starts_with("checkpoint") && rest.ends_with(".parquet");
    version.parse().ok().filter(|_| is_one)
}

/// Returns whether `content` is a Parquet file that can be read completely.
pub(super) fn is_whole(content: Bytes) -> bool {
    let Ok(reader) = SerializedFileReader::new(content) else { return false };
    (0..reader.num_row_groups()).all(|group| {
        let Ok(group) = reader.get_row_group(group) else { return false };
        (0..group.num_columns())
            .all(|column| group.get_column_page_reader(column).is_ok_and(|mut pages| pages.all(|page| page.is_ok())))
    })
}
