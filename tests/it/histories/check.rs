//! Assertions about a lake.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::TimeDelta;
use clerk_lake::clock::Clock;
use clerk_lake::lake::{Lake, Location, MaintenanceOptions};
use clerk_lake::query::{Parameters, Query};
use clerk_lake::resource::{Resource, USER_ACTIVITY};
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::file::reader::{FileReader, SerializedFileReader};

use super::Seen;
use crate::support::expected::{self, Rows};
use crate::support::faulty_store::run_of;
use crate::support::{World, as_json, ledger, named};

/// Returns a lake in a store without locks, for tests: other runs count as dead immediately, so their staged files are
/// taken over, and a sweep deletes orphan files of any age. Two small files in a partition are compacted.
pub fn lake_over(store: Arc<dyn ObjectStore>) -> Lake {
    lake_at(Location::of_store(store).expect("a place"))
}

/// Like [`lake_over`], in a store in which every request costs money and time.
pub fn costly_lake_over(store: Arc<dyn ObjectStore>) -> Lake {
    lake_at(Location::of_store(store).expect("a place").asked_sparingly())
}

fn lake_at(place: Location) -> Lake {
    let keeping = MaintenanceOptions { compact_files: 2, ..MaintenanceOptions::default() };
    Lake::new(place.taken_over_after(TimeDelta::zero()).orphans_spared_for(TimeDelta::zero())).keeping(keeping)
}

/// Like [`lake_over`], with the change data feed enabled.
pub fn recording_lake_over(store: Arc<dyn ObjectStore>) -> Lake {
    let keeping =
        MaintenanceOptions { compact_files: 2, change_data_feed: Some(true), ..MaintenanceOptions::default() };
    lake_over(store).keeping(keeping)
}

/// Returns the rows of a table; `None` if it has not been written yet. Panics if a row is duplicated.
pub async fn stored(lake: &Lake, resource: &'static Resource) -> Option<Rows> {
    let name = resource.table.name;
    let table = lake.table(&resource.table).await.expect("a table that can be opened");
    if !table.exists() {
        return None;
    }
    let context = lake.context();
    context.register_table(name, table.provider().await.expect("a table that can be read")).expect("a table");
    let query = Query::ad_hoc(&format!("SELECT * FROM {name}"));
    let rows = query.run(&context, &Parameters::at(Clock::system().now())).await.expect("the rows");
    Some(expected::by_key(as_json(&rows), resource.table.key))
}

/// Asserts that the table of the resource called `name` equals the current instance row by row.
///
/// Sessions that Clerk no longer shows stay in the table. Each of them must have existed. Sessions that Clerk shows
/// must not be missing or outdated. A sync can ensure this because a session changes only while it is open or together
/// with its user: the sync lists the sessions of every user with a session that is open in the lake, and of every user
/// who was active since the day of the last watermark. A session that is not in the lake yet began after that
/// watermark, when its user was active.
///
/// The activity ledger must have all activity that the lake's users and sessions show, and no other.
pub async fn assert_current(world: &World, lake: &Lake, name: &str, seen: &Seen) {
    if name == USER_ACTIVITY.name {
        return ledger::assert_ledger(world, lake, name).await;
    }
    let mut rows = stored(lake, named(name)).await.expect("a table");
    let wanted = expected::wanted(world, name);
    if name == "sessions" {
        for id in rows.keys() {
            assert!(seen.contains(id), "the lake has the session {id}, which never existed");
        }
        rows.retain(|id, _| wanted.contains_key(id));
    }
    expected::assert_same(name, &rows, &wanted);
}

/// Asserts that a plain Parquet reader finds exactly the files and rows of the table's newest version in its directory,
/// and that the names of change data files differ from those of data files.
pub async fn assert_plain(store: &Arc<dyn ObjectStore>, lake: &Lake, resource: &'static Resource) {
    let name = resource.table.name;
    let table = lake.table(&resource.table).await.expect("a table that can be opened");
    let (log, changes) = (format!("lake/{name}/_delta_log/"), format!("lake/{name}/_change_data/"));
    let (mut files, mut rows) = (0, 0);
    for path in paths(store, &format!("lake/{name}")).await {
        if path.as_ref().starts_with(&log) {
            continue;
        }
        assert!(path.as_ref().ends_with(".parquet"), "{path} is not a Parquet file, but in the directory of {name}");
        if path.as_ref().starts_with(&changes) {
            assert!(path.filename().is_some_and(|name| name.starts_with("cdc-")), "{path} is named like a data file");
            continue;
        }
        let content = store.get(&path).await.expect("a file").bytes().await.expect("its content");
        let reader = SerializedFileReader::new(content).expect("a Parquet file");
        files += 1;
        rows += u64::try_from(reader.metadata().file_metadata().num_rows()).expect("a count");
    }
    assert_eq!((files, rows), (table.file_count(), table.rows()), "files and rows of {name} as a plain reader counts");
}

/// Asserts that the only staged files are those of `unclean` runs, which could not remove them.
///
/// In a store without locks, a killed run cannot be distinguished from a slow one. By design, the next run removes its
/// staged files only after a day. Files of a listing with a resume point are removed earlier, by the commit that makes
/// them useless. Therefore the data files of `unclean` runs may remain, but no resume point may.
pub async fn assert_tidy(store: &Arc<dyn ObjectStore>, unclean: &BTreeSet<String>) {
    for path in paths(store, "lake/_staged").await {
        assert!(path.filename() != Some("checkpoint.json"), "{path} is a resume point that is no longer needed");
        let is_leftover =
            path.as_ref().ends_with(".parquet") && run_of(&path).is_none_or(|run| !unclean.contains(&run));
        assert!(!is_leftover, "{path} was left by a run that was not killed");
    }
}

async fn paths(store: &Arc<dyn ObjectStore>, prefix: &str) -> Vec<Path> {
    let listed = store.list(Some(&Path::from(prefix))).map_ok(|object| object.location);
    listed.try_collect().await.expect("a list")
}
