//! Faults of the network and of Clerk, and lists that change while they are read: no row is lost or doubled.

use std::time::Duration;

use clerk_lake::simulator::{ChangeKind, Changes, FaultKind, Faults, Model};
use clerk_lake::sync::{Extent, Status};

use super::{an_hour_later, assert_exact, list_of, listed, optional, small, stored, sync_ok, wanted, world};
use crate::incremental::change;
use crate::support::World;
use crate::support::expected;

/// Kinds of faults that cost no time.
const QUICK: [FaultKind; 9] = [
    FaultKind::ServerError,
    FaultKind::BadGatewayHtml,
    FaultKind::RequestTimeout,
    FaultKind::Reset,
    FaultKind::CutBody,
    FaultKind::MalformedJson,
    FaultKind::Html,
    FaultKind::ClampedPage,
    FaultKind::EmptyBody,
];

/// Kinds of faults that make the client wait.
const SLOW: [FaultKind; 3] = [FaultKind::TooManyRequests, FaultKind::Unavailable, FaultKind::StalledBody];

/// Makes a first sync and one after changes, both with these faults. Asserts that every table is exact each time.
async fn assert_exact_despite(faults: Faults) {
    let mut world = world(|config| config.clamp = Some(5)).await;
    world.options.extent = Extent::Full;
    for case in ["first", "after changes"] {
        world.simulator.clear_requests();
        world.simulator.set_faults(faults.clone());
        let summary = sync_ok(&world, case).await;
        world.simulator.set_faults(Faults::default());
        assert_exact(&world, case).await;
        for kind in &faults.kinds {
            let requests = world.simulator.requests();
            assert!(requests.iter().any(|request| request.fault == Some(*kind)), "{case}: {kind} did not occur");
        }
        assert!(summary.resources.iter().any(|resource| resource.retries > 0), "{case}: nothing was retried");
        an_hour_later(&world, |model| change(model, &ChangeKind::ALL, 2));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_list_is_exact_despite_faults() {
    assert_exact_despite(Faults::every(3, QUICK)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_list_is_exact_despite_throttling_and_stalled_bodies() {
    assert_exact_despite(Faults { limit: Some(3), ..Faults::every(5, SLOW) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_fails_leaves_its_table_and_stops_no_other() {
    let mut world = super::synced(|_| ()).await;
    let before = wanted(&world);
    an_hour_later(&world, |model| change(model, &ChangeKind::ALL, 2));
    world.options.extent = Extent::Full;
    world.simulator.set_faults(Faults::always(FaultKind::ServerError).on("/v1/organization"));
    let client = crate::faults::impatient(&world);
    let summary = Box::pin(world.sync_with(client, world.lake(), world.options.clone())).await;
    assert_eq!(summary.status, Status::Partial, "{summary:?}");
    let mut failed = 0;
    for (summary, resource) in summary.resources.iter().zip(listed()) {
        let stored = stored(&world, resource).await;
        let wanted = if summary.failure.is_none() { &wanted(&world) } else { &before };
        failed += usize::from(summary.failure.is_some());
        expected::assert_same(resource.name, &stored, &wanted[resource.name]);
    }
    assert_eq!(failed, 6, "{summary:?}");
    expected::assert_nothing_staged(&world, "after failures");
}

/// Gives each three rows of a list the same time of creation.
fn tie(model: &mut Model) {
    for resource in optional() {
        let list = list_of(resource);
        let rows: Vec<_> = model.rows(list).iter().cloned().collect();
        for three in rows.chunks(3) {
            let at = three[0].created_at;
            for row in three {
                let mut row = row.clone();
                row.created_at = at;
                for name in ["created_at", "timestamp"] {
                    if row.fields.contains_key(name) {
                        row.set(name, at);
                    }
                }
                model.insert_row(list, row);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_with_the_same_time_of_creation_are_neither_lost_nor_doubled_in_any_order() {
    let mut world = world(|config| {
        config.clamp = Some(7);
        config.unstable_ties = true;
    })
    .await;
    world.simulator.with_model(tie);
    world.options.extent = Extent::Full;
    for case in ["first", "second"] {
        sync_ok(&world, case).await;
        assert_exact(&world, case).await;
        an_hour_later(&world, |model| change(model, &ChangeKind::ALL, 1));
    }
}

/// Returns a world whose lists change before every request. Its clock runs, so that new rows are listed last.
async fn changing(clamp: usize, unstable_ties: bool) -> World {
    let mut world = World::with(|config| {
        small(config);
        config.clamp = Some(clamp);
        config.unstable_ties = unstable_ties;
        config.latency = Duration::from_millis(2);
        config.changes = Some(Changes { every: 1, per_step: 2, kinds: ChangeKind::ALL.to_vec(), most: Some(120) });
    })
    .await;
    world.options.resources = listed();
    world.options.extent = Extent::Full;
    world.options.max_shrink = 1.0;
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_that_change_while_they_are_read_lose_and_double_no_row() {
    for (clamp, unstable_ties) in [(5, false), (4, true)] {
        let case = format!("pages of {clamp}, unstable ties: {unstable_ties}");
        let world = changing(clamp, unstable_ties).await;
        let before = wanted(&world);
        sync_ok(&world, &case).await;
        let after = wanted(&world);
        assert!(before != after, "{case}: nothing has changed");
        for resource in listed() {
            let name = resource.name;
            let stored = stored(&world, resource).await;
            let lost: Vec<_> =
                before[name].keys().filter(|id| after[name].contains_key(*id) && !stored.contains_key(*id)).collect();
            assert!(lost.is_empty(), "{case}: {name} has lost {lost:?}");
        }
        world.simulator.set(|config| config.changes = None);
        sync_ok(&world, &case).await;
        assert_exact(&world, &case).await;
    }
}
