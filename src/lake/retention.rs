//! Retention: the table properties that say how long old versions are kept, for every program that writes the table.

use chrono::TimeDelta;

use crate::table::TableSpec;

/// Number of commits after which delta-rs writes a checkpoint of the log. Opening a table reads one checkpoint and
/// fewer commits than this, and each of them costs a request to an object store.
const CHECKPOINT_EVERY: u32 = 3;

/// How long checkpoints list removed files if no old versions are kept. The files are already deleted by then, and each
/// listed one slows down opening the table.
const REMOVED_KNOWN: TimeDelta = TimeDelta::minutes(1);

/// The table property with the number of seconds for which superseded files are kept.
pub(super) const HISTORY: &str = "clerk_lake.history";

/// Minimum retention of log entries: `status` shows the last runs, and readers follow a table's changes by its log.
const LOG_KNOWN: TimeDelta = TimeDelta::days(7);

/// Returns the table properties that keep old versions of `spec`'s table for `history`. All but the last are for
/// delta-rs and other engines that write the table; this program reads the last.
pub(super) fn retention(spec: &TableSpec, history: TimeDelta) -> Vec<(String, String)> {
    let interval = |of: TimeDelta| format!("interval {} seconds", of.num_seconds());
    vec![
        ("delta.checkpointInterval".to_owned(), CHECKPOINT_EVERY.to_string()),
        ("delta.dataSkippingStatsColumns".to_owned(), spec.stats_columns().join(",")),
        ("delta.deletedFileRetentionDuration".to_owned(), interval(history.max(REMOVED_KNOWN))),
        ("delta.logRetentionDuration".to_owned(), interval(history.max(LOG_KNOWN))),
        (HISTORY.to_owned(), history.num_seconds().to_string()),
    ]
}
