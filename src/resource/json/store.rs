//! What of a rejected row may be stored.

use serde_json::value::RawValue;

use super::RowFields;
use super::repair::repair;
use crate::resource::{ALL, EARLIER};

/// Returns the row's JSON, reduced to the fields that have a column in some table.
///
/// This removes private metadata, tokens and URLs that grant access. A row that holds nothing but fields of one resource
/// is returned unchanged. Any other row was written by an earlier version, which read fewer resources. If `raw` is not an
/// object, returns `{}`.
#[must_use]
pub(crate) fn storable(raw: &str) -> String {
    if serde_json::from_str::<&RawValue>(raw).is_err() {
        return "{}".to_owned();
    }
    let reduced = |fields: &RowFields| repair(raw.trim(), fields).map(|row| row.json);
    if ALL.iter().any(|resource| reduced(&(resource.fields)()).is_some_and(|json| json == raw)) {
        return raw.to_owned();
    }
    let earlier = EARLIER.iter().map(|resource| (resource.fields)()).fold(RowFields::default(), RowFields::or);
    reduced(&earlier).unwrap_or_else(|| "{}".to_owned())
}
