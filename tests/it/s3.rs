//! A lake in a bucket, over the S3 protocol. The guarantees of a lake on disk hold there too, even if the store has
//! faults.

mod cost;
mod crashes;
mod credentials;
mod protocol;

use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use clerk_lake::clock::Clock;
use clerk_lake::lake::{Lake, Location};
use clerk_lake::query::{self, Parameters, Query};
use clerk_lake::resource::{TABLES, TOMBSTONES, USER_ACTIVITY};
use clerk_lake::simulator::{ChangeKind, SimulatorConfig};
use clerk_lake::sync::{Extent, ResourceStatus, ResourceSummary, Status, Summary};
use clerk_lake::{Error, ErrorKind};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode};

use crate::histories::check::{assert_plain, stored};
use crate::histories::{Seen, note, run_history};
use crate::incremental::{HOUR, change, set_clock};
use crate::support::expected::{self, NOW};
use crate::support::s3::{BUCKET, Fault, Operation, S3, store_at, store_with_timeout};
use crate::support::stub::nowhere;
use crate::support::{World, ledger, output, stderr, stdout, tables};

/// Arguments for a sync with the options that the tests of the library use.
const SYNC: [&str; 7] = ["sync", "--max-shrink", "1", "--session-lookback-days", "3650", "--rate-limit", "off"];

/// Seeds of the histories that also run with a bucket.
const SEEDS: [u64; 4] = [1, 2, 5, 13];

/// An instance with a fixed clock, and a bucket for its lake.
struct Cloud {
    world: World,
    s3: S3,
    /// All sessions that have existed. The lake keeps sessions that Clerk no longer shows.
    seen: Seen,
    hours: i64,
}

impl Cloud {
    async fn new(users: usize) -> Self {
        Self::with(|config| config.users = users).await
    }

    async fn with(change: impl FnOnce(&mut SimulatorConfig)) -> Self {
        let mut world = expected::fixed_clock_world(|config| {
            config.organizations = 12;
            change(config);
        })
        .await;
        world.options.extent = Extent::Changes;
        world.options.session_lookback_days = 3650;
        world.options.max_shrink = 1.0;
        let mut seen = Seen::new();
        world.simulator.with_model(|model| note(model, &mut seen));
        Self { world, s3: S3::start().await, seen, hours: 0 }
    }

    /// Advances the clock by an hour and makes this number of changes of each kind.
    fn change(&mut self, times: usize) {
        self.hours += 1;
        set_clock(&self.world, NOW + self.hours * HOUR);
        let seen = &mut self.seen;
        self.world.simulator.with_model(|model| {
            for kind in ChangeKind::ALL {
                change(model, &[kind], times);
                note(model, seen);
            }
        });
    }

    fn lake(&self) -> Lake {
        lake_in(self.s3.store())
    }

    async fn sync(&self) -> Summary {
        self.sync_to(self.lake()).await
    }

    async fn sync_to(&self, lake: Lake) -> Summary {
        Box::pin(self.world.sync_with(self.world.client(), lake, self.world.options.clone())).await
    }

    async fn sync_ok(&self, case: &str) {
        let summary = self.sync().await;
        assert_eq!(summary.status, Status::Ok, "{case}: {summary:?}");
    }

    /// Returns a command of the real program, set up for this bucket and this instance.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.world.command(arguments);
        command.envs(self.s3.environment()).env("CLERK_LAKE_LAKE", format!("s3://{BUCKET}/lake"));
        command
    }

    async fn succeeds(&self, arguments: &[&str], case: &str) -> Output {
        let done = output(self.command(arguments)).await;
        assert_eq!(done.status.code(), Some(0), "{case}: {arguments:?}: {}", stderr(&done));
        done
    }

    /// Asserts that every synced table equals the current state of the instance, row by row, both through the Delta log
    /// and for plain Parquet readers.
    async fn assert_tables(&self, case: &str) {
        let (store, lake) = (self.s3.store(), self.lake());
        for resource in self.world.options.resources.iter().copied() {
            let rows = Box::pin(stored(&lake, resource)).await;
            let mut rows = rows.unwrap_or_else(|| panic!("{case}: the table of {} does not exist", resource.name));
            if resource.name == USER_ACTIVITY.name {
                Box::pin(ledger::assert_ledger(&self.world, &lake, case)).await;
            } else {
                let wanted = expected::wanted(&self.world, resource.name);
                rows.retain(|id, _| wanted.contains_key(id) || !self.seen.contains(id));
                expected::assert_same(&format!("{case}: {}", resource.name), &rows, &wanted);
            }
            Box::pin(assert_plain(&store, &lake, resource)).await;
        }
    }

    /// Asserts the same as [`Self::assert_tables`], and that the bucket has no other objects.
    async fn assert_exact(&self, case: &str) {
        self.assert_tables(case).await;
        for key in self.s3.keys() {
            let table = key.strip_prefix("lake/").and_then(|rest| rest.split('/').next()).unwrap_or_default();
            assert!(
                ["_instance", "_failed_runs"].contains(&table) || may_have(table),
                "{case}: {key} is in the bucket"
            );
            assert!(!key.contains(".tmp"), "{case}: temporary object {key}");
        }
    }

    /// Returns the keys of all objects that are not staged.
    fn visible(&self) -> Vec<String> {
        let mut keys = self.s3.keys();
        let is_hidden = |key: &String| key.starts_with("lake/_staged/") || key.starts_with("lake/_failed_runs/");
        keys.retain(|key| !is_hidden(key) && key != "lake/_instance");
        keys
    }
}

fn lake_in(store: Arc<dyn ObjectStore>) -> Lake {
    let place = Location::of_store(store).expect("a place");
    // Delete the files of dead runs at once, not only after 15 minutes.
    Lake::new(place.asked_sparingly().orphans_spared_for(TimeDelta::zero()))
}

/// Whether the run failed with a conflict.
fn had_conflict(run: &ResourceSummary) -> bool {
    run.failure.as_ref().map(Error::kind) == Some(ErrorKind::Conflict)
}

/// Returns whether a sync may write a table of this name.
fn may_have(name: &str) -> bool {
    tables().any(|table| table == name) || TOMBSTONES.iter().any(|tombstones| tombstones.table.name == name)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lake_in_a_bucket_equals_the_instance_and_the_bucket_has_no_other_objects() {
    let mut cloud = Cloud::new(120).await;
    for round in 0..3 {
        let case = format!("sync {round}");
        cloud.succeeds(&SYNC, &case).await;
        cloud.assert_exact(&case).await;
        cloud.change(2);
    }
    cloud.succeeds(&[&SYNC[..], &["--full"]].concat(), "a full sync").await;
    cloud.assert_exact("a full sync").await;
    let sql = "SELECT id FROM clerk_user ORDER BY id";
    let printed = cloud.succeeds(&["query", sql, "--format", "csv"], "a query").await;
    let ids: Vec<_> = expected::wanted(&cloud.world, "users").into_keys().collect();
    assert_eq!(stdout(&printed), format!("id\n{}\n", ids.join("\n")));
    cloud.succeeds(&["status"], "the status").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lake_can_be_anywhere_in_a_bucket() {
    let places = [("s3", "", ""), ("s3", "/lake/", "lake/"), ("s3a", "/deep/er prefix", "deep/er prefix/")];
    let mut cloud = Cloud::new(40).await;
    for (scheme, path, prefix) in places {
        let place = format!("{scheme}://{BUCKET}{path}");
        cloud.s3.clear();
        for _ in 0..2 {
            cloud.change(1);
            cloud.succeeds(&[&SYNC[..], &["--lake", place.as_str()]].concat(), &place).await;
        }
        let sql = "SELECT count(id) AS users FROM clerk_user";
        let printed = cloud.succeeds(&["query", sql, "--format", "csv", "--lake", place.as_str()], &place).await;
        let users = cloud.world.simulator.with_model(|model| model.users.len());
        assert_eq!(stdout(&printed), format!("users\n{users}\n"), "{place}");
        for key in cloud.s3.keys() {
            let below = key.strip_prefix(prefix).unwrap_or_else(|| panic!("{place}: {key} is in the bucket"));
            let is_own = below == "_instance" || may_have(below.split('/').next().unwrap_or_default());
            assert!(is_own, "{place}: {key} is in the bucket");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_put_of_a_log_entry_is_refused() {
    let s3 = S3::start().await;
    let (first, second) = (s3.store(), store_at(&s3.url()));
    let entry = Path::from("lake/clerk_user/_delta_log/00000000000000000000.json");
    first.put_opts(&entry, "first".into(), PutMode::Create.into()).await.expect("the entry is put");
    let error = second.put_opts(&entry, "second".into(), PutMode::Create.into()).await.expect_err("the entry exists");
    assert!(matches!(error, object_store::Error::AlreadyExists { .. }), "{error:?}");
    let found = second.get(&entry).await.expect("the entry").bytes().await.expect("its content");
    assert_eq!(found, "first");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_slower_of_two_commits_fails_with_a_conflict() {
    let mut cloud = Cloud::new(60).await;
    for case in ["the first commit", "a later commit"] {
        cloud.s3.hold(Operation::PutObject, "clerk_user/_delta_log/0000");
        let fast = async {
            cloud.s3.held().await;
            let summary = cloud.sync().await;
            cloud.s3.release();
            summary
        };
        let (slow, fast) = tokio::join!(Box::pin(cloud.sync()), Box::pin(fast));
        assert_eq!(fast.resources[0].status, ResourceStatus::Ok, "{case}: {fast:?}");
        assert!(had_conflict(&slow.resources[0]), "{case}: {slow:?}");
        let hint = slow.resources[0].failure.as_ref().and_then(Error::hint);
        assert!(hint.is_some_and(|hint| hint.contains("again")), "{case}: {slow:?}");
        let is_ok_or_conflict = |run: &ResourceSummary| run.status == ResourceStatus::Ok || had_conflict(run);
        // Both runs read the other resources at the same time.
        assert!(slow.resources.iter().chain(&fast.resources).all(is_ok_or_conflict), "{case}: {slow:?} {fast:?}");
        assert_eq!(cloud.sync().await.status, Status::Ok, "{case}");
        cloud.assert_exact(case).await;
        cloud.change(2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delayed_commit_names_no_deleted_files() {
    let timeout = Duration::from_millis(500);
    let log = "lake/clerk_user/_delta_log/";
    for arrives_first in [true, false] {
        let case = format!("the commit arrives before the next run: {arrives_first}");
        let mut cloud = Cloud::new(60).await;
        cloud.sync_ok(&case).await;
        cloud.change(3);
        cloud.s3.hold(Operation::PutObject, "clerk_user/_delta_log/0000");
        let summary = cloud.sync_to(lake_in(store_with_timeout(&cloud.s3.url(), timeout))).await;
        // The run retries the put of its commit. The retry arrives before the first put.
        assert_eq!(summary.status, Status::Ok, "{case}: {summary:?}");
        let commits = || cloud.s3.keys().iter().filter(|key| key.starts_with(log) && key.contains(".json")).count();
        let before = commits();
        if arrives_first {
            cloud.s3.release();
        }
        cloud.sync_ok(&case).await;
        assert!(commits() > before, "{case}: the next run did not commit");
        cloud.s3.release();
        cloud.sync_ok(&case).await;
        cloud.assert_exact(&case).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_instances_that_sync_to_a_new_lake_do_not_mix() {
    const OTHER: &str = "ins_another";
    let cloud = Cloud::new(60).await;
    let other = expected::fixed_clock_world(|config| {
        config.users = 30;
        config.organizations = 4;
        config.instance_id = OTHER.to_owned();
    });
    let other = other.await;
    cloud.s3.hold(Operation::PutObject, "clerk_user/_delta_log/0000");
    let fast = async {
        cloud.s3.held().await;
        let summary = Box::pin(other.sync_with(other.client(), cloud.lake(), other.options.clone())).await;
        cloud.s3.release();
        summary
    };
    let (slow, fast) = tokio::join!(Box::pin(cloud.sync()), Box::pin(fast));
    assert_eq!(slow.status, Status::Ok, "{slow:?}");
    for run in fast.resources.iter().filter(|run| run.status != ResourceStatus::Skipped) {
        let kind = run.failure.as_ref().map(Error::kind);
        assert_eq!(kind, Some(ErrorKind::Settings), "{run:?}");
    }
    for spec in TABLES {
        let table = cloud.lake().table(spec).await.expect("a table");
        assert!(table.instance().as_deref() != Some(OTHER), "{}: {:?}", spec.name, table.instance());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_failure_during_a_query_is_not_an_error_of_the_query() {
    let cloud = Cloud::new(60).await;
    cloud.sync_ok("a lake").await;
    let context = query::context(&cloud.lake()).await.expect("a lake with tables");
    cloud.s3.set_faults(1, &[Fault::InternalError]);
    let query = Query::ad_hoc("SELECT sum(length(first_name)) FROM clerk_user");
    let error = query.run(&context, &Parameters::at(Clock::system().now())).await.expect_err("a store that fails");
    assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_concurrent_runs_in_a_bucket_lose_and_duplicate_nothing() {
    let mut cloud = Cloud::new(60).await;
    for round in 0..4 {
        let case = format!("round {round}");
        let (first, second) = tokio::join!(Box::pin(cloud.sync()), Box::pin(cloud.sync()));
        for runs in first.resources.iter().zip(&second.resources) {
            let runs = [runs.0, runs.1];
            assert!(runs.iter().all(|run| run.status == ResourceStatus::Ok || had_conflict(run)), "{case}: {runs:?}");
            assert!(!runs.iter().all(|run| had_conflict(run)), "{case}: both runs had a conflict: {runs:?}");
        }
        cloud.assert_tables(&case).await;
        cloud.sync_ok(&case).await;
        cloud.assert_exact(&case).await;
        cloud.change(2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_survives_throttling_errors_and_dropped_connections_of_the_store() {
    use Fault::{BreaksOff, Conflict, Dropped, InternalError, ResponseLost, SlowDown};
    let faults_by_interval: [(u64, &[Fault]); 7] = [
        (3, &[SlowDown]),
        (4, &[InternalError]),
        (4, &[Dropped]),
        (4, &[ResponseLost]),
        // Not every second request: of two requests sent together, the same one might be cut off at each retry.
        (4, &[BreaksOff]),
        (3, &[Conflict]),
        (3, &[SlowDown, Dropped, ResponseLost, BreaksOff, InternalError]),
    ];
    for (every, faults) in faults_by_interval {
        let case = format!("every {every} requests {faults:?}");
        let mut cloud = Cloud::new(60).await;
        for _ in 0..2 {
            cloud.s3.set_faults(every, faults);
            cloud.sync_ok(&case).await;
            cloud.s3.set_faults(0, &[]);
            cloud.assert_exact(&case).await;
            cloud.change(2);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_store_is_an_error_with_the_hint_to_run_again() {
    let cloud = Cloud::new(20).await;
    cloud.s3.set_faults(1, &[Fault::SlowDown]);
    for (case, store) in [("throttled", cloud.s3.store()), ("connection refused", store_at(&nowhere()))] {
        let summary = cloud.sync_to(lake_in(store)).await;
        assert_eq!(summary.status, Status::Failed, "{case}: {summary:?}");
        for resource in &summary.resources {
            let error = resource.failure.as_ref().expect("a failure");
            assert_eq!(error.kind(), ErrorKind::Unreachable, "{case}: {error}");
            assert!(error.hint().is_some_and(|hint| hint.contains("run again")), "{case}: {error}");
        }
    }
    assert_eq!(cloud.s3.keys(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn some_random_histories_are_synced_correctly_to_a_bucket() {
    for seed in SEEDS {
        let s3 = S3::start().await;
        Box::pin(run_history(seed, s3.store())).await;
    }
}
