//! Rows as blocks with one line per column, for rows that are wider than a terminal.

use std::io::Write;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use clerk_lake::Result;
use clerk_lake::harmless::harmless;
use unicode_width::UnicodeWidthStr;

use super::cells::{self, CellText};
use super::window::RowWindow;
use super::{Encoder, Out, Shown, TableLayout, all_rows, limits};
use crate::cli::progress::count;
use crate::cli::terminal::check_write;

/// The width of the line above a row.
const HEADING_WIDTH: usize = 60;

/// A table with one block per row. Rows are printed as they come.
pub struct ExpandedTable<'a> {
    out: Out<'a>,
    names: Vec<String>,
    layout: TableLayout,
    window: RowWindow,
    /// The number of rows printed so far.
    printed: u64,
}

impl<'a> ExpandedTable<'a> {
    pub fn new(schema: &SchemaRef, layout: TableLayout, out: Out<'a>) -> Self {
        let names: Vec<_> = schema.fields().iter().map(|field| harmless(field.name()).into_owned()).collect();
        let width = names.iter().map(|name| name.width()).max().unwrap_or(0);
        let names = names.iter().map(|name| cells::padded(name, name, width, false)).collect();
        let (head, tail) = limits(layout.max_rows);
        Self { out, names, layout, window: RowWindow::new(head, tail), printed: 0 }
    }

    /// Prints `rows`, the first of which is row `number` of the result.
    fn print(&mut self, rows: &[Vec<CellText>], number: u64) -> Result<()> {
        for (row, number) in rows.iter().zip(number..) {
            let heading = format!("-[ row {} ]-", count(number));
            let line =
                "-".repeat(self.layout.width.unwrap_or(HEADING_WIDTH).min(HEADING_WIDTH).saturating_sub(heading.len()));
            check_write(writeln!(self.out, "{heading}{line}"))?;
            for (name, cell) in self.names.iter().zip(row) {
                let text = cell.as_deref().unwrap_or_else(|| self.layout.null());
                check_write(writeln!(self.out, "{}", format!("{name} | {text}").trim_end()))?;
            }
        }
        self.printed += rows.len() as u64;
        Ok(())
    }
}

impl Encoder for ExpandedTable<'_> {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.window.push(batch);
        let rows = all_rows(self.window.take_head().iter())?;
        self.print(&rows, self.printed + 1)
    }

    fn has_written(&self) -> bool {
        self.printed > 0
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        let rows = Shown { total: self.window.total(), shown: self.window.kept() };
        let tail = all_rows(self.window.tail())?;
        if rows.shown < rows.total {
            check_write(writeln!(self.out, "…"))?;
        }
        self.print(&tail, rows.total - tail.len() as u64 + 1)?;
        let all = self.names.len() as u64;
        let footer = self.layout.footer(rows, Shown { total: all, shown: all });
        check_write(writeln!(self.out, "{footer}").and_then(|()| self.out.flush()))
    }
}
