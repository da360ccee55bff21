//! What is drawn: series over an axis, in panels.

use super::figure::{Column, Kind, Value};
use super::words::{NOTHING, float_of, label};
use crate::query::Chart;

/// How many series one panel shows; where there are more, the smallest become one.
pub(super) const MOST_SERIES: usize = 8;

/// How many points a line shows.
const MOST_POINTS: usize = 1500;

/// How many bars there are along an axis.
const MOST_BARS: usize = 400;

/// How many bars with names there are.
const MOST_NAMES: usize = 20;

/// Series whose largest values are further apart than this do not share an axis.
const ONE_SCALE: f64 = 20.0;

/// The places along an axis.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Along {
    /// What the column is called.
    pub name: String,
    /// What the places are; text stands for names, which have no order.
    pub kind: Kind,
    /// Where they are: days since 1970-01-01, numbers, or for names 0, 1, 2, ….
    pub at: Vec<f64>,
    /// What they are called.
    pub shown: Vec<String>,
}

/// Numbers along an axis.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Series {
    /// What they are called.
    pub name: String,
    /// The number at each place; losses of a stack are negative.
    pub values: Vec<Option<f64>>,
    /// Whether the number at each place is a lower bound.
    pub lower: Vec<bool>,
    /// How large the number at each place may be at most; empty where nothing is known.
    pub at_most: Vec<Option<f64>>,
    /// Which of the colours it has, from 0.
    pub colour: usize,
}

/// What is drawn over one axis.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Panel {
    /// The axis.
    pub along: Along,
    /// What is drawn over it.
    pub series: Vec<Series>,
    /// Whether the numbers are shares, shown as percent.
    pub share: bool,
    /// What its numbers are, where the figure has other panels with the same series.
    pub caption: Option<String>,
    /// What the numbers above zero of a stack add up to, where the rows name it.
    pub total: Option<String>,
    /// How many places there are, drawn or not.
    pub all: usize,
    /// What must be said of it, in sentences.
    pub notes: Vec<String>,
}

impl Along {
    /// How many places there are.
    pub(super) fn len(&self) -> usize {
        self.at.len()
    }

    /// Whether the places are names rather than days or numbers.
    pub(super) fn is_names(&self) -> bool {
        self.kind == Kind::Text
    }

    pub(super) fn of(column: &Column, rows: &[usize]) -> Self {
        let values = || rows.iter().filter_map(|row| column.values.get(*row));
        let ordered = column.is_ordered();
        let place = |(at, value): (usize, &Value)| if ordered { value.place() } else { Some(float_of(at)) };
        let shown = |value: &Value| match value {
            Value::Nothing => "(none)".to_owned(),
            other => other.shown(false),
        };
        Self {
            name: label(&column.name),
            kind: if ordered { column.kind } else { Kind::Text },
            at: values().enumerate().filter_map(place).collect(),
            shown: values().map(shown).collect(),
        }
    }

    fn keep(&mut self, from: usize, to: usize) {
        self.at = self.at.drain(from..to).collect();
        self.shown = self.shown.drain(from..to).collect();
    }
}

impl Series {
    pub(super) fn named(name: String, length: usize) -> Self {
        Self { name, values: vec![None; length], lower: vec![false; length], at_most: Vec::new(), colour: 0 }
    }

    pub(super) fn of(column: &Column, rows: &[usize], complete: Option<&Column>) -> Self {
        let is_lower = |row: &usize| complete.is_some_and(|it| it.values.get(*row) == Some(&Value::Flag(false)));
        Self {
            name: label(&column.name),
            values: rows.iter().map(|row| column.number(*row)).collect(),
            lower: rows.iter().map(is_lower).collect(),
            at_most: Vec::new(),
            colour: 0,
        }
    }

    fn keep(&mut self, from: usize, to: usize) {
        self.values = self.values.drain(from..to).collect();
        self.lower = self.lower.drain(from..to).collect();
        self.at_most = self.at_most.drain(from.min(self.at_most.len())..to.min(self.at_most.len())).collect();
    }

    /// The largest value, without its sign; 0 where there is none.
    pub(super) fn most(&self) -> f64 {
        self.values.iter().flatten().fold(0.0, |most: f64, value| most.max(value.abs()))
    }

    pub(super) fn add(&mut self, at: usize, value: f64, lower: bool) {
        self.values[at] = Some(self.values[at].unwrap_or(0.0) + value);
        self.lower[at] |= lower;
    }

    pub(super) fn total(&self) -> f64 {
        self.values.iter().flatten().map(|value| value.abs()).sum()
    }

    /// Whether any of its numbers is a lower bound.
    pub(super) fn has_lower_bounds(&self) -> bool {
        self.values.iter().zip(&self.lower).any(|(value, lower)| value.is_some() && *lower)
    }
}

impl Panel {
    pub(super) fn new(along: Along, series: Vec<Series>, share: bool) -> Self {
        Self { all: along.len(), along, series, share, caption: None, total: None, notes: Vec::new() }
    }

    /// Gives the series colours from `first` on; the next one is free.
    pub(super) fn colour_from(&mut self, first: usize) -> usize {
        for (at, series) in self.series.iter_mut().enumerate() {
            series.colour = (first + at) % MOST_SERIES;
        }
        first + self.series.len()
    }

    /// Whether `series` can be read on this panel's axis.
    pub(super) fn has_scale_of(&self, series: &Series) -> bool {
        let (own, most) = (series.most(), self.series.iter().map(Series::most).fold(0.0, f64::max));
        let (small, large) = (own.min(most), own.max(most));
        small <= 0.0 || large <= small * ONE_SCALE
    }

    /// Keeps as many of the newest places of the axis, or of the first names, as such a chart can show.
    pub(super) fn limited(self, chart: Chart) -> Self {
        let most = match chart {
            _ if self.along.is_names() => MOST_NAMES,
            Chart::Line => MOST_POINTS,
            _ => MOST_BARS,
        };
        self.cut(most)
    }

    /// Keeps at most so many of the newest places, or of the first names.
    pub(super) fn cut(mut self, most: usize) -> Self {
        let length = self.along.len();
        if length > most {
            let from = if self.along.is_names() { 0 } else { length - most };
            self.along.keep(from, from + most);
            self.series.iter_mut().for_each(|series| series.keep(from, from + most));
        }
        self
    }

    /// Which places are drawn, in a sentence, where not all are.
    pub(super) fn extent(&self) -> Option<String> {
        let which = if self.along.is_names() { "first" } else { "newest" };
        let sentence = || format!("The {which} {} of {} are drawn.", self.along.len(), self.all);
        (self.along.len() < self.all).then(sentence)
    }

    /// The places of the largest series, the largest first.
    pub(super) fn ranks(&self) -> Vec<usize> {
        let mut ranks: Vec<usize> = (0..self.series.len()).collect();
        ranks.sort_by(|left, right| self.series[*right].total().total_cmp(&self.series[*left].total()));
        ranks
    }

    /// Where there are more series than can be told apart, keeps the first of `ranks` and makes the others one.
    pub(super) fn fewer(&mut self, ranks: &[usize]) {
        if self.series.len() <= MOST_SERIES {
            return;
        }
        let kept = &ranks[..MOST_SERIES - 1];
        let (most, rest): (Vec<_>, Vec<_>) = self.series.drain(..).enumerate().partition(|(at, _)| kept.contains(at));
        self.series = most.into_iter().map(|(_, series)| series).collect();
        if self.share {
            self.notes.push(format!("{} more are in the table only.", rest.len()));
            return;
        }
        self.notes.push(format!("“Other” stands for {} more, which are in the table.", rest.len()));
        let mut other = Series::named("other".to_owned(), self.along.len());
        for (_, series) in rest {
            for (at, value) in series.values.iter().enumerate() {
                if let Some(value) = value {
                    other.add(at, *value, series.lower[at]);
                }
            }
        }
        self.series.push(other);
    }
}

/// What a place is called where it stands alone, such as the newest day.
pub(super) fn place_shown(along: &Along, at: usize) -> &str {
    along.shown.get(at).map_or(NOTHING, String::as_str)
}
