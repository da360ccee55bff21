//! How much a sync reads: little where little has changed, as far back as it is told to, and by the server's clock.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use chrono::{DateTime, Utc};
use clerk_lake::clock::Clock;
use clerk_lake::simulator::Model;
use clerk_lake::simulator::model::{DAY, User};
use clerk_lake::sync::{self, CancellationToken, Extent, Progress, ResourceSummary, Status, Summary};

use crate::incremental::{HOUR, Seen, UNCOUNTED, assert_table, change, fresh, quiet_user, set_clock, sync_ok, synced};
use crate::support::expected::{self, NOW};
use crate::support::{World, files, named};

fn moment(millis: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(millis).expect("a moment")
}

/// The watermark of the resource called `name`, Unix milliseconds.
async fn watermark(world: &World, name: &str) -> Option<i64> {
    let table = world.lake().table(&named(name).table).await.expect("the table");
    table.watermark().await.expect("a watermark").map(|at| at.timestamp_millis())
}

/// All data files of the lake.
fn data_files(world: &World) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = files(&world.path());
    found.retain(|(path, _)| path.extension().is_some_and(|extension| extension == "parquet"));
    found
}

/// Nobody was active or changed in the last three days.
fn calm_down(model: &mut Model) {
    let ids: Vec<String> = model.users.iter().map(|user| user.id.clone()).collect();
    for user in ids {
        let user = model.users.get_mut(&user).expect("a user");
        user.last_active_at = user.last_active_at.map(|at| at.min(NOW - 3 * DAY));
        user.updated_at = user.updated_at.min(NOW - 3 * DAY);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_changed_a_sync_costs_a_few_requests_and_writes_no_data_file() {
    let mut costs = Vec::new();
    for users in [300, 3000] {
        let case = format!("{users} users");
        let world = fresh(|config| config.users = users).await;
        world.simulator.with_model(calm_down);
        sync_ok(&world, &case).await;
        let before = data_files(&world);
        set_clock(&world, NOW + HOUR);
        let summary = sync_ok(&world, &case).await;
        assert!(data_files(&world) == before, "{case}: a data file was written, or is gone");
        for resource in &summary.resources {
            let changes = (resource.rows_inserted, resource.rows_updated, resource.rows_deleted);
            assert_eq!(changes, (0, 0, 0), "{case}: {}", resource.name);
            assert_eq!(watermark(&world, &resource.name).await, Some(NOW + HOUR), "{case}: {}", resource.name);
        }
        let [users, organizations, _, daily_active_users] = [0, 1, 2, 3].map(|at| summary.resources[at].requests);
        assert!(users <= 10, "{case}: {users} requests");
        assert_eq!(summary.resources[0].mode, "incremental", "{case}");
        costs.push((users, organizations, daily_active_users));
    }
    assert_eq!(costs[0], costs[1], "what has not changed must not cost by its size");
}

/// Changes a user so that no list of changes shows it.
fn change_silently(model: &mut Model, id: &str) {
    model.users.get_mut(id).expect("a user").first_name = Some("Silent".to_owned());
}

#[tokio::test(flavor = "multi_thread")]
async fn since_an_earlier_moment_all_that_changed_from_then_on_is_read_again() {
    let mut world = fresh(|_| ()).await;
    let id = world.simulator.with_model(|model| {
        let id = quiet_user(model);
        model.users.get_mut(&id).expect("a user").updated_at = NOW - 8 * DAY;
        id
    });
    sync_ok(&world, "first").await;
    set_clock(&world, NOW + HOUR);
    world.simulator.with_model(|model| change_silently(model, &id));
    assert_eq!(sync_ok(&world, "since the watermark").await.resources[0].rows_updated, 0);
    let since = NOW - 9 * DAY;
    let wanted = world.simulator.with_model(|model| {
        let day = since.div_euclid(DAY) * DAY;
        let lately = |user: &&User| user.updated_at >= since || user.last_active_at.is_some_and(|at| at >= day);
        model.users.iter().filter(lately).count() as u64
    });
    world.options.extent = Extent::Since(moment(since));
    let users = sync_ok(&world, "since an earlier moment").await.resources[0].clone();
    assert_eq!((users.mode, users.rows_updated), ("incremental", 1));
    assert!((wanted..300).contains(&users.rows_read), "{} of {wanted} rows were read", users.rows_read);
    Seen::default().assert_exact(&world, "since an earlier moment").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn since_a_moment_after_the_watermark_nothing_is_lost() {
    for hours in [1, 24 * 30] {
        let case = format!("since {hours} hours after the watermark");
        let mut world = synced(|_| ()).await;
        set_clock(&world, NOW + HOUR / 2);
        world.simulator.with_model(|model| change(model, &UNCOUNTED, 3));
        world.options.extent = Extent::Since(moment(NOW + hours * HOUR));
        assert_eq!(sync_ok(&world, &case).await.resources[0].mode, "incremental");
        Seen::default().assert_exact(&world, &case).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_sync_reads_everything_again() {
    let mut world = synced(|_| ()).await;
    set_clock(&world, NOW + HOUR);
    world.simulator.with_model(|model| {
        let id = quiet_user(model);
        change_silently(model, &id);
    });
    world.options.extent = Extent::Full;
    let users = sync_ok(&world, "full").await.resources[0].clone();
    assert_eq!((users.mode, users.rows_read, users.rows_updated), ("full", 300, 1));
    Seen::default().assert_exact(&world, "full").await;
}

/// Edits so many users, an hour after [`NOW`] and each `apart` milliseconds before the one ahead of it.
fn edit_in_bulk(model: &mut Model, count: usize, apart: i64) {
    let ids: Vec<String> = model.users.iter().skip(50).take(count).map(|user| user.id.clone()).collect();
    for (place, id) in (0..).zip(&ids) {
        let user = model.users.get_mut(id).expect("a user");
        "{\"plan\":\"edited in bulk\"}".clone_into(&mut user.public_metadata);
        user.updated_at = NOW + HOUR - place * apart;
    }
}

/// Edits some of `users` users in bulk; gives what one more sync did to them.
async fn sync_after_bulk_edit(users: usize, edited: usize, apart: i64) -> ResourceSummary {
    let world = fresh(|config| {
        config.users = users;
        config.clamp = Some(100);
    })
    .await;
    assert_eq!(world.sync_only(&["users"]).await.status, Status::Ok);
    set_clock(&world, NOW + HOUR);
    world.simulator.with_model(|model| edit_in_bulk(model, edited, apart));
    let summary = world.sync_only(&["users"]).await;
    assert_eq!(summary.status, Status::Ok, "{summary:?}");
    assert_table(&world, "users", &expected::wanted(&world, "users"), "after a bulk edit").await;
    summary.resources[0].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn users_changed_in_the_same_millisecond_are_all_found_however_many_pages_they_take() {
    let users = sync_after_bulk_edit(1600, 1200, 0).await;
    assert_eq!((users.mode, users.rows_updated), ("incremental", 1200));
}

#[tokio::test(flavor = "multi_thread")]
async fn where_most_of_the_table_changed_everything_is_read_instead() {
    let users = sync_after_bulk_edit(1500, 1400, 1).await;
    assert_eq!((users.mode, users.rows_updated), ("full", 1400));
}

/// Keeps what the user is warned of.
#[derive(Default)]
struct Warnings(Mutex<Vec<String>>);

impl Progress for Warnings {
    fn started(&self, _: &str, _: Option<u64>) {}
    fn advanced(&self, _: &str, _: u64) {}
    fn finished(&self, _: &ResourceSummary) {}
    fn note(&self, _: &str) {}
    fn warn(&self, text: &str) {
        self.0.lock().expect("a lock").push(text.to_owned());
    }
}

/// Syncs everything on a machine whose clock says `local`, which must succeed; gives what the user was warned of.
async fn sync_on_machine(world: &World, local: i64, case: &str) -> (Summary, Vec<String>) {
    let warnings = Arc::new(Warnings::default());
    let run = sync::Sync {
        client: world.client(),
        lake: world.lake(),
        clock: Clock::fixed(moment(local)),
        options: world.options.clone(),
        progress: warnings.clone(),
        stop: CancellationToken::new(),
    };
    let summary = Box::pin(run.run()).await;
    assert_eq!(summary.status, Status::Ok, "{case}: {summary:?}");
    let texts = warnings.0.lock().expect("a lock").clone();
    (summary, texts)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_watermark_is_the_server_s_time_however_wrong_the_local_clock_is() {
    for hours in [5, -5] {
        let case = format!("the server's clock is {hours} hours ahead");
        let world = fresh(|config| config.clock_offset_ms = hours * HOUR).await;
        let mut seen = Seen::default();
        sync_on_machine(&world, NOW, &case).await;
        seen.assert_exact(&world, &case).await;
        for later in [1, 2, 60_000] {
            set_clock(&world, NOW + later);
            world.simulator.with_model(|model| change(model, &UNCOUNTED, 2));
            let (summary, warnings) = sync_on_machine(&world, NOW + later, &case).await;
            assert_eq!((summary.resources[0].mode, warnings.len()), ("incremental", 0), "{case}: {warnings:?}");
            seen.assert_exact(&world, &format!("{case}, {later} ms later")).await;
        }
        assert_eq!(watermark(&world, "users").await, Some(NOW + hours * HOUR + 60_000), "{case}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_tell_the_time_loses_nothing_however_wrong_the_local_clock_is() {
    for (plain, hours) in [(true, -15), (true, -5), (true, 5), (true, 11), (false, -15), (false, 11)] {
        let case = format!("the local clock is {hours} hours ahead, plain session list: {plain}");
        let world = fresh(|config| {
            config.users = 150;
            config.date_header = false;
            config.plain_session_listing = plain;
        })
        .await;
        let local = NOW + hours * HOUR;
        let (_, warnings) = sync_on_machine(&world, local, &case).await;
        assert!(warnings.iter().any(|text| text.contains("Date")), "{case}: {warnings:?}");
        set_clock(&world, NOW + 60_000);
        world.simulator.with_model(|model| change(model, &UNCOUNTED, 3));
        sync_on_machine(&world, local + 120_000, &case).await;
        // What day it is today is another matter: the daily active users go by the local clock.
        for name in ["users", "organizations", "sessions"] {
            assert_table(&world, name, &expected::wanted(&world, name), &case).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watermark_in_the_future_is_warned_of_and_everything_is_read_once() {
    let world = fresh(|_| ()).await;
    world.simulator.set(|config| config.clock_offset_ms = DAY);
    let mut seen = Seen::default();
    sync_on_machine(&world, NOW, "a day ahead").await;
    seen.assert_exact(&world, "a day ahead").await;
    world.simulator.set(|config| config.clock_offset_ms = 0);
    for (minutes, mode, warned) in [(1, "full", true), (2, "incremental", false), (3, "incremental", false)] {
        let case = format!("{minutes} minutes after the clock was set right");
        set_clock(&world, NOW + minutes * 60_000);
        world.simulator.with_model(|model| change(model, &UNCOUNTED, 2));
        let (summary, warnings) = sync_on_machine(&world, NOW, &case).await;
        assert_eq!(warnings.iter().any(|text| text.contains("reading everything")), warned, "{case}: {warnings:?}");
        let modes = [0, 2].map(|at| summary.resources[at].mode);
        assert_eq!(modes, [mode, mode], "{case}");
        assert_eq!(watermark(&world, "users").await, Some(NOW + minutes * 60_000), "{case}");
        seen.assert_exact(&world, &case).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_clock_is_minutes_behind_another_s_loses_nothing() {
    let midnight = NOW - NOW.rem_euclid(DAY) + DAY;
    // At noon it is the changes that could be missed, around midnight the activity: it says the day, not when.
    for (plain, first) in [(true, midnight - DAY / 2), (true, midnight + 60_000), (false, midnight + 60_000)] {
        let case = format!("first synced at {}, plain session list: {plain}", moment(first));
        let world = fresh(|config| {
            config.users = 150;
            config.plain_session_listing = plain;
            config.now = Some(first);
        })
        .await;
        let mut seen = Seen::default();
        sync_ok(&world, &case).await;
        seen.note(&world);
        set_clock(&world, first - 3 * 60_000);
        world.simulator.with_model(|model| {
            let id = quiet_user(model);
            model.record_activity(&id);
            change(model, &UNCOUNTED, 2);
        });
        set_clock(&world, first + 10 * 60_000);
        sync_ok(&world, &case).await;
        seen.assert_exact(&world, &case).await;
    }
}
