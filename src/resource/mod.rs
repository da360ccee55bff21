//! Resources: the kinds of objects that Clerk lists, and the tables derived from them.
//!
//! There is one file per resource, and the registry [`ALL`]. A [`Resource`] is a value that says where the objects are
//! listed, how the list is read, and how a page becomes a record batch. To add a resource, add a file here and an entry
//! in [`ALL`]. This module sends no requests and stores nothing.

mod daily_active_users;
pub mod json;
mod organization;
mod rejected_row;
mod session;
mod tombstone;
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
pub use tombstone::{DELETED_ORGANIZATIONS, DELETED_USERS, TOMBSTONES, Tombstones};
pub use user::{USER_LIST, USERS};
pub use user_activity::{ACTIVITY_DAYS, Activity, ActivityDay, USER_ACTIVITY, activity_columns, day_columns};

/// Every resource, in the order in which a sync runs them.
pub static ALL: [&Resource; 5] = [&USERS, &ORGANIZATIONS, &SESSIONS, &DAILY_ACTIVE_USERS, &USER_ACTIVITY];

/// Every table of a lake: one per resource, [`ACTIVITY_DAYS`] (how complete the ledger is on each day), [`TOMBSTONES`],
/// and [`REJECTED_ROWS`].
pub static TABLES: [&TableSpec; 9] = [
    &USERS.table,
    &ORGANIZATIONS.table,
    &SESSIONS.table,
    &DAILY_ACTIVE_USERS.table,
    &USER_ACTIVITY.table,
    &ACTIVITY_DAYS,
    &DELETED_USERS.table,
    &DELETED_ORGANIZATIONS.table,
    &REJECTED_ROWS,
];

/// Returns whether the table has a watermark, that is, a time up to which it is complete.
///
/// [`REJECTED_ROWS`] and [`TOMBSTONES`] have none, because their rows are written by the syncs of other tables. A
/// watermark in the table of rejected rows was written by an earlier version of this program and means nothing.
#[must_use]
pub fn has_watermark(spec: &TableSpec) -> bool {
    let is_tombstones = TOMBSTONES.iter().any(|tombstones| tombstones.table.name == spec.name);
    spec.name != REJECTED_ROWS.name && !is_tombstones
}

/// How a resource is read.
#[derive(Clone, Copy, Debug)]
pub enum Reading {
    /// Read from a list by cursor that can be filtered for changed rows.
    Cursor(CursorList),
    /// Read from a list by offset. The whole list is read every time.
    Offset(OffsetList),
    /// Read from one list if the instance allows it, otherwise from one list per user.
    PerUser(PerUserList),
    /// Computed from another resource's table.
    Derived(Derivation),
    /// Collected from the current and the previous values in the tables of users and sessions.
    Ledger,
}

/// Decodes the body of a page into rows. The error says why the body is not a list.
pub type Decode = fn(&[u8]) -> Result<Decoded<PageRows>, String>;

/// A list by cursor, oldest row first. Two columns are needed to find the changed rows, because neither of them changes
/// with every change of a row.
#[derive(Clone, Copy, Debug)]
pub struct CursorList {
    /// Path of the list under `/v1`.
    pub path: &'static str,
    /// Path under `/v1` that returns the number of all rows.
    pub count: &'static str,
    /// Query parameter that selects rows active after a time. It compares whole days.
    pub active_after: &'static str,
    /// Name of the column, and of the field to order by, that changes with every change other than activity.
    pub changed: &'static str,
    /// Decodes a page into rows.
    pub decode: Decode,
}

/// A list by offset, oldest row first. Every page states the number of all rows.
#[derive(Clone, Copy, Debug)]
pub struct OffsetList {
    /// Path of the list under `/v1`.
    pub path: &'static str,
    /// Name and value of a query parameter that is sent with every request.
    pub parameter: Option<(&'static str, &'static str)>,
    /// Decodes a page into rows.
    pub decode: Decode,
}

/// A list by offset, newest row first. An instance may refuse it unless the request selects one user's rows.
#[derive(Clone, Copy, Debug)]
pub struct PerUserList {
    /// Path of the list under `/v1`.
    pub path: &'static str,
    /// Decodes a page into rows.
    pub decode: Decode,
}

/// A table that holds the result of a built-in query.
#[derive(Clone, Copy, Debug)]
pub struct Derivation {
    /// Name of the built-in query.
    pub query: &'static str,
}

/// The rows of one page as a record batch, and the rows that do not match the contract.
#[derive(Debug)]
pub struct PageRows {
    /// The rows, in the table's schema without `_synced_at`.
    pub batch: RecordBatch,
    /// Rejected rows.
    pub rejected: Vec<Rejected>,
    /// Rows with fields that are null because their values do not have the type that the contract states.
    pub odd: Vec<OddRow>,
    /// Whether the page held `null` instead of a list.
    pub is_null: bool,
}

/// A kind of object that Clerk lists, or a table derived from such objects.
#[derive(Debug)]
pub struct Resource {
    /// The resource's name, as given to `--resource`.
    pub name: &'static str,
    /// The table that holds the resource's rows.
    pub table: TableSpec,
    /// How the rows are obtained.
    pub reading: Reading,
}

impl Resource {
    /// Returns the resource called `name`, or `None` if there is none.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        ALL.into_iter().find(|resource| resource.name == name)
    }

    /// Returns the other tables that a sync of this resource reads.
    pub(crate) fn tables_read(&self) -> Vec<&'static TableSpec> {
        match self.reading {
            Reading::PerUser(_) | Reading::Derived(_) => vec![&USERS.table],
            Reading::Ledger => vec![&USERS.table, &SESSIONS.table, &ACTIVITY_DAYS],
            Reading::Cursor(_) | Reading::Offset(_) => Vec::new(),
        }
    }
}

/// The field types of every kind of row: the fields of Clerk's objects that have a column.
static SHAPES: [&FieldTypes; 3] = [user::SHAPE, organization::SHAPE, session::SHAPE];

/// A kind of row that Clerk lists.
trait ListedRow {
    /// The row, borrowed from a page.
    type Of<'a>: serde::Deserialize<'a>;

    /// The fields that are read, by type.
    const SHAPE: &'static FieldTypes;

    fn key(row: &Self::Of<'_>) -> RowKey;

    fn columns(rows: &[Self::Of<'_>]) -> Vec<Column>;
}

/// Decodes a page of rows of type `R`. This is the `decode` function of every listed resource.
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

/// Returns the UTC year of a time in Unix milliseconds, or 0 if there is no time.
///
/// A partition key is never null, because readers disagree on the directory name for null.
fn year(millis: Option<i64>) -> i32 {
    millis.and_then(DateTime::from_timestamp_millis).map_or(0, |time| time.year())
}

/// Returns the UTC month of a time in Unix milliseconds, such as `2026-11`, or `none` if there is no time.
fn month(millis: Option<i64>) -> String {
    let time = millis.and_then(DateTime::from_timestamp_millis);
    time.map_or_else(|| "none".to_owned(), |time| format!("{:04}-{:02}", time.year(), time.month()))
}
