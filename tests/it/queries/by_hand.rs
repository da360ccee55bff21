//! A few people, and every answer worked out by hand.
//!
//! It is noon of Wednesday, 2028-03-01; the day before is a leap day. This week began on Monday, 2028-02-28.

use chrono::{NaiveDate, TimeDelta};
use serde_json::{Value, json};

use super::tables::{NOON, Tables, assert_answer};

fn account(provider: Option<&str>) -> Value {
    json!({"id": "eac_1", "provider": provider, "verification_status": "verified"})
}

fn people() -> Vec<Value> {
    vec![
        // Signed up in the first moment of a week; came last in the first moment of the leap day.
        json!({"id": "ada", "created_at": "2028-02-14T00:00:00Z", "last_active_at": "2028-02-29T00:00:00Z",
            "banned": false, "email": "ada@example.com",
            "external_accounts": [account(Some("oauth_google")), account(Some("oauth_github"))]}),
        // In the last moment of the same week; the first account has no provider.
        json!({"id": "ben", "created_at": "2028-02-20T23:59:59.999999Z", "last_active_at": "2028-03-01T09:30:00Z",
            "banned": false, "email": "ben@example.com",
            "external_accounts": [account(None), account(Some("oauth_apple"))]}),
        // In the first moment of the leap day; came last in the first moment of today.
        json!({"id": "cy", "created_at": "2028-02-29T00:00:00Z", "last_active_at": "2028-03-01T00:00:00Z",
            "banned": false, "primary_phone_number_id": "idn_1", "username": "cy", "external_accounts": []}),
        // In the last moment of the leap day; banned, and never active.
        json!({"id": "dee", "created_at": "2028-02-29T23:59:59.999999Z", "banned": true, "username": "dee"}),
        // Nobody knows when.
        json!({"id": "eve", "last_active_at": "2028-02-22T23:59:59.999999Z", "email": "eve@example.com"}),
        // In the first moment of today, with nothing that tells how.
        json!({"id": "fay", "created_at": "2028-03-01T00:00:00Z", "last_active_at": "2028-03-01T11:00:00Z",
            "banned": false, "external_accounts": [account(None)]}),
        // Long ago.
        json!({"id": "gus", "created_at": "2027-11-30T08:00:00Z", "last_active_at": "2028-02-27T23:59:59.999999Z",
            "banned": false, "external_accounts": [account(Some("oauth_google"))]}),
        json!({"id": "ivy", "created_at": "2027-01-01T00:00:00Z", "primary_web3_wallet_id": "idn_2"}),
        // Tomorrow, by a clock that is wrong.
        json!({"id": "kim", "created_at": "2028-03-02T00:00:00Z", "banned": false, "email": "kim@example.com"}),
    ]
}

/// The people with what the ledger has of them, and of somebody who is no longer a user.
fn few() -> Tables {
    let mut few = Tables { users: people(), ..Tables::default() };
    few.active("ada", &["2028-02-14", "2028-02-15", "2028-02-21", "2028-02-28", "2028-02-29"]);
    few.active("ben", &["2028-02-20", "2028-03-01"]);
    few.active("cy", &["2028-02-29", "2028-03-01"]);
    few.active("eve", &["2028-02-22"]);
    few.active("fay", &["2028-03-01"]);
    few.active("gus", &["2028-02-01", "2028-02-02", "2028-02-13", "2028-02-27"]);
    few.active("gone", &["2028-02-23", "2028-02-29"]);
    // Complete then, but the ledger has lost the one user of that day since.
    few.settled("2028-02-26", 1, Some(0), true);
    few.settled("2028-02-27", 1, Some(0), true);
    few.settled("2028-02-28", 1, Some(2), false);
    few.settled("2028-02-29", 3, Some(0), true);
    few.unsettled("2028-03-01", 3);
    few
}

/// dau: nobody; gus; ada; ada, cy and gone; ben, cy and fay.
/// wau: of 20 to 26 ben, ada, eve and gone; of 21 to 27 gus instead of ben; of 22 to 28 the same, ada by the 28th;
/// of 23 to 29 cy instead of eve; of 24 to 1 gus, ada, cy, gone, ben and fay.
/// mau: ada, ben, eve, gus and gone on the first three days; cy on the fourth; fay on the last.
/// `at_most`: whom the ledger has lost on the 26th was active on it.
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

/// One user on one day is a weekly user for 7 days and a monthly one for 28; before and after, nobody is. The day is
/// 90 days back, the oldest that is ever shown, or today, or one on either side of what one number of bits holds.
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

/// Before these weeks: gus.
/// From the 14th: ada and ben, both new; gus has gone.
/// From the 21st: ada again; eve and gone, whose first week it is as far as anybody knows; gus is back; ben has gone.
/// From the 28th: ada and gone again; cy and fay are new; ben is back; eve and gus have gone.
#[tokio::test]
async fn growth_tells_new_users_from_those_who_stay_come_back_and_go() {
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

/// An import can give a user a `created_at` after the first activity. Then the user was active in the week before the
/// sign-up: retained in the week of it, and no new user in any.
#[tokio::test]
async fn who_was_active_before_signing_up_counts_once_a_week() {
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

/// Every day from Monday the 7th to Sunday the 20th is complete: the weeks of the 7th and the 14th. Of the week of the
/// 21st one day is not, and of the days before the 7th nothing is known. A week's growth is about the week before too.
#[tokio::test]
async fn a_week_is_complete_where_all_of_its_days_are() {
    let mut tables = Tables::default();
    tables.active("ada", &["2028-02-10"]);
    for date in 7..=27 {
        tables.settled(&format!("2028-02-{date:02}"), i64::from(date == 10), Some(0), date != 27);
    }
    let complete = |rows: Vec<Value>| rows.iter().map(|row| row["complete"] == true).collect::<Vec<_>>();
    // The weeks of the 7th, 14th, 21st and 28th.
    let growth = tables.rows("growth", NOON, &[("lookback_weeks", 4)]).await;
    assert_eq!(complete(growth), [false, true, false, false]);
    // The cohort of the 7th in the same weeks, that of the 14th from its own on, and so on.
    let retention = complete(tables.rows("retention", NOON, &[("lookback_weeks", 4)]).await);
    assert_eq!(retention[..4], [true, true, false, false]);
    assert_eq!(retention[4..8], [true, false, false, false]);
    // Of the last 7 days, from the 23rd to the 29th, three are not.
    assert_eq!(complete(tables.rows("weekly_active_users", NOON, &[]).await), [false]);
    for date in ["2028-02-27", "2028-02-28", "2028-02-29"] {
        tables.days.retain(|row| row["date"] != date);
        tables.settled(date, 0, Some(0), true);
    }
    assert_eq!(complete(tables.rows("weekly_active_users", NOON, &[]).await), [true]);
    // The first of the last 28 is the 2nd.
    assert_eq!(complete(tables.rows("monthly_active_users", NOON, &[]).await), [false]);
    for date in 2..=6 {
        tables.settled(&format!("2028-02-{date:02}"), 0, Some(0), true);
    }
    assert_eq!(complete(tables.rows("monthly_active_users", NOON, &[]).await), [true]);
    // What has been erased since is missing.
    tables.ledger.clear();
    assert_eq!(complete(tables.rows("monthly_active_users", NOON, &[]).await), [false]);
}

/// The cohort of the 14th is ada and ben: ada came a week later, and two weeks later is not over. That of the 21st is
/// nobody. That of the 28th is cy, fay, and dee, who never came; kim is not there yet.
#[tokio::test]
async fn retention_is_of_weeks_that_are_over() {
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

/// A cohort that nobody came back of is 0 where the week is over, and nothing where it is not.
#[tokio::test]
async fn a_week_without_anybody_is_0_and_one_that_is_not_over_is_null() {
    let users = vec![json!({"id": "lou", "created_at": "2028-02-08T00:00:00Z"})];
    let mut tables = Tables { users, ..Tables::default() };
    tables.active("lou", &["2028-02-08", "2028-02-29"]);
    let rows = tables.rows("retention", NOON, &[("lookback_weeks", 4)]).await;
    let shares: Vec<_> = rows[..4].iter().map(|row| &row["retention"]).collect();
    assert_eq!(shares, [&json!(1.0), &json!(0.0), &json!(0.0), &Value::Null]);
}

/// From the 3rd of February on: eve and fay came on one day, ben, cy, gus and gone on two, ada on five. What gus did
/// on the 1st and 2nd is too long ago.
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

/// Before: gus, ivy, ada and ben. Then nobody; cy and dee on the leap day; fay today. Neither eve nor kim.
#[tokio::test]
async fn sign_ups_fall_on_utc_days_and_add_up_from_the_beginning() {
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

/// ada's first account is Google's, as is gus's; ben's names no provider, and there is an address; cy has a phone
/// and a name, dee a name, ivy a wallet, fay nothing.
#[tokio::test]
async fn sign_ups_are_of_the_first_account_s_provider_or_of_what_there_is_instead() {
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

/// Last seen on the 27th gus, in its last moment; on the 29th ada, in its first; today ben, fay, and cy in its first.
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

/// Whole days before today: from the 23rd to the 29th signed up cy and dee, and were active gone, gus, ada and cy;
/// from the 2nd to the 29th were active ada on 5 days, gus on 3, gone on 2, ben, cy and eve on 1: 13 days of 6 users.
/// The 7 days before: ben signed up, and were active ben, ada and eve; the 28 days before: gus, on one day.
#[tokio::test]
async fn figures_stand_beside_those_of_the_period_before() {
    let stickiness = 13.0 / 28.0 / 6.0;
    let wanted = [
        ("users", json!({"users": 8})),
        ("new_users", json!({"new_users": 2, "previous": 1})),
        ("weekly_active_users", json!({"weekly_active_users": 4, "previous": null, "complete": false})),
        ("monthly_active_users", json!({"monthly_active_users": 6, "previous": null, "complete": false})),
        ("stickiness", json!({"stickiness": stickiness, "previous": null})),
    ];
    assert_stats(&few(), wanted).await;
    // Where syncs began early enough, the periods before are known too; what older days have is no sign of that.
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

/// A day ends at midnight, UTC, and so does what is shown: a question a moment before and one at midnight.
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

/// Days and weeks are there with 0, a stat is one row, and nothing is divided by nobody.
#[tokio::test]
async fn empty_tables_have_answers() {
    let nothing = Tables::default();
    for (name, rows) in [("active_users", 30), ("daily_active_users", 30), ("sign_ups", 90), ("growth", 12)] {
        let found = nothing.rows(name, NOON, &[]).await;
        let zeros = |row: &Value| {
            let mut figures = row.as_object().into_iter().flatten().filter_map(|(_, value)| value.as_i64());
            figures.all(|figure| figure == 0)
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
