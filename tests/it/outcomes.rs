//! Situations in which a table must stay correct: edits and imports while a list is read, wrong responses, keys and
//! instances that change, and rows that appear and disappear.

use std::sync::Arc;

use chrono::TimeDelta;
use clerk_lake::ErrorKind;
use clerk_lake::api::{Client, ClientConfig, SecretKey, parse_api_url};
use clerk_lake::lake::{Lake, Location};
use clerk_lake::simulator::{ChangeKind, Changes, Corruption, FaultKind, Faults};
use clerk_lake::sync::{
    CancellationToken, Extent, Progress, ResourceStatus, ResourceSummary, Status, Summary, SyncOptions,
};
use serde_json::json;
use tokio::runtime::Handle;

use crate::faults::{OnPage, impatient, sync_watched};
use crate::incremental::{HOUR, set_clock, sync_ok, synced};
use crate::support::expected::{self, NOW};
use crate::support::stub::{Stub, StubResponse};
use crate::support::{World, named};

/// Returns an instance with this number of users in pages of 100, and a lake with incremental syncs.
async fn users_in_pages(users: usize) -> World {
    let mut world = expected::fixed_clock_world(|config| {
        config.users = users;
        config.organizations = 0;
        config.clamp = Some(100);
    })
    .await;
    world.options.extent = Extent::Changes;
    world.options.resources = vec![named("users")];
    world
}

/// Syncs with a client that does not retry, and with this progress.
async fn sync_with_progress(world: &World, progress: Arc<dyn Progress>) -> Summary {
    let (client, lake, options) = (impatient(world), world.lake(), world.options.clone());
    let (clock, stop) = (world.clock(), CancellationToken::new());
    clerk_lake::sync::SyncJob { client, lake, clock, options, progress, stop }.run().await
}

/// Runs a first sync of 3,000 users that loses the network and keeps the pages that it has read.
async fn interrupt(world: &World) {
    world.simulator.set_faults(Faults::every(24, [FaultKind::ServerError]).on("/v1/users"));
    let failed = world.sync_with(impatient(world), world.lake(), world.options.clone()).await;
    assert_eq!(failed.worst().map(clerk_lake::Error::kind), Some(ErrorKind::Unreachable), "{failed:?}");
    assert!(world.path().join("_staged").exists(), "no staged rows were kept");
    world.simulator.set_faults(Faults::default());
}

/// Returns the number of requests for pages of users so far.
fn page_requests(world: &World) -> usize {
    world.simulator.requests().iter().filter(|request| request.path == "/v1/users").count()
}

#[tokio::test(flavor = "multi_thread")]
async fn users_edited_at_the_same_time_are_all_synced_in_any_list_order() {
    let world = synced(|config| {
        config.users = 1500;
        config.organizations = 3;
        config.clamp = Some(100);
        config.unstable_ties = true;
    })
    .await;
    for (round, edited) in [(1, 120), (2, 450), (3, 700)] {
        set_clock(&world, NOW + round * HOUR);
        world.simulator.with_model(|model| {
            let ids: Vec<String> = model.users.iter().step_by(2).take(edited).map(|user| user.id.clone()).collect();
            for id in &ids {
                model.update_profile(id);
            }
        });
        sync_ok(&world, &format!("{edited} edits")).await;
        expected::assert_resource_equals(&world, "users", &format!("{edited} edits")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn users_edited_at_the_same_time_need_no_full_sync_if_their_order_is_stable() {
    let world = synced(|config| {
        config.users = 1500;
        config.clamp = Some(100);
    })
    .await;
    set_clock(&world, NOW + HOUR);
    world.simulator.with_model(|model| {
        let ids: Vec<String> = model.users.iter().take(450).map(|user| user.id.clone()).collect();
        for id in &ids {
            model.update_profile(id);
        }
    });
    let summary = sync_ok(&world, "450 edits").await;
    assert_eq!(summary.resources[0].mode, "incremental");
    expected::assert_resource_equals(&world, "users", "450 edits").await;
}

/// Imports users that were created in the past, before each list request.
fn import_before_lists(world: &World, per_step: usize) {
    let changes = Changes { every: 1, per_step, kinds: vec![ChangeKind::ImportUser], most: None };
    world.simulator.set(|config| config.changes = Some(changes));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_sync_succeeds_while_users_are_imported() {
    let world = users_in_pages(1500).await;
    import_before_lists(&world, 4);
    let before = expected::wanted(&world, "users");
    sync_ok(&world, "during an import").await;
    let stored = expected::stored(&world, "users").await;
    assert!(before.keys().all(|id| stored.contains_key(id)), "users who existed before the sync are missing");
    world.simulator.set(|config| config.changes = None);
    sync_ok(&world, "after the import").await;
    expected::assert_resource_equals(&world, "users", "after the import").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incremental_sync_stays_incremental_while_users_are_imported() {
    let world = users_in_pages(1500).await;
    sync_ok(&world, "first").await;
    import_before_lists(&world, 3);
    for round in 1..=3 {
        set_clock(&world, NOW + round * HOUR);
        let summary = sync_ok(&world, "during an import").await;
        assert_eq!(summary.resources[0].mode, "incremental", "round {round}");
    }
    world.simulator.set(|config| config.changes = None);
    set_clock(&world, NOW + 4 * HOUR);
    sync_ok(&world, "after the import").await;
    expected::assert_resource_equals(&world, "users", "after the import").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_during_an_import_is_found_by_the_first_sync_after_it() {
    let world = users_in_pages(500).await;
    sync_ok(&world, "first").await;
    import_before_lists(&world, 3);
    set_clock(&world, NOW + HOUR);
    world.simulator.with_model(|model| model.change(ChangeKind::DeleteUser));
    sync_ok(&world, "during an import").await;
    world.simulator.set(|config| config.changes = None);
    set_clock(&world, NOW + 2 * HOUR);
    sync_ok(&world, "after the import").await;
    expected::assert_resource_equals(&world, "users", "after the import").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_becomes_readable_before_a_listing_is_resumed_counts_once() {
    let world = users_in_pages(3000).await;
    world.simulator.with_model(|model| {
        let ids: Vec<String> = model.users.iter().map(|user| user.id.clone()).collect();
        let odd: Vec<String> = (1..=30).map(|page| ids[page * 100 - 1].clone()).take(20).collect();
        model.corrupt.extend(odd.into_iter().map(|id| (id, Corruption::NoId)));
    });
    interrupt(&world).await;
    world.simulator.with_model(|model| model.corrupt.clear());
    let summary = sync_ok(&world, "resumed").await;
    assert_eq!(summary.resources[0].rows_total, 3000, "{summary:?}");
    expected::assert_resource_equals(&world, "users", "resumed").await;
    set_clock(&world, NOW + HOUR);
    assert_eq!(sync_ok(&world, "next").await.resources[0].mode, "incremental");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_is_not_resumed_with_another_key() {
    let world = users_in_pages(3000).await;
    world.simulator.set(|config| config.instance_status = Some(403));
    interrupt(&world).await;
    let other = "sk_live_an0th3rK3y";
    world.simulator.set(|config| config.key = other.to_owned());
    world.simulator.clear_requests();
    let config = ClientConfig { key: SecretKey::new(other).expect("a key"), ..world.client_config() };
    let client = Client::new(config).expect("a client");
    let summary = world.sync_with(client, world.lake(), world.options.clone()).await;
    assert_eq!(summary.status, Status::Ok, "{summary:?}");
    assert_eq!(summary.resources[0].rows_read, 3000);
    assert!(page_requests(&world) >= 30, "{} pages were read", page_requests(&world));
}

#[tokio::test(flavor = "multi_thread")]
async fn up_to_fifty_rows_can_always_be_deleted_and_more_need_permission() {
    for (before, deleted, expected) in [(3, 2, Status::Ok), (60, 50, Status::Ok), (60, 51, Status::Failed)] {
        let world = users_in_pages(before).await;
        sync_ok(&world, "first").await;
        set_clock(&world, NOW + HOUR);
        world.simulator.with_model(|model| (0..deleted).for_each(|_| model.change(ChangeKind::DeleteUser)));
        let summary = world.sync().await;
        assert_eq!(summary.status, expected, "{deleted} of {before}: {summary:?}");
        let kind = summary.worst().map(clerk_lake::Error::kind);
        assert_eq!(kind, (expected == Status::Failed).then_some(ErrorKind::Answer));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_listing_is_committed_without_reading_again_once_allowed() {
    let world = users_in_pages(3000).await;
    sync_ok(&world, "first").await;
    set_clock(&world, NOW + HOUR);
    world.simulator.with_model(|model| (0..900).for_each(|_| model.change(ChangeKind::DeleteUser)));
    assert_eq!(world.sync().await.worst().map(clerk_lake::Error::kind), Some(ErrorKind::Answer));
    // A run that is not allowed to commit it reads again, because the users may exist again.
    world.simulator.clear_requests();
    assert_eq!(world.sync().await.worst().map(clerk_lake::Error::kind), Some(ErrorKind::Answer));
    assert!(page_requests(&world) > 20, "{} pages were read", page_requests(&world));
    set_clock(&world, NOW + 2 * HOUR);
    world.simulator.with_model(|model| (0..5).for_each(|_| model.change(ChangeKind::UpdateProfile)));
    world.simulator.clear_requests();
    let options = SyncOptions { max_shrink: 1.0, ..world.options.clone() };
    let summary = world.sync_with(world.client(), world.lake(), options).await;
    assert_eq!(summary.status, Status::Ok, "{summary:?}");
    assert!(page_requests(&world) < 10, "{} pages were read", page_requests(&world));
    expected::assert_resource_equals(&world, "users", "allowed").await;
    expected::assert_nothing_staged(&world, "allowed");
}

#[tokio::test(flavor = "multi_thread")]
async fn first_runs_of_two_instances_do_not_share_a_lake() {
    let one = users_in_pages(300).await;
    let other = World::with(|config| {
        config.users = 20;
        "ins_other".clone_into(&mut config.instance_id);
    })
    .await;
    let other = Arc::new(other);
    let lake = one.lake();
    let (handle, inner) = (Handle::current(), Arc::clone(&other));
    let started = std::sync::Once::new();
    let progress = OnPage(move |_: &str, _: u64| {
        started.call_once(|| {
            let (handle, other, lake) = (handle.clone(), Arc::clone(&inner), lake.clone());
            let sync = std::thread::spawn(move || {
                let resources = vec![named("organizations")];
                let options = SyncOptions { resources, ..other.options.clone() };
                handle.block_on(other.sync_with(other.client(), lake, options))
            });
            assert_eq!(sync.join().expect("the other run ends").status, Status::Ok);
        });
    });
    let summary = tokio::task::block_in_place(|| Handle::current().block_on(sync_watched(&one, Arc::new(progress))));
    assert_eq!(summary.worst().map(clerk_lake::Error::kind), Some(ErrorKind::Settings), "{summary:?}");
    assert!(!one.path().join("clerk_user").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_claims_to_a_lake_one_succeeds() {
    let directory = tempfile::tempdir().expect("a directory");
    let place = Location::parse(&directory.path().to_string_lossy()).expect("a location");
    let lake = Lake::new(place);
    let claims = ["ins_one", "ins_other"].map(|instance| {
        let lake = lake.clone();
        tokio::spawn(async move { lake.claim(instance).await })
    });
    let mut held = 0;
    for claim in claims {
        match claim.await.expect("a claim") {
            Ok(()) => held += 1,
            Err(error) => assert_eq!(error.kind(), ErrorKind::Settings, "{error}"),
        }
    }
    assert_eq!(held, 1);
}

/// Returns a world whose sessions can only be listed by user, after its first sync and an hour with activity.
async fn sessions_by_user() -> World {
    let world = synced(|config| {
        config.users = 60;
        config.plain_session_listing = false;
    })
    .await;
    set_clock(&world, NOW + HOUR);
    world.simulator.with_model(|model| (0..5).for_each(|_| model.change(ChangeKind::Activity)));
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_for_the_sessions_of_a_user_is_not_an_empty_list() {
    for kind in FaultKind::FINAL {
        let world = sessions_by_user().await;
        world.simulator.set_faults(Faults::always(kind).on("/v1/sessions"));
        let summary = world.sync_with(impatient(&world), world.lake(), world.options.clone()).await;
        let sessions = summary.resources.iter().find(|resource| resource.name == "sessions").expect("sessions");
        assert_eq!(sessions.status, ResourceStatus::Failed, "{kind}: {sessions:?}");
        world.simulator.set_faults(Faults::default());
        set_clock(&world, NOW + 2 * HOUR);
        sync_ok(&world, &kind.to_string()).await;
        expected::assert_resource_equals(&world, "sessions", &kind.to_string()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_of_clerk_is_not_reported_as_a_conflict() {
    let world = Arc::new(users_in_pages(500).await);
    sync_ok(&world, "first").await;
    set_clock(&world, NOW + HOUR);
    world.simulator.with_model(|model| (0..5).for_each(|_| model.change(ChangeKind::UpdateProfile)));
    let (handle, inner) = (Handle::current(), Arc::clone(&world));
    let started = std::sync::Once::new();
    let progress = OnPage(move |_: &str, _: u64| {
        started.call_once(|| {
            let (handle, world) = (handle.clone(), Arc::clone(&inner));
            let sync = std::thread::spawn(move || handle.block_on(world.sync()));
            assert_eq!(sync.join().expect("the other run ends").status, Status::Ok);
            inner.simulator.set_faults(Faults::always(FaultKind::Reset));
        });
    });
    let sync = sync_with_progress(&world, Arc::new(progress));
    let summary = tokio::task::block_in_place(|| Handle::current().block_on(sync));
    assert_eq!(summary.worst().map(clerk_lake::Error::kind), Some(ErrorKind::Unreachable), "{summary:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_summary_of_a_failed_run_includes_its_commits() {
    /// Makes Clerk fail when the list of changes starts. That list has no expected number of rows.
    struct FailAtChanges(Arc<World>);
    impl Progress for FailAtChanges {
        fn started(&self, _: &str, expected: Option<u64>) {
            if expected.is_none() {
                self.0.simulator.set_faults(Faults::always(FaultKind::Reset).on("/v1/users"));
            }
        }
        fn advanced(&self, _: &str, _: u64) {}
        fn finished(&self, _: &ResourceSummary) {}
        fn note(&self, _: &str) {}
        fn warn(&self, _: &str) {}
    }
    let world = Arc::new(users_in_pages(3000).await);
    interrupt(&world).await;
    // The resumed run commits the listing. Then it fails to read the changes since the listing began.
    let progress = Arc::new(FailAtChanges(Arc::clone(&world)));
    let summary = sync_with_progress(&world, progress).await;
    world.simulator.set_faults(Faults::default());
    let users = &summary.resources[0];
    let stored = expected::stored(&world, "users").await.len() as u64;
    assert_eq!(users.status, ResourceStatus::Failed, "{users:?}");
    assert_eq!((stored, users.rows_inserted), (3000, 3000), "{users:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rolling_verification_finds_a_change_that_no_list_shows() {
    let mut world = users_in_pages(450).await;
    world.options.verify_every = TimeDelta::days(7);
    sync_ok(&world, "first").await;
    // Pages have 100 users, so five syncs verify all of them.
    for round in 1..=5 {
        set_clock(&world, NOW + round * HOUR);
        if round == 1 {
            world.simulator.with_model(|model| {
                let ids: Vec<String> = model.users.iter().step_by(45).map(|user| user.id.clone()).collect();
                for id in &ids {
                    let user = model.users.get_mut(id).expect("a user");
                    user.locked = !user.locked;
                }
            });
        }
        let summary = sync_ok(&world, "verifying").await;
        assert_eq!(summary.resources[0].mode, "incremental");
    }
    expected::assert_resource_equals(&world, "users", "after five syncs").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_null_instead_of_a_list_deletes_nothing() {
    let world = expected::fixed_clock_world(|config| {
        config.users = 5;
        config.organizations = 9;
    })
    .await;
    assert_eq!(world.sync().await.status, Status::Ok);
    let stub = Stub::start(|request| match request.path.as_str() {
        "/v1/instance" => StubResponse::json(200, &json!({"object": "instance", "id": "ins_simulated"})),
        _ => StubResponse::json(200, &json!({"data": null, "total_count": 0})),
    })
    .await;
    let api_url = parse_api_url(&stub.url()).expect("a URL");
    let client = Client::new(ClientConfig { api_url, ..world.client_config() }).expect("a client");
    let options = SyncOptions { resources: vec![named("organizations")], ..world.options.clone() };
    let summary = world.sync_with(client, world.lake(), options).await;
    assert_eq!(summary.worst().map(clerk_lake::Error::kind), Some(ErrorKind::Answer), "{summary:?}");
    assert_eq!(world.number("SELECT count(*) FROM clerk_organization").await, 9);
}
