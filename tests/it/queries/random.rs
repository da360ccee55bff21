//! The built-in queries on random users, ledgers and days, compared with a simple count without SQL, and the relations
//! between metrics.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Datelike, NaiveDate, NaiveTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::tables::Tables;
use crate::histories::draw::Dice;

/// Number of random data sets per test.
const SEEDS: u64 = 12;

/// Age of the oldest data in days.
const SPAN: i64 = 400;

type Users = BTreeSet<usize>;

/// A random data set. A user is a number. A user without an entry in `created` is deleted.
struct DataSet {
    seed: u64,
    now: DateTime<Utc>,
    created: BTreeMap<usize, Option<DateTime<Utc>>>,
    ledger: BTreeMap<NaiveDate, Users>,
    known: BTreeMap<NaiveDate, Known>,
}

/// The row of a day in `clerk_activity_day`.
struct Known {
    users: i64,
    unknown: Option<i64>,
    complete: bool,
    settled: bool,
}

fn days(count: i64) -> TimeDelta {
    TimeDelta::days(count)
}

/// Returns the Monday of the week of `date`.
fn monday(date: NaiveDate) -> NaiveDate {
    date - days(i64::from(date.weekday().num_days_from_monday()))
}

fn count(users: &Users) -> i64 {
    i64::try_from(users.len()).expect("a count")
}

fn share(part: i64, whole: i64) -> Value {
    let number = |count: i64| f64::from(i32::try_from(count).expect("a small count"));
    if whole == 0 { Value::Null } else { json!(number(part) / number(whole)) }
}

impl DataSet {
    fn draw(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let first: NaiveDate = "2028-01-01".parse().expect("a day");
        let today = first + days(dice.within(0..=90));
        let now = today.and_time(NaiveTime::MIN).and_utc() + TimeDelta::seconds(dice.within(0..=86_399));
        let mut data = Self { seed, now, created: BTreeMap::new(), ledger: BTreeMap::new(), known: BTreeMap::new() };
        for user in 0..dice.within(0..=50_usize) {
            data.draw_user(user, &mut dice);
        }
        let observed = dice.of(&[0, 1, 30, 90, SPAN]);
        for ago in 0..SPAN {
            data.draw_known(today - days(ago), ago > 0 && ago < observed, &mut dice);
        }
        data
    }

    /// Adds a user. The sign-up can be missing, unknown or in the future, and the activity is independent of it.
    fn draw_user(&mut self, user: usize, dice: &mut Dice) {
        if !dice.percent(15) {
            let back = TimeDelta::seconds(dice.within(-3 * 86_400..=SPAN * 86_400));
            let created_at = self.now - back + TimeDelta::microseconds(dice.within(0..=999_999));
            self.created.insert(user, Some(created_at).filter(|_| !dice.percent(5)));
        }
        let chance = dice.of(&[0, 1, 2, 10, 50, 95]);
        // Clocks differ, so some activity is dated tomorrow.
        let today = self.today();
        for ago in -1..SPAN {
            if dice.percent(chance) {
                self.ledger.entry(today - days(ago)).or_default().insert(user);
            }
        }
    }

    /// Adds the row of a day. Sometimes it does not match the current ledger.
    fn draw_known(&mut self, date: NaiveDate, settled: bool, dice: &mut Dice) {
        let users = count(&self.active(date, date));
        if settled {
            let unknown = dice.of(&[None, Some(0), Some(3)]);
            let users = users + i64::from(dice.percent(3));
            self.known.insert(date, Known { users, unknown, complete: dice.percent(97), settled });
        } else if users > 0 {
            self.known.insert(date, Known { users, unknown: None, complete: false, settled });
        }
    }

    fn today(&self) -> NaiveDate {
        self.now.date_naive()
    }

    /// Returns the users active on any day from `first` to `last`.
    fn active(&self, first: NaiveDate, last: NaiveDate) -> Users {
        if first > last {
            return Users::new();
        }
        self.ledger.range(first..=last).flat_map(|(_, users)| users.iter().copied()).collect()
    }

    /// Returns the users active in the week of `monday`, up to today.
    fn active_in_week(&self, monday: NaiveDate) -> Users {
        self.active(monday, self.today().min(monday + days(6)))
    }

    fn is_complete(&self, date: NaiveDate) -> bool {
        self.known.get(&date).is_some_and(|known| known.complete && known.users == count(&self.active(date, date)))
    }

    /// Returns the day of the sign-up; `None` if it is unknown or in the future.
    fn signed_up(&self, user: usize) -> Option<NaiveDate> {
        let date = self.created.get(&user).copied().flatten()?.date_naive();
        Some(date).filter(|date| *date <= self.today())
    }

    fn tables(&self) -> Tables {
        let mut tables = Tables::default();
        for (user, created_at) in &self.created {
            tables.users.push(json!({"id": format!("user_{user}"), "created_at": created_at}));
        }
        for (date, users) in &self.ledger {
            let date = date.to_string();
            for user in users {
                tables.active(&format!("user_{user}"), &[&date]);
            }
        }
        for (date, known) in &self.known {
            let date = date.to_string();
            if known.settled {
                tables.settled(&date, known.users, known.unknown, known.complete);
            } else {
                tables.unsettled(&date, known.users);
            }
        }
        tables
    }

    async fn rows(&self, name: &str, parameters: &[(&str, i64)]) -> Vec<Value> {
        self.tables().rows(name, &self.now.to_rfc3339(), parameters).await
    }

    /// Asserts that the query returns the rows `wanted`.
    async fn assert_rows(&self, name: &str, parameters: &[(&str, i64)], wanted: &[Value]) {
        let found = self.rows(name, parameters).await;
        let of = format!("seed {}: {name} at {} with {parameters:?}", self.seed, self.now);
        assert_eq!(found.len(), wanted.len(), "{of}");
        for (found, wanted) in found.iter().zip(wanted) {
            assert!(alike(found, wanted), "{of}:\n{found}\nis not\n{wanted}");
        }
    }

    /// Returns the last `count` days, the oldest first.
    fn last_days(&self, count: i64) -> impl Iterator<Item = NaiveDate> {
        let today = self.today();
        (0..count).rev().map(move |ago| today - days(ago))
    }

    /// Returns the Mondays of the last `count` weeks, the oldest first.
    fn last_weeks(&self, count: i64) -> impl Iterator<Item = NaiveDate> {
        let this_week = monday(self.today());
        (0..count).rev().map(move |ago| this_week - days(7 * ago))
    }
}

/// Whether two values are equal, except for rounding errors of numbers.
fn alike(found: &Value, wanted: &Value) -> bool {
    match (found, wanted) {
        (Value::Object(found), Value::Object(wanted)) => {
            let same = |(name, value): (&String, &Value)| wanted.get(name).is_some_and(|other| alike(value, other));
            found.len() == wanted.len() && found.iter().all(same)
        }
        (Value::Number(found), Value::Number(wanted)) => match (found.as_f64(), wanted.as_f64()) {
            (Some(found), Some(wanted)) => (found - wanted).abs() < 1e-9,
            _ => false,
        },
        _ => found == wanted,
    }
}

fn data_sets() -> impl Iterator<Item = DataSet> {
    (1..=SEEDS).map(DataSet::draw)
}

#[tokio::test]
async fn active_users_match_a_simple_count() {
    for (at, data) in data_sets().enumerate() {
        let lookback = [1, 7, 29, 30, 31, 36, 59, 60, 61, 89, 90][at % 11];
        let row = |date: NaiveDate| {
            let [dau, wau, mau] = [1, 7, 28].map(|length| count(&data.active(date - days(length - 1), date)));
            let most = data.known.get(&date).and_then(|known| Some(known.users.max(dau) + known.unknown?));
            json!({"date": date, "dau": dau, "wau": wau, "mau": mau, "stickiness": share(dau, mau),
                "complete": data.is_complete(date), "at_most": most})
        };
        let wanted: Vec<Value> = data.last_days(lookback).map(row).collect();
        data.assert_rows("active_users", &[("lookback_days", lookback)], &wanted).await;
    }
}

#[tokio::test]
async fn days_of_activity_match_a_simple_count() {
    for data in data_sets() {
        let mut users = BTreeMap::<usize, i64>::new();
        for date in data.last_days(28) {
            data.active(date, date).into_iter().for_each(|user| *users.entry(user).or_default() += 1);
        }
        let row = |days: i64| json!({"days": days, "users": users.values().filter(|found| **found == days).count()});
        let wanted: Vec<Value> = (1..=28).map(row).collect();
        data.assert_rows("activity_days", &[], &wanted).await;
    }
}

#[tokio::test]
async fn growth_matches_a_simple_count() {
    for (at, data) in data_sets().enumerate() {
        let lookback = [12, 1, 2, 52][at % 4];
        let first = monday(data.today()) - days(7 * lookback);
        let row = |week: NaiveDate| {
            let (active, before) = (data.active_in_week(week), data.active_in_week(week - days(7)));
            let has_signed_up = |user: &usize| match data.signed_up(*user) {
                Some(date) => monday(date) == week,
                None => !data.active(first, week - days(1)).contains(user),
            };
            let (new, back): (Users, Users) = active.difference(&before).partition(|user| has_signed_up(user));
            json!({"week": week, "new": new.len(), "retained": active.intersection(&before).count(),
                "reactivated": back.len(), "churned": before.difference(&active).count(), "active": active.len(),
                "complete": (-7..7).all(|after| data.is_complete(week + days(after)))})
        };
        let wanted: Vec<Value> = data.last_weeks(lookback).map(row).collect();
        data.assert_rows("growth", &[("lookback_weeks", lookback)], &wanted).await;
    }
}

#[tokio::test]
async fn retention_matches_a_simple_count() {
    for (at, data) in data_sets().enumerate() {
        let lookback = [12, 1, 2, 40][at % 4];
        let cell = |cohort: NaiveDate, week: i64| {
            let is_member = |user: &&usize| data.signed_up(**user).is_some_and(|date| monday(date) == cohort);
            let members: Users = data.created.keys().filter(is_member).copied().collect();
            let later = cohort + days(7 * week);
            let active = match week {
                0 => Some(members.len()),
                _ if later >= monday(data.today()) => None,
                _ => Some(data.active_in_week(later).intersection(&members).count()),
            };
            let active = active.map(|active| i64::try_from(active).expect("a count"));
            let complete = week == 0 || (active.is_some() && (0..7).all(|day| data.is_complete(later + days(day))));
            json!({"cohort": cohort, "week": week, "cohort_users": members.len(), "active_users": active,
                "complete": complete,
                "retention": active.map_or(Value::Null, |active| share(active, count(&members)))})
        };
        let cells = |cohort: NaiveDate| (0..lookback).map(move |week| (cohort, week));
        let cells = data.last_weeks(lookback).flat_map(cells);
        let wanted: Vec<Value> = cells.map(|(cohort, week)| cell(cohort, week)).collect();
        data.assert_rows("retention", &[("lookback_weeks", lookback)], &wanted).await;
    }
}

#[tokio::test]
async fn sign_ups_match_a_simple_count() {
    for (at, data) in data_sets().enumerate() {
        let lookback = [1, 30, 90, 365][at % 4];
        let dates: Vec<NaiveDate> = data.created.keys().filter_map(|user| data.signed_up(*user)).collect();
        let between =
            |first: NaiveDate, last: NaiveDate| dates.iter().filter(|date| (first..=last).contains(*date)).count();
        let row = |date: NaiveDate| {
            let total = between(NaiveDate::MIN, date);
            json!({"date": date, "sign_ups": between(date, date), "total": total})
        };
        let wanted: Vec<Value> = data.last_days(lookback).map(row).collect();
        data.assert_rows("sign_ups", &[("lookback_days", lookback)], &wanted).await;
        let ago = |count: i64| data.today() - days(count);
        let wanted = json!({"new_users": between(ago(7), ago(1)), "previous": between(ago(14), ago(8))});
        data.assert_rows("new_users", &[], &[wanted]).await;
    }
}

#[tokio::test]
async fn stats_of_whole_days_match_a_simple_count() {
    for data in data_sets() {
        let ago = |count: i64| data.today() - days(count);
        let began = data.known.iter().find(|(_, known)| known.settled).map(|(date, _)| *date);
        let is_known = |first: NaiveDate| began.is_some_and(|began| began <= first);
        for (name, length) in [("weekly_active_users", 7), ("monthly_active_users", 28)] {
            let before = count(&data.active(ago(2 * length), ago(length + 1)));
            let previous = is_known(ago(2 * length)).then_some(before);
            let users = count(&data.active(ago(length), ago(1)));
            let complete = (1..=length).all(|back| data.is_complete(ago(back)));
            let wanted = json!({name: users, "previous": previous, "complete": complete});
            data.assert_rows(name, &[], &[wanted]).await;
        }
        let stickiness = |last: NaiveDate| {
            let first = last - days(27);
            let user_days: i64 = data.ledger.range(first..=last).map(|(_, users)| count(users)).sum();
            share(user_days, 28 * count(&data.active(first, last)))
        };
        let previous = if is_known(ago(56)) { stickiness(ago(29)) } else { Value::Null };
        let wanted = json!({"stickiness": stickiness(ago(1)), "previous": previous});
        data.assert_rows("stickiness", &[], &[wanted]).await;
    }
}

fn number(row: &Value, name: &str) -> i64 {
    row[name].as_i64().unwrap_or_else(|| panic!("{name} of {row}"))
}

/// Growth: active(t) = new + retained + reactivated, and active(t - 1) = retained + churned.
/// Active users: dau <= wau <= mau.
/// Retention: week 0 has all users of the cohort, and weeks that are not over are null.
/// Days of activity: the sum over all numbers of days is today's mau.
#[tokio::test]
async fn metrics_are_consistent_with_each_other() {
    for data in data_sets() {
        let of = format!("seed {}", data.seed);
        let growth = data.rows("growth", &[]).await;
        for (at, row) in growth.iter().enumerate() {
            let [new, retained, back, churned, active] =
                ["new", "retained", "reactivated", "churned", "active"].map(|name| number(row, name));
            assert_eq!(active, new + retained + back, "{of}: {row}");
            let before = at.checked_sub(1).map(|before| number(&growth[before], "active"));
            assert!(before.is_none_or(|before| before == retained + churned), "{of}: {row}");
        }
        let active = data.rows("active_users", &[("lookback_days", 90)]).await;
        for row in &active {
            let [dau, wau, mau] = ["dau", "wau", "mau"].map(|name| number(row, name));
            assert!(dau <= wau && wau <= mau, "{of}: {row}");
            assert!(row["at_most"].as_i64().is_none_or(|most| dau <= most), "{of}: {row}");
        }
        let this_week = monday(data.today()).to_string();
        for row in data.rows("retention", &[]).await {
            let (cohort, week) = (row["cohort"].as_str().expect("a day"), number(&row, "week"));
            let begins = cohort.parse::<NaiveDate>().expect("a day") + days(7 * week);
            let is_over = begins.to_string() < this_week;
            assert_eq!(row["active_users"].is_null(), week > 0 && !is_over, "{of}: {row}");
            assert!(week > 0 || row["active_users"] == row["cohort_users"], "{of}: {row}");
            assert!(row["retention"].as_f64().is_none_or(|share| (0.0..=1.0).contains(&share)), "{of}: {row}");
        }
        let users: i64 = data.rows("activity_days", &[]).await.iter().map(|row| number(row, "users")).sum();
        assert_eq!(users, number(&active[89], "mau"), "{of}");
    }
}
