//! Staged files of failed or killed runs affect neither the same run nor the next one.

use std::fs::File;
use std::time::{Duration, UNIX_EPOCH};

use clerk_lake::simulator::{FaultKind, Faults};
use clerk_lake::sync::{ResourceStatus, Status, Summary, SyncOptions};

use crate::faults::impatient;
use crate::support::{World, expected, named};

fn status_of(summary: &Summary, name: &str) -> ResourceStatus {
    summary.resources.iter().find(|resource| resource.name == name).expect("the resource").status
}

#[tokio::test(flavor = "multi_thread")]
async fn daily_active_users_are_exact_if_replacing_the_users_is_refused() {
    let world = expected::fixed_clock_world(|config| config.users = 120).await;
    assert_eq!(world.sync().await.status, Status::Ok);
    world.simulator.with_model(|model| {
        let half: Vec<_> = model.users.iter().step_by(2).map(|user| user.id.clone()).collect();
        for id in &half {
            model.delete_user(id);
        }
    });
    let summary = world.sync().await;
    assert_eq!(status_of(&summary, "users"), ResourceStatus::Failed, "{summary:?}");
    assert_eq!(status_of(&summary, "daily_active_users"), ResourceStatus::Ok, "{summary:?}");
    expected::assert_resource_equals(&world, "daily_active_users", "after a refused replacement").await;
}

/// Returns a world whose sessions can only be listed by user. Its syncs list those of users who were active in the last
/// `session_lookback_days` days.
async fn by_user(users: usize, session_lookback_days: u32) -> World {
    let mut world = expected::fixed_clock_world(|config| {
        config.users = users;
        config.plain_session_listing = false;
    })
    .await;
    world.options.session_lookback_days = session_lookback_days;
    world
}

/// Syncs sessions. Clerk fails after enough rows for a resume point have been read.
async fn interrupt_sessions(world: &World) {
    world.simulator.set_faults(Faults::every(300, [FaultKind::ServerError]).on("/v1/sessions"));
    let options = SyncOptions { resources: vec![named("sessions")], ..world.options.clone() };
    let summary = world.sync_with(impatient(world), world.lake(), options).await;
    assert_eq!(summary.status, Status::Failed, "{summary:?}");
    assert!(world.path().join("_staged").exists(), "the rows that were read were not kept");
    world.simulator.set_faults(Faults::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resumed_full_sync_of_sessions_includes_changes_since_the_interruption() {
    let world = by_user(400, 3650).await;
    assert_eq!(world.sync().await.status, Status::Ok);
    interrupt_sessions(&world).await;
    world.simulator.with_model(|model| {
        let open = model.sessions.iter().filter(|session| session.status == "active").step_by(3);
        let some: Vec<_> = open.map(|session| session.id.clone()).collect();
        for id in &some {
            model.end_session(id, "ended");
        }
    });
    let summary = world.sync_only(&["sessions"]).await;
    assert_eq!(summary.status, Status::Ok, "{summary:?}");
    expected::assert_resource_equals(&world, "sessions", "resumed").await;
    expected::assert_nothing_staged(&world, "resumed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_longer_session_lookback_includes_users_whom_an_interrupted_sync_skipped() {
    let mut world = by_user(900, 30).await;
    interrupt_sessions(&world).await;
    world.options.session_lookback_days = 3650;
    let summary = world.sync_only(&["sessions"]).await;
    assert_eq!(summary.status, Status::Ok, "{summary:?}");
    expected::assert_resource_equals(&world, "sessions", "with a longer lookback").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_file_that_a_killed_run_had_not_renamed_yet_is_removed() {
    let world = expected::fixed_clock_world(|config| config.users = 20).await;
    let staged = world.path().join("_staged");
    std::fs::create_dir_all(&staged).expect("a directory");
    let unnamed = File::create(staged.join("deadrun.new")).expect("a file");
    unnamed.set_modified(UNIX_EPOCH + Duration::from_hours(400_000)).expect("a time");
    drop(unnamed);
    assert_eq!(world.sync().await.status, Status::Ok);
    expected::assert_nothing_staged(&world, "after a sync");
}
