//! The data of a report: metrics, and the rows that their queries returned.

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};

use super::format::{MISSING, clean, days_since_1970, float, integer, number, percent, timestamp};
use super::labels::{self, NO_NAME};
use crate::error::Result;
use crate::query::Query;

/// Largest value of a column named as a share that is still formatted as a percentage.
const MAX_SHARE: f64 = 1.5;

/// One value of a row.
#[derive(Clone, Debug, PartialEq)]
pub enum ResultValue {
    /// A missing value.
    Null,
    /// An integer.
    Integer(i64),
    /// A number with a fractional part. It is always finite.
    Float(f64),
    /// Text exactly as it is in the data. It can contain markup or control characters.
    Text(String),
    /// A boolean.
    Boolean(bool),
    /// A UTC date.
    Date(NaiveDate),
    /// A UTC timestamp.
    Timestamp(DateTime<Utc>),
}

/// The type of the values of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Integers.
    Integer,
    /// Numbers with a fractional part.
    Float,
    /// Text, and all types that have no representation of their own.
    Text,
    /// Booleans.
    Boolean,
    /// UTC dates.
    Date,
    /// UTC timestamps.
    Timestamp,
}

/// One column of the rows of a query.
#[derive(Clone, Debug, PartialEq)]
pub struct ResultColumn {
    /// The name in the query.
    pub name: String,
    /// The type of the values.
    pub kind: Kind,
    /// One value per row.
    pub values: Vec<ResultValue>,
}

/// The rows that a query returned, by column.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ResultRows {
    /// The columns. All have the same length.
    pub columns: Vec<ResultColumn>,
}

/// The result of a query for one lake.
#[derive(Clone, Debug)]
pub struct InstanceResult {
    /// The instance that the lake belongs to.
    pub instance: String,
    /// The rows, or the reason why the query failed.
    pub rows: Result<ResultRows>,
}

/// A query and its results, one for each lake of the report.
#[derive(Clone, Debug)]
pub struct Metric {
    /// The query.
    pub query: Query,
    /// The results, in the order of the lakes.
    pub parts: Vec<InstanceResult>,
}

impl ResultValue {
    /// Returns the value as a number; `None` if it is not a number.
    #[must_use]
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Integer(value) => Some(float(*value)),
            Self::Float(value) => Some(*value),
            _ => None,
        }
    }

    /// Returns the position on an axis: days since 1970-01-01 for dates and timestamps, or the number itself. `None` for
    /// all other values.
    #[must_use]
    pub fn position(&self) -> Option<f64> {
        match self {
            Self::Date(date) => Some(float(days_since_1970(*date))),
            Self::Timestamp(timestamp) => Some(float(timestamp.timestamp_millis()) / 86_400_000.0),
            other => other.number(),
        }
    }

    /// Formats the value for people, as a percentage if it is a `share`.
    #[must_use]
    pub fn format(&self, share: bool) -> String {
        match self {
            Self::Null => MISSING.to_owned(),
            Self::Integer(value) => integer(*value),
            Self::Float(value) if share => percent(*value),
            Self::Float(value) => number(*value),
            Self::Text(text) => clean(text),
            Self::Boolean(value) => if *value { "yes" } else { "no" }.to_owned(),
            Self::Date(date) => date.to_string(),
            Self::Timestamp(value) => timestamp(*value),
        }
    }
}

impl ResultColumn {
    /// Creates a column. Timestamps that are all midnight become dates.
    #[must_use]
    pub fn new(name: impl Into<String>, kind: Kind, values: Vec<ResultValue>) -> Self {
        let column = Self { name: name.into(), kind, values };
        let is_midnight = |value: &ResultValue| match value {
            ResultValue::Timestamp(timestamp) => timestamp.time() == NaiveTime::MIN,
            _ => true,
        };
        let are_dates = kind == Kind::Timestamp && column.values.iter().all(is_midnight);
        if are_dates { column.into_dates() } else { column }
    }

    fn into_dates(self) -> Self {
        let date = |value| match value {
            ResultValue::Timestamp(timestamp) => ResultValue::Date(timestamp.date_naive()),
            other => other,
        };
        Self { kind: Kind::Date, values: self.values.into_iter().map(date).collect(), ..self }
    }

    /// Returns the column without its values.
    pub(super) fn clone_empty(&self) -> Self {
        Self { name: self.name.clone(), kind: self.kind, values: Vec::new() }
    }

    /// Whether the values are numbers.
    #[must_use]
    pub fn is_numeric(&self) -> bool {
        matches!(self.kind, Kind::Integer | Kind::Float)
    }

    /// Whether the values have positions on an axis.
    #[must_use]
    pub fn is_ordered(&self) -> bool {
        self.is_numeric() || matches!(self.kind, Kind::Date | Kind::Timestamp)
    }

    /// Whether the values are shares, which are formatted as percentages: the name says so, or all are from 0 to 1.
    #[must_use]
    pub fn is_share(&self) -> bool {
        if self.kind != Kind::Float {
            return false;
        }
        let name = self.name.to_lowercase();
        let last_word = name.rsplit('_').next().unwrap_or_default();
        let named = matches!(last_word, "share" | "stickiness" | "retention" | "rate" | "ratio");
        let mut numbers = self.values.iter().filter_map(ResultValue::number).peekable();
        let max = if named { MAX_SHARE } else { 1.0 };
        (named || numbers.peek().is_some()) && numbers.all(|number| (0.0..=max).contains(&number))
    }

    /// Returns the value of a row as a number; `None` if it is not a number.
    #[must_use]
    pub fn number(&self, row: usize) -> Option<f64> {
        self.values.get(row).and_then(ResultValue::number)
    }

    /// Formats the value of a row for people, as a percentage if it is a `share`. Identifiers become labels.
    pub(super) fn display(&self, row: usize, share: bool) -> String {
        match self.values.get(row) {
            Some(ResultValue::Text(text)) => labels::value(&self.name, text),
            Some(value) => value.format(share),
            None => MISSING.to_owned(),
        }
    }

    /// Formats the value of a row that names a series, a position or a line.
    pub(super) fn name_of(&self, row: usize) -> String {
        match self.values.get(row) {
            None | Some(ResultValue::Null) => NO_NAME.to_owned(),
            Some(_) => self.display(row, false),
        }
    }
}

impl ResultRows {
    /// Returns the number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.columns.first().map_or(0, |column| column.values.len())
    }

    /// Whether there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the column called `name`; `None` if there is none.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&ResultColumn> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// Sorts the rows of several lakes by their second column if it is a time, so that the newest rows of all lakes come
    /// last.
    fn by_time(self) -> Self {
        let time = self.columns.get(1).filter(|column| matches!(column.kind, Kind::Date | Kind::Timestamp));
        let Some(time) = time else { return self };
        let position = |row: usize| time.values[row].position().unwrap_or(f64::NEG_INFINITY);
        let mut order: Vec<usize> = (0..time.values.len()).collect();
        order.sort_by(|left, right| position(*left).total_cmp(&position(*right)));
        let sorted = |column: &ResultColumn| {
            let values = order.iter().map(|row| column.values[*row].clone()).collect();
            ResultColumn { values, ..column.clone_empty() }
        };
        Self { columns: self.columns.iter().map(sorted).collect() }
    }
}

impl Metric {
    /// Whether the report has several lakes.
    #[must_use]
    pub fn is_compared(&self) -> bool {
        self.parts.len() > 1
    }

    /// Returns the unit of the numbers; `None` if it is unknown or says only that they are shares.
    #[must_use]
    pub fn unit(&self) -> Option<&str> {
        self.query.unit.as_deref().map(str::trim).filter(|unit| !unit.is_empty() && *unit != "share")
    }

    /// Returns the rows of all lakes. If there are several lakes, the first column names the instance.
    #[must_use]
    pub fn rows(&self) -> ResultRows {
        let parts = || self.parts.iter().filter_map(|part| Some((&part.instance, part.rows.as_ref().ok()?)));
        // A part without rows can also have no columns.
        let known = parts().find(|(_, rows)| !rows.columns.is_empty());
        let Some((_, first)) = known else { return ResultRows::default() };
        let mut columns: Vec<ResultColumn> = first.columns.iter().map(ResultColumn::clone_empty).collect();
        let mut instances = Vec::new();
        for (instance, rows) in parts() {
            instances.extend(std::iter::repeat_n(ResultValue::Text(instance.clone()), rows.len()));
            for (all, column) in columns.iter_mut().zip(&rows.columns) {
                all.values.extend(column.values.iter().cloned());
            }
        }
        if self.is_compared() {
            columns.insert(0, ResultColumn { name: "instance".to_owned(), kind: Kind::Text, values: instances });
            return ResultRows { columns }.by_time();
        }
        ResultRows { columns }
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};

    use super::{InstanceResult, Kind, Metric, ResultColumn, ResultRows, ResultValue};
    use crate::query::Query;

    fn timestamp(text: &str) -> ResultValue {
        ResultValue::Timestamp(text.parse::<DateTime<Utc>>().expect("a timestamp"))
    }

    #[test]
    fn timestamps_at_midnight_are_dates() {
        let dates =
            ResultColumn::new("week", Kind::Timestamp, vec![timestamp("2026-11-23T00:00:00Z"), ResultValue::Null]);
        assert_eq!((dates.kind, dates.values[0].format(false).as_str()), (Kind::Date, "2026-11-23"));
        let timestamps = ResultColumn::new("at", Kind::Timestamp, vec![timestamp("2026-11-23T06:00:00Z")]);
        assert_eq!(
            (timestamps.kind, timestamps.values[0].format(false).as_str()),
            (Kind::Timestamp, "2026-11-23 06:00:00")
        );
    }

    #[test]
    fn a_lake_without_rows_does_not_remove_the_columns_of_another() {
        let rows =
            ResultRows { columns: vec![ResultColumn::new("members", Kind::Integer, vec![ResultValue::Integer(3)])] };
        let part = |instance: &str, rows: ResultRows| InstanceResult { instance: instance.to_owned(), rows: Ok(rows) };
        let parts = vec![part("empty", ResultRows::default()), part("full", rows)];
        let all = Metric { query: Query::ad_hoc("SELECT 1"), parts }.rows();
        let names: Vec<_> = all.columns.iter().map(|column| column.name.as_str()).collect();
        assert_eq!((names, all.len()), (vec!["instance", "members"], 1));
    }

    #[test]
    fn shares_are_recognized_by_values_or_name() {
        let column = |name: &str, values: &[f64]| {
            let values = values.iter().map(|value| ResultValue::Float(*value)).collect();
            ResultColumn::new(name, Kind::Float, values).is_share()
        };
        assert!(column("x", &[0.0, 0.4, 1.0]));
        assert!(column("stickiness", &[]));
        assert!(column("growth_rate", &[1.2]));
        assert!(!column("x", &[0.4, 1.2]));
        assert!(!column("x", &[]));
        assert!(!column("retention", &[43.0]));
        assert!(!ResultColumn::new("share", Kind::Integer, vec![ResultValue::Integer(1)]).is_share());
    }
}
