//! How lists are asked for.

use chrono::{DateTime, NaiveTime, Utc};

use super::plan::CLOCKS_APART;
use crate::api::{ListRequest, Order};
use crate::resource::CursorList;

/// How many rows can be asked for by id at a time.
pub(super) const MOST_IDS: usize = 100;

/// The filter for rows created after a moment, Unix milliseconds.
pub(super) const CREATED_AFTER: &str = "created_at_after";

impl CursorList {
    /// All rows, oldest first.
    pub(super) fn oldest_first(self) -> ListRequest {
        ListRequest::new(self.path, Order::Cursor).with("order_by", "created_at")
    }

    /// The rows that were active at `since` or later, oldest first.
    pub(super) fn active_since(self, since: DateTime<Utc>) -> ListRequest {
        // The filter excludes its own moment.
        self.oldest_first().with(self.active_after, (since.timestamp_millis() - 1).to_string())
    }

    /// The rows with these ids: at most [`MOST_IDS`].
    pub(super) fn named(self, ids: &[String]) -> ListRequest {
        ids.iter().fold(self.oldest_first(), |request, id| request.with("user_id[]", id))
    }

    /// All rows, the one that changed last first.
    pub(super) fn newest_change_first(self) -> ListRequest {
        ListRequest::new(self.path, Order::Offset).with("order_by", format!("-{}", self.changed))
    }
}

/// The start of the UTC day from which on activity may be later than `since`: a server whose clock is behind
/// another's may still have stamped it with the day before.
pub(super) fn day_of(since: DateTime<Utc>) -> DateTime<Utc> {
    (since - CLOCKS_APART).date_naive().and_time(NaiveTime::MIN).and_utc()
}
