//! Simulates an instance over many days, with syncs on different schedules. The ledger never has false activity and
//! never loses a row, and complete days have the true number of active users.
//!
//! Everything derives from a seed. `CLERK_LAKE_LEDGER_DAYS=365 CLERK_LAKE_LEDGER_HOURLY=1 CLERK_LAKE_LEDGER_SEED=7
//! cargo test --test it ledger` simulates more days, syncs every hour, and uses another seed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use clerk_lake::api::Client;
use clerk_lake::lake::Lake;
use clerk_lake::simulator::model::{DAY, User};
use clerk_lake::simulator::{ChangeKind, FaultKind, Faults, Model};
use clerk_lake::sync::{self, CancellationToken, Progress, ResourceSummary, Silent, Status};
use object_store::ObjectStore;
use object_store::memory::InMemory;

use super::FIRST;
use crate::faults::impatient;
use crate::histories::check::lake_over;
use crate::histories::draw::{Dice, HOUR, MINUTE, moment};
use crate::incremental::set_clock;
use crate::support::faulty_store::{CrashPoint, FaultPlan, FaultyStore};
use crate::support::ledger::{self, UserDays};
use crate::support::{World, env_number, named, sample_step};

/// Number of days in an exhaustive test.
const DAYS: u64 = 60;

/// An event in the instance.
#[derive(Clone, Copy, Debug)]
enum Event {
    Activity,
    SignUp,
    /// Import of a user who was created long ago and was never active.
    Import,
    Impersonation,
    Deletion,
    /// Clerk deletes an old session.
    CleanUp,
    Change(ChangeKind),
}

/// The conditions of a sync.
#[derive(Debug, Default)]
struct Attempt {
    /// One of this many requests fails and is not retried; 0 for none.
    fails_every: u64,
    /// The point at which it crashes, and at which visit to that point.
    crash: Option<(CrashPoint, u64)>,
    /// Whether the clock advances and users are active while it reads.
    clock_advances: bool,
}

/// An instance and its lake.
struct Life {
    world: Arc<World>,
    store: Arc<dyn ObjectStore>,
    client: Client,
    impatient: Client,
    dice: Dice,
    /// Users that the lake has ever had.
    known: BTreeSet<String>,
    /// The ledger after the last sync.
    before: UserDays,
    /// The users of each complete day.
    complete: BTreeMap<i64, BTreeSet<String>>,
    syncs: u64,
    crashes: u64,
}

/// Advances the clock after every page, and makes users active.
struct AdvancingClock {
    world: Arc<World>,
    dice: Mutex<Dice>,
}

impl Progress for AdvancingClock {
    fn started(&self, _: &str, _: Option<u64>) {}
    fn advanced(&self, _: &str, _: u64) {
        let mut dice = self.dice.lock().unwrap_or_else(PoisonError::into_inner);
        let minutes = dice.within(1_i64..=9);
        self.world.simulator.set(|config| config.now = config.now.map(|now| now + minutes * MINUTE));
        self.world.simulator.with_model(|model| {
            for _ in 0..dice.within(0..=2) {
                model.change(ChangeKind::Activity);
            }
        });
    }
    fn finished(&self, _: &ResourceSummary) {}
    fn note(&self, _: &str) {}
    fn warn(&self, _: &str) {}
}

impl Life {
    async fn begin(schedule: u64) -> Self {
        let seed = env_number("CLERK_LAKE_LEDGER_SEED").unwrap_or(20_261_201) + schedule;
        let mut world = World::with(|config| {
            config.seed = seed;
            config.users = 120;
            config.organizations = 0;
            config.now = Some(FIRST * DAY + 9 * HOUR);
        })
        .await;
        world.options.resources = ["users", "sessions", "user_activity"].map(named).to_vec();
        world.options.session_lookback_days = 3650;
        world.options.max_shrink = 1.0;
        let (client, impatient) = (world.client(), impatient(&world));
        let mut life = Self {
            world: Arc::new(world),
            store: Arc::new(InMemory::new()),
            client,
            impatient,
            dice: Dice::new(seed),
            known: BTreeSet::new(),
            before: UserDays::new(),
            complete: BTreeMap::new(),
            syncs: 0,
            crashes: 0,
        };
        life.sync(&Attempt::default()).await;
        life
    }

    fn lake(&self) -> Lake {
        lake_over(Arc::clone(&self.store))
    }

    fn now(&self) -> i64 {
        self.world.simulator.with_model(|model| model.now())
    }

    /// Returns the events of a day, in order. On most nights there is no activity.
    fn events_of_day(&mut self, day: i64) -> Vec<(i64, Event)> {
        let dice = &mut self.dice;
        let (begin, quiet) = (day * DAY, dice.percent(80));
        let mut events: Vec<(i64, Event)> =
            (0..dice.within(15..=30)).map(|_| (dice.within(6 * HOUR..=23 * HOUR), Event::Activity)).collect();
        if !quiet {
            let late = |dice: &mut Dice| dice.within(23 * HOUR..=24 * HOUR - 1);
            let early = |dice: &mut Dice| dice.within(0..=10 * MINUTE);
            events.extend((0..4).map(|_| (late(dice), Event::Activity)));
            events.extend((0..4).map(|_| (early(dice), Event::Activity)));
        }
        let chances = [
            (Event::SignUp, 80),
            (Event::Import, 20),
            (Event::Impersonation, 70),
            (Event::Deletion, 15),
            (Event::Change(ChangeKind::UpdateProfile), 60),
            (Event::Change(ChangeKind::Ban), 30),
        ];
        for (event, chance) in chances {
            if dice.percent(chance) {
                events.push((dice.within(6 * HOUR..=22 * HOUR), event));
            }
        }
        events.extend((0..8).map(|_| (dice.within(6 * HOUR..=22 * HOUR), Event::CleanUp)));
        events.sort_by_key(|(moment, _)| *moment);
        events.into_iter().map(|(moment, event)| (begin + moment, event)).collect()
    }

    fn apply(&mut self, at: i64, event: Event) {
        set_clock(&self.world, at.max(self.now()));
        let (dice, known) = (&mut self.dice, &self.known);
        self.world.simulator.with_model(|model| match event {
            Event::Activity => {
                let user = draw(model, dice);
                model.record_activity(&user);
            }
            Event::SignUp => model.change(ChangeKind::CreateUser),
            Event::Import => import(model, dice),
            Event::Impersonation => {
                let user = draw(model, dice);
                model.impersonate(&user);
            }
            Event::Deletion => {
                // A lake cannot know users who were created and deleted between two syncs.
                let user = draw(model, dice);
                if known.contains(&user) {
                    model.delete_user(&user);
                }
            }
            Event::CleanUp => model.change(ChangeKind::CleanUpSession),
            Event::Change(kind) => model.change(kind),
        });
    }

    /// Syncs now and checks the ledger. Returns whether the run succeeded.
    async fn sync(&mut self, attempt: &Attempt) -> bool {
        let plan = FaultPlan { crash: attempt.crash, ..FaultPlan::default() };
        let store = FaultyStore::over(Arc::clone(&self.store), plan);
        let control = store.control();
        if attempt.fails_every > 0 {
            self.world.simulator.set_faults(Faults::every(attempt.fails_every, [FaultKind::ServerError]));
        }
        let run = sync::SyncJob {
            client: if attempt.fails_every > 0 { self.impatient.clone() } else { self.client.clone() },
            lake: lake_over(Arc::new(store)),
            clock: self.world.clock(),
            options: self.world.options.clone(),
            progress: self.progress(attempt),
            stop: CancellationToken::new(),
        };
        let ended = tokio::select! {
            biased;
            () = control.crashed() => None,
            summary = Box::pin(run.run()) => Some(summary),
        };
        control.disconnect();
        self.world.simulator.set_faults(Faults::default());
        self.syncs += 1;
        self.crashes += u64::from(ended.is_none());
        let done = ended.as_ref().is_some_and(|summary| summary.status == Status::Ok);
        let quiet = attempt.fails_every == 0 && attempt.crash.is_none() && !attempt.clock_advances;
        assert!(done || !quiet, "{ended:?}");
        Box::pin(self.check(done, &format!("at {}, {attempt:?}", moment(self.now())))).await;
        done
    }

    fn progress(&mut self, attempt: &Attempt) -> Arc<dyn Progress> {
        if !attempt.clock_advances {
            return Arc::new(Silent);
        }
        let dice = Mutex::new(Dice::new(self.dice.within(0..=u64::MAX)));
        Arc::new(AdvancingClock { world: Arc::clone(&self.world), dice })
    }

    /// Asserts that the ledger is sound, however the last sync ended. If the sync was `done`, it is also up to date.
    async fn check(&mut self, done: bool, case: &str) {
        let lake = self.lake();
        self.known.extend(ledger::users(&lake).await);
        let truth = self.world.simulator.with_model(|model| ledger::true_activity(model));
        ledger::assert_sound(&lake, &truth, &self.known, &mut self.before, case).await;
        if done {
            ledger::assert_filled(&lake, case).await;
        }
        let days = ledger::days(&lake).await;
        let complete = ledger::complete(&days, &self.before);
        let today = self.now().div_euclid(DAY);
        let true_counts = self.world.simulator.truth(100).active_users;
        for day in &complete {
            let users: BTreeSet<String> = ledger::users_on(&self.before, *day).into_iter().map(str::to_owned).collect();
            assert!(
                users.iter().map(String::as_str).eq(ledger::users_on(&truth, *day)),
                "{case}: day {day}: {users:?}"
            );
            if let Some((date, count)) = true_counts.iter().rev().nth(usize::try_from(today - day).expect("a past day"))
            {
                assert_eq!(*count, days[day].active, "{case}: users active on {date}");
            }
            let before = self.complete.insert(*day, users.clone());
            assert!(before.is_none_or(|before| before == users), "{case}: day {day} was complete but has changed");
        }
        let lost: Vec<_> = self.complete.keys().filter(|day| !complete.contains(*day)).collect();
        assert!(lost.is_empty(), "{case}: days {lost:?} are no longer complete");
    }

    /// Simulates all days. `syncs` returns the syncs of a day and their times.
    async fn simulate(&mut self, mut syncs: impl FnMut(i64, &mut Dice) -> Vec<(i64, Attempt)>) {
        let last = FIRST + i64::try_from(days()).expect("a day");
        for day in FIRST + 1..=last {
            let mut events = self.events_of_day(day).into_iter().peekable();
            let mut planned = syncs(day, &mut self.dice);
            planned.sort_by_key(|(at, _)| *at);
            for (at, attempt) in planned {
                while let Some((moment, event)) = events.next_if(|(moment, _)| *moment <= at) {
                    self.apply(moment, event);
                }
                set_clock(&self.world, at.max(self.now()));
                self.sync(&attempt).await;
            }
            events.for_each(|(moment, event)| self.apply(moment, event));
        }
        set_clock(&self.world, (last + 1) * DAY + MINUTE);
        assert!(self.sync(&Attempt::default()).await);
    }

    /// Returns the percentage of complete days.
    fn percent_complete(&self) -> u64 {
        self.complete.len() as u64 * 100 / days()
    }
}

fn days() -> u64 {
    env_number("CLERK_LAKE_LEDGER_DAYS").unwrap_or(DAYS / sample_step(4))
}

/// Returns a random user.
fn draw(model: &Model, dice: &mut Dice) -> String {
    let at = dice.within(0..=model.users.len() - 1);
    model.users.iter().nth(at).expect("a user").id.clone()
}

fn import(model: &mut Model, dice: &mut Dice) {
    let like = draw(model, dice);
    let (id, now, created_at) = (model.id("user_"), model.now(), model.now() - dice.within(1..=900) * DAY);
    let user = model.users.get(&like).expect("a user").clone();
    let dates = User { created_at, updated_at: now, last_active_at: None, last_sign_in_at: None, ..user };
    model.users.insert(created_at, &id, User { id: id.clone(), ..dates });
}

/// Returns syncs without faults at these hours and this minute of a day.
fn at_hours(day: i64, hours: &[i64], minutes: i64) -> Vec<(i64, Attempt)> {
    hours.iter().map(|hour| (day * DAY + hour * HOUR + minutes * MINUTE, Attempt::default())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn with_hourly_syncs_most_days_are_complete_and_correct() {
    let mut life = Life::begin(1).await;
    // Only the first and the last hour matter: a sync in the evening also sees the activity of noon.
    let every: Vec<i64> = (0..24).collect();
    let hours = if env_number("CLERK_LAKE_LEDGER_HOURLY").is_some() { every } else { vec![0, 23] };
    life.simulate(|day, _| at_hours(day, &hours, 7)).await;
    assert!(life.percent_complete() >= 45, "{} of {} days are complete", life.complete.len(), days());
    assert!(life.percent_complete() < 100, "no user was missed or deleted, so the test proves little");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_syncs_right_after_midnight_most_days_are_complete_and_correct() {
    let mut life = Life::begin(2).await;
    life.simulate(|day, _| at_hours(day, &[0], 1)).await;
    assert!(life.percent_complete() >= 45, "{} of {} days are complete", life.complete.len(), days());
}

#[tokio::test(flavor = "multi_thread")]
async fn with_syncs_at_random_times_days_are_lower_bounds_with_a_count_of_unknown_users() {
    let mut life = Life::begin(3).await;
    life.simulate(|day, dice| vec![(day * DAY + dice.within(8 * HOUR..=20 * HOUR), Attempt::default())]).await;
    let truth = life.world.simulator.with_model(|model| ledger::true_activity(model));
    let days = ledger::days(&life.lake()).await;
    let settled = days.iter().filter(|(_, day)| day.unknown.is_some_and(|unknown| unknown > 0));
    let short =
        settled.filter(|(day, it)| it.active < i64::try_from(ledger::users_on(&truth, **day).len()).expect("a count"));
    assert!(short.count() as u64 >= self::days() / 12, "too few days missed a user, so the test proves little");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_irregular_and_faulty_syncs_the_ledger_is_sound() {
    let mut life = Life::begin(4).await;
    life.simulate(|day, dice| {
        let count = dice.of(&[0, 0, 1, 1, 2, 3]);
        (0..count).map(|_| (day * DAY + random_time(dice), random_attempt(dice))).collect()
    })
    .await;
    assert!(life.syncs >= days() * 2 / 3 && life.crashes >= 3, "{} crashes in {} syncs", life.crashes, life.syncs);
}

/// Returns a random time of a day. One in three is around midnight.
fn random_time(dice: &mut Dice) -> i64 {
    match dice.within(0..=5) {
        0 => dice.within(0..=10 * MINUTE),
        1 => dice.within(24 * HOUR - 10 * MINUTE..=24 * HOUR - 1),
        _ => dice.within(0..=24 * HOUR - 1),
    }
}

/// Returns the conditions of a sync. Half of the syncs have a fault.
fn random_attempt(dice: &mut Dice) -> Attempt {
    let usual = Attempt { clock_advances: dice.percent(30), ..Attempt::default() };
    match dice.within(0..=7) {
        0 => Attempt { fails_every: dice.within(2..=9), ..usual },
        1..=3 => Attempt { crash: Some((dice.of(&CrashPoint::ALL), dice.within(1..=4))), ..usual },
        _ => usual,
    }
}
