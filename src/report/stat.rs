//! One number, and how it has changed.

use super::figure::{Column, Rows, Value};
use super::words::{clean, number, percent};

/// The column that holds the value of the period before.
const PREVIOUS: &str = "previous";

/// A number and its change against the period before.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Stat {
    /// The number as it is shown.
    pub value: String,
    /// What is counted; nothing where it is not said.
    pub unit: String,
    /// How it has changed, where that is asked for.
    pub change: Option<Change>,
    /// Whether the number is a lower bound.
    pub is_lower: bool,
}

/// How a number has changed.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Change {
    /// Which way.
    pub way: Way,
    /// The same in words, with the value before.
    pub words: String,
}

/// Which way a number has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// It is larger.
    Up,
    /// It is smaller.
    Down,
    /// It is the same, or nothing is known.
    Level,
}

impl Way {
    /// The sign for it.
    pub(super) const fn sign(self) -> &'static str {
        match self {
            Self::Up => "▲",
            Self::Down => "▼",
            Self::Level => "■",
        }
    }
}

/// The number of a figure's first row; none where there is no row.
pub(super) fn stat(rows: &Rows, unit: Option<&str>) -> Option<Stat> {
    let wanted = rows.columns.iter().find(|column| column.is_numeric() && column.name != PREVIOUS);
    let column = wanted.or(rows.columns.first())?;
    let value = column.values.first()?;
    let share = column.is_share();
    let before = rows.column(PREVIOUS).filter(|before| before.name != column.name);
    let complete = rows.column("complete").and_then(|column| column.values.first());
    Some(Stat {
        value: value.shown(share),
        unit: unit.filter(|_| !share).map(clean).unwrap_or_default(),
        change: before.map(|before| change(column, before, share)),
        is_lower: !share && complete == Some(&Value::Flag(false)),
    })
}

fn change(column: &Column, before: &Column, share: bool) -> Change {
    let (Some(now), Some(then)) = (column.number(0), before.number(0)) else {
        return Change { way: Way::Level, words: "nothing to compare with yet".to_owned() };
    };
    let shown = if share { percent(then) } else { number(then) };
    let difference = now - then;
    let way = match difference {
        _ if difference > 0.0 => Way::Up,
        _ if difference < 0.0 => Way::Down,
        _ => Way::Level,
    };
    let word = match way {
        Way::Up => "up",
        Way::Down => "down",
        Way::Level => return Change { way, words: format!("unchanged from {shown}") },
    };
    let by = match then {
        _ if share => format!(" {:.1} points", difference.abs() * 100.0),
        0.0 => String::new(),
        _ => format!(" {}", percent((difference / then).abs())),
    };
    Change { way, words: format!("{word}{by} from {shown}") }
}

#[cfg(test)]
mod tests {
    use super::{Way, stat};
    use crate::report::figure::{Column, Kind, Rows, Value};

    fn rows(now: Value, then: Value) -> Rows {
        let kind = if matches!(now, Value::Number(_)) { Kind::Number } else { Kind::Whole };
        Rows { columns: vec![Column::new("users", kind, vec![now]), Column::new("previous", kind, vec![then])] }
    }

    fn words(now: Value, then: Value) -> (Way, String) {
        let change = stat(&rows(now, then), None).and_then(|stat| stat.change).expect("a change");
        (change.way, change.words)
    }

    #[test]
    fn a_change_is_told_in_words() {
        assert_eq!(words(Value::Whole(110), Value::Whole(100)), (Way::Up, "up 10.0 % from 100".to_owned()));
        assert_eq!(words(Value::Whole(50), Value::Whole(1000)), (Way::Down, "down 95.0 % from 1,000".to_owned()));
        assert_eq!(words(Value::Whole(5), Value::Whole(5)), (Way::Level, "unchanged from 5".to_owned()));
        assert_eq!(words(Value::Whole(5), Value::Whole(0)), (Way::Up, "up from 0".to_owned()));
        assert_eq!(words(Value::Whole(5), Value::Nothing), (Way::Level, "nothing to compare with yet".to_owned()));
        assert_eq!(words(Value::Number(0.5), Value::Number(0.48)), (Way::Up, "up 2.0 points from 48.0 %".to_owned()));
    }

    #[test]
    fn a_number_has_its_unit_and_needs_no_change() {
        let rows = Rows { columns: vec![Column::new("n", Kind::Whole, vec![Value::Whole(1234)])] };
        let found = stat(&rows, Some("users")).expect("a number");
        assert_eq!((found.value.as_str(), found.unit.as_str(), found.change), ("1,234", "users", None));
        assert_eq!(stat(&Rows::default(), None), None);
    }
}
