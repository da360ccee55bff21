//! Rows on standard output: as a table, CSV, JSON or NDJSON.

use std::io::Write;

use arrow::array::RecordBatch;
use arrow::csv::WriterBuilder;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::json::{ArrayWriter, LineDelimitedWriter};
use arrow::util::pretty::pretty_format_batches_with_schema;
use clerk_lake::query::failed;
use clerk_lake::{Error, ErrorKind, Result};
use datafusion::dataframe::DataFrame;
use futures::TryStreamExt;

use super::arguments::Format;
use super::terminal::written;

/// Prints `batches` as a table.
///
/// # Errors
/// [`Unreachable`](ErrorKind::Unreachable) where the output cannot be written.
pub fn print_table(batches: &[RecordBatch], schema: &SchemaRef, out: &mut impl Write) -> Result<()> {
    let table = pretty_format_batches_with_schema(SchemaRef::clone(schema), batches)
        .map_err(|error| Error::new(ErrorKind::Query, error.to_string()))?;
    written(writeln!(out, "{table}"))
}

/// Where rows are printed, as they come; only a table waits for all of them, to know its widths.
pub enum Sink<'a, W: Write> {
    /// For people.
    Table(Vec<RecordBatch>, &'a mut W),
    /// With a header; whether it has been written.
    Csv(Box<arrow::csv::Writer<&'a mut W>>, bool),
    /// One array; whether it has been begun.
    Json(ArrayWriter<&'a mut W>, bool),
    /// One object a line; whether there is one.
    Ndjson(LineDelimitedWriter<&'a mut W>, bool),
}

impl<'a, W: Write> Sink<'a, W> {
    /// Nothing is printed yet.
    pub fn new(format: Format, out: &'a mut W) -> Self {
        match format {
            Format::Table => Self::Table(Vec::new(), out),
            Format::Csv => Self::Csv(Box::new(WriterBuilder::new().with_header(true).build(out)), false),
            Format::Json => Self::Json(json(out), false),
            Format::Ndjson => Self::Ndjson(ndjson(out), false),
        }
    }

    /// Whether nothing has been printed.
    pub fn is_untouched(&self) -> bool {
        match self {
            Self::Table(..) => true,
            Self::Csv(_, any) | Self::Json(_, any) | Self::Ndjson(_, any) => !any,
        }
    }

    /// Runs `plan` and prints its rows; gives their schema.
    ///
    /// # Errors
    /// [`Query`](ErrorKind::Query) where it fails on the way; [`Conflict`](ErrorKind::Conflict) where it does
    /// because another run has replaced the files that it reads.
    pub async fn print(&mut self, plan: DataFrame) -> Result<SchemaRef> {
        let schema = SchemaRef::new(plan.schema().as_arrow().clone());
        let mut batches = plan.execute_stream().await.map_err(|error| failed(&error))?;
        while let Some(batch) = batches.try_next().await.map_err(|error| failed(&error))? {
            self.write(&batch)?;
        }
        Ok(schema)
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        match self {
            Self::Table(batches, _) => {
                batches.push(batch.clone());
                Ok(())
            }
            Self::Csv(writer, any) => {
                *any = true;
                shown(writer.write(&as_csv(batch)?))
            }
            Self::Json(writer, any) => {
                *any = true;
                shown(writer.write(batch))
            }
            Self::Ndjson(writer, any) => {
                *any = true;
                shown(writer.write(batch))
            }
        }
    }

    /// Prints what ends the output.
    pub fn finish(self, schema: &SchemaRef) -> Result<()> {
        match self {
            Self::Table(batches, out) => print_table(&batches, schema, out),
            Self::Csv(mut writer, false) => {
                shown(writer.write(&as_csv(&RecordBatch::new_empty(SchemaRef::clone(schema)))?))
            }
            Self::Csv(_, true) => Ok(()),
            Self::Json(mut writer, _) => {
                shown(writer.finish())?;
                written(writeln!(writer.into_inner()))
            }
            Self::Ndjson(mut writer, _) => shown(writer.finish()),
        }
    }
}

fn json<W: Write>(out: W) -> ArrayWriter<W> {
    arrow::json::WriterBuilder::new().with_explicit_nulls(true).build::<_, arrow::json::writer::JsonArray>(out)
}

fn ndjson<W: Write>(out: W) -> LineDelimitedWriter<W> {
    arrow::json::WriterBuilder::new().with_explicit_nulls(true).build::<_, arrow::json::writer::LineDelimited>(out)
}

/// CSV has no lists or structs: they become JSON text.
fn as_csv(batch: &RecordBatch) -> Result<RecordBatch> {
    let bug = |error: ArrowError| Error::bug(error.to_string());
    let schema = batch.schema();
    let mut fields = Vec::new();
    let mut columns = Vec::new();
    for (field, column) in schema.fields().iter().zip(batch.columns()) {
        if field.data_type().is_nested() {
            let texts = nested_as_json(field, column).map_err(bug)?;
            fields.push(arrow::datatypes::Field::new(field.name(), arrow::datatypes::DataType::Utf8, true));
            columns.push(texts);
        } else {
            fields.push(field.as_ref().clone());
            columns.push(std::sync::Arc::clone(column));
        }
    }
    RecordBatch::try_new(SchemaRef::new(arrow::datatypes::Schema::new(fields)), columns).map_err(bug)
}

fn nested_as_json(
    field: &arrow::datatypes::FieldRef,
    column: &arrow::array::ArrayRef,
) -> Result<arrow::array::ArrayRef, ArrowError> {
    use arrow::array::Array;
    let mut texts: Vec<Option<String>> = Vec::with_capacity(column.len());
    let mut buffer = Vec::new();
    let options = arrow::json::EncoderOptions::default();
    let mut encoder = arrow::json::writer::make_encoder(field, column.as_ref(), &options)?;
    for row in 0..column.len() {
        if column.is_null(row) {
            texts.push(None);
            continue;
        }
        buffer.clear();
        encoder.encode(row, &mut buffer);
        texts.push(Some(String::from_utf8_lossy(&buffer).into_owned()));
    }
    Ok(std::sync::Arc::new(arrow::array::StringArray::from(texts)))
}

/// A failed write of rows; a reader that has gone away is none.
fn shown(result: Result<(), ArrowError>) -> Result<()> {
    match result {
        Ok(()) => Ok(()),
        Err(ArrowError::IoError(_, error)) => written(Err(error)),
        Err(ArrowError::CsvError(text)) if text.contains("Broken pipe") => Ok(()),
        Err(error) => Err(Error::new(ErrorKind::Query, error.to_string())),
    }
}
