//! A table's change data feed: whether commits record which rows they insert, update and delete, and when these records
//! are removed.
//!
//! The feed is Delta's change data feed (`delta.enableChangeDataFeed`, `_change_data/`), for consumers that load
//! incrementally. It begins with the version that switched it on. Earlier changes are not recorded; their result is in
//! the table. Every later version that changes a row records the change in files that neither compaction nor a later
//! commit touches. These files stay for as long as the log has the entry of their version.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use deltalake::kernel::Action;
use deltalake::logstore::{LogStore, get_actions};
use futures::{Stream, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore};

use super::change_data::CHANGE_DATA;
use super::entry::{version_of, version_of_change_data};
use super::store_error;
use super::table::Table;
use crate::error::Result;

/// The table property that tells every program that writes to the table to record changes.
const ENABLED: &str = "delta.enableChangeDataFeed";

/// The table property that holds the version at which the feed begins.
const BEGINS: &str = "clerk_lake.feed_begins";

/// How many of the newest versions are searched for orphaned change data of other runs. Few are enough: the next run
/// starts before there are many more versions.
const SEARCHED_VERSIONS: u64 = 8;

/// How many log entries are read concurrently.
const ENTRIES_AT_ONCE: usize = 16;

/// Returns the properties of a new table whose feed begins with its first version.
pub(super) fn properties_from_the_beginning() -> [(String, Option<String>); 2] {
    [(ENABLED.to_owned(), Some(true.to_string())), (BEGINS.to_owned(), Some(0.to_string()))]
}

/// Returns whether these table properties switch the change data feed on.
pub(super) fn is_on(properties: &HashMap<String, String>) -> bool {
    properties.get(ENABLED).is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

impl Table {
    /// Returns whether commits to this table record their changes.
    #[must_use]
    pub fn records_changes(&self) -> bool {
        self.delta.snapshot().is_ok_and(|state| is_on(state.metadata().configuration()))
    }

    /// Returns the version after which all changes are recorded. `None` if the feed is off, or if another program
    /// switched it on without recording the version.
    #[must_use]
    pub fn feed_begins(&self) -> Option<u64> {
        self.property(BEGINS).filter(|_| self.records_changes())?.parse().ok()
    }

    /// Switches the change data feed on or off according to the lake's settings. Leaves it as it is if they do not say.
    ///
    /// This is a separate commit before any commit that changes rows, because readers use the table properties at the
    /// start of a version.
    pub(super) async fn switch_feed(&mut self) -> Result<()> {
        let (Some(wanted), Some(version)) = (self.lake.keeping.change_data_feed, self.version()) else { return Ok(()) };
        let is_up_to_date = if wanted { self.feed_begins().is_some() } else { !self.records_changes() };
        if is_up_to_date {
            return Ok(());
        }
        let mut properties = HashMap::from([(ENABLED.to_owned(), wanted.to_string())]);
        if wanted {
            properties.insert(BEGINS.to_owned(), (version + 1).to_string());
        }
        let version = self.set_properties(properties, if wanted { "feed on" } else { "feed off" }).await?;
        tracing::info!(table = self.spec.name, version, on = wanted, "switched the change data feed");
        Ok(())
    }

    /// Commits that the feed begins at the next version, if the feed is on. Used before earlier change data is removed.
    pub(super) async fn begin_feed_anew(&mut self) -> Result<()> {
        let Some(version) = self.version().filter(|_| self.records_changes()) else { return Ok(()) };
        self.set_properties([(BEGINS.to_owned(), (version + 1).to_string())], "feed anew").await.map(|_| ())
    }

    /// Returns the log entries of these versions, in order. An entry is `None` if the log no longer has it.
    pub(super) fn entries<V: IntoIterator<Item = u64>>(
        &self,
        versions: V,
    ) -> impl Stream<Item = Result<(u64, Option<Bytes>)>> + use<V> {
        let (log, name) = (self.log_store(), self.spec.name);
        let read = move |version: u64| {
            let log = Arc::clone(&log);
            async move {
                let entry = log.read_commit_entry(version).await.map(|entry| (version, entry));
                entry.map_err(|error| store_error(&format!("the log of {name} cannot be read"), &error))
            }
        };
        futures::stream::iter(versions).map(read).buffered(ENTRIES_AT_ONCE)
    }

    /// Returns the oldest version that still has a log entry.
    pub(super) async fn oldest_entry(&self) -> Result<Option<u64>> {
        let entries = self.listed_under("_delta_log").await?;
        Ok(entries.iter().filter_map(|object| version_of(&object.location)).min())
    }

    /// Removes the change data of versions that no longer have a log entry. Returns the number of removed files. This
    /// is safe because no run can commit such a version again, so no commit can still name the files.
    pub(super) async fn remove_old_changes(&self) -> Result<usize> {
        let files = self.change_data().await?;
        if files.is_empty() {
            return Ok(0);
        }
        let Some(oldest) = self.oldest_entry().await? else { return Ok(0) };
        let old: Vec<Path> =
            files.range(..oldest).flat_map(|(_, files)| files.iter().map(|it| it.location.clone())).collect();
        self.delete_files(&old).await;
        Ok(old.len())
    }

    /// Returns the change data files that recent crashes left: files of future versions, and files of the newest
    /// versions that their log entries do not name. Older orphan files are removed with the log entry of their version.
    pub(super) async fn orphaned_changes(&self) -> Result<Vec<Path>> {
        let (Some(newest), mut files) = (self.version(), self.change_data().await?) else { return Ok(Vec::new()) };
        for files in files.values_mut() {
            files.retain(|file| self.may_sweep(file));
        }
        let mut recent = files.split_off(&newest.saturating_sub(SEARCHED_VERSIONS));
        let future = recent.split_off(&(newest + 1));
        let mut orphans: Vec<Path> = future.into_values().flatten().map(|file| file.location).collect();
        let (Some((&first, _)), Some((&last, _))) = (recent.first_key_value(), recent.last_key_value()) else {
            return Ok(orphans);
        };
        let mut entries = std::pin::pin!(self.entries(first..=last));
        while let Some((version, entry)) = entries.try_next().await? {
            let (Some(entry), Some(paths)) = (entry, recent.remove(&version)) else { continue };
            let named = named_changes(self.spec.name, version, &entry)?;
            orphans.extend(paths.into_iter().map(|file| file.location).filter(|path| !named.contains(path)));
        }
        Ok(orphans)
    }

    /// Returns the change data files that this program named, by version. Files of other programs are left to them.
    async fn change_data(&self) -> Result<BTreeMap<u64, Vec<ObjectMeta>>> {
        let mut files: BTreeMap<u64, Vec<ObjectMeta>> = BTreeMap::new();
        if self.property(ENABLED).is_none() {
            // The feed has never been switched on.
            return Ok(files);
        }
        for file in self.listed_under(CHANGE_DATA).await? {
            if let Some(version) = version_of_change_data(&file.location) {
                files.entry(version).or_default().push(file);
            }
        }
        Ok(files)
    }

    /// Lists the files under `directory`, relative to the table.
    pub(super) async fn listed_under(&self, directory: &str) -> Result<Vec<ObjectMeta>> {
        let listed: Result<_, object_store::Error> = self.store.list(Some(&Path::from(directory))).try_collect().await;
        listed.map_err(|error| store_error(&format!("the table {} cannot be listed", self.spec.name), &error))
    }
}

/// Returns the change data files that a commit names, relative to its table.
fn named_changes(table: &str, version: u64, entry: &Bytes) -> Result<HashSet<Path>> {
    let actions = actions(table, version, entry)?;
    let path = |action: Action| match action {
        Action::Cdc(file) => Path::parse(&file.path).ok(),
        _ => None,
    };
    Ok(actions.into_iter().filter_map(path).collect())
}

/// Parses the actions of a commit to `table`.
pub(super) fn actions(table: &str, version: u64, entry: &Bytes) -> Result<Vec<Action>> {
    let actions = get_actions(version, entry);
    actions.map_err(|error| store_error(&format!("cannot parse the log entry of version {version} of {table}"), &error))
}
