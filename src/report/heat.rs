//! Rows that name a line, a column and a number, as a grid: cohorts by week, for one.

use std::collections::HashMap;

use super::figure::{Column, Kind, Rows, Value};
use super::words::{NOTHING, floor, label};

/// How many lines and columns a grid shows.
const MOST: usize = 53;

/// How many shades there are.
pub(super) const LEVELS: usize = 7;

/// A grid of numbers.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Heat {
    /// What the lines are, what the columns are, and what the numbers are.
    pub names: [String; 3],
    /// What is told of each line beside its label.
    pub beside: Vec<String>,
    /// The columns' labels.
    pub columns: Vec<String>,
    /// The lines.
    pub lines: Vec<Line>,
    /// Whether the numbers are shares.
    pub share: bool,
    /// The largest number.
    pub most: f64,
    /// What must be said of it, in sentences.
    pub notes: Vec<String>,
}

/// A line of a grid.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Line {
    /// What it is called.
    pub label: String,
    /// What is told of it beside that.
    pub beside: Vec<String>,
    /// A number for each column, and whether it is a lower bound.
    pub cells: Vec<Option<(f64, bool)>>,
}

impl Heat {
    /// How dark a number is, from 1 to [`LEVELS`]; by the square root, since most shares are small.
    pub(super) fn level(&self, value: f64) -> usize {
        let share = if self.most > 0.0 { (value.max(0.0) / self.most).sqrt() } else { 0.0 };
        let levels = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        1 + levels.iter().filter(|level| share * 7.0 >= **level).count()
    }

    /// The grid that a figure's rows make: the first column names the lines, the second the columns, the last
    /// number fills the cells. None where the rows are not of that kind.
    pub(super) fn of(rows: &Rows) -> Option<Self> {
        let (first, second) = (rows.columns.first()?, rows.columns.get(1)?);
        let value = rows.columns.iter().skip(2).rev().find(|column| column.is_numeric())?;
        let complete = rows.column("complete").filter(|column| column.kind == Kind::Flag);
        let (lines, columns) = (Places::of(first), Places::of(second));
        let beside = beside(rows, &lines, value);
        let mut grid: Vec<Line> = lines.named(first).into_iter().map(|label| Line::new(label, columns.len())).collect();
        for row in 0..rows.len() {
            let (Some(line), Some(column)) = (lines.of_row(row), columns.of_row(row)) else { continue };
            let lower = complete.is_some_and(|complete| complete.values.get(row) == Some(&Value::Flag(false)));
            grid[line].cells[column] = value.number(row).map(|number| (number, lower));
        }
        for (line, own) in grid.iter_mut().enumerate() {
            own.beside = beside.iter().map(|(_, shown)| shown[line].clone()).collect();
        }
        let heat = Self {
            names: [label(&first.name), label(&second.name), label(&value.name)],
            beside: beside.into_iter().map(|(name, _)| name).collect(),
            columns: columns.named(second),
            lines: grid,
            share: value.is_share(),
            most: 0.0,
            notes: Vec::new(),
        };
        Some(heat.limited(first.is_ordered())).filter(|heat| !heat.lines.is_empty() && !heat.columns.is_empty())
    }

    fn limited(mut self, is_ordered: bool) -> Self {
        let (lines, columns) = (self.lines.len(), self.columns.len());
        if lines > MOST {
            if is_ordered {
                self.lines.drain(..lines - MOST);
            }
            self.lines.truncate(MOST);
            let which = if is_ordered { "newest" } else { "first" };
            self.notes.push(format!("The {which} {MOST} of {lines} lines are drawn."));
        }
        if columns > MOST {
            self.columns.truncate(MOST);
            self.lines.iter_mut().for_each(|line| line.cells.truncate(MOST));
            self.notes.push(format!("The first {MOST} of {columns} columns are drawn."));
        }
        let cells = self.lines.iter().flat_map(|line| line.cells.iter().flatten());
        self.most = cells.map(|(value, _)| *value).fold(0.0, f64::max);
        self
    }

    /// Whether any number is a lower bound.
    pub(super) fn has_lower_bounds(&self) -> bool {
        self.lines.iter().any(|line| line.cells.iter().flatten().any(|(_, lower)| *lower))
    }
}

impl Line {
    fn new(label: String, columns: usize) -> Self {
        Self { label, beside: Vec::new(), cells: vec![None; columns] }
    }
}

/// The different values of a column, and which of them each row has.
struct Places {
    /// A row for each of them.
    firsts: Vec<usize>,
    /// For each row, which it is.
    of_rows: Vec<usize>,
}

impl Places {
    fn of(column: &Column) -> Self {
        let mut order: Vec<usize> = (0..column.values.len()).collect();
        if column.is_ordered() {
            let place = |row: usize| column.values[row].place().unwrap_or(f64::NEG_INFINITY);
            order.sort_by(|left, right| place(*left).total_cmp(&place(*right)));
        }
        let mut known: HashMap<String, usize> = HashMap::new();
        let mut firsts = Vec::new();
        let mut of_rows = vec![0; order.len()];
        for row in order {
            of_rows[row] = *known.entry(column.values[row].shown(false)).or_insert_with(|| {
                firsts.push(row);
                firsts.len() - 1
            });
        }
        Self { firsts, of_rows }
    }

    fn len(&self) -> usize {
        self.firsts.len()
    }

    fn of_row(&self, row: usize) -> Option<usize> {
        self.of_rows.get(row).copied()
    }

    fn named(&self, column: &Column) -> Vec<String> {
        let shown = |row: &usize| match &column.values[*row] {
            Value::Nothing => "(none)".to_owned(),
            other => other.shown(false),
        };
        self.firsts.iter().map(shown).collect()
    }
}

/// The columns that say one thing of each line, such as a cohort's size, with what they say of it.
fn beside(rows: &Rows, lines: &Places, value: &Column) -> Vec<(String, Vec<String>)> {
    let between = rows.columns.iter().skip(2).filter(|column| column.is_numeric() && column.name != value.name);
    let told = |column: &Column| {
        let mut shown: Vec<Option<String>> = vec![None; lines.len()];
        for row in 0..rows.len() {
            let own = column.values[row].shown(column.is_share());
            let line = &mut shown[lines.of_row(row)?];
            if line.as_ref().is_some_and(|before| *before != own) {
                return None;
            }
            *line = Some(own);
        }
        let shown = shown.into_iter().map(|own| own.unwrap_or_else(|| NOTHING.to_owned())).collect();
        Some((label(&column.name), shown))
    };
    let is_grid = rows.len() > lines.len();
    between.filter(|_| is_grid).filter_map(told).collect()
}

/// A cell's number as short as a cell needs it; the unit of shares is told beside the grid.
pub(super) fn cell(value: f64, share: bool) -> String {
    let value = if share { value * 100.0 } else { value };
    if share || value.abs() < 10_000.0 { floor(value + 0.5).to_string() } else { super::words::compact(value) }
}

#[cfg(test)]
mod tests {
    use super::Heat;
    use crate::report::figure::{Column, Kind, Rows, Value};

    /// Two cohorts, of which the second has not been through week 1.
    fn retention() -> Rows {
        let whole = |name: &str, values: &[i64]| {
            Column::new(name, Kind::Whole, values.iter().map(|value| Value::Whole(*value)).collect())
        };
        let cohorts = ["2026-11-16", "2026-11-09", "2026-11-09"].map(|day| Value::Day(day.parse().expect("a day")));
        let shares = [1.0, 1.0, 0.25].map(Value::Number).to_vec();
        Rows {
            columns: vec![
                Column::new("cohort", Kind::Day, cohorts.to_vec()),
                whole("week", &[0, 0, 1]),
                whole("cohort_users", &[10, 8, 8]),
                whole("active_users", &[10, 8, 2]),
                Column::new("retention", Kind::Number, shares),
            ],
        }
    }

    #[test]
    fn long_rows_become_a_grid_in_order_with_what_belongs_to_each_line_beside_it() {
        let heat = Heat::of(&retention()).expect("a grid");
        assert_eq!(heat.names, ["Cohort", "Week", "Retention"]);
        assert_eq!(
            (heat.beside, heat.columns),
            (vec!["Cohort users".to_owned()], vec!["0".to_owned(), "1".to_owned()])
        );
        assert_eq!((heat.lines[0].label.as_str(), heat.lines[0].beside[0].as_str()), ("2026-11-09", "8"));
        assert_eq!(heat.lines[0].cells, [Some((1.0, false)), Some((0.25, false))]);
        assert_eq!(heat.lines[1].cells, [Some((1.0, false)), None]);
        assert!(heat.share);
    }

    #[test]
    fn shades_grow_with_the_numbers() {
        let heat = Heat::of(&retention()).expect("a grid");
        assert_eq!([heat.level(0.0), heat.level(0.25), heat.level(1.0)], [1, 4, 7]);
    }
}
