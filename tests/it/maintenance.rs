//! Maintenance over many runs: compaction, vacuum and Delta checkpoints; and time travel to old versions.

use chrono::{DateTime, TimeDelta};
use clerk_lake::lake::{At, MaintenanceOptions, RunArea, Table};
use clerk_lake::query::{self, Parameters, Query};
use clerk_lake::resource::USERS;
use clerk_lake::simulator::ChangeKind;
use clerk_lake::sync::{Extent, Status};
use clerk_lake::{ErrorKind, clock::Clock};

use crate::support::expected::{self, Rows};
use crate::support::{World, as_json, files, stderr, stdout};

/// Returns an instance with a fixed clock, and a lake with these maintenance options.
async fn world(keeping: MaintenanceOptions) -> World {
    let mut world = expected::fixed_clock_world(|config| config.users = 300).await;
    world.keeping = keeping;
    world.options.extent = Extent::Changes;
    world
}

fn history(days: i64) -> MaintenanceOptions {
    MaintenanceOptions { history: Some(TimeDelta::days(days)), ..MaintenanceOptions::default() }
}

fn change(world: &World, kind: ChangeKind, count: usize) {
    world.simulator.with_model(|model| (0..count).for_each(|_| model.change(kind)));
}

async fn sync_users(world: &World) {
    let summary = world.sync_only(&["users"]).await;
    assert_eq!(summary.status, Status::Ok, "{summary:?}");
}

async fn users(world: &World) -> Table {
    world.lake().table(&USERS.table).await.expect("the table of users")
}

/// Returns the users in the lake at a past version or time.
async fn users_at(world: &World, at: At) -> Rows {
    let context = query::context_at(&world.lake(), Some(at)).await.expect("a lake that keeps its past");
    let all = Query::ad_hoc("SELECT * FROM clerk_user");
    let rows = all.run(&context, &Parameters::at(Clock::system().now())).await.expect("the rows");
    expected::by_key(as_json(&rows), &["id"])
}

#[tokio::test(flavor = "multi_thread")]
async fn many_small_syncs_leave_few_files_and_the_same_rows() {
    let mut most = 0;
    let world = world(MaintenanceOptions { compact_files: 4, ..MaintenanceOptions::default() }).await;
    for _ in 0..12 {
        change(&world, ChangeKind::CreateUser, 2);
        sync_users(&world).await;
        let table = users(&world).await;
        most = most.max(table.file_count());
        let partitions: std::collections::BTreeSet<_> = files(&world.path().join("clerk_user"))
            .into_iter()
            .filter_map(|(path, _)| path.parent().map(std::path::Path::to_path_buf))
            .filter(|directory| directory.to_string_lossy().contains('='))
            .collect();
        assert!(table.file_count() < partitions.len() * 4, "{} files in {partitions:?}", table.file_count());
        expected::assert_resource_equals(&world, "users", "after a small sync").await;
    }
    assert!(most > 0);
    let commits = users(&world).await.history(100).await.expect("the history");
    let compacted = commits.iter().filter(|commit| commit.info["mode"] == "compact").count();
    assert!((1..12).contains(&compacted), "{compacted} compactions for 12 syncs");
    expected::assert_nothing_staged(&world, "after all");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compaction_keeps_the_watermark() {
    let world = world(MaintenanceOptions { compact_files: 0, ..MaintenanceOptions::default() }).await;
    sync_users(&world).await;
    change(&world, ChangeKind::CreateUser, 5);
    sync_users(&world).await;
    let before = users(&world).await;
    let area = RunArea::open(&world.lake()).await.expect("a place to stage in");
    let mut table = Table::open(&world.lake(), &USERS.table, Some(&area)).await.expect("the table");
    let done = table.compact(2).await.expect("a compaction").expect("something to put together");
    area.remove().await;
    assert!(done.files_after < done.files_before, "{done:?}");
    let after = users(&world).await;
    assert_eq!(after.watermark().await.unwrap(), before.watermark().await.unwrap());
    assert_eq!((after.instance(), after.rows()), (before.instance(), before.rows()));
    expected::assert_resource_equals(&world, "users", "after a compaction").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_are_opened_from_delta_checkpoints() {
    let world = world(MaintenanceOptions::default()).await;
    for _ in 0..32 {
        change(&world, ChangeKind::UpdateProfile, 1);
        sync_users(&world).await;
    }
    let log = world.path().join("clerk_user/_delta_log");
    assert!(log.join("_last_checkpoint").is_file(), "{:?}", files(&log).into_iter().map(|it| it.0).collect::<Vec<_>>());
    expected::assert_resource_equals(&world, "users", "from a checkpoint").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lake_with_history_can_be_queried_at_old_versions() {
    let world = world(history(7)).await;
    let mut then = Vec::new();
    for kind in [ChangeKind::CreateUser, ChangeKind::UpdateProfile, ChangeKind::DeleteUser] {
        sync_users(&world).await;
        then.push((Clock::system().now(), expected::stored(&world, "users").await));
        // Times in the log are in milliseconds.
        std::thread::sleep(std::time::Duration::from_millis(5));
        change(&world, kind, 3);
    }
    sync_users(&world).await;
    for (version, (moment, rows)) in (0..).zip(&then) {
        for at in [At::Version(version), At::Moment(*moment)] {
            expected::assert_same(
                &format!("{at:?}"),
                &without_synced_at(users_at(&world, at).await),
                &without_synced_at(rows.clone()),
            );
        }
    }
    // In a copy of a lake, all files have the same modification time.
    let log = world.path().join("clerk_user/_delta_log");
    for (file, _) in files(&log) {
        let file = std::fs::File::options().write(true).open(log.join(file)).expect("a file");
        file.set_modified(Clock::system().now().into()).expect("a time");
    }
    for (moment, rows) in &then {
        let copied = users_at(&world, At::Moment(*moment)).await;
        expected::assert_same(
            &format!("a copy at {moment}"),
            &without_synced_at(copied),
            &without_synced_at(rows.clone()),
        );
    }
    let long_ago = DateTime::from_timestamp(1_000_000_000, 0).expect("a moment");
    let nothing = query::context_at(&world.lake(), Some(At::Moment(long_ago))).await;
    let nothing = nothing.err().map(|error| error.to_string()).unwrap_or_default();
    assert!(nothing.contains("no tables"), "{nothing:?}");
    let later = query::context_at(&world.lake(), Some(At::Version(99))).await;
    assert_eq!(later.err().map(|error| error.kind()), Some(ErrorKind::Query));
}

fn without_synced_at(mut rows: Rows) -> Rows {
    for row in rows.values_mut().filter_map(serde_json::Value::as_object_mut) {
        row.remove(clerk_lake::table::SYNCED_AT);
    }
    rows
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_only_one_table_has_can_be_queried() {
    let world = world(history(7)).await;
    assert_eq!(world.sync().await.status, Status::Ok);
    change(&world, ChangeKind::CreateUser, 3);
    sync_users(&world).await;
    assert_eq!(users_at(&world, At::Version(1)).await.len(), 303, "organizations have no version 1");
    assert_eq!(users_at(&world, At::Version(0)).await.len(), 300);
}

#[tokio::test(flavor = "multi_thread")]
async fn old_orphan_files_are_deleted_after_a_commit_that_stops_a_slower_run() {
    let world = world(history(7)).await;
    sync_users(&world).await;
    let before = users(&world).await.version().expect("a version");
    let directory = world.path().join("clerk_user/created_year=2020");
    std::fs::create_dir_all(&directory).expect("a directory");
    let orphan = directory.join("part-00000-0b5b0e1e-8b6f-4c53-9d4e-2f6a3b1c7d90-c000.zstd.parquet");
    std::fs::write(&orphan, "left").expect("a file");
    sync_users(&world).await;
    assert!(orphan.exists(), "the orphan file is too young to be deleted");
    let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_hours(24 * 365 * 40);
    std::fs::File::options().write(true).open(&orphan).and_then(|file| file.set_modified(old)).expect("an old file");
    sync_users(&world).await;
    assert!(!orphan.exists(), "the orphan file is old enough to be deleted");
    let commits = users(&world).await.history(10).await.expect("the history");
    assert!(commits.iter().any(|commit| commit.info["mode"] == "sweep"), "no commit before the deletion: {commits:?}");
    assert!(users(&world).await.version() > Some(before));
    assert_eq!(users_at(&world, At::Version(before)).await.len(), 300);
}

#[tokio::test(flavor = "multi_thread")]
async fn maintenance_deletes_files_past_their_retention() {
    let mut world = world(history(7)).await;
    sync_users(&world).await;
    change(&world, ChangeKind::UpdateProfile, 200);
    sync_users(&world).await;
    let data_files = |world: &World| {
        let all = files(&world.path().join("clerk_user"));
        all.iter().filter(|(path, _)| path.to_string_lossy().ends_with("snappy.parquet")).count()
            + all.iter().filter(|(path, _)| path.to_string_lossy().ends_with("zstd.parquet")).count()
    };
    assert!(data_files(&world) > users(&world).await.file_count(), "a lake with history must keep old files");
    let kept = world.run(&["upkeep", "--history", "7d"]).await;
    assert!(kept.status.success(), "{}", stderr(&kept));
    assert!(data_files(&world) > users(&world).await.file_count(), "old files are too young to be deleted");
    let then = world.run(&["query", "--at", "0", "--format", "csv", "SELECT count(*) AS users FROM clerk_user"]).await;
    assert_eq!(stdout(&then), "users\n300\n", "{}", stderr(&then));
    let unchanged = world.run(&["upkeep"]).await;
    assert!(unchanged.status.success(), "{}", stderr(&unchanged));
    assert!(data_files(&world) > users(&world).await.file_count(), "the retention must be unchanged without --history");
    let swept = world.run(&["upkeep", "--history", "0"]).await;
    assert!(stdout(&swept).contains("old files removed"), "{}", stdout(&swept));
    assert_eq!(data_files(&world), users(&world).await.file_count(), "without history, all old files must be deleted");
    let gone = world.run(&["query", "--at", "0", "SELECT sum(length(first_name)) FROM clerk_user"]).await;
    assert_eq!(gone.status.code(), Some(7), "{}", stderr(&gone));
    assert!(stderr(&gone).contains("--history"), "{}", stderr(&gone));
    world.keeping = MaintenanceOptions::default();
    expected::assert_resource_equals(&world, "users", "after upkeep").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lake_keeps_its_retention_until_it_is_changed() {
    let mut world = world(MaintenanceOptions::default()).await;
    let table = world.path().join("clerk_user");
    let old_files = async |world: &World| {
        let all =
            files(&table).into_iter().filter(|(path, _)| path.extension().is_some_and(|ending| ending == "parquet"));
        all.filter(|(path, _)| !path.to_string_lossy().contains("_delta_log")).count() - users(world).await.file_count()
    };
    // The retention in days, and whether old files are kept.
    let settings = [(None, false), (Some(7), true), (None, true), (Some(0), false), (None, false)];
    sync_users(&world).await;
    for (round, (days, keeps)) in settings.into_iter().enumerate() {
        world.keeping.history = days.map(TimeDelta::days);
        change(&world, ChangeKind::UpdateProfile, 40);
        sync_users(&world).await;
        assert_eq!(old_files(&world).await > 0, keeps, "round {round}: {days:?}");
    }
    let commits = users(&world).await.history(100).await.expect("the history");
    let changes = commits.iter().filter(|commit| commit.info["mode"] == "history").count();
    assert_eq!(changes, 2, "{commits:?}");
    expected::assert_resource_equals(&world, "users", "after all").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn maintenance_writes_a_delta_checkpoint_if_the_last_one_is_old() {
    let world = world(MaintenanceOptions::default()).await;
    sync_users(&world).await;
    for _ in 0..2 {
        change(&world, ChangeKind::UpdateProfile, 1);
        sync_users(&world).await;
        let upkeep = world.run(&["upkeep"]).await;
        assert!(upkeep.status.success(), "{}", stderr(&upkeep));
        let version = users(&world).await.version().expect("a version");
        let last = std::fs::read_to_string(world.path().join("clerk_user/_delta_log/_last_checkpoint"));
        let last: serde_json::Value = serde_json::from_str(&last.expect("a checkpoint")).expect("JSON");
        assert_eq!(last["version"], version);
        expected::assert_resource_equals(&world, "users", "from a checkpoint").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_time_of_a_past_query_is_also_its_today() {
    let world = world(history(7)).await;
    sync_users(&world).await;
    let printed = async |at: &str, sql: &str| {
        let output = world.run(&["query", "--at", at, "--format", "csv", sql]).await;
        assert_eq!(output.status.code(), Some(0), "{at}: {}", stderr(&output));
        stdout(&output)
    };
    let then = Clock::system().now() + TimeDelta::days(3);
    let today = format!("today\n{}\n", then.date_naive());
    assert_eq!(printed(&then.to_rfc3339(), "SELECT $today AS today").await, today);
    let days = printed(&then.to_rfc3339(), "SELECT max(date) AS today FROM daily_active_users").await;
    assert_eq!(days, today, "built-in queries must use it too");
}

#[tokio::test(flavor = "multi_thread")]
async fn maintenance_of_a_lake_that_does_not_exist_is_refused() {
    let world = world(MaintenanceOptions::default()).await;
    let output = world.run(&["upkeep"]).await;
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(stderr(&output).contains("does not exist"), "{}", stderr(&output));
    assert!(!world.path().exists());
    let wrong = world.run(&["upkeep", "--history", "7 weeks"]).await;
    assert_eq!(wrong.status.code(), Some(2));
    assert!(stderr(&wrong).contains("7d"), "{}", stderr(&wrong));
}
