//! Exact, run after run: whatever a history brings, one quiet sync at its end leaves the tables equal to the instance.
//!
//! A history is drawn from its seed: the instance, what changes in it and when, and syncs of every sort that meet
//! faults of Clerk and of the store, changes between two pages, and death at any point. Requests that are under way at
//! once may come in another order when it is replayed; everything else is the same.
//!
//! `CLERK_LAKE_HISTORY_SEED=n cargo test --test it histories` replays one history; `CLERK_LAKE_HISTORIES=5000` runs so
//! many, `CLERK_LAKE_HISTORIES_FROM=s` those from seed `s` on.

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

use crate::support::follower::{Follower, assert_change_data_are_named};
use crate::support::ledger::{self, Active};
use crate::support::store::{Control, FaultyStore, Landing, Plan};
use crate::support::{World, quick_retries, switch};
use check::{assert_current, assert_plain, assert_tidy, lake_over, recording_lake_over, sparing_lake_over};
use draw::{Attempt, Dice, HOUR, Instance, MINUTE, Step, change};

/// How many histories are run by default.
const HISTORIES: u64 = 16;

/// How long a sync may take before it counts as one that does not end.
const ENDLESS: Duration = Duration::from_mins(2);

/// What takes sessions away, or ends them.
const REMOVING: [ChangeKind; 3] = [ChangeKind::DeleteUser, ChangeKind::CleanUpSession, ChangeKind::EndSession];

/// The ids of all sessions that an instance has ever had.
pub type Seen = BTreeSet<String>;

/// Writes down which sessions there are.
pub fn note(model: &Model, seen: &mut Seen) {
    seen.extend(model.sessions.iter().map(|session| session.id.clone()));
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Watches one run: stirs the instance after each page, and may let the run die there.
pub struct Watcher {
    world: Arc<World>,
    control: Arc<Control>,
    seen: Arc<Mutex<Seen>>,
    dice: Option<Mutex<Dice>>,
    dies_after_page: Option<u64>,
    pages: AtomicU64,
}

impl Watcher {
    fn stir(&self, dice: &mut Dice) {
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
            self.stir(&mut lock(dice));
        }
        let page = self.pages.fetch_add(1, Ordering::Relaxed) + 1;
        if self.dies_after_page == Some(page) {
            self.control.die();
        }
    }
    fn finished(&self, _: &ResourceSummary) {}
    fn note(&self, _: &str) {}
    fn warn(&self, _: &str) {}
}

/// A history on its way.
struct History {
    instance: Instance,
    dice: Dice,
    world: Arc<World>,
    store: Arc<dyn ObjectStore>,
    patient: Client,
    impatient: Client,
    seen: Arc<Mutex<Seen>>,
    /// Who follows the lake's changes, where it records them.
    follower: Option<Follower>,
    /// The last run, whose late commits the store has not carried out yet.
    late: Option<Arc<Control>>,
    /// Runs that died or could not reach the store, and so may have left something staged.
    untidy: BTreeSet<String>,
    /// What runs have died of.
    deaths: BTreeSet<String>,
    /// Users whom the lake has ever had.
    known: BTreeSet<String>,
    /// What the ledger had after the last run.
    ledger: Active,
    /// The history as text, one line for each step.
    told: Vec<String>,
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
        let impatient = RetryPolicy { least_attempts: 1, ..retry.with_budget(Duration::ZERO) };
        let (patient, impatient) = (client(retry), client(impatient));
        let mut noted = Seen::new();
        world.simulator.with_model(|model| note(model, &mut noted));
        Self {
            told: vec![instance.to_string()],
            follower: instance.is_followed().then(Follower::default),
            instance,
            dice,
            world: Arc::new(world),
            store,
            patient,
            impatient,
            seen: Arc::new(Mutex::new(noted)),
            late: None,
            untidy: BTreeSet::new(),
            deaths: BTreeSet::new(),
            known: BTreeSet::new(),
            ledger: Active::new(),
        }
    }

    async fn go(&mut self) {
        for _ in 0..self.instance.steps(&mut self.dice) {
            let step = Step::draw(&self.instance, self.now(), &mut self.dice);
            self.told.push(step.to_string());
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

    /// Runs one sync to its end or its death; what it says of itself must be so. None where it died.
    async fn sync(&mut self, attempt: &Attempt) -> Option<Summary> {
        let plan = self.with_late_commits(attempt.plan.clone()).await;
        let store = FaultyStore::over(Arc::clone(&self.store), plan);
        let control = store.control();
        self.world.simulator.set_faults(attempt.faults.clone());
        self.world.simulator.set(|config| config.changes = attempt.stir.as_ref().map(|stir| stir.changes.clone()));
        let sync = self.prepared(attempt, store);
        let ended = tokio::select! {
            biased;
            () = control.died() => None,
            summary = tokio::time::timeout(ENDLESS, Box::pin(sync.run())) => Some(summary.expect("a sync that ends")),
        };
        control.bury();
        self.late = Some(Arc::clone(&control));
        self.world.simulator.set_faults(self.instance.no_faults());
        self.world.simulator.set(|config| config.changes = None);
        self.world.simulator.with_model(|model| note(model, &mut lock(&self.seen)));
        if ended.is_none() || control.was_troubled() {
            self.untidy.extend(control.runs());
        }
        match &ended {
            None => {
                self.told.push("    killed".to_owned());
                self.deaths.extend(attempt.death());
            }
            Some(summary) => {
                self.told.push(format!("    {}", outcome(summary)));
                self.assert_honest(summary, attempt).await;
            }
        }
        if let Some(follower) = &mut self.follower {
            follower.follow(&lake_over(Arc::clone(&self.store)), "after this run").await;
        }
        Box::pin(self.assert_ledger_sound()).await;
        ended
    }

    /// Commits of the last run that come late are carried out now, or in the middle of a run that is not the last.
    async fn with_late_commits(&mut self, plan: Plan) -> Plan {
        let Some(late) = self.late.take().filter(|late| late.is_awaited()) else { return plan };
        let is_troubled = plan.death.is_some() || !plan.troubles.is_empty();
        if is_troubled && self.dice.percent(50) {
            let at = self.dice.within(1_u64..=100);
            return Plan { landing: Some(Landing { at, of: late }), ..plan };
        }
        late.carry_out_late(&self.store).await;
        plan
    }

    /// Whatever became of a run: what the ledger says is so, and it has lost nothing.
    async fn assert_ledger_sound(&mut self) {
        let lake = lake_over(Arc::clone(&self.store));
        self.known.extend(ledger::users(&lake).await);
        let truth = self.world.simulator.with_model(|model| ledger::truth(model));
        ledger::assert_sound(&lake, &truth, &self.known, &mut self.ledger, "after a run").await;
    }

    fn prepared(&self, attempt: &Attempt, store: FaultyStore) -> clerk_lake::sync::Sync {
        let watcher = Watcher {
            world: Arc::clone(&self.world),
            control: store.control(),
            seen: Arc::clone(&self.seen),
            dice: attempt.stir.as_ref().map(|stir| Mutex::new(Dice::new(stir.seed))),
            dies_after_page: attempt.dies_after_page,
            pages: AtomicU64::new(0),
        };
        let Attempt { extent, fresh, resources, .. } = attempt;
        clerk_lake::sync::Sync {
            client: if attempt.patient { self.patient.clone() } else { self.impatient.clone() },
            lake: if self.follower.is_some() {
                recording_lake_over(Arc::new(store))
            } else if self.instance.is_asked_sparingly {
                sparing_lake_over(Arc::new(store))
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

    /// A run that ended by itself: nothing that befell it is a bug of ours or a mistake of the user's, and what it
    /// says is up to date is, if nothing changed meanwhile.
    async fn assert_honest(&self, summary: &Summary, attempt: &Attempt) {
        let lake = lake_over(Arc::clone(&self.store));
        let seen = lock(&self.seen).clone();
        for resource in &summary.resources {
            let kind = resource.failure.as_ref().map(clerk_lake::Error::kind);
            let ours = [ErrorKind::Bug, ErrorKind::Settings, ErrorKind::KeyRefused];
            assert!(kind.is_none_or(|kind| !ours.contains(&kind)), "{kind:?}: {resource:?}");
            // Read in turns, sessions may be as old as that takes.
            let may_be_old = resource.name == "sessions" && attempt.session_refresh > TimeDelta::zero();
            if attempt.stir.is_none() && resource.status == ResourceStatus::Ok && !may_be_old {
                assert_current(&self.world, &lake, &resource.name, &seen).await;
            }
        }
    }

    /// The instance is quiet, Clerk and the store are well: one incremental sync, and everything is as it must be.
    async fn end(&mut self) {
        let pause = self.dice.of(&[0, MINUTE, HOUR, 2 * DAY]);
        self.advance(pause);
        let attempt = Attempt::quiet(&self.instance);
        self.told.push(format!("at last, {} min later: {attempt}", pause / MINUTE));
        let summary = self.sync(&attempt).await.expect("nothing kills it");
        assert_eq!(summary.status, Status::Ok, "{summary:#?}");
        let lake = lake_over(Arc::clone(&self.store));
        for resource in resource::ALL {
            // That it is current has been asserted of this run as of every quiet one.
            assert_plain(&self.store, &lake, resource).await;
        }
        assert_change_data_are_named(&self.store, "lake", "at last").await;
        assert_tidy(&self.store, &self.untidy).await;
    }
}

/// How a run ended, in a line.
fn outcome(summary: &Summary) -> String {
    let failed = summary.resources.iter().filter_map(|it| Some(format!("; {}: {}", it.name, it.error.as_ref()?)));
    format!("{:?}{}", summary.status, failed.collect::<String>())
}

/// Runs the history of `seed` in a store of its own; gives what its runs died of.
pub async fn run_history(seed: u64, store: Arc<dyn ObjectStore>) -> BTreeSet<String> {
    let mut history = History::begin(seed, store).await;
    let went = AssertUnwindSafe(Box::pin(history.go())).catch_unwind().await;
    if let Err(panic) = went {
        let what = panic.downcast_ref::<String>().cloned();
        let what = what.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default();
        panic!(
            "history {seed} does not end with the truth:\n{}\n{what}\n\
             Replay it with CLERK_LAKE_HISTORY_SEED={seed} cargo test --test it histories",
            history.told.join("\n")
        );
    }
    history.deaths
}

/// The seeds of one quarter of all histories.
fn seeds(quarter: u64) -> Range<u64> {
    if let Some(seed) = switch("CLERK_LAKE_HISTORY_SEED") {
        return if quarter == 0 { seed..seed + 1 } else { 0..0 };
    }
    let first = switch("CLERK_LAKE_HISTORIES_FROM").unwrap_or(1);
    let count = switch("CLERK_LAKE_HISTORIES").unwrap_or(HISTORIES);
    first + count * quarter / 4..first + count * (quarter + 1) / 4
}

/// Quarters, so that they run beside each other.
async fn run_quarter(quarter: u64) {
    let seeds = seeds(quarter);
    let many = seeds.end - seeds.start >= 30;
    let mut deaths = BTreeSet::new();
    for seed in seeds {
        deaths.extend(Box::pin(run_history(seed, Arc::new(InMemory::new()))).await);
    }
    assert!(!many || deaths.len() >= 8, "a history that kills nobody proves nothing: {deaths:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_quarter_of_all_histories_ends_with_the_truth() {
    run_quarter(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_quarter_of_all_histories_ends_with_the_truth() {
    run_quarter(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_third_quarter_of_all_histories_ends_with_the_truth() {
    run_quarter(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fourth_quarter_of_all_histories_ends_with_the_truth() {
    run_quarter(3).await;
}
