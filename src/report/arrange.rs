//! Arranges the rows of a metric in panels: which column is the axis, which are series, and which share a scale.
//!
//! Rows are wide or long. In wide rows, the first column is the axis, and each further number is a series. In long rows,
//! a text column names the series, and each number has its own panel. Shares and numbers on another scale also have
//! their own panels.

use std::collections::HashMap;

use chrono::NaiveDate;

use super::labels;
use super::metric::{Kind, Metric, ResultColumn, ResultRows, ResultValue};
use super::panel::{Axis, Panel, Series};
use super::weekly::prepare;
use crate::query::Chart;

/// Maximum number of numbers of long rows that have panels.
const MAX_NUMBERS: usize = 3;

/// Series that are drawn below zero in a stack.
const LOSSES: [&str; 5] = ["churned", "lost", "left", "deleted", "removed"];

/// Column that says whether the numbers of a row are final. If it is false, they are lower bounds.
const COMPLETE: &str = "complete";

/// Column with the upper bound of the first number of a row. `NAME_at_most` is the upper bound of the column `NAME`.
const AT_MOST: &str = "at_most";

/// The rows of a metric, the order of their positions, and how they are drawn.
#[derive(Clone, Copy)]
struct ChartSource<'a> {
    chart: Chart,
    rows: &'a ResultRows,
    order: &'a [usize],
    today: NaiveDate,
}

/// Returns the panels of a chart; empty if there is nothing to draw. `today` is the UTC day of the report.
pub(super) fn panels(chart: Chart, rows: &ResultRows, today: NaiveDate) -> Vec<Panel> {
    let prepared = prepare(chart, rows);
    let rows = prepared.rows.as_ref();
    let Some(first) = rows.columns.first() else { return Vec::new() };
    let order = order(first, rows.len());
    if number_columns(rows).is_empty() || order.is_empty() {
        return Vec::new();
    }
    let source = ChartSource { chart: prepared.chart, rows, order: &order, today };
    let mut panels = match rows.columns.iter().skip(1).find(|column| column.kind == Kind::Text) {
        Some(names) => long(source, names),
        None => wide(source),
    };
    if let Some(first) = panels.first_mut() {
        first.notes.splice(0..0, prepared.note);
    }
    panels
}

/// Arranges wide rows: each number is a series.
fn wide(source: ChartSource<'_>) -> Vec<Panel> {
    let ChartSource { chart, rows, order, today } = source;
    let (numbers, complete) = (number_columns(rows), complete(rows));
    let mut series: Vec<Series> = numbers.iter().map(|column| Series::of(column, order, complete)).collect();
    for (index, (series, column)) in series.iter_mut().zip(&numbers).enumerate() {
        let own = rows.column(&format!("{}_{AT_MOST}", column.name));
        let bound = own.or_else(|| rows.column(AT_MOST).filter(|_| index == 0));
        if let Some(bound) = bound.filter(|bound| bound.is_numeric()) {
            series.upper = order.iter().map(|row| bound.number(*row)).collect();
        }
    }
    let shares: Vec<bool> = numbers.iter().map(|column| column.is_share()).collect();
    let axis = Axis::of(rows.columns.first().unwrap_or(numbers[0]), order, today);
    let mut panel = Panel::new(chart, axis, series, false).limited();
    let mut shares = shares.into_iter();
    let (share_series, others) = panel.series.drain(..).partition(|_| shares.next() == Some(true));
    panel.series = others;
    if chart == Chart::Stacked {
        remove_total(&mut panel);
        negate_losses(&mut panel);
    }
    split_by_scale(panel, share_series)
}

/// Arranges long rows: the values of the column `names` are the series, the largest first. Each number has its own
/// panel. Numbers with the same position and name are added up.
fn long(source: ChartSource<'_>, names: &ResultColumn) -> Vec<Panel> {
    let ChartSource { chart, rows, order, today } = source;
    let (numbers, complete) = (number_columns(rows), complete(rows));
    let first = rows.columns.first().unwrap_or(names);
    let (positions, position_of) = distinct(order, |row| key(first, row));
    let (known, name_of) = distinct(order, |row| names.name_of(row));
    let mut ranks: Vec<usize> = Vec::new();
    let mut panels = Vec::new();
    for value in numbers.into_iter().take(MAX_NUMBERS) {
        let empty = |row: &usize| Series::named(names.name_of(*row), positions.len());
        let mut series: Vec<Series> = known.iter().map(empty).collect();
        for ((row, position), name) in order.iter().zip(&position_of).zip(&name_of) {
            let Some(number) = value.number(*row) else { continue };
            let lower = complete.is_some_and(|it| it.values.get(*row) == Some(&ResultValue::Boolean(false)));
            series[*name].add(*position, number, lower);
        }
        let mut panel = Panel::new(chart, Axis::of(first, &positions, today), series, value.is_share());
        // The first number decides the order, so that a series has the same color in all panels.
        if ranks.is_empty() {
            ranks = panel.ranks();
        }
        panel.series = ranks.iter().map(|index| panel.series[*index].clone()).collect();
        let mut panel = panel.limited();
        if chart == Chart::Stacked {
            negate_losses(&mut panel);
        }
        panel.combine_smallest(&(0..ranks.len()).collect::<Vec<_>>());
        panel.color_from(0);
        panel.caption = Some(labels::column(&value.name));
        panels.push(panel);
    }
    if let [only] = panels.as_mut_slice() {
        only.caption = None;
    }
    panels
}

/// Returns the panels of a line chart that compares lakes, with one line per lake; `None` if the metric is not a line
/// chart of one number over several lakes.
pub(super) fn compared(metric: &Metric, today: NaiveDate) -> Option<Vec<Panel>> {
    if !metric.is_compared() || !matches!(metric.query.chart, Chart::Line) {
        return None;
    }
    let parts: Vec<_> = metric.parts.iter().filter_map(|part| part.rows.as_ref().ok()).collect();
    let is_one_line = |rows: &&ResultRows| {
        let first = rows.columns.first().is_some_and(ResultColumn::is_ordered);
        let names = rows.columns.iter().any(|column| column.kind == Kind::Text);
        first && !names && number_columns(rows).len() == 1
    };
    if !parts.iter().all(is_one_line) {
        return None;
    }
    let rows = metric.rows();
    let index = |name: &str| rows.columns.iter().position(|column| column.name == name);
    let value = number_columns(parts.first()?).first().map(|column| column.name.clone())?;
    let wanted = [Some(1), Some(0), index(&value), index(COMPLETE)];
    let columns = wanted.into_iter().flatten().filter_map(|index| rows.columns.get(index).cloned()).collect();
    Some(panels(metric.query.chart, &ResultRows { columns }, today))
}

/// Returns the columns that are series: the numbers after the first column, without upper bounds.
fn number_columns(rows: &ResultRows) -> Vec<&ResultColumn> {
    let is_bound = |column: &ResultColumn| column.name == AT_MOST || column.name.ends_with("_at_most");
    rows.columns.iter().skip(1).filter(|column| column.is_numeric() && !is_bound(column)).collect()
}

/// Returns the column that says which rows are final.
fn complete(rows: &ResultRows) -> Option<&ResultColumn> {
    rows.column(COMPLETE).filter(|column| column.kind == Kind::Boolean)
}

/// Returns the rows in the order of their positions. Rows without a position are omitted.
fn order(column: &ResultColumn, length: usize) -> Vec<usize> {
    if !column.is_ordered() {
        return (0..length).collect();
    }
    let mut placed: Vec<(usize, f64)> =
        column.values.iter().enumerate().filter_map(|(row, value)| Some((row, value.position()?))).collect();
    placed.sort_by(|left, right| left.1.total_cmp(&right.1));
    placed.into_iter().map(|(row, _)| row).collect()
}

/// Returns the first row of each distinct key, in order, and for each row the index of its key.
fn distinct(order: &[usize], key: impl Fn(usize) -> String) -> (Vec<usize>, Vec<usize>) {
    let mut known: HashMap<String, usize> = HashMap::new();
    let mut firsts = Vec::new();
    let mut indexes = Vec::new();
    for row in order {
        indexes.push(*known.entry(key(*row)).or_insert_with(|| {
            firsts.push(*row);
            firsts.len() - 1
        }));
    }
    (firsts, indexes)
}

/// Returns the exact value of a position, which can differ from other values with the same label.
fn key(column: &ResultColumn, row: usize) -> String {
    let position = column.values.get(row).and_then(ResultValue::position).filter(|_| column.is_ordered());
    position.map_or_else(|| column.display(row, false), |position| position.to_string())
}

fn is_loss(series: &Series) -> bool {
    LOSSES.contains(&series.name.to_lowercase().as_str())
}

/// Removes the series that is the sum of the others: the height of the stack shows it.
fn remove_total(panel: &mut Panel) {
    let parts: Vec<usize> = (0..panel.series.len()).filter(|index| !is_loss(&panel.series[*index])).collect();
    let total = parts.iter().rev().find(|index| is_total(panel, **index, &parts)).copied();
    if let Some(total) = total {
        panel.total = Some(panel.series.remove(total).name);
    }
}

/// Whether this series is the sum of the other `parts` at each position.
fn is_total(panel: &Panel, index: usize, parts: &[usize]) -> bool {
    let number = |series: usize, at: usize| panel.series[series].values[at].unwrap_or(0.0);
    let others = || parts.iter().filter(move |other| **other != index);
    let max = panel.series[index].max();
    max > 0.0
        && others().count() > 1
        && (0..panel.axis.len()).all(|at| {
            let sum: f64 = others().map(|other| number(*other, at)).sum();
            (sum - number(index, at)).abs() <= max * 1e-9
        })
}

/// Makes losses negative, so that they are drawn below zero.
fn negate_losses(panel: &mut Panel) {
    for series in panel.series.iter_mut().filter(|series| is_loss(series)) {
        for value in series.values.iter_mut().flatten() {
            *value = -value.abs();
        }
    }
}

/// Splits the series of wide rows into panels with one scale each, in the order of their first series. The shares come
/// last.
fn split_by_scale(mut panel: Panel, shares: Vec<Series>) -> Vec<Panel> {
    let ranks = panel.ranks();
    panel.combine_smallest(&ranks);
    let is_stack = panel.is_stack();
    let mut panels: Vec<Panel> = Vec::new();
    for series in panel.series.drain(..) {
        match panels.iter_mut().find(|panel| is_stack || panel.has_scale_of(&series)) {
            Some(panel) => panel.series.push(series),
            None => panels.push(Panel::new(panel.chart, panel.axis.clone(), vec![series], false)),
        }
    }
    if !shares.is_empty() {
        let mut shares = Panel::new(panel.chart, panel.axis.clone(), shares, true);
        let ranks = shares.ranks();
        shares.combine_smallest(&ranks);
        panels.push(shares);
    }
    let mut color = 0;
    for own in &mut panels {
        color = own.color_from(color);
        own.all = panel.all;
    }
    if let Some(first) = panels.first_mut() {
        first.notes.splice(0..0, panel.notes);
        first.total = panel.total;
    }
    panels
}

#[cfg(test)]
mod tests {
    use super::{compared, panels as panels_on};
    use crate::query::{Chart, Query};
    use crate::report::format::date as day;
    use crate::report::metric::{InstanceResult, Kind, Metric, ResultColumn, ResultRows, ResultValue};
    use crate::report::panel::Panel;

    fn today() -> chrono::NaiveDate {
        day(20_001)
    }

    fn panels(chart: Chart, rows: &ResultRows) -> Vec<Panel> {
        panels_on(chart, rows, today())
    }

    fn days(count: i64) -> ResultColumn {
        ResultColumn::new("date", Kind::Date, (0..count).map(|at| ResultValue::Date(day(20_000 + at))).collect())
    }

    fn whole(name: &str, values: &[i64]) -> ResultColumn {
        ResultColumn::new(name, Kind::Integer, values.iter().map(|value| ResultValue::Integer(*value)).collect())
    }

    fn text(name: &str, values: &[&str]) -> ResultColumn {
        ResultColumn::new(name, Kind::Text, values.iter().map(|value| ResultValue::Text((*value).to_owned())).collect())
    }

    /// Returns the names of the series of each panel, with the sums of their values.
    fn sums(panels: &[Panel]) -> Vec<Vec<String>> {
        let series = |panel: &Panel| {
            let series = panel.series.iter();
            series.map(|series| format!("{} {}", series.name, series.values.iter().flatten().sum::<f64>())).collect()
        };
        panels.iter().map(series).collect()
    }

    #[test]
    fn numbers_on_another_scale_and_shares_have_their_own_panels() {
        let share =
            ResultColumn::new("stickiness", Kind::Float, vec![ResultValue::Float(0.5), ResultValue::Float(0.25)]);
        let columns = vec![days(2), whole("dau", &[1, 2]), share, whole("wau", &[9, 9]), whole("total", &[900, 901])];
        let panels = panels(Chart::Line, &ResultRows { columns });
        assert_eq!(sums(&panels), [vec!["DAU 3", "WAU 18"], vec!["Total 1801"], vec!["Stickiness 0.75"]]);
        assert_eq!(panels.iter().map(|panel| panel.share).collect::<Vec<_>>(), [false, false, true]);
        assert_eq!(panels.iter().flat_map(|panel| &panel.series).map(|it| it.color).collect::<Vec<_>>(), [0, 1, 2, 3]);
    }

    #[test]
    fn a_stack_omits_its_total_and_negates_losses() {
        let columns = vec![
            days(2),
            whole("new", &[1, 2]),
            whole("retained", &[5, 5]),
            whole("churned", &[3, 0]),
            whole("active", &[6, 7]),
        ];
        let panels = panels(Chart::Stacked, &ResultRows { columns });
        assert_eq!(sums(&panels), [["New 3", "Retained 10", "Churned -3"]]);
        assert_eq!(panels[0].total.as_deref(), Some("Active"));
    }

    #[test]
    fn lower_and_upper_bounds_keep_their_positions() {
        let complete = ResultColumn::new("complete", Kind::Boolean, [true, false].map(ResultValue::Boolean).to_vec());
        let columns = vec![days(2), whole("dau", &[4, 3]), complete, whole("at_most", &[4, 8])];
        let series = &panels(Chart::Line, &ResultRows { columns })[0].series;
        assert_eq!(series.len(), 1);
        assert_eq!((&series[0].lower, &series[0].upper), (&vec![false, true], &vec![Some(4.0), Some(8.0)]));
    }

    #[test]
    fn long_rows_have_a_series_for_each_name_and_a_panel_for_each_number() {
        let date =
            ResultColumn::new("date", Kind::Date, [1, 0, 0, 1].map(|at| ResultValue::Date(day(20_000 + at))).to_vec());
        let columns = vec![
            date,
            text("provider", &["a", "a", "b", "b"]),
            whole("sign_ups", &[1, 2, 3, 4]),
            whole("total", &[900, 20, 3, 7]),
        ];
        let panels = panels(Chart::Stacked, &ResultRows { columns });
        assert_eq!(sums(&panels), [["B 7", "A 3"], ["B 10", "A 920"]]);
        assert_eq!(panels[0].series[0].values, [Some(3.0), Some(4.0)]);
        assert_eq!(panels[0].axis.labels, ["2024-10-04", "2024-10-05"]);
        assert_eq!(panels[0].axis.in_progress, [false, true]);
        assert_eq!(
            panels.iter().map(|panel| panel.caption.as_deref()).collect::<Vec<_>>(),
            [Some("Sign-ups"), Some("Total")]
        );
    }

    #[test]
    fn the_smallest_of_many_series_are_combined() {
        let names: Vec<String> = (0..12).map(|at| format!("s{at}")).collect();
        let numbers: Vec<i64> = (0..12).map(|at| 100 - at).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let date = ResultColumn::new("date", Kind::Date, vec![ResultValue::Date(day(0)); 12]);
        let panels =
            panels(Chart::Bar, &ResultRows { columns: vec![date, text("kind", &names), whole("n", &numbers)] });
        assert_eq!(sums(&panels)[0].last().map(String::as_str), Some("Others 455"));
        assert_eq!((panels[0].series.len(), panels[0].notes.len()), (8, 1));
    }

    #[test]
    fn only_the_newest_positions_and_the_first_names_are_drawn() {
        let numbers: Vec<i64> = (0..2000).collect();
        let line = panels(Chart::Line, &ResultRows { columns: vec![days(2000), whole("n", &numbers)] });
        assert_eq!((line[0].axis.len(), line[0].series[0].values[0]), (1500, Some(500.0)));
        assert_eq!(line[0].extent().as_deref(), Some("Shows the newest 1500 of 2000."));
        let names: Vec<String> = (0..30).map(|at| at.to_string()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let bars = panels(Chart::Bar, &ResultRows { columns: vec![text("plan", &names), whole("n", &numbers[..30])] });
        assert_eq!((bars[0].axis.len(), bars[0].axis.labels[19].as_str()), (20, "19"));
    }

    #[test]
    fn rows_without_a_position_or_a_number_are_not_drawn() {
        assert!(panels(Chart::Line, &ResultRows { columns: vec![days(1)] }).is_empty());
        assert!(panels(Chart::Line, &ResultRows { columns: vec![days(0), whole("n", &[])] }).is_empty());
        let date = ResultColumn::new("date", Kind::Date, vec![ResultValue::Null, ResultValue::Date(day(1))]);
        assert_eq!(sums(&panels(Chart::Line, &ResultRows { columns: vec![date, whole("n", &[1, 2])] })), [["N 2"]]);
    }

    #[test]
    fn a_line_of_one_number_over_several_lakes_has_one_line_per_lake() {
        let part = |instance: &str, columns: Vec<ResultColumn>| InstanceResult {
            instance: instance.to_owned(),
            rows: Ok(ResultRows { columns }),
        };
        let query = Query { chart: Chart::Line, ..Query::default() };
        let one = |instance: &str, number: i64| part(instance, vec![days(2), whole("users", &[number, number])]);
        let metric = Metric { query: query.clone(), parts: vec![one("ins_a", 5), one("ins_b", 7)] };
        assert_eq!(sums(&compared(&metric, today()).expect("one panel")), [["ins_b 14", "ins_a 10"]]);
        let two = vec![part("ins_a", vec![days(1), whole("dau", &[1]), whole("wau", &[2])]), one("ins_b", 7)];
        assert_eq!(compared(&Metric { query, parts: two }, today()), None);
    }
}
