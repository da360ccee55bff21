//! Heat maps: rows that name a line, a column and a number become a grid, for example cohorts by week.

use std::collections::HashMap;

use chrono::NaiveDate;

use super::format::{MISSING, compact, floor};
use super::labels;
use super::metric::{Kind, ResultColumn, ResultRows, ResultValue};
use super::period::{date, in_progress};

/// Maximum number of lines and columns.
const MAX: usize = 53;

/// Number of shades.
pub(super) const LEVELS: usize = 7;

/// A grid of numbers.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Heat {
    /// Labels of the lines, the columns and the numbers.
    pub names: [String; 3],
    /// Labels of further columns that describe the lines.
    pub details: Vec<String>,
    /// Labels of the columns.
    pub columns: Vec<String>,
    /// The lines.
    pub lines: Vec<GridLine>,
    /// Whether the numbers are shares, which are formatted as percentages.
    pub share: bool,
    /// Largest number.
    pub max: f64,
    /// Sentences for the reader.
    pub notes: Vec<String>,
}

/// One line of a grid.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct GridLine {
    /// Label of the line.
    pub label: String,
    /// Whether the day, week or month of the line is in progress.
    pub in_progress: bool,
    /// Further values that describe the line.
    pub details: Vec<String>,
    /// One number per column, and whether it is a lower bound.
    pub cells: Vec<Option<(f64, bool)>>,
}

impl Heat {
    /// Returns the shade of a number, from 1 to [`LEVELS`]. The scale is the square root, because most shares are small.
    pub(super) fn level(&self, value: f64) -> usize {
        let share = if self.max > 0.0 { (value.max(0.0) / self.max).sqrt() } else { 0.0 };
        let levels = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        1 + levels.iter().filter(|level| share * 7.0 >= **level).count()
    }

    /// Creates a grid: the first column names the lines, the second names the columns, the last number fills the cells.
    /// `None` if the rows do not have these columns. `today` is the UTC day of the report.
    pub(super) fn of(rows: &ResultRows, today: NaiveDate) -> Option<Self> {
        let (first, second) = (rows.columns.first()?, rows.columns.get(1)?);
        let value = rows.columns.iter().skip(2).rev().find(|column| column.is_numeric())?;
        let complete = rows.column("complete").filter(|column| column.kind == Kind::Boolean);
        let (lines, columns) = (Distinct::of(first), Distinct::of(second));
        let details = details(rows, &lines, value);
        let running = in_progress(first, today);
        let mut grid: Vec<GridLine> =
            lines.named(first).into_iter().map(|label| GridLine::new(label, columns.len())).collect();
        for row in 0..rows.len() {
            let (Some(line), Some(column)) = (lines.of_row(row), columns.of_row(row)) else { continue };
            let lower = complete.is_some_and(|complete| complete.values.get(row) == Some(&ResultValue::Boolean(false)));
            grid[line].cells[column] = value.number(row).map(|number| (number, lower));
        }
        for (line, own) in grid.iter_mut().enumerate() {
            let date = first.values.get(lines.firsts[line]).and_then(date);
            own.in_progress = running.as_ref().zip(date).is_some_and(|(running, date)| running.contains(&date));
            own.details = details.iter().map(|(_, shown)| shown[line].clone()).collect();
        }
        let heat = Self {
            names: [labels::column(&first.name), labels::column(&second.name), labels::column(&value.name)],
            details: details.into_iter().map(|(name, _)| name).collect(),
            columns: columns.named(second),
            lines: grid,
            share: value.is_share(),
            max: 0.0,
            notes: Vec::new(),
        };
        Some(heat.limited(first.is_ordered())).filter(|heat| !heat.lines.is_empty() && !heat.columns.is_empty())
    }

    /// Removes the last columns if they have no numbers, and limits the number of lines and columns.
    fn limited(mut self, is_ordered: bool) -> Self {
        let used = self.lines.iter().filter_map(|line| line.cells.iter().rposition(Option::is_some)).max();
        self.keep_columns(used.map_or(0, |last| last + 1));
        let (lines, columns) = (self.lines.len(), self.columns.len());
        if lines > MAX {
            if is_ordered {
                self.lines.drain(..lines - MAX);
            }
            self.lines.truncate(MAX);
            let which = if is_ordered { "newest" } else { "first" };
            self.notes.push(format!("Shows the {which} {MAX} of {lines} rows."));
        }
        if columns > MAX {
            self.keep_columns(MAX);
            self.notes.push(format!("Shows the first {MAX} of {columns} columns."));
        }
        let cells = self.lines.iter().flat_map(|line| line.cells.iter().flatten());
        self.max = cells.map(|(value, _)| *value).fold(0.0, f64::max);
        self
    }

    fn keep_columns(&mut self, count: usize) {
        self.columns.truncate(count);
        self.lines.iter_mut().for_each(|line| line.cells.truncate(count));
    }

    /// Whether any number is a lower bound.
    pub(super) fn has_lower_bounds(&self) -> bool {
        self.lines.iter().any(|line| line.cells.iter().flatten().any(|(_, lower)| *lower))
    }
}

impl GridLine {
    fn new(label: String, columns: usize) -> Self {
        Self { label, in_progress: false, details: Vec::new(), cells: vec![None; columns] }
    }
}

/// The distinct values of a column.
struct Distinct {
    /// The first row of each value.
    firsts: Vec<usize>,
    /// The index of the value of each row.
    of_rows: Vec<usize>,
}

impl Distinct {
    fn of(column: &ResultColumn) -> Self {
        let mut order: Vec<usize> = (0..column.values.len()).collect();
        if column.is_ordered() {
            let position = |row: usize| column.values[row].position().unwrap_or(f64::NEG_INFINITY);
            order.sort_by(|left, right| position(*left).total_cmp(&position(*right)));
        }
        let mut known: HashMap<String, usize> = HashMap::new();
        let mut firsts = Vec::new();
        let mut of_rows = vec![0; order.len()];
        for row in order {
            of_rows[row] = *known.entry(column.display(row, false)).or_insert_with(|| {
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

    fn named(&self, column: &ResultColumn) -> Vec<String> {
        self.firsts.iter().map(|row| column.name_of(*row)).collect()
    }
}

/// Returns the columns that have one value per line, such as the size of a cohort, with these values.
fn details(rows: &ResultRows, lines: &Distinct, value: &ResultColumn) -> Vec<(String, Vec<String>)> {
    let between = rows.columns.iter().skip(2).filter(|column| column.is_numeric() && column.name != value.name);
    let values = |column: &ResultColumn| {
        let share = column.is_share();
        let mut shown: Vec<Option<String>> = vec![None; lines.len()];
        for row in 0..rows.len() {
            let own = column.display(row, share);
            let line = &mut shown[lines.of_row(row)?];
            if line.as_ref().is_some_and(|before| *before != own) {
                return None;
            }
            *line = Some(own);
        }
        let shown = shown.into_iter().map(|own| own.unwrap_or_else(|| MISSING.to_owned())).collect();
        Some((labels::column(&column.name), shown))
    };
    let is_grid = rows.len() > lines.len();
    between.filter(|_| is_grid).filter_map(values).collect()
}

/// Formats the number of a cell. Shares are percentages without a sign, which the legend explains.
pub(super) fn cell(value: f64, share: bool) -> String {
    let value = if share { value * 100.0 } else { value };
    if share || value.abs() < 10_000.0 { floor(value + 0.5).to_string() } else { compact(value) }
}

#[cfg(test)]
mod tests {
    use super::Heat;
    use crate::report::metric::{Kind, ResultColumn, ResultRows, ResultValue};

    /// Two cohorts. The second has not reached week 1.
    fn retention() -> ResultRows {
        let whole = |name: &str, values: &[i64]| {
            ResultColumn::new(name, Kind::Integer, values.iter().map(|value| ResultValue::Integer(*value)).collect())
        };
        let cohorts =
            ["2026-11-16", "2026-11-09", "2026-11-09"].map(|day| ResultValue::Date(day.parse().expect("a day")));
        let shares = [1.0, 1.0, 0.25].map(ResultValue::Float).to_vec();
        ResultRows {
            columns: vec![
                ResultColumn::new("cohort", Kind::Date, cohorts.to_vec()),
                whole("week", &[0, 0, 1]),
                whole("cohort_users", &[10, 8, 8]),
                whole("active_users", &[10, 8, 2]),
                ResultColumn::new("retention", Kind::Float, shares),
            ],
        }
    }

    #[test]
    fn rows_become_a_sorted_grid_with_details_of_each_line() {
        let heat = Heat::of(&retention(), "2026-11-19".parse().expect("a date")).expect("a grid");
        assert_eq!(heat.names, ["Cohort", "Week", "Retention"]);
        assert_eq!(
            (heat.details, heat.columns),
            (vec!["Cohort users".to_owned()], vec!["0".to_owned(), "1".to_owned()])
        );
        assert_eq!((heat.lines[0].label.as_str(), heat.lines[0].details[0].as_str()), ("2026-11-09", "8"));
        assert_eq!(heat.lines[0].cells, [Some((1.0, false)), Some((0.25, false))]);
        assert_eq!(heat.lines[1].cells, [Some((1.0, false)), None]);
        assert!(heat.share);
        assert_eq!(heat.lines.iter().map(|line| line.in_progress).collect::<Vec<_>>(), [false, true]);
    }

    #[test]
    fn columns_after_the_last_number_are_removed() {
        let mut rows = retention();
        rows.columns[4].values[2] = ResultValue::Null;
        let heat = Heat::of(&rows, "2026-11-19".parse().expect("a date")).expect("a grid");
        assert_eq!(heat.columns, ["0"]);
        assert!(heat.lines.iter().all(|line| line.cells.len() == 1));
    }

    #[test]
    fn larger_numbers_have_stronger_shades() {
        let heat = Heat::of(&retention(), "2026-11-19".parse().expect("a date")).expect("a grid");
        assert_eq!([heat.level(0.0), heat.level(0.25), heat.level(1.0)], [1, 4, 7]);
    }
}
