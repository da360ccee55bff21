//! A table's change data feed: whether its commits record which rows they insert, update and delete, and what becomes
//! of the records.
//!
//! They are Delta's own (`delta.enableChangeDataFeed`, `_change_data/`), for whoever loads incrementally. A feed
//! begins with the version that switched it on: what the table held then is in the table, and every later version
//! that changes a row says so in files that no compaction and no later commit touches. These stay for as long as the
//! log tells of their version.

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

/// The table property by which every program that writes to the table knows that changes are to be recorded.
const ENABLED: &str = "delta.enableChangeDataFeed";

/// The table property that says since which version that has been so.
const BEGINS: &str = "clerk_lake.feed_begins";

/// How many of the newest versions are looked at for change data that another run left beside theirs: the next run
/// comes before there are many more.
const LOOKED_AT: u64 = 8;

/// How many entries of the log are read at a time.
const ENTRIES_AT_ONCE: usize = 16;

/// The properties of a new table whose changes are recorded from the beginning.
pub(super) fn properties_from_the_beginning() -> [(String, Option<String>); 2] {
    [(ENABLED.to_owned(), Some(true.to_string())), (BEGINS.to_owned(), Some(0.to_string()))]
}

/// Whether these are the properties of a table whose changes are recorded.
pub(super) fn is_on(properties: &HashMap<String, String>) -> bool {
    properties.get(ENABLED).is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

impl Table {
    /// Whether its commits record their changes.
    #[must_use]
    pub fn records_changes(&self) -> bool {
        self.delta.snapshot().is_ok_and(|state| is_on(state.metadata().configuration()))
    }

    /// The version after which all changes have been recorded; none where they are not, or another program has
    /// switched that on and did not say when.
    #[must_use]
    pub fn feed_begins(&self) -> Option<u64> {
        self.property(BEGINS).filter(|_| self.records_changes())?.parse().ok()
    }

    /// Switches the recording of changes on or off, as the lake is to be kept; where that is not said, it stays as it
    /// is.
    ///
    /// This is a commit of its own, before any that changes rows: readers go by what the version says that it begins
    /// with.
    pub(super) async fn switch_feed(&mut self) -> Result<()> {
        let (Some(wanted), Some(version)) = (self.lake.keeping.change_data_feed, self.version()) else { return Ok(()) };
        let is_so = if wanted { self.feed_begins().is_some() } else { !self.records_changes() };
        if is_so {
            return Ok(());
        }
        let mut properties = HashMap::from([(ENABLED.to_owned(), wanted.to_string())]);
        if wanted {
            properties.insert(BEGINS.to_owned(), (version + 1).to_string());
        }
        let version = self.set_properties(properties, if wanted { "feed on" } else { "feed off" }).await?;
        tracing::info!(table = self.spec.name, version, on = wanted, "the change data feed was switched");
        Ok(())
    }

    /// Commits that changes are recorded from here on, if they are recorded at all: those before will be gone.
    pub(super) async fn begin_feed_anew(&mut self) -> Result<()> {
        let Some(version) = self.version().filter(|_| self.records_changes()) else { return Ok(()) };
        self.set_properties([(BEGINS.to_owned(), (version + 1).to_string())], "feed anew").await.map(|_| ())
    }

    /// The log's entries of these versions, in their order; none where the log has let one go.
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

    /// The oldest version that the log still tells of.
    pub(super) async fn oldest_entry(&self) -> Result<Option<u64>> {
        let entries = self.listed_under("_delta_log").await?;
        Ok(entries.iter().filter_map(|object| version_of(&object.location)).min())
    }

    /// Removes the change data of versions that the log no longer tells of; gives how many files that were. Nobody
    /// can commit such a version again, so nobody is about to name them.
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

    /// Change data that no version names, as far as a crash can have left them lately: of versions to come, and
    /// beside those of the newest. Older ones go with their version's entry in the log.
    pub(super) async fn orphaned_changes(&self) -> Result<Vec<Path>> {
        let (Some(newest), mut files) = (self.version(), self.change_data().await?) else { return Ok(Vec::new()) };
        for files in files.values_mut() {
            files.retain(|file| self.may_sweep(file));
        }
        let mut recent = files.split_off(&newest.saturating_sub(LOOKED_AT));
        let to_come = recent.split_off(&(newest + 1));
        let mut orphans: Vec<Path> = to_come.into_values().flatten().map(|file| file.location).collect();
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

    /// The change data files that this program has named, by version. Those of other programs are theirs to remove.
    async fn change_data(&self) -> Result<BTreeMap<u64, Vec<ObjectMeta>>> {
        let mut files: BTreeMap<u64, Vec<ObjectMeta>> = BTreeMap::new();
        if self.property(ENABLED).is_none() {
            // It has never been switched on.
            return Ok(files);
        }
        for file in self.listed_under(CHANGE_DATA).await? {
            if let Some(version) = version_of_change_data(&file.location) {
                files.entry(version).or_default().push(file);
            }
        }
        Ok(files)
    }

    pub(super) async fn listed_under(&self, directory: &str) -> Result<Vec<ObjectMeta>> {
        let listed: Result<_, object_store::Error> = self.store.list(Some(&Path::from(directory))).try_collect().await;
        listed.map_err(|error| store_error(&format!("the table {} cannot be listed", self.spec.name), &error))
    }
}

/// The change data files that a commit names, relative to its table.
fn named_changes(table: &str, version: u64, entry: &Bytes) -> Result<HashSet<Path>> {
    let actions = actions(table, version, entry)?;
    let path = |action: Action| match action {
        Action::Cdc(file) => Path::parse(&file.path).ok(),
        _ => None,
    };
    Ok(actions.into_iter().filter_map(path).collect())
}

/// What a commit of `table` consists of.
pub(super) fn actions(table: &str, version: u64, entry: &Bytes) -> Result<Vec<Action>> {
    let actions = get_actions(version, entry);
    actions.map_err(|error| store_error(&format!("version {version} of {table} cannot be understood"), &error))
}
