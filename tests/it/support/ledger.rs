//! Assertions about the activity ledger. The expected values come from the simulator's model, not from the code of the
//! program.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Date32Type, Int64Type};
use clerk_lake::clock::Clock;
use clerk_lake::lake::Lake;
use clerk_lake::query::{Parameters, Query};
use clerk_lake::resource::{ACTIVITY_DAYS, SESSIONS, USER_ACTIVITY, USERS};
use clerk_lake::simulator::Model;
use clerk_lake::table::TableSpec;

use super::World;

/// Users by the days on which they were active. A day is the number of days since 1970-01-01.
pub type UserDays = BTreeSet<(i64, String)>;

/// A row of `clerk_activity_day`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Day {
    pub active: i64,
    pub unknown: Option<i64>,
    pub complete: bool,
    pub settled: bool,
}

/// Returns the days on which each user was really active.
pub fn true_activity(model: &Model) -> UserDays {
    let days = |user: &str| model.active_days(user).into_iter().map(|day| (day, user.to_owned())).collect::<Vec<_>>();
    model.users_ever().into_iter().flat_map(days).collect()
}

/// Returns the users who were active on a day.
pub fn users_on(active: &UserDays, day: i64) -> BTreeSet<&str> {
    active.range((day, String::new())..(day + 1, String::new())).map(|(_, user)| user.as_str()).collect()
}

/// Runs `sql` over one table of the lake. Returns `None` if the table does not exist yet.
async fn query_table(lake: &Lake, spec: &'static TableSpec, sql: &str) -> Option<Vec<RecordBatch>> {
    let table = lake.table(spec).await.expect("a table that can be opened");
    if !table.exists() {
        return None;
    }
    let context = lake.context();
    context.register_table(spec.name, table.provider().await.expect("a table that can be read")).expect("a table");
    let (query, parameters) = (Query::ad_hoc(sql), Parameters::at(Clock::system().now()));
    Some(Box::pin(query.run(&context, &parameters)).await.expect("a result"))
}

/// Returns the users and days in the first two columns of `batches`.
fn user_days(batches: &[RecordBatch]) -> Vec<(i64, String)> {
    let mut found = Vec::new();
    for batch in batches {
        let users = cast(batch.column(0), &DataType::Utf8).expect("text");
        let days = batch.column(1).as_primitive::<Date32Type>();
        let users = users.as_string::<i32>();
        found.extend((0..batch.num_rows()).map(|row| (i64::from(days.value(row)), users.value(row).to_owned())));
    }
    found
}

/// Returns the ids of the users in the lake.
pub async fn users(lake: &Lake) -> BTreeSet<String> {
    let found = Box::pin(query_table(lake, &USERS.table, "SELECT id, CAST(created_at AS DATE) FROM clerk_user")).await;
    user_days(&found.unwrap_or_default()).into_iter().map(|(_, user)| user).collect()
}

/// Returns the rows of the ledger.
///
/// Asserts that there are no duplicates, that each row is in the partition of its month, and that its source is known.
pub async fn rows(lake: &Lake) -> UserDays {
    let sql = "SELECT user_id, date, month, source FROM clerk_user_activity";
    let batches = Box::pin(query_table(lake, &USER_ACTIVITY.table, sql)).await.unwrap_or_default();
    for batch in &batches {
        let texts = [2, 3].map(|column| cast(batch.column(column), &DataType::Utf8).expect("text"));
        let [months, sources] = texts.each_ref().map(AsArray::as_string::<i32>);
        let days = batch.column(1).as_primitive::<Date32Type>();
        for row in 0..batch.num_rows() {
            let date = days.value_as_date(row).expect("a day").to_string();
            assert_eq!(months.value(row), &date[..7], "{date} is in the partition of another month");
            assert!(
                ["user", "session"].contains(&sources.value(row)),
                "unknown source {} of {date}",
                sources.value(row)
            );
        }
    }
    let found = user_days(&batches);
    let count = found.len();
    let rows: UserDays = found.into_iter().collect();
    assert_eq!(rows.len(), count, "the ledger has a duplicate row");
    rows
}

/// Returns the activity that the user and session tables of the lake show.
async fn activity_in_tables(lake: &Lake) -> UserDays {
    let users = "SELECT id, CAST(last_active_at AS DATE) FROM clerk_user WHERE last_active_at IS NOT NULL";
    let sessions = "SELECT user_id, CAST(created_at AS DATE) FROM clerk_session WHERE actor IS NULL \
        UNION SELECT user_id, CAST(last_active_at AS DATE) FROM clerk_session WHERE actor IS NULL";
    let users = Box::pin(query_table(lake, &USERS.table, users)).await.unwrap_or_default();
    let sessions = Box::pin(query_table(lake, &SESSIONS.table, sessions)).await.unwrap_or_default();
    user_days(&users).into_iter().chain(user_days(&sessions)).collect()
}

/// Returns the rows of `clerk_activity_day`, by day.
pub async fn days(lake: &Lake) -> BTreeMap<i64, Day> {
    let sql = "SELECT date, active_users, unknown_users, complete, settled_at IS NOT NULL FROM clerk_activity_day";
    let mut found = BTreeMap::new();
    for batch in Box::pin(query_table(lake, &ACTIVITY_DAYS, sql)).await.unwrap_or_default() {
        let dates = batch.column(0).as_primitive::<Date32Type>();
        let numbers = [1, 2].map(|column| batch.column(column).as_primitive::<Int64Type>());
        let flags = [3, 4].map(|column| batch.column(column).as_boolean());
        for row in 0..batch.num_rows() {
            let day = Day {
                active: numbers[0].value(row),
                unknown: numbers[1].is_valid(row).then(|| numbers[1].value(row)),
                complete: flags[0].value(row),
                settled: flags[1].value(row),
            };
            let before = found.insert(i64::from(dates.value(row)), day);
            assert!(before.is_none(), "a day has two rows: {before:?}");
        }
    }
    found
}

/// Returns the complete days: those marked complete for which the ledger has the recorded number of users.
pub fn complete(days: &BTreeMap<i64, Day>, rows: &UserDays) -> BTreeSet<i64> {
    let counted = |day: i64| i64::try_from(users_on(rows, day).len()).expect("a count");
    days.iter().filter(|(day, it)| it.complete && it.active == counted(**day)).map(|(day, _)| *day).collect()
}

/// Asserts what holds after every run, even a failed one:
///
/// - the ledger has lost no row and has only true activity;
/// - no day has more missing users than its number of unknown users;
/// - no complete day lacks a user.
///
/// `known` are the users that a table has ever had. The lake cannot know about others.
pub async fn assert_sound(
    lake: &Lake,
    true_activity: &UserDays,
    known: &BTreeSet<String>,
    before: &mut UserDays,
    case: &str,
) {
    let (rows, days) = (rows(lake).await, days(lake).await);
    let lost: Vec<_> = before.difference(&rows).collect();
    assert!(lost.is_empty(), "{case}: the ledger has lost {lost:?}");
    let invented: Vec<_> = rows.difference(true_activity).collect();
    assert!(invented.is_empty(), "{case}: the ledger has false activity: {invented:?}");
    for (day, it) in &days {
        let real: BTreeSet<&str> =
            users_on(true_activity, *day).into_iter().filter(|user| known.contains(*user)).collect();
        let count = i64::try_from(real.len()).expect("a count");
        assert!(it.unknown.is_none_or(|unknown| it.active + unknown >= count), "{case}: day {day}: {it:?}, {count}");
    }
    for day in complete(&days, &rows) {
        let (has, all) = (users_on(&rows, day), users_on(true_activity, day));
        let missed: Vec<_> = all.difference(&has).filter(|user| known.contains(**user)).collect();
        assert!(missed.is_empty(), "{case}: day {day} is marked complete but lacks {missed:?}");
    }
    *before = rows;
}

/// Asserts that the ledger has all activity that the user and session tables show, and that the counts in
/// `clerk_activity_day` are right.
pub async fn assert_filled(lake: &Lake, case: &str) {
    let (rows, days) = (rows(lake).await, days(lake).await);
    let shown = activity_in_tables(lake).await;
    let missed: Vec<_> = shown.difference(&rows).collect();
    assert!(missed.is_empty(), "{case}: the ledger lacks activity that the user and session tables show: {missed:?}");
    let mut counts: BTreeMap<i64, i64> = days.keys().map(|day| (*day, 0)).collect();
    for (day, _) in &rows {
        *counts.entry(*day).or_default() += 1;
    }
    let recorded: BTreeMap<i64, i64> = days.iter().map(|(day, it)| (*day, it.active)).collect();
    assert_eq!(recorded, counts, "{case}: active users by day in clerk_activity_day and in the ledger");
}

/// Asserts that the ledger in `lake` is up to date and has only true activity.
pub async fn assert_ledger(world: &World, lake: &Lake, case: &str) {
    let true_activity = world.simulator.with_model(|model| true_activity(model));
    let invented: Vec<_> = rows(lake).await.difference(&true_activity).cloned().collect();
    assert!(invented.is_empty(), "{case}: the ledger has false activity: {invented:?}");
    assert_filled(lake, case).await;
}
