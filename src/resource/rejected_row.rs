//! Rows that do not match Clerk's contract. They are recorded, so that no row is lost silently and the sync continues.

use super::json::{OddField, OddRow, Rejected};
use crate::table::{Column, Shape, TableSpec};

/// Rejected rows, and rows that were kept with some fields NULL. Every listed resource adds rows to this table.
pub static REJECTED_ROWS: TableSpec = TableSpec {
    name: "clerk_rejected_row",
    meaning: "Rows from Clerk that do not match its API contract. They were rejected because they have no readable id, \
        or kept with some fields NULL.",
    shape: Shape::Ledger,
    key: &["resource", "row"],
    partition: None,
    row_group_rows: 65_536,
    repetitive: &["resource", "reason", "rejected_at", "fields", "_synced_at"],
    source: "every list",
    columns: || columns("", &[], &[], 0),
};

/// Returns the columns for the `rejected` and `odd` rows of `resource`, first seen at `at` (Unix milliseconds).
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
        Column::text("resource", "Name of the resource that the row belongs to.", all().map(|()| Some(resource))),
        Column::text("row", "The row's id, or a hash of the row if it has no readable id.", names.map(Some)),
        Column::text(
            "raw",
            "The row's JSON, reduced to the fields that have a column. Fields of the wrong type are null.",
            raw.map(|raw| Some(raw.as_str())),
        ),
        Column::text(
            "reason",
            "What is wrong with the row. Never includes a value.",
            reason.map(|reason| Some(reason.as_str())),
        ),
        Column::time("rejected_at", "When the row was first seen, by Clerk's clock.", all().map(|()| Some(at))),
        Column::text(
            "fields",
            "The fields that are NULL in the resource's table because of their wrong type. NULL if the row was \
                rejected.",
            fields,
        ),
    ]
}

fn joined(row: &OddRow, describe: impl Fn(&OddField) -> String) -> String {
    row.fields.iter().map(describe).collect::<Vec<_>>().join(", ")
}

fn describe(odd: &OddField) -> String {
    format!("{} is {}, expected {}", odd.field, odd.found, odd.expected)
}
