//! An interrupted full sync resumes where it stopped, and has the same result as an uninterrupted one.

use std::time::Duration;

use clerk_lake::ErrorKind;
use clerk_lake::simulator::{ChangeKind, FaultKind, Faults};
use clerk_lake::sync::{Extent, Status, Summary, SyncOptions};

use crate::faults::impatient;
use crate::parquet_readers::drop_at;
use crate::support::{World, expected, named};

/// Returns an instance whose users need many pages.
async fn many_users(users: usize) -> World {
    let mut world = expected::fixed_clock_world(|config| {
        config.users = users;
        config.organizations = 5;
        config.clamp = Some(100);
    })
    .await;
    world.options.extent = Extent::Changes;
    world.options.resources = vec![named("users")];
    world
}

/// Returns the number of requests for pages of users so far.
fn page_requests(world: &World) -> usize {
    world.simulator.requests().iter().filter(|request| request.path == "/v1/users").count()
}

async fn assert_users_equal(world: &World, summary: &Summary, case: &str) {
    assert_eq!(summary.status, Status::Ok, "{case}: {summary:?}");
    expected::assert_resource_equals(world, "users", case).await;
    expected::assert_nothing_staged(world, case);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crashed_full_sync_resumes_at_its_last_resume_point() {
    let world = many_users(12_000).await;
    drop_at(&world, "users", 9_000).await;
    assert!(!world.path().join("clerk_user").exists(), "half of a run is visible");
    world.simulator.clear_requests();
    let summary = world.sync_only(&["users"]).await;
    assert_users_equal(&world, &summary, "after a crash").await;
    assert!(page_requests(&world) < 80, "{} pages of 120 were read again", page_requests(&world));
    assert_eq!(summary.resources[0].rows_inserted, 12_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_between_a_crash_and_the_next_run_are_synced() {
    let world = many_users(7_000).await;
    drop_at(&world, "users", 6_000).await;
    world.simulator.set(|config| config.now = config.now.map(|now| now + 3_600_000));
    world.simulator.with_model(|model| {
        for kind in [ChangeKind::CreateUser, ChangeKind::UpdateProfile, ChangeKind::Ban, ChangeKind::Activity] {
            (0..20).for_each(|_| model.change(kind));
        }
        (0..7).for_each(|_| model.change(ChangeKind::DeleteUser));
    });
    let summary = world.sync_only(&["users"]).await;
    assert_users_equal(&world, &summary, "after changes").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fresh_discards_the_pages_of_an_interrupted_run() {
    let world = many_users(6_500).await;
    drop_at(&world, "users", 6_000).await;
    world.simulator.clear_requests();
    let options = SyncOptions { fresh: true, ..world.options.clone() };
    let summary = world.sync_with(world.client(), world.lake(), options).await;
    assert_users_equal(&world, &summary, "fresh").await;
    assert!(page_requests(&world) >= 65, "only {} pages were read", page_requests(&world));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_that_loses_the_network_keeps_the_pages_it_has_read() {
    let world = many_users(4_000).await;
    world.simulator.set_faults(Faults::every(33, [FaultKind::ServerError]).on("/v1/users"));
    let failed = world.sync_with(impatient(&world), world.lake(), world.options.clone()).await;
    assert_eq!(failed.worst().map(clerk_lake::Error::kind), Some(ErrorKind::Unreachable), "{failed:?}");
    world.simulator.set_faults(Faults::default());
    world.simulator.clear_requests();
    let summary = world.sync_only(&["users"]).await;
    assert_users_equal(&world, &summary, "after an outage").await;
    assert!(page_requests(&world) <= 25, "{} pages of 40 were read again", page_requests(&world));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_of_a_resumed_sync_loses_no_pages() {
    let world = many_users(14_000).await;
    drop_at(&world, "users", 5_500).await;
    drop_at(&world, "users", 11_500).await;
    world.simulator.clear_requests();
    let summary = world.sync_only(&["users"]).await;
    assert_users_equal(&world, &summary, "after two crashes").await;
    assert!(page_requests(&world) < 80, "{} pages of 140 were read again", page_requests(&world));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incremental_sync_removes_the_staged_files_of_an_interrupted_full_sync() {
    let mut world = many_users(6_500).await;
    assert_eq!(world.sync_only(&["users"]).await.status, Status::Ok);
    world.options.extent = Extent::Full;
    drop_at(&world, "users", 6_000).await;
    world.options.extent = Extent::Changes;
    let summary = world.sync_only(&["users"]).await;
    assert_eq!(summary.resources[0].mode, "incremental");
    assert_users_equal(&world, &summary, "incremental").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_of_sessions_by_user_resumes_after_the_last_user() {
    let mut world = expected::fixed_clock_world(|config| {
        config.users = 900;
        config.plain_session_listing = false;
        config.latency = Duration::from_millis(1);
    })
    .await;
    world.options.extent = Extent::Changes;
    world.options.session_lookback_days = 3650;
    assert_eq!(world.sync_only(&["users"]).await.status, Status::Ok);
    world.options.resources = vec![named("users"), named("sessions")];
    world
        .simulator
        .set_faults(Faults { limit: Some(1), ..Faults::every(600, [FaultKind::ServerError]) }.on("/sessions"));
    let failed = world.sync_with(impatient(&world), world.lake(), world.options.clone()).await;
    assert_eq!(failed.worst().map(clerk_lake::Error::kind), Some(ErrorKind::Unreachable), "{failed:?}");
    world.simulator.clear_requests();
    assert_eq!(world.sync_only(&["users", "sessions"]).await.status, Status::Ok);
    let requests = world.simulator.requests().iter().filter(|request| request.path == "/v1/sessions").count();
    let open =
        world.number("SELECT count(DISTINCT user_id) FROM clerk_session WHERE status IN ('active', 'pending')").await;
    let open = usize::try_from(open).expect("a count");
    assert!(requests < 400 + open, "the sessions of {requests} users were requested; {open} users have open sessions");
    expected::assert_resource_equals(&world, "sessions", "after an outage").await;
    expected::assert_nothing_staged(&world, "after an outage");
}
