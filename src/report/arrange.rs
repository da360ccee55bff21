//! From rows to panels: which column runs along the axis, which are series, and what belongs together.
//!
//! Rows come wide (the first column along the axis, every further number a series) or long (a text column names
//! the series, and each number has a panel). Of wide rows, shares and numbers of another scale get a panel of their
//! own.

use std::collections::HashMap;

use super::figure::{Column, Figure, Kind, Rows, Value};
use super::panel::{Along, Panel, Series};
use super::words::label;
use crate::query::Chart;

/// How many numbers of long rows have a panel.
const MOST_VALUES: usize = 3;

/// The columns that are drawn below zero where parts are stacked: what goes away.
const LOSSES: [&str; 5] = ["churned", "lost", "left", "deleted", "removed"];

/// The column that says whether a row's numbers are final; where it says no, they are lower bounds.
const COMPLETE: &str = "complete";

/// The column that says how large the first number of a row may be at most; `NAME_at_most` says it for `NAME`.
const AT_MOST: &str = "at_most";

/// The panels that a figure's rows make; none where there is nothing to draw.
pub(super) fn panels(chart: Chart, rows: &Rows) -> Vec<Panel> {
    let Some(first) = rows.columns.first() else { return Vec::new() };
    let (numbers, order) = (number_columns(rows), order(first, rows.len()));
    if numbers.is_empty() || order.is_empty() {
        return Vec::new();
    }
    match rows.columns.iter().skip(1).find(|column| column.kind == Kind::Text) {
        Some(names) => long(chart, rows, names, &order),
        None => wide(chart, rows, &order),
    }
}

/// Wide rows: every number is a series.
fn wide(chart: Chart, rows: &Rows, order: &[usize]) -> Vec<Panel> {
    let (numbers, complete) = (number_columns(rows), complete(rows));
    let mut series: Vec<Series> = numbers.iter().map(|column| Series::of(column, order, complete)).collect();
    for (at, (series, column)) in series.iter_mut().zip(&numbers).enumerate() {
        let own = rows.column(&format!("{}_{AT_MOST}", column.name));
        let bound = own.or_else(|| rows.column(AT_MOST).filter(|_| at == 0));
        if let Some(bound) = bound.filter(|bound| bound.is_numeric()) {
            series.at_most = order.iter().map(|row| bound.number(*row)).collect();
        }
    }
    let shares: Vec<bool> = numbers.iter().map(|column| column.is_share()).collect();
    let along = Along::of(rows.columns.first().unwrap_or(numbers[0]), order);
    let mut panel = Panel::new(along, series, false).limited(chart);
    let mut shares = shares.into_iter();
    let (share_series, others) = panel.series.drain(..).partition(|_| shares.next() == Some(true));
    panel.series = others;
    if chart == Chart::Stacked {
        take_total_out(&mut panel);
        turn_losses(&mut panel);
    }
    by_scale(panel, share_series, chart == Chart::Stacked)
}

/// Long rows: the names of a column are the series, the largest first. Each number makes a panel of its own, in which
/// the numbers of one place and name are added up.
fn long(chart: Chart, rows: &Rows, names: &Column, order: &[usize]) -> Vec<Panel> {
    let (numbers, complete) = (number_columns(rows), complete(rows));
    let first = rows.columns.first().unwrap_or(names);
    let (firsts, places) = distinct(order, |row| key(first, row));
    let name = |row: usize| match names.values.get(row) {
        None | Some(Value::Nothing) => "(none)".to_owned(),
        Some(name) => name.shown(false),
    };
    let (known, whose) = distinct(order, name);
    let mut ranks: Vec<usize> = Vec::new();
    let mut panels = Vec::new();
    for value in numbers.into_iter().take(MOST_VALUES) {
        let mut series: Vec<Series> = known.iter().map(|row| Series::named(name(*row), firsts.len())).collect();
        for ((row, place), whose) in order.iter().zip(&places).zip(&whose) {
            let Some(number) = value.number(*row) else { continue };
            series[*whose].add(
                *place,
                number,
                complete.is_some_and(|it| it.values.get(*row) == Some(&Value::Flag(false))),
            );
        }
        let mut panel = Panel::new(Along::of(first, &firsts), series, value.is_share());
        // The order is that of the first number, so that a series has one colour in all panels.
        if ranks.is_empty() {
            ranks = panel.ranks();
        }
        panel.series = ranks.iter().map(|at| panel.series[*at].clone()).collect();
        let mut panel = panel.limited(chart);
        if chart == Chart::Stacked {
            turn_losses(&mut panel);
        }
        panel.fewer(&(0..ranks.len()).collect::<Vec<_>>());
        panel.colour_from(0);
        panel.caption = Some(label(&value.name));
        panels.push(panel);
    }
    if let [only] = panels.as_mut_slice() {
        only.caption = None;
    }
    panels
}

/// The panels of a line over several lakes with one number each: one line for each lake.
pub(super) fn compared(figure: &Figure) -> Option<Vec<Panel>> {
    if !figure.is_compared() || !matches!(figure.query.chart, Chart::Line) {
        return None;
    }
    let parts: Vec<_> = figure.parts.iter().filter_map(|part| part.rows.as_ref().ok()).collect();
    let is_one_line = |rows: &&Rows| {
        let first = rows.columns.first().is_some_and(Column::is_ordered);
        let names = rows.columns.iter().any(|column| column.kind == Kind::Text);
        first && !names && number_columns(rows).len() == 1
    };
    if !parts.iter().all(is_one_line) {
        return None;
    }
    let rows = figure.rows();
    let place = |name: &str| rows.columns.iter().position(|column| column.name == name);
    let value = number_columns(parts.first()?).first().map(|column| column.name.clone())?;
    let wanted = [Some(1), Some(0), place(&value), place(COMPLETE)];
    let columns = wanted.into_iter().flatten().filter_map(|at| rows.columns.get(at).cloned()).collect();
    Some(panels(figure.query.chart, &Rows { columns }))
}

/// The columns that are series: numbers, but the first column and those that say more of another.
fn number_columns(rows: &Rows) -> Vec<&Column> {
    let is_bound = |column: &Column| column.name == AT_MOST || column.name.ends_with("_at_most");
    rows.columns.iter().skip(1).filter(|column| column.is_numeric() && !is_bound(column)).collect()
}

/// The column that says which rows are final.
fn complete(rows: &Rows) -> Option<&Column> {
    rows.column(COMPLETE).filter(|column| column.kind == Kind::Flag)
}

/// The rows in the order of their places; rows without a place are left out.
fn order(column: &Column, length: usize) -> Vec<usize> {
    if !column.is_ordered() {
        return (0..length).collect();
    }
    let mut placed: Vec<(usize, f64)> =
        column.values.iter().enumerate().filter_map(|(row, value)| Some((row, value.place()?))).collect();
    placed.sort_by(|left, right| left.1.total_cmp(&right.1));
    placed.into_iter().map(|(row, _)| row).collect()
}

/// The first row of each different key, in order, and for each row which of them it has.
fn distinct(order: &[usize], key: impl Fn(usize) -> String) -> (Vec<usize>, Vec<usize>) {
    let mut known: HashMap<String, usize> = HashMap::new();
    let mut firsts = Vec::new();
    let mut which = Vec::new();
    for row in order {
        which.push(*known.entry(key(*row)).or_insert_with(|| {
            firsts.push(*row);
            firsts.len() - 1
        }));
    }
    (firsts, which)
}

/// What tells places apart: exactly, not as they are shown.
fn key(column: &Column, row: usize) -> String {
    let value = column.values.get(row).unwrap_or(&Value::Nothing);
    value.place().filter(|_| column.is_ordered()).map_or_else(|| value.shown(false), |place| place.to_string())
}

fn is_loss(series: &Series) -> bool {
    LOSSES.contains(&series.name.to_lowercase().as_str())
}

/// Takes out the number that the others add up to: the height of the stack shows it.
fn take_total_out(panel: &mut Panel) {
    let parts: Vec<usize> = (0..panel.series.len()).filter(|at| !is_loss(&panel.series[*at])).collect();
    let total = parts.iter().rev().find(|at| is_total(panel, **at, &parts)).copied();
    if let Some(total) = total {
        panel.total = Some(panel.series.remove(total).name);
    }
}

/// Whether this series is at every place the sum of the others among `parts`.
fn is_total(panel: &Panel, at: usize, parts: &[usize]) -> bool {
    let number = |series: usize, place: usize| panel.series[series].values[place].unwrap_or(0.0);
    let others = || parts.iter().filter(move |other| **other != at);
    let most = panel.series[at].most();
    most > 0.0
        && others().count() > 1
        && (0..panel.along.len()).all(|place| {
            let sum: f64 = others().map(|other| number(*other, place)).sum();
            (sum - number(at, place)).abs() <= most * 1e-9
        })
}

/// Turns what goes away below zero.
fn turn_losses(panel: &mut Panel) {
    for series in panel.series.iter_mut().filter(|series| is_loss(series)) {
        for value in series.values.iter_mut().flatten() {
            *value = -value.abs();
        }
    }
}

/// Parts the series of wide rows into panels of one scale, in the order of their first series; the shares last.
fn by_scale(mut panel: Panel, shares: Vec<Series>, is_stack: bool) -> Vec<Panel> {
    let ranks = panel.ranks();
    panel.fewer(&ranks);
    let mut panels: Vec<Panel> = Vec::new();
    for series in panel.series.drain(..) {
        match panels.iter_mut().find(|panel| is_stack || panel.has_scale_of(&series)) {
            Some(panel) => panel.series.push(series),
            None => panels.push(Panel::new(panel.along.clone(), vec![series], false)),
        }
    }
    if !shares.is_empty() {
        let mut shares = Panel::new(panel.along.clone(), shares, true);
        let ranks = shares.ranks();
        shares.fewer(&ranks);
        panels.push(shares);
    }
    let mut colour = 0;
    for own in &mut panels {
        colour = own.colour_from(colour);
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
    use super::{compared, panels};
    use crate::query::{Chart, Query};
    use crate::report::figure::{Column, Figure, Kind, Part, Rows, Value};
    use crate::report::panel::Panel;
    use crate::report::words::day;

    fn days(count: i64) -> Column {
        Column::new("date", Kind::Day, (0..count).map(|at| Value::Day(day(20_000 + at))).collect())
    }

    fn whole(name: &str, values: &[i64]) -> Column {
        Column::new(name, Kind::Whole, values.iter().map(|value| Value::Whole(*value)).collect())
    }

    fn text(name: &str, values: &[&str]) -> Column {
        Column::new(name, Kind::Text, values.iter().map(|value| Value::Text((*value).to_owned())).collect())
    }

    /// The panels' series, with the sums of their values.
    fn told(panels: &[Panel]) -> Vec<Vec<String>> {
        let series = |panel: &Panel| {
            let series = panel.series.iter();
            series.map(|series| format!("{} {}", series.name, series.values.iter().flatten().sum::<f64>())).collect()
        };
        panels.iter().map(series).collect()
    }

    #[test]
    fn numbers_of_another_scale_and_shares_have_panels_of_their_own() {
        let share = Column::new("stickiness", Kind::Number, vec![Value::Number(0.5), Value::Number(0.25)]);
        let columns = vec![days(2), whole("dau", &[1, 2]), share, whole("wau", &[9, 9]), whole("total", &[900, 901])];
        let panels = panels(Chart::Line, &Rows { columns });
        assert_eq!(told(&panels), [vec!["DAU 3", "WAU 18"], vec!["Total 1801"], vec!["Stickiness 0.75"]]);
        assert_eq!(panels.iter().map(|panel| panel.share).collect::<Vec<_>>(), [false, false, true]);
        assert_eq!(panels.iter().flat_map(|panel| &panel.series).map(|it| it.colour).collect::<Vec<_>>(), [0, 1, 2, 3]);
    }

    #[test]
    fn a_stack_leaves_its_total_out_and_turns_losses_below_zero() {
        let columns = vec![
            days(2),
            whole("new", &[1, 2]),
            whole("retained", &[5, 5]),
            whole("churned", &[3, 0]),
            whole("active", &[6, 7]),
        ];
        let panels = panels(Chart::Stacked, &Rows { columns });
        assert_eq!(told(&panels), [["New 3", "Retained 10", "Churned -3"]]);
        assert_eq!(panels[0].total.as_deref(), Some("Active"));
    }

    #[test]
    fn lower_bounds_and_what_numbers_can_be_at_most_belong_to_their_places() {
        let complete = Column::new("complete", Kind::Flag, [true, false].map(Value::Flag).to_vec());
        let columns = vec![days(2), whole("dau", &[4, 3]), complete, whole("at_most", &[4, 8])];
        let series = &panels(Chart::Line, &Rows { columns })[0].series;
        assert_eq!(series.len(), 1);
        assert_eq!((&series[0].lower, &series[0].at_most), (&vec![false, true], &vec![Some(4.0), Some(8.0)]));
    }

    #[test]
    fn long_rows_have_a_series_for_each_name_and_a_panel_for_each_number() {
        let date = Column::new("date", Kind::Day, [1, 0, 0, 1].map(|at| Value::Day(day(20_000 + at))).to_vec());
        let columns = vec![
            date,
            text("provider", &["a", "a", "b", "b"]),
            whole("sign_ups", &[1, 2, 3, 4]),
            whole("total", &[900, 20, 3, 7]),
        ];
        let panels = panels(Chart::Stacked, &Rows { columns });
        assert_eq!(told(&panels), [["b 7", "a 3"], ["b 10", "a 920"]]);
        assert_eq!(panels[0].series[0].values, [Some(3.0), Some(4.0)]);
        assert_eq!(panels[0].along.shown, ["2024-10-04", "2024-10-05"]);
        assert_eq!(
            panels.iter().map(|panel| panel.caption.as_deref()).collect::<Vec<_>>(),
            [Some("Sign ups"), Some("Total")]
        );
    }

    #[test]
    fn of_many_series_the_smallest_become_one() {
        let names: Vec<String> = (0..12).map(|at| format!("s{at}")).collect();
        let numbers: Vec<i64> = (0..12).map(|at| 100 - at).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let date = Column::new("date", Kind::Day, vec![Value::Day(day(0)); 12]);
        let panels = panels(Chart::Bar, &Rows { columns: vec![date, text("name", &names), whole("n", &numbers)] });
        assert_eq!(told(&panels)[0].last().map(String::as_str), Some("other 455"));
        assert_eq!((panels[0].series.len(), panels[0].notes.len()), (8, 1));
    }

    #[test]
    fn too_many_places_are_cut_to_the_newest_and_names_to_the_first() {
        let numbers: Vec<i64> = (0..2000).collect();
        let line = panels(Chart::Line, &Rows { columns: vec![days(2000), whole("n", &numbers)] });
        assert_eq!((line[0].along.len(), line[0].series[0].values[0]), (1500, Some(500.0)));
        assert_eq!(line[0].extent().as_deref(), Some("The newest 1500 of 2000 are drawn."));
        let names: Vec<String> = (0..30).map(|at| at.to_string()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let bars = panels(Chart::Bar, &Rows { columns: vec![text("plan", &names), whole("n", &numbers[..30])] });
        assert_eq!((bars[0].along.len(), bars[0].along.shown[19].as_str()), (20, "19"));
    }

    #[test]
    fn rows_without_a_place_or_a_number_are_not_drawn() {
        assert!(panels(Chart::Line, &Rows { columns: vec![days(1)] }).is_empty());
        assert!(panels(Chart::Line, &Rows { columns: vec![days(0), whole("n", &[])] }).is_empty());
        let date = Column::new("date", Kind::Day, vec![Value::Nothing, Value::Day(day(1))]);
        assert_eq!(told(&panels(Chart::Line, &Rows { columns: vec![date, whole("n", &[1, 2])] })), [["N 2"]]);
    }

    #[test]
    fn over_several_lakes_a_line_of_one_number_has_a_line_for_each() {
        let part =
            |instance: &str, columns: Vec<Column>| Part { instance: instance.to_owned(), rows: Ok(Rows { columns }) };
        let query = Query { chart: Chart::Line, ..Query::default() };
        let one = |instance: &str, number: i64| part(instance, vec![days(2), whole("users", &[number, number])]);
        let figure = Figure { query: query.clone(), parts: vec![one("ins_a", 5), one("ins_b", 7)] };
        assert_eq!(told(&compared(&figure).expect("one panel")), [["ins_b 14", "ins_a 10"]]);
        let two = vec![part("ins_a", vec![days(1), whole("dau", &[1]), whole("wau", &[2])]), one("ins_b", 7)];
        assert_eq!(compared(&Figure { query, parts: two }), None);
    }
}
