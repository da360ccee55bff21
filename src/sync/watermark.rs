//! What time it is at Clerk when its answers do not say so.

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::TimestampMicrosecondType;
use chrono::{DateTime, NaiveTime, Utc};

use crate::api::{ApiError, Client, Refusal};
use crate::resource::USER_LIST;

/// The latest moment that Clerk itself has stamped on a user: not later than its clock, whatever this machine's
/// clock says, and whatever happens from now on is stamped with a later one. Without users, or where Clerk does not
/// list them in that order, it is 1970: then everything counts as changed.
///
/// # Errors
/// Whatever [`Client::get`] refuses but the order.
pub(super) async fn latest_stamp(client: &Client) -> Result<DateTime<Utc>, ApiError> {
    let mut latest = DateTime::UNIX_EPOCH;
    let active = "last_active_at";
    for column in [USER_LIST.changed, active] {
        let query = [("limit", "1".to_owned()), ("order_by", format!("-{column}"))];
        let newest =
            client.get(USER_LIST.path, &query, |body| Ok(newest(&(USER_LIST.decode)(body)?.rows.batch, column)));
        match newest.await {
            // Activity has day precision: the day has begun, and no more is known.
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
