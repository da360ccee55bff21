//! `date_trunc` for all years. DataFusion's own counts in nanoseconds, so it fails before 1678 and after 2262.

use std::sync::Arc;

use arrow::array::{AsArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, FieldRef, TimeUnit, TimestampMicrosecondType};
use chrono::{DateTime, Datelike, NaiveDate};
use datafusion::common::ScalarValue;
use datafusion::error::DataFusionError;
use datafusion::functions::datetime::date_trunc;
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;

/// `date_trunc(unit, time)`. Computes times in microseconds, UTC, itself, and leaves all others to DataFusion.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct DateTrunc {
    inner: Arc<ScalarUDF>,
}

impl Default for DateTrunc {
    fn default() -> Self {
        Self { inner: date_trunc() }
    }
}

impl ScalarUDFImpl for DateTrunc {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType, DataFusionError> {
        self.inner.return_type(types)
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs) -> Result<FieldRef, DataFusionError> {
        self.inner.return_field_from_args(arguments)
    }

    fn output_ordering(&self, inputs: &[ExprProperties]) -> Result<SortProperties, DataFusionError> {
        self.inner.output_ordering(inputs)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue, DataFusionError> {
        match arguments.args.as_slice() {
            [ColumnarValue::Scalar(unit), time] => match unit.try_as_str().flatten().and_then(truncation) {
                Some(truncate) => truncated(time, truncate).map_or_else(|| self.inner.invoke_with_args(arguments), Ok),
                None => self.inner.invoke_with_args(arguments),
            },
            _ => self.inner.invoke_with_args(arguments),
        }
    }
}

/// A time has no start that can be represented.
struct DateTruncError;

/// Truncates times in microseconds, UTC. Returns `None` for all others, and for a time that has no such start.
fn truncated(time: &ColumnarValue, truncate: fn(i64) -> Option<i64>) -> Option<ColumnarValue> {
    let DataType::Timestamp(TimeUnit::Microsecond, zone) = time.data_type() else { return None };
    if zone.as_deref().is_some_and(|zone| !matches!(zone, "UTC" | "+00:00" | "Z")) {
        return None;
    }
    match time {
        ColumnarValue::Scalar(ScalarValue::TimestampMicrosecond(value, zone)) => {
            let value = match value {
                Some(value) => Some(truncate(*value)?),
                None => None,
            };
            Some(ColumnarValue::Scalar(ScalarValue::TimestampMicrosecond(value, zone.clone())))
        }
        ColumnarValue::Array(array) => {
            let values = array.as_primitive_opt::<TimestampMicrosecondType>()?;
            let truncated: TimestampMicrosecondArray =
                values.try_unary(|value| truncate(value).ok_or(DateTruncError)).ok()?;
            Some(ColumnarValue::Array(Arc::new(truncated.with_timezone_opt(zone))))
        }
        ColumnarValue::Scalar(_) => None,
    }
}

/// Returns the function that returns the start of the `unit` of a time. `None` for a unit that is unknown or too fine
/// to overflow.
fn truncation(unit: &str) -> Option<fn(i64) -> Option<i64>> {
    let function: fn(i64) -> Option<i64> = match unit.to_ascii_lowercase().as_str() {
        "second" => |time| start_of(time, SECOND),
        "minute" => |time| start_of(time, 60 * SECOND),
        "hour" => |time| start_of(time, 3600 * SECOND),
        "day" => |time| start_of(time, DAY),
        // The first day of 1970 was a Thursday.
        "week" => |time| start_of(time.checked_add(3 * DAY)?, 7 * DAY)?.checked_sub(3 * DAY),
        "month" => |time| first_day(time, |month| month),
        "quarter" => |time| first_day(time, |month| (month - 1) / 3 * 3 + 1),
        "year" => |time| first_day(time, |_| 1),
        _ => return None,
    };
    Some(function)
}

fn start_of(time: i64, unit: i64) -> Option<i64> {
    time.checked_sub(time.rem_euclid(unit))
}

/// Returns the start of the first day of the month that `month` returns for the month of `time`.
fn first_day(time: i64, month: fn(u32) -> u32) -> Option<i64> {
    let day = DateTime::from_timestamp_micros(time)?.date_naive();
    let first = NaiveDate::from_ymd_opt(day.year(), month(day.month()), 1)?;
    Some(first.and_time(chrono::NaiveTime::MIN).and_utc().timestamp_micros())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_is_truncated_in_every_year() {
        for (time, unit, expected) in [
            ("0001-01-03T10:11:12.5Z", "week", "0001-01-01T00:00:00Z"),
            ("0001-05-03T10:11:12.5Z", "quarter", "0001-04-01T00:00:00Z"),
            ("9999-12-31T23:59:59.9Z", "month", "9999-12-01T00:00:00Z"),
            ("9999-12-31T23:59:59.9Z", "second", "9999-12-31T23:59:59Z"),
            ("1969-12-31T23:59:59.9Z", "hour", "1969-12-31T23:00:00Z"),
            ("2026-11-30T08:00:00Z", "Week", "2026-11-30T00:00:00Z"),
            ("2026-11-30T08:00:00Z", "year", "2026-01-01T00:00:00Z"),
            ("2026-11-30T08:09:10Z", "minute", "2026-11-30T08:09:00Z"),
            ("2026-11-30T08:09:10Z", "day", "2026-11-30T00:00:00Z"),
        ] {
            let micros = |text: &str| text.parse::<DateTime<chrono::Utc>>().expect("a time").timestamp_micros();
            let truncate = truncation(unit).expect("a unit");
            assert_eq!(truncate(micros(time)), Some(micros(expected)), "{unit} of {time}");
        }
        assert!(truncation("fortnight").is_none());
    }
}
