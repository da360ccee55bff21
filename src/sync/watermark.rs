//! The watermark of a run if Clerk's responses carry no time.

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::TimestampMicrosecondType;
use chrono::{DateTime, NaiveTime, Utc};

use crate::api::{ApiError, Client, Refusal};
use crate::resource::USER_LIST;

/// Returns the latest time that Clerk has stored on a user. It is not later than Clerk's clock, whatever this machine's
/// clock says, and all future changes have a later time. Returns 1970 if there are no users, or if Clerk does not list
/// them in this order: then everything counts as changed.
///
/// # Errors
/// Fails as [`Client::get`] does, unless Clerk only refuses the order.
pub(super) async fn latest_timestamp(client: &Client) -> Result<DateTime<Utc>, ApiError> {
    let mut latest = DateTime::UNIX_EPOCH;
    let active = "last_active_at";
    for column in [USER_LIST.changed, active] {
        let query = [("limit", "1".to_owned()), ("order_by", format!("-{column}"))];
        let newest =
            client.get(USER_LIST.path, &query, |body| Ok(newest(&(USER_LIST.decode)(body)?.rows.batch, column)));
        match newest.await {
            // Activity has day precision: only the start of the day is certain.
            Ok(Some(newest)) if column == active => latest = latest.max(start_of_day(newest)),
            Ok(newest) => latest = latest.max(newest.unwrap_or_default()),
            Err(error) if error.refusal == Refusal::Parameter => {}
            Err(error) => return Err(error),
        }
    }
    Ok(latest)
}

fn start_of_day(moment: DateTime<Utc>) -> DateTime<Utc> {
    moment.date_naive().and_time(NaiveTime::MIN).and_utc()
}

fn newest(rows: &RecordBatch, column: &str) -> Option<DateTime<Utc>> {
    let stamps = rows.column_by_name(column)?.as_primitive_opt::<TimestampMicrosecondType>()?;
    DateTime::from_timestamp_micros(stamps.iter().flatten().max()?)
}
