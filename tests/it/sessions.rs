//! The sync of sessions at a cost in proportion to activity: new sessions at each sync, endings within
//! `session_refresh`, and no more requests for sessions that are gone.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use clerk_lake::simulator::model::{DAY, Session};
use clerk_lake::simulator::{ChangeKind, SimulatorConfig};
use clerk_lake::sync::Extent;

use crate::incremental::{HOUR, set_clock, sync_ok};
use crate::support::expected::{self, NOW, Rows};
use crate::support::{World, named, sample_step};

/// Returns a world that refreshes sessions once a day, after its first sync.
async fn with_daily_refresh(plain: bool, change: impl FnOnce(&mut SimulatorConfig)) -> World {
    let mut world = expected::fixed_clock_world(|config| {
        config.users = 250;
        config.organizations = 2;
        config.plain_session_listing = plain;
        change(config);
    })
    .await;
    world.options.extent = Extent::Changes;
    world.options.session_lookback_days = 3650;
    world.options.session_refresh = TimeDelta::days(1);
    world.options.verify_every = TimeDelta::days(7);
    world.options.resources = vec![named("users"), named("sessions")];
    sync_ok(&world, "first").await;
    world
}

/// Returns the users whose sessions have been requested since the last call.
fn requested_owners(world: &World) -> BTreeSet<String> {
    let of_sessions = world.simulator.requests().into_iter().filter(|request| request.path == "/v1/sessions");
    let users = of_sessions.flat_map(|request| request.query).filter(|(name, _)| name == "user_id");
    let users = users.map(|(_, user)| user).collect();
    world.simulator.clear_requests();
    users
}

fn act(world: &World, changes: usize) {
    world.simulator.with_model(|model| {
        (0..changes).for_each(|_| model.change(ChangeKind::Activity));
        // Some users sign out, which is activity.
        let owner =
            |session: &Session| (session.status == "active").then(|| (session.id.clone(), session.user_id.clone()));
        let open: Vec<(String, String)> = model.sessions.iter().filter_map(owner).collect();
        for (session, user) in open.iter().step_by(open.len() / 2 + 1) {
            model.record_activity(user);
            model.end_session(session, "ended");
        }
        model.change(ChangeKind::CreateUser);
    });
}

/// Asserts that the lake has every session that Clerk has shown for a day, in a state from the last 25 hours.
async fn assert_no_older_than_a_day(world: &World, past: &[Rows], case: &str) {
    let stored = expected::stored(world, "sessions").await;
    let recent = &past[past.len().saturating_sub(26)..];
    for id in past[past.len() - 1].keys().filter(|id| recent.iter().all(|rows| rows.contains_key(*id))) {
        let row = stored.get(id).unwrap_or_else(|| panic!("{case}: {id} is missing"));
        assert!(recent.iter().any(|rows| rows[id] == *row), "{case}: {id} is older than a day: {row}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refreshed_sessions_are_never_older_than_a_day_and_new_sessions_are_synced_at_once() {
    let world = with_daily_refresh(false, |_| ()).await;
    let mut past = vec![expected::wanted(&world, "sessions")];
    requested_owners(&world);
    let mut requests = Vec::new();
    let hours = if sample_step(2) == 1 { 60 } else { 27 };
    for hour in 1..=hours {
        set_clock(&world, NOW + hour * HOUR);
        let before: BTreeSet<String> = past[past.len() - 1].keys().cloned().collect();
        act(&world, 8);
        past.push(expected::wanted(&world, "sessions"));
        sync_ok(&world, "hourly").await;
        requests.push(requested_owners(&world).len());
        let case = format!("after {hour} hours");
        let stored = expected::stored(&world, "sessions").await;
        let new = past[past.len() - 1].iter().filter(|(id, _)| !before.contains(*id));
        for (id, row) in new {
            assert_eq!(stored.get(id), Some(row), "{case}: a new session");
        }
        assert_no_older_than_a_day(&world, &past, &case).await;
    }
    // 8 changes per hour are about 4 sign-ins. In a day, about 150 different users are active and refreshed once each.
    let average = requests.iter().sum::<usize>() / requests.len();
    assert!(average <= 25 && requests.iter().all(|owners| *owners < 60), "{average} per sync: {requests:?}");
    // With session_refresh = 0, sessions are exact after each sync.
    let mut world = world;
    world.options.session_refresh = TimeDelta::zero();
    sync_ok(&world, "all").await;
    expected::assert_same("sessions", &still_shown(&world).await, &past[past.len() - 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_of_idle_owners_are_requested_once_a_week_unless_they_expire_before() {
    let mut world = with_daily_refresh(false, |_| ()).await;
    let long_lived = world.simulator.with_model(|model| {
        let idle = |session: &&Session| {
            let user = model.users.get(&session.user_id);
            let is_idle = user.is_some_and(|user| user.last_active_at.is_none_or(|at| at < NOW - 20 * DAY));
            session.status == "active" && is_idle
        };
        let session = model.sessions.iter().find(idle).expect("an idle owner of an open session").clone();
        model.sessions.get_mut(&session.id).expect("it is there").expire_at += 30 * DAY;
        session.user_id
    });
    world.options.extent = Extent::Full;
    sync_ok(&world, "all").await;
    world.options.extent = Extent::Changes;
    // By then, all users active in the last days have been refreshed.
    set_clock(&world, NOW + 72 * HOUR);
    sync_ok(&world, "after three days").await;
    let mut all = requested_owners(&world);
    for day in 4..9 {
        set_clock(&world, NOW + day * 24 * HOUR);
        sync_ok(&world, "daily").await;
        let owners = requested_owners(&world);
        assert!(owners.iter().all(|owner| *owner == long_lived), "{owners:?}");
        all.extend(owners);
    }
    assert!(all.contains(&long_lived), "not requested within a week");
}

/// Returns the stored sessions that Clerk still shows.
async fn still_shown(world: &World) -> Rows {
    let wanted = expected::wanted(world, "sessions");
    let mut stored = expected::stored(world, "sessions").await;
    stored.retain(|id, _| wanted.contains_key(id));
    stored
}

#[tokio::test(flavor = "multi_thread")]
async fn the_plain_list_is_read_up_to_known_sessions_and_in_full_once_a_day() {
    let world = with_daily_refresh(true, |config| config.users = 1500).await;
    let mut past = vec![expected::wanted(&world, "sessions")];
    let pages = past[0].len().div_ceil(500);
    assert!(pages >= 4, "{pages} pages");
    let mut requests = Vec::new();
    for hour in 1..=27 {
        set_clock(&world, NOW + hour * HOUR);
        act(&world, 8);
        past.push(expected::wanted(&world, "sessions"));
        let summary = sync_ok(&world, "hourly").await;
        requests.push(summary.resources[1].requests);
        assert_no_older_than_a_day(&world, &past, &format!("after {hour} hours")).await;
    }
    let whole = requests.iter().filter(|requests| **requests >= pages as u64).count();
    assert_eq!(whole, 1, "{requests:?}");
    assert!(requests.iter().filter(|requests| **requests <= 2).count() >= 25, "{requests:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_clerk_no_longer_shows_are_marked_and_not_requested_again() {
    for plain in [false, true] {
        let world = with_daily_refresh(plain, |config| config.users = 60).await;
        // Delete all sessions, and ten users.
        let deleted: Vec<String> = world.simulator.with_model(|model| {
            let sessions: Vec<String> = model.sessions.iter().map(|session| session.id.clone()).collect();
            for id in &sessions {
                model.clean_up_session(id);
            }
            let users: Vec<String> = model.users.iter().take(10).map(|user| user.id.clone()).collect();
            for id in &users {
                model.delete_user(id);
            }
            users
        });
        let before = world.number("SELECT count(*) FROM clerk_session").await;
        for day in 1..=9 {
            set_clock(&world, NOW + day * DAY);
            sync_ok(&world, "daily").await;
        }
        requested_owners(&world);
        set_clock(&world, NOW + 10 * DAY);
        sync_ok(&world, "at last").await;
        let owners = requested_owners(&world);
        assert!(owners.is_empty(), "plain: {plain}: sessions of {} users are still requested", owners.len());
        assert_eq!(
            world.number("SELECT count(*) FROM clerk_session").await,
            before,
            "plain: {plain}: rows are missing"
        );
        let open = "SELECT count(*) FROM clerk_session WHERE gone_at IS NULL AND status IN ('active', 'pending') \
            AND expire_at > TIMESTAMP '2026-09-22T15:00:00Z'";
        if plain {
            assert_eq!(world.number("SELECT count(*) FROM clerk_session WHERE gone_at IS NULL").await, 0);
        }
        let of_deleted = deleted.iter().map(|id| format!("'{id}'")).collect::<Vec<_>>().join(", ");
        assert_eq!(
            world.number(&format!("{open} AND user_id IN ({of_deleted})")).await,
            0,
            "plain: {plain}: {deleted:?}"
        );
    }
}
