//! Rows as a text table.

mod cells;
mod expanded;
mod fit;
mod plan;
mod window;

use std::io::Write;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use clerk_lake::Result;
use clerk_lake::harmless::harmless;
use unicode_width::UnicodeWidthStr;

use super::layout::{Shown, TableLayout};
use super::{Encoder, Out};
use crate::cli::terminal::check_write;
use cells::CellText;
pub use expanded::ExpandedTable;
use fit::{ColumnNeed, FittedColumn, fit};
pub use plan::PlanText;
use window::RowWindow;

/// The number of rows that are buffered to find the column widths. Later rows are printed at once, so the memory for a
/// long result is bounded.
const BUFFERED_ROWS: usize = 10_000;

/// After this time, the first rows of a result that is longer than the table are printed without waiting for its end.
const MAX_WAIT: Duration = Duration::from_millis(500);

/// The room that a column of numbers gets for wider numbers at the end, if its first rows are printed before the end is
/// known.
const SPARE_DIGITS: usize = 2;

/// Returns how many of the first and of the last rows are shown if at most `max_rows` are shown in all.
fn limits(max_rows: usize) -> (usize, usize) {
    match max_rows {
        0 => (usize::MAX, 0),
        1..=BUFFERED_ROWS => (max_rows.div_ceil(2), max_rows / 2),
        _ => (max_rows, 0),
    }
}

/// A text table. The widths of its columns are those of the rows that are shown, or of the first 10,000 of them. If a
/// query takes long, they are those of the rows that are known when the first ones are printed.
pub struct TextTable<'a> {
    out: Out<'a>,
    schema: SchemaRef,
    layout: TableLayout,
    window: RowWindow,
    /// The columns that are shown; `None` while all rows are buffered.
    columns: Option<Vec<FittedColumn>>,
    /// When the first rows are printed even if the result has not ended.
    wait_until: Instant,
}

impl<'a> TextTable<'a> {
    pub fn new(schema: &SchemaRef, layout: TableLayout, out: Out<'a>) -> Self {
        let (head, tail) = limits(layout.max_rows);
        let window = RowWindow::new(head, tail);
        let wait_until = Instant::now() + MAX_WAIT;
        Self { out, schema: SchemaRef::clone(schema), layout, window, columns: None, wait_until }
    }

    fn names(&self) -> Vec<String> {
        self.schema.fields().iter().map(|field| harmless(field.name()).into_owned()).collect()
    }

    /// Chooses the columns for `rows`, with `spare` more digits for numbers, and prints the lines above them.
    fn begin(&mut self, rows: &[Vec<CellText>], spare: usize) -> Result<Vec<FittedColumn>> {
        let names = self.names();
        let null = "NULL".len();
        let widest = |index: usize| rows.iter().map(|row| row[index].as_ref().map_or(null, |it| it.width())).max();
        let need = |(index, name): (usize, &String)| {
            let data_type = self.schema.field(index).data_type();
            let spare = if cells::is_number(data_type) { spare } else { 0 };
            ColumnNeed {
                name: name.width(),
                cells: widest(index).unwrap_or(0) + spare,
                is_cuttable: cells::is_cuttable(data_type),
            }
        };
        let needs: Vec<_> = names.iter().enumerate().map(need).collect();
        let columns = fit(&needs, self.layout.width);
        let border = border(&columns);
        check_write(writeln!(self.out, "{border}"))?;
        let names: Vec<CellText> = names.into_iter().map(Some).collect();
        self.print(&columns, &names)?;
        check_write(writeln!(self.out, "{border}"))?;
        Ok(columns)
    }

    /// Prints a row.
    fn print(&mut self, columns: &[FittedColumn], row: &[CellText]) -> Result<()> {
        let mut line = String::from("|");
        for column in columns {
            let Some(index) = column.index else {
                line.push_str(" … |");
                continue;
            };
            let is_right = cells::is_number(self.schema.field(index).data_type());
            let cell = match &row[index] {
                None => cells::padded("NULL", self.layout.null(), column.width, is_right),
                Some(text) if self.layout.width.is_none() || is_right => {
                    cells::padded(text, text, column.width, is_right)
                }
                Some(text) => {
                    let text = cells::cut(text, column.width);
                    cells::padded(&text, &text, column.width, is_right)
                }
            };
            line.extend([" ", &cell, " |"]);
        }
        check_write(writeln!(self.out, "{line}"))
    }

    fn print_all(&mut self, columns: &[FittedColumn], rows: &[Vec<CellText>]) -> Result<()> {
        rows.iter().try_for_each(|row| self.print(columns, row))
    }

    /// Prints the rows so far of the first ones that are shown. Later ones are printed as they come, and the last ones at
    /// the end.
    fn print_head(&mut self) -> Result<()> {
        let (head, tail) = (all_rows(self.window.take_head().iter())?, all_rows(self.window.tail())?);
        // With so many rows, wider numbers are rare.
        let spare = if head.len() > BUFFERED_ROWS { 0 } else { SPARE_DIGITS };
        let columns = self.begin(&[head.as_slice(), tail.as_slice()].concat(), spare)?;
        self.print_all(&columns, &head)?;
        self.columns = Some(columns);
        check_write(self.out.flush())
    }

    /// Returns whether the first rows are to be printed before the end of the result.
    fn is_head_due(&self) -> bool {
        let is_longer = self.window.total() > self.window.kept();
        self.window.head_rows() > BUFFERED_ROWS || (is_longer && Instant::now() >= self.wait_until)
    }

    /// Prints the last rows, after a mark for those that are left out.
    fn print_tail(&mut self, columns: &[FittedColumn]) -> Result<()> {
        if self.window.kept() < self.window.total() {
            let left_out = vec![Some("…".to_owned()); self.schema.fields().len()];
            self.print(columns, &left_out)?;
        }
        let tail = all_rows(self.window.tail())?;
        self.print_all(columns, &tail)
    }

    /// Prints the buffered rows as a whole table.
    fn print_buffered(&mut self) -> Result<Vec<FittedColumn>> {
        let (head, tail) = (all_rows(self.window.head().iter())?, all_rows(self.window.tail())?);
        let columns = self.begin(&[head.as_slice(), tail.as_slice()].concat(), 0)?;
        self.print_all(&columns, &head)?;
        self.print_tail(&columns)?;
        Ok(columns)
    }
}

fn all_rows<'b>(batches: impl Iterator<Item = &'b RecordBatch>) -> Result<Vec<Vec<CellText>>> {
    let mut rows = Vec::new();
    for batch in batches {
        rows.append(&mut cells::rows(batch)?);
    }
    Ok(rows)
}

fn border(columns: &[FittedColumn]) -> String {
    let lines = columns.iter().map(|column| format!("{}+", "-".repeat(column.width + 2)));
    std::iter::once("+".to_owned()).chain(lines).collect()
}

impl Encoder for TextTable<'_> {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let Some(columns) = self.columns.take() else {
            self.window.push(batch);
            return if self.is_head_due() { self.print_head() } else { Ok(()) };
        };
        let before = self.window.head_rows();
        self.window.push(batch);
        let rows = all_rows(self.window.take_head().iter())?;
        debug_assert!(rows.len() == self.window.head_rows() - before);
        let printed = self.print_all(&columns, &rows);
        self.columns = Some(columns);
        printed
    }

    fn has_written(&self) -> bool {
        self.columns.is_some()
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        let columns = match self.columns.take() {
            Some(columns) => {
                self.print_tail(&columns)?;
                columns
            }
            None => self.print_buffered()?,
        };
        let rows = Shown { total: self.window.total(), shown: self.window.kept() };
        let shown = columns.iter().filter(|column| column.index.is_some()).count();
        let all = Shown { total: self.schema.fields().len() as u64, shown: shown as u64 };
        let (border, footer) = (border(&columns), self.layout.footer(rows, all));
        check_write(writeln!(self.out, "{border}\n{footer}").and_then(|()| self.out.flush()))
    }
}

#[cfg(test)]
mod tests;
