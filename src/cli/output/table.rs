//! Rows as a text table.

use std::io::Write;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, RecordBatchOptions, StringArray, StringViewArray};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use arrow::util::pretty::pretty_format_batches_with_schema;
use clerk_lake::{Error, ErrorKind, Result};

use super::{Encoder, Out};
use crate::cli::terminal::check_write;

/// The number of rows that are buffered to find the column widths. Later rows are printed at once, so the memory for a
/// long result is bounded.
const BUFFERED_ROWS: usize = 10_000;

/// Formats all of `batches` as a table.
fn format_table(batches: &[RecordBatch], schema: &SchemaRef) -> Result<String> {
    let batches: Vec<RecordBatch> = batches.iter().map(sanitize_batch).collect::<Result<_>>()?;
    let table =
        pretty_format_batches_with_schema(SchemaRef::clone(schema), &batches).map_err(|error| table_error(&error))?;
    Ok(sanitize(&table.to_string()))
}

/// Applies [`sanitize`] to the text columns of `batch` before the widths are computed, because removed characters must
/// not count.
fn sanitize_batch(batch: &RecordBatch) -> Result<RecordBatch> {
    let sanitized = |column: &ArrayRef| -> ArrayRef {
        match (column.as_string_opt::<i32>(), column.as_string_view_opt()) {
            (Some(texts), _) => Arc::new(texts.iter().map(|text| text.map(sanitize)).collect::<StringArray>()),
            (_, Some(texts)) => Arc::new(texts.iter().map(|text| text.map(sanitize)).collect::<StringViewArray>()),
            _ => Arc::clone(column),
        }
    };
    let columns = batch.columns().iter().map(sanitized).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(batch.schema(), columns, &options).map_err(|error| table_error(&error))
}

/// Returns `text` without the characters that control a terminal. The text is untrusted: users choose their own names.
fn sanitize(text: &str) -> String {
    let is_direction_mark = |c: char| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().filter(|c| matches!(c, '\n' | '\t') || !(c.is_control() || is_direction_mark(*c))).collect()
}

fn table_error(error: &ArrowError) -> Error {
    Error::new(ErrorKind::Query, error.to_string())
}

/// A text table. The widths of its columns are those of the buffered rows.
pub struct TextTable<'a> {
    out: Out<'a>,
    schema: SchemaRef,
    buffered: Vec<RecordBatch>,
    rows: usize,
    /// The bottom line of the table, which holds the column widths; `None` while rows are buffered.
    border: Option<String>,
}

impl<'a> TextTable<'a> {
    pub fn new(schema: &SchemaRef, out: Out<'a>) -> Self {
        Self { out, schema: SchemaRef::clone(schema), buffered: Vec::new(), rows: 0, border: None }
    }

    /// Prints the buffered rows without the bottom line, and returns that line.
    fn print_buffered(&mut self) -> Result<String> {
        let text = format_table(&self.buffered, &self.schema)?;
        self.buffered.clear();
        let (lines, border) =
            text.rsplit_once('\n').ok_or_else(|| Error::bug("a formatted table has only one line"))?;
        check_write(writeln!(self.out, "{lines}"))?;
        Ok(border.to_owned())
    }

    fn print(&mut self, batch: &RecordBatch, border: &str) -> Result<()> {
        let options = FormatOptions::default().with_display_error(true);
        let columns: Vec<_> = batch
            .columns()
            .iter()
            .map(|column| ArrayFormatter::try_new(column.as_ref(), &options))
            .collect::<Result<_, _>>()
            .map_err(|error| table_error(&error))?;
        let widths = widths(border);
        for row in 0..batch.num_rows() {
            let cells = columns.iter().zip(&widths).map(|(column, &width)| {
                // A line break in a cell would break the row.
                let text = sanitize(&column.value(row).to_string()).replace('\n', " ");
                format!(" {text:width$} |")
            });
            let line: String = cells.collect();
            check_write(writeln!(self.out, "|{line}"))?;
        }
        Ok(())
    }
}

/// Returns the text widths of the columns of `border`, without the padding.
fn widths(border: &str) -> Vec<usize> {
    let columns = border.trim_matches('+').split('+');
    columns.map(|column| column.len().saturating_sub(2)).collect()
}

impl Encoder for TextTable<'_> {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        if let Some(border) = self.border.take() {
            let printed = self.print(batch, &border);
            self.border = Some(border);
            return printed;
        }
        self.rows += batch.num_rows();
        self.buffered.push(batch.clone());
        if self.rows > BUFFERED_ROWS {
            self.border = Some(self.print_buffered()?);
        }
        Ok(())
    }

    fn has_written(&self) -> bool {
        self.border.is_some()
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        let end = match self.border.take() {
            Some(border) => border,
            None => format_table(&self.buffered, &self.schema)?,
        };
        check_write(writeln!(self.out, "{end}").and_then(|()| self.out.flush()))
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Mutex;

    use arrow::array::Int64Array;
    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;

    /// A writer whose bytes can be inspected while it is in use.
    #[derive(Clone, Default)]
    struct Output(Arc<Mutex<Vec<u8>>>);

    impl Output {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().expect("the bytes").clone()).expect("text")
        }
    }

    impl Write for Output {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("the bytes").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn rows(first: usize, count: usize) -> RecordBatch {
        let fields = [Field::new("number", DataType::Int64, true), Field::new("name", DataType::Utf8, true)];
        let numbers: Int64Array = (first..first + count).map(|row| i64::try_from(row).ok()).collect();
        let names: StringArray = (first..first + count).map(|row| (row % 3 > 0).then(|| format!("n{row}"))).collect();
        let schema = SchemaRef::new(Schema::new(fields.to_vec()));
        RecordBatch::try_new(schema, vec![Arc::new(numbers), Arc::new(names)]).expect("a batch")
    }

    #[test]
    fn a_long_table_is_printed_incrementally_and_looks_the_same() {
        let (output, schema) = (Output::default(), rows(0, 0).schema());
        let mut table = Box::new(TextTable::new(&schema, Box::new(output.clone())));
        let batches: Vec<_> = (0..5).map(|batch| rows(10_000 + batch * 4_000, 4_000)).collect();
        for (batch, lines_before) in batches.iter().zip([0, 0, 0, 12_003, 16_003]) {
            assert_eq!(output.text().lines().count(), lines_before);
            assert_eq!(table.has_written(), lines_before > 0);
            table.write(batch).expect("rows");
        }
        table.finish().expect("an end");
        assert_eq!(output.text(), format!("{}\n", format_table(&batches, &schema).expect("a table")));
    }

    #[test]
    fn terminal_control_characters_are_removed() {
        let schema = SchemaRef::new(Schema::new(vec![Field::new("name", DataType::Utf8, true)]));
        let name = "A\u{1b}]0;mine\u{7}da\u{202e}\r";
        let batch = |rows| {
            let names: StringArray = std::iter::repeat_n(Some(name), rows).collect();
            RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(names)]).expect("a batch")
        };
        let output = Output::default();
        let mut table = Box::new(TextTable::new(&schema, Box::new(output.clone())));
        for rows in [BUFFERED_ROWS + 1, 1] {
            table.write(&batch(rows)).expect("rows");
        }
        table.finish().expect("an end");
        let lines: std::collections::BTreeSet<&str> = output.text().leak().lines().collect();
        assert_eq!(lines.into_iter().collect::<Vec<_>>(), ["+------------+", "| A]0;mineda |", "| name       |"]);
    }

    #[test]
    fn a_table_without_rows_shows_its_columns() {
        let (output, schema) = (Output::default(), rows(0, 0).schema());
        Box::new(TextTable::new(&schema, Box::new(output.clone()))).finish().expect("an end");
        assert!(output.text().contains("| number | name |"), "{}", output.text());
    }
}
