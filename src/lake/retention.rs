//! How long a table's past is kept, as its own properties say it to every program that writes to it.

use chrono::TimeDelta;

use crate::table::TableSpec;

/// After so many commits delta-rs writes a checkpoint of the log: whoever opens the table reads one checkpoint and
/// fewer commits than that, each of them a request to an object store.
const CHECKPOINT_EVERY: u32 = 3;

/// How long removed files stay known to checkpoints where no history is asked for: they are gone by then, and whoever
/// opens the table reads past each of them.
const REMOVED_KNOWN: TimeDelta = TimeDelta::minutes(1);

/// The table property that says for how many seconds superseded files stay.
pub(super) const HISTORY: &str = "clerk_lake.history";

/// How long entries stay in the log at least: `status` shows the last runs, and readers follow a table by its log.
const LOG_KNOWN: TimeDelta = TimeDelta::days(7);

/// What tells delta-rs, and other engines that write to a table of `spec`, that it is kept for `history`; this program
/// reads the last of them.
pub(super) fn retention(spec: &TableSpec, history: TimeDelta) -> Vec<(String, String)> {
    let interval = |of: TimeDelta| format!("interval {} seconds", of.num_seconds());
    vec![
        ("delta.checkpointInterval".to_owned(), CHECKPOINT_EVERY.to_string()),
        ("delta.dataSkippingStatsColumns".to_owned(), spec.told_columns().join(",")),
        ("delta.deletedFileRetentionDuration".to_owned(), interval(history.max(REMOVED_KNOWN))),
        ("delta.logRetentionDuration".to_owned(), interval(history.max(LOG_KNOWN))),
        (HISTORY.to_owned(), history.num_seconds().to_string()),
    ]
}
