//! Rows as a table for people.

use std::io::Write;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, RecordBatchOptions, StringArray, StringViewArray};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use arrow::util::pretty::pretty_format_batches_with_schema;
use clerk_lake::{Error, ErrorKind, Result};

use super::{Encoder, Out};
use crate::cli::terminal::written;

/// The rows that a table waits for to know how wide its columns must be. Those beyond go out as they come, so that a
/// long result takes no more memory than this.
const ROWS_WAITED_FOR: usize = 10_000;

/// All of `batches` as a table.
fn drawn(batches: &[RecordBatch], schema: &SchemaRef) -> Result<String> {
    let batches: Vec<RecordBatch> = batches.iter().map(harmless_texts).collect::<Result<_>>()?;
    let table =
        pretty_format_batches_with_schema(SchemaRef::clone(schema), &batches).map_err(|error| refused(&error))?;
    Ok(harmless(&table.to_string()))
}

/// `batch` with its text columns made [harmless]: what is left out must not count for the width of a column.
fn harmless_texts(batch: &RecordBatch) -> Result<RecordBatch> {
    let cleaned = |column: &ArrayRef| -> ArrayRef {
        match (column.as_string_opt::<i32>(), column.as_string_view_opt()) {
            (Some(texts), _) => Arc::new(texts.iter().map(|text| text.map(harmless)).collect::<StringArray>()),
            (_, Some(texts)) => Arc::new(texts.iter().map(|text| text.map(harmless)).collect::<StringViewArray>()),
            _ => Arc::clone(column),
        }
    };
    let columns = batch.columns().iter().map(cleaned).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(batch.schema(), columns, &options).map_err(|error| refused(&error))
}

/// Returns `text` without the characters that steer a terminal: whoever signs up chooses names.
fn harmless(text: &str) -> String {
    let turns = |c: char| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().filter(|c| matches!(c, '\n' | '\t') || !(c.is_control() || turns(*c))).collect()
}

fn refused(error: &ArrowError) -> Error {
    Error::new(ErrorKind::Query, error.to_string())
}

/// A table, its widths those of its first rows.
pub struct Table<'a> {
    out: Out<'a>,
    schema: SchemaRef,
    waiting: Vec<RecordBatch>,
    rows: usize,
    /// The line that ends it, once it has begun: as wide as its columns.
    border: Option<String>,
}

impl<'a> Table<'a> {
    pub fn new(schema: &SchemaRef, out: Out<'a>) -> Self {
        Self { out, schema: SchemaRef::clone(schema), waiting: Vec::new(), rows: 0, border: None }
    }

    /// Prints all that waits but the line that ends it.
    fn begin(&mut self) -> Result<String> {
        let text = drawn(&self.waiting, &self.schema)?;
        self.waiting.clear();
        let (lines, border) = text.rsplit_once('\n').ok_or_else(|| Error::bug("a table of one line"))?;
        written(writeln!(self.out, "{lines}"))?;
        Ok(border.to_owned())
    }

    fn print(&mut self, batch: &RecordBatch, border: &str) -> Result<()> {
        let options = FormatOptions::default().with_display_error(true);
        let columns: Vec<_> = batch
            .columns()
            .iter()
            .map(|column| ArrayFormatter::try_new(column.as_ref(), &options))
            .collect::<Result<_, _>>()
            .map_err(|error| refused(&error))?;
        let widths = widths(border);
        for row in 0..batch.num_rows() {
            let cells = columns.iter().zip(&widths).map(|(column, &width)| {
                // A line end within a cell would break the row.
                let text = harmless(&column.value(row).to_string()).replace('\n', " ");
                format!(" {text:width$} |")
            });
            let line: String = cells.collect();
            written(writeln!(self.out, "|{line}"))?;
        }
        Ok(())
    }
}

/// The widths of the columns that `border` ends, without the space beside their text.
fn widths(border: &str) -> Vec<usize> {
    let columns = border.trim_matches('+').split('+');
    columns.map(|column| column.len().saturating_sub(2)).collect()
}

impl Encoder for Table<'_> {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        if let Some(border) = self.border.take() {
            let printed = self.print(batch, &border);
            self.border = Some(border);
            return printed;
        }
        self.rows += batch.num_rows();
        self.waiting.push(batch.clone());
        if self.rows > ROWS_WAITED_FOR {
            self.border = Some(self.begin()?);
        }
        Ok(())
    }

    fn has_begun(&self) -> bool {
        self.border.is_some()
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        let end = match self.border.take() {
            Some(border) => border,
            None => drawn(&self.waiting, &self.schema)?,
        };
        written(writeln!(self.out, "{end}").and_then(|()| self.out.flush()))
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Mutex;

    use arrow::array::Int64Array;
    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;

    /// Bytes that can be looked at while they are written.
    #[derive(Clone, Default)]
    struct Seen(Arc<Mutex<Vec<u8>>>);

    impl Seen {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().expect("the bytes").clone()).expect("text")
        }
    }

    impl Write for Seen {
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
    fn a_long_table_goes_out_as_it_comes_and_looks_as_if_it_had_not() {
        let (seen, schema) = (Seen::default(), rows(0, 0).schema());
        let mut table = Box::new(Table::new(&schema, Box::new(seen.clone())));
        let batches: Vec<_> = (0..5).map(|batch| rows(10_000 + batch * 4_000, 4_000)).collect();
        for (batch, seen_before) in batches.iter().zip([0, 0, 0, 12_003, 16_003]) {
            assert_eq!(seen.text().lines().count(), seen_before);
            assert_eq!(table.has_begun(), seen_before > 0);
            table.write(batch).expect("rows");
        }
        table.finish().expect("an end");
        assert_eq!(seen.text(), format!("{}\n", drawn(&batches, &schema).expect("a table")));
    }

    #[test]
    fn what_a_terminal_would_obey_is_left_out() {
        let schema = SchemaRef::new(Schema::new(vec![Field::new("name", DataType::Utf8, true)]));
        let name = "A\u{1b}]0;mine\u{7}da\u{202e}\r";
        let batch = |rows| {
            let names: StringArray = std::iter::repeat_n(Some(name), rows).collect();
            RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(names)]).expect("a batch")
        };
        let seen = Seen::default();
        let mut table = Box::new(Table::new(&schema, Box::new(seen.clone())));
        for rows in [ROWS_WAITED_FOR + 1, 1] {
            table.write(&batch(rows)).expect("rows");
        }
        table.finish().expect("an end");
        let lines: std::collections::BTreeSet<&str> = seen.text().leak().lines().collect();
        assert_eq!(lines.into_iter().collect::<Vec<_>>(), ["+------------+", "| A]0;mineda |", "| name       |"]);
    }

    #[test]
    fn a_table_without_rows_has_its_columns() {
        let (seen, schema) = (Seen::default(), rows(0, 0).schema());
        Box::new(Table::new(&schema, Box::new(seen.clone()))).finish().expect("an end");
        assert!(seen.text().contains("| number | name |"), "{}", seen.text());
    }
}
