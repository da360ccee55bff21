//! The activity ledger: what it records, that it never loses a row, and which days are complete.

mod impossible_times;
mod simulation;

use std::collections::BTreeSet;
use std::sync::Arc;

use clerk_lake::api::Client;
use clerk_lake::lake::{Lake, MaintenanceOptions};
use clerk_lake::simulator::model::{DAY, User};
use clerk_lake::simulator::{ChangeKind, Corruption, FaultKind, Faults, Model, SimulatorConfig};
use clerk_lake::sync::{Extent, ResourceStatus, Status, Summary, SyncOptions};
use object_store::ObjectStore;
use object_store::memory::InMemory;

use crate::faults::impatient;
use crate::histories::check::{assert_plain, lake_over};
use crate::incremental::{HOUR, set_clock};
use crate::support::faulty_store::{CrashPoint, FaultPlan, FaultyStore, StoreFault};
use crate::support::ledger::{self, Day};
use crate::support::{World, named, sample_step, stderr, stdout};

/// The day of the first sync of a [`Stage`], which begins at noon.
const FIRST: i64 = 20_700;

/// The next day: the first that can be complete.
const SECOND: i64 = FIRST + 1;

/// A few users and a lake in memory, synced at noon of the first and the second day.
struct Stage {
    world: World,
    store: InMemory,
    users: Vec<String>,
}

/// Returns a time of a day in Unix milliseconds.
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

    /// Returns the stage after its first sync.
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

    /// Syncs, and asserts that the sync succeeds and the ledger is up to date.
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

    /// Sets the clock and changes a user.
    fn change_at(&self, moment: i64, act: impl FnOnce(&mut Model, &str), user: usize) {
        set_clock(&self.world, moment);
        self.world.simulator.with_model(|model| act(model, &self.users[user]));
    }

    async fn day(&self, day: i64) -> Day {
        *ledger::days(&self.lake()).await.get(&day).unwrap_or_else(|| panic!("day {day} has no row"))
    }

    /// Syncs at this time of the third day, which settles the second day. Returns the row of the second day.
    async fn settle_second_day(&self, hour: i64, minute: i64) -> Day {
        self.sync_at(at(SECOND + 1, hour, minute)).await;
        self.day(SECOND).await
    }

    /// Returns the number of users who were really active on a day.
    fn true_count(&self, day: i64) -> i64 {
        let truth = self.world.simulator.with_model(|model| ledger::true_activity(model));
        i64::try_from(ledger::users_on(&truth, day).len()).expect("a count")
    }
}

/// Records activity that only the user's row shows.
fn record_user_activity(model: &mut Model, user: &str) {
    model.record_activity(user);
    for session in model.sessions_of.get(user).cloned().unwrap_or_default() {
        model.clean_up_session(&session);
    }
}

fn settled(active: i64, unknown: i64) -> Day {
    Day { active, unknown: Some(unknown), complete: unknown == 0, settled: true }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_complete_day_stays_complete_when_its_users_return() {
    let stage = Stage::new().await;
    stage.change_at(at(SECOND, 15, 0), record_user_activity, 1);
    stage.change_at(at(SECOND, 23, 50), record_user_activity, 2);
    assert_eq!(stage.settle_second_day(0, 5).await, settled(2, 0));
    for user in [1, 2] {
        stage.change_at(at(SECOND + 1, 9, 0), record_user_activity, user);
    }
    stage.sync_at(at(SECOND + 2, 12, 0)).await;
    assert_eq!(stage.day(SECOND).await, settled(2, 0));
    assert_eq!(stage.true_count(SECOND), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn users_active_again_before_the_next_sync_are_unknown() {
    let stage = Stage::new().await;
    stage.change_at(at(SECOND, 23, 50), record_user_activity, 1);
    for user in [1, 2] {
        stage.change_at(at(SECOND + 1, 7, 0), record_user_activity, user);
    }
    // One of them was active on the day and the other was not. The lake cannot tell which.
    assert_eq!(stage.settle_second_day(8, 0).await, settled(0, 2));
    assert_eq!(stage.true_count(SECOND), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn users_created_after_the_day_are_not_unknown() {
    let stage = Stage::new().await;
    set_clock(&stage.world, at(SECOND + 1, 7, 0));
    stage.world.simulator.with_model(|model| model.change(ChangeKind::CreateUser));
    assert_eq!(stage.settle_second_day(8, 0).await, settled(0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn impersonation_does_not_count_as_activity() {
    let stage = Stage::new().await;
    stage.change_at(at(SECOND, 15, 0), |model, user| drop(model.impersonate(user)), 1);
    assert_eq!(stage.settle_second_day(0, 5).await, settled(0, 0));
    let rows = ledger::rows(&stage.lake()).await;
    assert!(!rows.contains(&(SECOND, stage.users[1].clone())), "{rows:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_user_seen_active_that_day_is_counted_and_the_day_complete() {
    let stage = Stage::new().await;
    stage.change_at(at(SECOND, 14, 0), record_user_activity, 1);
    stage.sync_at(at(SECOND, 15, 0)).await;
    stage.change_at(at(SECOND, 16, 0), Model::delete_user, 1);
    stage.sync_at(at(SECOND, 17, 0)).await;
    assert_eq!(stage.settle_second_day(0, 5).await, settled(1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_deleted_before_a_sync_saw_the_activity_is_unknown() {
    for after in [None, Some(at(SECOND, 18, 0)), Some(at(SECOND, 23, 30))] {
        let stage = Stage::new().await;
        stage.change_at(at(SECOND, 16, 0), record_user_activity, 1);
        stage.change_at(at(SECOND, 16, 5), Model::delete_user, 1);
        if let Some(moment) = after {
            stage.sync_at(moment).await;
        }
        let day = stage.settle_second_day(0, 5).await;
        assert_eq!(day, settled(0, 1), "{after:?}");
        assert_eq!(stage.true_count(SECOND), 1, "{after:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_day_of_the_first_sync_and_earlier_days_stay_lower_bounds() {
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

/// The sync of sessions fails in the morning of the third day and succeeds an hour later.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_read_late_resolves_an_unknown_user() {
    let stage = Stage::new().await;
    stage.change_at(at(SECOND, 23, 50), |model, user| drop(model.create_session(user)), 1);
    stage.change_at(at(SECOND + 1, 7, 0), record_user_activity, 2);
    stage.change_at(at(SECOND + 1, 7, 0), Model::record_activity, 1);
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

/// Syncs the users and the ledger, and crashes after this number of commits.
async fn crash_after(stage: &Stage, commits: u64) {
    let plan = FaultPlan { crash: Some((CrashPoint::AfterCommit, commits)), ..FaultPlan::default() };
    let store = FaultyStore::over(Arc::new(stage.store.clone()), plan);
    let control = store.control();
    let resources = ["users", "user_activity"].map(named).to_vec();
    let options = SyncOptions { resources, ..stage.world.options.clone() };
    // No compaction: it would be another commit.
    let lake =
        lake_over(Arc::new(store)).keeping(MaintenanceOptions { compact_files: 0, ..MaintenanceOptions::default() });
    let run = stage.sync_with(stage.world.client(), lake, options);
    tokio::select! {
        biased;
        () = control.crashed() => {}
        summary = run => panic!("the run did not crash: {summary:?}"),
    }
    control.disconnect();
}

/// The run has three commits: users, ledger and days.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_between_commits_leaves_no_false_claim() {
    for commits in 1..=3 {
        let stage = Stage::new().await;
        let mut before = ledger::rows(&stage.lake()).await;
        let known: BTreeSet<String> = stage.users.iter().cloned().collect();
        stage.change_at(at(SECOND, 20, 0), record_user_activity, 1);
        set_clock(&stage.world, at(SECOND, 21, 0));
        crash_after(&stage, commits).await;
        let sound = async |before: &mut ledger::UserDays, when: &str| {
            let truth = stage.world.simulator.with_model(|model| ledger::true_activity(model));
            let case = format!("{when}, crash after {commits} commits");
            ledger::assert_sound(&stage.lake(), &truth, &known, before, &case).await;
        };
        sound(&mut before, "after the crash").await;
        // New activity hides the time that the crashed run saw.
        stage.change_at(at(SECOND + 1, 0, 3), record_user_activity, 1);
        let day = stage.settle_second_day(0, 5).await;
        assert_eq!(day, if commits > 1 { settled(1, 0) } else { settled(0, 1) }, "crash after {commits} commits");
        sound(&mut before, "after the next run").await;
    }
}

/// The run crashes after midnight: its committed rows stay, although it did not settle the day.
#[tokio::test(flavor = "multi_thread")]
async fn the_next_run_settles_a_day_that_a_crashed_run_did_not_settle() {
    for active in [false, true] {
        let stage = Stage::new().await;
        if active {
            stage.change_at(at(SECOND, 23, 50), record_user_activity, 1);
        }
        set_clock(&stage.world, at(SECOND + 1, 0, 5));
        crash_after(&stage, 2).await;
        for user in [1, 2] {
            stage.change_at(at(SECOND + 1, 7, 0), record_user_activity, user);
        }
        let day = stage.settle_second_day(8, 0).await;
        assert_eq!(day, if active { settled(1, 1) } else { settled(0, 2) }, "active: {active}");
        assert_eq!(stage.true_count(SECOND), i64::from(active));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_counted_by_a_crashed_run_is_not_counted_again() {
    for commits in 1..=3 {
        let stage = Stage::new().await;
        stage.change_at(at(SECOND, 14, 0), record_user_activity, 1);
        stage.sync_at(at(SECOND, 15, 0)).await;
        stage.change_at(at(SECOND, 16, 0), Model::delete_user, 1);
        set_clock(&stage.world, at(SECOND, 17, 0));
        crash_after(&stage, commits).await;
        assert_eq!(stage.settle_second_day(0, 5).await, settled(1, 0), "crash after {commits} commits");
    }
}

/// Updates the ledger of a copy of the lake twice. In the first run, operation number `at` has the fault. Returns
/// whether the first run had that many operations.
async fn survives(stage: &Stage, at: u64, fault: StoreFault) -> bool {
    let case = format!("operation {at}, {fault:?}");
    let options = SyncOptions { resources: vec![named("user_activity")], ..stage.world.options.clone() };
    let store: Arc<dyn ObjectStore> = Arc::new(stage.store.fork());
    let plan = FaultPlan { store_faults: vec![(at..at + 1, fault)], ..FaultPlan::default() };
    let handle = FaultyStore::over(Arc::clone(&store), plan);
    let control = handle.control();
    let run = stage.sync_with(stage.world.client(), lake_over(Arc::new(handle)), options.clone());
    tokio::select! {
        biased;
        () = control.crashed() => {}
        _ = run => {}
    }
    control.disconnect();
    let lake = lake_over(Arc::clone(&store));
    let truth = stage.world.simulator.with_model(|model| ledger::true_activity(model));
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

/// Asserts that every `step`-th operation can have this fault.
async fn assert_survives_faults(fault: StoreFault, step: u64) {
    let stage = Stage::new().await;
    for user in [1, 2] {
        stage.change_at(at(SECOND, 20, 0), record_user_activity, user);
    }
    set_clock(&stage.world, at(SECOND + 1, 0, 5));
    let tables = SyncOptions { resources: ["users", "sessions"].map(named).to_vec(), ..stage.world.options.clone() };
    let summary = stage.sync_with(stage.world.client(), stage.lake(), tables).await;
    assert_eq!(summary.status, Status::Ok, "{summary:?}");
    let mut at = 1;
    while survives(&stage, at, fault).await {
        at += step;
    }
    assert!(at > 20, "only {at} operations were tested");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_update_survives_a_crash_at_any_operation() {
    assert_survives_faults(StoreFault::Crash, sample_step(17)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_update_survives_refused_operations_and_lost_responses() {
    assert_survives_faults(StoreFault::Refused, sample_step(29)).await;
    assert_survives_faults(StoreFault::ResponseLost, sample_step(29)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_alone_is_updated_from_the_tables_of_the_lake() {
    let stage = Stage::first(|_| ()).await;
    let alone = SyncOptions { resources: vec![named("user_activity")], ..stage.world.options.clone() };
    let empty = lake_over(Arc::new(InMemory::new()));
    let summary = stage.sync_with(stage.world.client(), empty, alone.clone()).await;
    let skipped = &summary.resources[0];
    assert_eq!((summary.status, skipped.status), (Status::Ok, ResourceStatus::Skipped), "{summary:?}");
    assert!(skipped.error.as_deref().is_some_and(|error| error.contains("sync users and sessions first")));

    stage.change_at(at(SECOND, 13, 0), record_user_activity, 1);
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
async fn without_a_date_header_no_day_is_complete() {
    let stage = Stage::with(|config| config.date_header = false).await;
    for day in SECOND + 1..=SECOND + 3 {
        // The times in the user's row are the only sign of the current time.
        stage.change_at(at(day, 0, 1), record_user_activity, 1);
        stage.sync_at(at(day, 0, 5)).await;
    }
    let days = ledger::days(&stage.lake()).await;
    assert!(days.values().all(|day| !day.complete && day.unknown.is_none()), "{days:?}");
    assert!(days.values().any(|day| day.settled), "{days:?}");
}

/// The user's row is rejected on the day of the activity and readable later.
#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_user_row_makes_days_uncertain_and_is_recorded_later() {
    let stage = Stage::first(|_| ()).await;
    let user = stage.users[1].clone();
    set_clock(&stage.world, at(SECOND, 12, 0));
    stage.world.simulator.with_model(|model| {
        record_user_activity(model, &user);
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
    assert!(
        ledger::rows(&stage.lake()).await.contains(&(SECOND, user)),
        "the row is readable again and shows that day"
    );
    ledger::assert_filled(&stage.lake(), "readable again").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_sync_records_activity_that_incremental_syncs_do_not_look_for() {
    let mut stage = Stage::new().await;
    // Clerk does not do this: a new user who was active long ago.
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
async fn status_and_schema_show_the_ledger_and_its_days() {
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
