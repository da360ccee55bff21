//! A full sync that was interrupted goes on from where it was, and comes to what an undisturbed one comes to.

use std::time::Duration;

use clerk_lake::ErrorKind;
use clerk_lake::simulator::{ChangeKind, FaultKind, Faults};
use clerk_lake::sync::{Extent, Status, Summary, SyncOptions};

use crate::faults::impatient;
use crate::parquet_readers::drop_at;
use crate::support::{World, expected, named};

/// An instance whose users come in many pages.
async fn many_users(users: usize) -> World {
    let mut world = expected::still(|config| {
        config.users = users;
        config.organizations = 5;
        config.clamp = Some(100);
    })
    .await;
    world.options.extent = Extent::Changes;
    world.options.resources = vec![named("users")];
    world
}

/// Requests for pages of users so far.
fn pages(world: &World) -> usize {
    world.simulator.requests().iter().filter(|request| request.path == "/v1/users").count()
}

async fn assert_users_equal(world: &World, summary: &Summary, case: &str) {
    assert_eq!(summary.status, Status::Ok, "{case}: {summary:?}");
    expected::assert_resource_equals(world, "users", case).await;
    expected::assert_nothing_staged(world, case);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crashed_full_sync_goes_on_after_its_last_checkpoint() {
    let world = many_users(12_000).await;
    drop_at(&world, "users", 9_000).await;
    assert!(!world.path().join("clerk_user").exists(), "a reader sees half a run");
    world.simulator.clear_requests();
    let summary = world.sync_only(&["users"]).await;
    assert_users_equal(&world, &summary, "after a crash").await;
    assert!(pages(&world) < 80, "{} pages of 120 were read again", pages(&world));
    assert_eq!(summary.resources[0].rows_inserted, 12_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changed_between_a_crash_and_the_next_run_is_in_the_table() {
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
async fn fresh_forgets_what_an_interrupted_run_had_read() {
    let world = many_users(6_500).await;
    drop_at(&world, "users", 6_000).await;
    world.simulator.clear_requests();
    let options = SyncOptions { fresh: true, ..world.options.clone() };
    let summary = world.sync_with(world.client(), world.lake(), options).await;
    assert_users_equal(&world, &summary, "fresh").await;
    assert!(pages(&world) >= 65, "only {} pages were read", pages(&world));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_that_loses_the_network_keeps_what_it_had_read() {
    let world = many_users(4_000).await;
    world.simulator.set_faults(Faults::every(33, [FaultKind::ServerError]).on("/v1/users"));
    let failed = world.sync_with(impatient(&world), world.lake(), world.options.clone()).await;
    assert_eq!(failed.worst().map(clerk_lake::Error::kind), Some(ErrorKind::Unreachable), "{failed:?}");
    world.simulator.set_faults(Faults::default());
    world.simulator.clear_requests();
    let summary = world.sync_only(&["users"]).await;
    assert_users_equal(&world, &summary, "after an outage").await;
    assert!(pages(&world) <= 25, "{} pages of 40 were read again", pages(&world));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_while_going_on_loses_nothing_either() {
    let world = many_users(14_000).await;
    drop_at(&world, "users", 5_500).await;
    drop_at(&world, "users", 11_500).await;
    world.simulator.clear_requests();
    let summary = world.sync_only(&["users"]).await;
    assert_users_equal(&world, &summary, "after two crashes").await;
    assert!(pages(&world) < 80, "{} pages of 140 were read again", pages(&world));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incremental_sync_clears_what_an_interrupted_full_one_had_staged() {
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
async fn sessions_asked_for_user_by_user_go_on_after_the_last_user() {
    let mut world = expected::still(|config| {
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
    let asked = world.simulator.requests().iter().filter(|request| request.path == "/v1/sessions").count();
    let open =
        world.number("SELECT count(DISTINCT user_id) FROM clerk_session WHERE status IN ('active', 'pending')").await;
    let open = usize::try_from(open).expect("a count");
    assert!(asked < 400 + open, "{asked} users were asked for their sessions, {open} of whom have open ones");
    expected::assert_resource_equals(&world, "sessions", "after an outage").await;
    expected::assert_nothing_staged(&world, "after an outage");
}
