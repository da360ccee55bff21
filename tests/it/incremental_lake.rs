//! Runs that fail, are stopped, or meet another run or a reader in the lake: the next one is exact all the same.

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
use crate::support::{World, as_json, one_in, plain_rows};

/// An instance whose lists come in many pages.
async fn many_pages() -> World {
    fresh(|config| {
        config.users = 150;
        config.clamp = Some(10);
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_sync_that_failed_in_the_middle_is_followed_by_an_exact_one() {
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
            // What a failed listing had read of sessions that are gone now may be kept, or not.
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

/// A sync that is told to stop after the second page of `resource`; gives how many requests it sent after that.
async fn stopped_in(world: &Arc<World>, resource: &'static str) -> (Summary, u64) {
    let stop = CancellationToken::new();
    let asked = Arc::new(AtomicU64::new(0));
    let (token, watched, at_stop, pages) = (stop.clone(), Arc::clone(world), Arc::clone(&asked), AtomicU64::new(0));
    let progress = OnPage(move |name: &str, _: u64| {
        if name == resource && pages.fetch_add(1, Ordering::Relaxed) == 1 {
            at_stop.store(watched.simulator.request_count(), Ordering::Relaxed);
            token.cancel();
        }
    });
    let run = sync::Sync {
        client: world.client(),
        lake: world.lake(),
        clock: Clock::system(),
        options: world.options.clone(),
        progress: Arc::new(progress),
        stop,
    };
    let summary = Box::pin(run.run()).await;
    (summary, world.simulator.request_count() - asked.load(Ordering::Relaxed))
}

/// The most requests that are on their way at a time: one for each lane, or for each user asked about.
const ON_THE_WAY: u64 = 16;

/// A sync that is told to stop in `resource` asks nothing more, has committed what comes before, and has changed
/// nothing of what was `before` in the tables after it.
async fn assert_stops(world: &Arc<World>, resource: &'static str, before: &Tables, seen: &mut Seen, case: &str) {
    let (summary, asked_on) = stopped_in(world, resource).await;
    // What a lane had sent already may arrive after the stop.
    assert!(asked_on <= ON_THE_WAY, "{case}: {asked_on} requests after the stop");
    let at = resource::ALL.iter().position(|it| it.name == resource).expect("a resource");
    for (place, done) in summary.resources.iter().enumerate() {
        let failure = done.failure.as_ref().map(Error::kind);
        assert_eq!(failure, (place >= at).then_some(ErrorKind::Interrupted), "{case}: {done:?}");
        match (place < at, before.get(done.name.as_str())) {
            (true, _) => assert_table(world, &done.name, &expected::wanted(world, &done.name), case).await,
            (false, Some(rows)) => assert_table(world, &done.name, rows, case).await,
            (false, None) => assert_eq!(plain_rows(&world.path(), resource::ALL[place].table.name), 0, "{case}"),
        }
    }
    sync_ok(world, case).await;
    seen.assert_exact(world, case).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_told_to_stop_ends_at_once_and_the_next_one_is_exact() {
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

/// What all tables hold.
async fn stored_tables(world: &World) -> Tables {
    let mut tables = Tables::new();
    for resource in resource::ALL {
        tables.insert(resource.name, Box::pin(expected::stored(world, resource.name)).await);
    }
    tables
}

/// Two runs, the second of which begins with the first page that the first one has read of a resource, or at
/// once. Each of their resources is up to date or lost to the other run; gives how many were lost.
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
            assert!(run.status == ResourceStatus::Ok || lost(run), "{case}: {run:?}");
        }
        losses += runs.iter().filter(|run| lost(run)).count();
        assert!(runs.iter().any(|run| !lost(run)), "{case}: both runs lost {}", runs[0].name);
    }
    losses
}

/// Whether another run has got ahead of this one.
fn lost(run: &ResourceSummary) -> bool {
    run.failure.as_ref().map(Error::kind) == Some(ErrorKind::Conflict)
}

/// When the second of two runs begins, in turn.
const BEGINNINGS: [Option<&str>; 4] = [None, Some("users"), Some("organizations"), Some("sessions")];

/// So many rounds in an exhaustive test, and half as many otherwise.
fn rounds(exhaustive: u32) -> u32 {
    exhaustive / u32::try_from(one_in(2)).expect("a small number")
}

#[tokio::test(flavor = "multi_thread")]
async fn two_runs_at_once_on_one_lake_lose_and_double_nothing() {
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
async fn two_first_runs_at_once_make_one_lake() {
    let world = fresh(|config| config.users = 120).await;
    let mut losses = 0;
    for (round, begin_at) in (1..=rounds(8)).zip(BEGINNINGS.into_iter().cycle()) {
        let case = format!("round {round}, the second run begins at {begin_at:?}");
        world.simulator.set(|config| config.latency = Duration::from_millis(u64::from(round % 3) + 1));
        losses += race(&world, begin_at, &case).await;
        Seen::default().assert_exact(&world, &case).await;
        sync_ok(&world, &case).await;
        Seen::default().assert_exact(&world, &case).await;
        std::fs::remove_dir_all(world.path()).expect("the lake goes");
    }
    assert!(losses > 0, "the runs never met");
}

/// How many users the lake counts, each told apart from the others.
async fn ask(world: &World, sql: &str) -> Result<Vec<i64>> {
    let session = query::session(&world.lake()).await?;
    let batches = Query::ad_hoc(sql).run(&session, &Parameters::at(Clock::system().now())).await?;
    let rows = as_json(&batches);
    Ok(rows[0].as_object().into_iter().flatten().filter_map(|(_, value)| value.as_i64()).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_during_syncs_sees_one_commit_or_is_told_to_ask_again() {
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
    let questions = async {
        let mut answers = 0;
        while !done.load(Ordering::Relaxed) {
            match ask(&world, "SELECT count(id) AS users, count(DISTINCT id) AS ids FROM clerk_user").await {
                Ok(found) => {
                    let possible = found.iter().all(|count| counts.lock().expect("a lock").contains(count));
                    assert!(found.len() == 2 && found[0] == found[1] && possible, "{found:?}");
                    answers += 1;
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict, "{error}"),
            }
        }
        answers
    };
    let ((), answers) = tokio::join!(Box::pin(syncs), Box::pin(questions));
    assert!(answers > 0, "nothing was answered");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_whose_files_have_been_replaced_is_told_to_ask_again() {
    let world = synced(|config| config.users = 120).await;
    let session = query::session(&world.lake()).await.expect("a lake with tables");
    set_clock(&world, NOW + HOUR);
    world.simulator.with_model(|model| change(model, &[ChangeKind::DeleteUser, ChangeKind::Ban], 3));
    sync_ok(&world, "second").await;
    let question = Query::ad_hoc("SELECT count(DISTINCT email) AS addresses FROM clerk_user");
    let error = question.run(&session, &Parameters::at(Clock::system().now())).await.expect_err("files are gone");
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    assert!(error.hint().is_some_and(|hint| hint.contains("again")), "{error}");
    assert_eq!(ask(&world, "SELECT count(*) AS users FROM clerk_user").await.expect("an answer"), [117]);
}
