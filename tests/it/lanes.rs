//! Reading users in several lanes returns the same rows as reading them in one lane.

use std::time::Duration;

use clerk_lake::api::Lanes;
use clerk_lake::simulator::model::DAY;
use clerk_lake::simulator::{ChangeKind, Changes, FaultKind, Faults, SimulatorConfig};
use clerk_lake::sync::{Extent, Status};

use crate::parquet_readers::drop_at;
use crate::support::{World, expected, named};

async fn world(lanes: usize, change: impl FnOnce(&mut SimulatorConfig)) -> World {
    let mut world = expected::fixed_clock_world(|config| {
        config.users = 4_000;
        config.organizations = 0;
        config.clamp = Some(50);
        change(config);
    })
    .await;
    world.options.lanes = Lanes::Fixed(lanes);
    world.options.resources = vec![named("users")];
    world
}

/// A distribution of creation times: its name, and the time of the n-th user relative to a start, in milliseconds.
type Distribution = (&'static str, fn(i64) -> i64);

/// Returns how many different ranges of creation times were requested.
fn requested_ranges(world: &World) -> usize {
    let requests = world.simulator.requests();
    let starts = requests.iter().filter_map(|request| {
        request.query.iter().find(|(name, _)| name == "created_at_after").map(|(_, value)| value.clone())
    });
    starts.collect::<std::collections::BTreeSet<_>>().len()
}

/// Changes the creation times of all users.
fn set_creation_times(world: &World, created_at: impl Fn(i64) -> i64) {
    world.simulator.with_model(|model| {
        let users: Vec<_> = model.users.iter().cloned().collect();
        for (number, mut user) in (0..).zip(users) {
            model.users.remove(&user.id);
            user.created_at = created_at(number);
            model.users.insert(user.created_at, &user.id.clone(), user);
        }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn any_number_of_lanes_reads_the_same_rows() {
    for lanes in [1, 2, 7, 16] {
        let world = world(lanes, |_| ()).await;
        let summary = world.sync_only(&["users"]).await;
        assert_eq!(summary.status, Status::Ok, "{lanes} lanes: {summary:?}");
        assert_eq!(summary.resources[0].rows_read, 4_000, "{lanes} lanes");
        expected::assert_resource_equals(&world, "users", &format!("{lanes} lanes")).await;
        assert_eq!(
            requested_ranges(&world) > 0,
            lanes > 1,
            "{lanes} lanes requested {} ranges",
            requested_ranges(&world)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn users_created_within_a_day_or_a_millisecond_are_all_stored_once() {
    let start = expected::NOW - 100 * DAY;
    let distributions: [Distribution; 4] = [
        ("one millisecond", |_| 0),
        ("two milliseconds", |number| number % 2),
        ("one second", |number| number / 4),
        ("one day, and a few before", |number| if number < 10 { -1000 * DAY } else { number * 20_000 }),
    ];
    for (case, distribution) in distributions {
        let world = world(8, |config| config.users = 3_000).await;
        set_creation_times(&world, |number| start + distribution(number));
        assert_eq!(world.sync_only(&["users"]).await.status, Status::Ok, "{case}");
        expected::assert_resource_equals(&world, "users", case).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lanes_lose_and_duplicate_no_user_while_users_are_created_and_deleted() {
    let kinds = [ChangeKind::CreateUser, ChangeKind::DeleteUser, ChangeKind::UpdateProfile];
    let mut world = world(8, |config| {
        config.changes = Some(Changes { every: 1, per_step: 2, kinds: kinds.to_vec(), most: Some(150) });
    })
    .await;
    let before = expected::wanted(&world, "users");
    let summary = world.sync_only(&["users"]).await;
    assert_eq!(summary.status, Status::Ok, "{summary:?}");
    let stored = expected::stored(&world, "users").await;
    for id in expected::wanted(&world, "users").keys().filter(|id| before.contains_key(*id)) {
        assert!(stored.contains_key(id), "{id} existed during the whole sync but is missing");
    }
    world.simulator.set(|config| config.changes = None);
    world.options.extent = Extent::Changes;
    assert_eq!(world.sync_only(&["users"]).await.status, Status::Ok);
    expected::assert_resource_equals(&world, "users", "quiet again").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_in_lanes_lose_no_row() {
    let kinds = [FaultKind::ServerError, FaultKind::CutBody, FaultKind::Reset, FaultKind::ClampedPage];
    let world = world(8, |config| config.faults = Faults::every(5, kinds)).await;
    let summary = world.sync_only(&["users"]).await;
    assert_eq!(summary.status, Status::Ok, "{summary:?}");
    expected::assert_resource_equals(&world, "users", "faults").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_ignores_the_filters_is_read_in_one_lane() {
    let world = world(8, |config| config.creation_filters = false).await;
    let summary = world.sync_only(&["users"]).await;
    assert_eq!(summary.status, Status::Ok, "{summary:?}");
    expected::assert_resource_equals(&world, "users", "no filters").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lanes_resume_after_a_crash() {
    let world = world(8, |config| config.users = 12_000).await;
    drop_at(&world, "users", 9_000).await;
    world.simulator.clear_requests();
    let summary = world.sync_only(&["users"]).await;
    assert_eq!(summary.status, Status::Ok, "{summary:?}");
    expected::assert_resource_equals(&world, "users", "after a crash").await;
    expected::assert_nothing_staged(&world, "after a crash");
    let pages = world.simulator.request_count();
    assert!(pages < 200, "{pages} requests for the remainder of 240 pages");
}

#[tokio::test(flavor = "multi_thread")]
async fn lanes_are_not_used_if_the_filter_makes_the_server_slow() {
    let mut world = world(1, |config| {
        config.latency = Duration::from_millis(5);
        // With this latency, the test would time out if it requested the ranges of several lanes.
        config.filter_latency = Duration::from_hours(1);
    })
    .await;
    world.options.lanes = Lanes::Automatic;
    let summary = world.sync_only(&["users"]).await;
    assert_eq!(summary.status, Status::Ok, "{summary:?}");
    assert_eq!(summary.resources[0].rows_total, 4_000);
    expected::assert_resource_equals(&world, "users", "one lane").await;
}

/// Returns a world with 1,000 organizations that are listed in pages of 50 by several lanes.
async fn organizations(lanes: usize, change: impl FnOnce(&mut SimulatorConfig)) -> World {
    let mut world = world(lanes, |config| {
        config.organizations = 1_000;
        change(config);
    })
    .await;
    world.options.resources = vec![named("organizations")];
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_by_offset_needs_no_more_requests_in_several_lanes() {
    let mut requests = Vec::new();
    for lanes in [1, 4, 16] {
        let world = organizations(lanes, |config| config.latency = Duration::from_millis(20)).await;
        let summary = world.sync().await;
        assert_eq!((summary.status, summary.resources[0].rows_read), (Status::Ok, 1_000), "{lanes} lanes: {summary:?}");
        expected::assert_resource_equals(&world, "organizations", &format!("{lanes} lanes")).await;
        requests.push(summary.resources[0].requests);
    }
    assert_eq!(requests, [21; 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_by_offset_that_shrinks_while_it_is_read_loses_no_other_row() {
    for lanes in [1, 4, 16] {
        let world = organizations(lanes, |config| {
            let kinds = vec![ChangeKind::DeleteOrganization, ChangeKind::CreateOrganization];
            config.changes = Some(Changes { every: 1, per_step: 3, kinds, most: Some(40) });
            config.latency = Duration::from_millis(5);
        })
        .await;
        let before = expected::wanted(&world, "organizations");
        let summary = world.sync().await;
        assert_eq!(summary.status, Status::Ok, "{lanes} lanes: {summary:?}");
        let (stored, after) =
            (expected::stored(&world, "organizations").await, expected::wanted(&world, "organizations"));
        let lost: Vec<_> = before.keys().filter(|id| after.contains_key(*id) && !stored.contains_key(*id)).collect();
        assert!(lost.is_empty(), "{lanes} lanes lost {lost:?}");
        assert!(before.len() > after.len() - 40 && before != after, "nothing changed");
    }
}
