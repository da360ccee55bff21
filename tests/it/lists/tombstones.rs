//! Tombstones: exactly one for each user, organization and membership that was deleted after a sync had read it.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use clerk_lake::clock::Clock;
use clerk_lake::lake::Lake;
use clerk_lake::query::{Parameters, Query};
use clerk_lake::resource::{TOMBSTONES, Tombstones};
use clerk_lake::simulator::Model;
use clerk_lake::sync::{Extent, Status, Summary};
use clerk_lake::{Error, ErrorKind};
use object_store::ObjectStore;
use object_store::memory::InMemory;
use serde_json::Value;

use super::{an_hour_later, small, sync_ok};
use crate::histories::check::lake_over;
use crate::incremental::{HOUR, set_clock};
use crate::support::expected::{self, NOW, Rows};
use crate::support::faulty_store::{CrashPoint, FaultPlan, FaultyStore};
use crate::support::{World, as_json, named};

/// The resources whose deleted rows leave tombstones.
const BURIED: [&str; 3] = ["users", "organizations", "memberships"];

/// Returns a world with these resources, before the first sync.
async fn new() -> World {
    let mut world = expected::fixed_clock_world(small).await;
    world.options.extent = Extent::Changes;
    world.options.resources = BURIED.iter().map(|name| named(name)).collect();
    world
}

/// Like [`new`], after the first sync.
async fn synced() -> World {
    let world = new().await;
    sync_ok(&world, "first").await;
    world
}

/// The rows of the three tables.
fn all(world: &World) -> BTreeMap<&'static str, Rows> {
    BURIED.iter().map(|name| (*name, expected::wanted(world, name))).collect()
}

/// Returns the tombstones of a table by id. There is at most one for each id.
async fn stones(lake: &Lake, tombstones: &'static Tombstones) -> Rows {
    let table = lake.table(&tombstones.table).await.expect("a table that can be opened");
    if !table.exists() {
        return Rows::new();
    }
    let context = lake.context();
    context.register_table("stones", table.provider().await.expect("a table")).expect("a table");
    let query = Query::ad_hoc("SELECT * FROM stones");
    let rows = query.run(&context, &Parameters::at(Clock::system().now())).await.expect("the rows");
    expected::by_key(as_json(&rows), tombstones.table.key)
}

fn time(value: &Value) -> i64 {
    let text = value.as_str().unwrap_or_else(|| panic!("{value} is not a time"));
    text.parse::<DateTime<Utc>>().expect("a time").timestamp_millis()
}

/// Asserts that the tombstones are those of the rows in `before` that are gone now, that each has the columns of its row,
/// and that the rows were deleted at `deleted_at`, between the two times that the tombstone states.
async fn assert_buried(world: &World, lake: &Lake, before: &BTreeMap<&'static str, Rows>, deleted_at: i64, case: &str) {
    let now = all(world);
    for (name, tombstones) in BURIED.into_iter().zip(TOMBSTONES) {
        let found = stones(lake, tombstones).await;
        let gone: Vec<_> = before[name].keys().filter(|id| !now[name].contains_key(*id)).collect();
        assert_eq!(found.keys().collect::<Vec<_>>(), gone, "{case}: tombstones of {name}");
        for (id, stone) in &found {
            for column in tombstones.kept {
                assert_eq!(stone[column], before[name][id][column], "{case}: {column} of {id}");
            }
            let (after, until) = (time(&stone["deleted_after"]), time(&stone["deleted_before"]));
            assert!(after <= deleted_at && deleted_at <= until, "{case}: {stone}");
        }
    }
}

/// Deletes the user, the organization and the membership at this position, and what belongs to them.
fn delete(model: &mut Model, at: usize) {
    let member = model.memberships.iter().nth(at).expect("a membership").id.clone();
    model.remove_member(&member);
    let organization = model.organizations.iter().nth(at).expect("an organization").id.clone();
    model.delete_organization(&organization);
    let user = model.users.iter().nth(at).expect("a user").id.clone();
    model.delete_user(&user);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_deleted_row_leaves_one_tombstone_with_the_times_of_the_deletion() {
    for (extent, changes_most) in [(Extent::Changes, false), (Extent::Full, false), (Extent::Full, true)] {
        let case = format!("{extent:?}, most rows change: {changes_most}");
        let mut world = synced().await;
        world.options.extent = extent;
        for tombstones in TOMBSTONES {
            assert!(stones(&world.lake(), tombstones).await.is_empty(), "{case}: a first sync has deleted rows");
        }
        let before = all(&world);
        an_hour_later(&world, |model| delete(model, 3));
        let deleted_at = NOW + HOUR;
        an_hour_later(&world, |model| {
            if changes_most {
                change_most(model);
            }
        });
        let summary = sync_ok(&world, &case).await;
        assert!(summary.resources.iter().all(|resource| resource.rows_deleted > 0), "{case}: {summary:?}");
        assert_buried(&world, &world.lake(), &before, deleted_at, &case).await;
        an_hour_later(&world, |_| ());
        sync_ok(&world, &case).await;
        assert_buried(&world, &world.lake(), &before, deleted_at, &format!("{case}, quiet")).await;
    }
}

/// Changes most users, organizations and memberships.
fn change_most(model: &mut Model) {
    let users: Vec<_> = model.users.iter().map(|it| it.id.clone()).collect();
    let organizations: Vec<_> = model.organizations.iter().map(|it| it.id.clone()).collect();
    let members: Vec<_> = model.memberships.iter().map(|it| it.id.clone()).collect();
    for id in &users {
        model.update_profile(id);
    }
    for id in &organizations {
        model.rename_organization(id);
    }
    for id in &members {
        model.set_role(id, "org:new");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn later_deletions_add_tombstones_and_change_no_older_ones() {
    let world = synced().await;
    an_hour_later(&world, |model| delete(model, 1));
    sync_ok(&world, "one").await;
    let first = stones_of_all(&world.lake()).await;
    let before = all(&world);
    an_hour_later(&world, |model| delete(model, 2));
    sync_ok(&world, "two").await;
    for ((name, tombstones), first) in BURIED.into_iter().zip(TOMBSTONES).zip(&first) {
        let now = stones(&world.lake(), tombstones).await;
        let gone = before[name].keys().filter(|id| !all(&world)[name].contains_key(*id)).count();
        assert_eq!(now.len(), first.len() + gone, "{name}");
        assert!(first.iter().all(|(id, stone)| now.get(id) == Some(stone)), "{name}: a tombstone has changed");
    }
}

async fn stones_of_all(lake: &Lake) -> Vec<Rows> {
    let mut all = Vec::new();
    for tombstones in TOMBSTONES {
        all.push(stones(lake, tombstones).await);
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_row_has_no_tombstone() {
    for extent in [Extent::Changes, Extent::Full] {
        let mut world = synced().await;
        world.options.extent = extent;
        let before = all(&world);
        let (user, organization, member) = world.simulator.with_model(|model| {
            let member = model.memberships.iter().nth(2).expect("a membership").clone();
            let organization = model.organizations.get(&member.organization_id).expect("an organization").clone();
            let user = model.users.get(&member.user_id).expect("a user").clone();
            (user, organization, member)
        });
        an_hour_later(&world, |model| {
            delete(model, 4);
            model.delete_user(&user.id);
            model.delete_organization(&organization.id);
        });
        sync_ok(&world, "deleted").await;
        assert_buried(&world, &world.lake(), &before, NOW + HOUR, "deleted").await;
        an_hour_later(&world, |model| {
            model.users.insert(user.created_at, &user.id, user.clone());
            model.organizations.insert(organization.created_at, &organization.id, organization.clone());
            model.insert_membership(member.clone());
        });
        sync_ok(&world, "restored").await;
        for name in BURIED {
            expected::assert_resource_equals(&world, name, "restored").await;
        }
        assert_buried(&world, &world.lake(), &before, NOW + HOUR, "restored").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_between_tombstone_and_deletion_leaves_neither_duplicates_nor_gaps() {
    for (name, at) in BURIED.into_iter().zip(0..) {
        for point in [CrashPoint::BeforeCommit, CrashPoint::AfterCommit] {
            for time in 1..=2 {
                let case = format!("{name}, {point:?} {time}");
                assert_buried_after_crash(&BURIED[at..=at], (point, time), &case).await;
            }
        }
    }
}

/// Crashes a sync of these resources that finds deleted rows, and then syncs twice.
async fn assert_buried_after_crash(names: &[&str], crash: (CrashPoint, u64), case: &str) {
    let mut world = new().await;
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    sync_to(&world, lake_over(Arc::clone(&store)), case).await;
    let before = all(&world);
    an_hour_later(&world, |model| delete(model, 3));
    an_hour_later(&world, |_| ());
    let resources = world.options.resources.clone();
    world.options.resources = names.iter().map(|name| named(name)).collect();
    let handle = FaultyStore::over(Arc::clone(&store), FaultPlan { crash: Some(crash), ..FaultPlan::default() });
    let control = handle.control();
    let lake = lake_over(Arc::new(handle));
    let crashed = tokio::select! {
        biased;
        () = control.crashed() => true,
        _ = Box::pin(world.sync_with(world.client(), lake, world.options.clone())) => false,
    };
    assert!(crashed, "{case}: the run has not crashed");
    control.disconnect();
    world.options.resources = resources;
    for later in ["next", "quiet"] {
        an_hour_later(&world, |_| ());
        sync_to(&world, lake_over(Arc::clone(&store)), case).await;
        let case = format!("{case}, {later}");
        assert_buried(&world, &lake_over(Arc::clone(&store)), &before, NOW + HOUR, &case).await;
    }
}

async fn sync_to(world: &World, lake: Lake, case: &str) {
    let summary = Box::pin(world.sync_with(world.client(), lake, world.options.clone())).await;
    assert_eq!(summary.status, Status::Ok, "{case}: {summary:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_runs_at_once_leave_one_tombstone_of_each_row() {
    for extent in [Extent::Changes, Extent::Full] {
        let mut world = synced().await;
        world.options.extent = extent;
        let before = all(&world);
        an_hour_later(&world, |model| delete(model, 3));
        an_hour_later(&world, |_| ());
        let run = || Box::pin(world.sync_with(world.client(), world.lake(), world.options.clone()));
        let (one, two) = tokio::join!(run(), run());
        for summary in [&one, &two] {
            assert!(failures(summary).iter().all(|kind| *kind == ErrorKind::Conflict), "{extent:?}: {summary:?}");
        }
        set_clock(&world, NOW + 3 * HOUR);
        sync_ok(&world, "after both").await;
        for name in BURIED {
            expected::assert_resource_equals(&world, name, "after both").await;
        }
        assert_buried(&world, &world.lake(), &before, NOW + HOUR, &format!("{extent:?}, two runs")).await;
    }
}

fn failures(summary: &Summary) -> Vec<ErrorKind> {
    summary.resources.iter().filter_map(|resource| resource.failure.as_ref().map(Error::kind)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_deletions_and_absent_lists_leave_no_tombstones() {
    let mut world = synced().await;
    world.options.max_shrink = 0.0;
    world.options.extent = Extent::Full;
    an_hour_later(&world, |model| {
        // More rows than a commit may always delete.
        for _ in 0..60 {
            model.change(clerk_lake::simulator::ChangeKind::AddMember);
        }
    });
    sync_ok(&world, "more members").await;
    an_hour_later(&world, |model| {
        let members: Vec<_> = model.memberships.iter().map(|it| it.id.clone()).collect();
        assert!(members.len() > 51, "{} members", members.len());
        for id in &members {
            model.remove_member(id);
        }
    });
    let summary = Box::pin(world.sync_only(&["memberships"])).await;
    assert_eq!(summary.status, Status::Failed, "{summary:?}");
    world.simulator.set(|config| config.organizations_status = Some(403));
    let summary = Box::pin(world.sync_only(&["memberships", "organizations"])).await;
    assert_eq!(summary.status, Status::Ok, "{summary:?}");
    assert!(stones_of_all(&world.lake()).await.iter().all(Rows::is_empty));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tombstone_has_no_personal_data() {
    let world = synced().await;
    let people = world.simulator.with_model(|model| model.users.iter().cloned().collect::<Vec<_>>());
    an_hour_later(&world, |model| delete(model, 3));
    sync_ok(&world, "deleted").await;
    let columns = ["id", "organization_id", "user_id", "role", "_synced_at"];
    for (tombstones, rows) in TOMBSTONES.into_iter().zip(stones_of_all(&world.lake()).await) {
        assert!(!rows.is_empty(), "{} is empty", tombstones.table.name);
        for field in tombstones.table.schema().fields() {
            let is_time = field.data_type().is_temporal();
            assert!(is_time || columns.contains(&field.name().as_str()), "{}: {field}", tombstones.table.name);
        }
        let text = format!("{rows:?}");
        for address in people.iter().flat_map(|user| &user.email_addresses) {
            assert!(!text.contains(&address.address), "{} has {}", tombstones.table.name, address.address);
        }
    }
}
