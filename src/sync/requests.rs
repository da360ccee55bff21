//! The requests for lists.

use chrono::{DateTime, NaiveTime, Utc};

use super::plan::MAX_CLOCK_SKEW;
use crate::api::{ListRequest, Order};
use crate::resource::CursorList;

/// How many ids one request may contain.
pub(super) const MAX_IDS: usize = 100;

/// The filter for rows created after a time, in Unix milliseconds.
pub(super) const CREATED_AFTER: &str = "created_at_after";

impl CursorList {
    /// Requests all rows, oldest first.
    pub(super) fn oldest_first(self) -> ListRequest {
        ListRequest::new(self.path, Order::Cursor).with("order_by", "created_at")
    }

    /// Requests the rows that were active at `since` or later, oldest first.
    pub(super) fn active_since(self, since: DateTime<Utc>) -> ListRequest {
        // The filter excludes the given time itself.
        self.oldest_first().with(self.active_after, (since.timestamp_millis() - 1).to_string())
    }

    /// Requests the rows with these ids, at most [`MAX_IDS`].
    pub(super) fn with_ids(self, ids: &[String]) -> ListRequest {
        ids.iter().fold(self.oldest_first(), |request, id| request.with("user_id[]", id))
    }

    /// Requests all rows, latest change first.
    pub(super) fn newest_change_first(self) -> ListRequest {
        ListRequest::new(self.path, Order::Offset).with("order_by", format!("-{}", self.changed))
    }
}

/// Returns the start of the first UTC day that activity after `since` may have. That can be the day before `since`,
/// because a server whose clock is behind may have dated the activity.
pub(super) fn day_of(since: DateTime<Utc>) -> DateTime<Utc> {
    (since - MAX_CLOCK_SKEW).date_naive().and_time(NaiveTime::MIN).and_utc()
}
