//! What must hold of the ledger of activity, worked out from the simulator's model and not by the program's own code.

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

/// Who was active on which days; days count from 1970.
pub type Active = BTreeSet<(i64, String)>;

/// What the lake says of a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Day {
    pub active: i64,
    pub unknown: Option<i64>,
    pub complete: bool,
    pub settled: bool,
}

/// Who really was active on which days.
pub fn truth(model: &Model) -> Active {
    let days = |user: &str| model.active_days(user).into_iter().map(|day| (day, user.to_owned())).collect::<Vec<_>>();
    model.users_ever().into_iter().flat_map(days).collect()
}

/// The users of one day.
pub fn on(active: &Active, day: i64) -> BTreeSet<&str> {
    active.range((day, String::new())..(day + 1, String::new())).map(|(_, user)| user.as_str()).collect()
}

/// What `sql` gives over one table of the lake; none where that has not been written yet.
async fn ask(lake: &Lake, spec: &'static TableSpec, sql: &str) -> Option<Vec<RecordBatch>> {
    let table = lake.table(spec).await.expect("a table that can be opened");
    if !table.exists() {
        return None;
    }
    let session = lake.session();
    session.register_table(spec.name, table.provider().await.expect("a table that can be read")).expect("a table");
    let (query, parameters) = (Query::ad_hoc(sql), Parameters::at(Clock::system().now()));
    Some(Box::pin(query.run(&session, &parameters)).await.expect("an answer"))
}

/// Users and days: the first two columns of `batches`.
fn active(batches: &[RecordBatch]) -> Vec<(i64, String)> {
    let mut found = Vec::new();
    for batch in batches {
        let users = cast(batch.column(0), &DataType::Utf8).expect("text");
        let days = batch.column(1).as_primitive::<Date32Type>();
        let users = users.as_string::<i32>();
        found.extend((0..batch.num_rows()).map(|row| (i64::from(days.value(row)), users.value(row).to_owned())));
    }
    found
}

/// The ids of the users in the lake.
pub async fn users(lake: &Lake) -> BTreeSet<String> {
    let found = Box::pin(ask(lake, &USERS.table, "SELECT id, CAST(created_at AS DATE) FROM clerk_user")).await;
    active(&found.unwrap_or_default()).into_iter().map(|(_, user)| user).collect()
}

/// The ledger's rows, none of them twice, each in its month's partition and from where it may come.
pub async fn rows(lake: &Lake) -> Active {
    let sql = "SELECT user_id, date, month, source FROM clerk_user_activity";
    let batches = Box::pin(ask(lake, &USER_ACTIVITY.table, sql)).await.unwrap_or_default();
    for batch in &batches {
        let texts = [2, 3].map(|column| cast(batch.column(column), &DataType::Utf8).expect("text"));
        let [months, sources] = texts.each_ref().map(AsArray::as_string::<i32>);
        let days = batch.column(1).as_primitive::<Date32Type>();
        for row in 0..batch.num_rows() {
            let date = days.value_as_date(row).expect("a day").to_string();
            assert_eq!(months.value(row), &date[..7], "{date} lies in the partition of another month");
            assert!(["user", "session"].contains(&sources.value(row)), "{} told of {date}", sources.value(row));
        }
    }
    let found = active(&batches);
    let count = found.len();
    let rows: Active = found.into_iter().collect();
    assert_eq!(rows.len(), count, "a row of the ledger is there twice");
    rows
}

/// What the lake's own users and sessions tell of.
async fn told(lake: &Lake) -> Active {
    let users = "SELECT id, CAST(last_active_at AS DATE) FROM clerk_user WHERE last_active_at IS NOT NULL";
    let sessions = "SELECT user_id, CAST(created_at AS DATE) FROM clerk_session WHERE actor IS NULL \
        UNION SELECT user_id, CAST(last_active_at AS DATE) FROM clerk_session WHERE actor IS NULL";
    let users = Box::pin(ask(lake, &USERS.table, users)).await.unwrap_or_default();
    let sessions = Box::pin(ask(lake, &SESSIONS.table, sessions)).await.unwrap_or_default();
    active(&users).into_iter().chain(active(&sessions)).collect()
}

/// What the lake says of each day.
pub async fn days(lake: &Lake) -> BTreeMap<i64, Day> {
    let sql = "SELECT date, active_users, unknown_users, complete, settled_at IS NOT NULL FROM clerk_activity_day";
    let mut found = BTreeMap::new();
    for batch in Box::pin(ask(lake, &ACTIVITY_DAYS, sql)).await.unwrap_or_default() {
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
            assert!(before.is_none(), "a day is there twice: {before:?}");
        }
    }
    found
}

/// The days that are complete: those that say so and of which the ledger has as many rows as they say.
pub fn complete(days: &BTreeMap<i64, Day>, rows: &Active) -> BTreeSet<i64> {
    let counted = |day: i64| i64::try_from(on(rows, day).len()).expect("a count");
    days.iter().filter(|(day, it)| it.complete && it.active == counted(**day)).map(|(day, _)| *day).collect()
}

/// Whatever became of the last run: the ledger has all that it had, no day that was not, and no day is complete, or
/// said to have so many unknown users at most, of which that is not true. `known` are the users whom a table has ever
/// had: of others nobody can know.
pub async fn assert_sound(lake: &Lake, truth: &Active, known: &BTreeSet<String>, before: &mut Active, case: &str) {
    let (rows, days) = (rows(lake).await, days(lake).await);
    let lost: Vec<_> = before.difference(&rows).collect();
    assert!(lost.is_empty(), "{case}: the ledger has lost {lost:?}");
    let invented: Vec<_> = rows.difference(truth).collect();
    assert!(invented.is_empty(), "{case}: the ledger has days that were not: {invented:?}");
    for (day, it) in &days {
        let real: BTreeSet<&str> = on(truth, *day).into_iter().filter(|user| known.contains(*user)).collect();
        let count = i64::try_from(real.len()).expect("a count");
        assert!(it.unknown.is_none_or(|unknown| it.active + unknown >= count), "{case}: day {day}: {it:?}, {count}");
    }
    for day in complete(&days, &rows) {
        let (has, all) = (on(&rows, day), on(truth, day));
        let missed: Vec<_> = all.difference(&has).filter(|user| known.contains(**user)).collect();
        assert!(missed.is_empty(), "{case}: day {day} counts as complete without {missed:?}");
    }
    *before = rows;
}

/// After the ledger has been filled: it has all that the lake's users and sessions tell of, and its days count it.
pub async fn assert_filled(lake: &Lake, case: &str) {
    let (rows, days) = (rows(lake).await, days(lake).await);
    let told = told(lake).await;
    let missed: Vec<_> = told.difference(&rows).collect();
    assert!(missed.is_empty(), "{case}: the lake's tables tell of {missed:?}, and the ledger does not");
    let mut counts: BTreeMap<i64, i64> = days.keys().map(|day| (*day, 0)).collect();
    for (day, _) in &rows {
        *counts.entry(*day).or_default() += 1;
    }
    let said: BTreeMap<i64, i64> = days.iter().map(|(day, it)| (*day, it.active)).collect();
    assert_eq!(said, counts, "{case}: users by day, as the days say and as the ledger has them");
}

/// The ledger in `lake` is filled, and has nothing that was not.
pub async fn assert_ledger(world: &World, lake: &Lake, case: &str) {
    let truth = world.simulator.with_model(|model| truth(model));
    let invented: Vec<_> = rows(lake).await.difference(&truth).cloned().collect();
    assert!(invented.is_empty(), "{case}: the ledger has days that were not: {invented:?}");
    assert_filled(lake, case).await;
}
