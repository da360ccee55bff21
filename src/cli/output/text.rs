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

use super::{Encoder, Out, sent};
use crate::cli::terminal::written;

/// With a header.
pub struct Csv<'a> {
    writer: Writer<Out<'a>>,
    schema: SchemaRef,
    has_begun: bool,
}

impl<'a> Csv<'a> {
    pub fn new(schema: &SchemaRef, out: Out<'a>) -> Self {
        let writer = WriterBuilder::new().with_header(true).build(out);
        Self { writer, schema: SchemaRef::clone(schema), has_begun: false }
    }
}

impl Encoder for Csv<'_> {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.has_begun = true;
        sent(self.writer.write(&without_nested(batch)?))
    }

    fn has_begun(&self) -> bool {
        self.has_begun
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        if !self.has_begun {
            self.write(&RecordBatch::new_empty(SchemaRef::clone(&self.schema)))?;
        }
        // All is sent out: this writer keeps nothing between batches.
        Ok(())
    }
}

/// One array.
pub struct Json<'a> {
    writer: ArrayWriter<Out<'a>>,
    has_begun: bool,
}

impl<'a> Json<'a> {
    pub fn new(out: Out<'a>) -> Self {
        let writer = arrow::json::WriterBuilder::new().with_explicit_nulls(true).build::<_, JsonArray>(out);
        Self { writer, has_begun: false }
    }
}

impl Encoder for Json<'_> {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.has_begun = true;
        sent(self.writer.write(batch))
    }

    fn has_begun(&self) -> bool {
        self.has_begun
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        sent(self.writer.finish())?;
        let mut out = self.writer.into_inner();
        written(writeln!(out).and_then(|()| out.flush()))
    }
}

/// One object a line.
pub struct Ndjson<'a> {
    writer: LineDelimitedWriter<Out<'a>>,
    has_begun: bool,
}

impl<'a> Ndjson<'a> {
    pub fn new(out: Out<'a>) -> Self {
        let writer = arrow::json::WriterBuilder::new().with_explicit_nulls(true).build::<_, LineDelimited>(out);
        Self { writer, has_begun: false }
    }
}

impl Encoder for Ndjson<'_> {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.has_begun = true;
        sent(self.writer.write(batch))
    }

    fn has_begun(&self) -> bool {
        self.has_begun
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        sent(self.writer.finish())?;
        written(self.writer.into_inner().flush())
    }
}

/// CSV has no lists or structs: they become JSON text.
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
