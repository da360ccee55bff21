//! The change data feed: a copy of the lake stays equal to the lake if the recorded changes are applied to it.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use chrono::TimeDelta;
use clerk_lake::clock::Clock;
use clerk_lake::lake::{Lake, MaintenanceOptions, Table};
use clerk_lake::query::{Parameters, Query};
use clerk_lake::resource::{self, Resource, USERS};
use clerk_lake::simulator::ChangeKind;
use clerk_lake::sync::{Extent, Status};
use clerk_lake::{Error, ErrorKind};
use datafusion::execution::context::SessionContext;
use deltalake::delta_datafusion::DeltaCdfTableProvider;
use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use serde_json::Value;
use url::Url;

use crate::evolution;
use crate::histories::check::{assert_plain, lake_over};
use crate::histories::draw::{Dice, change};
use crate::support::expected::{self, Rows};
use crate::support::faulty_store::{CrashPoint, FaultPlan, FaultyStore};
use crate::support::follower::{self, Change, Follower, assert_change_data_matches_log, difference, recorded};
use crate::support::{World, as_json, every_second, files, named, plain_row_count, sample_step, stderr, stdout};

/// Records changes, keeps old versions for `days` days, and compacts as soon as a partition has two small files.
fn recording(days: i64) -> MaintenanceOptions {
    MaintenanceOptions { history: Some(TimeDelta::days(days)), compact_files: 2, change_data_feed: Some(true) }
}

/// Returns a world whose clock stands still, and whose lake has the settings `keeping`.
async fn world(users: usize, keeping: MaintenanceOptions) -> World {
    let mut world = expected::fixed_clock_world(|config| {
        config.users = users;
        config.organizations = 8;
    })
    .await;
    world.options.extent = Extent::Changes;
    world.options.max_shrink = 1.0;
    world.keeping = keeping;
    world
}

/// Makes one change of every kind.
fn change_everything(world: &World) {
    world.simulator.with_model(|model| ChangeKind::ALL.into_iter().for_each(|kind| model.change(kind)));
}

async fn sync(world: &World) {
    let summary = world.sync().await;
    assert_eq!(summary.status, Status::Ok, "{summary:?}");
}

async fn users(world: &World) -> Table {
    world.lake().table(&USERS.table).await.expect("the table of users")
}

/// Reads the users' changes since version `since`, which must fail, and returns the error.
async fn changes_error(world: &World, since: u64) -> Error {
    users(world).await.changes_since(since).await.expect_err("no changes since that version")
}

/// Returns the instance's rows of the tables that are exact copies of a resource.
fn copied(world: &World) -> Vec<(&'static str, Rows)> {
    let copied = ["users", "organizations", "daily_active_users"];
    copied.into_iter().map(|name| (named(name).table.name, expected::wanted(world, name))).collect()
}

fn assert_plain_readers_see_the_rows(world: &World, tables: &[(&'static str, Rows)], case: &str) {
    for (table, rows) in tables {
        assert_eq!(
            plain_row_count(&world.path(), table),
            rows.len(),
            "{case}: {table} as a plain Parquet reader counts"
        );
    }
}

/// Asserts that every change data file of the world's lake is in the Delta log.
async fn assert_all_change_data_logged(world: &World, case: &str) {
    let store = LocalFileSystem::new_with_prefix(world.directory.path()).expect("a directory");
    let store: Arc<dyn ObjectStore> = Arc::new(store);
    assert_change_data_matches_log(&store, "lake", case).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_sync_records_exactly_the_changes_of_the_instance() {
    let mut change_types = BTreeSet::new();
    let seeds = if sample_step(2) == 1 { 3 } else { 2 };
    for (seed, days) in [(1, 0), (2, 7), (3, 0)].into_iter().take(seeds) {
        let mut world = world(90, recording(days)).await;
        let (mut dice, mut follower) = (Dice::new(seed), Follower::default());
        sync(&world).await;
        follower.follow(&world.lake(), "the first sync").await;
        for turn in 1..=8 {
            // New users without other changes are appended in small files, which are compacted later.
            let only_new = (4..=5).contains(&turn);
            let kinds: &[ChangeKind] = if only_new { &[ChangeKind::CreateUser] } else { &ChangeKind::ALL };
            let before = copied(&world);
            world.simulator.with_model(|model| {
                for _ in 0..dice.within(usize::from(only_new)..=12) {
                    let kind = dice.of(kinds);
                    change(model, kind, &mut dice);
                }
            });
            let after = copied(&world);
            let is_full = dice.percent(35) && !only_new;
            world.options.extent = if is_full { Extent::Full } else { Extent::Changes };
            let case = format!("seed {seed}, sync {turn} ({:?})", world.options.extent);
            sync(&world).await;
            let changes = follower.follow(&world.lake(), &case).await;
            for ((table, before), (_, after)) in before.iter().zip(&after) {
                assert_eq!(recorded(&changes[table]), difference(before, after), "{case}: changes of {table}");
            }
            change_types.extend(changes.values().flatten().map(|change| change.kind.clone()));
            if days == 0 {
                assert_plain_readers_see_the_rows(&world, &after, &case);
            }
            assert_all_change_data_logged(&world, &case).await;
        }
        let commits = users(&world).await.history(100).await.expect("the history");
        assert!(commits.iter().any(|commit| commit.info["mode"] == "compact"), "seed {seed}: nothing was compacted");
    }
    assert_eq!(change_types.len(), 4, "{change_types:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn delta_rs_reads_the_same_changes() {
    let mut world = world(60, recording(0)).await;
    sync(&world).await;
    for extent in [Extent::Changes, Extent::Full, Extent::Changes] {
        world.options.extent = extent;
        change_everything(&world);
        sync(&world).await;
    }
    let lake = world.lake();
    // Not every list changes.
    for resource in resource::ALL.into_iter().take(5) {
        let spec = &resource.table;
        let table = lake.table(spec).await.expect("the table");
        let context = lake.context();
        context.register_table("changes", table.changes_since(0).await.expect("changes")).expect("a table");
        let ours = lines(&context).await;
        assert!(!ours.is_empty(), "{} has no recorded changes", spec.name);
        let url = Url::from_directory_path(world.path().join(spec.name)).expect("a URL");
        let delta = deltalake::open_table(url).await.expect("a Delta table");
        let provider = DeltaCdfTableProvider::try_new(delta.scan_cdf().with_starting_version(1)).expect("its changes");
        let context = SessionContext::new();
        context.register_table("changes", Arc::new(provider)).expect("a table");
        assert_eq!(lines(&context).await, ours, "{}", spec.name);
    }
}

/// Returns all rows of the table `changes`, without their commit timestamps, which have a different type in delta-rs.
async fn lines(context: &SessionContext) -> Vec<String> {
    let query = Query::ad_hoc("SELECT * FROM changes");
    let rows = query.run(context, &Parameters::at(Clock::system().now())).await.expect("the changes");
    let line = |mut row: Value| {
        let at = row.as_object_mut().and_then(|row| row.remove("_commit_timestamp"));
        assert!(at.is_some_and(|at| at.is_string()), "{row}");
        row.to_string()
    };
    let mut lines: Vec<_> = as_json(&rows).into_iter().map(line).collect();
    lines.sort();
    lines
}

/// An instance, and an in-memory lake that is out of date.
struct Prepared {
    world: World,
    store: InMemory,
    keeping: MaintenanceOptions,
}

impl Prepared {
    async fn new(extent: Extent, days: i64) -> Self {
        let mut world = world(24, recording(days)).await;
        world.options.extent = extent;
        let prepared = Self { world, store: InMemory::new(), keeping: recording(days) };
        prepared.sync_ok(Arc::new(prepared.store.clone())).await;
        // A deletion would make the sync read and replace all users, but an incremental sync must merge changes here.
        let is_merged = |kind: &ChangeKind| extent == Extent::Full || *kind != ChangeKind::DeleteUser;
        let kinds = ChangeKind::ALL.into_iter().filter(is_merged);
        prepared.world.simulator.with_model(|model| kinds.for_each(|kind| model.change(kind)));
        prepared
    }

    fn lake(&self, store: Arc<dyn ObjectStore>) -> Lake {
        lake_over(store).keeping(self.keeping)
    }

    async fn sync_ok(&self, store: Arc<dyn ObjectStore>) {
        let (world, lake) = (&self.world, self.lake(store));
        let summary = Box::pin(world.sync_with(world.client(), lake, world.options.clone())).await;
        assert_eq!(summary.status, Status::Ok, "{summary:?}");
    }

    /// Kills a run at the `time`-th occurrence of `point`, then runs another sync. Returns whether the first run was
    /// killed before it ended.
    async fn kill_and_sync_again(&self, point: CrashPoint, time: u64) -> bool {
        let case = format!("killed at {point:?} ({time}), {:?}, {:?}", self.world.options.extent, self.keeping.history);
        let store: Arc<dyn ObjectStore> = Arc::new(self.store.fork());
        let mut follower = Follower::default();
        follower.follow(&self.lake(Arc::clone(&store)), &case).await;
        let handle =
            FaultyStore::over(Arc::clone(&store), FaultPlan { crash: Some((point, time)), ..FaultPlan::default() });
        let control = handle.control();
        let (world, lake) = (&self.world, self.lake(Arc::new(handle)));
        let was_killed = tokio::select! {
            biased;
            () = control.crashed() => true,
            _ = Box::pin(world.sync_with(world.client(), lake, world.options.clone())) => false,
        };
        control.disconnect();
        follower.follow(&self.lake(Arc::clone(&store)), &case).await;
        self.sync_ok(Arc::clone(&store)).await;
        follower.follow(&self.lake(Arc::clone(&store)), &case).await;
        assert_change_data_matches_log(&store, "lake", &case).await;
        if self.keeping.history.is_some_and(|history| history.is_zero()) {
            for resource in resource::defaults() {
                assert_plain(&store, &self.lake(Arc::clone(&store)), resource).await;
            }
        }
        was_killed
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_run_leaves_no_stray_change_data_and_no_unrecorded_change() {
    for (number, (extent, days)) in (0..).zip([(Extent::Changes, 0), (Extent::Full, 0), (Extent::Changes, 7)]) {
        let prepared = Prepared::new(extent, days).await;
        let (mut deaths, mut cases) = (0, 0);
        for point in every_second(&CrashPoint::ALL, number % 2) {
            for time in [1, 2, 3, 5].into_iter().take(4 / usize::try_from(sample_step(4)).expect("a small number")) {
                deaths += u32::from(prepared.kill_and_sync_again(point, time).await);
                cases += 1;
            }
        }
        assert!(deaths * 3 >= cases, "only {deaths} of {cases} runs were killed");
    }
}

/// Writes a change data file called `name` into a partition of the users table.
fn write_change_data(world: &World, name: &str) -> PathBuf {
    let directory = world.path().join("clerk_user/_change_data/created_year=2024");
    std::fs::create_dir_all(&directory).expect("a directory");
    let path = directory.join(name);
    std::fs::write(&path, "changes of a commit that does not exist").expect("a file");
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_sync_deletes_change_data_that_no_version_refers_to() {
    for days in [0, 7] {
        let world = world(40, recording(days)).await;
        let mut follower = Follower::default();
        sync(&world).await;
        follower.follow(&world.lake(), "the first sync").await;
        change_everything(&world);
        sync(&world).await;
        let newest = users(&world).await.version().expect("a version");
        let future = write_change_data(&world, &format!("cdc-{:020}-00000-left-c000.zstd.parquet", newest + 1));
        let unreferenced = write_change_data(&world, &format!("cdc-{newest:020}-00000-left-c000.zstd.parquet"));
        let foreign = write_change_data(&world, "cdc-00000-6b2a8f1e-4f0c-4d7a-9a55-1c2d3e4f5a6b.c000.snappy.parquet");
        sync(&world).await;
        assert!(!future.exists() && !unreferenced.exists(), "history of {days} days");
        assert!(foreign.exists(), "a file of another program was deleted");
        let commits = users(&world).await.history(5).await.expect("the history");
        assert!(commits.iter().any(|commit| commit.info["mode"] == "sweep"), "no sweep commit: {commits:?}");
        follower.follow(&world.lake(), "swept").await;
        std::fs::remove_file(foreign).expect("a file");
        assert_all_change_data_logged(&world, "swept").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn change_data_are_deleted_with_the_log_entries_of_their_versions() {
    let world = world(40, MaintenanceOptions { compact_files: 0, ..recording(0) }).await;
    for _ in 0..33 {
        world.simulator.with_model(|model| model.change(ChangeKind::UpdateProfile));
        assert_eq!(world.sync_only(&["users"]).await.status, Status::Ok);
    }
    let table = world.path().join("clerk_user");
    let versions = || -> BTreeSet<u64> {
        let named = files(&table.join("_change_data"))
            .into_iter()
            .filter_map(|(path, _)| path.file_name()?.to_str()?.strip_prefix("cdc-")?.split_once('-')?.0.parse().ok());
        named.collect()
    };
    assert_eq!(versions(), (1..=32).collect());
    let old = SystemTime::UNIX_EPOCH + Duration::from_hours(24 * 365 * 40);
    for (path, _) in files(&table.join("_delta_log")) {
        let file = std::fs::File::options().write(true).open(table.join("_delta_log").join(path));
        file.and_then(|file| file.set_modified(old)).expect("an old file");
    }
    for _ in 0..2 {
        world.simulator.with_model(|model| model.change(ChangeKind::UpdateProfile));
        assert_eq!(world.sync_only(&["users"]).await.status, Status::Ok);
    }
    let left = versions();
    let oldest = *left.first().expect("change data");
    assert!(oldest > 20 && left == (oldest..=34).collect(), "{left:?}");
    let error = changes_error(&world, 0).await;
    assert_eq!(error.kind(), ErrorKind::Query);
    assert!(error.message().contains("no longer reaches back to version 1,"), "{error}");
    assert!(error.hint().is_some_and(|hint| hint.contains("--changes-since 34")), "{error:?}");
    let table = users(&world).await;
    let changes = follower::changes(&world.lake(), &table, oldest).await;
    assert_eq!(changes.iter().map(|change| change.version).collect::<BTreeSet<_>>(), (oldest + 1..=34).collect());
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_are_recorded_from_the_commit_that_enables_the_feed_until_it_is_disabled() {
    let mut world = world(40, MaintenanceOptions::default()).await;
    sync(&world).await;
    let error = changes_error(&world, 0).await;
    assert_eq!(error.kind(), ErrorKind::Query);
    assert!(error.hint().is_some_and(|hint| hint.contains("--change-data-feed")), "{error:?}");
    world.keeping.change_data_feed = Some(true);
    sync(&world).await;
    let begins = users(&world).await.feed_begins().expect("the feed is enabled");
    let mut follower = Follower::default();
    follower.follow(&world.lake(), "switched on").await;
    world.keeping.change_data_feed = None;
    change_everything(&world);
    sync(&world).await;
    let changes = follower.follow(&world.lake(), "left as it is").await;
    let unchanged = |resource: &&Resource| changes[resource.table.name].is_empty();
    // Not every list changes.
    let unchanged: Vec<_> = resource::ALL.into_iter().take(5).filter(unchanged).map(|it| it.name).collect();
    assert!(unchanged.is_empty(), "no changes of {unchanged:?}");
    assert_eq!(users(&world).await.feed_begins(), Some(begins));
    world.keeping.change_data_feed = Some(false);
    sync(&world).await;
    assert!(!users(&world).await.records_changes());
    assert!(changes_error(&world, begins).await.message().contains("is off"));
    world.keeping.change_data_feed = Some(true);
    sync(&world).await;
    let again = users(&world).await.feed_begins().expect("the feed is enabled again");
    let error = changes_error(&world, begins).await;
    assert!(error.message().contains(&format!("begins at version {again}, not at {begins}")), "{error}");
    let newest = users(&world).await.version().expect("a version");
    assert!(changes_error(&world, newest + 1).await.message().contains("there is no version"));
    assert!(follower::changes(&world.lake(), &users(&world).await, newest).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn maintenance_changes_no_row_and_records_no_change() {
    let world = world(40, MaintenanceOptions { compact_files: 0, ..recording(0) }).await;
    let mut follower = Follower::default();
    sync(&world).await;
    for _ in 0..2 {
        world.simulator.with_model(|model| (0..5).for_each(|_| model.change(ChangeKind::CreateUser)));
        sync(&world).await;
    }
    follower.follow(&world.lake(), "synced").await;
    let before = users(&world).await;
    let done = world.run(&["upkeep"]).await;
    assert!(done.status.success(), "{}", stderr(&done));
    assert!(users(&world).await.file_count() < before.file_count(), "{}", stdout(&done));
    let changes = follower.follow(&world.lake(), "after maintenance").await;
    assert!(changes.values().all(Vec::is_empty), "{changes:?}");
    let since = follower::changes(&world.lake(), &users(&world).await, 0).await;
    let inserted = since.iter().filter(|change: &&Change| change.kind == "insert").count();
    assert_eq!(inserted, 10, "the compacted files are gone, but their changes must remain");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_feed_can_be_enabled_on_a_lake_of_an_earlier_version() {
    let mut world = evolution::older().await;
    world.options.max_shrink = 1.0;
    world.keeping.change_data_feed = Some(true);
    let mut follower = Follower::default();
    sync(&world).await;
    follower.follow(&world.lake(), "carried on").await;
    for extent in [Extent::Changes, Extent::Full] {
        world.options.extent = extent;
        change_everything(&world);
        sync(&world).await;
        let changes = follower.follow(&world.lake(), "followed").await;
        assert!(!changes["clerk_user"].is_empty() && !changes["clerk_organization"].is_empty(), "{changes:?}");
    }
    expected::assert_resource_equals(&world, "users", "followed").await;
    let error = changes_error(&world, 0).await;
    assert!(error.message().contains("change data feed of clerk_user begins at version"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn query_changes_since_returns_the_changes_since_a_version() {
    let world = world(40, MaintenanceOptions::default()).await;
    let first = world.run(&["sync", "--change-data-feed"]).await;
    assert!(first.status.success(), "{}", stderr(&first));
    let (banned, deleted) = world.simulator.with_model(|model| {
        let ids: Vec<_> = model.users.iter().take(2).map(|user| user.id.clone()).collect();
        let banned = model.users.get(&ids[0]).is_some_and(|user| user.banned);
        model.ban(&ids[0], !banned);
        model.delete_user(&ids[1]);
        (ids[0].clone(), ids[1].clone())
    });
    let second = world.run(&["sync"]).await;
    assert!(second.status.success(), "{}", stderr(&second));
    let status = world.run(&["status", "--json"]).await;
    let status: Value = serde_json::from_slice(&status.stdout).expect("one JSON document");
    assert_eq!(status["tables"][0]["feed_begins"], 0, "{status}");
    let version = status["tables"][0]["version"].as_u64().expect("a version");
    let sql = "SELECT id, _change_type, _commit_version FROM clerk_user ORDER BY 2";
    let output = world.run(&["query", "--changes-since", "0", sql, "--format", "csv"]).await;
    let wanted = format!(
        "id,_change_type,_commit_version\n{deleted},delete,{version}\n{banned},update_postimage,{version}\n\
         {banned},update_preimage,{version}\n"
    );
    assert_eq!(stdout(&output), wanted, "{}", stderr(&output));
    let joined = "SELECT count(DISTINCT u.id) AS users FROM clerk_user u LEFT JOIN clerk_session s ON s.user_id = u.id";
    let output = world.run(&["query", "--changes-since", "clerk_user=0", joined, "--format", "csv"]).await;
    assert_eq!(stdout(&output), "users\n2\n", "{}", stderr(&output));
    let pruned = "SELECT count(*) AS changes FROM clerk_user WHERE _commit_version > 1000 AND banned";
    let output = world.run(&["query", "--changes-since", "0", pruned, "--format", "csv"]).await;
    assert_eq!(stdout(&output), "changes\n0\n", "{}", stderr(&output));
    let newest = version.to_string();
    let output = world.run(&["query", "--changes-since", &newest, sql, "--format", "csv"]).await;
    assert_eq!(stdout(&output), "id,_change_type,_commit_version\n", "{}", stderr(&output));
    let refused: [(&[&str], i32, &str); 9] = [
        (&["--changes-since", "1000", sql], 7, "there is no version 1000 yet"),
        (&["--changes-since", "0", joined], 2, "--changes-since clerk_user=0"),
        (&["--changes-since", "0", "SELECT 1"], 2, "reads no table of the lake"),
        (&["--changes-since", "users=0", sql], 2, "there is no table called users"),
        (&["--changes-since", "clerk_rejected_row=0", sql], 7, "has not been written yet"),
        (&["--changes-since", "soon", sql], 2, "expected a version"),
        (&["--changes-since", "0", "--at", "0", sql], 2, "cannot be used with"),
        (&["--changes-since", "0", "--name", "sign_ups"], 2, "cannot be used with"),
        (&["--changes-since", "0", "DELETE FROM clerk_user"], 7, "changes nothing"),
    ];
    for (arguments, code, message) in refused {
        let output = world.run(&[&["query"][..], arguments].concat()).await;
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(message), "{arguments:?}: {}", stderr(&output));
    }
    let off = world.run(&["sync", "--change-data-feed=false"]).await;
    assert!(off.status.success(), "{}", stderr(&off));
    let output = world.run(&["query", "--changes-since", "0", sql]).await;
    assert_eq!(output.status.code(), Some(7), "{}", stderr(&output));
    assert!(stderr(&output).contains("--change-data-feed"), "{}", stderr(&output));
    std::fs::write(world.directory.path().join("clerk-lake.toml"), "change_data_feed = true\n").expect("a file");
    let on = world.run(&["upkeep"]).await;
    assert!(on.status.success(), "{}", stderr(&on));
    let begins = users(&world).await.feed_begins();
    assert!(begins.is_some_and(|begins| begins > version), "{begins:?}");
}
