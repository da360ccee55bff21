//! The partition keys that follow from a time.

use chrono::{DateTime, Datelike};

/// Returns the UTC year of a time in Unix milliseconds, or 0 if there is no time.
///
/// A partition key is never null, because readers disagree on the directory name for null.
pub(super) fn year(millis: Option<i64>) -> i32 {
    millis.and_then(DateTime::from_timestamp_millis).map_or(0, |time| time.year())
}

/// Returns the UTC month of a time in Unix milliseconds, such as `2026-11`, or `none` if there is no time.
pub(super) fn month(millis: Option<i64>) -> String {
    let time = millis.and_then(DateTime::from_timestamp_millis);
    time.map_or_else(|| "none".to_owned(), |time| format!("{:04}-{:02}", time.year(), time.month()))
}
