//! Runs that fail, are interrupted, or meet another run or a reader of the lake. The next run is still exact.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clerk_lake::clock::Clock;
use clerk_lake::query::{self, Parameters, Query};
use clerk_lake::resource;
use clerk_lake::simulator::{ChangeKind, FaultKind, Faults};
use clerk_lake::sync::{self, CancellationToken, ResourceStatus, ResourceSummary, Summary};
use clerk_lake::{Error, ErrorKind, Result};
use tokio::sync::Notify;

use crate::faults::{OnPage, impatient, sync_watched};
use crate::incremental::{HOUR, Seen, assert_table, change, fresh, set_clock, sync_ok, synced};
use crate::support::expected::{self, NOW, Tables};
use crate::support::{World, as_json, named, plain_row_count, sample_step};

/// Returns a world whose lists have many pages.
async fn many_pages() -> World {
    fresh(|config| {
        config.users = 150;
        config.clamp = Some(10);
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_first_sync_that_failed_midway_the_next_sync_is_exact() {
    for (path, name) in [("/v1/users", "users"), ("/v1/organizations", "organizations"), ("/v1/sessions", "sessions")] {
        let world = many_pages().await;
        let mut seen = Seen::default();
        world.simulator.set_faults(Faults::every(4, [FaultKind::ServerError]).on(path));
        let summary = Box::pin(world.sync_with(impatient(&world), world.lake(), world.options.clone())).await;
        for resource in &summary.resources {
            let failed = resource.status == ResourceStatus::Failed;
            assert!(failed == (resource.name == name) || name == "users", "{path}: {resource:?}");
        }
        assert_eq!(summary.worst().map(Error::kind), Some(ErrorKind::Unreachable), "{path}");
        world.simulator.set_faults(Faults::default());
        let mut kinds = ChangeKind::ALL.to_vec();
        if name == "sessions" {
            // Sessions that the failed listing has read and that no longer exist may or may not be stored.
            kinds.retain(|kind| ![ChangeKind::CleanUpSession, ChangeKind::DeleteUser].contains(kind));
        } else {
            seen.note(&world);
        }
        set_clock(&world, NOW + HOUR);
        world.simulator.with_model(|model| change(model, &kinds, 2));
        for turn in ["second", "third"] {
            let case = format!("{path} failed, {turn}");
            sync_ok(&world, &case).await;
            seen.assert_exact(&world, &case).await;
        }
    }
}

/// Runs a sync and cancels it after the second page of `resource`. Returns its summary and the number of requests that
/// it sent after that.
async fn cancel_in(world: &Arc<World>, resource: &'static str) -> (Summary, u64) {
    let stop = CancellationToken::new();
    let requests_at_stop = Arc::new(AtomicU64::new(0));
    let (token, watched, pages) = (stop.clone(), Arc::clone(world), AtomicU64::new(0));
    let at_stop = Arc::clone(&requests_at_stop);
    let progress = OnPage(move |name: &str, _: u64| {
        if name == resource && pages.fetch_add(1, Ordering::Relaxed) == 1 {
            at_stop.store(watched.simulator.request_count(), Ordering::Relaxed);
            token.cancel();
        }
    });
    let run = sync::SyncJob {
        client: world.client(),
        lake: world.lake(),
        clock: Clock::system(),
        options: world.options.clone(),
        progress: Arc::new(progress),
        stop,
    };
    let summary = Box::pin(run.run()).await;
    (summary, world.simulator.request_count() - requests_at_stop.load(Ordering::Relaxed))
}

/// Maximum number of concurrent requests: one per lane, or one per user whose sessions are listed.
const MAX_CONCURRENT_REQUESTS: u64 = 16;

/// Cancels a sync in `resource`. Asserts that it sends no further requests, and that each table is either committed or
/// still has the rows `before`. Asserts that the next sync is exact.
async fn assert_stops(world: &Arc<World>, resource: &'static str, before: &Tables, seen: &mut Seen, case: &str) {
    let (summary, requests_after_stop) = cancel_in(world, resource).await;
    // Requests that were already sent may arrive after the stop.
    assert!(requests_after_stop <= MAX_CONCURRENT_REQUESTS, "{case}: {requests_after_stop} requests after the stop");
    for done in &summary.resources {
        let failure = done.failure.as_ref().map(Error::kind);
        // Other resources are read at the same time: each is done or stopped.
        assert!(done.name != resource || failure == Some(ErrorKind::Interrupted), "{case}: {done:?}");
        match (failure, before.get(done.name.as_str())) {
            (None, _) => expected::assert_resource_equals(world, &done.name, case).await,
            (Some(ErrorKind::Interrupted), Some(rows)) => assert_table(world, &done.name, rows, case).await,
            (Some(ErrorKind::Interrupted), None) => {
                assert_eq!(plain_row_count(&world.path(), named(&done.name).table.name), 0, "{case}: {}", done.name);
            }
            (Some(_), _) => panic!("{case}: {done:?}"),
        }
    }
    sync_ok(world, case).await;
    seen.assert_exact(world, case).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_sync_ends_at_once_and_the_next_sync_is_exact() {
    for resource in ["users", "organizations", "sessions"] {
        let world = Arc::new(many_pages().await);
        let mut seen = Seen::default();
        assert_stops(&world, resource, &Tables::new(), &mut seen, &format!("first sync, {resource}")).await;
        set_clock(&world, NOW + HOUR);
        let before = stored_tables(&world).await;
        world.simulator.with_model(|model| change(model, &ChangeKind::ALL, 2));
        assert_stops(&world, resource, &before, &mut seen, &format!("second sync, {resource}")).await;
    }
}

/// Returns the rows of all tables.
async fn stored_tables(world: &World) -> Tables {
    let mut tables = Tables::new();
    for resource in resource::defaults() {
        tables.insert(resource.name, Box::pin(expected::stored(world, resource.name)).await);
    }
    tables
}

/// Runs two syncs concurrently. The second one begins when the first one has read a page of the resource `begin_at`, or
/// at once if `begin_at` is `None`. Asserts that each resource is synced or lost to the other run. Returns how many
/// were lost.
async fn race(world: &World, begin_at: Option<&'static str>, case: &str) -> usize {
    let begun = Arc::new(Notify::new());
    if begin_at.is_none() {
        begun.notify_one();
    }
    let notify = Arc::clone(&begun);
    let progress = OnPage(move |name: &str, _: u64| {
        if begin_at == Some(name) {
            notify.notify_one();
        }
    });
    let first = Box::pin(async {
        let summary = sync_watched(world, Arc::new(progress)).await;
        begun.notify_one();
        summary
    });
    let second = Box::pin(async {
        begun.notified().await;
        world.sync().await
    });
    let (first, second) = tokio::join!(first, second);
    let mut losses = 0;
    for runs in first.resources.iter().zip(&second.resources) {
        let runs = [runs.0, runs.1];
        for run in runs {
            assert!(run.status == ResourceStatus::Ok || lost_to_other_run(run), "{case}: {run:?}");
        }
        losses += runs.iter().filter(|run| lost_to_other_run(run)).count();
        assert!(runs.iter().any(|run| !lost_to_other_run(run)), "{case}: both runs lost {}", runs[0].name);
    }
    losses
}

/// Returns whether the commit of this resource lost against another run.
fn lost_to_other_run(run: &ResourceSummary) -> bool {
    run.failure.as_ref().map(Error::kind) == Some(ErrorKind::Conflict)
}

/// When the second of two runs begins, in the order of the rounds.
const BEGINNINGS: [Option<&str>; 4] = [None, Some("users"), Some("organizations"), Some("sessions")];

/// Returns the number of rounds: `exhaustive` in an exhaustive test, otherwise half of that.
fn rounds(exhaustive: u32) -> u32 {
    exhaustive / u32::try_from(sample_step(2)).expect("a small number")
}

#[tokio::test(flavor = "multi_thread")]
async fn two_concurrent_syncs_lose_and_duplicate_no_row() {
    let world = synced(|config| config.users = 120).await;
    let mut seen = Seen::default();
    seen.assert_exact(&world, "first").await;
    let mut losses = 0;
    for (round, begin_at) in (1..=rounds(12)).zip(BEGINNINGS.into_iter().cycle()) {
        let case = format!("round {round}, the second run begins at {begin_at:?}");
        set_clock(&world, NOW + i64::from(round) * HOUR);
        world.simulator.set(|config| config.latency = Duration::from_millis(u64::from(round % 3) + 1));
        world.simulator.with_model(|model| change(model, &ChangeKind::ALL, 2));
        losses += race(&world, begin_at, &case).await;
        seen.assert_exact(&world, &case).await;
    }
    assert!(losses > 0, "the runs never met");
    sync_ok(&world, "quiet").await;
    seen.assert_exact(&world, "quiet").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_concurrent_first_syncs_create_one_lake() {
    let world = fresh(|config| config.users = 120).await;
    let mut losses = 0;
    for (round, begin_at) in (1..=rounds(8)).zip(BEGINNINGS.into_iter().cycle()) {
        let case = format!("round {round}, the second run begins at {begin_at:?}");
        world.simulator.set(|config| config.latency = Duration::from_millis(u64::from(round % 3) + 1));
        losses += race(&world, begin_at, &case).await;
        Seen::default().assert_exact(&world, &case).await;
        sync_ok(&world, &case).await;
        Seen::default().assert_exact(&world, &case).await;
        std::fs::remove_dir_all(world.path()).expect("the lake is deleted");
    }
    assert!(losses > 0, "the runs never met");
}

/// Returns the numbers in the first row of a query's result.
async fn query_numbers(world: &World, sql: &str) -> Result<Vec<i64>> {
    let context = query::context(&world.lake()).await?;
    let batches = Query::ad_hoc(sql).run(&context, &Parameters::at(Clock::system().now())).await?;
    let rows = as_json(&batches);
    Ok(rows[0].as_object().into_iter().flatten().filter_map(|(_, value)| value.as_i64()).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_during_syncs_sees_one_commit_or_fails_with_a_conflict() {
    let world = synced(|config| {
        config.users = 120;
        config.latency = Duration::from_millis(1);
    })
    .await;
    let count = || world.simulator.with_model(|model| i64::try_from(model.users.len()).expect("a count"));
    let (counts, done) = (Mutex::new(vec![count()]), AtomicBool::new(false));
    let syncs = async {
        for round in 1..=5 {
            set_clock(&world, NOW + round * HOUR);
            world.simulator.with_model(|model| change(model, &ChangeKind::ALL, 3));
            world.simulator.with_model(|model| model.change(ChangeKind::CreateUser));
            counts.lock().expect("a lock").push(count());
            sync_ok(&world, &format!("round {round}")).await;
        }
        done.store(true, Ordering::Relaxed);
    };
    let queries = async {
        let mut results = 0;
        while !done.load(Ordering::Relaxed) {
            match query_numbers(&world, "SELECT count(id) AS users, count(DISTINCT id) AS ids FROM clerk_user").await {
                Ok(found) => {
                    let possible = found.iter().all(|count| counts.lock().expect("a lock").contains(count));
                    assert!(found.len() == 2 && found[0] == found[1] && possible, "{found:?}");
                    results += 1;
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict, "{error}"),
            }
        }
        results
    };
    let ((), results) = tokio::join!(Box::pin(syncs), Box::pin(queries));
    assert!(results > 0, "no query succeeded");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_whose_files_were_replaced_fails_with_a_hint_to_run_it_again() {
    let world = synced(|config| config.users = 120).await;
    let context = query::context(&world.lake()).await.expect("a lake with tables");
    set_clock(&world, NOW + HOUR);
    world.simulator.with_model(|model| change(model, &[ChangeKind::DeleteUser, ChangeKind::Ban], 3));
    sync_ok(&world, "second").await;
    let query = Query::ad_hoc("SELECT count(DISTINCT email) AS addresses FROM clerk_user");
    let error = query.run(&context, &Parameters::at(Clock::system().now())).await.expect_err("the files were deleted");
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    assert!(error.hint().is_some_and(|hint| hint.contains("again")), "{error}");
    assert_eq!(query_numbers(&world, "SELECT count(*) AS users FROM clerk_user").await.expect("a result"), [117]);
}
