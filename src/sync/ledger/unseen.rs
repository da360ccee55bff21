//! Who may have been active on a day unseen: what the ledger and the users tell when the day is settled.

use std::collections::BTreeMap;

use arrow::array::AsArray;
use arrow::datatypes::{Date32Type, Int64Type};

use super::snapshots::{Snapshots, numbers, sql_day};
use crate::error::{Error, Result};
use crate::resource::USERS;

/// Users on a day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Unseen {
    /// Those whom the ledger has on a later day and not on this one, and who had been created by its end.
    pub later: i64,
    /// Those who are gone and whom the ledger has on this day, as a user's last one.
    pub deleted_but_seen: i64,
}

/// So many users were created on the first day or earlier, and seen last on the second.
struct Lived {
    created: i32,
    last: i32,
    users: i64,
}

/// Who may have been active unseen on each of `days`, in ascending order, by the rows of the tables called `ledger`.
/// Rows of days after `until`, which have not begun yet, are not looked at.
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
    let lived = lived_through(snapshots, &tables).await?;
    let seen = seen_again(snapshots, &tables, last).await?;
    let gone = gone_but_seen(snapshots, &tables, last).await?;
    let unseen = |day: i32| {
        let possible: i64 = lived.iter().filter(|it| it.created <= day && day < it.last).map(|it| it.users).sum();
        let number = |of: &BTreeMap<i32, i64>| of.get(&day).copied().unwrap_or_default();
        (day, Unseen { later: possible - number(&seen), deleted_but_seen: number(&gone) })
    };
    Ok(days.iter().copied().map(unseen).collect())
}

/// The ledger's rows from `first` to `until`, as a common table called `activity`; and everybody whom it has after that day,
/// with the day of creation and the last one seen, as one called `lived`. Who was created before `first`, or nobody
/// knows when, counts as created on it.
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

/// How many users lived through which days after `first`: created on one or before it, seen last on another.
async fn lived_through(snapshots: &Snapshots, tables: &str) -> Result<Vec<Lived>> {
    let sql =
        tables.to_owned() + "SELECT created_on, seen_last, count(*) AS users FROM lived GROUP BY created_on, seen_last";
    let mut found = Vec::new();
    for batch in snapshots.ask(&sql, Vec::new()).await? {
        let days = [0, 1].map(|column| batch.column(column).as_primitive_opt::<Date32Type>());
        let ([Some(created), Some(last)], Some(users)) = (days, batch.column(2).as_primitive_opt::<Int64Type>()) else {
            return Err(Error::bug("days were asked for, and something else was given"));
        };
        found.extend((0..batch.num_rows()).map(|row| Lived {
            created: created.value(row),
            last: last.value(row),
            users: users.value(row),
        }));
    }
    Ok(found)
}

/// How many of them the ledger has on each day before their last one.
async fn seen_again(snapshots: &Snapshots, tables: &str, last: i32) -> Result<BTreeMap<i32, i64>> {
    let sql = tables.to_owned()
        + "SELECT activity.date, count(*) AS users \
           FROM activity JOIN lived ON lived.user_id = activity.user_id \
           WHERE activity.date >= lived.created_on AND activity.date < lived.seen_last "
        + &format!("AND activity.date <= {} GROUP BY activity.date", sql_day(last));
    numbers(&snapshots.ask(&sql, Vec::new()).await?)
}

/// How many users the ledger has on each day as their last one who are users no more. They are among those who were
/// deleted: the table of users has had them, on that day or later.
async fn gone_but_seen(snapshots: &Snapshots, tables: &str, last: i32) -> Result<BTreeMap<i32, i64>> {
    let users = USERS.table.name;
    let sql = tables.to_owned()
        + &format!(
            "SELECT activity.date, count(*) AS users \
             FROM activity LEFT ANTI JOIN (SELECT id FROM {users}) AS here ON here.id = activity.user_id \
             WHERE activity.source = 'user' AND activity.date <= {} GROUP BY activity.date",
            sql_day(last)
        );
    numbers(&snapshots.ask(&sql, Vec::new()).await?)
}
