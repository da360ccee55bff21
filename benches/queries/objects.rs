//! Generates users, sessions and organizations.
//!
//! Ids and times differ in every row. All other columns are drawn for [`TEMPLATE`] rows and then repeated.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use chrono::{DateTime, Datelike, Utc};
use clerk_lake::resource::{ORGANIZATIONS, Resource, SESSIONS, USERS};
use clerk_lake::simulator::model::DAY;
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

use crate::tables::{LakeBuilder, random_text, timestamps, with_columns};

/// Number of rows that differ in all columns.
///
/// It equals the size of a row group, so that the repeated rows do not compress better than real ones.
const TEMPLATE: usize = 16_384;

/// Age of the oldest user, in milliseconds.
const HISTORY: i64 = 3 * 365 * DAY;

/// The generated users, oldest first, created at a constant rate.
pub struct Users {
    pub ids: Vec<String>,
    /// Creation times in Unix milliseconds.
    pub created_at: Vec<i64>,
}

/// Draws random values.
struct Draw(ChaCha8Rng);

impl Draw {
    /// Draws a number below `bound`.
    fn below(&mut self, bound: usize) -> usize {
        self.0.random_range(0..bound)
    }

    /// Draws `prefix` followed by `length` random letters and digits.
    fn text(&mut self, prefix: &str, length: usize) -> String {
        random_text(prefix, length, &mut |bound| self.0.random_range(0..bound))
    }

    /// Draws one of `choices`. Earlier choices are more likely.
    fn one_of<'c>(&mut self, choices: &[&'c str]) -> &'c str {
        let at = self.below(choices.len()).min(self.below(choices.len()));
        choices[at]
    }

    /// Returns `true` with a probability of `share` percent.
    fn percent(&mut self, share: usize) -> bool {
        self.below(100) < share
    }
}

/// Decodes `rows` as a page of `resource`.
fn decoded(resource: &Resource, rows: &[Value]) -> RecordBatch {
    let body = serde_json::to_vec(rows).expect("JSON");
    let decode = resource.decode().expect("a resource that Clerk lists");
    decode(&body).expect("a page").rows.batch
}

fn user(draw: &mut Draw) -> Value {
    let email = format!("{}@example.com", draw.text("", 12));
    let accounts: Vec<Value> = (0..[0, 0, 1, 1, 1, 2][draw.below(6)]).map(|_| account(draw, &email)).collect();
    json!({
        "id": draw.text("user_", 27), "first_name": draw.text("", 6), "last_name": draw.text("", 8),
        "username": draw.percent(30).then(|| draw.text("", 9)), "has_image": draw.percent(40),
        "image_url": draw.text("https://img.example.com/", 60), "primary_email_address_id": draw.text("idn_", 27),
        "primary_phone_number_id": draw.percent(15).then(|| draw.text("idn_", 27)),
        "email_addresses": [{"id": draw.text("idn_", 27), "email_address": email,
            "verification": {"status": if draw.percent(90) { "verified" } else { "unverified" }}}],
        "phone_numbers": [], "external_accounts": accounts, "banned": draw.percent(1), "locked": false,
        "password_enabled": draw.percent(50), "two_factor_enabled": draw.percent(8),
        "public_metadata": {"plan": draw.one_of(&["free", "pro", "team"])}, "unsafe_metadata": {},
    })
}

fn account(draw: &mut Draw, email: &str) -> Value {
    let provider = draw.one_of(&["oauth_google", "oauth_github", "oauth_microsoft", "oauth_apple"]);
    json!({"id": draw.text("eac_", 27), "provider": provider, "provider_user_id": draw.text("", 21),
        "email_address": email, "verification": {"status": "verified"}})
}

/// Fills the users table with `count` users.
pub async fn users(builder: &LakeBuilder<'_>, count: usize) -> Users {
    let mut draw = Draw(ChaCha8Rng::seed_from_u64(builder.seed));
    let template: Vec<Value> = (0..TEMPLATE.min(count)).map(|_| user(&mut draw)).collect();
    let template = decoded(&USERS, &template);
    let now = builder.now.timestamp_millis();
    let created_at: Vec<i64> = (0..count).map(|number| evenly_spaced(now, number, count)).collect();
    let ids: Vec<String> = (0..count).map(|_| draw.text("user_", 27)).collect();
    let batch = |range: Range<usize>| {
        let created = &created_at[range.clone()];
        let active = created.iter().map(|created_at| {
            let back = draw.0.random_range(0..1000_i64);
            (draw.below(100) >= 8).then(|| (now - back * back * back / 1_000_000 * 400 * DAY / 1000).max(*created_at))
        });
        let active = timestamps(active);
        let years: Int32Array = created.iter().map(|created_at| Some(year(*created_at))).collect();
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("id", Arc::new(StringArray::from_iter_values(&ids[range.clone()]))),
            ("created_at", Arc::new(timestamps(created.iter().copied().map(Some)))),
            ("last_active_at", Arc::new(active)),
            ("created_year", Arc::new(years)),
        ];
        with_columns(&template.slice(0, range.len()), columns)
    };
    let table = builder.table(&USERS.table).await;
    let staged = builder.stage(&table, batch_ranges(count).map(batch)).await;
    builder.commit(table, vec![staged]).await;
    Users { ids, created_at }
}

fn session(draw: &mut Draw) -> Value {
    let activity = json!({
        "id": draw.text("sess_activity_", 27),
        "device_type": draw.one_of(&["Macintosh", "iPhone", "Windows", "Android", "Linux", "iPad"]),
        "is_mobile": draw.percent(40),
        "browser_name": draw.one_of(&["Chrome", "Safari", "Firefox", "Edge", "Mobile Safari", "Samsung Browser"]),
        "browser_version": format!("{}.0.{}", 90 + draw.below(50), draw.below(9000)),
        "ip_address": format!("192.0.{}.{}", draw.below(256), draw.below(256)),
        "city": format!("City {}", draw.below(2000)),
        "country": draw.percent(95).then(|| format!("Country {}", draw.below(60).min(draw.below(60)))),
    });
    let activity = if draw.percent(96) { activity } else { Value::Null };
    let statuses = ["active", "ended", "expired", "removed", "abandoned", "replaced", "revoked", "pending"];
    json!({"id": draw.text("sess_", 27), "client_id": draw.text("client_", 27), "status": draw.one_of(&statuses),
        "latest_activity": activity})
}

/// Fills the sessions table with `count` sessions of `users`.
pub async fn sessions(builder: &LakeBuilder<'_>, users: &Users, count: usize) {
    let mut draw = Draw(ChaCha8Rng::seed_from_u64(builder.seed + 1));
    let template: Vec<Value> = (0..TEMPLATE.min(count)).map(|_| session(&mut draw)).collect();
    let template = decoded(&SESSIONS, &template);
    let now = builder.now.timestamp_millis();
    let batch = |range: Range<usize>| {
        let created: Vec<i64> = range.clone().map(|number| evenly_spaced(now, number, count)).collect();
        // The number of users who had signed up by the time of a session.
        let signed_up = |number: usize| (users.ids.len() * (number + 1)).div_ceil(count).min(users.ids.len());
        let owners: Vec<&str> = range.clone().map(|number| users.ids[draw.below(signed_up(number))].as_str()).collect();
        let ids: Vec<String> = range.clone().map(|_| draw.text("sess_", 27)).collect();
        let months: Vec<String> = created.iter().map(|created_at| month(*created_at)).collect();
        let expiry = created.iter().map(|created_at| Some(created_at + 7 * DAY));
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("session_id", Arc::new(StringArray::from_iter_values(&ids))),
            ("user_id", Arc::new(StringArray::from_iter_values(&owners))),
            ("created_at", Arc::new(timestamps(created.iter().copied().map(Some)))),
            ("expire_at", Arc::new(timestamps(expiry))),
            ("created_month", Arc::new(StringArray::from_iter_values(&months))),
        ];
        with_columns(&template.slice(0, range.len()), columns)
    };
    let table = builder.table(&SESSIONS.table).await;
    let staged = builder.stage(&table, batch_ranges(count).map(batch)).await;
    builder.commit(table, vec![staged]).await;
}

/// Fills the organizations table with `count` organizations.
pub async fn organizations(builder: &LakeBuilder<'_>, count: usize) {
    let mut draw = Draw(ChaCha8Rng::seed_from_u64(builder.seed + 2));
    let now = builder.now.timestamp_millis();
    let organization = |number: usize| {
        let members = draw.below(12).min(draw.below(12));
        json!({"id": draw.text("org_", 27), "name": draw.text("", 12), "members_count": members,
            "created_at": evenly_spaced(now, number, count)})
    };
    let rows: Vec<Value> = (0..count).map(organization).collect();
    let table = builder.table(&ORGANIZATIONS.table).await;
    let staged = builder.stage(&table, std::iter::once(decoded(&ORGANIZATIONS, &rows))).await;
    builder.commit(table, vec![staged]).await;
}

/// Splits `count` rows into the ranges of the batches.
fn batch_ranges(count: usize) -> impl Iterator<Item = Range<usize>> {
    (0..count).step_by(TEMPLATE).map(move |first| first..(first + TEMPLATE).min(count))
}

/// Returns the time of object `number` of `count` evenly spaced ones, in Unix milliseconds.
fn evenly_spaced(now: i64, number: usize, count: usize) -> i64 {
    let whole = |count: usize| i64::try_from(count).expect("a count");
    now - HISTORY + HISTORY / whole(count.max(1)) * whole(number)
}

fn timestamp(millis: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(millis).expect("a valid timestamp")
}

fn year(millis: i64) -> i32 {
    timestamp(millis).year()
}

fn month(millis: i64) -> String {
    let time = timestamp(millis);
    format!("{:04}-{:02}", time.year(), time.month())
}
