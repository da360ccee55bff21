//! Where numbers and days lie on an axis, and which of them are labelled.

use chrono::{Datelike, Months, NaiveDate, TimeDelta};

use super::figure::Kind;
use super::panel::Along;
use super::words::{compact, day, float, floor, month, round_percent, short_day};

/// How many labels an axis of places has at most.
const MOST_LABELS: usize = 9;

/// The upright axis: from where to where, and where its lines are.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Scale {
    /// The lowest number.
    pub low: f64,
    /// The highest number.
    pub high: f64,
    /// The numbers with a line.
    pub ticks: Vec<f64>,
}

impl Scale {
    /// An axis that holds zero and everything from `low` to `high`, with about `lines` lines. Where all numbers
    /// are `whole`, so are the lines.
    pub(super) fn new(low: f64, high: f64, lines: f64, whole: bool) -> Self {
        let (low, high) = (low.min(0.0), high.max(0.0));
        let high = if high - low > 0.0 { high } else { 1.0 };
        let step = round_step((high - low) / lines);
        let step = if whole { step.max(1.0) } else { step };
        let (first, last) = (floor(low / step), -floor(-(high / step)));
        Self {
            low: float(first) * step,
            high: float(last) * step,
            ticks: (first..=last).map(|at| float(at) * step).collect(),
        }
    }

    /// Where a number is, from 0 at the bottom to 1 at the top.
    pub(super) fn share(&self, value: f64) -> f64 {
        ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }

    /// What a line is called.
    pub(super) fn label(value: f64, share: bool) -> String {
        if share { round_percent(value) } else { compact(value) }
    }
}

/// The next larger of 1, 2 and 5 times a power of ten.
fn round_step(least: f64) -> f64 {
    let power = 10_f64.powf(least.log10().floor());
    let steps = [1.0, 2.0, 5.0].map(|step| step * power);
    // A step that is short by a rounding error is long enough.
    steps.into_iter().find(|step| *step * (1.0 + 1e-9) >= least).unwrap_or(10.0 * power)
}

/// The level axis: places in order, each with the room of a bar, or from edge to edge for lines.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Span {
    first: f64,
    length: f64,
    /// The room of one place, as a share of the whole.
    pub slot: f64,
}

impl Span {
    /// From the first place to the last, with room for a bar at each if `bars`.
    pub(super) fn new(along: &Along, bars: bool) -> Self {
        let (first, last) = match (along.at.first(), along.at.last()) {
            (Some(first), Some(last)) => (*first, *last),
            _ => (0.0, 0.0),
        };
        let gaps = along.at.windows(2).map(|pair| pair[1] - pair[0]).filter(|gap| *gap > 0.0);
        let gap = gaps.fold(f64::INFINITY, f64::min);
        let gap = if gap.is_finite() { gap } else { 1.0 };
        let room = if bars || last <= first { gap } else { 0.0 };
        let length = last - first + room;
        Self { first: first - room / 2.0, length, slot: gap / length }
    }

    /// Where a place is, from 0 at the left to 1 at the right.
    pub(super) fn share(&self, place: f64) -> f64 {
        (place - self.first) / self.length
    }
}

/// The places that are labelled, with their labels; the newest always is.
pub(super) fn labels(along: &Along) -> Vec<(f64, String)> {
    let (Some(first), Some(last)) = (along.at.first().copied(), along.at.last().copied()) else { return Vec::new() };
    match along.kind {
        Kind::Day | Kind::Moment if last - first < 2.0 && along.kind == Kind::Moment => hours(first, last),
        Kind::Day | Kind::Moment => days(along, first, last),
        Kind::Whole | Kind::Number => numbers(along, first, last),
        _ => Vec::new(),
    }
}

fn numbers(along: &Along, first: f64, last: f64) -> Vec<(f64, String)> {
    if along.len() <= MOST_LABELS {
        return along.at.iter().map(|at| (*at, compact(*at))).collect();
    }
    if last <= first {
        return vec![(first, compact(first))];
    }
    let step = round_step((last - first) / 8.0);
    let step = if along.kind == Kind::Whole { step.max(1.0) } else { step };
    let (from, to) = (-floor(-(first / step)), floor(last / step));
    (from..=to).map(|at| float(at) * step).map(|at| (at, compact(at))).collect()
}

fn hours(first: f64, last: f64) -> Vec<(f64, String)> {
    let hours = (last - first) * 24.0;
    let step = [1, 2, 3, 6, 12].into_iter().find(|step| hours / float(*step) <= 6.0).unwrap_or(12);
    let (from, to) = (-floor(-(first * 24.0 / float(step))), floor(last * 24.0 / float(step)));
    let label = |hour: i64| {
        let midnight = day(hour.div_euclid(24)).and_hms_opt(0, 0, 0).unwrap_or_default();
        (midnight + TimeDelta::hours(hour.rem_euclid(24))).format("%-d %b %H:%M").to_string()
    };
    (from..=to).map(|at| at * step).map(|hour| (float(hour) / 24.0, label(hour))).collect()
}

fn days(along: &Along, first: f64, last: f64) -> Vec<(f64, String)> {
    let few = along.len() <= MOST_LABELS && last - first <= 400.0;
    if few {
        return along.at.iter().map(|at| (*at, short_day(day(floor(*at))))).collect();
    }
    let steps = [1, 2, 7, 14, 28];
    let fits = |step: &i64| (last - first) / float(*step) <= 8.0;
    let Some(step) = steps.into_iter().find(fits) else { return months(first, last) };
    let newest = floor(last);
    let back = (0..).map(|count| newest - count * step).take_while(|at| float(*at) >= first);
    let mut labels: Vec<_> = back.map(|at| (float(at), short_day(day(at)))).collect();
    labels.reverse();
    labels
}

fn months(first: f64, last: f64) -> Vec<(f64, String)> {
    let (from, to) = (day(floor(first)), day(floor(last)));
    let count = |step: u32| (last - first) / 30.4 / f64::from(step);
    let steps = [1, 2, 3, 6, 12, 24, 60, 120];
    let step = steps.into_iter().find(|step| count(*step) <= 8.0).unwrap_or(240);
    let mut labels = Vec::new();
    let mut at = NaiveDate::from_ymd_opt(from.year(), 1, 1);
    while let Some(start) = at.filter(|at| *at <= to) {
        if start >= from {
            let label = if step >= 12 { start.year().to_string() } else { month(start) };
            labels.push((float(start.signed_duration_since(NaiveDate::default()).num_days()), label));
        }
        at = start.checked_add_months(Months::new(step));
    }
    labels
}

#[cfg(test)]
mod tests {
    use super::{Scale, Span, labels};
    use crate::report::figure::Kind;
    use crate::report::panel::Along;
    use crate::report::words::{float, float_of};

    fn along(kind: Kind, at: Vec<f64>) -> Along {
        Along { name: "x".to_owned(), kind, shown: at.iter().map(ToString::to_string).collect(), at }
    }

    fn days(first: i64, count: i64, step: i64) -> Along {
        along(Kind::Day, (0..count).map(|at| float(first + at * step)).collect())
    }

    fn words(along: &Along) -> String {
        labels(along).into_iter().map(|(_, label)| label).collect::<Vec<_>>().join(" | ")
    }

    #[test]
    fn an_axis_of_one_number_has_one_label() {
        assert_eq!(words(&along(Kind::Number, vec![2.5; 40])), "2.5");
        assert_eq!(words(&along(Kind::Whole, vec![7.0; 40])), "7");
    }

    #[test]
    fn an_axis_holds_zero_and_all_numbers_at_round_lines() {
        assert_eq!(Scale::new(3.0, 87.0, 4.0, true).ticks, [0.0, 50.0, 100.0]);
        assert_eq!(Scale::new(-12.0, 30.0, 4.0, true).ticks, [-20.0, 0.0, 20.0, 40.0]);
        assert_eq!(Scale::new(0.0, 2.0, 4.0, true).ticks, [0.0, 1.0, 2.0]);
        assert_eq!(Scale::new(0.0, 0.0, 4.0, true).ticks, [0.0, 1.0]);
        let share = Scale::new(0.0, 0.31, 4.0, false);
        assert_eq!(
            share.ticks.iter().map(|tick| Scale::label(*tick, true)).collect::<Vec<_>>().join(" "),
            "0 % 10 % 20 % 30 % 40 %"
        );
    }

    #[test]
    fn every_span_of_days_has_few_labels_and_the_newest_day_is_one() {
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
        let numbers = along(Kind::Whole, (1..=28).map(float).collect());
        assert_eq!(words(&numbers), "5 | 10 | 15 | 20 | 25");
        let hours = along(Kind::Moment, (0..25).map(|hour| 20_000.0 + float_of(hour) / 24.0).collect());
        assert_eq!(words(&hours), "4 Oct 00:00 | 4 Oct 06:00 | 4 Oct 12:00 | 4 Oct 18:00 | 5 Oct 00:00");
    }

    #[test]
    fn places_lie_between_the_edges_and_bars_have_room() {
        let along = days(100, 5, 1);
        let (line, bars) = (Span::new(&along, false), Span::new(&along, true));
        let shown = |shares: &[f64]| shares.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        assert_eq!(shown(&[line.share(100.0), line.share(102.0), line.share(104.0)]), "0 0.5 1");
        assert_eq!(shown(&[bars.share(100.0), bars.share(104.0), bars.slot]), "0.1 0.9 0.2");
        assert_eq!(shown(&[Span::new(&days(100, 1, 1), false).share(100.0)]), "0.5");
    }
}
