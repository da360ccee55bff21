//! Fields stored as NULL because Clerk sent another type than its contract promises: counts and records them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::api::Fingerprints;
use crate::resource::json::OddRow;

/// At most this many rows are recorded individually; more are only counted.
const MAX_RECORDED: usize = 1000;

/// How often a field was stored as NULL because its value had the wrong type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NulledField {
    /// The expected type, such as "a boolean".
    pub expected: String,
    /// The number of rows with another type.
    pub rows: u64,
}

/// The NULL fields of a listing, by name.
pub type NulledFields = BTreeMap<String, NulledField>;

/// The odd fields of a listing so far. A row counts once, however often it is listed.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct OddFields {
    pub(super) counts: NulledFields,
    pub(super) rows: Vec<OddRow>,
    #[serde(skip)]
    seen: Fingerprints,
}

impl OddFields {
    pub(super) fn add(&mut self, rows: Vec<OddRow>) {
        for row in rows {
            if !self.seen.insert(&row.id) {
                continue;
            }
            for odd in &row.fields {
                let new = NulledField { expected: odd.expected.to_string(), rows: 0 };
                self.counts.entry(odd.field.clone()).or_insert(new).rows += 1;
            }
            if self.rows.len() < MAX_RECORDED {
                self.rows.push(row);
            }
        }
    }
}

/// Describes a field of `resource` in one line of text.
pub(super) fn describe(resource: &str, field: &str, nulled: &NulledField) -> String {
    let NulledField { expected, rows } = nulled;
    let row = if *rows == 1 { "row" } else { "rows" };
    let consequence = if field.ends_with("[]") { "left out of the list" } else { "stored as NULL" };
    format!("{resource}: {field} was not {expected} in {rows} {row}; {consequence}")
}
