//! How a resource is read: where Clerk lists it, and how the list is paged.

use super::page::Decode;
use crate::table::TableSpec;

/// How a resource is read.
#[derive(Clone, Copy, Debug)]
pub enum Reading {
    /// Read from a list by cursor that can be filtered for changed rows.
    Cursor(CursorList),
    /// Read from a list by offset. The whole list is read every time.
    Offset(OffsetList),
    /// Read from one list if the instance allows it, otherwise from one list per user.
    PerUser(PerUserList),
    /// Read from one list for each row of another table.
    PerParent(PerParentList),
    /// A single object.
    Single(SingleObject),
    /// Computed from another resource's table.
    Derived(Derivation),
    /// Collected from the current and the previous values in the tables of users and sessions.
    Ledger,
}

/// Names and values of query parameters.
pub type FixedParameters = &'static [(&'static str, &'static str)];

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

/// A list that cannot be filtered by time, and is therefore read completely every time.
#[derive(Clone, Copy, Debug)]
pub struct OffsetList {
    /// Path of the list under `/v1`.
    pub path: &'static str,
    /// An older path of the same list, for an instance that does not have `path`.
    pub older_path: Option<&'static str>,
    /// Query parameters that are sent with every request.
    pub parameters: FixedParameters,
    /// Value of `order_by` for the oldest row first; `None` if the endpoint takes no order. Such a list comes newest row
    /// first, or in no stated order.
    pub order_by: Option<&'static str>,
    /// How the list is divided into pages.
    pub paging: Paging,
    /// Lists whose union is the resource, each with the parameters that select it, in the order in which they are read.
    /// A row may occur in several. Empty if one list has all rows.
    pub parts: &'static [FixedParameters],
    /// Decodes a page into rows. Accepts an array, and an object with `data` and `total_count`.
    pub decode: Decode,
}

impl OffsetList {
    /// Creates a list with pages by offset, oldest row first.
    pub(super) const fn new(path: &'static str, decode: Decode) -> Self {
        Self {
            path,
            older_path: None,
            parameters: &[],
            order_by: Some("created_at"),
            paging: Paging::Offset,
            parts: &[],
            decode,
        }
    }

    /// Returns the parameters of each list whose union is the resource, without `limit` and `offset`.
    #[must_use]
    pub fn queries(&self) -> Vec<Vec<(&'static str, &'static str)>> {
        let order = self.order_by.map(|order| ("order_by", order));
        let common: Vec<_> = order.into_iter().chain(self.parameters.iter().copied()).collect();
        let parts: &[FixedParameters] = if self.parts.is_empty() { &[&[]] } else { self.parts };
        parts.iter().map(|part| common.iter().chain(*part).copied().collect()).collect()
    }
}

/// How a list is divided into pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paging {
    /// By `limit` and `offset`.
    Offset,
    /// Not at all: one response holds all rows, and the endpoint takes neither `limit` nor `offset`.
    None,
}

/// A list by offset, newest row first. An instance may refuse it unless the request selects one user's rows.
#[derive(Clone, Copy, Debug)]
pub struct PerUserList {
    /// Path of the list under `/v1`.
    pub path: &'static str,
    /// Decodes a page into rows.
    pub decode: Decode,
}

/// A list by offset for each row of another table, the parent.
#[derive(Clone, Copy, Debug)]
pub struct PerParentList {
    /// Path of the list under `/v1`, with `{id}` for the parent's id. See [`path_of`](Self::path_of).
    pub path: &'static str,
    /// The table of the parents. Its key is a single text column.
    pub parents: &'static TableSpec,
    /// The column that holds the parent's id.
    pub parent_id: &'static str,
    /// A text column of the parents and its value in rows whose list hardly changes any more. The lists of all other rows
    /// are read at each sync.
    pub settled: (&'static str, &'static str),
    /// Query parameters that are sent with every request.
    pub parameters: FixedParameters,
    /// Decodes a page into rows.
    pub decode: Decode,
}

impl PerParentList {
    /// Returns the path of the list of the parent `id`. Characters of the id that are not plain are percent-encoded, so
    /// that no id can lead to another path.
    #[must_use]
    pub fn path_of(&self, id: &str) -> String {
        use std::fmt::Write;
        let mut encoded = String::with_capacity(id.len());
        for byte in id.bytes() {
            if byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-') {
                encoded.push(char::from(byte));
            } else {
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
        self.path.replace("{id}", &encoded)
    }
}

/// An endpoint that returns one object. The table has one row.
#[derive(Clone, Copy, Debug)]
pub struct SingleObject {
    /// Path of the object under `/v1`.
    pub path: &'static str,
    /// Decodes the object, as a page of one row.
    pub decode: Decode,
}

/// A table that holds the result of a built-in query.
#[derive(Clone, Copy, Debug)]
pub struct Derivation {
    /// Name of the built-in query.
    pub query: &'static str,
}
