//! Tombstones: what remains of a row that was deleted in Clerk. A tombstone has no personal data.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, TimestampMicrosecondArray};
use arrow::compute::cast;
use arrow::error::ArrowError;

use super::{MEMBERSHIPS, ORGANIZATIONS, Resource, USERS};
use crate::table::{Column, Shape, TableSpec};

/// The tombstones of one table.
#[derive(Debug)]
pub struct Tombstones {
    /// The table whose rows may be deleted.
    pub of: &'static TableSpec,
    /// The table of their tombstones.
    pub table: TableSpec,
    /// The columns that a tombstone keeps of the deleted row, the key first.
    pub kept: &'static [&'static str],
}

/// The columns that the tombstone of a user or an organization keeps.
const KEPT: &[&str] = &["id", "created_at", "last_active_at"];

/// The columns that the tombstone of a membership keeps.
const KEPT_OF_MEMBERSHIP: &[&str] = &["id", "organization_id", "user_id", "role", "created_at", "updated_at"];

/// The tables of tombstones, one for each table that has one.
pub static TOMBSTONES: [&Tombstones; 3] = [&DELETED_USERS, &DELETED_ORGANIZATIONS, &DELETED_MEMBERSHIPS];

/// Users that were deleted in Clerk after a sync had read them.
pub static DELETED_USERS: Tombstones = Tombstones {
    of: &USERS.table,
    table: TableSpec {
        name: "clerk_deleted_user",
        meaning: "The users that were deleted in Clerk after a sync had read them, without personal data.",
        columns: || columns(&USERS.table, KEPT),
        ..TABLE
    },
    kept: KEPT,
};

/// Organizations that were deleted in Clerk after a sync had read them.
pub static DELETED_ORGANIZATIONS: Tombstones = Tombstones {
    of: &ORGANIZATIONS.table,
    table: TableSpec {
        name: "clerk_deleted_organization",
        meaning: "The organizations that were deleted in Clerk after a sync had read them.",
        columns: || columns(&ORGANIZATIONS.table, KEPT),
        ..TABLE
    },
    kept: KEPT,
};

/// Memberships that ended after a sync had read them.
pub static DELETED_MEMBERSHIPS: Tombstones = Tombstones {
    of: &MEMBERSHIPS.table,
    table: TableSpec {
        name: "clerk_deleted_organization_membership",
        meaning: "The memberships that ended after a sync had read them.",
        columns: || columns(&MEMBERSHIPS.table, KEPT_OF_MEMBERSHIP),
        ..TABLE
    },
    kept: KEPT_OF_MEMBERSHIP,
};

/// What all tables of tombstones share.
const TABLE: TableSpec = TableSpec {
    name: "",
    meaning: "",
    shape: Shape::Event,
    key: &["id"],
    partition: None,
    row_group_rows: 65_536,
    repetitive: &["deleted_after", "deleted_before", "_synced_at"],
    source: "rows that a sync no longer found",
    columns: Vec::new,
};

impl Tombstones {
    /// Returns the tombstones of the resource's rows; `None` if they leave none.
    #[must_use]
    pub fn of(resource: &Resource) -> Option<&'static Self> {
        TOMBSTONES.into_iter().find(|tombstones| tombstones.of.name == resource.table.name)
    }

    /// Returns the tombstones of deleted rows: `kept` are their columns of that name. The rows were still in Clerk
    /// `after` the first time, and gone `before` the second one, in Unix microseconds; `after` is `None` if unknown.
    ///
    /// # Errors
    /// [`ArrowError`] if `kept` has other columns, which is a bug.
    pub fn rows(&self, kept: &RecordBatch, after: Option<i64>, before: i64) -> Result<RecordBatch, ArrowError> {
        let schema = crate::table::columns::schema(&(self.table.columns)());
        let rows = kept.num_rows();
        let time = |at: Option<i64>| -> ArrayRef {
            let times: TimestampMicrosecondArray = std::iter::repeat_n(at, rows).collect();
            Arc::new(times.with_timezone("UTC"))
        };
        let types = schema.fields().iter().map(|field| field.data_type());
        let kept = kept.columns().iter().zip(types).map(|(column, data_type)| cast(column, data_type));
        let arrays = kept.chain([Ok(time(after)), Ok(time(Some(before)))]).collect::<Result<_, _>>()?;
        RecordBatch::try_new(schema, arrays)
    }
}

/// Returns the columns of the tombstones of `spec`.
fn columns(spec: &TableSpec, kept: &[&str]) -> Vec<Column> {
    let all = (spec.columns)();
    let kept = kept.iter().filter_map(|name| all.iter().find(|column| column.name == *name).cloned());
    let times = [
        Column::time(
            "deleted_after",
            "The row was still in Clerk at this time: the table's watermark before the sync that missed it. NULL if \
             unknown.",
            std::iter::empty(),
        ),
        Column::time("deleted_before", "The row was gone from Clerk at this time.", std::iter::empty()),
    ];
    kept.chain(times).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tombstone_has_only_columns_of_its_table_and_no_personal_data() {
        for tombstones in TOMBSTONES {
            let names: Vec<_> = (tombstones.table.columns)().iter().map(|column| column.name).collect();
            assert_eq!(names, [tombstones.kept, &["deleted_after", "deleted_before"]].concat());
            for name in tombstones.kept {
                assert!(name.ends_with("id") || name.ends_with("_at") || *name == "role", "{name}");
            }
            assert_eq!(tombstones.kept[..1], *tombstones.table.key);
        }
    }
}
