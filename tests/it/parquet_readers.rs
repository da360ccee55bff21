//! Readers of Parquet files that do not know Delta see exactly the committed rows, however a run ended.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clerk_lake::lake::{RunArea, writer_properties};
use clerk_lake::resource::{self, Resource};
use clerk_lake::simulator::{ChangeKind, FaultKind, Faults, Model};
use clerk_lake::sync::{Extent, ResourceStatus, Status};
use parquet::arrow::ArrowSchemaConverter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::schema::types::ColumnPath;
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::faults::{OnPage, impatient, sync_watched};
use crate::support::expected::{self, Rows, Tables};
use crate::support::{World, as_json, files, named, plain_row_count, tables};

/// Returns the rows that a reader of the table's directory sees, with the Hive partition columns.
fn plain_rows(world: &World, resource: &Resource) -> Rows {
    let mut rows = Vec::new();
    for (path, content) in files(&world.path().join(resource.table.name)) {
        if path.starts_with("_delta_log") {
            continue;
        }
        assert!(is_parquet(&path), "{} is in the directory of {}", path.display(), resource.table.name);
        let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(content)).expect("a Parquet file");
        let batches: Vec<_> = reader.build().expect("a reader").map(|batch| batch.expect("rows")).collect();
        let partition = hive_partition(&path);
        rows.extend(as_json(&batches).into_iter().map(|mut row| {
            if let Some((column, value)) = &partition {
                row[column] = value.clone();
            }
            row
        }));
    }
    expected::by_key(rows, resource.table.key)
}

/// Returns the partition column and value of a path such as `created_year=2026/part-0.parquet`.
fn hive_partition(path: &Path) -> Option<(String, Value)> {
    let directory = path.parent()?.to_str()?;
    let (column, value) = directory.split_once('=')?;
    Some((column.to_owned(), value.parse::<i64>().map_or_else(|_| json!(value), Value::from)))
}

fn is_parquet(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "parquet")
}

fn plain_tables(world: &World) -> Tables {
    resource::defaults().into_iter().map(|resource| (resource.name, plain_rows(world, resource))).collect()
}

/// Asserts that a reader of the directories sees the rows of the newest table versions, and that the directories have
/// no other data files.
async fn assert_plain_readers_see_committed_rows(world: &World, case: &str) {
    for resource in resource::defaults() {
        let committed = expected::stored(world, resource.name).await;
        expected::assert_same(&format!("{case}: {}", resource.name), &plain_rows(world, resource), &committed);
        let table = world.lake().table(&resource.table).await.expect("the table");
        let found = files(&world.path().join(resource.table.name));
        let data_files = found.iter().filter(|(path, _)| is_parquet(path) && !path.starts_with("_delta_log")).count();
        assert_eq!(data_files, table.file_count(), "{case}: files of {}", resource.name);
    }
    expected::assert_nothing_staged(world, case);
}

/// Changes every table without deleting a user.
fn change_everything(model: &mut Model) {
    use ChangeKind::{Activity, Ban, CreateOrganization, CreateUser, EndSession, RenameOrganization, UpdateProfile};
    for kind in [Activity, Ban, CreateOrganization, CreateUser, EndSession, RenameOrganization, UpdateProfile] {
        for _ in 0..3 {
            model.change(kind);
        }
    }
}

async fn small() -> World {
    expected::fixed_clock_world(|config| config.users = 200).await
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_readers_see_the_committed_rows_and_no_superseded_ones() {
    for extent in [Extent::Full, Extent::Changes] {
        let mut world = small().await;
        world.options.extent = extent;
        assert_eq!(world.sync().await.status, Status::Ok);
        assert_plain_readers_see_committed_rows(&world, "first").await;
        let before = plain_tables(&world);
        for turn in ["second", "third"] {
            let case = format!("{extent:?}, {turn}");
            world.simulator.with_model(change_everything);
            assert_eq!(world.sync().await.status, Status::Ok, "{case}");
            assert_plain_readers_see_committed_rows(&world, &case).await;
            expected::assert_tables_equal_for(&world, &case).await;
        }
        let changed = |name: &str| plain_rows(&world, named(name)) != before[name];
        // Not every other list changes.
        for name in ["users", "organizations", "sessions", "user_activity"] {
            assert!(changed(name), "{extent:?}: the table of {name} has not changed");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_sync_changes_nothing_for_plain_readers() {
    let world = small().await;
    assert_eq!(world.sync().await.status, Status::Ok);
    let before = plain_tables(&world);
    world.simulator.with_model(change_everything);
    world.simulator.set_faults(Faults::always(FaultKind::ServerError).on("/v1/users"));
    let summary = world.sync_with(impatient(&world), world.lake(), world.options.clone()).await;
    assert_eq!(summary.status, Status::Partial, "{summary:?}");
    for resource in &summary.resources {
        let failed = ["users", "daily_active_users"].contains(&resource.name.as_str());
        assert_eq!(resource.status == ResourceStatus::Failed, failed, "{resource:?}");
        if failed {
            let (rows, old) = (plain_rows(&world, named(&resource.name)), &before[resource.name.as_str()]);
            expected::assert_same(&resource.name, &rows, old);
        }
    }
    assert_plain_readers_see_committed_rows(&world, "after a failure").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_first_sync_leaves_no_files_for_plain_readers() {
    let world = small().await;
    world.simulator.set_faults(Faults::every(3, [FaultKind::ServerError]).on("/v1/users"));
    world.simulator.set(|config| config.clamp = Some(20));
    let summary = world.sync_with(impatient(&world), world.lake(), world.options.clone()).await;
    assert_eq!(summary.resources[0].status, ResourceStatus::Failed, "{summary:?}");
    assert!(!world.path().join("clerk_user").exists());
    assert_eq!(plain_row_count(&world.path(), "clerk_user"), 0);
    expected::assert_nothing_staged(&world, "after a failure");
}

/// Starts a sync and drops it once this number of rows of `resource` has been read.
pub async fn drop_at(world: &World, resource: &'static str, rows: u64) {
    let reached = Arc::new(Notify::new());
    let notify = Arc::clone(&reached);
    let progress = OnPage(move |name: &str, read: u64| {
        if name == resource && read >= rows {
            notify.notify_one();
        }
    });
    tokio::select! {
        biased;
        () = reached.notified() => {}
        summary = sync_watched(world, Arc::new(progress)) => panic!("the sync ended before it was dropped: {summary:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_sync_leaves_its_tables_unchanged_and_the_next_sync_needs_no_repair() {
    for (dropped, rows) in [("users", 20), ("users", 200), ("organizations", 20), ("sessions", 100)] {
        let case = format!("dropped after {rows} {dropped}");
        let mut world = expected::fixed_clock_world(|config| {
            config.users = 200;
            config.clamp = Some(20);
            config.latency = Duration::from_millis(2);
        })
        .await;
        assert_eq!(world.sync().await.status, Status::Ok);
        let before = plain_tables(&world);
        world.simulator.with_model(change_everything);
        world.options.extent = Extent::Full;
        drop_at(&world, dropped, rows).await;
        for resource in resource::defaults() {
            let (rows, old) = (plain_rows(&world, resource), &before[resource.name]);
            // Other resources are read at the same time: each is done or unchanged.
            if resource.name == dropped || rows == *old {
                expected::assert_same(&format!("{case}: {}", resource.name), &rows, old);
            } else {
                expected::assert_resource_equals(&world, resource.name, &case).await;
            }
        }
        assert_eq!(world.sync().await.status, Status::Ok);
        expected::assert_tables_equal_for(&world, &case).await;
        assert_plain_readers_see_committed_rows(&world, &case).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_run_removes_the_staged_files_of_a_dead_run() {
    for lock_left in [false, true] {
        let world = small().await;
        assert_eq!(world.sync().await.status, Status::Ok);
        let staged = world.path().join("_staged");
        let partition = staged.join("deadrun/clerk_user/created_year=2024");
        std::fs::create_dir_all(&partition).expect("a directory");
        std::fs::write(partition.join("part-x.parquet"), "half a file").expect("a file");
        if lock_left {
            std::fs::write(staged.join("deadrun.lock"), "").expect("a file");
        }
        assert_eq!(world.sync().await.status, Status::Ok);
        assert!(!staged.exists());
        expected::assert_tables_equal(&world).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_staged_files_of_a_running_sync_are_kept() {
    let world = small().await;
    let other = RunArea::open(&world.lake()).await.expect("an area");
    assert_eq!(world.sync().await.status, Status::Ok);
    assert!(world.path().join("_staged").join(other.run()).is_dir());
    other.remove().await;
    expected::assert_tables_equal(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_sync_deletes_orphan_files() {
    let world = small().await;
    assert_eq!(world.sync().await.status, Status::Ok);
    for table in tables() {
        let directory = world.path().join(table);
        let rows = plain_row_count(&world.path(), table);
        let found = files(&directory).into_iter().find(|(path, _)| is_parquet(path));
        let (path, content) = found.expect("a data file");
        std::fs::write(directory.join(path).with_file_name("part-00000-orphan.parquet"), content).expect("a file");
        assert!(plain_row_count(&world.path(), table) > rows, "{table}: plain readers do not see the orphan file");
    }
    assert_eq!(world.sync().await.status, Status::Ok);
    assert_plain_readers_see_committed_rows(&world, "after a sweep").await;
    expected::assert_tables_equal(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_sync_deletes_files_of_a_first_commit_that_crashed() {
    let world = small().await;
    let directories =
        ["clerk_user/created_year=2024", "clerk_session/created_month=2026-09", "clerk_daily_active_users"];
    for directory in directories {
        let directory = world.path().join(directory);
        std::fs::create_dir_all(&directory).expect("a directory");
        std::fs::write(directory.join("part-00000-orphan.parquet"), "rows of a commit that never was").expect("a file");
    }
    assert_eq!(world.sync().await.status, Status::Ok);
    assert_plain_readers_see_committed_rows(&world, "after a sweep").await;
    expected::assert_tables_equal(&world).await;
}

#[test]
fn dictionary_columns_exist_in_the_files() {
    for spec in resource::TABLES {
        let schema = ArrowSchemaConverter::new().convert(&spec.schema()).expect("a Parquet schema");
        let properties = writer_properties(spec);
        for path in spec.repetitive {
            let column = schema.columns().iter().find(|column| column.path().string() == *path);
            let column = column.unwrap_or_else(|| panic!("{} has no column {path}", spec.name));
            assert!(properties.dictionary_enabled(column.path()), "{path}");
        }
        let repeats = spec.repetitive.contains(&spec.key[0]);
        assert_eq!(properties.dictionary_enabled(&ColumnPath::from(spec.key[0])), repeats, "{}", spec.name);
    }
}
