//! Random histories. After each history, one quiet sync must leave the tables equal to the instance.
//!
//! A history is drawn from its random seed: the instance, its changes and their times, and syncs of every kind, with
//! faults of Clerk and of the store, changes between pages, and crashes at any point. A replay repeats everything
//! except the order of concurrent requests.
//!
//! `CLERK_LAKE_HISTORY_SEED=n cargo test --test it histories` replays one history. `CLERK_LAKE_HISTORIES` sets the
//! number of histories, and `CLERK_LAKE_HISTORIES_FROM` the first seed.

pub mod check;
pub mod draw;

use std::collections::BTreeSet;
use std::ops::Range;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::TimeDelta;
use clerk_lake::ErrorKind;
use clerk_lake::api::{Client, ClientConfig, RetryPolicy};
use clerk_lake::resource;
use clerk_lake::simulator::model::DAY;
use clerk_lake::simulator::{ChangeKind, Model};
use clerk_lake::sync::{CancellationToken, Progress, ResourceStatus, ResourceSummary, Status, Summary, SyncOptions};
use futures::FutureExt;
use object_store::ObjectStore;
use object_store::memory::InMemory;

use crate::support::faulty_store::{Control, DelayedPuts, FaultPlan, FaultyStore};
use crate::support::follower::{Follower, assert_change_data_matches_log};
use crate::support::ledger::{self, UserDays};
use crate::support::{World, env_number, quick_retries};
use check::{assert_current, assert_plain, assert_tidy, costly_lake_over, lake_over, recording_lake_over};
use draw::{Attempt, Dice, HOUR, Instance, MINUTE, Step, change};

/// Default number of histories.
const HISTORIES: u64 = 16;

/// Maximum duration of a sync. A longer one counts as a hang.
const SYNC_TIMEOUT: Duration = Duration::from_mins(2);

/// The changes that remove or end sessions.
const REMOVING: [ChangeKind; 3] = [ChangeKind::DeleteUser, ChangeKind::CleanUpSession, ChangeKind::EndSession];

/// The ids of all sessions that an instance has ever shown.
pub type Seen = BTreeSet<String>;

/// Adds the model's current sessions to `seen`.
pub fn note(model: &Model, seen: &mut Seen) {
    seen.extend(model.sessions.iter().map(|session| session.id.clone()));
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Watches one run. Changes the instance after each page if `dice` is set, and can kill the run after a page.
pub struct Watcher {
    world: Arc<World>,
    control: Arc<Control>,
    seen: Arc<Mutex<Seen>>,
    dice: Option<Mutex<Dice>>,
    dies_after_page: Option<u64>,
    pages: AtomicU64,
}

impl Watcher {
    fn change_instance(&self, dice: &mut Dice) {
        let tick = dice.within(1_i64..=50);
        self.world.simulator.set(|config| config.now = config.now.map(|now| now + tick));
        self.world.simulator.with_model(|model| {
            note(model, &mut lock(&self.seen));
            if dice.percent(30) {
                let kind = dice.of(&REMOVING);
                change(model, kind, dice);
            }
        });
    }
}

impl Progress for Watcher {
    fn started(&self, _: &str, _: Option<u64>) {}
    fn advanced(&self, _: &str, _: u64) {
        if let Some(dice) = &self.dice {
            self.change_instance(&mut lock(dice));
        }
        let page = self.pages.fetch_add(1, Ordering::Relaxed) + 1;
        if self.dies_after_page == Some(page) {
            self.control.crash();
        }
    }
    fn finished(&self, _: &ResourceSummary) {}
    fn note(&self, _: &str) {}
    fn warn(&self, _: &str) {}
}

/// A running history.
struct History {
    instance: Instance,
    dice: Dice,
    world: Arc<World>,
    store: Arc<dyn ObjectStore>,
    retrying_client: Client,
    single_attempt_client: Client,
    seen: Arc<Mutex<Seen>>,
    /// Follows the lake's change data feed; `None` if the lake does not record its changes.
    follower: Option<Follower>,
    /// The last run, whose late commits the store may not have executed yet.
    late: Option<Arc<Control>>,
    /// Runs that were killed or had errors from the store, and that may therefore have left staged files.
    unclean_runs: BTreeSet<String>,
    /// The points at which runs were killed.
    deaths: BTreeSet<String>,
    /// All users that the lake has ever had.
    known_users: BTreeSet<String>,
    /// The rows of the ledger after the last run.
    ledger: UserDays,
    /// The history as text, one line per step.
    log: Vec<String>,
}

impl History {
    async fn begin(seed: u64, store: Arc<dyn ObjectStore>) -> Self {
        let mut dice = Dice::new(seed);
        let instance = Instance::draw(seed, &mut dice);
        let mut world = World::with(|config| instance.configure(config)).await;
        world.options.session_lookback_days = 3650;
        world.options.max_shrink = 1.0;
        if instance.verifies {
            world.options.verify_every = TimeDelta::days(7);
        }
        let retry = RetryPolicy { jitter_seed: seed, ..quick_retries() };
        let client = |retry| Client::new(ClientConfig { retry, ..world.client_config() }).expect("a client");
        let single_attempt = RetryPolicy { least_attempts: 1, ..retry.with_budget(Duration::ZERO) };
        let (retrying_client, single_attempt_client) = (client(retry), client(single_attempt));
        let mut noted = Seen::new();
        world.simulator.with_model(|model| note(model, &mut noted));
        Self {
            log: vec![instance.to_string()],
            follower: instance.is_followed().then(Follower::default),
            instance,
            dice,
            world: Arc::new(world),
            store,
            retrying_client,
            single_attempt_client,
            seen: Arc::new(Mutex::new(noted)),
            late: None,
            unclean_runs: BTreeSet::new(),
            deaths: BTreeSet::new(),
            known_users: BTreeSet::new(),
            ledger: UserDays::new(),
        }
    }

    async fn run(&mut self) {
        for _ in 0..self.instance.steps(&mut self.dice) {
            let step = Step::draw(&self.instance, self.now(), &mut self.dice);
            self.log.push(step.to_string());
            match step {
                Step::Changes(kinds) => self.change(&kinds),
                Step::Clock(by) => self.advance(by),
                Step::Sync(attempt) => drop(self.sync(&attempt).await),
            }
        }
        self.end().await;
    }

    fn now(&self) -> i64 {
        self.world.simulator.with_model(|model| model.now())
    }

    fn advance(&self, by: i64) {
        self.world.simulator.set(|config| config.now = config.now.map(|now| now + by));
    }

    fn change(&mut self, kinds: &[ChangeKind]) {
        let mut seen = lock(&self.seen);
        self.world.simulator.with_model(|model| {
            for kind in kinds {
                change(model, *kind, &mut self.dice);
                note(model, &mut seen);
            }
        });
    }

    /// Runs one sync until it ends or is killed, and asserts that its summary is true. Returns `None` if it was killed.
    async fn sync(&mut self, attempt: &Attempt) -> Option<Summary> {
        let plan = self.with_late_commits(attempt.plan.clone()).await;
        let store = FaultyStore::over(Arc::clone(&self.store), plan);
        let control = store.control();
        self.world.simulator.set_faults(attempt.faults.clone());
        let changes = attempt.concurrent_changes.as_ref().map(|concurrent| concurrent.changes.clone());
        self.world.simulator.set(|config| config.changes = changes);
        let sync = self.prepared(attempt, store);
        let ended = tokio::select! {
            biased;
            () = control.crashed() => None,
            summary = tokio::time::timeout(SYNC_TIMEOUT, Box::pin(sync.run())) => Some(summary.expect("no timeout")),
        };
        control.disconnect();
        self.late = Some(Arc::clone(&control));
        self.world.simulator.set_faults(self.instance.no_faults());
        self.world.simulator.set(|config| config.changes = None);
        self.world.simulator.with_model(|model| note(model, &mut lock(&self.seen)));
        if ended.is_none() || control.had_faults() {
            self.unclean_runs.extend(control.runs());
        }
        match &ended {
            None => {
                self.log.push("    killed".to_owned());
                self.deaths.extend(attempt.death());
            }
            Some(summary) => {
                self.log.push(format!("    {}", outcome(summary)));
                self.assert_summary_true(summary, attempt).await;
            }
        }
        if let Some(follower) = &mut self.follower {
            follower.follow(&lake_over(Arc::clone(&self.store)), "after this run").await;
        }
        Box::pin(self.assert_ledger_sound()).await;
        ended
    }

    /// Executes the late commits of the last run now, or adds them to `plan` so that the next run meets them. Adds them
    /// only if the plan has other faults, so never to the plan of the final sync.
    async fn with_late_commits(&mut self, plan: FaultPlan) -> FaultPlan {
        let Some(late) = self.late.take().filter(|late| late.has_delayed_puts()) else { return plan };
        let is_troubled = plan.crash.is_some() || !plan.store_faults.is_empty();
        if is_troubled && self.dice.percent(50) {
            let at = self.dice.within(1_u64..=100);
            return FaultPlan { delayed_puts: Some(DelayedPuts { at, of: late }), ..plan };
        }
        late.apply_delayed_puts(&self.store).await;
        plan
    }

    /// Asserts that the ledger is correct and has lost no row. This must hold after any run.
    async fn assert_ledger_sound(&mut self) {
        let lake = lake_over(Arc::clone(&self.store));
        self.known_users.extend(ledger::users(&lake).await);
        let truth = self.world.simulator.with_model(|model| ledger::true_activity(model));
        ledger::assert_sound(&lake, &truth, &self.known_users, &mut self.ledger, "after a run").await;
    }

    fn prepared(&self, attempt: &Attempt, store: FaultyStore) -> clerk_lake::sync::SyncJob {
        let watcher = Watcher {
            world: Arc::clone(&self.world),
            control: store.control(),
            seen: Arc::clone(&self.seen),
            dice: attempt.concurrent_changes.as_ref().map(|concurrent| Mutex::new(Dice::new(concurrent.seed))),
            dies_after_page: attempt.dies_after_page,
            pages: AtomicU64::new(0),
        };
        let Attempt { extent, fresh, resources, .. } = attempt;
        clerk_lake::sync::SyncJob {
            client: if attempt.retries { self.retrying_client.clone() } else { self.single_attempt_client.clone() },
            lake: if self.follower.is_some() {
                recording_lake_over(Arc::new(store))
            } else if self.instance.has_costly_store {
                costly_lake_over(Arc::new(store))
            } else {
                lake_over(Arc::new(store))
            },
            clock: self.world.clock(),
            options: SyncOptions {
                extent: *extent,
                fresh: *fresh,
                resources: resources.clone(),
                session_refresh: attempt.session_refresh,
                ..self.world.options.clone()
            },
            progress: Arc::new(watcher),
            stop: CancellationToken::new(),
        }
    }

    /// Asserts the summary of a run that was not killed: no error is a bug or a mistake of the user, and if nothing
    /// changed during the run, each table reported as synced is current.
    async fn assert_summary_true(&self, summary: &Summary, attempt: &Attempt) {
        let lake = lake_over(Arc::clone(&self.store));
        let seen = lock(&self.seen).clone();
        for resource in &summary.resources {
            let kind = resource.failure.as_ref().map(clerk_lake::Error::kind);
            let unexpected = [ErrorKind::Bug, ErrorKind::Settings, ErrorKind::KeyRefused];
            assert!(kind.is_none_or(|kind| !unexpected.contains(&kind)), "{kind:?}: {resource:?}");
            // With a session refresh period, sessions may be as old as that period.
            let may_be_old = resource.name == "sessions" && attempt.session_refresh > TimeDelta::zero();
            if attempt.concurrent_changes.is_none() && resource.status == ResourceStatus::Ok && !may_be_old {
                assert_current(&self.world, &lake, &resource.name, &seen).await;
            }
        }
    }

    /// Runs one incremental sync without changes and faults, and asserts that the whole lake is exact.
    async fn end(&mut self) {
        let pause = self.dice.of(&[0, MINUTE, HOUR, 2 * DAY]);
        self.advance(pause);
        let attempt = Attempt::quiet(&self.instance);
        self.log.push(format!("final sync, {} min later: {attempt}", pause / MINUTE));
        let summary = self.sync(&attempt).await.expect("the final sync is not killed");
        assert_eq!(summary.status, Status::Ok, "{summary:#?}");
        let lake = lake_over(Arc::clone(&self.store));
        for resource in resource::defaults() {
            // `sync` has already asserted that the table is current.
            assert_plain(&self.store, &lake, resource).await;
        }
        assert_change_data_matches_log(&self.store, "lake", "after the final sync").await;
        assert_tidy(&self.store, &self.unclean_runs).await;
    }
}

/// Returns the outcome of a run as one line.
fn outcome(summary: &Summary) -> String {
    let failed = summary.resources.iter().filter_map(|it| Some(format!("; {}: {}", it.name, it.error.as_ref()?)));
    format!("{:?}{}", summary.status, failed.collect::<String>())
}

/// Runs the history of `seed` in `store`, which must be empty. Returns the points at which its runs were killed.
pub async fn run_history(seed: u64, store: Arc<dyn ObjectStore>) -> BTreeSet<String> {
    let mut history = History::begin(seed, store).await;
    let result = AssertUnwindSafe(Box::pin(history.run())).catch_unwind().await;
    if let Err(panic) = result {
        let message = panic.downcast_ref::<String>().cloned();
        let message =
            message.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default();
        panic!(
            "history {seed} does not end with exact tables:\n{}\n{message}\n\
             Replay it with CLERK_LAKE_HISTORY_SEED={seed} cargo test --test it histories",
            history.log.join("\n")
        );
    }
    history.deaths
}

/// Returns the seeds of one quarter of all histories.
fn seeds(quarter: u64) -> Range<u64> {
    if let Some(seed) = env_number("CLERK_LAKE_HISTORY_SEED") {
        return if quarter == 0 { seed..seed + 1 } else { 0..0 };
    }
    let first = env_number("CLERK_LAKE_HISTORIES_FROM").unwrap_or(1);
    let count = env_number("CLERK_LAKE_HISTORIES").unwrap_or(HISTORIES);
    first + count * quarter / 4..first + count * (quarter + 1) / 4
}

/// Runs one quarter of all histories. Each quarter is a test, so that they run in parallel.
async fn run_quarter(quarter: u64) {
    let seeds = seeds(quarter);
    let many = seeds.end - seeds.start >= 30;
    let mut deaths = BTreeSet::new();
    for seed in seeds {
        deaths.extend(Box::pin(run_history(seed, Arc::new(InMemory::new()))).await);
    }
    assert!(!many || deaths.len() >= 8, "runs were killed at too few different points: {deaths:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_quarter_of_histories_ends_with_exact_tables() {
    run_quarter(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_quarter_of_histories_ends_with_exact_tables() {
    run_quarter(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_third_quarter_of_histories_ends_with_exact_tables() {
    run_quarter(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fourth_quarter_of_histories_ends_with_exact_tables() {
    run_quarter(3).await;
}
