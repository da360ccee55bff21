//! Rows whose id cannot be read are stored as rejected rows. They do not hide other rows, and make no sync fail or read
//! everything.

use std::collections::BTreeSet;

use clerk_lake::ErrorKind;
use clerk_lake::resource::REJECTED_ROWS;
use clerk_lake::simulator::model::User;
use clerk_lake::simulator::{ChangeKind, Corruption, Model, PRIVATE_MARKER};
use clerk_lake::sync::{Extent, ResourceSummary, Status, Summary};
use serde_json::Value;

use crate::incremental::{HOUR, UNCOUNTED, assert_table, change, fresh, set_clock, sync_ok};
use crate::support::expected::{self, NOW, Rows};
use crate::support::{World, files, named};

/// The resources with broken rows in these tests.
const LISTED: [&str; 3] = ["users", "organizations", "sessions"];

/// Changes that do not create a session.
const WITHOUT_ACTIVITY: [ChangeKind; 4] =
    [ChangeKind::Ban, ChangeKind::UpdateProfile, ChangeKind::RenameOrganization, ChangeKind::EndSession];

/// Syncs the resources with broken rows, and asserts that the sync succeeds.
async fn sync_listed(world: &World, case: &str) -> Summary {
    let summary = Box::pin(world.sync_only(&LISTED)).await;
    assert_eq!(summary.status, Status::Ok, "{case}: {summary:?}");
    summary
}

/// Syncs only the users, and asserts that the sync succeeds.
async fn sync_users(world: &World, case: &str) -> ResourceSummary {
    let summary = Box::pin(world.sync_only(&["users"])).await;
    assert_eq!(summary.status, Status::Ok, "{case}: {summary:?}");
    summary.resources[0].clone()
}

fn break_row(model: &mut Model, id: &str, how: Corruption) {
    model.corrupt.insert(id.to_owned(), how);
}

/// Returns the users who were never active and have no sessions, oldest first.
fn inactive_users(model: &Model) -> Vec<String> {
    let inactive = |user: &&User| user.last_active_at.is_none();
    model.users.iter().filter(inactive).map(|user| user.id.clone()).collect()
}

/// Returns the ids of all sessions, oldest first.
fn session_ids(model: &Model) -> Vec<String> {
    model.sessions.iter().map(|session| session.id.clone()).collect()
}

/// Returns the ids of all organizations, oldest first.
fn organization_ids(model: &Model) -> Vec<String> {
    model.organizations.iter().map(|organization| organization.id.clone()).collect()
}

/// Returns the ids of all users, oldest first.
fn user_ids(model: &Model) -> Vec<String> {
    model.users.iter().map(|user| user.id.clone()).collect()
}

/// Returns the rows that the table of the resource `name` must hold: all except broken rows.
fn readable(world: &World, name: &str) -> Rows {
    let mut rows = expected::wanted(world, name);
    world.simulator.with_model(|model| rows.retain(|id, _| !model.corrupt.contains_key(id)));
    rows
}

/// Asserts that the tables hold exactly the readable rows.
async fn assert_readable_rows_are_there(world: &World, case: &str) {
    for name in LISTED {
        assert_table(world, name, &readable(world, name), case).await;
    }
    expected::assert_nothing_staged(world, case);
}

/// Returns the rejected rows.
async fn rejected_rows(world: &World) -> Vec<Value> {
    Box::pin(world.rows("SELECT * FROM clerk_rejected_row ORDER BY resource, raw")).await
}

/// Breaks two users, an organization and two sessions.
fn break_some(model: &mut Model) {
    let (users, organizations, sessions) = (inactive_users(model), organization_ids(model), session_ids(model));
    for id in [&users[1], &users[3], &organizations[7], &sessions[30], &sessions[40]] {
        break_row(model, id, Corruption::NoId);
    }
}

/// Asserts that each rejected row has a reason and its content, without private data.
fn assert_rejected_rows_are_redacted(rows: &[Value]) {
    for row in rows {
        let text = |column: &str| row[column].as_str().unwrap_or_default().to_owned();
        let raw: Value = serde_json::from_str(&text("raw")).expect("JSON");
        let fields = raw.as_object().expect("an object");
        assert!(!fields.contains_key("private_metadata") && !text("raw").contains(PRIVATE_MARKER), "{row}");
        assert!(fields.contains_key("updated_at") && raw["id"].is_null(), "the other fields are missing: {row}");
        assert!(text("row").starts_with("hash:") && text("reason") == "id is null", "{row}");
        assert!(row["fields"].is_null() && row["rejected_at"].is_string(), "{row}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unreadable_rows_are_rejected_once_and_all_others_are_synced() {
    for plain in [true, false] {
        let mut world = fresh(|config| config.plain_session_listing = plain).await;
        world.simulator.with_model(break_some);
        let summary = sync_ok(&world, "first").await;
        let rejected: Vec<u64> = summary.resources.iter().map(|resource| resource.rows_rejected).collect();
        assert_eq!(rejected[..3], [2, 1, 2], "plain session list: {plain}");
        assert_eq!(rejected[3..].iter().sum::<u64>(), 0, "plain session list: {plain}");
        assert_readable_rows_are_there(&world, "first").await;
        expected::assert_resource_equals(&world, "daily_active_users", "first").await;
        let rows = rejected_rows(&world).await;
        let of = |name: &str| rows.iter().filter(|row| row["resource"] == name).count();
        assert_eq!(LISTED.map(of), [2, 1, 2]);
        assert_rejected_rows_are_redacted(&rows);
        let table = world.lake().table(&REJECTED_ROWS).await.expect("the table");
        assert_eq!(
            table.watermark().await.expect("a watermark or none"),
            None,
            "the table of rejected rows has a watermark"
        );
        for (hours, extent) in [(1, Extent::Full), (2, Extent::Changes), (3, Extent::Full)] {
            let case = format!("{extent:?} after {hours} hours, plain session list: {plain}");
            set_clock(&world, NOW + hours * HOUR);
            world.options.extent = extent;
            sync_ok(&world, &case).await;
            assert_readable_rows_are_there(&world, &case).await;
            assert_eq!(rejected_rows(&world).await, rows, "{case}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_an_unreadable_user_syncs_succeed_and_stay_incremental() {
    let world = fresh(|_| ()).await;
    let id = world.simulator.with_model(|model| inactive_users(model)[0].clone());
    world.simulator.with_model(|model| break_row(model, &id, Corruption::NoId));
    sync_users(&world, "first").await;
    for turn in 1..=4 {
        let case = format!("turn {turn}");
        set_clock(&world, NOW + turn * HOUR);
        world.simulator.with_model(|model| change(model, &[ChangeKind::CreateUser], 3));
        assert_eq!(sync_users(&world, &case).await.mode, "incremental", "{case}");
        assert_table(&world, "users", &readable(&world, "users"), &case).await;
    }
    assert_eq!(rejected_rows(&world).await.len(), 1);
}

/// Two users sign up. One of them cannot be read.
fn sign_up_broken(model: &mut Model, how: Corruption) {
    let before: BTreeSet<String> = user_ids(model).into_iter().collect();
    change(model, &[ChangeKind::CreateUser], 2);
    let new = user_ids(model).into_iter().find(|id| !before.contains(id)).expect("a new user");
    break_row(model, &new, how);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_new_user_forces_only_one_full_sync() {
    {
        let how = Corruption::NoId;
        let world = fresh(|_| ()).await;
        sync_users(&world, "first").await;
        for turn in 1..=3 {
            let case = format!("{how:?}, turn {turn}");
            set_clock(&world, NOW + turn * HOUR);
            world.simulator.with_model(|model| {
                model.update_profile(&inactive_users(model)[0]);
                if turn == 1 {
                    sign_up_broken(model, how);
                }
            });
            let users = sync_users(&world, &case).await;
            assert_eq!(users.mode == "incremental", turn > 1, "{case}");
            assert_table(&world, "users", &readable(&world, "users"), &case).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_is_readable_again_is_in_the_table_after_a_full_sync() {
    let mut world = fresh(|_| ()).await;
    let id = world.simulator.with_model(|model| inactive_users(model)[0].clone());
    world.simulator.with_model(|model| break_row(model, &id, Corruption::NoId));
    sync_users(&world, "broken").await;
    set_clock(&world, NOW + HOUR);
    world.simulator.with_model(|model| model.corrupt.clear());
    world.options.extent = Extent::Full;
    sync_users(&world, "readable again").await;
    assert_table(&world, "users", &expected::wanted(&world, "users"), "readable again").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_rows_on_short_pages_neither_end_nor_break_a_listing() {
    for plain in [true, false] {
        let mut world = fresh(|config| {
            config.users = 24;
            config.organizations = 16;
            config.clamp = Some(3);
            config.plain_session_listing = plain;
        })
        .await;
        world.options.max_rejected = 0.6;
        world.simulator.with_model(|model| {
            let lists = [organization_ids(model), session_ids(model)];
            for ids in &lists {
                break_row(model, &ids[13], Corruption::NoId);
            }
        });
        for (hours, extent) in [(0, Extent::Changes), (1, Extent::Changes), (2, Extent::Full)] {
            let case = format!("plain session list: {plain}, {extent:?} after {hours} hours");
            world.options.extent = extent;
            set_clock(&world, NOW + hours * HOUR);
            world.simulator.with_model(|model| change(model, &WITHOUT_ACTIVITY, usize::from(hours > 0)));
            sync_listed(&world, &case).await;
            assert_readable_rows_are_there(&world, &case).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_unreadable_rows_fail_the_resource_and_keep_its_table() {
    for extent in [Extent::Full, Extent::Changes] {
        let mut world = fresh(|_| ()).await;
        sync_ok(&world, "first").await;
        world.options.extent = extent;
        let tables = LISTED.map(|name| world.path().join(named(name).table.name));
        let before = tables.each_ref().map(|table| files(table));
        set_clock(&world, NOW + HOUR);
        world.simulator.with_model(|model| {
            change(model, &UNCOUNTED, 2);
            for ids in [user_ids(model), organization_ids(model), session_ids(model)] {
                ids.iter().step_by(5).for_each(|id| break_row(model, id, Corruption::NoId));
            }
        });
        let summary = Box::pin(world.sync_only(&LISTED)).await;
        assert_eq!(summary.status, Status::Failed, "{extent:?}: {summary:?}");
        for (resource, (table, before)) in summary.resources.iter().zip(tables.iter().zip(&before)) {
            let kind = resource.failure.as_ref().map(clerk_lake::Error::kind);
            assert_eq!(kind, Some(ErrorKind::Answer), "{extent:?}: {resource:?}");
            assert!(resource.error.as_ref().is_some_and(|text| text.contains("cannot be read")), "{resource:?}");
            assert!(files(table) == *before, "{extent:?}: the table of {} has changed", resource.name);
        }
        assert!(!world.path().join("clerk_rejected_row").exists(), "{extent:?}");
        expected::assert_nothing_staged(&world, "after a failure");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_sync_with_too_many_unreadable_rows_creates_no_table() {
    let world = fresh(|_| ()).await;
    world.simulator.with_model(|model| {
        user_ids(model).iter().step_by(5).for_each(|id| break_row(model, id, Corruption::NoId));
    });
    let summary = Box::pin(world.sync_only(&["users"])).await;
    assert_eq!(summary.worst().map(clerk_lake::Error::kind), Some(ErrorKind::Answer));
    assert!(!world.path().exists());
}
