//! The ledger of activity: what it takes in, what it never loses, and which days it may call complete.

mod life;
mod odd;

use std::collections::BTreeSet;
use std::sync::Arc;

use clerk_lake::api::Client;
use clerk_lake::lake::{Keeping, Lake};
use clerk_lake::simulator::model::{DAY, User};
use clerk_lake::simulator::{ChangeKind, Corruption, FaultKind, Faults, Model, SimulatorConfig};
use clerk_lake::sync::{Extent, ResourceStatus, Status, Summary, SyncOptions};
use object_store::ObjectStore;
use object_store::memory::InMemory;

use crate::faults::impatient;
use crate::histories::check::{assert_plain, lake_over};
use crate::incremental::{HOUR, set_clock};
use crate::support::ledger::{self, Day};
use crate::support::store::{FaultyStore, Plan, Point, Trouble};
use crate::support::{World, named, one_in, stderr, stdout};

/// The day of a stage's first sync, which begins at noon of it.
const FIRST: i64 = 20_700;

/// The next one: the first that can be complete.
const SECOND: i64 = FIRST + 1;

/// A few users and a lake in memory, synced at noon of the first day and of the second.
struct Stage {
    world: World,
    store: InMemory,
    users: Vec<String>,
}

/// A moment of a day, Unix milliseconds.
fn at(day: i64, hour: i64, minute: i64) -> i64 {
    day * DAY + hour * HOUR + minute * HOUR / 60
}

impl Stage {
    async fn new() -> Self {
        Self::with(|_| ()).await
    }

    async fn with(change: impl FnOnce(&mut SimulatorConfig)) -> Self {
        let stage = Self::first(change).await;
        stage.sync_at(at(SECOND, 12, 0)).await;
        stage
    }

    /// The same after its first sync.
    async fn first(change: impl FnOnce(&mut SimulatorConfig)) -> Self {
        let mut world = World::with(|config| {
            config.users = 8;
            config.organizations = 0;
            config.now = Some(at(FIRST, 12, 0));
            change(config);
        })
        .await;
        world.options.resources = ["users", "sessions", "user_activity"].map(named).to_vec();
        world.options.session_lookback_days = 3650;
        world.options.max_shrink = 1.0;
        let users = world.simulator.with_model(|model| model.users.iter().map(|user| user.id.clone()).collect());
        let stage = Self { world, store: InMemory::new(), users };
        stage.sync().await;
        stage
    }

    fn lake(&self) -> Lake {
        lake_over(Arc::new(self.store.clone()))
    }

    /// Syncs, which must succeed; the ledger is filled.
    async fn sync(&self) -> Summary {
        let summary = self.sync_with(self.world.client(), self.lake(), self.world.options.clone()).await;
        assert_eq!(summary.status, Status::Ok, "{summary:?}");
        ledger::assert_ledger(&self.world, &self.lake(), "after a sync").await;
        summary
    }

    async fn sync_with(&self, client: Client, lake: Lake, options: SyncOptions) -> Summary {
        Box::pin(self.world.sync_with(client, lake, options)).await
    }

    async fn sync_at(&self, moment: i64) -> Summary {
        set_clock(&self.world, moment);
        self.sync().await
    }

    /// At this moment, something happens to a user.
    fn then(&self, moment: i64, act: impl FnOnce(&mut Model, &str), user: usize) {
        set_clock(&self.world, moment);
        self.world.simulator.with_model(|model| act(model, &self.users[user]));
    }

    async fn day(&self, day: i64) -> Day {
        *ledger::days(&self.lake()).await.get(&day).unwrap_or_else(|| panic!("the day {day} has a row"))
    }

    /// What the second day is said to have been, once a sync at this hour of the third has settled it.
    async fn second_day_settled(&self, hour: i64, minute: i64) -> Day {
        self.sync_at(at(SECOND + 1, hour, minute)).await;
        self.day(SECOND).await
    }

    /// How many users were active on a day, in truth.
    fn truth(&self, day: i64) -> i64 {
        let truth = self.world.simulator.with_model(|model| ledger::truth(model));
        i64::try_from(ledger::on(&truth, day).len()).expect("a count")
    }
}

/// Activity that only the user's own row tells of.
fn be_active(model: &mut Model, user: &str) {
    model.record_activity(user);
    for session in model.sessions_of.get(user).cloned().unwrap_or_default() {
        model.clean_up_session(&session);
    }
}

fn settled(active: i64, unknown: i64) -> Day {
    Day { active, unknown: Some(unknown), complete: unknown == 0, settled: true }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_seen_to_its_end_is_complete_and_stays_as_users_come_back() {
    let stage = Stage::new().await;
    stage.then(at(SECOND, 15, 0), be_active, 1);
    stage.then(at(SECOND, 23, 50), be_active, 2);
    assert_eq!(stage.second_day_settled(0, 5).await, settled(2, 0));
    for user in [1, 2] {
        stage.then(at(SECOND + 1, 9, 0), be_active, user);
    }
    stage.sync_at(at(SECOND + 2, 12, 0)).await;
    assert_eq!(stage.day(SECOND).await, settled(2, 0));
    assert_eq!(stage.truth(SECOND), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_back_before_the_next_sync_is_unknown() {
    let stage = Stage::new().await;
    stage.then(at(SECOND, 23, 50), be_active, 1);
    for user in [1, 2] {
        stage.then(at(SECOND + 1, 7, 0), be_active, user);
    }
    // One of them was active, the other was not: nobody can tell.
    assert_eq!(stage.second_day_settled(8, 0).await, settled(0, 2));
    assert_eq!(stage.truth(SECOND), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn users_who_were_not_there_yet_are_not_unknown() {
    let stage = Stage::new().await;
    set_clock(&stage.world, at(SECOND + 1, 7, 0));
    stage.world.simulator.with_model(|model| model.change(ChangeKind::CreateUser));
    assert_eq!(stage.second_day_settled(8, 0).await, settled(0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn impersonation_is_not_the_user_s_activity() {
    let stage = Stage::new().await;
    stage.then(at(SECOND, 15, 0), |model, user| drop(model.impersonate(user)), 1);
    assert_eq!(stage.second_day_settled(0, 5).await, settled(0, 0));
    let rows = ledger::rows(&stage.lake()).await;
    assert!(!rows.contains(&(SECOND, stage.users[1].clone())), "{rows:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_user_stays_counted_and_hides_nothing_if_seen_that_day() {
    let stage = Stage::new().await;
    stage.then(at(SECOND, 14, 0), be_active, 1);
    stage.sync_at(at(SECOND, 15, 0)).await;
    stage.then(at(SECOND, 16, 0), Model::delete_user, 1);
    stage.sync_at(at(SECOND, 17, 0)).await;
    assert_eq!(stage.second_day_settled(0, 5).await, settled(1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_is_deleted_before_anybody_saw_the_activity_is_unknown_whichever_sync_saw_the_deletion() {
    for after in [None, Some(at(SECOND, 18, 0)), Some(at(SECOND, 23, 30))] {
        let stage = Stage::new().await;
        stage.then(at(SECOND, 16, 0), be_active, 1);
        stage.then(at(SECOND, 16, 5), Model::delete_user, 1);
        if let Some(moment) = after {
            stage.sync_at(moment).await;
        }
        let day = stage.second_day_settled(0, 5).await;
        assert_eq!(day, settled(0, 1), "{after:?}");
        assert_eq!(stage.truth(SECOND), 1, "{after:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_day_of_the_first_sync_and_those_before_are_lower_bounds_for_ever() {
    let stage = Stage::first(|_| ()).await;
    let before = stage.day(FIRST).await;
    assert_eq!((before.unknown, before.complete, before.settled), (None, false, false));
    stage.sync_at(at(SECOND, 0, 5)).await;
    stage.sync_at(at(SECOND + 1, 0, 5)).await;
    let first = stage.day(FIRST).await;
    assert_eq!((first.unknown, first.complete, first.settled), (None, false, true));
    for (day, it) in ledger::days(&stage.lake()).await.into_iter().filter(|(day, _)| *day < FIRST) {
        assert_eq!((it.unknown, it.complete, it.settled), (None, false, false), "{day}");
    }
    assert!(stage.day(SECOND).await.complete);
}

/// Sessions fail in a sync of the third day's morning, and not in the next one.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_read_late_tells_who_was_one_of_the_unknown() {
    let stage = Stage::new().await;
    stage.then(at(SECOND, 23, 50), |model, user| drop(model.create_session(user)), 1);
    stage.then(at(SECOND + 1, 7, 0), be_active, 2);
    stage.then(at(SECOND + 1, 7, 0), Model::record_activity, 1);
    stage.world.simulator.set_faults(Faults::always(FaultKind::ServerError).on("/v1/sessions"));
    set_clock(&stage.world, at(SECOND + 1, 8, 0));
    let options = stage.world.options.clone();
    let summary = stage.sync_with(impatient(&stage.world), stage.lake(), options).await;
    let statuses: Vec<_> = summary.resources.iter().map(|resource| resource.status).collect();
    assert_eq!(statuses, [ResourceStatus::Ok, ResourceStatus::Failed, ResourceStatus::Ok]);
    assert_eq!(stage.day(SECOND).await, settled(0, 2));
    stage.world.simulator.set_faults(Faults::default());
    stage.sync_at(at(SECOND + 1, 9, 0)).await;
    assert_eq!(stage.day(SECOND).await, settled(1, 1));
}

/// Syncs users and the ledger from them, and dies after so many commits.
async fn die_after(stage: &Stage, commits: u64) {
    let plan = Plan { death: Some((Point::AfterCommit, commits)), ..Plan::default() };
    let store = FaultyStore::over(Arc::new(stage.store.clone()), plan);
    let control = store.control();
    let resources = ["users", "user_activity"].map(named).to_vec();
    let options = SyncOptions { resources, ..stage.world.options.clone() };
    // Nothing is put together in between: that would be a commit, too.
    let lake = lake_over(Arc::new(store)).keeping(Keeping { compact_files: 0, ..Keeping::default() });
    let run = stage.sync_with(stage.world.client(), lake, options);
    tokio::select! {
        biased;
        () = control.died() => {}
        summary = run => panic!("it has not died: {summary:?}"),
    }
    control.bury();
}

/// The commits of such a run: of the users, of the ledger, of the days.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_dies_between_its_commits_claims_nothing_that_is_not_there() {
    for commits in 1..=3 {
        let stage = Stage::new().await;
        let mut before = ledger::rows(&stage.lake()).await;
        let known: BTreeSet<String> = stage.users.iter().cloned().collect();
        stage.then(at(SECOND, 20, 0), be_active, 1);
        set_clock(&stage.world, at(SECOND, 21, 0));
        die_after(&stage, commits).await;
        let sound = async |before: &mut ledger::Active, when: &str| {
            let truth = stage.world.simulator.with_model(|model| ledger::truth(model));
            let case = format!("{when}, dead after {commits} commits");
            ledger::assert_sound(&stage.lake(), &truth, &known, before, &case).await;
        };
        sound(&mut before, "dead").await;
        // The day that the dead run saw is hidden by the next one's.
        stage.then(at(SECOND + 1, 0, 3), be_active, 1);
        let day = stage.second_day_settled(0, 5).await;
        assert_eq!(day, if commits > 1 { settled(1, 0) } else { settled(0, 1) }, "dead after {commits} commits");
        sound(&mut before, "next").await;
    }
}

/// The same at midnight: the rows that the dead run committed stay, though it never came to settle the day.
#[tokio::test(flavor = "multi_thread")]
async fn a_day_that_a_dead_run_did_not_settle_is_settled_with_its_rows_by_the_next_one() {
    for active in [false, true] {
        let stage = Stage::new().await;
        if active {
            stage.then(at(SECOND, 23, 50), be_active, 1);
        }
        set_clock(&stage.world, at(SECOND + 1, 0, 5));
        die_after(&stage, 2).await;
        for user in [1, 2] {
            stage.then(at(SECOND + 1, 7, 0), be_active, user);
        }
        let day = stage.second_day_settled(8, 0).await;
        assert_eq!(day, if active { settled(1, 1) } else { settled(0, 2) }, "active: {active}");
        assert_eq!(stage.truth(SECOND), i64::from(active));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_that_a_dead_run_has_counted_is_not_counted_again() {
    for commits in 1..=3 {
        let stage = Stage::new().await;
        stage.then(at(SECOND, 14, 0), be_active, 1);
        stage.sync_at(at(SECOND, 15, 0)).await;
        stage.then(at(SECOND, 16, 0), Model::delete_user, 1);
        set_clock(&stage.world, at(SECOND, 17, 0));
        die_after(&stage, commits).await;
        assert_eq!(stage.second_day_settled(0, 5).await, settled(1, 0), "dead after {commits} commits");
    }
}

/// Fills the ledger of a copy of the lake while operation number `at` is in `trouble`, and then once more; whether it
/// came so far.
async fn survives(stage: &Stage, at: u64, trouble: Trouble) -> bool {
    let case = format!("operation {at}, {trouble:?}");
    let options = SyncOptions { resources: vec![named("user_activity")], ..stage.world.options.clone() };
    let store: Arc<dyn ObjectStore> = Arc::new(stage.store.fork());
    let plan = Plan { troubles: vec![(at..at + 1, trouble)], ..Plan::default() };
    let handle = FaultyStore::over(Arc::clone(&store), plan);
    let control = handle.control();
    let run = stage.sync_with(stage.world.client(), lake_over(Arc::new(handle)), options.clone());
    tokio::select! {
        biased;
        () = control.died() => {}
        _ = run => {}
    }
    control.bury();
    let lake = lake_over(Arc::clone(&store));
    let truth = stage.world.simulator.with_model(|model| ledger::truth(model));
    let (mut before, known) = (ledger::rows(&stage.lake()).await, ledger::users(&lake).await);
    ledger::assert_sound(&lake, &truth, &known, &mut before, &case).await;
    let next = stage.sync_with(stage.world.client(), lake.clone(), options).await;
    assert_eq!(next.status, Status::Ok, "{case}: {next:?}");
    ledger::assert_sound(&lake, &truth, &known, &mut before, &case).await;
    ledger::assert_filled(&lake, &case).await;
    assert_eq!(ledger::days(&lake).await[&SECOND], settled(2, 0), "{case}");
    assert_plain(&store, &lake, named("user_activity")).await;
    control.operations() >= at
}

/// So many operations apart, each may be in trouble.
async fn assert_operations_may_be(trouble: Trouble, apart: u64) {
    let stage = Stage::new().await;
    for user in [1, 2] {
        stage.then(at(SECOND, 20, 0), be_active, user);
    }
    set_clock(&stage.world, at(SECOND + 1, 0, 5));
    let tables = SyncOptions { resources: ["users", "sessions"].map(named).to_vec(), ..stage.world.options.clone() };
    let summary = stage.sync_with(stage.world.client(), stage.lake(), tables).await;
    assert_eq!(summary.status, Status::Ok, "{summary:?}");
    let mut at = 1;
    while survives(&stage, at, trouble).await {
        at += apart;
    }
    assert!(at > 20, "the ledger takes more than {at} operations");
}

#[tokio::test(flavor = "multi_thread")]
async fn any_operation_of_filling_the_ledger_may_be_its_last() {
    assert_operations_may_be(Trouble::Fatal, one_in(17)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn operations_of_filling_the_ledger_may_be_refused_or_lose_their_answer() {
    assert_operations_may_be(Trouble::Refused, one_in(29)).await;
    assert_operations_may_be(Trouble::AnswerLost, one_in(29)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_itself_the_ledger_is_filled_from_what_is_in_the_lake() {
    let stage = Stage::first(|_| ()).await;
    let alone = SyncOptions { resources: vec![named("user_activity")], ..stage.world.options.clone() };
    let empty = lake_over(Arc::new(InMemory::new()));
    let summary = stage.sync_with(stage.world.client(), empty, alone.clone()).await;
    let skipped = &summary.resources[0];
    assert_eq!((summary.status, skipped.status), (Status::Ok, ResourceStatus::Skipped), "{summary:?}");
    assert!(skipped.error.as_deref().is_some_and(|error| error.contains("sync users and sessions first")));

    stage.then(at(SECOND, 13, 0), be_active, 1);
    let tables = SyncOptions { resources: ["users", "sessions"].map(named).to_vec(), ..stage.world.options.clone() };
    let summary = stage.sync_with(stage.world.client(), stage.lake(), tables).await;
    assert_eq!(summary.status, Status::Ok, "{summary:?}");
    let before = ledger::rows(&stage.lake()).await;
    let summary = stage.sync_with(stage.world.client(), stage.lake(), alone).await;
    let filled = &summary.resources[0];
    assert_eq!((summary.status, filled.mode, filled.rows_inserted), (Status::Ok, "incremental", 1), "{summary:?}");
    let rows = ledger::rows(&stage.lake()).await;
    assert_eq!(rows.difference(&before).collect::<Vec<_>>(), [&(SECOND, stage.users[1].clone())]);
    ledger::assert_filled(&stage.lake(), "alone").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_a_server_does_not_say_what_time_it_is_no_day_is_complete() {
    let stage = Stage::with(|config| config.date_header = false).await;
    for day in SECOND + 1..=SECOND + 3 {
        // Somebody's row must say that time goes on.
        stage.then(at(day, 0, 1), be_active, 1);
        stage.sync_at(at(day, 0, 5)).await;
    }
    let days = ledger::days(&stage.lake()).await;
    assert!(days.values().all(|day| !day.complete && day.unknown.is_none()), "{days:?}");
    assert!(days.values().any(|day| day.settled), "{days:?}");
}

/// An old day of a user whose row could not be read when it was seen last.
#[tokio::test(flavor = "multi_thread")]
async fn a_user_whose_row_cannot_be_read_makes_days_uncertain_and_is_taken_in_later() {
    let stage = Stage::first(|_| ()).await;
    let user = stage.users[1].clone();
    set_clock(&stage.world, at(SECOND, 12, 0));
    stage.world.simulator.with_model(|model| {
        be_active(model, &user);
        model.corrupt.insert(user.clone(), Corruption::NoId);
    });
    let options = SyncOptions { max_rejected: 0.5, ..stage.world.options.clone() };
    let sync = async |moment: i64, extent: Extent| {
        set_clock(&stage.world, moment);
        let summary =
            stage.sync_with(stage.world.client(), stage.lake(), SyncOptions { extent, ..options.clone() }).await;
        assert_eq!(summary.status, Status::Ok, "{summary:?}");
    };
    for hour in [13, 24, 36] {
        sync(at(SECOND, hour, 5), Extent::Changes).await;
    }
    let day = stage.day(SECOND).await;
    assert!(day.settled && day.unknown.is_some_and(|unknown| unknown >= 1), "{day:?}");
    stage.world.simulator.with_model(|model| model.corrupt.clear());
    sync(at(SECOND + 3, 12, 0), Extent::Full).await;
    assert!(ledger::rows(&stage.lake()).await.contains(&(SECOND, user)), "it can be read again, and tells of that day");
    ledger::assert_filled(&stage.lake(), "readable again").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_sync_finds_what_no_incremental_one_looks_for() {
    let mut stage = Stage::new().await;
    // Something that Clerk does not do: a user who is new and was active long ago.
    let old = SECOND - 400;
    let imported = stage.world.simulator.with_model(|model| {
        let (id, created_at) = (model.id("user_"), at(old, 1, 0));
        let like = model.users.get(&stage.users[1]).expect("a user").clone();
        let dates = User { created_at, updated_at: at(SECOND, 13, 0), last_active_at: Some(old * DAY), ..like };
        model.users.insert(created_at, &id, User { id: id.clone(), ..dates });
        id
    });
    let row = (old, imported);
    set_clock(&stage.world, at(SECOND, 14, 0));
    let options = stage.world.options.clone();
    let summary = stage.sync_with(stage.world.client(), stage.lake(), options).await;
    assert_eq!((summary.resources[0].rows_inserted, summary.resources[2].mode), (1, "incremental"), "{summary:?}");
    assert!(!ledger::rows(&stage.lake()).await.contains(&row));
    stage.world.options.extent = Extent::Full;
    let summary = stage.sync().await;
    assert_eq!(summary.resources[2].mode, "full");
    assert!(ledger::rows(&stage.lake()).await.contains(&row));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_shows_the_ledger_and_its_days() {
    let world = World::with(|config| config.users = 50).await;
    assert_eq!(world.run(&["sync"]).await.status.code(), Some(0));
    let rows = world.number("SELECT count(*) FROM clerk_user_activity").await;
    let days = world.number("SELECT count(*) FROM clerk_activity_day").await;
    assert_eq!(world.number("SELECT CAST(sum(active_users) AS BIGINT) FROM clerk_activity_day").await, rows);
    let status = world.run(&["status"]).await;
    for (table, count) in [("clerk_user_activity", rows), ("clerk_activity_day", days)] {
        let text = stdout(&status);
        let line = text.lines().find(|line| line.starts_with(table)).unwrap_or_else(|| panic!("{table}: {text}"));
        assert_eq!(line.split_whitespace().nth(1), Some(count.to_string().as_str()), "{line}");
    }
    let schema = world.run(&["schema"]).await;
    for text in ["clerk_user_activity (ledger)", "clerk_activity_day (metric)", "unknown_users", "first_observed_at"] {
        assert!(stdout(&schema).contains(text), "{text}: {}", stderr(&schema));
    }
}
