//! After a full sync, the tables equal the instance row by row, and the summary's numbers are right.

use std::collections::{BTreeSet, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use clerk_lake::ErrorKind;
use clerk_lake::resource::{self, USER_ACTIVITY};
use clerk_lake::simulator::model::{DAY, User};
use clerk_lake::simulator::{ChangeKind, Model};
use clerk_lake::sync::{Progress, ResourceStatus, Status, Summary};

use crate::faults::sync_watched;
use crate::support::expected::{self, NOW, Rows};
use crate::support::warnings::Warnings;
use crate::support::{World, files, named};

/// Syncs everything and returns the summary and the warnings.
async fn sync_and_warnings(world: &World) -> (Summary, Vec<String>) {
    let warnings = Arc::new(Warnings::default());
    let progress: Arc<dyn Progress> = warnings.clone();
    let summary = sync_watched(world, progress).await;
    let texts = warnings.texts();
    (summary, texts)
}

/// Returns the numbers of rows inserted, updated and deleted from `before` to `after`.
fn changes(before: &Rows, after: &Rows) -> (u64, u64, u64) {
    let inserted = after.keys().filter(|id| !before.contains_key(*id)).count();
    let updated = before.iter().filter(|(id, row)| after.get(*id).is_some_and(|new| new != *row)).count();
    let deleted = before.keys().filter(|id| !after.contains_key(*id)).count();
    (inserted as u64, updated as u64, deleted as u64)
}

/// Returns the data files of all tables.
fn data_files(world: &World) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = files(&world.path());
    found.retain(|(path, _)| path.extension().is_some_and(|extension| extension == "parquet"));
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_sync_equals_the_instance_row_by_row() {
    let world = expected::fixed_clock_world(|_| ()).await;
    let summary = world.sync().await;
    assert_eq!(summary.status, Status::Ok, "{summary:?}");
    expected::assert_tables_equal(&world).await;
    for resource in &summary.resources {
        let rows = expected::wanted(&world, &resource.name).len() as u64;
        assert_eq!((resource.mode, resource.rows_updated, resource.rows_deleted), ("full", 0, 0), "{resource:?}");
        assert_eq!([resource.rows_read, resource.rows_inserted, resource.rows_total], [rows; 3], "{resource:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_instance_produces_empty_tables() {
    let world = expected::fixed_clock_world(|config| {
        config.users = 0;
        config.organizations = 0;
    })
    .await;
    assert_eq!(world.sync().await.status, Status::Ok);
    expected::assert_tables_equal(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_session_is_found_if_sessions_can_only_be_listed_by_user() {
    for resources in [&["users", "sessions"][..], &["sessions"]] {
        let mut world = expected::fixed_clock_world(|config| {
            config.plain_session_listing = false;
            config.users = 150;
        })
        .await;
        world.options.session_lookback_days = 3650;
        let summary = world.sync_only(resources).await;
        assert_eq!(summary.status, Status::Ok, "{summary:?}");
        expected::assert_resource_equals(&world, "sessions", &format!("{resources:?}")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_listed_only_for_recently_active_users_if_listed_by_user() {
    for resources in [&["users", "sessions"][..], &["sessions"]] {
        let world = expected::fixed_clock_world(|config| {
            config.plain_session_listing = false;
            config.users = 150;
        })
        .await;
        assert_eq!(world.sync_only(resources).await.status, Status::Ok);
        let recently_active: HashSet<String> = world.simulator.with_model(|model| {
            let first = NOW.div_euclid(DAY) - 29;
            let users = model.users.iter().filter(|user| user.last_active_at.is_some_and(|at| at >= first * DAY));
            users.map(|user| user.id.clone()).collect()
        });
        let mut wanted = expected::wanted(&world, "sessions");
        let all = wanted.len();
        wanted.retain(|_, row| row["user_id"].as_str().is_some_and(|user| recently_active.contains(user)));
        assert!(!wanted.is_empty() && wanted.len() < all);
        expected::assert_same(&format!("{resources:?}"), &expected::stored(&world, "sessions").await, &wanted);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn daily_active_users_equal_the_truth_for_one_thirty_and_ninety_days() {
    for resources in [&["users", "daily_active_users"][..], &["daily_active_users"]] {
        for users in [5, 300] {
            let mut world = expected::fixed_clock_world(|config| config.users = users).await;
            for days in [1, 30, 90] {
                world.options.dau_lookback_days = days;
                let case = format!("{resources:?}, {users} users, {days} days");
                let summary = world.sync_only(resources).await;
                assert_eq!(summary.status, Status::Ok, "{case}: {summary:?}");
                expected::assert_resource_equals(&world, "daily_active_users", &case).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_without_active_users_is_a_row_with_zero() {
    let world = expected::fixed_clock_world(|config| config.users = 5).await;
    assert_eq!(world.sync().await.status, Status::Ok);
    let rows = expected::stored(&world, "daily_active_users").await;
    assert_eq!(rows.len(), 30);
    assert_eq!(rows.keys().next_back().map(String::as_str), Some("2026-09-21"), "today is the last row");
    assert!(rows.values().filter(|row| row["daily_active_users"] == 0).count() >= 25, "{rows:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn syncing_only_daily_active_users_does_not_change_the_users_table() {
    let world = expected::fixed_clock_world(|config| config.users = 300).await;
    let users = world.path().join("clerk_user");
    assert_eq!(world.sync_only(&["daily_active_users"]).await.status, Status::Ok);
    assert!(!users.exists(), "the users table must not be created from a part of the users");

    assert_eq!(world.sync_only(&["users"]).await.status, Status::Ok);
    let (version, before) = (version_of(&world, "users").await, files(&users));
    world.simulator.with_model(|model| {
        for _ in 0..30 {
            model.change(ChangeKind::Activity);
        }
    });
    assert_eq!(world.sync_only(&["daily_active_users"]).await.status, Status::Ok);
    expected::assert_resource_equals(&world, "daily_active_users", "after activity").await;
    assert_eq!(version_of(&world, "users").await, version);
    assert!(files(&users) == before, "clerk_user was touched");
}

async fn version_of(world: &World, resource: &str) -> Option<u64> {
    world.lake().table(&named(resource).table).await.expect("the table").version()
}

#[tokio::test(flavor = "multi_thread")]
async fn syncing_one_resource_writes_only_its_table() {
    // The activity ledger is derived from other tables, so on its own it has nothing to write.
    for resource in resource::defaults().into_iter().filter(|resource| resource.name != USER_ACTIVITY.name) {
        let world = expected::fixed_clock_world(|config| config.users = 60).await;
        let summary = world.sync_only(&[resource.name]).await;
        assert_eq!((summary.status, summary.resources.len()), (Status::Ok, 1), "{summary:?}");
        let entries = std::fs::read_dir(world.path()).expect("a lake");
        let names = entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
        let names: BTreeSet<String> = names.collect();
        assert_eq!(names, BTreeSet::from(["_instance".to_owned(), resource.table.name.to_owned()]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_changes_a_full_sync_moves_the_watermark_and_writes_no_data_file() {
    let world = expected::fixed_clock_world(|_| ()).await;
    assert_eq!(world.sync().await.status, Status::Ok);
    let before = data_files(&world);
    world.simulator.set(|config| config.now = Some(NOW + 60_000));
    let summary = world.sync().await;
    assert_eq!(summary.status, Status::Ok, "{summary:?}");
    assert!(data_files(&world) == before, "a data file was written or deleted");
    for (resource, synced) in resource::defaults().into_iter().zip(&summary.resources) {
        assert_eq!((synced.rows_inserted, synced.rows_updated, synced.rows_deleted), (0, 0, 0), "{synced:?}");
        assert_eq!(synced.watermark.as_deref(), Some("2026-09-21T14:14:20.000Z"), "{}", resource.name);
        let table = world.lake().table(&resource.table).await.expect("the table");
        let watermark = table.watermark().await.expect("a watermark").map(|at| at.timestamp_millis());
        assert_eq!(watermark, Some(NOW + 60_000), "{}", resource.name);
        assert_eq!((table.version(), table.version()), (Some(1), synced.version), "{}", resource.name);
    }
}

/// Makes changes of every kind. Returns the id of a deleted user who had sessions.
fn make_every_kind_of_change(model: &mut Model) -> String {
    let users: Vec<String> = model.users.iter().map(|user| user.id.clone()).collect();
    let organizations: Vec<String> = model.organizations.iter().map(|it| it.id.clone()).collect();
    let has_sessions = |id: &&String| model.sessions_of.get(*id).is_some_and(|sessions| !sessions.is_empty());
    let active: Vec<&String> = users[20..].iter().filter(has_sessions).take(2).collect();
    let (deleted, ended) = (active[0].clone(), model.sessions_of[active[1]][0].clone());
    model.update_profile(&users[10]);
    model.change_email(&users[11]);
    model.ban(&users[12], true);
    model.record_activity(&users[13]);
    model.end_session(&ended, "ended");
    model.delete_user(&deleted);
    for _ in 0..3 {
        model.change(ChangeKind::CreateUser);
    }
    model.rename_organization(&organizations[3]);
    model.delete_organization(&organizations[5]);
    model.add_member(&organizations[7], &users[10]);
    model.create_organization();
    deleted
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_full_sync_applies_and_counts_every_kind_of_change() {
    let world = expected::fixed_clock_world(|config| config.users = 300).await;
    assert_eq!(world.sync().await.status, Status::Ok);
    let before = expected::wanted_tables(&world);
    world.simulator.set(|config| config.now = Some(NOW + 60_000));
    let deleted = world.simulator.with_model(make_every_kind_of_change);
    let summary = world.sync().await;
    assert_eq!(summary.status, Status::Ok, "{summary:?}");
    for synced in &summary.resources {
        let (old, now) = (&before[synced.name.as_str()], expected::wanted(&world, &synced.name));
        // Sessions that Clerk no longer shows stay, marked as gone. The ledger also keeps every row, as first recorded.
        let marked_gone = old.keys().filter(|id| synced.name == "sessions" && !now.contains_key(*id)).count() as u64;
        let new: Rows = match synced.name.as_str() {
            "sessions" => old.clone().into_iter().chain(now).collect(),
            "user_activity" => now.into_iter().chain(old.clone()).collect(),
            _ => now,
        };
        let stored = expected::stored(&world, &synced.name).await;
        expected::assert_same(&synced.name, &stored, &new);
        let counts = (synced.rows_inserted, synced.rows_updated - marked_gone, synced.rows_deleted);
        assert_eq!(counts, changes(old, &new), "{}", synced.name);
        assert_eq!(synced.rows_total, new.len() as u64, "{}", synced.name);
    }
    assert_eq!((summary.resources[0].rows_inserted, summary.resources[0].rows_deleted), (3, 1));
    assert!(!expected::stored(&world, "users").await.contains_key(&deleted));
    let sessions = expected::stored(&world, "sessions").await;
    assert!(sessions.values().any(|row| row["user_id"] == deleted), "a deleted user's sessions must be kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_clerk_no_longer_lists_are_kept() {
    let world = expected::fixed_clock_world(|config| config.users = 100).await;
    assert_eq!(world.sync_only(&["sessions"]).await.status, Status::Ok);
    let before = expected::wanted(&world, "sessions");
    world.simulator.with_model(|model| {
        for _ in 0..50 {
            model.change(ChangeKind::CleanUpSession);
        }
    });
    assert!(expected::wanted(&world, "sessions").len() < before.len());
    assert_eq!(world.sync_only(&["sessions"]).await.status, Status::Ok);
    expected::assert_same("sessions", &expected::stored(&world, "sessions").await, &before);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_row_is_lost_if_the_server_clamps_the_page_size() {
    for (clamp, users) in [(1, 12), (3, 25), (10, 60)] {
        for plain in [true, false] {
            let mut world = expected::fixed_clock_world(|config| {
                config.clamp = Some(clamp);
                config.users = users;
                config.organizations = 5;
                config.plain_session_listing = plain;
            })
            .await;
            world.options.session_lookback_days = 3650;
            let summary = world.sync().await;
            assert_eq!(summary.status, Status::Ok, "{summary:?}");
            expected::assert_tables_equal_for(&world, &format!("pages of {clamp}, plain list: {plain}")).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn users_created_in_the_same_millisecond_are_all_stored_once() {
    for clamp in [None, Some(7)] {
        let world = expected::fixed_clock_world(|config| {
            config.users = 120;
            config.clamp = clamp;
        })
        .await;
        world.simulator.with_model(|model| {
            let imported: Vec<User> = model.users.iter().skip(20).take(80).cloned().collect();
            let created_at = imported[0].created_at;
            for user in imported {
                model.users.remove(&user.id);
                model.users.insert(created_at, &user.id.clone(), User { created_at, ..user });
            }
        });
        assert_eq!(world.sync().await.status, Status::Ok);
        expected::assert_tables_equal_for(&world, &format!("{clamp:?}")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_does_not_return_its_id_is_synced_with_a_warning() {
    for status in [403, 404] {
        let world = expected::fixed_clock_world(|config| {
            config.users = 60;
            config.instance_status = Some(status);
        })
        .await;
        let (summary, warnings) = sync_and_warnings(&world).await;
        assert_eq!(summary.status, Status::Ok, "{summary:?}");
        assert!(warnings.iter().any(|text| text.contains("/v1/instance")), "{warnings:?}");
        expected::assert_tables_equal_for(&world, &status.to_string()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_of_another_instance_is_refused_and_changes_nothing() {
    let world = expected::fixed_clock_world(|config| config.users = 60).await;
    assert_eq!(world.sync().await.status, Status::Ok);
    let before = files(&world.path());
    world.simulator.set(|config| config.instance_id = "ins_another".to_owned());
    let summary = world.sync().await;
    assert_eq!(summary.status, Status::Failed);
    let error = summary.worst().expect("an error");
    assert_eq!(error.kind(), ErrorKind::Settings);
    assert!(["ins_another", "ins_simulated"].iter().all(|id| error.message().contains(id)), "{error}");
    assert!(files(&world.path()) == before, "the lake was touched");
    expected::assert_nothing_staged(&world, "refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_date_header_the_watermark_is_the_latest_change_and_a_warning_is_given() {
    let world = expected::fixed_clock_world(|config| {
        config.users = 60;
        config.date_header = false;
    })
    .await;
    let (summary, warnings) = sync_and_warnings(&world).await;
    assert_eq!(summary.status, Status::Ok, "{summary:?}");
    assert!(warnings.iter().any(|text| text.contains("Date")), "{warnings:?}");
    let latest = world.simulator.with_model(|model| model.users.iter().map(|user| user.updated_at).max());
    let latest = chrono::DateTime::from_timestamp_millis(latest.expect("users")).expect("a time");
    let day = expected::NOW - expected::NOW % clerk_lake::simulator::model::DAY;
    let latest = latest.max(chrono::DateTime::from_timestamp_millis(day).expect("a time"));
    let latest = latest.to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
    assert_eq!(summary.resources[0].watermark, Some(latest));
}

#[tokio::test(flavor = "multi_thread")]
async fn disabled_organizations_are_skipped_and_the_other_resources_are_synced() {
    for status in [402, 403, 404] {
        let world = expected::fixed_clock_world(|config| {
            config.users = 60;
            config.organizations_status = Some(status);
        })
        .await;
        let (summary, warnings) = sync_and_warnings(&world).await;
        assert_eq!(summary.status, Status::Ok, "{summary:?}");
        assert_eq!(summary.resources[1].status, ResourceStatus::Skipped);
        assert!(summary.worst().is_none());
        assert!(
            warnings.iter().any(|text| text.contains("organizations, memberships, ") && text.contains(" skipped")),
            "{warnings:?}"
        );
        assert!(!world.path().join("clerk_organization").exists());
        for name in ["users", "sessions", "daily_active_users"] {
            expected::assert_resource_equals(&world, name, &status.to_string()).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_send_api_version_and_user_agent_and_lists_use_the_largest_page() {
    let world = World::new().await;
    assert_eq!(world.sync().await.status, Status::Ok);
    let requests = world.simulator.requests();
    assert!(requests.iter().any(|request| request.path == "/v1/instance"));
    for request in &requests {
        assert_eq!(request.api_version.as_deref(), Some("2026-05-12"), "{}", request.path);
        assert_eq!(request.user_agent.as_deref(), Some(concat!("clerk-lake/", env!("CARGO_PKG_VERSION"))));
        let accepted = request.accept_encoding.as_deref().unwrap_or_default();
        assert!(accepted.contains("gzip") && accepted.contains("zstd"), "{accepted}");
        assert!(request.authorized, "{}", request.path);
        assert!(request.query.iter().all(|(name, _)| name != "last_active_at_since"), "deprecated: {request:?}");
        assert!(request.path != "/v1/users/count" || request.query.is_empty(), "filtered counts take minutes");
        let list = !["/v1/users/count", "/v1/instance"].contains(&request.path.as_str());
        let largest = request.query.iter().any(|(name, value)| name == "limit" && value == "500");
        assert_eq!(largest, list, "{request:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn users_are_listed_once_for_both_their_table_and_daily_active_users() {
    let world = World::new().await;
    assert_eq!(world.sync_only(&["users", "daily_active_users"]).await.status, Status::Ok);
    let lists = world.simulator.requests().iter().filter(|request| request.path == "/v1/users").count();
    let pages = 700_usize.div_ceil(500);
    assert!(lists <= pages + 2, "{lists} requests for {pages} pages");
}
