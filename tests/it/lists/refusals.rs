//! Lists that an instance does not have, and lists that a gateway refuses.

use clerk_lake::ErrorKind;
use clerk_lake::resource::Resource;
use clerk_lake::simulator::{ChangeKind, List, ListRefusal};
use clerk_lake::sync::{Extent, ResourceStatus, Status};

use super::{
    an_hour_later, assert_exact, list_of, listed, optional, stored, sync_ok, sync_warned, synced, wanted, world,
};
use crate::incremental::change;
use crate::support::expected::{self, assert_same};
use crate::support::{World, files, named, stderr, stdout};

/// Refuses the lists of these resources, and no others.
fn refuse(world: &World, resources: &[&'static Resource], refusal: ListRefusal) {
    let disabled = resources.iter().map(|resource| (list_of(resource), refusal)).collect();
    world.simulator.set(|config| config.disabled = disabled);
}

/// Returns all files of the tables of these resources.
fn tables(world: &World, resources: &[&'static Resource]) -> Vec<Vec<(std::path::PathBuf, Vec<u8>)>> {
    resources.iter().map(|resource| files(&world.path().join(resource.table.name))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_that_the_instance_does_not_have_are_skipped_and_their_tables_kept() {
    let mut world = synced(|_| ()).await;
    world.options.extent = Extent::Full;
    let ways = ListRefusal::OFF.len();
    for (number, refusal) in ListRefusal::OFF.into_iter().enumerate() {
        // Each way refuses other lists, and the last one all of them.
        let mut refused = optional();
        if number + 1 < ways {
            refused = refused.into_iter().skip(number).step_by(ways - 1).collect();
        }
        let before = tables(&world, &refused);
        an_hour_later(&world, |model| change(model, &[ChangeKind::JoinWaitlist, ChangeKind::AddSetting], 2));
        refuse(&world, &refused, refusal);
        let (summary, warnings) = sync_warned(&world, world.client(), world.options.clone()).await;
        assert_eq!((summary.status, warnings.len()), (Status::Ok, 1), "{refusal}: {warnings:?} {summary:?}");
        let (names, _) = warnings[0].split_once(" skipped, ").expect("the names of the lists");
        let mut warned: Vec<_> = names.split(", ").collect();
        warned.sort_unstable();
        let mut wanted: Vec<_> = refused.iter().map(|resource| resource.name).collect();
        wanted.sort_unstable();
        assert_eq!(warned, wanted, "{refusal}");
        for (summary, resource) in summary.resources.iter().zip(listed()) {
            let is_refused = refused.iter().any(|it| it.name == resource.name);
            let status = if is_refused { ResourceStatus::Skipped } else { ResourceStatus::Ok };
            assert_eq!(summary.status, status, "{refusal}: {summary:?}");
            assert_eq!(summary.error.is_some(), is_refused, "{refusal}: {summary:?}");
        }
        assert!(tables(&world, &refused) == before, "{refusal}: a table of a skipped list has changed");
        world.simulator.set(|config| config.disabled.clear());
    }
    an_hour_later(&world, |_| ());
    sync_ok(&world, "all lists are back").await;
    assert_exact(&world, "all lists are back").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_list_can_be_absent_in_each_way_from_a_new_lake() {
    for refusal in ListRefusal::OFF {
        let world = world(|config| {
            config.disabled = optional().into_iter().map(|it| (list_of(it), refusal)).collect();
        })
        .await;
        let (summary, warnings) = sync_warned(&world, world.client(), world.options.clone()).await;
        assert_eq!((summary.status, warnings.len()), (Status::Ok, 1), "{refusal}: {warnings:?} {summary:?}");
        for resource in optional() {
            assert!(!world.path().join(resource.table.name).exists(), "{refusal}: {} has a table", resource.name);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_succeeds_with_one_warning_if_lists_are_absent() {
    let world = world(|_| ()).await;
    refuse(&world, &optional(), ListRefusal::NotEnabled(403));
    let mut arguments = vec!["sync"];
    for resource in listed() {
        arguments.extend(["--resource", resource.name]);
    }
    let done = world.run(&arguments).await;
    let messages = stderr(&done);
    assert_eq!(done.status.code(), Some(0), "{messages}");
    assert_eq!(messages.matches("warning:").count(), 1, "{messages}");
    assert_eq!(stdout(&done).matches("skipped").count(), optional().len(), "{}", stdout(&done));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_a_gateway_refuses_is_a_failure_and_its_table_is_kept() {
    let mut world = synced(|_| ()).await;
    world.options.extent = Extent::Full;
    let before = tables(&world, &optional());
    for refusal in ListRefusal::GATEWAY {
        an_hour_later(&world, |model| change(model, &ChangeKind::ALL, 1));
        refuse(&world, &optional(), refusal);
        let (summary, _) = sync_warned(&world, world.client(), world.options.clone()).await;
        assert_eq!(summary.status, Status::Partial, "{refusal}: {summary:?}");
        for summary in &summary.resources {
            let kind = summary.failure.as_ref().map(clerk_lake::Error::kind);
            let wanted = (summary.name != "instance").then_some(ErrorKind::Answer);
            assert_eq!(kind, wanted, "{refusal}: {summary:?}");
        }
        assert!(tables(&world, &optional()) == before, "{refusal}: a table has changed");
        expected::assert_nothing_staged(&world, &refusal.to_string());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_may_not_be_read_is_a_failure_of_its_own_resource_only() {
    let mut world = synced(|_| ()).await;
    world.options.resources.retain(|it| ["instance", "organization_roles"].contains(&it.name));
    let before = wanted(&world);
    for refusal in [ListRefusal::NotFound, ListRefusal::NotEnabled(403)] {
        an_hour_later(&world, |_| ());
        world.simulator.set(|config| {
            config.disabled.insert(List::Instance, refusal);
        });
        let (summary, _) = sync_warned(&world, world.client(), world.options.clone()).await;
        let statuses: Vec<_> = summary.resources.iter().map(|it| it.status).collect();
        assert_eq!(statuses, [ResourceStatus::Ok, ResourceStatus::Failed], "{refusal}: {summary:?}");
        let rows = stored(&world, named("instance")).await;
        assert_same(&format!("{refusal}: instance"), &rows, &before["instance"]);
    }
}
