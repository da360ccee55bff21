//! Two years of activity: a few users come nearly every day, some for a while, most a few times after they signed up.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use chrono::{Datelike, NaiveDate, TimeDelta};
use clerk_lake::lake::StagedRows;
use clerk_lake::resource::{ACTIVITY_DAYS, Activity, ActivityDay, USER_ACTIVITY, activity_columns, day_columns};
use clerk_lake::simulator::model::DAY;
use clerk_lake::table::columns;
use rand::rngs::ChaCha8Rng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

use crate::objects::Users;
use crate::tables::Filling;

/// How many days the ledger goes back, today included.
const DAYS: i64 = 730;

/// How many files a month has: what compaction leaves of the many that syncs write.
const FILES: usize = 4;

/// How many rows make a batch.
const BATCH: usize = 8192;

/// A certain day, in millionths.
const CERTAIN: u64 = 1_000_000;

/// How a user comes. Days are counted from the ledger's first, chances are millionths.
struct Habit {
    signed_up: i64,
    /// For so many days from then on the user comes with the first chance, after that with the second.
    stays: i64,
    chances: [u64; 2],
}

impl Habit {
    fn draw(signed_up: i64, random: &mut ChaCha8Rng) -> Self {
        let (stays, chances) = match random.random_range(0..100) {
            0..=2 => (i64::MAX, [700_000, 0]),
            3..=14 => (random.random_range(20..600), [180_000, 4_000]),
            _ => (14, [100_000, 5_000]),
        };
        Self { signed_up, stays, chances }
    }

    fn chance(&self, day: i64) -> u64 {
        match day - self.signed_up {
            ..0 => 0,
            age if age < self.stays => self.chances[0],
            _ => self.chances[1],
        }
    }

    /// On how many days the user is expected, in millionths.
    fn expected(&self) -> u64 {
        let days = DAYS - self.signed_up.max(0);
        let stays = self.signed_up.saturating_add(self.stays).clamp(0, DAYS) - self.signed_up.max(0);
        let stays = stays.max(0);
        stays.unsigned_abs() * self.chances[0] + (days - stays).unsigned_abs() * self.chances[1]
    }

    /// The same habit with more or fewer days: `thousandths` as many.
    fn scaled(&mut self, thousandths: u64) {
        self.chances = self.chances.map(|chance| (chance * thousandths / 1000).min(CERTAIN * 95 / 100));
    }
}

/// A number that looks like chance and is always the same for the same two (splitmix64).
fn mixed(user: usize, day: i64, seed: u64) -> u64 {
    let state = (user as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ day.unsigned_abs().rotate_left(40) ^ seed;
    let state = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let state = (state ^ (state >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    state ^ (state >> 31)
}

fn habits(users: &Users, first: NaiveDate, activity: usize, random: &mut ChaCha8Rng) -> Vec<Habit> {
    let first = first.signed_duration_since(NaiveDate::default()).num_days();
    let habit = |created_at: &i64| Habit::draw(created_at.div_euclid(DAY) - first, random);
    let mut habits: Vec<Habit> = users.created_at.iter().map(habit).collect();
    let expected: u64 = habits.iter().map(Habit::expected).sum::<u64>() / 1000;
    let thousandths = (activity as u64).saturating_mul(CERTAIN) / expected.max(1);
    for habit in &mut habits {
        habit.scaled(thousandths);
    }
    habits
}

/// Fills the ledger with about `activity` rows, and the table of days with what is known of them.
pub async fn fill(filling: &Filling<'_>, users: &Users, activity: usize) {
    let mut random = ChaCha8Rng::seed_from_u64(filling.seed + 3);
    let first = filling.now.date_naive() - TimeDelta::days(DAYS - 1);
    let habits = habits(users, first, activity, &mut random);
    let mut months: BTreeMap<(i32, u32), Vec<i64>> = BTreeMap::new();
    for day in 0..DAYS {
        let date = first + TimeDelta::days(day);
        months.entry((date.year(), date.month())).or_default().push(day);
    }
    let table = filling.table(&USER_ACTIVITY.table).await;
    let (mut parts, mut counts): (Vec<StagedRows>, Vec<usize>) = (Vec::new(), Vec::new());
    for days in months.values().flat_map(|days| days.chunks(days.len().div_ceil(FILES))) {
        let mut batches = Vec::new();
        for day in days {
            let is_active = |user: &usize| mixed(*user, *day, filling.seed) % CERTAIN < habits[*user].chance(*day);
            let mut active: Vec<usize> = (0..habits.len()).filter(is_active).collect();
            active.shuffle(&mut random);
            counts.push(active.len());
            let date = first + TimeDelta::days(*day);
            batches.extend(active.chunks(BATCH).map(|active| batch(active, date, users)));
        }
        parts.push(filling.stage(&table, batches.into_iter()).await);
    }
    filling.commit(table, parts).await;
    known(filling, first, &counts).await;
}

/// Days since 1970.
fn number(date: NaiveDate) -> i32 {
    i32::try_from(date.signed_duration_since(NaiveDate::default()).num_days()).expect("a day of the calendar")
}

fn batch(active: &[usize], date: NaiveDate, users: &Users) -> RecordBatch {
    let midnight = i64::from(number(date)) * DAY;
    let row = |(at, user): (usize, &usize)| Activity {
        user_id: &users.ids[*user],
        date: number(date),
        source: if at.is_multiple_of(3) { "session" } else { "user" },
        // By the syncs of some hours.
        first_observed_at: Some(midnight + i64::try_from(at % 24).expect("an hour") * 3_600_000),
    };
    let rows: Vec<Activity<'_>> = active.iter().enumerate().map(row).collect();
    columns::batch(&activity_columns(&rows), rows.len()).expect("rows of the ledger")
}

/// Every day that is over is settled and complete.
async fn known(filling: &Filling<'_>, first: NaiveDate, counts: &[usize]) {
    let today = filling.now.date_naive();
    let day = |(day, count): (i64, &usize)| {
        let date = first + TimeDelta::days(day);
        let is_over = date < today;
        ActivityDay {
            date: number(date),
            active_users: i64::try_from(*count).expect("a count"),
            unknown_users: is_over.then_some(0),
            deleted_users: Some(0),
            settled_at: is_over.then(|| i64::from(number(date) + 1) * DAY),
        }
    };
    let days: Vec<ActivityDay> = (0..).zip(counts).map(day).collect();
    let batch = columns::batch(&day_columns(&days), days.len()).expect("the days");
    let table = filling.table(&ACTIVITY_DAYS).await;
    let staged = filling.stage(&table, std::iter::once(batch)).await;
    filling.commit(table, vec![staged]).await;
}
