//! What Clerk has: one file per resource, and the registry that everything else goes through.
//!
//! A resource is a value: where it is listed, how it is read, and how a page becomes a batch.
//! Adding one is a new file here and an entry in [`ALL`]; nothing in this folder asks or stores anything.

mod daily_active_users;
pub mod json;
mod organization;
mod rejected_row;
mod session;
mod user;
mod user_activity;

use arrow::array::RecordBatch;
use chrono::{DateTime, Datelike};

use crate::api::{Decoded, RowKey};
use crate::table::{Column, TableSpec, columns};
use json::{FieldTypes, OddRow, Rejected, Rows};

pub use daily_active_users::DAILY_ACTIVE_USERS;
pub use organization::ORGANIZATIONS;
pub use rejected_row::{REJECTED_ROWS, columns as rejected_columns};
pub use session::{GONE_AT, SESSIONS};
pub use user::{USER_LIST, USERS};
pub use user_activity::{ACTIVITY_DAYS, Activity, ActivityDay, USER_ACTIVITY, activity_columns, day_columns};

/// Every resource, in the order in which a sync takes them.
pub static ALL: [&Resource; 5] = [&USERS, &ORGANIZATIONS, &SESSIONS, &DAILY_ACTIVE_USERS, &USER_ACTIVITY];

/// Every table of a lake: one for each resource, how much of each day the ledger has, and the rows that could not be
/// read.
pub static TABLES: [&TableSpec; 7] = [
    &USERS.table,
    &ORGANIZATIONS.table,
    &SESSIONS.table,
    &DAILY_ACTIVE_USERS.table,
    &USER_ACTIVITY.table,
    &ACTIVITY_DAYS,
    &REJECTED_ROWS,
];

/// Whether a table is complete up to a watermark. Rows that could not be read come and go with other tables' syncs
/// (earlier versions of this program gave them the watermark of the last such row).
#[must_use]
pub fn has_watermark(spec: &TableSpec) -> bool {
    spec.name != REJECTED_ROWS.name
}

/// How a resource is read.
#[derive(Clone, Copy, Debug)]
pub enum Reading {
    /// From a list by cursor, in which changes can be found.
    Cursor(CursorList),
    /// From a list by offset, whole every time.
    Offset(OffsetList),
    /// From one list where the instance allows it, else from one list for each user.
    PerUser(PerUserList),
    /// From another resource's table.
    Derived(Derivation),
    /// From what the tables of users and sessions tell, and told before they changed.
    Ledger,
}

/// Turns the body of a page into rows; the error says what the body is instead.
pub type Decode = fn(&[u8]) -> Result<Decoded<PageRows>, String>;

/// A list by cursor, oldest row first. Which rows changed is told by two columns, since neither moves with every change.
#[derive(Clone, Copy, Debug)]
pub struct CursorList {
    /// The path under `/v1`.
    pub path: &'static str,
    /// The path of the count of all rows.
    pub count: &'static str,
    /// The filter for rows active after a moment; it compares whole days.
    pub active_after: &'static str,
    /// The column, and the field to order by, that moves with every other change.
    pub changed: &'static str,
    /// Turns a page into rows.
    pub decode: Decode,
}

/// A list by offset, oldest row first, with the number of all rows on each page.
#[derive(Clone, Copy, Debug)]
pub struct OffsetList {
    /// The path under `/v1`.
    pub path: &'static str,
    /// A parameter that every page carries.
    pub parameter: Option<(&'static str, &'static str)>,
    /// Turns a page into rows.
    pub decode: Decode,
}

/// A list by offset, newest row first, which an instance may refuse unless it is asked for one user's rows.
#[derive(Clone, Copy, Debug)]
pub struct PerUserList {
    /// The path under `/v1`.
    pub path: &'static str,
    /// Turns a page into rows.
    pub decode: Decode,
}

/// A table that holds the answer of a query.
#[derive(Clone, Copy, Debug)]
pub struct Derivation {
    /// The query's name in the catalogue.
    pub query: &'static str,
}

/// A page's rows as a batch, and the rows that could not be read.
#[derive(Debug)]
pub struct PageRows {
    /// The rows, in the table's schema but for `_synced_at`.
    pub batch: RecordBatch,
    /// Rows set aside.
    pub rejected: Vec<Rejected>,
    /// Rows of which fields are null because their values have another type than the contract promises.
    pub odd: Vec<OddRow>,
    /// Whether the page was `null` instead of a list.
    pub is_null: bool,
}

/// A kind of object that Clerk lists, or a figure derived from one.
#[derive(Debug)]
pub struct Resource {
    /// The name by which `--resource` selects it.
    pub name: &'static str,
    /// Where its rows go.
    pub table: TableSpec,
    /// How it is read.
    pub reading: Reading,
}

impl Resource {
    /// The resource called `name`.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        ALL.into_iter().find(|resource| resource.name == name)
    }
}

/// The shape of every kind of row: the fields of Clerk's that have a column.
static SHAPES: [&FieldTypes; 3] = [user::SHAPE, organization::SHAPE, session::SHAPE];

/// A kind of row that Clerk lists.
trait ListedRow {
    /// The row, borrowed from a page.
    type Of<'a>: serde::Deserialize<'a>;

    /// The fields that it reads.
    const SHAPE: &'static FieldTypes;

    fn key(row: &Self::Of<'_>) -> RowKey;

    fn columns(rows: &[Self::Of<'_>]) -> Vec<Column>;
}

/// Reads a page and lays it out in columns: the common part of every resource's `decode`.
fn decode_page<R: ListedRow>(body: &[u8]) -> Result<Decoded<PageRows>, String> {
    if let Ok(page) = json::read_page::<R::Of<'_>>(body) {
        return lay_out::<R>(&page, Vec::new(), Vec::new());
    }
    let is_readable = |raw: &str| serde_json::from_str::<R::Of<'_>>(raw).is_ok();
    let repaired = json::repair_page(body, R::SHAPE, is_readable)?;
    let rows = json::read_page::<R::Of<'_>>(repaired.body.as_bytes())?.rows;
    let page = Rows { rows, total_count: repaired.total_count, is_null: false };
    lay_out::<R>(&page, repaired.rejected, repaired.odd)
}

fn lay_out<R: ListedRow>(
    page: &Rows<R::Of<'_>>,
    rejected: Vec<Rejected>,
    odd: Vec<OddRow>,
) -> Result<Decoded<PageRows>, String> {
    let Rows { rows, total_count, is_null } = page;
    let batch = columns::batch(&R::columns(rows), rows.len()).map_err(|error| error.to_string())?;
    let unreadable: Vec<usize> = rejected.iter().map(|row| row.at).collect();
    let mut keys: Vec<Option<RowKey>> = rows.iter().map(|row| Some(R::key(row))).collect();
    for row in &rejected {
        keys.insert(row.at, row.key.clone());
    }
    let rows = PageRows { batch, rejected, odd, is_null: *is_null };
    Ok(Decoded { keys, unreadable, total_count: *total_count, rows })
}

/// The UTC year of a moment in Unix milliseconds; 0 where there is none. A partition key is never null: readers
/// disagree on what the directory of a null is called.
fn year(millis: Option<i64>) -> i32 {
    millis.and_then(DateTime::from_timestamp_millis).map_or(0, |moment| moment.year())
}

/// The UTC month of a moment in Unix milliseconds, as `2026-11`; `none` where there is none.
fn month(millis: Option<i64>) -> String {
    let moment = millis.and_then(DateTime::from_timestamp_millis);
    moment.map_or_else(|| "none".to_owned(), |moment| format!("{:04}-{:02}", moment.year(), moment.month()))
}
