//! What a sync reads: little if little has changed, everything since the time in `--since`, and by the server's clock.

use std::path::PathBuf;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use clerk_lake::clock::Clock;
use clerk_lake::simulator::Model;
use clerk_lake::simulator::model::{DAY, User};
use clerk_lake::sync::{self, CancellationToken, Extent, ResourceSummary, Status, Summary};

use crate::incremental::{HOUR, Seen, UNCOUNTED, assert_table, change, fresh, quiet_user, set_clock, sync_ok, synced};
use crate::support::expected::{self, NOW};
use crate::support::warnings::Warnings;
use crate::support::{World, files, named};

fn time(millis: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(millis).expect("a time")
}

/// Returns the watermark of the resource called `name`, in Unix milliseconds.
async fn watermark(world: &World, name: &str) -> Option<i64> {
    let table = world.lake().table(&named(name).table).await.expect("the table");
    table.watermark().await.expect("a watermark").map(|at| at.timestamp_millis())
}

/// Returns all data files of the lake.
fn data_files(world: &World) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = files(&world.path());
    found.retain(|(path, _)| path.extension().is_some_and(|extension| extension == "parquet"));
    found
}

/// Moves all changes and activity of the last three days back to three days ago.
fn remove_recent_changes(model: &mut Model) {
    let ids: Vec<String> = model.users.iter().map(|user| user.id.clone()).collect();
    for user in ids {
        let user = model.users.get_mut(&user).expect("a user");
        user.last_active_at = user.last_active_at.map(|at| at.min(NOW - 3 * DAY));
        user.updated_at = user.updated_at.min(NOW - 3 * DAY);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_without_changes_costs_few_requests_and_writes_no_data_file() {
    let mut costs = Vec::new();
    for users in [300, 3000] {
        let case = format!("{users} users");
        let world = fresh(|config| config.users = users).await;
        world.simulator.with_model(remove_recent_changes);
        sync_ok(&world, &case).await;
        let before = data_files(&world);
        set_clock(&world, NOW + HOUR);
        let summary = sync_ok(&world, &case).await;
        assert!(data_files(&world) == before, "{case}: a data file was written or deleted");
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
    assert_eq!(costs[0], costs[1], "the cost must not depend on the number of unchanged users");
}

/// Changes a user in a way that no list of changes shows.
fn change_silently(model: &mut Model, id: &str) {
    model.users.get_mut(id).expect("a user").first_name = Some("Silent".to_owned());
}

#[tokio::test(flavor = "multi_thread")]
async fn since_an_earlier_time_reads_everything_changed_from_then_on_again() {
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
        let is_recent = |user: &&User| user.updated_at >= since || user.last_active_at.is_some_and(|at| at >= day);
        model.users.iter().filter(is_recent).count() as u64
    });
    world.options.extent = Extent::Since(time(since));
    let users = sync_ok(&world, "since an earlier time").await.resources[0].clone();
    assert_eq!((users.mode, users.rows_updated), ("incremental", 1));
    assert!((wanted..300).contains(&users.rows_read), "{} rows were read, {wanted} have changed", users.rows_read);
    Seen::default().assert_exact(&world, "since an earlier time").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn since_a_time_after_the_watermark_loses_no_change() {
    for hours in [1, 24 * 30] {
        let case = format!("since {hours} hours after the watermark");
        let mut world = synced(|_| ()).await;
        set_clock(&world, NOW + HOUR / 2);
        world.simulator.with_model(|model| change(model, &UNCOUNTED, 3));
        world.options.extent = Extent::Since(time(NOW + hours * HOUR));
        assert_eq!(sync_ok(&world, &case).await.resources[0].mode, "incremental");
        Seen::default().assert_exact(&world, &case).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_sync_reads_unchanged_rows_again() {
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

/// Edits `count` users. The first edit is an hour after [`NOW`], and each further one `apart` milliseconds earlier.
fn edit_in_bulk(model: &mut Model, count: usize, apart: i64) {
    let ids: Vec<String> = model.users.iter().skip(50).take(count).map(|user| user.id.clone()).collect();
    for (place, id) in (0..).zip(&ids) {
        let user = model.users.get_mut(id).expect("a user");
        "{\"plan\":\"edited in bulk\"}".clone_into(&mut user.public_metadata);
        user.updated_at = NOW + HOUR - place * apart;
    }
}

/// Edits `edited` of `users` users in bulk and syncs again. Returns that sync's summary of the users.
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
async fn users_changed_in_the_same_millisecond_are_all_found_across_pages() {
    let users = sync_after_bulk_edit(1600, 1200, 0).await;
    assert_eq!((users.mode, users.rows_updated), ("incremental", 1200));
}

#[tokio::test(flavor = "multi_thread")]
async fn if_most_users_changed_all_users_are_read() {
    let users = sync_after_bulk_edit(1500, 1400, 1).await;
    assert_eq!((users.mode, users.rows_updated), ("full", 1400));
}

/// Syncs everything on a machine whose clock shows `local`, which must succeed. Returns the summary and the warnings.
async fn sync_on_machine(world: &World, local: i64, case: &str) -> (Summary, Vec<String>) {
    let warnings = Arc::new(Warnings::default());
    let run = sync::SyncJob {
        client: world.client(),
        lake: world.lake(),
        clock: Clock::fixed(time(local)),
        options: world.options.clone(),
        progress: warnings.clone(),
        stop: CancellationToken::new(),
    };
    let summary = Box::pin(run.run()).await;
    assert_eq!(summary.status, Status::Ok, "{case}: {summary:?}");
    let texts = warnings.texts();
    (summary, texts)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_watermark_is_the_servers_time_even_if_the_local_clock_is_wrong() {
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
async fn without_a_date_header_no_change_is_lost_even_if_the_local_clock_is_wrong() {
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
        // Daily active users are not compared: without the header, the local clock determines the current day.
        for name in ["users", "organizations", "sessions"] {
            assert_table(&world, name, &expected::wanted(&world, name), &case).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watermark_in_the_future_causes_a_warning_and_one_full_sync() {
    let world = fresh(|_| ()).await;
    world.simulator.set(|config| config.clock_offset_ms = DAY);
    let mut seen = Seen::default();
    sync_on_machine(&world, NOW, "a day ahead").await;
    seen.assert_exact(&world, "a day ahead").await;
    world.simulator.set(|config| config.clock_offset_ms = 0);
    for (minutes, mode, is_warned) in [(1, "full", true), (2, "incremental", false), (3, "incremental", false)] {
        let case = format!("{minutes} minutes after the clock was corrected");
        set_clock(&world, NOW + minutes * 60_000);
        world.simulator.with_model(|model| change(model, &UNCOUNTED, 2));
        let (summary, warnings) = sync_on_machine(&world, NOW, &case).await;
        assert_eq!(warnings.iter().any(|text| text.contains("reading everything")), is_warned, "{case}: {warnings:?}");
        let modes = [0, 2].map(|at| summary.resources[at].mode);
        assert_eq!(modes, [mode, mode], "{case}");
        assert_eq!(watermark(&world, "users").await, Some(NOW + minutes * 60_000), "{case}");
        seen.assert_exact(&world, &case).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_change_is_lost_if_one_servers_clock_is_minutes_behind_anothers() {
    let midnight = NOW - NOW.rem_euclid(DAY) + DAY;
    // At noon, changes could be missed; around midnight, activity, because it has only a date and no time.
    for (plain, first) in [(true, midnight - DAY / 2), (true, midnight + 60_000), (false, midnight + 60_000)] {
        let case = format!("first synced at {}, plain session list: {plain}", time(first));
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
