//! Days in the life of an instance, and syncs of every rhythm: the ledger never has a day that was not, never
//! loses one that it had, and the days that it calls complete have as many active users as there really were.
//!
//! Everything is drawn from a seed. `CLERK_LAKE_LEDGER_DAYS=365 CLERK_LAKE_LEDGER_HOURLY=1 CLERK_LAKE_LEDGER_SEED=7
//! cargo test --test it ledger` lets them live longer, syncs every hour of the day, and draws another life.

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
use crate::support::ledger::{self, Active};
use crate::support::store::{FaultyStore, Plan, Point};
use crate::support::{World, named, one_in, switch};

/// How many days it goes on in an exhaustive test.
const DAYS: u64 = 60;

/// Something that happens at a moment.
#[derive(Clone, Copy, Debug)]
enum Event {
    Activity,
    SignUp,
    /// A user who is there since long ago and was never active.
    Import,
    Impersonation,
    Deletion,
    /// Clerk forgets a session.
    CleanUp,
    Change(ChangeKind),
}

/// How a sync goes.
#[derive(Debug, Default)]
struct Attempt {
    /// Clerk fails every so many requests, and is asked only once; 0 for never.
    fails_every: u64,
    /// Where it dies, and at which time that it comes there.
    death: Option<(Point, u64)>,
    /// Whether time goes on, and users are active, while it reads.
    takes_long: bool,
}

/// An instance and its lake.
struct Life {
    world: Arc<World>,
    store: Arc<dyn ObjectStore>,
    client: Client,
    impatient: Client,
    dice: Dice,
    /// Users whom the lake has ever had.
    known: BTreeSet<String>,
    /// What the ledger had after the last sync.
    before: Active,
    /// The users of each day that has been called complete.
    complete: BTreeMap<i64, BTreeSet<String>>,
    syncs: u64,
    deaths: u64,
}

/// Moves the clock on after every page, and lets users be active.
struct Meanwhile {
    world: Arc<World>,
    dice: Mutex<Dice>,
}

impl Progress for Meanwhile {
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
    async fn begin(rhythm: u64) -> Self {
        let seed = switch("CLERK_LAKE_LEDGER_SEED").unwrap_or(20_261_201) + rhythm;
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
            before: Active::new(),
            complete: BTreeMap::new(),
            syncs: 0,
            deaths: 0,
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

    /// What happens on a day, in order. In most nights nobody is about.
    fn day(&mut self, day: i64) -> Vec<(i64, Event)> {
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

    fn happen(&mut self, at: i64, event: Event) {
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
                // Nobody can know of users who were created and deleted between two syncs.
                let user = draw(model, dice);
                if known.contains(&user) {
                    model.delete_user(&user);
                }
            }
            Event::CleanUp => model.change(ChangeKind::CleanUpSession),
            Event::Change(kind) => model.change(kind),
        });
    }

    /// Syncs now, and looks at what has become of the ledger; whether the run succeeded.
    async fn sync(&mut self, attempt: &Attempt) -> bool {
        let plan = Plan { death: attempt.death, ..Plan::default() };
        let store = FaultyStore::over(Arc::clone(&self.store), plan);
        let control = store.control();
        if attempt.fails_every > 0 {
            self.world.simulator.set_faults(Faults::every(attempt.fails_every, [FaultKind::ServerError]));
        }
        let run = sync::Sync {
            client: if attempt.fails_every > 0 { self.impatient.clone() } else { self.client.clone() },
            lake: lake_over(Arc::new(store)),
            clock: self.world.clock(),
            options: self.world.options.clone(),
            progress: self.progress(attempt),
            stop: CancellationToken::new(),
        };
        let ended = tokio::select! {
            biased;
            () = control.died() => None,
            summary = Box::pin(run.run()) => Some(summary),
        };
        control.bury();
        self.world.simulator.set_faults(Faults::default());
        self.syncs += 1;
        self.deaths += u64::from(ended.is_none());
        let done = ended.as_ref().is_some_and(|summary| summary.status == Status::Ok);
        let quiet = attempt.fails_every == 0 && attempt.death.is_none() && !attempt.takes_long;
        assert!(done || !quiet, "{ended:?}");
        Box::pin(self.look(done, &format!("at {}, {attempt:?}", moment(self.now())))).await;
        done
    }

    fn progress(&mut self, attempt: &Attempt) -> Arc<dyn Progress> {
        if !attempt.takes_long {
            return Arc::new(Silent);
        }
        let dice = Mutex::new(Dice::new(self.dice.within(0..=u64::MAX)));
        Arc::new(Meanwhile { world: Arc::clone(&self.world), dice })
    }

    /// Whatever became of the last sync, what the ledger says is true; after one that was `done` it is filled, too.
    async fn look(&mut self, done: bool, case: &str) {
        let lake = self.lake();
        self.known.extend(ledger::users(&lake).await);
        let truth = self.world.simulator.with_model(|model| ledger::truth(model));
        ledger::assert_sound(&lake, &truth, &self.known, &mut self.before, case).await;
        if done {
            ledger::assert_filled(&lake, case).await;
        }
        let days = ledger::days(&lake).await;
        let complete = ledger::complete(&days, &self.before);
        let today = self.now().div_euclid(DAY);
        let figures = self.world.simulator.truth(100).active_users;
        for day in &complete {
            let users: BTreeSet<String> = ledger::on(&self.before, *day).into_iter().map(str::to_owned).collect();
            assert!(users.iter().map(String::as_str).eq(ledger::on(&truth, *day)), "{case}: day {day}: {users:?}");
            if let Some((date, count)) = figures.iter().rev().nth(usize::try_from(today - day).expect("a past day")) {
                assert_eq!(*count, days[day].active, "{case}: users active on {date}");
            }
            let before = self.complete.insert(*day, users.clone());
            assert!(before.is_none_or(|before| before == users), "{case}: day {day} was complete and has changed");
        }
        let lost: Vec<_> = self.complete.keys().filter(|day| !complete.contains(*day)).collect();
        assert!(lost.is_empty(), "{case}: {lost:?} were complete");
    }

    /// Lives through the days with a sync at each of these moments, which are given day by day.
    async fn live(&mut self, mut syncs: impl FnMut(i64, &mut Dice) -> Vec<(i64, Attempt)>) {
        let last = FIRST + i64::try_from(days()).expect("a day");
        for day in FIRST + 1..=last {
            let mut happens = self.day(day).into_iter().peekable();
            let mut planned = syncs(day, &mut self.dice);
            planned.sort_by_key(|(at, _)| *at);
            for (at, attempt) in planned {
                while let Some((moment, event)) = happens.next_if(|(moment, _)| *moment <= at) {
                    self.happen(moment, event);
                }
                set_clock(&self.world, at.max(self.now()));
                self.sync(&attempt).await;
            }
            happens.for_each(|(moment, event)| self.happen(moment, event));
        }
        set_clock(&self.world, (last + 1) * DAY + MINUTE);
        assert!(self.sync(&Attempt::default()).await);
    }

    /// How many of a hundred days are complete.
    fn share(&self) -> u64 {
        self.complete.len() as u64 * 100 / days()
    }
}

fn days() -> u64 {
    switch("CLERK_LAKE_LEDGER_DAYS").unwrap_or(DAYS / one_in(4))
}

/// Any user.
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

/// A sync that nothing befalls, at these hours of each day and some minutes after.
fn at_hours(day: i64, hours: &[i64], minutes: i64) -> Vec<(i64, Attempt)> {
    hours.iter().map(|hour| (day * DAY + hour * HOUR + minutes * MINUTE, Attempt::default())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn synced_every_hour_most_days_are_complete_and_equal_the_truth() {
    let mut life = Life::begin(1).await;
    // The hours that matter: what is seen at noon is seen in the evening, too.
    let every: Vec<i64> = (0..24).collect();
    let hours = if switch("CLERK_LAKE_LEDGER_HOURLY").is_some() { every } else { vec![0, 23] };
    life.live(|day, _| at_hours(day, &hours, 7)).await;
    assert!(life.share() >= 45, "{} of {} days are complete", life.complete.len(), days());
    assert!(life.share() < 100, "nobody was ever missed, and nobody deleted");
}

#[tokio::test(flavor = "multi_thread")]
async fn synced_right_after_midnight_most_days_are_complete_and_equal_the_truth() {
    let mut life = Life::begin(2).await;
    life.live(|day, _| at_hours(day, &[0], 1)).await;
    assert!(life.share() >= 45, "{} of {} days are complete", life.complete.len(), days());
}

#[tokio::test(flavor = "multi_thread")]
async fn synced_at_odd_times_days_are_lower_bounds_and_say_how_many_may_be_missing() {
    let mut life = Life::begin(3).await;
    life.live(|day, dice| vec![(day * DAY + dice.within(8 * HOUR..=20 * HOUR), Attempt::default())]).await;
    let truth = life.world.simulator.with_model(|model| ledger::truth(model));
    let days = ledger::days(&life.lake()).await;
    let settled = days.iter().filter(|(_, day)| day.unknown.is_some_and(|unknown| unknown > 0));
    let short =
        settled.filter(|(day, it)| it.active < i64::try_from(ledger::on(&truth, **day).len()).expect("a count"));
    assert!(short.count() as u64 >= self::days() / 12, "hardly a day has missed anybody: that proves nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_befalls_irregular_syncs_the_ledger_is_true() {
    let mut life = Life::begin(4).await;
    life.live(|day, dice| {
        let many = dice.of(&[0, 0, 1, 1, 2, 3]);
        (0..many).map(|_| (day * DAY + at_any_time(dice), befallen(dice))).collect()
    })
    .await;
    assert!(life.syncs >= days() * 2 / 3 && life.deaths >= 3, "{} deaths in {} syncs", life.deaths, life.syncs);
}

/// Any time of a day, around midnight in one case of three.
fn at_any_time(dice: &mut Dice) -> i64 {
    match dice.within(0..=5) {
        0 => dice.within(0..=10 * MINUTE),
        1 => dice.within(24 * HOUR - 10 * MINUTE..=24 * HOUR - 1),
        _ => dice.within(0..=24 * HOUR - 1),
    }
}

/// A sync that something befalls in one case of two.
fn befallen(dice: &mut Dice) -> Attempt {
    let usual = Attempt { takes_long: dice.percent(30), ..Attempt::default() };
    match dice.within(0..=7) {
        0 => Attempt { fails_every: dice.within(2..=9), ..usual },
        1..=3 => Attempt { death: Some((dice.of(&Point::ALL), dice.within(1..=4))), ..usual },
        _ => usual,
    }
}
