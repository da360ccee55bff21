//! The content of a chart: series over an axis, in panels.

use chrono::NaiveDate;

use super::format::{MISSING, float_of};
use super::labels;
use super::metric::{Kind, ResultColumn, ResultValue};
use super::period::{date, in_progress};
use crate::query::Chart;

/// Maximum number of series of a panel. If there are more, the smallest are combined.
pub(super) const MAX_SERIES: usize = 8;

/// Maximum number of points of a line.
const MAX_POINTS: usize = 1500;

/// Maximum number of bars along an axis of dates or numbers.
const MAX_BARS: usize = 400;

/// Maximum number of bars with names.
const MAX_NAMES: usize = 20;

/// Series whose largest values differ by more than this factor do not share an axis.
const MAX_SCALE_RATIO: f64 = 20.0;

/// An upper bound is drawn if its distance from the lower bound is at least this share of the largest number. Shorter
/// ranges are invisible.
const MIN_BOUND: f64 = 0.01;

/// The horizontal axis.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Axis {
    /// Label of the column.
    pub name: String,
    /// Type of the positions. Text means names, which have no order.
    pub kind: Kind,
    /// The positions: days since 1970-01-01, numbers, or 0, 1, 2, … for names.
    pub positions: Vec<f64>,
    /// One label per position.
    pub labels: Vec<String>,
    /// Whether the day, week or month at each position is in progress.
    pub in_progress: Vec<bool>,
}

/// Numbers along an axis.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Series {
    /// Label of the series.
    pub name: String,
    /// The number at each position. Losses of a stack are negative.
    pub values: Vec<Option<f64>>,
    /// Whether the number at each position is a lower bound.
    pub lower: Vec<bool>,
    /// Upper bound of the number at each position; empty if there are none.
    pub upper: Vec<Option<f64>>,
    /// Index of the color.
    pub color: usize,
}

/// A lower bound and its upper bound, to be drawn as a range.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Bound {
    /// Index of the series.
    pub series: usize,
    /// Index of the position.
    pub at: usize,
    /// The lower bound.
    pub lower: f64,
    /// The upper bound.
    pub upper: f64,
}

/// Series over one axis.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Panel {
    /// How the panel is drawn.
    pub chart: Chart,
    /// The axis.
    pub axis: Axis,
    /// The series.
    pub series: Vec<Series>,
    /// Whether the numbers are shares, which are formatted as percentages.
    pub share: bool,
    /// Label of the numbers if other panels of the metric have the same series.
    pub caption: Option<String>,
    /// Label of the sum of the positive numbers of a stack; `None` if the rows do not name it.
    pub total: Option<String>,
    /// Number of positions of the rows, drawn or not.
    pub all: usize,
    /// Sentences for the reader.
    pub notes: Vec<String>,
}

impl Axis {
    /// Creates the axis of the values of `column` in `rows`. `today` is the UTC day of the report.
    pub(super) fn of(column: &ResultColumn, rows: &[usize], today: NaiveDate) -> Self {
        let ordered = column.is_ordered();
        let value = |row: usize| column.values.get(row).unwrap_or(&ResultValue::Null);
        let position = |(index, row): (usize, &usize)| {
            if ordered { value(*row).position() } else { Some(float_of(index)) }
        };
        let running = in_progress(column, today);
        let is_running = |row: &usize| {
            running.as_ref().zip(date(value(*row))).is_some_and(|(running, date)| running.contains(&date))
        };
        Self {
            name: labels::column(&column.name),
            kind: if ordered { column.kind } else { Kind::Text },
            positions: rows.iter().enumerate().filter_map(position).collect(),
            labels: rows.iter().map(|row| column.name_of(*row)).collect(),
            in_progress: rows.iter().map(is_running).collect(),
        }
    }

    /// Returns the number of positions.
    pub(super) fn len(&self) -> usize {
        self.positions.len()
    }

    /// Whether the positions are names rather than dates or numbers.
    pub(super) fn is_categorical(&self) -> bool {
        self.kind == Kind::Text
    }

    /// Whether the positions are dates or timestamps.
    pub(super) fn is_time(&self) -> bool {
        matches!(self.kind, Kind::Date | Kind::Timestamp)
    }

    /// Returns the label of a position, or a placeholder.
    pub(super) fn label(&self, at: usize) -> &str {
        self.labels.get(at).map_or(MISSING, String::as_str)
    }

    /// Whether the day, week or month at a position is in progress.
    pub(super) fn is_in_progress(&self, at: usize) -> bool {
        self.in_progress.get(at) == Some(&true)
    }

    /// Whether any day, week or month is in progress.
    pub(super) fn has_progress(&self) -> bool {
        self.in_progress.contains(&true)
    }

    fn keep(&mut self, from: usize, to: usize) {
        self.positions = self.positions.drain(from..to).collect();
        self.labels = self.labels.drain(from..to).collect();
        self.in_progress = self.in_progress.drain(from..to).collect();
    }
}

impl Series {
    /// Creates a series without values.
    pub(super) fn named(name: String, length: usize) -> Self {
        Self { name, values: vec![None; length], lower: vec![false; length], upper: Vec::new(), color: 0 }
    }

    /// Creates the series of the values of `column` in `rows`.
    pub(super) fn of(column: &ResultColumn, rows: &[usize], complete: Option<&ResultColumn>) -> Self {
        let is_lower =
            |row: &usize| complete.is_some_and(|it| it.values.get(*row) == Some(&ResultValue::Boolean(false)));
        Self {
            name: labels::column(&column.name),
            values: rows.iter().map(|row| column.number(*row)).collect(),
            lower: rows.iter().map(is_lower).collect(),
            upper: Vec::new(),
            color: 0,
        }
    }

    fn keep(&mut self, from: usize, to: usize) {
        self.values = self.values.drain(from..to).collect();
        self.lower = self.lower.drain(from..to).collect();
        self.upper = self.upper.drain(from.min(self.upper.len())..to.min(self.upper.len())).collect();
    }

    /// Returns the largest absolute value; 0 if there is none.
    pub(super) fn max(&self) -> f64 {
        self.values.iter().flatten().fold(0.0, |max: f64, value| max.max(value.abs()))
    }

    /// Adds a number at a position.
    pub(super) fn add(&mut self, at: usize, value: f64, lower: bool) {
        self.values[at] = Some(self.values[at].unwrap_or(0.0) + value);
        self.lower[at] |= lower;
    }

    /// Returns the sum of the absolute values.
    pub(super) fn total(&self) -> f64 {
        self.values.iter().flatten().map(|value| value.abs()).sum()
    }

    /// Whether the series has a number at this position that is a lower bound.
    pub(super) fn is_lower(&self, at: usize) -> bool {
        self.lower.get(at) == Some(&true) && self.values.get(at).is_some_and(Option::is_some)
    }

    /// Returns the upper bound at a position where the number is a lower bound; `None` if there is none.
    pub(super) fn upper_bound(&self, at: usize) -> Option<f64> {
        self.upper.get(at).copied().flatten().filter(|_| self.is_lower(at))
    }
}

impl Panel {
    /// Creates a panel.
    pub(super) fn new(chart: Chart, axis: Axis, series: Vec<Series>, share: bool) -> Self {
        Self { chart, all: axis.len(), axis, series, share, caption: None, total: None, notes: Vec::new() }
    }

    /// Assigns colors to the series, starting with `first`. Returns the next free color.
    pub(super) fn color_from(&mut self, first: usize) -> usize {
        for (index, series) in self.series.iter_mut().enumerate() {
            series.color = (first + index) % MAX_SERIES;
        }
        first + self.series.len()
    }

    /// Returns the names of the series, in order.
    pub(super) fn series_names(&self) -> Vec<&str> {
        self.series.iter().map(|series| series.name.as_str()).collect()
    }

    /// Whether the panel is drawn as lines.
    pub(super) fn is_lines(&self) -> bool {
        matches!(self.chart, Chart::Line) && !self.axis.is_categorical()
    }

    /// Whether the panel is drawn as stacked bars.
    pub(super) fn is_stack(&self) -> bool {
        matches!(self.chart, Chart::Stacked) && !self.share
    }

    /// Whether the numbers at a position include a lower bound.
    pub(super) fn is_lower(&self, at: usize) -> bool {
        self.series.iter().any(|series| series.is_lower(at))
    }

    /// Whether any number is a lower bound.
    pub(super) fn has_lower_bounds(&self) -> bool {
        (0..self.axis.len()).any(|at| self.is_lower(at))
    }

    /// Returns the ranges from lower to upper bounds that are drawn. Stacks and bars with names draw none.
    pub(super) fn bounds(&self) -> Vec<Bound> {
        if self.is_stack() || self.axis.is_categorical() {
            return Vec::new();
        }
        let least = self.series.iter().map(Series::max).fold(0.0, f64::max) * MIN_BOUND;
        let bound = |series: usize, at: usize| {
            let own = &self.series[series];
            let (lower, upper) = own.values[at].zip(own.upper_bound(at))?;
            (upper > lower && upper - lower >= least).then_some(Bound { series, at, lower, upper })
        };
        (0..self.series.len()).flat_map(|series| (0..self.axis.len()).filter_map(move |at| bound(series, at))).collect()
    }

    /// Whether `series` is readable on the scale of this panel.
    pub(super) fn has_scale_of(&self, series: &Series) -> bool {
        let (own, max) = (series.max(), self.series.iter().map(Series::max).fold(0.0, f64::max));
        let (small, large) = (own.min(max), own.max(max));
        small <= 0.0 || large <= small * MAX_SCALE_RATIO
    }

    /// Cuts the panel to the number of positions that its chart can show. See [`Panel::cut`].
    pub(super) fn limited(self) -> Self {
        let max = match self.chart {
            _ if self.axis.is_categorical() => MAX_NAMES,
            Chart::Line => MAX_POINTS,
            _ => MAX_BARS,
        };
        self.cut(max)
    }

    /// Keeps at most `max` positions: the newest, or the first names.
    pub(super) fn cut(mut self, max: usize) -> Self {
        let length = self.axis.len();
        if length > max {
            let from = if self.axis.is_categorical() { 0 } else { length - max };
            self.axis.keep(from, from + max);
            self.series.iter_mut().for_each(|series| series.keep(from, from + max));
        }
        self
    }

    /// Returns a sentence that says which positions are drawn; `None` if all are.
    pub(super) fn extent(&self) -> Option<String> {
        let which = if self.axis.is_categorical() { "first" } else { "newest" };
        let sentence = || format!("Shows the {which} {} of {}.", self.axis.len(), self.all);
        (self.axis.len() < self.all).then(sentence)
    }

    /// Returns the indexes of the series, the largest first.
    pub(super) fn ranks(&self) -> Vec<usize> {
        let mut ranks: Vec<usize> = (0..self.series.len()).collect();
        ranks.sort_by(|left, right| self.series[*right].total().total_cmp(&self.series[*left].total()));
        ranks
    }

    /// Combines series if there are too many. The first of `ranks` stay.
    pub(super) fn combine_smallest(&mut self, ranks: &[usize]) {
        if self.series.len() <= MAX_SERIES {
            return;
        }
        let kept = &ranks[..MAX_SERIES - 1];
        let (largest, rest): (Vec<_>, Vec<_>) =
            self.series.drain(..).enumerate().partition(|(index, _)| kept.contains(index));
        self.series = largest.into_iter().map(|(_, series)| series).collect();
        if self.share {
            self.notes.push(format!("{} more are only in the table.", rest.len()));
            return;
        }
        self.notes.push(format!("“Others” combines {} more, which are in the table.", rest.len()));
        let mut others = Series::named("Others".to_owned(), self.axis.len());
        for (_, series) in rest {
            for (at, value) in series.values.iter().enumerate() {
                if let Some(value) = value {
                    others.add(at, *value, series.lower[at]);
                }
            }
        }
        self.series.push(others);
    }
}

#[cfg(test)]
mod tests {
    use super::{Axis, Panel, Series};
    use crate::query::Chart;
    use crate::report::metric::Kind;

    #[test]
    fn an_upper_bound_is_drawn_only_if_its_distance_is_visible() {
        let drawn = |chart: Chart, upper: f64| {
            let axis = Axis {
                name: "Date".to_owned(),
                kind: Kind::Date,
                positions: vec![0.0, 1.0],
                labels: vec![String::new(); 2],
                in_progress: vec![false; 2],
            };
            let series = Series {
                values: vec![Some(400.0), Some(300.0)],
                lower: vec![false, true],
                upper: vec![Some(400.0), Some(upper)],
                ..Series::named("DAU".to_owned(), 2)
            };
            Panel::new(chart, axis, vec![series], false).bounds().len()
        };
        assert_eq!([300.0, 301.0, 340.0].map(|upper| drawn(Chart::Line, upper)), [0, 0, 1]);
        assert_eq!([Chart::Bar, Chart::Stacked].map(|chart| drawn(chart, 340.0)), [1, 0]);
    }
}
