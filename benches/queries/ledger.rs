//! Generates two years of the activity ledger.
//!
//! A few users are active on most days, some regularly for a while, and most a few times after their sign-up.

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
use crate::tables::LakeBuilder;

/// Number of days in the ledger, including today.
const DAYS: i64 = 730;

/// Number of data files per month, as after compaction.
const FILES_PER_MONTH: usize = 4;

/// Number of rows per batch.
const BATCH_ROWS: usize = 8192;

/// The probability 1, in millionths.
const MILLION: u64 = 1_000_000;

/// Activity pattern of a user.
struct Pattern {
    /// Day of the sign-up, counted from the ledger's first day.
    signed_up: i64,
    /// Number of days after the sign-up on which the first probability applies. The second applies after that.
    engaged_days: i64,
    /// Probabilities of activity on a day, in millionths.
    probabilities: [u64; 2],
}

impl Pattern {
    fn draw(signed_up: i64, random: &mut ChaCha8Rng) -> Self {
        let (engaged_days, probabilities) = match random.random_range(0..100) {
            0..=2 => (i64::MAX, [700_000, 0]),
            3..=14 => (random.random_range(20..600), [180_000, 4_000]),
            _ => (14, [100_000, 5_000]),
        };
        Self { signed_up, engaged_days, probabilities }
    }

    /// Returns the probability of activity on a day, in millionths.
    fn probability(&self, day: i64) -> u64 {
        match day - self.signed_up {
            ..0 => 0,
            age if age < self.engaged_days => self.probabilities[0],
            _ => self.probabilities[1],
        }
    }

    /// Returns the expected number of active days, in millionths.
    fn expected(&self) -> u64 {
        let days = DAYS - self.signed_up.max(0);
        let engaged = self.signed_up.saturating_add(self.engaged_days).clamp(0, DAYS) - self.signed_up.max(0);
        let engaged = engaged.max(0);
        engaged.unsigned_abs() * self.probabilities[0] + (days - engaged).unsigned_abs() * self.probabilities[1]
    }

    /// Multiplies the probabilities by `thousandths` / 1000, up to a maximum of 95%.
    fn scale(&mut self, thousandths: u64) {
        let scaled = |probability: u64| (probability * thousandths / 1000).min(MILLION * 95 / 100);
        self.probabilities = self.probabilities.map(scaled);
    }
}

/// Returns a pseudorandom number that depends only on the arguments (splitmix64).
fn hash(user: usize, day: i64, seed: u64) -> u64 {
    let state = (user as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ day.unsigned_abs().rotate_left(40) ^ seed;
    let state = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let state = (state ^ (state >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    state ^ (state >> 31)
}

/// Draws a pattern for each user, scaled to an expected total of `activity` active days.
fn patterns(users: &Users, first: NaiveDate, activity: usize, random: &mut ChaCha8Rng) -> Vec<Pattern> {
    let first = first.signed_duration_since(NaiveDate::default()).num_days();
    let pattern = |created_at: &i64| Pattern::draw(created_at.div_euclid(DAY) - first, random);
    let mut patterns: Vec<Pattern> = users.created_at.iter().map(pattern).collect();
    let expected: u64 = patterns.iter().map(Pattern::expected).sum::<u64>() / 1000;
    let thousandths = (activity as u64).saturating_mul(MILLION) / expected.max(1);
    for pattern in &mut patterns {
        pattern.scale(thousandths);
    }
    patterns
}

/// Fills the activity ledger with about `activity` rows, and the table of days that goes with it.
pub async fn fill(builder: &LakeBuilder<'_>, users: &Users, activity: usize) {
    let mut random = ChaCha8Rng::seed_from_u64(builder.seed + 3);
    let first = builder.now.date_naive() - TimeDelta::days(DAYS - 1);
    let patterns = patterns(users, first, activity, &mut random);
    let mut months: BTreeMap<(i32, u32), Vec<i64>> = BTreeMap::new();
    for day in 0..DAYS {
        let date = first + TimeDelta::days(day);
        months.entry((date.year(), date.month())).or_default().push(day);
    }
    let table = builder.table(&USER_ACTIVITY.table).await;
    let (mut parts, mut counts): (Vec<StagedRows>, Vec<usize>) = (Vec::new(), Vec::new());
    for days in months.values().flat_map(|days| days.chunks(days.len().div_ceil(FILES_PER_MONTH))) {
        let mut batches = Vec::new();
        for day in days {
            let is_active =
                |user: &usize| hash(*user, *day, builder.seed) % MILLION < patterns[*user].probability(*day);
            let mut active: Vec<usize> = (0..patterns.len()).filter(is_active).collect();
            active.shuffle(&mut random);
            counts.push(active.len());
            let date = first + TimeDelta::days(*day);
            batches.extend(active.chunks(BATCH_ROWS).map(|active| batch(active, date, users)));
        }
        parts.push(builder.stage(&table, batches.into_iter()).await);
    }
    builder.commit(table, parts).await;
    fill_days(builder, first, &counts).await;
}

/// Returns the number of days since 1970-01-01.
fn day_number(date: NaiveDate) -> i32 {
    i32::try_from(date.signed_duration_since(NaiveDate::default()).num_days()).expect("a valid day number")
}

fn batch(active: &[usize], date: NaiveDate, users: &Users) -> RecordBatch {
    let midnight = i64::from(day_number(date)) * DAY;
    let row = |(at, user): (usize, &usize)| Activity {
        user_id: &users.ids[*user],
        date: day_number(date),
        source: if at.is_multiple_of(3) { "session" } else { "user" },
        // Different rows are observed by syncs at different hours.
        first_observed_at: Some(midnight + i64::try_from(at % 24).expect("an hour") * 3_600_000),
    };
    let rows: Vec<Activity<'_>> = active.iter().enumerate().map(row).collect();
    columns::batch(&activity_columns(&rows), rows.len()).expect("rows of the ledger")
}

/// Fills the table of days. Every past day is settled and complete.
async fn fill_days(builder: &LakeBuilder<'_>, first: NaiveDate, counts: &[usize]) {
    let today = builder.now.date_naive();
    let day = |(day, count): (i64, &usize)| {
        let date = first + TimeDelta::days(day);
        let is_over = date < today;
        ActivityDay {
            date: day_number(date),
            active_users: i64::try_from(*count).expect("a count"),
            unknown_users: is_over.then_some(0),
            deleted_users: Some(0),
            settled_at: is_over.then(|| i64::from(day_number(date) + 1) * DAY),
        }
    };
    let days: Vec<ActivityDay> = (0..).zip(counts).map(day).collect();
    let batch = columns::batch(&day_columns(&days), days.len()).expect("the days");
    let table = builder.table(&ACTIVITY_DAYS).await;
    let staged = builder.stage(&table, std::iter::once(batch)).await;
    builder.commit(table, vec![staged]).await;
}
