//! What a report is made of: figures, and the rows behind them.

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};

use super::words::{NOTHING, clean, float, moment, number, percent, whole};
use crate::error::Result;
use crate::query::Query;

/// The largest value that a column named as a share may have and still be shown as percent.
const LARGEST_SHARE: f64 = 1.5;

/// A value of a row.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// None.
    Nothing,
    /// A whole number.
    Whole(i64),
    /// Any other number; always finite.
    Number(f64),
    /// Text, verbatim: it may be anything that somebody has typed.
    Text(String),
    /// Yes or no.
    Flag(bool),
    /// A UTC day.
    Day(NaiveDate),
    /// A moment.
    Moment(DateTime<Utc>),
}

/// What the values of a column are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Whole numbers.
    Whole,
    /// Numbers with places after the point.
    Number,
    /// Text, and everything that has no drawing of its own.
    Text,
    /// Yes or no.
    Flag,
    /// UTC days.
    Day,
    /// Moments.
    Moment,
}

/// A column of a query's rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// Its name in the query.
    pub name: String,
    /// What its values are.
    pub kind: Kind,
    /// One value for each row.
    pub values: Vec<Value>,
}

/// The rows that a query gave.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows {
    /// Its columns, all of one length.
    pub columns: Vec<Column>,
}

/// What a query gave over one lake.
#[derive(Clone, Debug)]
pub struct Part {
    /// The instance that the lake belongs to.
    pub instance: String,
    /// The rows, or why there are none.
    pub rows: Result<Rows>,
}

/// A query of the catalogue with what it gave, over each lake of the report.
#[derive(Clone, Debug)]
pub struct Figure {
    /// The query.
    pub query: Query,
    /// What it gave, in the order of the lakes.
    pub parts: Vec<Part>,
}

impl Value {
    /// The number that it is, if it is one.
    #[must_use]
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Whole(number) => Some(float(*number)),
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// Its place along an axis, if it has one: days since 1970-01-01, or the number.
    #[must_use]
    pub fn place(&self) -> Option<f64> {
        match self {
            Self::Day(day) => Some(float(day.signed_duration_since(NaiveDate::default()).num_days())),
            Self::Moment(moment) => Some(float(moment.timestamp_millis()) / 86_400_000.0),
            other => other.number(),
        }
    }

    /// The value as it is shown, as percent if it is a `share`.
    #[must_use]
    pub fn shown(&self, share: bool) -> String {
        match self {
            Self::Nothing => NOTHING.to_owned(),
            Self::Whole(number) => whole(*number),
            Self::Number(number) if share => percent(*number),
            Self::Number(value) => number(*value),
            Self::Text(text) => clean(text),
            Self::Flag(flag) => if *flag { "yes" } else { "no" }.to_owned(),
            Self::Day(day) => day.to_string(),
            Self::Moment(at) => moment(*at),
        }
    }
}

impl Column {
    /// A column; moments that are all the beginning of a day become days.
    #[must_use]
    pub fn new(name: impl Into<String>, kind: Kind, values: Vec<Value>) -> Self {
        let column = Self { name: name.into(), kind, values };
        let begins_a_day = |value: &Value| match value {
            Value::Moment(moment) => moment.time() == NaiveTime::MIN,
            _ => true,
        };
        let are_days = kind == Kind::Moment && column.values.iter().all(begins_a_day);
        if are_days { column.into_days() } else { column }
    }

    fn into_days(self) -> Self {
        let day = |value| match value {
            Value::Moment(moment) => Value::Day(moment.date_naive()),
            other => other,
        };
        Self { kind: Kind::Day, values: self.values.into_iter().map(day).collect(), ..self }
    }

    /// Whether its values are numbers.
    #[must_use]
    pub fn is_numeric(&self) -> bool {
        matches!(self.kind, Kind::Whole | Kind::Number)
    }

    /// Whether its values have an order along an axis.
    #[must_use]
    pub fn is_ordered(&self) -> bool {
        self.is_numeric() || matches!(self.kind, Kind::Day | Kind::Moment)
    }

    /// Whether its values are shares, to be shown as percent: by its name, or since all are from 0 to 1.
    #[must_use]
    pub fn is_share(&self) -> bool {
        if self.kind != Kind::Number {
            return false;
        }
        let name = self.name.to_lowercase();
        let last_word = name.rsplit('_').next().unwrap_or_default();
        let named = matches!(last_word, "share" | "stickiness" | "retention" | "rate" | "ratio");
        let mut numbers = self.values.iter().filter_map(Value::number).peekable();
        let most = if named { LARGEST_SHARE } else { 1.0 };
        (named || numbers.peek().is_some()) && numbers.all(|number| (0.0..=most).contains(&number))
    }

    /// The value of a row as a number, if it is one.
    #[must_use]
    pub fn number(&self, row: usize) -> Option<f64> {
        self.values.get(row).and_then(Value::number)
    }
}

impl Rows {
    /// How many rows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.columns.first().map_or(0, |column| column.values.len())
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The column called `name`.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// The rows of several lakes in the order of their second column, if that is one of days or moments: so that
    /// the newest of all lakes come last.
    fn by_time(self) -> Self {
        let time = self.columns.get(1).filter(|column| matches!(column.kind, Kind::Day | Kind::Moment));
        let Some(time) = time else { return self };
        let place = |row: usize| time.values[row].place().unwrap_or(f64::NEG_INFINITY);
        let mut order: Vec<usize> = (0..time.values.len()).collect();
        order.sort_by(|left, right| place(*left).total_cmp(&place(*right)));
        let sorted = |column: &Column| {
            let values = order.iter().map(|row| column.values[*row].clone()).collect();
            Column { values, ..column.clone_empty() }
        };
        Self { columns: self.columns.iter().map(sorted).collect() }
    }
}

impl Column {
    fn clone_empty(&self) -> Self {
        Self { name: self.name.clone(), kind: self.kind, values: Vec::new() }
    }
}

impl Figure {
    /// Whether it is drawn over several lakes.
    #[must_use]
    pub fn is_compared(&self) -> bool {
        self.parts.len() > 1
    }

    /// What its numbers count, if that is said and is more than that they are shares.
    #[must_use]
    pub fn unit(&self) -> Option<&str> {
        self.query.unit.as_deref().map(str::trim).filter(|unit| !unit.is_empty() && *unit != "share")
    }

    /// All rows that there are; over several lakes with the instance as their first column.
    #[must_use]
    pub fn rows(&self) -> Rows {
        let parts = || self.parts.iter().filter_map(|part| Some((&part.instance, part.rows.as_ref().ok()?)));
        // A part without rows may have no columns either.
        let known = parts().find(|(_, rows)| !rows.columns.is_empty());
        let Some((_, first)) = known else { return Rows::default() };
        let mut columns: Vec<Column> = first.columns.iter().map(Column::clone_empty).collect();
        let mut instances = Vec::new();
        for (instance, rows) in parts() {
            instances.extend(std::iter::repeat_n(Value::Text(instance.clone()), rows.len()));
            for (all, column) in columns.iter_mut().zip(&rows.columns) {
                all.values.extend(column.values.iter().cloned());
            }
        }
        if self.is_compared() {
            columns.insert(0, Column { name: "instance".to_owned(), kind: Kind::Text, values: instances });
            return Rows { columns }.by_time();
        }
        Rows { columns }
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};

    use super::{Column, Figure, Kind, Part, Rows, Value};
    use crate::query::Query;

    fn moment(text: &str) -> Value {
        Value::Moment(text.parse::<DateTime<Utc>>().expect("a moment"))
    }

    #[test]
    fn moments_that_begin_days_are_days() {
        let days = Column::new("week", Kind::Moment, vec![moment("2026-11-23T00:00:00Z"), Value::Nothing]);
        assert_eq!((days.kind, days.values[0].shown(false).as_str()), (Kind::Day, "2026-11-23"));
        let moments = Column::new("at", Kind::Moment, vec![moment("2026-11-23T06:00:00Z")]);
        assert_eq!((moments.kind, moments.values[0].shown(false).as_str()), (Kind::Moment, "2026-11-23 06:00:00"));
    }

    #[test]
    fn a_lake_without_rows_takes_no_columns_from_another() {
        let rows = Rows { columns: vec![Column::new("members", Kind::Whole, vec![Value::Whole(3)])] };
        let part = |instance: &str, rows: Rows| Part { instance: instance.to_owned(), rows: Ok(rows) };
        let parts = vec![part("empty", Rows::default()), part("full", rows)];
        let all = Figure { query: Query::ad_hoc("SELECT 1"), parts }.rows();
        let names: Vec<_> = all.columns.iter().map(|column| column.name.as_str()).collect();
        assert_eq!((names, all.len()), (vec!["instance", "members"], 1));
    }

    #[test]
    fn shares_are_known_by_their_values_or_their_name() {
        let column = |name: &str, values: &[f64]| {
            let values = values.iter().map(|value| Value::Number(*value)).collect();
            Column::new(name, Kind::Number, values).is_share()
        };
        assert!(column("x", &[0.0, 0.4, 1.0]));
        assert!(column("stickiness", &[]));
        assert!(column("growth_rate", &[1.2]));
        assert!(!column("x", &[0.4, 1.2]));
        assert!(!column("x", &[]));
        assert!(!column("retention", &[43.0]));
        assert!(!Column::new("share", Kind::Whole, vec![Value::Whole(1)]).is_share());
    }
}
