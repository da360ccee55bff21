//! Simulates everyday activity: users sign up, come back, become less active and leave.
//!
//! Sign-ups grow over time and drop on weekends. Each user has a habit, drawn at sign-up: some users are active on most
//! days, many only in their first week.

use std::collections::HashMap;

use rand::RngExt;

use super::change_kind::ChangeKind;
use super::device::Device;
use super::generate;
use super::lists;
use super::model::{DAY, Model};

/// Milliseconds per minute.
const MINUTE: i64 = 60_000;

/// Growth rate of sign-ups per day.
const GROWTH: f64 = 0.019;

/// Days, counted from the first, on which a launch brings additional sign-ups.
const LAUNCHES: [i64; 2] = [38, 97];

/// Devices. The more often one is listed, the more often it is used.
const DEVICES: [Device; 12] = [
    Device { device_type: "Windows", is_mobile: false, browser: "Chrome" },
    Device { device_type: "Macintosh", is_mobile: false, browser: "Chrome" },
    Device { device_type: "iPhone", is_mobile: true, browser: "Mobile Safari" },
    Device { device_type: "Macintosh", is_mobile: false, browser: "Safari" },
    Device { device_type: "Windows", is_mobile: false, browser: "Chrome" },
    Device { device_type: "Android", is_mobile: true, browser: "Chrome" },
    Device { device_type: "Windows", is_mobile: false, browser: "Edge" },
    Device { device_type: "Macintosh", is_mobile: false, browser: "Chrome" },
    Device { device_type: "iPhone", is_mobile: true, browser: "Mobile Safari" },
    Device { device_type: "Linux", is_mobile: false, browser: "Firefox" },
    Device { device_type: "Windows", is_mobile: false, browser: "Firefox" },
    Device { device_type: "Windows", is_mobile: false, browser: "Chrome" },
];

/// OAuth providers. The more often one is listed, the more often it is used.
const PROVIDERS: [&str; 11] = [
    "oauth_google",
    "oauth_github",
    "oauth_google",
    "oauth_apple",
    "oauth_google",
    "oauth_github",
    "oauth_google",
    "oauth_microsoft",
    "oauth_google",
    "oauth_github",
    "oauth_google",
];

/// How often a user comes back.
#[derive(Clone, Copy, Debug)]
struct Habit {
    /// Chance of being active on a working day.
    on_workdays: f64,
    /// Chance of being active on Saturday or Sunday.
    on_weekends: f64,
    /// Days after sign-up on which the user becomes inactive.
    days: f64,
    /// When the user signed up, Unix milliseconds.
    since: i64,
}

impl Habit {
    /// Returns the chance of being active on the day that begins at `midnight`.
    #[expect(clippy::cast_precision_loss, reason = "days")]
    fn chance(&self, midnight: i64) -> f64 {
        let age = (midnight - self.since) as f64 / DAY as f64;
        let habit = if is_weekend(midnight) { self.on_weekends } else { self.on_workdays };
        // New users are more active in their first days.
        let curiosity = 0.35 * (-age / 3.0).exp();
        if age > self.days { 0.004 } else { (habit + curiosity).min(0.95) }
    }
}

/// Something that happens.
#[derive(Clone, Debug)]
enum Event {
    SignUp,
    Activity(String),
    SignOut(String),
    Delete(String),
    Ban(String),
    UpdateProfile(String),
    CreateOrganization(String),
    FoundOrganization,
    Change(ChangeKind),
}

/// The activity of one instance.
#[derive(Debug)]
pub struct Life {
    /// Start of the first day, Unix milliseconds.
    start: i64,
    /// Expected sign-ups on the first day, on a working day.
    first_sign_ups: f64,
    /// New organizations per sign-up; `None` if active users create them.
    organizations_per_sign_up: Option<f64>,
    /// The time up to which activity has been simulated, Unix milliseconds.
    now: i64,
    habits: HashMap<String, Habit>,
}

impl Life {
    /// Creates an instance without users that starts with the UTC day of `start` (Unix milliseconds), and that has about
    /// this number of sign-ups in its first `days` days.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "an approximate number")]
    pub fn new(start: i64, days: i64, sign_ups: usize) -> Self {
        let start = start.div_euclid(DAY) * DAY;
        let whole: f64 = (0..days).map(|day| trend(day) * week_factor(start + day * DAY)).sum();
        Self {
            start,
            first_sign_ups: sign_ups as f64 / whole.max(1.0),
            organizations_per_sign_up: None,
            now: start,
            habits: HashMap::new(),
        }
    }

    /// Returns the same instance with about this number of organizations instead of as many as active users create,
    /// for `sign_ups` sign-ups.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "an approximate number")]
    pub fn with_organizations(self, organizations: usize, sign_ups: usize) -> Self {
        let per_sign_up = organizations as f64 / sign_ups.max(1) as f64;
        Self { organizations_per_sign_up: Some(per_sign_up), ..self }
    }

    /// Simulates activity in `model` up to `until` (Unix milliseconds), and sets the model's clock to that time.
    pub fn advance(&mut self, model: &mut Model, until: i64) {
        while self.now < until {
            let midnight = self.now.div_euclid(DAY) * DAY;
            let end = until.min(midnight + DAY);
            let mut events = self.events(model, midnight);
            events.retain(|(at, _)| (self.now..end).contains(at));
            events.sort_by_key(|(at, _)| *at);
            for (at, event) in events {
                model.now = at;
                self.apply(model, event);
            }
            self.now = end;
            model.now = end;
            model.expire_invitations();
        }
        model.now = until;
    }

    /// Draws the events of the day that begins at `midnight`, with their times.
    fn events(&self, model: &mut Model, midnight: i64) -> Vec<(i64, Event)> {
        let mut events = Vec::new();
        let sign_ups = self.sign_ups(model, midnight);
        for _ in 0..sign_ups {
            events.push((midnight + minute(model), Event::SignUp));
        }
        for _ in 0..self.new_organizations(model, sign_ups) {
            events.push((midnight + minute(model), Event::FoundOrganization));
        }
        // The order of users is deterministic; the order of the map is not.
        let users: Vec<String> = model.users.iter().map(|user| user.id.clone()).collect();
        for user in users {
            let Some(habit) = self.habits.get(&user) else { continue };
            if !model.random.random_bool(habit.chance(midnight)) {
                continue;
            }
            let times = model.random.random_range(1..=3);
            for _ in 0..times {
                events.push((midnight + minute(model), Event::Activity(user.clone())));
            }
            let at = midnight + minute(model);
            match model.random.random_range(0..1000) {
                0..40 => events.push((at, Event::SignOut(user))),
                40..52 => events.push((at, Event::UpdateProfile(user))),
                52..60 if self.organizations_per_sign_up.is_none() => {
                    events.push((at, Event::CreateOrganization(user)));
                }
                60..64 => events.push((at, Event::Delete(user))),
                64..66 => events.push((at, Event::Ban(user))),
                _ => {}
            }
        }
        events.extend(model.in_stream("life", |model| {
            let changes = lists::daily_changes(model);
            changes.into_iter().map(|kind| (midnight + minute(model), Event::Change(kind))).collect::<Vec<_>>()
        }));
        events
    }

    /// Draws the number of sign-ups on the day that begins at `midnight`.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small number")]
    fn sign_ups(&self, model: &mut Model, midnight: i64) -> u64 {
        let expected = self.first_sign_ups * trend((midnight - self.start) / DAY) * week_factor(midnight);
        (expected * model.random.random_range(0.75..1.25)).round().max(0.0) as u64
    }

    /// Draws the number of new organizations on a day with this number of sign-ups.
    #[expect(clippy::cast_precision_loss, reason = "a small number")]
    fn new_organizations(&self, model: &mut Model, sign_ups: u64) -> usize {
        let Some(per_sign_up) = self.organizations_per_sign_up else { return 0 };
        let mut expected = per_sign_up * sign_ups as f64;
        let mut number = 0;
        while expected > 0.0 {
            number += usize::from(model.random.random_bool(expected.min(1.0)));
            expected -= 1.0;
        }
        number
    }

    fn apply(&mut self, model: &mut Model, event: Event) {
        match event {
            Event::SignUp => {
                let user = generate::sign_up(model);
                draw_providers(model, &user);
                set_device(model, &user);
                self.habits.insert(user.clone(), habit(model));
                join(model, &user);
            }
            Event::Activity(user) => use_or_sign_in(model, &user),
            Event::SignOut(user) => {
                if let Some(session) = open_session(model, &user) {
                    model.end_session(&session, "ended");
                }
            }
            Event::UpdateProfile(user) => model.update_profile(&user),
            Event::Ban(user) => model.ban(&user, true),
            Event::Delete(user) => {
                self.habits.remove(&user);
                model.delete_user(&user);
            }
            Event::CreateOrganization(user) => {
                let organization = model.create_organization();
                model.add_member(&organization, &user);
            }
            Event::FoundOrganization => {
                let organization = model.create_organization();
                let founder = model.users.draw(&mut model.random).map(|user| user.id.clone());
                if let Some(founder) = founder {
                    model.add_member(&organization, &founder);
                }
            }
            Event::Change(kind) => model.in_stream("life", |model| model.change(kind)),
        }
    }
}

/// Returns the expected sign-ups on a day, relative to the first.
#[expect(clippy::cast_precision_loss, reason = "days")]
fn trend(day: i64) -> f64 {
    let launches = LAUNCHES.iter().filter(|at| (0..3).contains(&(day - **at))).map(|at| 2.0 / (day - at + 1) as f64);
    (GROWTH * day as f64).exp() * (1.0 + launches.sum::<f64>())
}

/// Returns the factor by which sign-ups are lower on weekends.
fn week_factor(midnight: i64) -> f64 {
    if is_weekend(midnight) { 0.55 } else { 1.0 }
}

/// Draws the habit of a user who signs up now.
fn habit(model: &mut Model) -> Habit {
    let (on_workdays, on_weekends, typical) = match model.random.random_range(0..100) {
        0..16 => (0.72, 0.30, 400.0),
        16..42 => (0.24, 0.12, 160.0),
        42..70 => (0.06, 0.05, 90.0),
        _ => (0.02, 0.02, 12.0),
    };
    let share: f64 = model.random.random_range(0.001..1.0);
    Habit { on_workdays, on_weekends, days: -typical * share.ln(), since: model.now }
}

/// Adds a fifth of new users to an organization.
fn join(model: &mut Model, user: &str) {
    let organizations = model.organizations.iter().count();
    if organizations == 0 || !model.random.random_bool(0.2) {
        return;
    }
    // Older organizations are larger.
    let (one, other) = (model.random.random_range(0..organizations), model.random.random_range(0..organizations));
    let at = one.min(other);
    let organization = model.organizations.iter().nth(at).map(|it| it.id.clone());
    if let Some(organization) = organization {
        model.add_member(&organization, user);
    }
}

/// Makes a user active in an open session, or in a new one.
fn use_or_sign_in(model: &mut Model, user: &str) {
    if model.users.get(user).is_none_or(|user| user.banned) {
        return;
    }
    if let Some(session) = open_session(model, user) {
        model.use_session(&session);
    } else {
        model.sign_in(user);
        set_device(model, user);
    }
}

/// Draws the providers of a new user's external accounts.
fn draw_providers(model: &mut Model, user: &str) {
    let at = model.random.random_range(0..PROVIDERS.len());
    let accounts = model.users.get_mut(user).into_iter().flat_map(|user| &mut user.external_accounts);
    for (number, account) in accounts.enumerate() {
        account.provider = PROVIDERS[(at + number) % PROVIDERS.len()];
    }
}

/// Sets the device of a user's newest session. Most sessions of a user are on the same device.
fn set_device(model: &mut Model, user: &str) {
    let own: usize = user.bytes().map(usize::from).sum();
    let at = if model.random.random_bool(0.2) { model.random.random_range(0..DEVICES.len()) } else { own };
    let newest = model.sessions_of.get(user).and_then(|sessions| sessions.last()).cloned();
    if let Some(session) = newest.and_then(|id| model.sessions.get_mut(&id)) {
        session.device = Some(DEVICES[at % DEVICES.len()]);
    }
}

/// Returns the newest session of a user that is open now.
fn open_session(model: &Model, user: &str) -> Option<String> {
    let now = model.now();
    let sessions = model.sessions_of.get(user)?.iter().rev();
    let mut open = sessions.filter(|id| {
        model.sessions.get(id).is_some_and(|it| it.status == "active" && it.expire_at > now && it.actor.is_none())
    });
    open.next().cloned()
}

/// Draws a time of the day, in milliseconds after midnight UTC. Afternoons are more likely.
fn minute(model: &mut Model) -> i64 {
    let mut draw = || model.random.random_range(0..12 * 60 * MINUTE);
    draw() + draw()
}

/// Whether the UTC day that begins at `midnight` is a Saturday or a Sunday. 1970-01-01 was a Thursday.
fn is_weekend(midnight: i64) -> bool {
    matches!((midnight.div_euclid(DAY) + 3).rem_euclid(7), 5 | 6)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGIN: i64 = 20_000 * DAY;

    /// Simulates this number of days.
    fn after(days: i64) -> (Life, Model) {
        let (mut life, mut model) = (Life::new(BEGIN, 84, 1500), Model::new(7, BEGIN));
        life.advance(&mut model, BEGIN + days * DAY);
        (life, model)
    }

    #[test]
    fn an_instance_grows_and_users_are_less_active_on_weekends() {
        let (_, model) = after(84);
        let users = model.users.iter().count();
        assert!((1200..1800).contains(&users), "{users} users");
        let mut active = [0usize; 7];
        for user in model.users.iter() {
            for day in model.active_days(&user.id).into_iter().filter(|day| *day >= 20_000 + 28) {
                active[usize::try_from((day + 3).rem_euclid(7)).expect("a weekday")] += 1;
            }
        }
        let (workday, weekend) = (active[..5].iter().sum::<usize>() / 5, active[5..].iter().sum::<usize>() / 2);
        assert!(weekend * 10 < workday * 8 && weekend * 10 > workday * 2, "{active:?}");
        assert!(model.organizations.iter().count() > 10 && model.memberships.iter().count() > 50);
    }

    #[test]
    fn the_number_of_organizations_can_be_chosen() {
        for wanted in [0, 40, 400] {
            let (life, mut model) = (Life::new(BEGIN, 84, 1500), Model::new(7, BEGIN));
            life.with_organizations(wanted, 1500).advance(&mut model, BEGIN + 84 * DAY);
            let found = model.organizations.iter().count();
            assert!((wanted * 7 / 10..=wanted * 13 / 10).contains(&found), "{found} instead of {wanted}");
        }
    }

    #[test]
    fn activity_does_not_depend_on_the_number_of_days_per_step() {
        let (_, whole) = after(10);
        let (mut life, mut model) = (Life::new(BEGIN, 84, 1500), Model::new(7, BEGIN));
        for day in 1..=10 {
            life.advance(&mut model, BEGIN + day * DAY);
        }
        let users = |model: &Model| model.users.iter().cloned().collect::<Vec<_>>();
        assert_eq!(users(&whole), users(&model));
    }

    #[test]
    fn saturday_and_sunday_are_the_weekend() {
        // 2024-10-05 was a Saturday, and is day 20,001.
        let weekend: Vec<bool> = (20_000..20_007).map(|day| is_weekend(day * DAY)).collect();
        assert_eq!(weekend, [false, true, true, false, false, false, false]);
    }
}
