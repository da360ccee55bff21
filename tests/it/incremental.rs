//! After any changes, one incremental sync makes the tables equal to the instance, row by row.

use std::time::Duration;

use clerk_lake::resource::{self, USER_ACTIVITY};
use clerk_lake::simulator::model::{DAY, User};
use clerk_lake::simulator::{ChangeKind, Changes, Model, SimulatorConfig};
use clerk_lake::sync::{Extent, ResourceSummary, Status, Summary};
use serde_json::Value;

use crate::support::expected::{self, NOW, Rows};
use crate::support::{World, every_second, ledger, named, plain_row_count, sample_step};

/// An hour in milliseconds.
pub const HOUR: i64 = 3_600_000;

/// Changes that do not change the number of users, so that only the lists of changes can show them.
pub const UNCOUNTED: [ChangeKind; 6] = [
    ChangeKind::Activity,
    ChangeKind::Ban,
    ChangeKind::ChangeEmail,
    ChangeKind::UpdateProfile,
    ChangeKind::RenameOrganization,
    ChangeKind::EndSession,
];

/// Returns a world whose clock stands still and whose syncs are incremental, except the first one.
pub async fn fresh(change: impl FnOnce(&mut SimulatorConfig)) -> World {
    let mut world = expected::fixed_clock_world(|config| {
        config.users = 300;
        change(config);
    })
    .await;
    world.options.extent = Extent::Changes;
    // If sessions are listed by user, the first sync lists the sessions of all users.
    world.options.session_lookback_days = 3650;
    world
}

/// Like [`fresh`], after the first sync.
pub async fn synced(change: impl FnOnce(&mut SimulatorConfig)) -> World {
    let world = fresh(change).await;
    sync_ok(&world, "first").await;
    world
}

/// Syncs everything, which must succeed.
pub async fn sync_ok(world: &World, case: &str) -> Summary {
    let summary = Box::pin(world.sync()).await;
    assert_eq!(summary.status, Status::Ok, "{case}: {summary:?}");
    summary
}

/// Sets the instance's clock.
pub fn set_clock(world: &World, now: i64) {
    world.simulator.set(|config| config.now = Some(now));
}

/// Makes `times` changes of each of these kinds.
pub fn change(model: &mut Model, kinds: &[ChangeKind], times: usize) {
    for kind in kinds {
        (0..times).for_each(|_| change_once(model, *kind));
    }
}

/// Makes one change. Ends only open sessions.
fn change_once(model: &mut Model, kind: ChangeKind) {
    let open = model.sessions.iter().find(|session| session.status == "active").map(|session| session.id.clone());
    match open.filter(|_| kind == ChangeKind::EndSession) {
        Some(session) => model.end_session(&session, "ended"),
        None => model.change(kind),
    }
}

/// All sessions that a sync has seen, in their last seen state. They stay in the table whatever Clerk shows later.
#[derive(Default)]
pub struct Seen(Rows);

impl Seen {
    /// Adds the sessions that the instance shows.
    pub fn note(&mut self, world: &World) {
        self.0.extend(expected::wanted(world, "sessions"));
    }

    /// Asserts that every table equals the current instance row by row, that no session has been lost, and that the
    /// activity ledger is correct. To be called after a sync.
    pub async fn assert_exact(&mut self, world: &World, case: &str) {
        self.note(world);
        ledger::assert_ledger(world, &world.lake(), case).await;
        for resource in resource::defaults().into_iter().filter(|resource| resource.name != USER_ACTIVITY.name) {
            let is_sessions = resource.name == "sessions";
            let wanted = if is_sessions { self.0.clone() } else { expected::wanted(world, resource.name) };
            assert_table(world, resource.name, &wanted, case).await;
        }
        expected::assert_nothing_staged(world, case);
    }
}

/// Asserts that the table of the resource called `name` has the rows `wanted`, also as a plain Parquet reader counts.
pub async fn assert_table(world: &World, name: &str, wanted: &Rows, case: &str) {
    let stored = Box::pin(expected::stored(world, name)).await;
    expected::assert_same(&format!("{case}: {name}"), &stored, wanted);
    let plain = plain_row_count(&world.path(), named(name).table.name);
    assert_eq!(plain, wanted.len(), "{case}: {name} as a plain Parquet reader counts");
}

/// Makes changes of one kind at a time, and advances the clock by `step` milliseconds each time. Asserts that one sync
/// makes the tables exact.
async fn assert_each_kind_of_change_is_synced(plain: bool, step: i64) {
    let world = synced(|config| {
        config.users = 150;
        config.plain_session_listing = plain;
    })
    .await;
    let mut seen = Seen::default();
    seen.assert_exact(&world, "first").await;
    for (number, kind) in (1..).zip(every_second(&ChangeKind::ALL, usize::from(plain))) {
        let case = format!("{kind}, plain session list: {plain}, after {} hours", number * step / HOUR);
        set_clock(&world, NOW + number * step);
        world.simulator.with_model(|model| change(model, &[kind], 4));
        let summary = sync_ok(&world, &case).await;
        let mode = if kind == ChangeKind::DeleteUser { "full" } else { "incremental" };
        assert_eq!(summary.resources[0].mode, mode, "{case}");
        seen.assert_exact(&world, &case).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_incremental_sync_sees_each_kind_of_change() {
    assert_each_kind_of_change_is_synced(true, HOUR).await;
    if sample_step(2) == 1 {
        assert_each_kind_of_change_is_synced(true, 2 * DAY).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_incremental_sync_sees_each_kind_of_change_if_sessions_are_listed_by_user() {
    if sample_step(2) == 1 {
        assert_each_kind_of_change_is_synced(false, HOUR).await;
    }
    assert_each_kind_of_change_is_synced(false, 2 * DAY).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_stay_exact_over_several_incremental_syncs() {
    let world = synced(|_| ()).await;
    let mut seen = Seen::default();
    seen.note(&world);
    for run in 1..=6 {
        let case = format!("run {run}");
        set_clock(&world, NOW + run * 7 * HOUR);
        world.simulator.with_model(|model| change(model, &ChangeKind::ALL, 2));
        sync_ok(&world, &case).await;
        seen.assert_exact(&world, &case).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_made_during_an_incremental_sync_are_stored_by_the_next_sync() {
    let mut world = World::with(|config| {
        config.users = 200;
        config.clamp = Some(50);
        config.latency = Duration::from_millis(1);
    })
    .await;
    world.options.max_shrink = 1.0;
    sync_ok(&world, "first").await;
    for run in 1..=3 {
        let case = format!("run {run}");
        let changes = Changes { every: 2, per_step: 2, kinds: ChangeKind::ALL.to_vec(), most: None };
        world.simulator.set(|config| config.changes = Some(changes));
        // This sync may fail. The next one must find everything.
        Box::pin(world.sync()).await;
        world.simulator.set(|config| config.changes = None);
        sync_ok(&world, &case).await;
        for name in ["users", "organizations"] {
            assert_table(&world, name, &expected::wanted(&world, name), &case).await;
        }
        let wanted = expected::wanted(&world, "sessions");
        let mut stored = expected::stored(&world, "sessions").await;
        stored.retain(|id, _| wanted.contains_key(id));
        expected::assert_same(&format!("{case}: sessions"), &stored, &wanted);
    }
}

/// Returns the id of an open session of a user; `None` if there is none.
fn open_session(model: &Model, user: &str) -> Option<String> {
    let is_open = |id: &&String| model.sessions.get(id).is_some_and(|session| session.status == "active");
    model.sessions_of.get(user)?.iter().find(is_open).cloned()
}

/// Returns the id of a user who has neither been active nor changed for days, is not banned and has an open session.
pub fn quiet_user(model: &Model) -> String {
    let days_ago = NOW - 5 * DAY;
    let is_quiet = |user: &&User| {
        let inactive = user.last_active_at.is_some_and(|at| at < days_ago);
        inactive && user.updated_at < days_ago && !user.banned && open_session(model, &user.id).is_some()
    };
    model.users.iter().find(is_quiet).expect("a quiet user").id.clone()
}

/// Changes a quiet user with `act` an hour after the first sync. Asserts that one more sync makes the tables exact.
/// Returns that sync's summary of the users, and the user's row, which is null if the user is no longer stored.
async fn sync_after(act: impl FnOnce(&mut Model, &str)) -> (ResourceSummary, Value) {
    let world = synced(|_| ()).await;
    let mut seen = Seen::default();
    seen.note(&world);
    set_clock(&world, NOW + HOUR);
    let id = world.simulator.with_model(|model| {
        let id = quiet_user(model);
        act(model, &id);
        id
    });
    let summary = sync_ok(&world, "second").await;
    seen.assert_exact(&world, "second").await;
    let row = expected::stored(&world, "users").await.remove(&id).unwrap_or_default();
    (summary.resources[0].clone(), row)
}

#[tokio::test(flavor = "multi_thread")]
async fn incremental_sync_sees_a_ban_without_activity() {
    let (users, row) = sync_after(|model, id| model.ban(id, true)).await;
    assert_eq!((users.mode, users.rows_updated), ("incremental", 1));
    assert_eq!(row["banned"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn incremental_sync_sees_activity_that_does_not_move_updated_at() {
    let (users, row) = sync_after(|model, id| {
        let before = model.users.get(id).expect("a user").updated_at;
        model.record_activity(id);
        assert_eq!(model.users.get(id).expect("a user").updated_at, before);
    })
    .await;
    assert_eq!((users.mode, users.rows_updated), ("incremental", 1));
    assert_eq!(row["last_active_at"], "2026-09-21T00:00:00Z");
}

#[tokio::test(flavor = "multi_thread")]
async fn incremental_sync_sees_an_email_change() {
    let (users, row) = sync_after(Model::change_email).await;
    assert_eq!((users.mode, users.rows_updated), ("incremental", 1));
    assert!(row["email"].as_str().is_some_and(|email| email.ends_with("@changed.example")), "{row}");
}

/// Imports a copy of the user `like` that signed up long ago and was never active.
fn import(model: &mut Model, like: &str, updated_at: i64) {
    let (id, created_at) = (model.id("user_"), NOW - 900 * DAY);
    let user = model.users.get(like).expect("a user").clone();
    let dates = User { created_at, updated_at, last_active_at: None, last_sign_in_at: None, ..user };
    model.users.insert(created_at, &id, User { id: id.clone(), ..dates });
}

#[tokio::test(flavor = "multi_thread")]
async fn incremental_sync_sees_an_imported_user_who_was_never_active() {
    let (users, _) = sync_after(|model, id| import(model, id, NOW + HOUR)).await;
    assert_eq!((users.mode, users.rows_inserted, users.rows_updated), ("incremental", 1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn incremental_sync_sees_an_imported_user_without_recent_change_or_activity() {
    let (users, _) = sync_after(|model, id| import(model, id, NOW - 900 * DAY)).await;
    assert_eq!((users.mode, users.rows_inserted, users.rows_updated), ("full", 1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn incremental_sync_sees_a_deleted_user() {
    let (users, row) = sync_after(Model::delete_user).await;
    assert_eq!((users.mode, users.rows_deleted, row), ("full", 1, Value::Null));
}

#[tokio::test(flavor = "multi_thread")]
async fn incremental_sync_sees_a_deletion_if_a_new_user_keeps_the_count_the_same() {
    let (users, row) = sync_after(|model, id| {
        model.delete_user(id);
        model.change(ChangeKind::CreateUser);
    })
    .await;
    assert_eq!((users.mode, users.rows_inserted, users.rows_deleted, row), ("full", 1, 1, Value::Null));
}

#[tokio::test(flavor = "multi_thread")]
async fn incremental_sync_sees_the_end_of_a_session_without_user_activity() {
    for plain in [true, false] {
        let case = format!("plain session list: {plain}");
        let world = synced(|config| config.plain_session_listing = plain).await;
        set_clock(&world, NOW + HOUR);
        let session = world.simulator.with_model(|model| {
            let session = open_session(model, &quiet_user(model)).expect("an open session");
            model.end_session(&session, "revoked");
            session
        });
        sync_ok(&world, &case).await;
        Seen::default().assert_exact(&world, &case).await;
        assert_eq!(expected::stored(&world, "sessions").await[&session]["status"], "revoked", "{case}");
    }
}
