//! Fields that are NULL because Clerk sent another type than its contract promises: counted, named and recorded.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::api::Fingerprints;
use crate::resource::json::OddRow;

/// How many rows are recorded one by one; more are only counted.
const MOST_RECORDED: usize = 1000;

/// How often a field was NULL for the wrong type of its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NulledField {
    /// What belongs there, such as "a boolean".
    pub expected: String,
    /// In how many rows something else was there.
    pub rows: u64,
}

/// The fields of a listing, by name.
pub type NulledFields = BTreeMap<String, NulledField>;

/// What a listing has brought of them so far. A row counts once, however often it is listed.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct OddFields {
    pub(super) counts: NulledFields,
    pub(super) rows: Vec<OddRow>,
    #[serde(skip)]
    seen: Fingerprints,
}

impl OddFields {
    pub(super) fn take(&mut self, rows: Vec<OddRow>) {
        for row in rows {
            if !self.seen.insert(&row.id) {
                continue;
            }
            for odd in &row.fields {
                let new = NulledField { expected: odd.expected.to_string(), rows: 0 };
                self.counts.entry(odd.field.clone()).or_insert(new).rows += 1;
            }
            if self.rows.len() < MOST_RECORDED {
                self.rows.push(row);
            }
        }
    }
}

/// One line for people about a field of `resource`.
pub(super) fn describe(resource: &str, field: &str, nulled: &NulledField) -> String {
    let NulledField { expected, rows } = nulled;
    let row = if *rows == 1 { "row" } else { "rows" };
    let consequence = if field.ends_with("[]") { "left out of the list" } else { "stored as NULL" };
    format!("{resource}: {field} was not {expected} in {rows} {row}; {consequence}")
}
