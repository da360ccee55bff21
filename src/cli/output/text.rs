//! Rows as CSV, JSON and NDJSON.

use std::io::Write;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::json::writer::{JsonArray, LineDelimited, make_encoder};
use arrow::json::{ArrayWriter, EncoderOptions, LineDelimitedWriter};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use clerk_lake::{Error, ErrorKind, Result};

use super::{Encoder, Out, check_encoding};
use crate::cli::terminal::check_write;

/// CSV with a header. NULL is an empty field and an empty text is `""`, as `PostgreSQL` writes them.
pub struct Csv<'a> {
    out: Out<'a>,
    schema: SchemaRef,
    /// Whether texts that a spreadsheet would run as formulas begin with an apostrophe.
    escapes_formulas: bool,
    has_written: bool,
}

impl<'a> Csv<'a> {
    pub fn new(schema: &SchemaRef, escapes_formulas: bool, out: Out<'a>) -> Self {
        Self { out, schema: SchemaRef::clone(schema), escapes_formulas, has_written: false }
    }

    fn write_header(&mut self) -> Result<()> {
        let mut line = String::new();
        for (index, field) in self.schema.fields().iter().enumerate() {
            separate(index, &mut line);
            let mark = if self.escapes_formulas && is_formula(field.name()) { "'" } else { "" };
            push_field(&format!("{mark}{}", field.name()), &mut line);
        }
        self.has_written = true;
        check_write(writeln!(self.out, "{line}"))
    }
}

impl Encoder for Csv<'_> {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        if !self.has_written {
            self.write_header()?;
        }
        let batch = without_nested(batch)?;
        let options = FormatOptions::default();
        let columns = batch.columns().iter().map(|column| ArrayFormatter::try_new(column.as_ref(), &options));
        let columns: Vec<_> = columns.collect::<Result<_, _>>().map_err(|error| Error::bug(error.to_string()))?;
        let is_only = columns.len() == 1;
        let schema = batch.schema();
        let types: Vec<_> = schema.fields().iter().map(|field| field.data_type()).collect();
        let nulls: Vec<_> = batch.columns().iter().map(Array::logical_nulls).collect();
        let (mut line, mut text) = (String::new(), String::new());
        for row in 0..batch.num_rows() {
            line.clear();
            for (index, (column, nulls)) in columns.iter().zip(&nulls).enumerate() {
                separate(index, &mut line);
                if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
                    // Many readers skip an empty line, and would lose the row.
                    line.push_str(if is_only { "\"\"" } else { "" });
                    continue;
                }
                text.clear();
                column.value(row).write(&mut text).map_err(|error| not_encoded(&error))?;
                // A negative number is no formula.
                if self.escapes_formulas && !types[index].is_numeric() && is_formula(&text) {
                    text.insert(0, '\'');
                }
                push_field(&text, &mut line);
            }
            line.push('\n');
            check_write(self.out.write_all(line.as_bytes()))?;
        }
        check_write(self.out.flush())
    }

    fn has_written(&self) -> bool {
        self.has_written
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        if !self.has_written {
            self.write_header()?;
        }
        check_write(self.out.flush())
    }
}

/// Whether a spreadsheet runs `text` as a formula.
fn is_formula(text: &str) -> bool {
    text.starts_with(['=', '+', '-', '@', '\t', '\r'])
}

fn separate(index: usize, line: &mut String) {
    if index > 0 {
        line.push(',');
    }
}

/// Appends a field of CSV (RFC 4180) to `line`.
fn push_field(text: &str, line: &mut String) {
    if text.is_empty() || text.bytes().any(|byte| matches!(byte, b',' | b'"' | b'\n' | b'\r')) {
        line.extend(["\"", &text.replace('"', "\"\""), "\""]);
    } else {
        line.push_str(text);
    }
}

fn not_encoded(error: &ArrowError) -> Error {
    Error::new(ErrorKind::Query, format!("a value cannot be written as text: {error}"))
        .with_hint("cast the column to text, or choose another --format")
}

/// JSON: one array of objects.
pub struct Json<'a> {
    writer: ArrayWriter<Out<'a>>,
    has_written: bool,
}

impl<'a> Json<'a> {
    pub fn new(out: Out<'a>) -> Self {
        let writer = arrow::json::WriterBuilder::new().with_explicit_nulls(true).build::<_, JsonArray>(out);
        Self { writer, has_written: false }
    }
}

impl Encoder for Json<'_> {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.has_written = true;
        check_encoding(self.writer.write(batch))?;
        check_write(self.writer.get_mut().flush())
    }

    fn has_written(&self) -> bool {
        self.has_written
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        check_encoding(self.writer.finish())?;
        let mut out = self.writer.into_inner();
        check_write(writeln!(out).and_then(|()| out.flush()))
    }
}

/// NDJSON: one object per line.
pub struct Ndjson<'a> {
    writer: LineDelimitedWriter<Out<'a>>,
    has_written: bool,
}

impl<'a> Ndjson<'a> {
    pub fn new(out: Out<'a>) -> Self {
        let writer = arrow::json::WriterBuilder::new().with_explicit_nulls(true).build::<_, LineDelimited>(out);
        Self { writer, has_written: false }
    }
}

impl Encoder for Ndjson<'_> {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.has_written = true;
        check_encoding(self.writer.write(batch))?;
        check_write(self.writer.get_mut().flush())
    }

    fn has_written(&self) -> bool {
        self.has_written
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        check_encoding(self.writer.finish())?;
        check_write(self.writer.into_inner().flush())
    }
}

/// Replaces lists and structs, which CSV does not have, by JSON text.
fn without_nested(batch: &RecordBatch) -> Result<RecordBatch> {
    let bug = |error: ArrowError| Error::bug(error.to_string());
    let schema = batch.schema();
    let mut fields: Vec<FieldRef> = Vec::new();
    let mut columns: Vec<ArrayRef> = Vec::new();
    for (field, column) in schema.fields().iter().zip(batch.columns()) {
        if field.data_type().is_nested() {
            columns.push(as_json(field, column).map_err(bug)?);
            fields.push(Arc::new(Field::new(field.name(), DataType::Utf8, true)));
        } else {
            columns.push(Arc::clone(column));
            fields.push(Arc::clone(field));
        }
    }
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(SchemaRef::new(Schema::new(fields)), columns, &options).map_err(bug)
}

fn as_json(field: &FieldRef, column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let options = EncoderOptions::default();
    let mut encoder = make_encoder(field, column.as_ref(), &options)?;
    let mut buffer = Vec::new();
    let texts = (0..column.len()).map(|row| {
        if column.is_null(row) {
            return None;
        }
        buffer.clear();
        encoder.encode(row, &mut buffer);
        Some(String::from_utf8_lossy(&buffer).into_owned())
    });
    let texts: StringArray = texts.collect();
    Ok(Arc::new(texts))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_and_empty_text_are_told_apart_and_quotes_are_doubled() {
        let texts: ArrayRef = Arc::new(StringArray::from(vec![None, Some(""), Some("a\"b,c\nd"), Some("\u{1b}")]));
        let numbers: ArrayRef = Arc::new(arrow::array::Int64Array::from(vec![Some(1), None, Some(3), None]));
        let batch = RecordBatch::try_from_iter([("a, b", texts), ("n", numbers)]).expect("a batch");
        let mut bytes = Vec::new();
        let mut csv = Box::new(Csv::new(&batch.schema(), false, Box::new(&mut bytes)));
        csv.write(&batch).and_then(|()| csv.finish()).expect("rows");
        let text = String::from_utf8(bytes).expect("text");
        assert_eq!(text, "\"a, b\",n\n,1\n\"\",\n\"a\"\"b,c\nd\",3\n\u{1b},\n");
    }

    #[test]
    fn null_is_null_in_every_type() {
        let values: ArrayRef = Arc::new(StringArray::from(vec![None, Some("a")]));
        let keys = arrow::array::Int32Array::from(vec![0, 1]);
        let dictionary: ArrayRef = Arc::new(arrow::array::DictionaryArray::new(keys, values));
        let nothing: ArrayRef = Arc::new(arrow::array::NullArray::new(2));
        let batch = RecordBatch::try_from_iter([("d", dictionary), ("n", nothing)]).expect("a batch");
        let mut bytes = Vec::new();
        let mut csv = Box::new(Csv::new(&batch.schema(), false, Box::new(&mut bytes)));
        csv.write(&batch).and_then(|()| csv.finish()).expect("rows");
        assert_eq!(bytes, b"d,n\n,\na,\n");
    }

    #[test]
    fn formulas_are_escaped_on_request_and_numbers_never() {
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["=1+1", "a=b", "@x"]));
        let numbers: ArrayRef = Arc::new(arrow::array::Int64Array::from(vec![-1, 2, -3]));
        let batch = RecordBatch::try_from_iter([("-t", texts), ("n", numbers)]).expect("a batch");
        for (escapes, text) in [(true, "'-t,n\n'=1+1,-1\na=b,2\n'@x,-3\n"), (false, "-t,n\n=1+1,-1\na=b,2\n@x,-3\n")] {
            let mut bytes = Vec::new();
            let mut csv = Box::new(Csv::new(&batch.schema(), escapes, Box::new(&mut bytes)));
            csv.write(&batch).and_then(|()| csv.finish()).expect("rows");
            assert_eq!(String::from_utf8(bytes).expect("text"), text);
        }
    }

    #[test]
    fn no_row_of_a_single_column_is_an_empty_line() {
        let texts: ArrayRef = Arc::new(StringArray::from(vec![None, Some("a")]));
        let batch = RecordBatch::try_from_iter([("a", texts)]).expect("a batch");
        let mut bytes = Vec::new();
        let mut csv = Box::new(Csv::new(&batch.schema(), false, Box::new(&mut bytes)));
        csv.write(&batch).and_then(|()| csv.finish()).expect("rows");
        assert_eq!(bytes, b"a\n\"\"\na\n");
    }
}
