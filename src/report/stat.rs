//! A single number and its change.

use super::format::{clean, number, percent};
use super::metric::{ResultColumn, ResultRows, ResultValue};

/// Column with the value of the preceding period.
const PREVIOUS: &str = "previous";

/// A number and its change from the preceding period.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Stat {
    /// The formatted number.
    pub value: String,
    /// The unit; empty if unknown.
    pub unit: String,
    /// The change; `None` if the query has no preceding value.
    pub change: Option<Change>,
    /// Whether the number is a lower bound.
    pub is_lower: bool,
}

/// The change of a number.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Change {
    /// The direction.
    pub trend: Trend,
    /// The change in words, with the preceding value.
    pub words: String,
}

/// The direction of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trend {
    /// The number is larger.
    Up,
    /// The number is smaller.
    Down,
    /// The number is unchanged, or there is no preceding value.
    Flat,
}

impl Trend {
    /// Returns the symbol of the direction.
    pub(super) const fn symbol(self) -> &'static str {
        match self {
            Self::Up => "▲",
            Self::Down => "▼",
            Self::Flat => "–",
        }
    }
}

/// Returns the number of the first row; `None` if there are no rows.
pub(super) fn stat(rows: &ResultRows, unit: Option<&str>) -> Option<Stat> {
    let wanted = rows.columns.iter().find(|column| column.is_numeric() && column.name != PREVIOUS);
    let column = wanted.or(rows.columns.first())?;
    column.values.first()?;
    let share = column.is_share();
    let previous = rows.column(PREVIOUS).filter(|previous| previous.name != column.name);
    let complete = rows.column("complete").and_then(|column| column.values.first());
    Some(Stat {
        value: column.display(0, share),
        unit: unit.filter(|_| !share).map(clean).unwrap_or_default(),
        change: previous.map(|previous| change(column, previous, share)),
        is_lower: !share && complete == Some(&ResultValue::Boolean(false)),
    })
}

fn change(column: &ResultColumn, previous: &ResultColumn, share: bool) -> Change {
    let (Some(now), Some(then)) = (column.number(0), previous.number(0)) else {
        return Change { trend: Trend::Flat, words: "no earlier value yet".to_owned() };
    };
    let formatted = if share { percent(then) } else { number(then) };
    let difference = now - then;
    let trend = match difference {
        _ if difference > 0.0 => Trend::Up,
        _ if difference < 0.0 => Trend::Down,
        _ => Trend::Flat,
    };
    let word = match trend {
        Trend::Up => "up",
        Trend::Down => "down",
        Trend::Flat => return Change { trend, words: format!("unchanged from {formatted}") },
    };
    let by = match then {
        _ if share => format!(" {:.1} points", difference.abs() * 100.0),
        0.0 => String::new(),
        _ => format!(" {}", percent((difference / then).abs())),
    };
    Change { trend, words: format!("{word}{by} from {formatted}") }
}

#[cfg(test)]
mod tests {
    use super::{Trend, stat};
    use crate::report::metric::{Kind, ResultColumn, ResultRows, ResultValue};

    fn rows(now: ResultValue, then: ResultValue) -> ResultRows {
        let kind = if matches!(now, ResultValue::Float(_)) { Kind::Float } else { Kind::Integer };
        ResultRows {
            columns: vec![ResultColumn::new("users", kind, vec![now]), ResultColumn::new("previous", kind, vec![then])],
        }
    }

    fn words(now: ResultValue, then: ResultValue) -> (Trend, String) {
        let change = stat(&rows(now, then), None).and_then(|stat| stat.change).expect("a change");
        (change.trend, change.words)
    }

    #[test]
    fn a_change_is_described_in_words() {
        assert_eq!(
            words(ResultValue::Integer(110), ResultValue::Integer(100)),
            (Trend::Up, "up 10.0% from 100".to_owned())
        );
        assert_eq!(
            words(ResultValue::Integer(50), ResultValue::Integer(1000)),
            (Trend::Down, "down 95.0% from 1,000".to_owned())
        );
        assert_eq!(
            words(ResultValue::Integer(5), ResultValue::Integer(5)),
            (Trend::Flat, "unchanged from 5".to_owned())
        );
        assert_eq!(words(ResultValue::Integer(5), ResultValue::Integer(0)), (Trend::Up, "up from 0".to_owned()));
        assert_eq!(words(ResultValue::Integer(5), ResultValue::Null), (Trend::Flat, "no earlier value yet".to_owned()));
        assert_eq!(
            words(ResultValue::Float(0.5), ResultValue::Float(0.48)),
            (Trend::Up, "up 2.0 points from 48.0%".to_owned())
        );
    }

    #[test]
    fn a_number_has_a_unit_and_needs_no_change() {
        let rows =
            ResultRows { columns: vec![ResultColumn::new("n", Kind::Integer, vec![ResultValue::Integer(1234)])] };
        let found = stat(&rows, Some("users")).expect("a number");
        assert_eq!((found.value.as_str(), found.unit.as_str(), found.change), ("1,234", "users", None));
        assert_eq!(stat(&ResultRows::default(), None), None);
    }
}
