//! The types of the columns of a CSV file, from all of its rows.
//!
//! A column is a number, a day, a time or a truth value only if every value is one, and none would change: a number with
//! leading zeros, or with more digits than fit, stays text.

use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use chrono::{DateTime, NaiveDate, NaiveDateTime};

/// The number of digits of a whole number that always fits 64 bits.
const INTEGER_DIGITS: usize = 18;

/// The number of decimal digits that a double keeps.
const DOUBLE_DIGITS: usize = 15;

/// What the values of a column can be.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "the types are independent of each other")]
struct Kinds {
    /// Whether there is a value.
    any: bool,
    boolean: bool,
    integer: bool,
    double: bool,
    date: bool,
    /// A time without a time zone.
    local: bool,
    /// A time with a time zone.
    time: bool,
}

impl Kinds {
    const ALL: Self =
        Self { any: false, boolean: true, integer: true, double: true, date: true, local: true, time: true };

    /// Takes a value that is not empty.
    fn take(&mut self, value: &str) {
        self.any = true;
        if self.is_text() {
            return;
        }
        let is_numeric = value.starts_with(|c: char| c.is_ascii_digit() || c == '-');
        self.boolean = self.boolean && (value.eq_ignore_ascii_case("true") || value.eq_ignore_ascii_case("false"));
        self.integer = self.integer && is_numeric && is_integer(value, INTEGER_DIGITS);
        self.double = self.double && is_numeric && is_double(value);
        self.date = self.date && is_numeric && is_date(value);
        self.local = self.local && is_numeric && is_local_time(value);
        self.time = self.time && is_numeric && is_time(value);
    }

    fn is_text(self) -> bool {
        !(self.boolean || self.integer || self.double || self.date || self.local || self.time)
    }

    fn data_type(self) -> DataType {
        match self {
            Self { any: false, .. } => DataType::Utf8,
            Self { boolean: true, .. } => DataType::Boolean,
            Self { integer: true, .. } => DataType::Int64,
            Self { double: true, .. } => DataType::Float64,
            Self { date: true, .. } => DataType::Date32,
            Self { local: true, .. } => DataType::Timestamp(TimeUnit::Microsecond, None),
            Self { time: true, .. } => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            _ => DataType::Utf8,
        }
    }
}

/// The columns of CSV files, whose types narrow down as rows are read.
#[derive(Debug)]
pub(super) struct ColumnTypes {
    names: Vec<String>,
    kinds: Vec<Kinds>,
}

impl ColumnTypes {
    /// Creates columns called `names`, of any type.
    pub(super) fn new(names: Vec<String>) -> Self {
        Self { kinds: vec![Kinds::ALL; names.len()], names }
    }

    /// Returns the schema for reading every column as text.
    pub(super) fn as_text(&self) -> SchemaRef {
        let fields = self.names.iter().map(|name| Field::new(name, DataType::Utf8, true));
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }

    /// Takes rows that were read as text.
    pub(super) fn take(&mut self, rows: &RecordBatch) {
        for (kinds, column) in self.kinds.iter_mut().zip(rows.columns()) {
            if kinds.any && kinds.is_text() {
                continue;
            }
            let Some(values) = column.as_string_opt::<i32>() else { continue };
            values.iter().flatten().filter(|value| !value.is_empty()).for_each(|value| kinds.take(value));
        }
    }

    /// Returns the schema with the types that fit all rows.
    pub(super) fn schema(&self) -> SchemaRef {
        let fields = self.names.iter().zip(&self.kinds);
        let fields = fields.map(|(name, kinds)| Field::new(name, kinds.data_type(), true));
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }
}

/// Returns whether `text` is a whole number of at most `digits` digits, without leading zeros.
fn is_integer(text: &str, digits: usize) -> bool {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let is_number = !unsigned.is_empty() && unsigned.len() <= digits && unsigned.bytes().all(|c| c.is_ascii_digit());
    is_number && (!unsigned.starts_with('0') || text == "0")
}

/// Returns whether `text` is a decimal number that a double keeps.
fn is_double(text: &str) -> bool {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
    let Some((whole, fraction)) = mantissa.split_once('.') else {
        return mantissa.len() == unsigned.len() && is_integer(text, DOUBLE_DIGITS);
    };
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
    let has_leading_zero = whole.len() > 1 && whole.starts_with('0');
    let exponent = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
    is_digits(whole)
        && is_digits(fraction)
        && !has_leading_zero
        && whole.len() + fraction.len() <= DOUBLE_DIGITS
        && is_digits(exponent)
        && exponent.len() <= 2
}

fn is_date(text: &str) -> bool {
    text.len() == 10 && NaiveDate::parse_from_str(text, "%Y-%m-%d").is_ok()
}

/// Returns whether the fraction of a second in `text` has at most six digits, and the year has four.
fn has_microseconds(text: &str) -> bool {
    let fraction = text.split_once('.').map_or("", |(_, fraction)| fraction);
    let digits = fraction.bytes().take_while(u8::is_ascii_digit).count();
    text.as_bytes().get(4) == Some(&b'-') && digits <= 6
}

fn is_local_time(text: &str) -> bool {
    let is_format = |format| NaiveDateTime::parse_from_str(text, format).is_ok();
    has_microseconds(text)
        && text.len() >= 19
        && (is_format("%Y-%m-%dT%H:%M:%S%.f") || is_format("%Y-%m-%d %H:%M:%S%.f"))
}

fn is_time(text: &str) -> bool {
    has_microseconds(text) && DateTime::parse_from_rfc3339(text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data_type(values: &[&str]) -> DataType {
        let mut kinds = Kinds::ALL;
        for value in values {
            kinds.take(value);
        }
        kinds.data_type()
    }

    #[test]
    fn a_column_has_a_type_only_if_no_value_would_change() {
        let time = |zone: Option<&str>| DataType::Timestamp(TimeUnit::Microsecond, zone.map(Into::into));
        for (values, expected) in [
            (&["1", "-20", "0"][..], DataType::Int64),
            (&["1", "01"], DataType::Utf8),
            (&["1234567890123456789"], DataType::Utf8),
            (&["1", "2.50"], DataType::Float64),
            (&["1.5e-7"], DataType::Float64),
            (&["1e5", "2e3"], DataType::Utf8),
            (&["1234567890123456", "2.5"], DataType::Utf8),
            (&["00.5"], DataType::Utf8),
            (&["+1"], DataType::Utf8),
            (&["true", "FALSE"], DataType::Boolean),
            (&["true", "1"], DataType::Utf8),
            (&["2026-11-30", "9999-12-31"], DataType::Date32),
            (&["2026-11-31"], DataType::Utf8),
            (&["2026-11-30 10:00:00", "2026-11-30T10:00:00.5"], time(None)),
            (&["2026-11-30T10:00:00Z", "2026-11-30T10:00:00.123456+01:00"], time(Some("UTC"))),
            (&["2026-11-30T10:00:00Z", "2026-11-30T10:00:00"], DataType::Utf8),
            (&["2026-11-30T10:00:00.123456789"], DataType::Utf8),
            (&["", "NaN"], DataType::Utf8),
            (&[], DataType::Utf8),
        ] {
            assert_eq!(data_type(values), expected, "{values:?}");
        }
    }
}
