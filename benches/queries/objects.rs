//! Users, sessions and organizations, all made up. Everything that is read by them is drawn for a row group's worth of
//! them and comes again after that; ids and times are each one's own.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use chrono::{DateTime, Datelike, Utc};
use clerk_lake::resource::{ORGANIZATIONS, Reading, Resource, SESSIONS, USERS};
use clerk_lake::simulator::model::DAY;
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

use crate::tables::{Filling, replaced, text, times};

/// So many rows differ in everything: as many as one row group holds, so that none compresses better than it would.
const TEMPLATE: usize = 16_384;

/// How far back the oldest user goes.
const SPAN: i64 = 3 * 365 * DAY;

/// The users that there are, the oldest first, at an even pace.
pub struct Users {
    pub ids: Vec<String>,
    /// When each was created, in Unix milliseconds.
    pub created_at: Vec<i64>,
}

struct Draw(ChaCha8Rng);

impl Draw {
    fn below(&mut self, bound: usize) -> usize {
        self.0.random_range(0..bound)
    }

    fn text(&mut self, prefix: &str, length: usize) -> String {
        text(prefix, length, &mut |bound| self.0.random_range(0..bound))
    }

    /// One of `choices`, the first ones oftener than the others.
    fn one_of<'c>(&mut self, choices: &[&'c str]) -> &'c str {
        let at = self.below(choices.len()).min(self.below(choices.len()));
        choices[at]
    }

    fn percent(&mut self, share: usize) -> bool {
        self.below(100) < share
    }
}

/// What a list of `rows` is to the resource that reads it.
fn decoded(resource: &Resource, rows: &[Value]) -> RecordBatch {
    let body = serde_json::to_vec(rows).expect("JSON");
    let decode = match resource.reading {
        Reading::Cursor(list) => list.decode,
        Reading::Offset(list) => list.decode,
        Reading::PerUser(list) => list.decode,
        Reading::Derived(_) | Reading::Ledger => panic!("{} is not listed", resource.name),
    };
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

pub async fn users(filling: &Filling<'_>, count: usize) -> Users {
    let mut draw = Draw(ChaCha8Rng::seed_from_u64(filling.seed));
    let template: Vec<Value> = (0..TEMPLATE.min(count)).map(|_| user(&mut draw)).collect();
    let template = decoded(&USERS, &template);
    let now = filling.now.timestamp_millis();
    let created_at: Vec<i64> = (0..count).map(|number| even(now, number, count)).collect();
    let ids: Vec<String> = (0..count).map(|_| draw.text("user_", 27)).collect();
    let batch = |range: Range<usize>| {
        let created = &created_at[range.clone()];
        let active = created.iter().map(|created_at| {
            let back = draw.0.random_range(0..1000_i64);
            (draw.below(100) >= 8).then(|| (now - back * back * back / 1_000_000 * 400 * DAY / 1000).max(*created_at))
        });
        let active = times(active);
        let years: Int32Array = created.iter().map(|created_at| Some(year(*created_at))).collect();
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("id", Arc::new(StringArray::from_iter_values(&ids[range.clone()]))),
            ("created_at", Arc::new(times(created.iter().copied().map(Some)))),
            ("last_active_at", Arc::new(active)),
            ("created_year", Arc::new(years)),
        ];
        replaced(&template.slice(0, range.len()), columns)
    };
    let table = filling.table(&USERS.table).await;
    let staged = filling.stage(&table, ranges(count).map(batch)).await;
    filling.commit(table, vec![staged]).await;
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

pub async fn sessions(filling: &Filling<'_>, users: &Users, count: usize) {
    let mut draw = Draw(ChaCha8Rng::seed_from_u64(filling.seed + 1));
    let template: Vec<Value> = (0..TEMPLATE.min(count)).map(|_| session(&mut draw)).collect();
    let template = decoded(&SESSIONS, &template);
    let now = filling.now.timestamp_millis();
    let batch = |range: Range<usize>| {
        let created: Vec<i64> = range.clone().map(|number| even(now, number, count)).collect();
        // Whoever had signed up by then.
        let known = |number: usize| (users.ids.len() * (number + 1)).div_ceil(count).min(users.ids.len());
        let owners: Vec<&str> = range.clone().map(|number| users.ids[draw.below(known(number))].as_str()).collect();
        let ids: Vec<String> = range.clone().map(|_| draw.text("sess_", 27)).collect();
        let months: Vec<String> = created.iter().map(|created_at| month(*created_at)).collect();
        let expiry = created.iter().map(|created_at| Some(created_at + 7 * DAY));
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("session_id", Arc::new(StringArray::from_iter_values(&ids))),
            ("user_id", Arc::new(StringArray::from_iter_values(&owners))),
            ("created_at", Arc::new(times(created.iter().copied().map(Some)))),
            ("expire_at", Arc::new(times(expiry))),
            ("created_month", Arc::new(StringArray::from_iter_values(&months))),
        ];
        replaced(&template.slice(0, range.len()), columns)
    };
    let table = filling.table(&SESSIONS.table).await;
    let staged = filling.stage(&table, ranges(count).map(batch)).await;
    filling.commit(table, vec![staged]).await;
}

pub async fn organizations(filling: &Filling<'_>, count: usize) {
    let mut draw = Draw(ChaCha8Rng::seed_from_u64(filling.seed + 2));
    let now = filling.now.timestamp_millis();
    let organization = |number: usize| {
        let members = draw.below(12).min(draw.below(12));
        json!({"id": draw.text("org_", 27), "name": draw.text("", 12), "members_count": members,
            "created_at": even(now, number, count)})
    };
    let rows: Vec<Value> = (0..count).map(organization).collect();
    let table = filling.table(&ORGANIZATIONS.table).await;
    let staged = filling.stage(&table, std::iter::once(decoded(&ORGANIZATIONS, &rows))).await;
    filling.commit(table, vec![staged]).await;
}

fn ranges(count: usize) -> impl Iterator<Item = Range<usize>> {
    (0..count).step_by(TEMPLATE).map(move |first| first..(first + TEMPLATE).min(count))
}

/// The moment of the `number`th of `count` that come at an even pace, in Unix milliseconds.
fn even(now: i64, number: usize, count: usize) -> i64 {
    let whole = |count: usize| i64::try_from(count).expect("a count");
    now - SPAN + SPAN / whole(count.max(1)) * whole(number)
}

fn moment(millis: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(millis).expect("a moment of the calendar")
}

fn year(millis: i64) -> i32 {
    moment(millis).year()
}

fn month(millis: i64) -> String {
    let moment = moment(millis);
    format!("{:04}-{:02}", moment.year(), moment.month())
}
