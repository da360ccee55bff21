//! What must hold of a lake.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::TimeDelta;
use clerk_lake::clock::Clock;
use clerk_lake::lake::{Keeping, Lake, Location};
use clerk_lake::query::{Parameters, Query};
use clerk_lake::resource::{Resource, USER_ACTIVITY};
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::file::reader::{FileReader, SerializedFileReader};

use super::Seen;
use crate::support::expected::{self, Rows};
use crate::support::store::run_of;
use crate::support::{World, as_json, ledger, named};

/// A lake over a store without locks, in which a run counts as dead at once: what it had staged is taken over, and a
/// sweep spares no orphan file. Any two small files are put together.
pub fn lake_over(store: Arc<dyn ObjectStore>) -> Lake {
    lake_at(Location::of_store(store).expect("a place"))
}

/// The same in a store in which each question costs money and time.
pub fn sparing_lake_over(store: Arc<dyn ObjectStore>) -> Lake {
    lake_at(Location::of_store(store).expect("a place").asked_sparingly())
}

fn lake_at(place: Location) -> Lake {
    let keeping = Keeping { compact_files: 2, ..Keeping::default() };
    Lake::new(place.taken_over_after(TimeDelta::zero()).orphans_spared_for(TimeDelta::zero())).keeping(keeping)
}

/// The same, whose changes are recorded.
pub fn recording_lake_over(store: Arc<dyn ObjectStore>) -> Lake {
    let keeping = Keeping { compact_files: 2, change_data_feed: Some(true), ..Keeping::default() };
    lake_over(store).keeping(keeping)
}

/// What a table holds, no row twice; none where it has not been written yet.
pub async fn stored(lake: &Lake, resource: &'static Resource) -> Option<Rows> {
    let name = resource.table.name;
    let table = lake.table(&resource.table).await.expect("a table that can be opened");
    if !table.exists() {
        return None;
    }
    let session = lake.session();
    session.register_table(name, table.provider().await.expect("a table that can be read")).expect("a table");
    let query = Query::ad_hoc(&format!("SELECT * FROM {name}"));
    let rows = query.run(&session, &Parameters::at(Clock::system().now())).await.expect("the rows");
    Some(expected::by_key(as_json(&rows), resource.table.key))
}

/// The table of the resource called `name` equals the instance as it is now, row by row.
///
/// Sessions that Clerk no longer shows stay: each must be one that was there once. None of those that it shows may be
/// missing or old. A session changes while it is open, or with its user: whoever owns one that the lake knows to be
/// open is asked about, and so is whoever was active since the day of the last watermark. A session that the lake has
/// never seen began after that watermark, with its user's activity, or it would have been seen then.
///
/// The ledger has all that the lake's users and sessions tell of, and nothing that was not.
pub async fn assert_current(world: &World, lake: &Lake, name: &str, seen: &Seen) {
    if name == USER_ACTIVITY.name {
        return ledger::assert_ledger(world, lake, name).await;
    }
    let mut rows = stored(lake, named(name)).await.expect("a table");
    let wanted = expected::wanted(world, name);
    if name == "sessions" {
        for id in rows.keys() {
            assert!(seen.contains(id), "the lake has the session {id}, which never was");
        }
        rows.retain(|id, _| wanted.contains_key(id));
    }
    expected::assert_same(name, &rows, &wanted);
}

/// A reader of Parquet files finds the rows of the table's newest version in its directory, in its files and no others;
/// change data have names of their own.
pub async fn assert_plain(store: &Arc<dyn ObjectStore>, lake: &Lake, resource: &'static Resource) {
    let name = resource.table.name;
    let table = lake.table(&resource.table).await.expect("a table that can be opened");
    let (log, changes) = (format!("lake/{name}/_delta_log/"), format!("lake/{name}/_change_data/"));
    let (mut files, mut rows) = (0, 0);
    for path in paths(store, &format!("lake/{name}")).await {
        if path.as_ref().starts_with(&log) {
            continue;
        }
        assert!(path.as_ref().ends_with(".parquet"), "{path} lies in the directory of {name}");
        if path.as_ref().starts_with(&changes) {
            assert!(path.filename().is_some_and(|name| name.starts_with("cdc-")), "{path} is named as data files are");
            continue;
        }
        let content = store.get(&path).await.expect("a file").bytes().await.expect("its content");
        let reader = SerializedFileReader::new(content).expect("a Parquet file");
        files += 1;
        rows += u64::try_from(reader.metadata().file_metadata().num_rows()).expect("a count");
    }
    assert_eq!((files, rows), (table.file_count(), table.rows()), "files and rows of {name} as a plain reader counts");
}

/// Nothing is staged any more but what runs left that had no chance to clear up.
///
/// In a store without locks nobody can tell a run that died from one that is slow: what it had staged stays for a day
/// by design, after which the next run removes it; only listings with a checkpoint go sooner, with the commit that makes
/// them useless. So the files of `untidy` runs may be there, and no checkpoint may.
pub async fn assert_tidy(store: &Arc<dyn ObjectStore>, untidy: &BTreeSet<String>) {
    for path in paths(store, "lake/_staged").await {
        assert!(path.filename() != Some("checkpoint.json"), "{path} is of no use any more");
        let left = path.as_ref().ends_with(".parquet") && run_of(&path).is_none_or(|run| !untidy.contains(&run));
        assert!(!left, "{path} is left of a run that ended by itself");
    }
}

async fn paths(store: &Arc<dyn ObjectStore>, prefix: &str) -> Vec<Path> {
    let listed = store.list(Some(&Path::from(prefix))).map_ok(|object| object.location);
    listed.try_collect().await.expect("a list")
}
