//! A page of a list, decoded into a record batch.

use arrow::array::RecordBatch;

use super::json::{self, FieldTypes, OddRow, Rejected, Rows};
use crate::api::{Decoded, RowKey};
use crate::table::{Column, columns};

/// Decodes the body of a page into rows. The error says why the body is not a list.
pub type Decode = fn(&[u8]) -> Result<Decoded<PageRows>, String>;

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

/// A kind of row that Clerk lists.
pub(super) trait ListedRow {
    /// The row, borrowed from a page.
    type Of<'a>: serde::Deserialize<'a>;

    /// The fields that are read, by type.
    const SHAPE: &'static FieldTypes;

    fn key(row: &Self::Of<'_>) -> RowKey;

    fn columns(rows: &[Self::Of<'_>]) -> Vec<Column>;
}

/// Decodes a page of rows of type `R`.
pub(super) fn decode_page<R: ListedRow>(body: &[u8]) -> Result<Decoded<PageRows>, String> {
    if let Ok(page) = json::read_page::<R::Of<'_>>(body) {
        return lay_out::<R>(&page, Vec::new(), Vec::new());
    }
    let is_readable = |raw: &str| serde_json::from_str::<R::Of<'_>>(raw).is_ok();
    let repaired = json::repair_page(body, &R::SHAPE.fields(), is_readable)?;
    let readable = repaired.body();
    let rows = json::read_page::<R::Of<'_>>(readable.as_bytes())?.rows;
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
    let keys = rows.iter().map(|row| Some(R::key(row))).collect();
    Ok(with_rejected(keys, *total_count, PageRows { batch, rejected, odd, is_null: *is_null }))
}

/// Returns the page with these rows. `keys` are the keys of the rows that could be read.
pub(super) fn with_rejected(
    mut keys: Vec<Option<RowKey>>,
    total_count: Option<u64>,
    rows: PageRows,
) -> Decoded<PageRows> {
    for row in &rows.rejected {
        keys.insert(row.at, row.key.clone());
    }
    let unreadable = rows.rejected.iter().map(|row| row.at).collect();
    Decoded { keys, unreadable, total_count, rows }
}
