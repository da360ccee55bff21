//! A few users, and all results computed by hand.
//!
//! The time is noon on Wednesday, 2028-03-01. The day before is a leap day. The week began on Monday, 2028-02-28.

use chrono::{NaiveDate, TimeDelta};
use serde_json::{Value, json};

use super::tables::{NOON, Tables, assert_answer};

fn account(provider: Option<&str>) -> Value {
    json!({"id": "eac_1", "provider": provider, "verification_status": "verified"})
}

fn people() -> Vec<Value> {
    vec![
        // Signed up at the first moment of a week. Last active at the first moment of the leap day.
        json!({"id": "ada", "created_at": "2028-02-14T00:00:00Z", "last_active_at": "2028-02-29T00:00:00Z",
            "banned": false, "email": "ada@example.com",
            "external_accounts": [account(Some("oauth_google")), account(Some("oauth_github"))]}),
        // Signed up at the last moment of the same week. The first account has no provider.
        json!({"id": "ben", "created_at": "2028-02-20T23:59:59.999999Z", "last_active_at": "2028-03-01T09:30:00Z",
            "banned": false, "email": "ben@example.com",
            "external_accounts": [account(None), account(Some("oauth_apple"))]}),
        // Signed up at the first moment of the leap day. Last active at the first moment of today.
        json!({"id": "cy", "created_at": "2028-02-29T00:00:00Z", "last_active_at": "2028-03-01T00:00:00Z",
            "banned": false, "primary_phone_number_id": "idn_1", "username": "cy", "external_accounts": []}),
        // Signed up at the last moment of the leap day. Banned, and never active.
        json!({"id": "dee", "created_at": "2028-02-29T23:59:59.999999Z", "banned": true, "username": "dee"}),
        // The sign-up time is unknown.
        json!({"id": "eve", "last_active_at": "2028-02-22T23:59:59.999999Z", "email": "eve@example.com"}),
        // Signed up at the first moment of today. Nothing shows the sign-up method.
        json!({"id": "fay", "created_at": "2028-03-01T00:00:00Z", "last_active_at": "2028-03-01T11:00:00Z",
            "banned": false, "external_accounts": [account(None)]}),
        // Signed up long ago.
        json!({"id": "gus", "created_at": "2027-11-30T08:00:00Z", "last_active_at": "2028-02-27T23:59:59.999999Z",
            "banned": false, "external_accounts": [account(Some("oauth_google"))]}),
        json!({"id": "ivy", "created_at": "2027-01-01T00:00:00Z", "primary_web3_wallet_id": "idn_2"}),
        // Signed up tomorrow, because of a wrong clock.
        json!({"id": "kim", "created_at": "2028-03-02T00:00:00Z", "banned": false, "email": "kim@example.com"}),
    ]
}

/// Returns the users and their activity, and the activity of a user (`gone`) who was deleted.
fn few() -> Tables {
    let mut few = Tables { users: people(), ..Tables::default() };
    few.active("ada", &["2028-02-14", "2028-02-15", "2028-02-21", "2028-02-28", "2028-02-29"]);
    few.active("ben", &["2028-02-20", "2028-03-01"]);
    few.active("cy", &["2028-02-29", "2028-03-01"]);
    few.active("eve", &["2028-02-22"]);
    few.active("fay", &["2028-03-01"]);
    few.active("gus", &["2028-02-01", "2028-02-02", "2028-02-13", "2028-02-27"]);
    few.active("gone", &["2028-02-23", "2028-02-29"]);
    // The day was complete, but the ledger has since lost its only user.
    few.settled("2028-02-26", 1, Some(0), true);
    few.settled("2028-02-27", 1, Some(0), true);
    few.settled("2028-02-28", 1, Some(2), false);
    few.settled("2028-02-29", 3, Some(0), true);
    few.unsettled("2028-03-01", 3);
    few
}

/// `dau` by day: nobody; gus; ada; ada, cy and gone; ben, cy and fay.
///
/// `wau`:
/// - from the 20th to the 26th: ben, ada, eve and gone
/// - from the 21st to the 27th: ada, eve, gone and gus
/// - from the 22nd to the 28th: the same users, ada because of the 28th
/// - from the 23rd to the 29th: ada, gone, gus and cy
/// - from the 24th to the 1st: gus, ada, cy, gone, ben and fay
///
/// `mau`: ada, ben, eve, gus and gone on the first three days; also cy on the fourth day; also fay on the last day.
///
/// `at_most`: the user that the ledger lost counts on the 26th.
#[tokio::test]
async fn active_users_are_distinct_in_a_day_a_week_and_a_month() {
    let wanted = "
        +------------+-----+-----+-----+---------------------+----------+---------+
        | date       | dau | wau | mau | stickiness          | complete | at_most |
        +------------+-----+-----+-----+---------------------+----------+---------+
        | 2028-02-26 | 0   | 4   | 5   | 0.0                 | false    | 1       |
        | 2028-02-27 | 1   | 4   | 5   | 0.2                 | true     | 1       |
        | 2028-02-28 | 1   | 4   | 5   | 0.2                 | false    | 3       |
        | 2028-02-29 | 3   | 4   | 6   | 0.5                 | true     | 3       |
        | 2028-03-01 | 3   | 6   | 7   | 0.42857142857142855 | false    |         |
        +------------+-----+-----+-----+---------------------+----------+---------+";
    assert_answer(&few(), "active_users", &[("lookback_days", 5)], wanted).await;
}

/// A user with one day of activity is a weekly user for 7 days and a monthly user for 28 days. The tested days include
/// today, the oldest day that the query shows, and the days around the boundaries of its bit masks.
#[tokio::test]
async fn a_day_of_activity_counts_for_7_and_28_days() {
    for ago in [0, 1, 28, 29, 30, 31, 56, 57, 59, 60, 61, 86, 87, 89] {
        let today: NaiveDate = "2028-03-01".parse().expect("a day");
        let date = (today - TimeDelta::days(ago)).to_string();
        let mut tables = Tables::default();
        tables.active("ada", &[&date]);
        let rows = tables.rows("active_users", NOON, &[("lookback_days", 90)]).await;
        let days = |column: &str| {
            let with = rows.iter().enumerate().filter(|(_, row)| row[column] == 1);
            with.map(|(at, _)| 89 - i64::try_from(at).expect("a row of 90")).collect::<Vec<_>>()
        };
        let after = |days: i64| ((ago - days + 1).max(0)..=ago).rev().collect::<Vec<_>>();
        assert_eq!((days("dau"), days("wau"), days("mau")), (after(1), after(7), after(28)), "{ago} days ago");
        assert!(rows.iter().all(|row| row["dau"] == 0 || row["stickiness"] == 1.0), "{ago} days ago: {rows:?}");
        assert!(rows.iter().all(|row| row["mau"] == 1 || row["stickiness"].is_null()), "{ago} days ago: {rows:?}");
    }
}

/// Week before the 14th: gus.
/// Week of the 14th: ada and ben are new; gus churned.
/// Week of the 21st: ada is retained; eve and gone count as new, because it is their first known week; gus is
/// reactivated; ben churned.
/// Week of the 28th: ada and gone are retained; cy and fay are new; ben is reactivated; eve and gus churned.
#[tokio::test]
async fn growth_counts_new_retained_reactivated_and_churned_users() {
    let wanted = "
        +------------+-----+----------+-------------+---------+--------+----------+
        | week       | new | retained | reactivated | churned | active | complete |
        +------------+-----+----------+-------------+---------+--------+----------+
        | 2028-02-14 | 2   | 0        | 0           | 1       | 2      | false    |
        | 2028-02-21 | 2   | 1        | 1           | 1       | 4      | false    |
        | 2028-02-28 | 2   | 2        | 1           | 2       | 5      | false    |
        +------------+-----+----------+-------------+---------+--------+----------+";
    assert_answer(&few(), "growth", &[("lookback_weeks", 3)], wanted).await;
}

/// An import can set `created_at` to a time after the first activity. If such a user was active in the week before the
/// sign-up, the user is retained in the week of the sign-up, and never new.
#[tokio::test]
async fn a_user_active_before_signing_up_counts_once_per_week() {
    let mut tables = Tables { users: vec![json!({"id": "lou", "created_at": "2028-02-22T10:00:00Z"})], ..few() };
    tables.ledger.clear();
    tables.active("lou", &["2028-02-16", "2028-02-23"]);
    let wanted = "
        +------------+-----+----------+-------------+---------+--------+----------+
        | week       | new | retained | reactivated | churned | active | complete |
        +------------+-----+----------+-------------+---------+--------+----------+
        | 2028-02-14 | 0   | 0        | 1           | 0       | 1      | false    |
        | 2028-02-21 | 0   | 1        | 0           | 0       | 1      | false    |
        | 2028-02-28 | 0   | 0        | 0           | 1       | 0      | false    |
        +------------+-----+----------+-------------+---------+--------+----------+";
    assert_answer(&tables, "growth", &[("lookback_weeks", 3)], wanted).await;
}

/// Every day from Monday the 7th to Sunday the 20th is complete: the weeks of the 7th and the 14th. The week of the
/// 21st has one day that is not complete. Nothing is known about days before the 7th. The growth of a week also depends
/// on the week before.
#[tokio::test]
async fn a_week_is_complete_if_all_of_its_days_are_complete() {
    let mut tables = Tables::default();
    tables.active("ada", &["2028-02-10"]);
    for date in 7..=27 {
        tables.settled(&format!("2028-02-{date:02}"), i64::from(date == 10), Some(0), date != 27);
    }
    let complete = |rows: Vec<Value>| rows.iter().map(|row| row["complete"] == true).collect::<Vec<_>>();
    // The weeks of the 7th, 14th, 21st and 28th.
    let growth = tables.rows("growth", NOON, &[("lookback_weeks", 4)]).await;
    assert_eq!(complete(growth), [false, true, false, false]);
    // The cohort of the 7th has the same weeks; the cohort of the 14th begins in its own week, and so on.
    let retention = complete(tables.rows("retention", NOON, &[("lookback_weeks", 4)]).await);
    assert_eq!(retention[..4], [true, true, false, false]);
    assert_eq!(retention[4..8], [true, false, false, false]);
    // Of the last 7 days, the 23rd to the 29th, three are not complete.
    assert_eq!(complete(tables.rows("weekly_active_users", NOON, &[]).await), [false]);
    for date in ["2028-02-27", "2028-02-28", "2028-02-29"] {
        tables.days.retain(|row| row["date"] != date);
        tables.settled(date, 0, Some(0), true);
    }
    assert_eq!(complete(tables.rows("weekly_active_users", NOON, &[]).await), [true]);
    // The first of the last 28 days is the 2nd.
    assert_eq!(complete(tables.rows("monthly_active_users", NOON, &[]).await), [false]);
    for date in 2..=6 {
        tables.settled(&format!("2028-02-{date:02}"), 0, Some(0), true);
    }
    assert_eq!(complete(tables.rows("monthly_active_users", NOON, &[]).await), [true]);
    // A day is not complete if its users were erased later.
    tables.ledger.clear();
    assert_eq!(complete(tables.rows("monthly_active_users", NOON, &[]).await), [false]);
}

/// The cohort of the 14th is ada and ben. ada was active a week later. The second week later is not over. The cohort of
/// the 21st is empty. The cohort of the 28th is cy, fay and dee, who was never active; kim is in the future.
#[tokio::test]
async fn retention_has_values_for_weeks_that_are_over() {
    let wanted = "
        +------------+------+--------------+--------------+----------+-----------+
        | cohort     | week | cohort_users | active_users | complete | retention |
        +------------+------+--------------+--------------+----------+-----------+
        | 2028-02-14 | 0    | 2            | 2            | true     | 1.0       |
        | 2028-02-14 | 1    | 2            | 1            | false    | 0.5       |
        | 2028-02-14 | 2    | 2            |              | false    |           |
        | 2028-02-21 | 0    | 0            | 0            | true     |           |
        | 2028-02-21 | 1    | 0            |              | false    |           |
        | 2028-02-21 | 2    | 0            |              | false    |           |
        | 2028-02-28 | 0    | 3            | 3            | true     | 1.0       |
        | 2028-02-28 | 1    | 3            |              | false    |           |
        | 2028-02-28 | 2    | 3            |              | false    |           |
        +------------+------+--------------+--------------+----------+-----------+";
    assert_answer(&few(), "retention", &[("lookback_weeks", 3)], wanted).await;
}

/// The retention of a week without active users is 0 if the week is over, and null if it is not.
#[tokio::test]
async fn retention_is_0_without_active_users_and_null_if_the_week_is_not_over() {
    let users = vec![json!({"id": "lou", "created_at": "2028-02-08T00:00:00Z"})];
    let mut tables = Tables { users, ..Tables::default() };
    tables.active("lou", &["2028-02-08", "2028-02-29"]);
    let rows = tables.rows("retention", NOON, &[("lookback_weeks", 4)]).await;
    let shares: Vec<_> = rows[..4].iter().map(|row| &row["retention"]).collect();
    assert_eq!(shares, [&json!(1.0), &json!(0.0), &json!(0.0), &Value::Null]);
}

/// Since the 3rd of February, eve and fay were active on one day, ben, cy, gus and gone on two, and ada on five. The
/// activity of gus on the 1st and 2nd is too old.
#[tokio::test]
async fn days_of_activity_are_counted_over_28_days() {
    let rows = few().rows("activity_days", NOON, &[]).await;
    let users: Vec<_> = rows.iter().map(|row| (row["days"].as_i64(), row["users"].as_i64())).collect();
    let wanted = |days| match days {
        1 => 2,
        2 => 4,
        5 => 1,
        _ => 0,
    };
    assert_eq!(users, (1..=28).map(|days| (Some(days), Some(wanted(days)))).collect::<Vec<_>>());
}

/// Signed up before these days: gus, ivy, ada and ben. On the 28th nobody, on the leap day cy and dee, today fay. eve
/// and kim do not count.
#[tokio::test]
async fn sign_ups_are_counted_by_utc_day_with_a_running_total() {
    let wanted = "
        +------------+----------+-------+
        | date       | sign_ups | total |
        +------------+----------+-------+
        | 2028-02-28 | 0        | 4     |
        | 2028-02-29 | 2        | 6     |
        | 2028-03-01 | 1        | 7     |
        +------------+----------+-------+";
    assert_answer(&few(), "sign_ups", &[("lookback_days", 3)], wanted).await;
}

/// The first accounts of ada and gus are from Google. The first account of ben has no provider, but ben has an email
/// address. cy has a phone number and a username, dee a username, ivy a wallet, and fay nothing.
#[tokio::test]
async fn sign_ups_have_the_provider_of_the_first_account_or_the_first_identifier() {
    let wanted = "
        +------------+----------+----------+-------+
        | date       | provider | sign_ups | total |
        +------------+----------+----------+-------+
        | 2028-02-29 | email    | 0        | 1     |
        | 2028-02-29 | google   | 0        | 2     |
        | 2028-02-29 | other    | 0        | 0     |
        | 2028-02-29 | phone    | 1        | 1     |
        | 2028-02-29 | username | 1        | 1     |
        | 2028-02-29 | web3     | 0        | 1     |
        | 2028-03-01 | email    | 0        | 1     |
        | 2028-03-01 | google   | 0        | 2     |
        | 2028-03-01 | other    | 1        | 1     |
        | 2028-03-01 | phone    | 0        | 1     |
        | 2028-03-01 | username | 0        | 1     |
        | 2028-03-01 | web3     | 0        | 1     |
        +------------+----------+----------+-------+";
    assert_answer(&few(), "sign_ups_by_provider", &[("lookback_days", 2)], wanted).await;
}

/// Last active: gus at the last moment of the 27th; ada at the first moment of the 29th; ben, fay and, at its first
/// moment, cy today.
#[tokio::test]
async fn the_last_day_of_activity_is_a_utc_day() {
    let wanted = "
        +------------+--------------------+
        | date       | daily_active_users |
        +------------+--------------------+
        | 2028-02-26 | 0                  |
        | 2028-02-27 | 1                  |
        | 2028-02-28 | 0                  |
        | 2028-02-29 | 1                  |
        | 2028-03-01 | 3                  |
        +------------+--------------------+";
    assert_answer(&few(), "daily_active_users", &[("lookback_days", 5)], wanted).await;
}

/// The 7 days before today, the 23rd to the 29th: cy and dee signed up; gone, gus, ada and cy were active.
/// The 28 days before today, the 2nd to the 29th: ada was active on 5 days, gus on 3, gone on 2, and ben, cy and eve on
/// one: 13 days of 6 users.
/// The 7 days before those: ben signed up; ben, ada and eve were active.
/// The 28 days before those: gus was active on one day.
#[tokio::test]
async fn stats_have_the_values_of_the_previous_period() {
    let stickiness = 13.0 / 28.0 / 6.0;
    let wanted = [
        ("users", json!({"users": 8})),
        ("new_users", json!({"new_users": 2, "previous": 1})),
        ("weekly_active_users", json!({"weekly_active_users": 4, "previous": null, "complete": false})),
        ("monthly_active_users", json!({"monthly_active_users": 6, "previous": null, "complete": false})),
        ("stickiness", json!({"stickiness": stickiness, "previous": null})),
    ];
    assert_stats(&few(), wanted).await;
    // The previous periods are known if syncs began early enough. Older days that are not settled do not prove that.
    let mut early = few();
    early.unsettled("2028-01-05", 0);
    early.settled("2028-02-16", 0, None, false);
    let wanted = [
        ("weekly_active_users", json!({"weekly_active_users": 4, "previous": 3, "complete": false})),
        ("monthly_active_users", json!({"monthly_active_users": 6, "previous": null, "complete": false})),
    ];
    assert_stats(&early, wanted).await;
    early.settled("2028-01-05", 0, None, false);
    let wanted = [
        ("monthly_active_users", json!({"monthly_active_users": 6, "previous": 1, "complete": false})),
        ("stickiness", json!({"stickiness": stickiness, "previous": 1.0 / 28.0})),
    ];
    assert_stats(&early, wanted).await;
}

async fn assert_stats(tables: &Tables, wanted: impl IntoIterator<Item = (&'static str, Value)>) {
    for (name, row) in wanted {
        assert_eq!(tables.rows(name, NOON, &[]).await, [row], "{name}");
    }
}

/// Runs each query just before and at midnight UTC.
#[tokio::test]
async fn the_day_changes_at_midnight() {
    let last_date = |rows: Vec<Value>| rows.last().and_then(|row| row["date"].as_str().map(str::to_owned));
    for name in ["active_users", "daily_active_users", "sign_ups", "sign_ups_by_provider"] {
        for (now, today) in [
            ("2028-02-28T23:59:59.999999Z", "2028-02-28"),
            ("2028-02-29T00:00:00Z", "2028-02-29"),
            ("2028-02-29T23:59:59.999999Z", "2028-02-29"),
            ("2028-03-01T00:00:00Z", "2028-03-01"),
        ] {
            let rows = few().rows(name, now, &[("lookback_days", 2)]).await;
            assert_eq!(last_date(rows).as_deref(), Some(today), "{name} at {now}");
        }
    }
}

/// Days and weeks have rows with 0, a stat has one row, and shares of no users are null.
#[tokio::test]
async fn queries_over_empty_tables_return_zeros_or_no_rows() {
    let nothing = Tables::default();
    for (name, rows) in [("active_users", 30), ("daily_active_users", 30), ("sign_ups", 90), ("growth", 12)] {
        let found = nothing.rows(name, NOON, &[]).await;
        let zeros = |row: &Value| {
            let mut numbers = row.as_object().into_iter().flatten().filter_map(|(_, value)| value.as_i64());
            numbers.all(|number| number == 0)
        };
        assert!(found.len() == rows && found.iter().all(zeros), "{name}: {found:?}");
    }
    let cells = nothing.rows("retention", NOON, &[]).await;
    assert!(cells.len() == 144 && cells.iter().all(|cell| cell["retention"].is_null()), "{cells:?}");
    assert_eq!(nothing.rows("activity_days", NOON, &[]).await.len(), 28);
    for name in ["sign_ups_by_provider", "sessions_by_status", "devices", "organizations"] {
        assert!(nothing.rows(name, NOON, &[]).await.is_empty(), "{name}");
    }
    for name in ["users", "active_sessions", "active_organizations"] {
        assert_eq!(nothing.rows(name, NOON, &[]).await, [json!({name: 0})]);
    }
    assert_eq!(nothing.rows("new_users", NOON, &[]).await, [json!({"new_users": 0, "previous": 0})]);
    for name in ["weekly_active_users", "monthly_active_users"] {
        assert_eq!(nothing.rows(name, NOON, &[]).await, [json!({name: 0, "previous": null, "complete": false})]);
    }
    let stickiness = nothing.rows("stickiness", NOON, &[]).await;
    assert_eq!(stickiness, [json!({"stickiness": null, "previous": null})]);
}
