//! Positions of numbers and dates on the axes, and the labels of the axes.

use chrono::{Datelike, Months, NaiveDate, TimeDelta};

use super::format::{compact, date, days_since_1970, float, floor, month, round_percent, short_date};
use super::metric::Kind;
use super::panel::Axis;

/// Maximum number of labels of the horizontal axis.
const MAX_LABELS: usize = 9;

/// The vertical axis.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Scale {
    /// Smallest number.
    pub low: f64,
    /// Largest number.
    pub high: f64,
    /// Numbers with a grid line.
    pub ticks: Vec<f64>,
}

impl Scale {
    /// Creates an axis that includes zero and all numbers from `low` to `high`, with about `lines` grid lines. If all
    /// numbers are `integers`, so are the grid lines.
    pub(super) fn new(low: f64, high: f64, lines: f64, integers: bool) -> Self {
        let (low, high) = (low.min(0.0), high.max(0.0));
        let high = if high - low > 0.0 { high } else { 1.0 };
        let step = round_step((high - low) / lines);
        let step = if integers { step.max(1.0) } else { step };
        let (first, last) = (floor(low / step), -floor(-(high / step)));
        Self {
            low: float(first) * step,
            high: float(last) * step,
            ticks: (first..=last).map(|index| float(index) * step).collect(),
        }
    }

    /// Returns the position of a number: 0 is the bottom, 1 is the top.
    pub(super) fn position(&self, value: f64) -> f64 {
        ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }

    /// Returns the label of a grid line.
    pub(super) fn label(value: f64, share: bool) -> String {
        if share { round_percent(value) } else { compact(value) }
    }
}

/// Returns the smallest of 1, 2 and 5 times a power of ten that is at least `least`.
fn round_step(least: f64) -> f64 {
    let power = 10_f64.powf(least.log10().floor());
    let steps = [1.0, 2.0, 5.0].map(|step| step * power);
    // The tolerance absorbs rounding errors.
    steps.into_iter().find(|step| *step * (1.0 + 1e-9) >= least).unwrap_or(10.0 * power)
}

/// The horizontal axis. Bars have a slot each; lines reach from edge to edge.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Slots {
    first: f64,
    length: f64,
    /// Width of one position, as a share of the axis.
    pub slot: f64,
}

impl Slots {
    /// Creates an axis from the first position to the last, with slots for bars if `bars`.
    pub(super) fn new(axis: &Axis, bars: bool) -> Self {
        let (first, last) = match (axis.positions.first(), axis.positions.last()) {
            (Some(first), Some(last)) => (*first, *last),
            _ => (0.0, 0.0),
        };
        let gaps = axis.positions.windows(2).map(|pair| pair[1] - pair[0]).filter(|gap| *gap > 0.0);
        let gap = gaps.fold(f64::INFINITY, f64::min);
        let gap = if gap.is_finite() { gap } else { 1.0 };
        let slot = if bars || last <= first { gap } else { 0.0 };
        let length = last - first + slot;
        Self { first: first - slot / 2.0, length, slot: gap / length }
    }

    /// Returns where a position is: 0 is the left edge, 1 is the right edge.
    pub(super) fn offset(&self, position: f64) -> f64 {
        (position - self.first) / self.length
    }
}

/// Returns the positions with labels. The newest date always has one.
pub(super) fn labels(axis: &Axis) -> Vec<(f64, String)> {
    let (Some(first), Some(last)) = (axis.positions.first().copied(), axis.positions.last().copied()) else {
        return Vec::new();
    };
    match axis.kind {
        Kind::Date | Kind::Timestamp if last - first < 2.0 && axis.kind == Kind::Timestamp => hours(first, last),
        Kind::Date | Kind::Timestamp => days(axis, first, last),
        Kind::Integer | Kind::Float => numbers(axis, first, last),
        _ => Vec::new(),
    }
}

fn numbers(axis: &Axis, first: f64, last: f64) -> Vec<(f64, String)> {
    if axis.len() <= MAX_LABELS {
        return axis.positions.iter().map(|position| (*position, compact(*position))).collect();
    }
    if last <= first {
        return vec![(first, compact(first))];
    }
    let step = round_step((last - first) / 8.0);
    let step = if axis.kind == Kind::Integer { step.max(1.0) } else { step };
    let (from, to) = (-floor(-(first / step)), floor(last / step));
    (from..=to).map(|at| float(at) * step).map(|at| (at, compact(at))).collect()
}

fn hours(first: f64, last: f64) -> Vec<(f64, String)> {
    let hours = (last - first) * 24.0;
    let step = [1, 2, 3, 6, 12].into_iter().find(|step| hours / float(*step) <= 6.0).unwrap_or(12);
    let (from, to) = (-floor(-(first * 24.0 / float(step))), floor(last * 24.0 / float(step)));
    let label = |hour: i64| {
        let midnight = date(hour.div_euclid(24)).and_hms_opt(0, 0, 0).unwrap_or_default();
        (midnight + TimeDelta::hours(hour.rem_euclid(24))).format("%-d %b %H:%M").to_string()
    };
    (from..=to).map(|at| at * step).map(|hour| (float(hour) / 24.0, label(hour))).collect()
}

fn days(axis: &Axis, first: f64, last: f64) -> Vec<(f64, String)> {
    let few = axis.len() <= MAX_LABELS && last - first <= 400.0;
    if few {
        return axis.positions.iter().map(|position| (*position, short_date(date(floor(*position))))).collect();
    }
    let steps = [1, 2, 7, 14, 28];
    let fits = |step: &i64| (last - first) / float(*step) <= 8.0;
    let Some(step) = steps.into_iter().find(fits) else { return months(first, last) };
    let newest = floor(last);
    let back = (0..).map(|count| newest - count * step).take_while(|at| float(*at) >= first);
    let mut labels: Vec<_> = back.map(|at| (float(at), short_date(date(at)))).collect();
    labels.reverse();
    labels
}

fn months(first: f64, last: f64) -> Vec<(f64, String)> {
    let (from, to) = (date(floor(first)), date(floor(last)));
    let count = |step: u32| (last - first) / 30.4 / f64::from(step);
    let steps = [1, 2, 3, 6, 12, 24, 60, 120];
    let step = steps.into_iter().find(|step| count(*step) <= 8.0).unwrap_or(240);
    let mut labels = Vec::new();
    let mut at = NaiveDate::from_ymd_opt(from.year(), 1, 1);
    while let Some(start) = at.filter(|at| *at <= to) {
        if start >= from {
            let label = if step >= 12 { start.year().to_string() } else { month(start) };
            labels.push((float(days_since_1970(start)), label));
        }
        at = start.checked_add_months(Months::new(step));
    }
    labels
}

#[cfg(test)]
mod tests {
    use super::{Scale, Slots, labels};
    use crate::report::format::{float, float_of};
    use crate::report::metric::Kind;
    use crate::report::panel::Axis;

    fn axis(kind: Kind, positions: Vec<f64>) -> Axis {
        let labels = positions.iter().map(ToString::to_string).collect();
        Axis { name: "x".to_owned(), kind, labels, in_progress: vec![false; positions.len()], positions }
    }

    fn days(first: i64, count: i64, step: i64) -> Axis {
        axis(Kind::Date, (0..count).map(|at| float(first + at * step)).collect())
    }

    fn words(axis: &Axis) -> String {
        labels(axis).into_iter().map(|(_, label)| label).collect::<Vec<_>>().join(" | ")
    }

    #[test]
    fn an_axis_of_one_number_has_one_label() {
        assert_eq!(words(&axis(Kind::Float, vec![2.5; 40])), "2.5");
        assert_eq!(words(&axis(Kind::Integer, vec![7.0; 40])), "7");
    }

    #[test]
    fn an_axis_includes_zero_and_has_round_grid_lines() {
        assert_eq!(Scale::new(3.0, 87.0, 4.0, true).ticks, [0.0, 50.0, 100.0]);
        assert_eq!(Scale::new(-12.0, 30.0, 4.0, true).ticks, [-20.0, 0.0, 20.0, 40.0]);
        assert_eq!(Scale::new(0.0, 2.0, 4.0, true).ticks, [0.0, 1.0, 2.0]);
        assert_eq!(Scale::new(0.0, 0.0, 4.0, true).ticks, [0.0, 1.0]);
        let share = Scale::new(0.0, 0.31, 4.0, false);
        assert_eq!(
            share.ticks.iter().map(|tick| Scale::label(*tick, true)).collect::<Vec<_>>().join(" "),
            "0% 10% 20% 30% 40%"
        );
    }

    #[test]
    fn any_number_of_days_has_few_labels_including_the_newest_day() {
        assert_eq!(words(&days(20_000, 8, 1)), "4 Oct | 5 Oct | 6 Oct | 7 Oct | 8 Oct | 9 Oct | 10 Oct | 11 Oct");
        assert_eq!(words(&days(20_000, 30, 1)), "5 Oct | 12 Oct | 19 Oct | 26 Oct | 2 Nov");
        assert_eq!(words(&days(20_000, 12, 7)), "11 Oct | 25 Oct | 8 Nov | 22 Nov | 6 Dec | 20 Dec");
        assert_eq!(words(&days(20_000, 300, 1)), "Nov 2024 | Jan 2025 | Mar 2025 | May 2025 | Jul 2025");
        assert_eq!(words(&days(10_000, 2000, 1)), "1998 | 1999 | 2000 | 2001 | 2002");
        for count in 1..3000 {
            let found = labels(&days(20_000, count, 1)).len();
            assert!((1..=9).contains(&found), "{count} days have {found} labels");
        }
    }

    #[test]
    fn numbers_and_hours_have_labels_too() {
        let numbers = axis(Kind::Integer, (1..=28).map(float).collect());
        assert_eq!(words(&numbers), "5 | 10 | 15 | 20 | 25");
        let hours = axis(Kind::Timestamp, (0..25).map(|hour| 20_000.0 + float_of(hour) / 24.0).collect());
        assert_eq!(words(&hours), "4 Oct 00:00 | 4 Oct 06:00 | 4 Oct 12:00 | 4 Oct 18:00 | 5 Oct 00:00");
    }

    #[test]
    fn lines_reach_the_edges_and_bars_have_slots() {
        let axis = days(100, 5, 1);
        let (line, bars) = (Slots::new(&axis, false), Slots::new(&axis, true));
        let joined = |shares: &[f64]| shares.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        assert_eq!(joined(&[line.offset(100.0), line.offset(102.0), line.offset(104.0)]), "0 0.5 1");
        assert_eq!(joined(&[bars.offset(100.0), bars.offset(104.0), bars.slot]), "0.1 0.9 0.2");
        assert_eq!(joined(&[Slots::new(&days(100, 1, 1), false).offset(100.0)]), "0.5");
    }
}
