//! Counts the users who may have been active on a day without being seen, when the day is settled.

use std::collections::BTreeMap;

use arrow::array::AsArray;
use arrow::datatypes::{Date32Type, Int64Type};

use super::snapshots::{Snapshots, counts_by_day, sql_day};
use crate::error::{Error, Result};
use crate::resource::USERS;

/// Counts of users on a day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Unseen {
    /// Users whom the ledger has on a later day but not on this one, and who were created by its end.
    pub later: i64,
    /// Deleted users whom the ledger has on this day as their last active day.
    pub deleted_but_seen: i64,
}

/// `users` users were created on or before day `created` and last seen on day `last`.
struct Lifespan {
    created: i32,
    last: i32,
    users: i64,
}

/// Counts the users who may have been active unseen on each of `days`, in ascending order, from the rows of the tables
/// named in `ledger`. Rows of days after `until`, which have not started yet, are ignored.
pub(super) async fn unseen(
    snapshots: &Snapshots,
    ledger: &[&str],
    days: &[i32],
    until: i32,
) -> Result<BTreeMap<i32, Unseen>> {
    let (Some(first), Some(last)) = (days.first().copied(), days.last().copied()) else { return Ok(BTreeMap::new()) };
    if ledger.is_empty() {
        return Ok(BTreeMap::new());
    }
    let tables = with_tables(ledger, first, until);
    let lived = lifespans(snapshots, &tables).await?;
    let seen = seen_before_last(snapshots, &tables, last).await?;
    let gone = deleted_but_seen(snapshots, &tables, last).await?;
    let unseen = |day: i32| {
        let possible: i64 = lived.iter().filter(|it| it.created <= day && day < it.last).map(|it| it.users).sum();
        let number = |of: &BTreeMap<i32, i64>| of.get(&day).copied().unwrap_or_default();
        (day, Unseen { later: possible - number(&seen), deleted_but_seen: number(&gone) })
    };
    Ok(days.iter().copied().map(unseen).collect())
}

/// Returns the SQL of common table expressions: `activity`, the ledger's rows from `first` to `until`; and `lived`, all
/// users whom the ledger has after `first`, with the day of creation and the last day seen. A user who was created
/// before `first` or at an unknown time counts as created on `first`.
fn with_tables(ledger: &[&str], first: i32, until: i32) -> String {
    let (first, until, users) = (sql_day(first), sql_day(until), USERS.table.name);
    let rows =
        |table: &&str| format!("SELECT user_id, date, source FROM {table} WHERE date >= {first} AND date <= {until}");
    let rows: Vec<String> = ledger.iter().map(rows).collect();
    format!(
        "WITH activity AS ({}), \
         later AS (SELECT user_id, max(date) AS seen_last FROM activity WHERE date > {first} GROUP BY user_id), \
         born AS (SELECT id, CAST(created_at AS DATE) AS born_on FROM {users}), \
         lived AS (SELECT later.user_id, later.seen_last, \
             CASE WHEN born.born_on > {first} THEN born.born_on ELSE {first} END AS created_on \
             FROM later LEFT JOIN born ON born.id = later.user_id) ",
        rows.join(" UNION ALL ")
    )
}

/// Counts the users of `lived` by day of creation and last day seen.
async fn lifespans(snapshots: &Snapshots, tables: &str) -> Result<Vec<Lifespan>> {
    let sql =
        tables.to_owned() + "SELECT created_on, seen_last, count(*) AS users FROM lived GROUP BY created_on, seen_last";
    let mut found = Vec::new();
    for batch in snapshots.collect(&sql, Vec::new()).await? {
        let days = [0, 1].map(|column| batch.column(column).as_primitive_opt::<Date32Type>());
        let ([Some(created), Some(last)], Some(users)) = (days, batch.column(2).as_primitive_opt::<Int64Type>()) else {
            return Err(Error::bug("the query must return two dates and a number"));
        };
        found.extend((0..batch.num_rows()).map(|row| Lifespan {
            created: created.value(row),
            last: last.value(row),
            users: users.value(row),
        }));
    }
    Ok(found)
}

/// Counts, for each day, the users of `lived` whom the ledger has on that day, before their last day seen.
async fn seen_before_last(snapshots: &Snapshots, tables: &str, last: i32) -> Result<BTreeMap<i32, i64>> {
    let sql = tables.to_owned()
        + "SELECT activity.date, count(*) AS users \
           FROM activity JOIN lived ON lived.user_id = activity.user_id \
           WHERE activity.date >= lived.created_on AND activity.date < lived.seen_last "
        + &format!("AND activity.date <= {} GROUP BY activity.date", sql_day(last));
    counts_by_day(&snapshots.collect(&sql, Vec::new()).await?)
}

/// Counts, for each day, the deleted users whom the ledger has on it as their last active day. The users table had them
/// on that day or later, so they are among the deletions counted for that day.
async fn deleted_but_seen(snapshots: &Snapshots, tables: &str, last: i32) -> Result<BTreeMap<i32, i64>> {
    let users = USERS.table.name;
    let sql = tables.to_owned()
        + &format!(
            "SELECT activity.date, count(*) AS users \
             FROM activity LEFT ANTI JOIN (SELECT id FROM {users}) AS here ON here.id = activity.user_id \
             WHERE activity.source = 'user' AND activity.date <= {} GROUP BY activity.date",
            sql_day(last)
        );
    counts_by_day(&snapshots.collect(&sql, Vec::new()).await?)
}
