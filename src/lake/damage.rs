//! Damage at rest: log entries that are gone or garbled, checkpoints that are gone or cut, data files likewise.
//!
//! Delta-rs says of such a table that it cannot be read, and not always why. This module looks at the log and the data
//! files, and names the file. Damage that loses nothing is read around: as long as all commits are there, no checkpoint
//! is needed.

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

/// Where the log says which checkpoint is the last.
pub(super) const LAST_CHECKPOINT: &str = "_delta_log/_last_checkpoint";

/// How many log entries are read at a time.
const ENTRIES_AT_ONCE: usize = 16;

/// What is wrong with a file of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    Gone,
    Unreadable,
    /// It has another size than the log says.
    Cut,
}

impl Flaw {
    fn words(self) -> &'static str {
        match self {
            Self::Gone => "is gone",
            Self::Unreadable => "cannot be read",
            Self::Cut => "is cut off",
        }
    }
}

/// What a table's log consists of, and what is wrong with it.
#[derive(Debug, Default)]
pub(super) struct LogState {
    /// The newest version that any entry or checkpoint is of.
    pub newest: u64,
    /// The first version that is needed: the one after the newest good checkpoint.
    pub first: u64,
    /// Needed entries that are gone or garbled, by their version.
    pub flawed: BTreeMap<u64, Flaw>,
    /// Checkpoints that are gone or cut, and the hint that points to one: relative to the table.
    pub useless: Vec<Path>,
    /// Whether one of the needed entries or the checkpoint they follow declares the table's columns.
    pub has_metadata: bool,
}

#[derive(Deserialize)]
struct Hint {
    version: u64,
}

impl Table {
    /// Opens the table around useless checkpoints, if it has all commits; `error` is why it cannot be opened otherwise.
    ///
    /// # Errors
    /// [`Damaged`](ErrorKind::Damaged) if the log has lost commits, `error` if nothing is wrong with the log.
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
            "a checkpoint of the log is gone or cut off: the table was read from its commits"
        );
        self.useless_checkpoints = log.useless;
        Ok(())
    }

    /// Refuses a log on local disk one of whose needed entries is empty, as a power failure may leave it: delta-rs takes
    /// it for a commit that does nothing, and a sweep would remove the files that it named.
    ///
    /// # Errors
    /// [`Damaged`](ErrorKind::Damaged) if there is one.
    pub(super) async fn refuse_empty_entries(&self) -> Result<()> {
        if self.lake.location().directory().is_none() {
            return Ok(());
        }
        let entries = self.listed_under("_delta_log").await?;
        if !entries.iter().any(|object| object.size == 0 && version_of(&object.location).is_some()) {
            return Ok(());
        }
        let log = self.log_state().await?;
        match log.flawed.first_key_value() {
            Some((version, flaw)) => Err(self.damaged(&entry_path(*version), *flaw, log.flawed.len())),
            None => Ok(()),
        }
    }

    /// Looks at every file of the log that is needed to open the table.
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
        let of_checkpoints = checkpoints.last_key_value().map(|(version, _)| *version);
        log.newest = entries.last().copied().max(of_checkpoints).unwrap_or_default();
        for (version, files) in checkpoints.iter().rev() {
            if self.are_whole(files).await? {
                (log.first, log.has_metadata) = (version + 1, true);
                break;
            }
            log.useless.extend(files.iter().cloned());
        }
        let good = log.first.checked_sub(1);
        if hint.is_some_and(|hint| hint.is_none_or(|version| good.is_none_or(|good| good < version))) {
            log.useless.push(Path::from(LAST_CHECKPOINT));
        }
        self.look_at_entries(&entries, &mut log).await?;
        Ok(log)
    }

    async fn look_at_entries(&self, entries: &BTreeSet<u64>, log: &mut LogState) -> Result<()> {
        let read = |version: u64| async move {
            let content = match self.store.get(&entry_path(version)).await {
                Ok(found) => found.bytes().await,
                Err(error) => Err(error),
            };
            (version, content)
        };
        let gone = (log.first..=log.newest).filter(|version| !entries.contains(version));
        log.flawed.extend(gone.map(|version| (version, Flaw::Gone)));
        let there: Vec<u64> = entries.range(log.first..).copied().collect();
        let mut contents = futures::stream::iter(there).map(read).buffered(ENTRIES_AT_ONCE);
        while let Some((version, content)) = contents.next().await {
            let content = content.map_err(|error| self.unlisted(&error))?;
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

    /// The version that the log's hint points to: `None` if there is no hint, `Some(None)` if it cannot be read.
    async fn hint(&self) -> Result<Option<Option<u64>>> {
        let found = match self.store.get(&Path::from(LAST_CHECKPOINT)).await {
            Ok(found) => found.bytes().await,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => Err(error),
        };
        let found = found.map_err(|error| self.unlisted(&error))?;
        Ok(Some(serde_json::from_slice::<Hint>(&found).ok().map(|hint| hint.version)))
    }

    /// Whether these Parquet files can be read to their ends.
    async fn are_whole(&self, files: &[Path]) -> Result<bool> {
        for file in files {
            let content = match self.store.get(file).await {
                Ok(found) => found.bytes().await,
                Err(error) => Err(error),
            };
            match content {
                Ok(content) if is_whole(content.clone()) => {}
                Ok(_) | Err(object_store::Error::NotFound { .. }) => return Ok(false),
                Err(error) => return Err(self.unlisted(&error)),
            }
        }
        Ok(true)
    }

    /// The data files that the table's version names and that are gone, or have another size than it says.
    pub(super) async fn flawed_files(&self) -> Result<Vec<(DataFile, Flaw)>> {
        if !self.exists() {
            return Ok(Vec::new());
        }
        let listed: Result<HashMap<Path, u64>, _> =
            self.store.list(None).map_ok(|object| (object.location, object.size)).try_collect().await;
        let listed = listed.map_err(|error| self.unlisted(&error))?;
        let flaw = |file: DataFile| match listed.get(&Path::from(file.path.as_str())) {
            None => Some((file, Flaw::Gone)),
            Some(size) if *size != file.bytes => Some((file, Flaw::Cut)),
            Some(_) => None,
        };
        Ok(self.files().filter_map(flaw).collect())
    }

    /// The error that names a damaged data file of the table's newest version; `None` if all are there and have the
    /// size that the log says, or nobody can say.
    pub async fn damage(&self) -> Option<Error> {
        if let Some(error) = &self.damaged {
            return Some(error.clone());
        }
        // Another run may have superseded files of the version that is open here.
        let mut newest = Self::open(&self.lake, self.spec, None).await;
        if let Err(error) = &mut newest {
            return (error.kind() == ErrorKind::Damaged).then(|| error.clone());
        }
        let newest = newest.ok()?;
        let flawed = newest.flawed_files().await.ok()?;
        let (file, flaw) = flawed.first()?;
        Some(newest.damaged(&Path::from(file.path.as_str()), *flaw, flawed.len()))
    }

    /// The error of a table whose `file`, relative to it, has a flaw, as have `flawed` files altogether.
    pub(super) fn damaged(&self, file: &Path, flaw: Flaw, flawed: usize) -> Error {
        let others = match flawed {
            0 | 1 => String::new(),
            several => format!(", and so are {} more files", several - 1),
        };
        let name = self.spec.name;
        let text = format!("the table {name} in {} is damaged: {file} {}{others}", self.lake.location(), flaw.words());
        Error::new(ErrorKind::Damaged, text).with_hint(
            "run clerk-lake sync --full, which reads it anew from Clerk and keeps what can still be read; \
             clerk-lake maintain --repair repairs what it can without Clerk",
        )
    }

    fn unlisted(&self, error: &object_store::Error) -> Error {
        store_error(&format!("the log of {} cannot be read", self.spec.name), error)
    }
}

/// The log entry of `version`, relative to its table.
pub(super) fn entry_path(version: u64) -> Path {
    Path::from(format!("_delta_log/{version:020}.json"))
}

/// The version whose checkpoint, or part of one, lies at `path`; `None` if it is no checkpoint.
fn version_of_checkpoint(path: &Path) -> Option<u64> {
    let name = path.as_ref().strip_prefix("_delta_log/")?;
    let (version, rest) = name.split_once('.')?;
    let is_one = version.len() == 20 && rest.starts_with("checkpoint") && rest.ends_with(".parquet");
    version.parse().ok().filter(|_| is_one)
}

/// Whether `content` is a Parquet file, all of which can be read.
pub(super) fn is_whole(content: Bytes) -> bool {
    let Ok(reader) = SerializedFileReader::new(content) else { return false };
    (0..reader.num_row_groups()).all(|group| {
        let Ok(group) = reader.get_row_group(group) else { return false };
        (0..group.num_columns())
            .all(|column| group.get_column_page_reader(column).is_ok_and(|mut pages| pages.all(|page| page.is_ok())))
    })
}
