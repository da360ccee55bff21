//! Rows as CSV, JSON and NDJSON.

use std::io::Write;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, StringArray};
use arrow::csv::{Writer, WriterBuilder};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::json::writer::{JsonArray, LineDelimited, make_encoder};
use arrow::json::{ArrayWriter, EncoderOptions, LineDelimitedWriter};
use clerk_lake::{Error, Result};

use super::{Encoder, Out, check_encoding};
use crate::cli::terminal::check_write;

/// CSV with a header.
pub struct Csv<'a> {
    writer: Writer<Out<'a>>,
    schema: SchemaRef,
    has_written: bool,
}

impl<'a> Csv<'a> {
    pub fn new(schema: &SchemaRef, out: Out<'a>) -> Self {
        let writer = WriterBuilder::new().with_header(true).build(out);
        Self { writer, schema: SchemaRef::clone(schema), has_written: false }
    }
}

impl Encoder for Csv<'_> {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.has_written = true;
        check_encoding(self.writer.write(&without_nested(batch)?))
    }

    fn has_written(&self) -> bool {
        self.has_written
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        if !self.has_written {
            self.write(&RecordBatch::new_empty(SchemaRef::clone(&self.schema)))?;
        }
        // No flush is needed: this writer flushes after each batch.
        Ok(())
    }
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
        check_encoding(self.writer.write(batch))
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
        check_encoding(self.writer.write(batch))
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
