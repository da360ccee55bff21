//! The change data feed: whoever loads a lake once and follows its recorded changes has the lake.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use chrono::TimeDelta;
use clerk_lake::clock::Clock;
use clerk_lake::lake::{Keeping, Lake, Table};
use clerk_lake::query::{Parameters, Query};
use clerk_lake::resource::{self, USERS};
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
use crate::support::follower::{self, Change, Follower, assert_change_data_are_named, difference, recorded};
use crate::support::store::{FaultyStore, Plan, Point};
use crate::support::{World, as_json, every_second, files, named, one_in, plain_rows, stderr, stdout};

/// A lake that records its changes, keeps its past for so many days, and puts any two small files together.
fn recording(days: i64) -> Keeping {
    Keeping { history: Some(TimeDelta::days(days)), compact_files: 2, change_data_feed: Some(true) }
}

/// An instance that stands still, and a lake that is kept in this way.
async fn world(users: usize, keeping: Keeping) -> World {
    let mut world = expected::still(|config| {
        config.users = users;
        config.organizations = 8;
    })
    .await;
    world.options.extent = Extent::Changes;
    world.options.max_shrink = 1.0;
    world.keeping = keeping;
    world
}

/// A few changes of every kind that there is.
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

/// Why the users' changes since a version cannot be had.
async fn refusal(world: &World, since: u64) -> Error {
    users(world).await.changes_since(since).await.expect_err("no changes since that version")
}

/// What the instance has of the resources whose tables are a copy of it.
fn copied(world: &World) -> Vec<(&'static str, Rows)> {
    let copied = ["users", "organizations", "daily_active_users"];
    copied.into_iter().map(|name| (named(name).table.name, expected::wanted(world, name))).collect()
}

fn assert_plain_readers_see_the_rows(world: &World, tables: &[(&'static str, Rows)], case: &str) {
    for (table, rows) in tables {
        assert_eq!(plain_rows(&world.path(), table), rows.len(), "{case}: {table} as a plain Parquet reader counts");
    }
}

/// Change data of a world's lake are those that its log names.
async fn assert_named(world: &World, case: &str) {
    let store = LocalFileSystem::new_with_prefix(world.directory.path()).expect("a directory");
    let store: Arc<dyn ObjectStore> = Arc::new(store);
    assert_change_data_are_named(&store, "lake", case).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_sync_records_what_changed_in_the_instance_and_nothing_else() {
    let mut words = BTreeSet::new();
    let lives = if one_in(2) == 1 { 3 } else { 2 };
    for (seed, days) in [(1, 0), (2, 7), (3, 0)].into_iter().take(lives) {
        let mut world = world(90, recording(days)).await;
        let (mut dice, mut follower) = (Dice::new(seed), Follower::default());
        sync(&world).await;
        follower.follow(&world.lake(), "the first sync").await;
        for turn in 1..=8 {
            // New users alone are appended: small files, which are then put together.
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
            words.extend(changes.values().flatten().map(|change| change.kind.clone()));
            if days == 0 {
                assert_plain_readers_see_the_rows(&world, &after, &case);
            }
            assert_named(&world, &case).await;
        }
        let commits = users(&world).await.history(100).await.expect("the history");
        assert!(commits.iter().any(|commit| commit.info["mode"] == "compact"), "seed {seed}: nothing was compacted");
    }
    assert_eq!(words.len(), 4, "{words:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn deltas_own_reader_sees_the_same_changes() {
    let mut world = world(60, recording(0)).await;
    sync(&world).await;
    for extent in [Extent::Changes, Extent::Full, Extent::Changes] {
        world.options.extent = extent;
        change_everything(&world);
        sync(&world).await;
    }
    let lake = world.lake();
    for resource in resource::ALL {
        let spec = &resource.table;
        let table = lake.table(spec).await.expect("the table");
        let session = lake.session();
        session.register_table("changes", table.changes_since(0).await.expect("changes")).expect("a table");
        let ours = lines(&session).await;
        assert!(!ours.is_empty(), "{} has changed", spec.name);
        let url = Url::from_directory_path(world.path().join(spec.name)).expect("a URL");
        let delta = deltalake::open_table(url).await.expect("a Delta table");
        let provider = DeltaCdfTableProvider::try_new(delta.scan_cdf().with_starting_version(1)).expect("its changes");
        let session = SessionContext::new();
        session.register_table("changes", Arc::new(provider)).expect("a table");
        assert_eq!(lines(&session).await, ours, "{}", spec.name);
    }
}

/// All changes that a session knows, but for the moments of their commits, which delta-rs has in another type.
async fn lines(session: &SessionContext) -> Vec<String> {
    let query = Query::ad_hoc("SELECT * FROM changes");
    let rows = query.run(session, &Parameters::at(Clock::system().now())).await.expect("the changes");
    let line = |mut row: Value| {
        let at = row.as_object_mut().and_then(|row| row.remove("_commit_timestamp"));
        assert!(at.is_some_and(|at| at.is_string()), "{row}");
        row.to_string()
    };
    let mut lines: Vec<_> = as_json(&rows).into_iter().map(line).collect();
    lines.sort();
    lines
}

/// An instance and a lake in memory that is out of date.
struct Prepared {
    world: World,
    store: InMemory,
    keeping: Keeping,
}

impl Prepared {
    async fn new(extent: Extent, days: i64) -> Self {
        let mut world = world(24, recording(days)).await;
        world.options.extent = extent;
        let prepared = Self { world, store: InMemory::new(), keeping: recording(days) };
        prepared.syncs(Arc::new(prepared.store.clone())).await;
        // Where somebody is gone, all users are read and replaced; otherwise changes are merged.
        let is_merged = |kind: &ChangeKind| extent == Extent::Full || *kind != ChangeKind::DeleteUser;
        let kinds = ChangeKind::ALL.into_iter().filter(is_merged);
        prepared.world.simulator.with_model(|model| kinds.for_each(|kind| model.change(kind)));
        prepared
    }

    fn lake(&self, store: Arc<dyn ObjectStore>) -> Lake {
        lake_over(store).keeping(self.keeping)
    }

    async fn syncs(&self, store: Arc<dyn ObjectStore>) {
        let (world, lake) = (&self.world, self.lake(store));
        let summary = Box::pin(world.sync_with(world.client(), lake, world.options.clone())).await;
        assert_eq!(summary.status, Status::Ok, "{summary:?}");
    }

    /// Lets a run die there and another one make up for it; whether it died.
    async fn survives(&self, point: Point, time: u64) -> bool {
        let case = format!("dies {point:?} ({time}), {:?}, {:?}", self.world.options.extent, self.keeping.history);
        let store: Arc<dyn ObjectStore> = Arc::new(self.store.fork());
        let mut follower = Follower::default();
        follower.follow(&self.lake(Arc::clone(&store)), &case).await;
        let handle = FaultyStore::over(Arc::clone(&store), Plan { death: Some((point, time)), ..Plan::default() });
        let control = handle.control();
        let (world, lake) = (&self.world, self.lake(Arc::new(handle)));
        let died = tokio::select! {
            biased;
            () = control.died() => true,
            _ = Box::pin(world.sync_with(world.client(), lake, world.options.clone())) => false,
        };
        control.bury();
        follower.follow(&self.lake(Arc::clone(&store)), &case).await;
        self.syncs(Arc::clone(&store)).await;
        follower.follow(&self.lake(Arc::clone(&store)), &case).await;
        assert_change_data_are_named(&store, "lake", &case).await;
        if self.keeping.history.is_some_and(|history| history.is_zero()) {
            for resource in resource::ALL {
                assert_plain(&store, &self.lake(Arc::clone(&store)), resource).await;
            }
        }
        died
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_dies_leaves_no_change_data_and_nothing_unrecorded() {
    for (number, (extent, days)) in (0..).zip([(Extent::Changes, 0), (Extent::Full, 0), (Extent::Changes, 7)]) {
        let prepared = Prepared::new(extent, days).await;
        let (mut deaths, mut cases) = (0, 0);
        for point in every_second(&Point::ALL, number % 2) {
            for time in [1, 2, 3, 5].into_iter().take(4 / usize::try_from(one_in(4)).expect("a small number")) {
                deaths += u32::from(prepared.survives(point, time).await);
                cases += 1;
            }
        }
        assert!(deaths * 3 >= cases, "{deaths} of {cases} runs died");
    }
}

/// A change data file of this name, in a partition of the users.
fn change_data(world: &World, name: &str) -> PathBuf {
    let directory = world.path().join("clerk_user/_change_data/created_year=2024");
    std::fs::create_dir_all(&directory).expect("a directory");
    let path = directory.join(name);
    std::fs::write(&path, "changes of a commit that never was").expect("a file");
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn change_data_that_no_version_names_go_with_the_next_sync() {
    for days in [0, 7] {
        let world = world(40, recording(days)).await;
        let mut follower = Follower::default();
        sync(&world).await;
        follower.follow(&world.lake(), "the first sync").await;
        change_everything(&world);
        sync(&world).await;
        let newest = users(&world).await.version().expect("a version");
        let to_come = change_data(&world, &format!("cdc-{:020}-00000-left-c000.zstd.parquet", newest + 1));
        let beside = change_data(&world, &format!("cdc-{newest:020}-00000-left-c000.zstd.parquet"));
        let foreign = change_data(&world, "cdc-00000-6b2a8f1e-4f0c-4d7a-9a55-1c2d3e4f5a6b.c000.snappy.parquet");
        sync(&world).await;
        assert!(!to_come.exists() && !beside.exists(), "history of {days} days");
        assert!(foreign.exists(), "what other programs write is theirs");
        let commits = users(&world).await.history(5).await.expect("the history");
        assert!(commits.iter().any(|commit| commit.info["mode"] == "sweep"), "a commit in between: {commits:?}");
        follower.follow(&world.lake(), "swept").await;
        std::fs::remove_file(foreign).expect("a file");
        assert_named(&world, "swept").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn change_data_go_with_the_entries_of_the_log() {
    let world = world(40, Keeping { compact_files: 0, ..recording(0) }).await;
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
    let error = refusal(&world, 0).await;
    assert_eq!(error.kind(), ErrorKind::Query);
    assert!(error.message().contains("no longer reaches back to version 1,"), "{error}");
    assert!(error.hint().is_some_and(|hint| hint.contains("--changes-since 34")), "{error:?}");
    let table = users(&world).await;
    let changes = follower::changes(&world.lake(), &table, oldest).await;
    assert_eq!(changes.iter().map(|change| change.version).collect::<BTreeSet<_>>(), (oldest + 1..=34).collect());
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_are_recorded_from_where_that_is_switched_on_until_it_is_switched_off() {
    let mut world = world(40, Keeping::default()).await;
    sync(&world).await;
    let error = refusal(&world, 0).await;
    assert_eq!(error.kind(), ErrorKind::Query);
    assert!(error.hint().is_some_and(|hint| hint.contains("--change-data-feed")), "{error:?}");
    world.keeping.change_data_feed = Some(true);
    sync(&world).await;
    let begins = users(&world).await.feed_begins().expect("it is on");
    let mut follower = Follower::default();
    follower.follow(&world.lake(), "switched on").await;
    world.keeping.change_data_feed = None;
    change_everything(&world);
    sync(&world).await;
    let changes = follower.follow(&world.lake(), "left as it is").await;
    assert!(resource::ALL.iter().all(|resource| !changes[resource.table.name].is_empty()), "{changes:?}");
    assert_eq!(users(&world).await.feed_begins(), Some(begins));
    world.keeping.change_data_feed = Some(false);
    sync(&world).await;
    assert!(!users(&world).await.records_changes());
    assert!(refusal(&world, begins).await.message().contains("not recorded"));
    world.keeping.change_data_feed = Some(true);
    sync(&world).await;
    let again = users(&world).await.feed_begins().expect("it is on again");
    let error = refusal(&world, begins).await;
    assert!(error.message().contains(&format!("since version {again}, not since {begins}")), "{error}");
    let newest = users(&world).await.version().expect("a version");
    assert!(refusal(&world, newest + 1).await.message().contains("there is no version"));
    assert!(follower::changes(&world.lake(), &users(&world).await, newest).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn upkeep_changes_no_row_and_records_none() {
    let world = world(40, Keeping { compact_files: 0, ..recording(0) }).await;
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
    let changes = follower.follow(&world.lake(), "after upkeep").await;
    assert!(changes.values().all(Vec::is_empty), "{changes:?}");
    let since = follower::changes(&world.lake(), &users(&world).await, 0).await;
    let inserted = since.iter().filter(|change: &&Change| change.kind == "insert").count();
    assert_eq!(inserted, 10, "the files that they came with are gone, their changes are not");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_changes_of_a_lake_of_an_earlier_version_can_be_recorded() {
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
    let error = refusal(&world, 0).await;
    assert!(error.message().contains("are recorded since version"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_shows_what_has_changed_since_a_version() {
    let world = world(40, Keeping::default()).await;
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
    let asked = world.run(&["query", "--changes-since", "0", sql, "--format", "csv"]).await;
    let wanted = format!(
        "id,_change_type,_commit_version\n{deleted},delete,{version}\n{banned},update_postimage,{version}\n\
         {banned},update_preimage,{version}\n"
    );
    assert_eq!(stdout(&asked), wanted, "{}", stderr(&asked));
    let joined = "SELECT count(DISTINCT u.id) AS users FROM clerk_user u LEFT JOIN clerk_session s ON s.user_id = u.id";
    let asked = world.run(&["query", "--changes-since", "clerk_user=0", joined, "--format", "csv"]).await;
    assert_eq!(stdout(&asked), "users\n2\n", "{}", stderr(&asked));
    let pruned = "SELECT count(*) AS changes FROM clerk_user WHERE _commit_version > 1000 AND banned";
    let asked = world.run(&["query", "--changes-since", "0", pruned, "--format", "csv"]).await;
    assert_eq!(stdout(&asked), "changes\n0\n", "{}", stderr(&asked));
    let newest = version.to_string();
    let asked = world.run(&["query", "--changes-since", &newest, sql, "--format", "csv"]).await;
    assert_eq!(stdout(&asked), "id,_change_type,_commit_version\n", "{}", stderr(&asked));
    let refused: [(&[&str], i32, &str); 9] = [
        (&["--changes-since", "1000", sql], 7, "there is no version 1000 yet"),
        (&["--changes-since", "0", joined], 2, "--changes-since clerk_user=0"),
        (&["--changes-since", "0", "SELECT 1"], 2, "names no table"),
        (&["--changes-since", "users=0", sql], 2, "there is no table called users"),
        (&["--changes-since", "clerk_rejected_row=0", sql], 7, "has not been written yet"),
        (&["--changes-since", "soon", sql], 2, "expected a version"),
        (&["--changes-since", "0", "--at", "0", sql], 2, "cannot be used with"),
        (&["--changes-since", "0", "--name", "sign_ups"], 2, "cannot be used with"),
        (&["--changes-since", "0", "DELETE FROM clerk_user"], 7, "changes nothing"),
    ];
    for (arguments, code, said) in refused {
        let asked = world.run(&[&["query"][..], arguments].concat()).await;
        assert_eq!(asked.status.code(), Some(code), "{arguments:?}: {}", stderr(&asked));
        assert!(stderr(&asked).contains(said), "{arguments:?}: {}", stderr(&asked));
    }
    let off = world.run(&["sync", "--change-data-feed=false"]).await;
    assert!(off.status.success(), "{}", stderr(&off));
    let asked = world.run(&["query", "--changes-since", "0", sql]).await;
    assert_eq!(asked.status.code(), Some(7), "{}", stderr(&asked));
    assert!(stderr(&asked).contains("--change-data-feed"), "{}", stderr(&asked));
    std::fs::write(world.directory.path().join("clerk-lake.toml"), "change_data_feed = true\n").expect("a file");
    let on = world.run(&["upkeep"]).await;
    assert!(on.status.success(), "{}", stderr(&on));
    let begins = users(&world).await.feed_begins();
    assert!(begins.is_some_and(|begins| begins > version), "{begins:?}");
}
