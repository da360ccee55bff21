//! Rows that could not be read: set aside, so that nothing is lost silently and the rest goes on.

use super::json::Rejected;
use crate::table::{Column, Shape, TableSpec};

/// Rows set aside. Filled by every resource, listed by none.
pub static REJECTED_ROWS: TableSpec = TableSpec {
    name: "clerk_rejected_row",
    meaning: "Rows that Clerk sent and that could not be read, as they came when they were first seen.",
    shape: Shape::Ledger,
    key: &["resource", "row"],
    partition: None,
    row_group_rows: 65_536,
    repetitive: &["resource", "reason", "rejected_at", "_synced_at"],
    source: "every list",
    columns: || columns("", &[], 0),
};

/// The columns of `rows`, set aside from `resource` at `at` (Unix milliseconds).
#[must_use]
pub fn columns(resource: &str, rows: &[Rejected], at: i64) -> Vec<Column> {
    vec![
        Column::text("resource", "The resource.", rows.iter().map(|_| Some(resource))),
        Column::text("row", "The row's id, or its JSON where it has none.", rows.iter().map(|row| Some(row.name()))),
        Column::text(
            "raw",
            "The row's JSON, without what is never stored (private metadata).",
            rows.iter().map(|row| Some(row.raw.as_str())),
        ),
        Column::text("reason", "Why it could not be read.", rows.iter().map(|row| Some(row.reason.as_str()))),
        Column::time("rejected_at", "When it was first set aside, by Clerk's clock.", rows.iter().map(|_| Some(at))),
    ]
}
