//! One incremental sync after whatever has changed leaves the tables equal to the instance, row by row.

use std::time::Duration;

use clerk_lake::resource::{self, USER_ACTIVITY};
use clerk_lake::simulator::model::{DAY, User};
use clerk_lake::simulator::{ChangeKind, Changes, Model, SimulatorConfig};
use clerk_lake::sync::{Extent, ResourceSummary, Status, Summary};
use serde_json::Value;

use crate::support::expected::{self, NOW, Rows};
use crate::support::{World, every_second, ledger, named, one_in, plain_rows};

/// An hour in milliseconds.
pub const HOUR: i64 = 3_600_000;

/// Changes that leave as many users as there were: nothing but the lists of changes can show them.
pub const UNCOUNTED: [ChangeKind; 6] = [
    ChangeKind::Activity,
    ChangeKind::Ban,
    ChangeKind::ChangeEmail,
    ChangeKind::UpdateProfile,
    ChangeKind::RenameOrganization,
    ChangeKind::EndSession,
];

/// A world whose clock stands still, and which is synced incrementally as soon as that is possible.
pub async fn fresh(change: impl FnOnce(&mut SimulatorConfig)) -> World {
    let mut world = expected::still(|config| {
        config.users = 300;
        change(config);
    })
    .await;
    world.options.extent = Extent::Changes;
    // Where sessions are listed user by user, the first sync asks for everybody's.
    world.options.session_lookback_days = 3650;
    world
}

/// The same after its first sync.
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

/// Makes so many changes of each of these kinds.
pub fn change(model: &mut Model, kinds: &[ChangeKind], times: usize) {
    for kind in kinds {
        (0..times).for_each(|_| change_once(model, *kind));
    }
}

/// One change. A session that ends is one that was open.
fn change_once(model: &mut Model, kind: ChangeKind) {
    let open = model.sessions.iter().find(|session| session.status == "active").map(|session| session.id.clone());
    match open.filter(|_| kind == ChangeKind::EndSession) {
        Some(session) => model.end_session(&session, "ended"),
        None => model.change(kind),
    }
}

/// Every session that a sync has seen, as it was last seen: it stays, whatever Clerk shows later.
#[derive(Default)]
pub struct Seen(Rows);

impl Seen {
    /// Takes in the sessions that the instance shows.
    pub fn note(&mut self, world: &World) {
        self.0.extend(expected::wanted(world, "sessions"));
    }

    /// After a sync, every table equals the instance as it is now, row by row, no session has been lost, and the
    /// ledger is filled.
    pub async fn assert_exact(&mut self, world: &World, case: &str) {
        self.note(world);
        ledger::assert_ledger(world, &world.lake(), case).await;
        for resource in resource::ALL.into_iter().filter(|resource| resource.name != USER_ACTIVITY.name) {
            let sessions = resource.name == "sessions";
            let want = if sessions { self.0.clone() } else { expected::wanted(world, resource.name) };
            assert_table(world, resource.name, &want, case).await;
        }
        expected::assert_nothing_staged(world, case);
    }
}

/// The table of the resource called `name` holds these rows, and a plain Parquet reader counts as many.
pub async fn assert_table(world: &World, name: &str, want: &Rows, case: &str) {
    let stored = Box::pin(expected::stored(world, name)).await;
    expected::assert_same(&format!("{case}: {name}"), &stored, want);
    let plain = plain_rows(&world.path(), named(name).table.name);
    assert_eq!(plain, want.len(), "{case}: {name} as a plain Parquet reader counts");
}

/// After each kind of change alone, the clock a `step` further each time, one sync makes the tables exact.
async fn assert_each_kind_of_change_is_taken_in(plain: bool, step: i64) {
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
async fn one_incremental_sync_takes_in_each_kind_of_change() {
    assert_each_kind_of_change_is_taken_in(true, HOUR).await;
    if one_in(2) == 1 {
        assert_each_kind_of_change_is_taken_in(true, 2 * DAY).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_incremental_sync_takes_in_each_kind_of_change_where_sessions_are_asked_for_by_user() {
    if one_in(2) == 1 {
        assert_each_kind_of_change_is_taken_in(false, HOUR).await;
    }
    assert_each_kind_of_change_is_taken_in(false, 2 * DAY).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tables_are_exact_run_after_run_whatever_changes_in_between() {
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
async fn what_changes_while_changes_are_read_is_there_after_the_next_sync() {
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
        let restless = Changes { every: 2, per_step: 2, kinds: ChangeKind::ALL.to_vec(), most: None };
        world.simulator.set(|config| config.changes = Some(restless));
        // Whatever becomes of it: the next one finds everything.
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

/// An open session of a user.
fn open_session(model: &Model, user: &str) -> Option<String> {
    let is_open = |id: &&String| model.sessions.get(id).is_some_and(|session| session.status == "active");
    model.sessions_of.get(user)?.iter().find(is_open).cloned()
}

/// Somebody who has neither been active nor changed for days, is not banned and has an open session.
pub fn quiet_user(model: &Model) -> String {
    let days_ago = NOW - 5 * DAY;
    let is_quiet = |user: &&User| {
        let inactive = user.last_active_at.is_some_and(|at| at < days_ago);
        inactive && user.updated_at < days_ago && !user.banned && open_session(model, &user.id).is_some()
    };
    model.users.iter().find(is_quiet).expect("a quiet user").id.clone()
}

/// Changes something about a quiet user an hour after the first sync. One more sync makes the tables exact; gives
/// what it did to the users, and the user's row, null where there is none.
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

/// Imports a user like another one, who signed up long ago and was never active.
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
async fn incremental_sync_sees_an_imported_user_who_did_not_change_lately_either() {
    let (users, _) = sync_after(|model, id| import(model, id, NOW - 900 * DAY)).await;
    assert_eq!((users.mode, users.rows_inserted, users.rows_updated), ("full", 1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn incremental_sync_sees_a_deleted_user() {
    let (users, row) = sync_after(Model::delete_user).await;
    assert_eq!((users.mode, users.rows_deleted, row), ("full", 1, Value::Null));
}

#[tokio::test(flavor = "multi_thread")]
async fn incremental_sync_sees_a_deleted_user_whom_a_new_one_makes_up_for_in_the_count() {
    let (users, row) = sync_after(|model, id| {
        model.delete_user(id);
        model.change(ChangeKind::CreateUser);
    })
    .await;
    assert_eq!((users.mode, users.rows_inserted, users.rows_deleted, row), ("full", 1, 1, Value::Null));
}

#[tokio::test(flavor = "multi_thread")]
async fn incremental_sync_sees_the_end_of_a_session_whose_user_is_not_active_otherwise() {
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
