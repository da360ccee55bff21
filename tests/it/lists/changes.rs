//! After any changes, a sync makes the tables equal to the instance, and writes only the rows that have changed.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use clerk_lake::resource::{Reading, Resource};
use clerk_lake::simulator::{ChangeKind, List, Model};
use clerk_lake::sync::Extent;

use super::{
    IN_TURNS, ROWS, an_hour_later, assert_exact, counts_between, data_files, list_of, listed, optional, stored,
    sync_ok, synced, wanted, world, written,
};
use crate::incremental::{HOUR, change, set_clock};
use crate::support::expected::{NOW, Rows};
use crate::support::{World, named};

/// Syncs all lists, those that are read in turns completely. Asserts that every table is exact, and that exactly the
/// rows that differ from `before` were written.
async fn sync_exactly(world: &mut World, before: &BTreeMap<&'static str, Rows>, case: &str) {
    let after = wanted(world);
    for (extent, is_selected) in [(Extent::Changes, false), (Extent::Full, true)] {
        world.options.extent = extent;
        world.options.resources = listed();
        world.options.resources.retain(|it| (it.name == IN_TURNS) == is_selected);
        for resource in sync_ok(world, case).await.resources {
            let name = resource.name.as_str();
            assert_eq!(written(&resource), counts_between(&before[name], &after[name]), "{case}: {name}");
        }
    }
    world.options.extent = Extent::Changes;
    world.options.resources = listed();
    assert_exact(world, case).await;
}

/// The most requests of a quiet sync of this resource: its pages and three more.
fn most_requests(world: &World, resource: &Resource) -> u64 {
    let pages = match resource.reading {
        Reading::Offset(list) => list.queries().len(),
        Reading::PerParent(_) => {
            let statements = world.simulator.listed(List::BillingStatements);
            statements.iter().filter(|row| row["status"] != "closed").count()
        }
        _ => 1,
    };
    pages as u64 + 3
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_sync_equals_the_instance_and_a_quiet_sync_writes_nothing() {
    let world = world(|_| ()).await;
    let first = sync_ok(&world, "first").await;
    for (summary, resource) in first.resources.iter().zip(listed()) {
        let rows = world.simulator.listed(list_of(resource)).len() as u64;
        assert!(rows > 1 || list_of(resource) == List::Instance, "{} has {rows} rows", resource.name);
        assert_eq!((summary.rows_read, written(summary)), (rows, [rows, 0, 0]), "{}", resource.name);
    }
    assert_exact(&world, "first").await;
    let before: Vec<_> = listed().into_iter().map(|resource| data_files(&world, resource)).collect();
    an_hour_later(&world, |_| ());
    let quiet = sync_ok(&world, "quiet").await;
    for ((summary, resource), files) in quiet.resources.iter().zip(listed()).zip(before) {
        let name = resource.name;
        assert_eq!(written(summary), [0, 0, 0], "{name}");
        assert_eq!(data_files(&world, resource), files, "{name}: data files");
        let most = most_requests(&world, resource);
        assert!(summary.requests <= most, "{name}: {} requests, expected up to {most}", summary.requests);
    }
    assert_exact(&world, "quiet").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_incremental_sync_after_changes_of_every_kind_equals_the_instance() {
    for seed in [1, 2] {
        let mut world = synced(|config| config.seed = seed).await;
        for round in 1..=2 {
            let before = wanted(&world);
            an_hour_later(&world, |model| {
                change(model, &ChangeKind::ALL, 3);
                // These change one of twelve lists at random.
                change(model, &[ChangeKind::AddSetting, ChangeKind::ChangeSetting, ChangeKind::RemoveSetting], 20);
            });
            let after = wanted(&world);
            let unchanged: Vec<_> = before.keys().filter(|name| before[*name] == after[*name]).collect();
            assert_eq!(unchanged, [&"instance"], "seed {seed}, round {round}: lists that have not changed");
            sync_exactly(&mut world, &before, &format!("seed {seed}, round {round}")).await;
        }
    }
}

/// Changes one field of a row that no other row depends on.
fn rename(model: &mut Model, list: List, id: &str) {
    match list {
        List::Organizations => model.rename_organization(id),
        List::Memberships => model.set_role(id, "org:renamed"),
        _ => {
            let row = model.rows_mut(list).get_mut(id).expect("a row");
            let names = ["name", "email_address", "identifier", "description", "status"];
            let name = names.into_iter().find(|name| row.fields.contains_key(*name)).expect("a field to change");
            row.set(name, "Renamed");
        }
    }
}

fn remove(model: &mut Model, list: List, id: &str) {
    match list {
        List::Organizations => model.delete_organization(id),
        List::Memberships => model.remove_member(id),
        _ => {
            model.remove_row(list, id);
        }
    }
}

/// Returns the ids of a list.
fn ids(world: &World, list: List) -> Vec<String> {
    world.simulator.listed(list).iter().map(|row| row["id"].as_str().expect("an id").to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_row_is_updated_in_place() {
    let mut world = synced(|_| ()).await;
    let before = wanted(&world);
    an_hour_later(&world, |_| ());
    world.simulator.set(|config| config.environment_type = "development".to_owned());
    for resource in optional() {
        let list = list_of(resource);
        let id = ids(&world, list).swap_remove(1);
        world.simulator.with_model(|model| rename(model, list, &id));
    }
    let after = wanted(&world);
    for resource in listed() {
        let [inserted, updated, deleted] = counts_between(&before[resource.name], &after[resource.name]);
        assert!(updated > 0 && inserted + deleted == 0, "{}: {updated} rows changed", resource.name);
    }
    sync_exactly(&mut world, &before, "renamed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_rows_are_found_up_to_the_last_one() {
    let mut world = synced(|_| ()).await;
    // Rows that belong to others are deleted first.
    for (case, keep) in [("the first and a middle row", ROWS - 2), ("all rows", 0)] {
        let before = wanted(&world);
        an_hour_later(&world, |_| ());
        for resource in optional().into_iter().rev() {
            let list = list_of(resource);
            let mut deleted = ids(&world, list);
            if keep > 0 {
                deleted = vec![deleted.swap_remove(deleted.len() / 2), deleted.swap_remove(0)];
            }
            world.simulator.with_model(|model| deleted.iter().for_each(|id| remove(model, list, id)));
        }
        let after = wanted(&world);
        for resource in optional() {
            let [_, _, deleted] = counts_between(&before[resource.name], &after[resource.name]);
            assert!(deleted > 0, "{case}: nothing was deleted from {}", resource.name);
            assert_eq!(after[resource.name].is_empty(), keep == 0, "{case}: {}", resource.name);
        }
        sync_exactly(&mut world, &before, case).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_of_settled_parents_are_read_in_turns() {
    let mut world = world(|_| ()).await;
    world.options.resources = ["billing_statements", IN_TURNS].map(named).to_vec();
    world.options.verify_every = TimeDelta::days(7);
    sync_ok(&world, "first").await;
    // The payment attempts of closed statements change, but no statement does.
    let list = List::PaymentAttempts;
    for id in ids(&world, list) {
        world.simulator.with_model(|model| rename(model, list, &id));
    }
    let mut stale = Vec::new();
    for day in 0..=7 {
        set_clock(&world, NOW + HOUR + day * 24 * HOUR);
        sync_ok(&world, "in turns").await;
        let rows = stored(&world, named(IN_TURNS)).await;
        assert_eq!(rows.len(), ROWS, "day {day}: rows were lost or doubled");
        stale.push(rows.values().filter(|row| row["status"] != "Renamed").count());
    }
    assert!(stale[0] > 0 && stale.is_sorted_by(|a, b| a >= b), "{stale:?}");
    assert_eq!(stale[7], 0, "{stale:?}");
}
