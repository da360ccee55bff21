//! A lake in a bucket, over S3's protocol: what holds on disk holds there, whatever the store's day is like.

mod cost;
mod credentials;
mod deaths;
mod protocol;

use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use clerk_lake::clock::Clock;
use clerk_lake::lake::{Lake, Location};
use clerk_lake::query::{self, Parameters, Query};
use clerk_lake::resource::{TABLES, USER_ACTIVITY};
use clerk_lake::simulator::{ChangeKind, SimulatorConfig};
use clerk_lake::sync::{Extent, ResourceStatus, ResourceSummary, Status, Summary};
use clerk_lake::{Error, ErrorKind};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode};

use crate::histories::check::{assert_plain, stored};
use crate::histories::{Seen, note, run_history};
use crate::incremental::{HOUR, change, set_clock};
use crate::support::expected::{self, NOW};
use crate::support::s3::{BUCKET, Fault, Operation, S3, store_at, store_with_patience};
use crate::support::stub::nowhere;
use crate::support::{World, ledger, output, stderr, stdout, tables};

/// The program's arguments for a sync like those of the tests that use the library.
const SYNC: [&str; 7] = ["sync", "--max-shrink", "1", "--session-lookback-days", "3650", "--rate-limit", "off"];

/// Seeds of histories that are gone through in a bucket, too.
const SEEDS: [u64; 4] = [1, 2, 5, 13];

/// An instance that stands still, and a bucket for its lake.
struct Cloud {
    world: World,
    s3: S3,
    /// The sessions that there have been: the lake keeps those that Clerk no longer shows.
    seen: Seen,
    hours: i64,
}

impl Cloud {
    async fn new(users: usize) -> Self {
        Self::with(|config| config.users = users).await
    }

    async fn with(change: impl FnOnce(&mut SimulatorConfig)) -> Self {
        let mut world = expected::still(|config| {
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

    /// An hour later, so many changes of each kind have been made.
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

    /// The real program, told of this bucket and this instance.
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

    /// Every table that is synced equals the instance as it is now, row by row, whether its log is read or its files.
    async fn assert_tables(&self, case: &str) {
        let (store, lake) = (self.s3.store(), self.lake());
        for resource in self.world.options.resources.iter().copied() {
            let rows = Box::pin(stored(&lake, resource)).await;
            let mut rows = rows.unwrap_or_else(|| panic!("{case}: {} has not been written", resource.name));
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

    /// The same, and nothing else is in the bucket.
    async fn assert_exact(&self, case: &str) {
        self.assert_tables(case).await;
        for key in self.s3.keys() {
            let table = key.strip_prefix("lake/").and_then(|rest| rest.split('/').next()).unwrap_or_default();
            assert!(table == "_instance" || tables().any(|name| name == table), "{case}: {key} is in the bucket");
            assert!(!key.contains(".tmp"), "{case}: {key} is in the log");
        }
    }

    /// The keys of what is not staged.
    fn visible(&self) -> Vec<String> {
        let mut keys = self.s3.keys();
        keys.retain(|key| !key.starts_with("lake/_staged/") && key != "lake/_instance");
        keys
    }
}

fn lake_in(store: Arc<dyn ObjectStore>) -> Lake {
    let place = Location::of_store(store).expect("a place");
    // What a dead run has left goes at once, not when it is a quarter of an hour old.
    Lake::new(place.asked_sparingly().orphans_spared_for(TimeDelta::zero()))
}

/// Whether another run has got ahead of this one.
fn lost(run: &ResourceSummary) -> bool {
    run.failure.as_ref().map(Error::kind) == Some(ErrorKind::Conflict)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_keeps_a_lake_in_a_bucket_and_nothing_else() {
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
async fn a_lake_may_be_anywhere_in_a_bucket() {
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
            let is_own = below == "_instance" || tables().any(|table| below.starts_with(table));
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
    let error = second.put_opts(&entry, "second".into(), PutMode::Create.into()).await.expect_err("it is there");
    assert!(matches!(error, object_store::Error::AlreadyExists { .. }), "{error:?}");
    let found = second.get(&entry).await.expect("the entry").bytes().await.expect("its content");
    assert_eq!(found, "first");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_comes_second_to_its_commit_loses_and_says_so() {
    let mut cloud = Cloud::new(60).await;
    for case in ["the first commit", "a later commit"] {
        cloud.s3.hold(Operation::PutObject, "clerk_user/_delta_log/0000");
        let quick = async {
            cloud.s3.held().await;
            let summary = cloud.sync().await;
            cloud.s3.let_go();
            summary
        };
        let (slow, quick) = tokio::join!(Box::pin(cloud.sync()), Box::pin(quick));
        assert_eq!(quick.status, Status::Ok, "{case}: {quick:?}");
        assert!(lost(&slow.resources[0]), "{case}: {slow:?}");
        let hint = slow.resources[0].failure.as_ref().and_then(Error::hint);
        assert!(hint.is_some_and(|hint| hint.contains("again")), "{case}: {slow:?}");
        let settled = |run: &ResourceSummary| run.status == ResourceStatus::Ok || lost(run);
        assert!(slow.resources.iter().all(settled), "{case}: {slow:?}");
        cloud.assert_exact(case).await;
        cloud.change(2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_arrives_after_its_run_has_given_up_names_nothing_that_is_gone() {
    let patience = Duration::from_millis(500);
    let log = "lake/clerk_user/_delta_log/";
    for arrives_first in [true, false] {
        let case = format!("before the next run: {arrives_first}");
        let mut cloud = Cloud::new(60).await;
        cloud.sync_ok(&case).await;
        cloud.change(3);
        cloud.s3.hold(Operation::PutObject, "clerk_user/_delta_log/0000");
        let summary = cloud.sync_to(lake_in(store_with_patience(&cloud.s3.url(), patience))).await;
        // It puts its commit again, which is there before the first one arrives.
        assert_eq!(summary.status, Status::Ok, "{case}: {summary:?}");
        let commits = || cloud.s3.keys().iter().filter(|key| key.starts_with(log) && key.contains(".json")).count();
        let before = commits();
        if arrives_first {
            cloud.s3.let_go();
        }
        cloud.sync_ok(&case).await;
        assert!(commits() > before, "{case}: the next run commits");
        cloud.s3.let_go();
        cloud.sync_ok(&case).await;
        cloud.assert_exact(&case).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_instances_that_meet_in_a_new_lake_do_not_mix() {
    const OTHER: &str = "ins_another";
    let cloud = Cloud::new(60).await;
    let other = expected::still(|config| {
        config.users = 30;
        config.organizations = 4;
        config.instance_id = OTHER.to_owned();
    });
    let other = other.await;
    cloud.s3.hold(Operation::PutObject, "clerk_user/_delta_log/0000");
    let quick = async {
        cloud.s3.held().await;
        let summary = Box::pin(other.sync_with(other.client(), cloud.lake(), other.options.clone())).await;
        cloud.s3.let_go();
        summary
    };
    let (slow, quick) = tokio::join!(Box::pin(cloud.sync()), Box::pin(quick));
    assert_eq!(slow.status, Status::Ok, "{slow:?}");
    for run in quick.resources.iter().filter(|run| run.status != ResourceStatus::Skipped) {
        let kind = run.failure.as_ref().map(Error::kind);
        assert_eq!(kind, Some(ErrorKind::Settings), "{run:?}");
    }
    for spec in TABLES {
        let table = cloud.lake().table(spec).await.expect("a table");
        assert!(table.instance().as_deref() != Some(OTHER), "{}: {:?}", spec.name, table.instance());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_fails_while_it_is_asked_is_no_mistake_of_the_question() {
    let cloud = Cloud::new(60).await;
    cloud.sync_ok("a lake").await;
    let session = query::session(&cloud.lake()).await.expect("a lake with tables");
    cloud.s3.set_faults(1, &[Fault::InternalError]);
    let asked = Query::ad_hoc("SELECT sum(length(first_name)) FROM clerk_user");
    let error = asked.run(&session, &Parameters::at(Clock::system().now())).await.expect_err("a store that fails");
    assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_runs_at_once_in_one_bucket_lose_and_double_nothing() {
    let mut cloud = Cloud::new(60).await;
    for round in 0..4 {
        let case = format!("round {round}");
        let (first, second) = tokio::join!(Box::pin(cloud.sync()), Box::pin(cloud.sync()));
        for runs in first.resources.iter().zip(&second.resources) {
            let runs = [runs.0, runs.1];
            assert!(runs.iter().all(|run| run.status == ResourceStatus::Ok || lost(run)), "{case}: {runs:?}");
            assert!(!runs.iter().all(|run| lost(run)), "{case}: both lost: {runs:?}");
        }
        cloud.assert_tables(&case).await;
        cloud.sync_ok(&case).await;
        cloud.assert_exact(&case).await;
        cloud.change(2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_throttles_fails_or_drops_connections_now_and_then_loses_nothing() {
    use Fault::{AnswerLost, BreaksOff, Conflict, Dropped, InternalError, SlowDown};
    let bad_days: [(u64, &[Fault]); 7] = [
        (3, &[SlowDown]),
        (4, &[InternalError]),
        (4, &[Dropped]),
        (4, &[AnswerLost]),
        // Not every second one: of requests that go out together, the same may then break off each time it is repeated.
        (4, &[BreaksOff]),
        (3, &[Conflict]),
        (3, &[SlowDown, Dropped, AnswerLost, BreaksOff, InternalError]),
    ];
    for (every, faults) in bad_days {
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
async fn a_store_that_cannot_be_reached_says_to_run_again() {
    let cloud = Cloud::new(20).await;
    cloud.s3.set_faults(1, &[Fault::SlowDown]);
    for (case, store) in [("throttled", cloud.s3.store()), ("nobody listens", store_at(&nowhere()))] {
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
async fn some_histories_end_with_the_truth_in_a_bucket_too() {
    for seed in SEEDS {
        let s3 = S3::start().await;
        Box::pin(run_history(seed, s3.store())).await;
    }
}
