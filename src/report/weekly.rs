//! Weekly sums for bar charts that have too many daily bars.
//!
//! Only counts of new things can be added up: a sign-up happens on one day. Distinct counts cannot, because a user who
//! is active on two days is one user of the week.

use std::borrow::Cow;
use std::collections::BTreeMap;

use chrono::{Datelike, Days, NaiveDate};

use super::metric::{Kind, ResultColumn, ResultRows, ResultValue};
use super::period::date;
use crate::query::Chart;

/// Maximum number of daily bars. More are summed up by week.
const MAX_DAILY_BARS: usize = 45;

/// Column names of counts of new things, as whole names.
const COUNTS: [&str; 8] = ["created", "deleted", "new", "removed", "sign_ins", "sign_ups", "signins", "signups"];

/// First words of the names of such columns.
const FIRST_WORDS: [&str; 1] = ["new"];

/// Last words of the names of such columns.
const LAST_WORDS: [&str; 5] = ["added", "created", "deleted", "removed", "started"];

/// The rows of a chart, and how to draw them.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PreparedChart<'a> {
    /// The chart that fits the rows.
    pub chart: Chart,
    /// The rows, daily or weekly.
    pub rows: Cow<'a, ResultRows>,
    /// A sentence about the weekly sums; `None` if the rows are unchanged.
    pub note: Option<String>,
}

/// How the daily values of a column become a weekly value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    /// The sum of the days.
    Sum,
    /// The value of the last day: the column is the running total of another.
    Last,
}

/// The rows of one week and name, reduced column by column.
type Week = (Option<NaiveDate>, Vec<ResultValue>, bool);

/// Sums up the rows of a bar chart by calendar week if it has too many daily bars.
///
/// If the values cannot be added up, the rows stay daily and the chart becomes a line.
pub(super) fn prepare(chart: Chart, rows: &ResultRows) -> PreparedChart<'_> {
    let unchanged = |chart| PreparedChart { chart, rows: Cow::Borrowed(rows), note: None };
    if !matches!(chart, Chart::Bar | Chart::Stacked) || !has_too_many_days(rows) {
        return unchanged(chart);
    }
    let Some(rules) = rules(rows) else { return unchanged(Chart::Line) };
    let (weekly, is_cut) = by_week(rows, &rules);
    let mut note = "Summed by week, Monday to Sunday.".to_owned();
    if rules.iter().any(|(_, rule)| *rule == Rule::Last) {
        note.push_str(" Running totals are shown as of the end of each week.");
    }
    if is_cut {
        note.push_str(" The first days are omitted because they are not a full week.");
    }
    PreparedChart { chart, rows: Cow::Owned(weekly), note: Some(note) }
}

/// Whether the first column is daily and has too many days for bars.
fn has_too_many_days(rows: &ResultRows) -> bool {
    let Some(first) = rows.columns.first().filter(|column| column.kind == Kind::Date) else { return false };
    let mut days: Vec<NaiveDate> = first.values.iter().filter_map(date).collect();
    days.sort_unstable();
    days.dedup();
    let is_daily = days.windows(2).any(|pair| pair[1].signed_duration_since(pair[0]).num_days() == 1);
    is_daily && days.len() > MAX_DAILY_BARS
}

/// The numeric columns after the first, without the upper bounds.
fn numeric(rows: &ResultRows) -> Vec<usize> {
    let columns = rows.columns.iter().enumerate().skip(1);
    columns.filter(|(_, column)| column.is_numeric() && !is_bound(column)).map(|(index, _)| index).collect()
}

fn is_bound(column: &ResultColumn) -> bool {
    column.name == "at_most" || column.name.ends_with("_at_most")
}

fn names(rows: &ResultRows) -> Option<&ResultColumn> {
    rows.columns.iter().skip(1).find(|column| column.kind == Kind::Text)
}

/// Returns the rule of each numeric column; `None` if the values of one cannot be combined.
fn rules(rows: &ResultRows) -> Option<Vec<(usize, Rule)>> {
    let numeric = numeric(rows);
    let is_total = |of: usize| numeric.iter().any(|total| *total != of && is_running_total(rows, *total, of));
    let sums: Vec<usize> = numeric
        .iter()
        .copied()
        .filter(|index| rows.columns[*index].kind == Kind::Integer)
        .filter(|index| is_count_of_new(&rows.columns[*index].name) || is_total(*index))
        .collect();
    let rule = |index: usize| {
        if sums.contains(&index) {
            return Some((index, Rule::Sum));
        }
        sums.iter().any(|of| is_running_total(rows, index, *of)).then_some((index, Rule::Last))
    };
    numeric.iter().map(|index| rule(*index)).collect()
}

/// Whether the name of a column says that it counts new things.
fn is_count_of_new(name: &str) -> bool {
    let name = name.to_lowercase();
    let (first, last) = (name.split('_').next(), name.rsplit('_').next());
    let is_in = |word: Option<&str>, words: &[&str]| word.is_some_and(|word| words.contains(&word));
    let is_active = name.split('_').any(|word| word == "active");
    !is_active && (COUNTS.contains(&name.as_str()) || is_in(first, &FIRST_WORDS) || is_in(last, &LAST_WORDS))
}

/// Whether the column `total` grows each day by exactly the value of the column `of`, for each name.
fn is_running_total(rows: &ResultRows, total: usize, of: usize) -> bool {
    let (Some(first), names) = (rows.columns.first(), names(rows)) else { return false };
    let mut series: BTreeMap<String, BTreeMap<NaiveDate, (f64, f64)>> = BTreeMap::new();
    for (row, value) in first.values.iter().enumerate() {
        let numbers = (rows.columns[total].number(row), rows.columns[of].number(row));
        let (Some(date), (Some(total), Some(of))) = (date(value), numbers) else { return false };
        let name = names.map_or_else(String::new, |names| names.name_of(row));
        if series.entry(name).or_default().insert(date, (total, of)).is_some() {
            return false;
        }
    }
    let mut steps = 0;
    for days in series.values() {
        for ((_, before), (_, after)) in days.iter().zip(days.iter().skip(1)) {
            if (after.0 - before.0 - after.1).abs() > 1e-6 {
                return false;
            }
            steps += 1;
        }
    }
    steps > 0
}

/// Returns one row for each week and name, and whether an incomplete first week is left out.
fn by_week(rows: &ResultRows, rules: &[(usize, Rule)]) -> (ResultRows, bool) {
    let (names, complete) = (names(rows), rows.column("complete").filter(|column| column.kind == Kind::Boolean));
    let days = rows.columns.first().map_or(&[][..], |column| column.values.as_slice());
    let first = days.iter().filter_map(date).min();
    let start = first.map(|first| if first == monday(first) { first } else { monday(first) + Days::new(7) });
    let mut weeks: BTreeMap<(NaiveDate, usize), Week> = BTreeMap::new();
    let mut known: Vec<String> = Vec::new();
    for (row, day) in days.iter().enumerate() {
        let Some(day) = date(day).filter(|day| start.is_some_and(|start| *day >= start)) else { continue };
        let name = names.map_or_else(String::new, |names| names.name_of(row));
        let index = known.iter().position(|known| *known == name).unwrap_or_else(|| {
            known.push(name);
            known.len() - 1
        });
        let week =
            weeks.entry((monday(day), index)).or_insert_with(|| (None, vec![ResultValue::Null; rules.len()], true));
        for (value, (column, rule)) in week.1.iter_mut().zip(rules) {
            combine(value, &rows.columns[*column].values[row], *rule, week.0.is_none_or(|last| day >= last));
        }
        week.0 = week.0.max(Some(day));
        week.2 &= complete.is_none_or(|complete| complete.values[row] != ResultValue::Boolean(false));
    }
    let mut columns =
        vec![ResultColumn::new("week", Kind::Date, weeks.keys().map(|(week, _)| ResultValue::Date(*week)).collect())];
    if let Some(names) = names {
        let values = weeks.keys().map(|(_, name)| ResultValue::Text(known[*name].clone())).collect();
        columns.push(ResultColumn { values, ..names.clone_empty() });
    }
    for (at, (column, _)) in rules.iter().enumerate() {
        let values = weeks.values().map(|(_, values, _)| values[at].clone()).collect();
        columns.push(ResultColumn { values, ..rows.columns[*column].clone_empty() });
    }
    if complete.is_some() {
        let values = weeks.values().map(|(_, _, complete)| ResultValue::Boolean(*complete)).collect();
        columns.push(ResultColumn::new("complete", Kind::Boolean, values));
    }
    (ResultRows { columns }, first != start)
}

/// Adds a daily value to a weekly one, or replaces it by a `newer` one.
fn combine(week: &mut ResultValue, day: &ResultValue, rule: Rule, newer: bool) {
    let old = std::mem::replace(week, ResultValue::Null);
    *week = match (old, day, rule) {
        (ResultValue::Integer(sum), ResultValue::Integer(value), Rule::Sum) => {
            ResultValue::Integer(sum.saturating_add(*value))
        }
        (ResultValue::Null, value, _) => value.clone(),
        (_, value, Rule::Last) if newer && *value != ResultValue::Null => value.clone(),
        (old, ..) => old,
    };
}

/// Returns the Monday of the week of `date`.
fn monday(date: NaiveDate) -> NaiveDate {
    date - Days::new(u64::from(date.weekday().num_days_from_monday()))
}

#[cfg(test)]
mod tests {
    use chrono::{Days, NaiveDate};

    use super::prepare;
    use crate::query::Chart;
    use crate::report::metric::{Kind, ResultColumn, ResultRows, ResultValue};

    /// Days from Wednesday, 2026-09-02 on, with a value for each.
    fn daily(name: &str, count: u64) -> ResultRows {
        let first: NaiveDate = "2026-09-02".parse().expect("a date");
        let dates = (0..count).map(|day| ResultValue::Date(first + Days::new(day))).collect();
        let values = (0..count).map(|day| ResultValue::Integer(i64::try_from(day).expect("small"))).collect();
        ResultRows {
            columns: vec![ResultColumn::new("date", Kind::Date, dates), ResultColumn::new(name, Kind::Integer, values)],
        }
    }

    fn integers(rows: &ResultRows, column: usize) -> Vec<f64> {
        rows.columns[column].values.iter().filter_map(ResultValue::number).collect()
    }

    #[test]
    fn counts_of_new_things_are_summed_up_by_calendar_week() {
        let rows = daily("sign_ups", 90);
        let prepared = prepare(Chart::Bar, &rows);
        assert_eq!(prepared.chart, Chart::Bar);
        assert!(prepared.note.as_ref().is_some_and(|note| note.starts_with("Summed by week")), "{:?}", prepared.note);
        assert_eq!(prepared.rows.columns[0].values[0].format(false), "2026-09-07");
        assert_eq!(prepared.rows.len(), 13);
        let sums = integers(&prepared.rows, 1);
        assert_eq!((sums[0], sums[12]), ((5..12).sum::<i32>().into(), 89.0));
    }

    #[test]
    fn distinct_counts_and_shares_are_never_summed_up_but_drawn_as_a_line() {
        for name in ["active_users", "daily_active_users", "new_active_users", "dau", "users", "total"] {
            let rows = daily(name, 90);
            let prepared = prepare(Chart::Stacked, &rows);
            assert_eq!(
                (prepared.chart, prepared.note.as_ref(), prepared.rows.len()),
                (Chart::Line, None, 90),
                "{name}"
            );
        }
    }

    #[test]
    fn few_bars_and_other_charts_stay_daily() {
        for (chart, count) in [(Chart::Bar, 45), (Chart::Line, 90), (Chart::Table, 90)] {
            let rows = daily("sign_ups", count);
            let prepared = prepare(chart, &rows);
            assert_eq!((prepared.chart, prepared.rows.len()), (chart, usize::try_from(count).expect("small")));
        }
    }

    #[test]
    fn a_running_total_proves_that_a_column_can_be_summed_up_and_keeps_its_last_value() {
        let mut rows = daily("invited", 90);
        let mut sum = 1000;
        let totals = (0..90).map(|day| {
            sum += day;
            ResultValue::Integer(sum)
        });
        rows.columns.push(ResultColumn::new("so_far", Kind::Integer, totals.collect()));
        let complete = (0..90).map(|day| ResultValue::Boolean(day != 89)).collect();
        rows.columns.push(ResultColumn::new("complete", Kind::Boolean, complete));
        let prepared = prepare(Chart::Stacked, &rows);
        assert_eq!(prepared.chart, Chart::Stacked);
        let note = prepared.note.unwrap_or_default();
        assert!(note.contains("Running totals are shown as of the end of each week."), "{note}");
        assert_eq!(integers(&prepared.rows, 1).last(), Some(&89.0));
        assert_eq!(integers(&prepared.rows, 2).last(), Some(&f64::from(1000 + (0..90).sum::<i32>())));
        let complete = &prepared.rows.columns[3].values;
        assert_eq!((&complete[11], &complete[12]), (&ResultValue::Boolean(true), &ResultValue::Boolean(false)));
        // One wrong step, and the column is a number like any other.
        rows.columns[2].values[40] = ResultValue::Integer(0);
        assert_eq!(prepare(Chart::Stacked, &rows).chart, Chart::Line);
    }

    #[test]
    fn each_name_has_its_own_weeks() {
        let (one, mut both) = (daily("sign_ups", 60), daily("sign_ups", 60));
        for (column, more) in both.columns.iter_mut().zip(&one.columns) {
            column.values.extend(more.values.iter().cloned());
        }
        let names =
            (0..120).map(|row| ResultValue::Text(if row < 60 { "google" } else { "apple" }.to_owned())).collect();
        both.columns.insert(1, ResultColumn::new("provider", Kind::Text, names));
        let prepared = prepare(Chart::Stacked, &both);
        assert_eq!(prepared.rows.len(), 2 * prepare(Chart::Bar, &one).rows.len());
        assert_eq!(prepared.rows.columns[1].values[0].format(false), "Google");
        assert_eq!(integers(&prepared.rows, 2)[..2], [56.0, 56.0]);
    }
}
