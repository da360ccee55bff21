//! Syncs find deleted users by probing the ranks of a few others. If that does not work, they read all users.

use std::time::Duration;

use clerk_lake::simulator::{ChangeKind, Changes, FaultKind, Faults, SimulatorConfig};
use clerk_lake::sync::{Extent, Status, Summary};

use crate::incremental::{assert_table, sync_ok};
use crate::support::{World, expected, sample_step};

/// Twelve pages: just enough users for probing to be cheaper than reading all.
const USERS: usize = 6_000;

/// Enough users for probing to be much cheaper than reading all.
const MANY_USERS: usize = 20_000;

async fn synced(change: impl FnOnce(&mut SimulatorConfig)) -> World {
    let mut world = expected::fixed_clock_world(|config| {
        config.users = USERS;
        config.organizations = 2;
        change(config);
    })
    .await;
    world.options.extent = Extent::Changes;
    world.options.resources = vec![crate::support::named("users")];
    sync_ok(&world, "first").await;
    world
}

fn delete(world: &World, users: usize) {
    world.simulator.with_model(|model| (0..users).for_each(|_| model.change(ChangeKind::DeleteUser)));
}

async fn assert_exact(world: &World, case: &str) {
    assert_table(world, "users", &expected::wanted(world, "users"), case).await;
}

fn requests(summary: &Summary) -> u64 {
    summary.resources[0].requests
}

#[tokio::test(flavor = "multi_thread")]
async fn a_few_deletions_are_found_without_a_full_scan() {
    let world = synced(|config| {
        config.users = MANY_USERS;
        config.offset_cost = Duration::from_micros(1);
    })
    .await;
    let quiet = requests(&sync_ok(&world, "quiet").await);
    for deleted in [1, 3] {
        let case = format!("{deleted} deleted");
        delete(&world, deleted);
        let summary = sync_ok(&world, &case).await;
        let users = &summary.resources[0];
        assert_eq!((users.mode, users.rows_deleted), ("incremental", deleted as u64), "{case}: {summary:?}");
        assert!(
            requests(&summary) <= quiet + 12 * deleted as u64,
            "{case}: {} requests, but only {quiet} if nothing changes",
            users.requests
        );
        assert_exact(&world, &case).await;
    }
    // Deletions are also found among other changes, such as an import of users with old creation times.
    world.simulator.with_model(|model| {
        let kinds = [ChangeKind::ImportUser, ChangeKind::CreateUser, ChangeKind::DeleteUser, ChangeKind::Ban];
        for kind in kinds {
            model.change(kind);
        }
    });
    let summary = sync_ok(&world, "all at once").await;
    assert_eq!(summary.resources[0].mode, "incremental", "{summary:?}");
    assert_exact(&world, "all at once").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_deletions_are_found_by_a_full_scan() {
    let world = synced(|_| ()).await;
    delete(&world, 60);
    let summary = sync_ok(&world, "many").await;
    assert_eq!((summary.resources[0].mode, summary.resources[0].rows_deleted), ("full", 60), "{summary:?}");
    assert_exact(&world, "many").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn if_deep_offsets_time_out_probes_use_smaller_offsets_or_all_users_are_read() {
    for (users, limit, mode) in [(MANY_USERS, 6_000, "incremental"), (USERS, 100, "full")] {
        let world = synced(|config| (config.users, config.offset_limit) = (users, Some(limit))).await;
        delete(&world, 1);
        let summary = sync_ok(&world, mode).await;
        assert_eq!(summary.resources[0].mode, mode, "{summary:?}");
        assert_exact(&world, mode).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deletions_are_found_if_the_server_ignores_filters_or_clamps_pages() {
    let configure: [fn(&mut SimulatorConfig); 2] =
        [|config| config.creation_filters = false, |config| config.clamp = Some(1)];
    for (number, configure) in configure.into_iter().enumerate() {
        let world = synced(|_| ()).await;
        delete(&world, 1);
        world.simulator.set(configure);
        let probes = world.sync().await;
        if number == 0 {
            assert_eq!((probes.status, probes.resources[0].mode), (Status::Ok, "full"), "{probes:?}");
            assert_exact(&world, "full scan").await;
        }
        world.simulator.set(|config| (config.creation_filters, config.clamp) = (true, None));
        sync_ok(&world, "afterwards").await;
        assert_exact(&world, "afterwards").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_changes_and_faults_between_probes_the_next_quiet_sync_is_exact() {
    let kinds = vec![
        ChangeKind::DeleteUser,
        ChangeKind::ImportUser,
        ChangeKind::CreateUser,
        ChangeKind::Ban,
        ChangeKind::Activity,
    ];
    let world = synced(|_| ()).await;
    for round in 0..6 / sample_step(2) {
        let case = format!("round {round}");
        delete(&world, 2);
        let changes = Changes { every: 1 + round % 3, per_step: 1, kinds: kinds.clone(), most: None };
        world.simulator.set(|config| config.changes = Some(changes));
        let faults = Faults::every(7, [FaultKind::ServerError, FaultKind::CutBody]);
        world.simulator.set(|config| config.faults = faults);
        let summary = world.sync().await;
        world.simulator.set(|config| (config.changes, config.faults) = (None, Faults::default()));
        // A sync may only delete rows that Clerk no longer has.
        let stored = expected::stored(&world, "users").await;
        let wanted = expected::wanted(&world, "users");
        let is_lost = |id: &&String| wanted.contains_key(*id) && !stored.contains_key(*id);
        let lost = wanted.keys().filter(is_lost).count() as u64;
        assert!(lost <= 400, "{case}: {lost} users are missing after {summary:?}");
        sync_ok(&world, &case).await;
        assert_exact(&world, &case).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rolling_verification_finds_deletions_in_the_verified_slice() {
    let mut world = synced(|config| config.users = 400).await;
    world.options.verify_every = chrono::TimeDelta::days(7);
    delete(&world, 5);
    let summary = sync_ok(&world, "a slice").await;
    assert_eq!((summary.resources[0].mode, summary.resources[0].rows_deleted), ("incremental", 5), "{summary:?}");
    assert_exact(&world, "a slice").await;
}
