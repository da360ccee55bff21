//! Rows that could not be read as the contract says: recorded, so that nothing is lost silently and the rest goes on.

use super::json::{OddField, OddRow, Rejected};
use crate::table::{Column, Shape, TableSpec};

/// Rows left out, and rows of which fields are NULL. Filled by every resource, listed by none.
pub static REJECTED_ROWS: TableSpec = TableSpec {
    name: "clerk_rejected_row",
    meaning: "Rows that Clerk sent and that could not be read as its contract says: left out for want of an id, or kept \
        with NULL in some fields.",
    shape: Shape::Ledger,
    key: &["resource", "row"],
    partition: None,
    row_group_rows: 65_536,
    repetitive: &["resource", "reason", "rejected_at", "fields", "_synced_at"],
    source: "every list",
    columns: || columns("", &[], &[], 0),
};

/// The columns of `rejected` and `odd` rows of `resource`, first seen at `at` (Unix milliseconds).
#[must_use]
pub fn columns(resource: &str, rejected: &[Rejected], odd: &[OddRow], at: i64) -> Vec<Column> {
    let reasons: Vec<_> = odd.iter().map(|row| joined(row, describe)).collect();
    let fields: Vec<_> = odd.iter().map(|row| joined(row, |field| field.field.clone())).collect();
    let all = || rejected.iter().map(|_| ()).chain(odd.iter().map(|_| ()));
    let names = rejected.iter().map(Rejected::name).chain(odd.iter().map(|row| row.id.as_str()));
    let raw = rejected.iter().map(|row| &row.raw).chain(odd.iter().map(|row| &row.raw));
    let reason = rejected.iter().map(|row| &row.reason).chain(&reasons);
    let fields = rejected.iter().map(|_| None).chain(fields.iter().map(|fields| Some(fields.as_str())));
    vec![
        Column::text("resource", "The resource.", all().map(|()| Some(resource))),
        Column::text("row", "The row's id, or a hash of it if it has none.", names.map(Some)),
        Column::text(
            "raw",
            "The row's JSON: the fields that have a column, and null for those that are of another type.",
            raw.map(|raw| Some(raw.as_str())),
        ),
        Column::text("reason", "What is wrong with it; never a value.", reason.map(|reason| Some(reason.as_str()))),
        Column::time("rejected_at", "When it was first seen, by Clerk's clock.", all().map(|()| Some(at))),
        Column::text(
            "fields",
            "The fields that are NULL in the resource's table because they were of another type; null for a row that \
                was left out.",
            fields,
        ),
    ]
}

fn joined(row: &OddRow, describe: impl Fn(&OddField) -> String) -> String {
    row.fields.iter().map(describe).collect::<Vec<_>>().join(", ")
}

fn describe(odd: &OddField) -> String {
    format!("{} is {} where {} belongs", odd.field, odd.found, odd.expected)
}
