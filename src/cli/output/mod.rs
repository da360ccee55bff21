//! Encodes rows and prints them or writes them to a file.

mod binary;
mod file;
mod layout;
mod pager;
mod pipe;
mod plain;
mod rows;
mod table;
mod text;

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::pin::pin;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use arrow::error::ArrowError;
use clerk_lake::query::failed;
use clerk_lake::{Error, ErrorKind, Result};
use datafusion::dataframe::DataFrame;
use futures::TryStreamExt;

use super::arguments::Format;
use super::harmless::HarmlessWriter;
use super::terminal::check_write;
pub use file::OutputFile;
pub use layout::{TableLayout, counted, elapsed};
pub use pager::Pager;
use pipe::BrokenPipe;

/// The destination of encoded rows.
type Out<'a> = Box<dyn Write + Send + 'a>;

/// File extensions and their formats.
const EXTENSIONS: [(&str, Format); 10] = [
    ("csv", Format::Csv),
    ("json", Format::Json),
    ("ndjson", Format::Ndjson),
    ("jsonl", Format::Ndjson),
    ("parquet", Format::Parquet),
    ("pq", Format::Parquet),
    ("arrow", Format::Arrow),
    ("feather", Format::Arrow),
    ("ipc", Format::Arrow),
    ("txt", Format::Table),
];

/// Infers the format from the extension of a file. `None` if the extension is unknown.
pub fn format_of(file: &Path) -> Option<Format> {
    let extension = file.extension()?.to_str()?;
    EXTENSIONS.iter().find(|(known, _)| extension.eq_ignore_ascii_case(known)).map(|(_, format)| *format)
}

/// The format and the destination of rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The encoding of the rows.
    pub format: Format,
    /// The file; `None` for standard output.
    pub file: Option<PathBuf>,
}

impl Target {
    /// Returns the target for `--format` and `--output`. A file named `-` is standard output. Its default format is a
    /// table on a terminal, and CSV elsewhere.
    ///
    /// # Errors
    /// [`Settings`](ErrorKind::Settings) if the format cannot be inferred from the extension of the file, or if binary
    /// data would go to a terminal.
    pub fn of(format: Option<Format>, output: Option<&Path>) -> Result<Self> {
        let file = output.filter(|file| *file != Path::new("-")).map(Path::to_path_buf);
        let format = match (format, &file) {
            (Some(format), _) => format,
            (None, None) if io::stdout().is_terminal() => Format::Table,
            (None, None) => Format::Csv,
            (None, Some(file)) => format_of(file).ok_or_else(|| {
                Error::settings(format!("cannot infer the format from the extension of {}", file.display()))
                    .with_hint("add --format, or use the extension .csv, .json, .ndjson, .parquet, .arrow or .txt")
            })?,
        };
        let target = Self { format, file };
        target.check_terminal()?;
        Ok(target)
    }

    fn check_terminal(&self) -> Result<()> {
        if self.file.is_none() && self.holds_one_result() && io::stdout().is_terminal() {
            return Err(Error::settings("Parquet and Arrow are binary formats and cannot be shown on a terminal")
                .with_hint("write to a file with --output, or pipe the output to another program"));
        }
        Ok(())
    }

    /// Whether a file in this format can hold several results, one after the other.
    pub fn can_append(&self) -> bool {
        matches!(self.format, Format::Table | Format::Csv | Format::Ndjson)
    }

    /// Whether the target can hold only one result.
    pub fn holds_one_result(&self) -> bool {
        self.file.is_some() || matches!(self.format, Format::Parquet | Format::Arrow)
    }
}

/// Encodes rows of one schema incrementally.
trait Encoder {
    /// Encodes a record batch.
    fn write(&mut self, batch: &RecordBatch) -> Result<()>;

    /// Whether any output has been written. Some encoders buffer rows first.
    fn has_written(&self) -> bool;

    /// Writes the remaining output and flushes it.
    fn finish(self: Box<Self>) -> Result<()>;
}

/// The destination of one result: standard output, or a file that appears when it is complete.
pub struct Sink<'a> {
    format: Format,
    layout: TableLayout,
    file: Option<OutputFile>,
    /// The destination of the encoded rows; `None` once the encoder owns it.
    out: Option<Out<'a>>,
    schema: Option<SchemaRef>,
    encoder: Option<Box<dyn Encoder + 'a>>,
    rows: u64,
    /// Whether the reader of standard output has gone away.
    pipe: BrokenPipe,
}

impl<'a> Sink<'a> {
    /// Opens the destination. Writes nothing yet. `out` is standard output.
    ///
    /// # Errors
    /// [`Settings`](ErrorKind::Settings) if the file cannot be created.
    pub fn open(
        target: &Target,
        layout: &TableLayout,
        continues: bool,
        out: &'a mut (dyn Write + Send),
    ) -> Result<Self> {
        let create = if continues { OutputFile::append } else { OutputFile::create };
        let file = target.file.as_deref().map(create).transpose()?;
        let layout = if file.is_some() { layout.of_file() } else { layout.clone() };
        let pipe = BrokenPipe::default();
        let out: Out<'a> = match &file {
            Some(file) => Box::new(file.writer()?),
            // The cells of a table are harmless, and it may dim NULL.
            None if layout.is_terminal && target.format != Format::Table => {
                Box::new(HarmlessWriter::strict(pipe.watch(out)))
            }
            None => Box::new(pipe.watch(out)),
        };
        Ok(Self { format: target.format, layout, file, out: Some(out), schema: None, encoder: None, rows: 0, pipe })
    }

    /// Whether the query can run again, because no output is visible yet. An incomplete file is never visible.
    pub fn can_retry(&self) -> bool {
        self.file.is_some() || !self.encoder.as_ref().is_some_and(|encoder| encoder.has_written())
    }

    /// Runs `frames` one after the other and encodes their rows.
    ///
    /// # Errors
    /// [`Query`](ErrorKind::Query) if one fails while it runs; [`Conflict`](ErrorKind::Conflict) if it fails because
    /// another run has replaced its files.
    pub async fn print(&mut self, frames: Vec<DataFrame>) -> Result<()> {
        let are_several = frames.len() > 1;
        for frame in frames {
            let batches = rows::start(frame).await.map_err(|error| failed(&error))?;
            let own = batches.schema();
            if is_keyed_by_name(self.format) {
                check_names(own.fields())?;
            }
            let schema = self.schema.get_or_insert_with(|| if are_several { with_nulls(&own) } else { own });
            let schema = SchemaRef::clone(schema);
            let mut batches = pin!(rows::on_own_task(batches));
            while let Some(batch) = batches.try_next().await.map_err(|error| failed(&error))? {
                self.write(&in_schema(batch, &schema)?)?;
                if self.pipe.is_broken() {
                    // Nobody reads the rows. Dropping the stream stops the query.
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.rows += batch.num_rows() as u64;
        self.encoder()?.write(batch)
    }

    /// Returns the encoder. Creates it at the first call, when the schema is known.
    fn encoder(&mut self) -> Result<&mut (dyn Encoder + 'a)> {
        if self.encoder.is_none() {
            let schema = self.schema.clone().unwrap_or_else(|| SchemaRef::new(Schema::empty()));
            let out = self.out.take().ok_or_else(|| Error::bug("the output already has an encoder"))?;
            self.encoder = Some(encoder(self.format, &schema, &self.layout, out, self.file.is_some())?);
        }
        self.encoder.as_deref_mut().ok_or_else(|| Error::bug("the encoder is missing"))
    }

    /// Writes the remaining output and moves the file into place. Returns the number of rows.
    ///
    /// # Errors
    /// [`Unreachable`](ErrorKind::Unreachable) if the output cannot be written.
    pub fn finish(mut self) -> Result<u64> {
        self.encoder()?;
        if let Some(encoder) = self.encoder.take() {
            encoder.finish()?;
        }
        self.file.map_or(Ok(()), OutputFile::persist)?;
        Ok(self.rows)
    }
}

fn encoder<'a>(
    format: Format,
    schema: &SchemaRef,
    layout: &TableLayout,
    out: Out<'a>,
    is_file: bool,
) -> Result<Box<dyn Encoder + 'a>> {
    let encoder: Box<dyn Encoder + 'a> = match format {
        Format::Table if table::PlanText::is_plan(schema) => Box::new(table::PlanText::new(out)),
        Format::Table if layout.is_expanded => Box::new(table::ExpandedTable::new(schema, layout.clone(), out)),
        Format::Table => Box::new(table::TextTable::new(schema, layout.clone(), out)),
        Format::Csv => Box::new(text::Csv::new(schema, layout.escapes_formulas, out)),
        Format::Json => Box::new(text::Json::new(out)),
        Format::Ndjson => Box::new(text::Ndjson::new(out)),
        Format::Parquet => Box::new(binary::Parquet::new(schema, out)?),
        Format::Arrow if is_file => Box::new(binary::ArrowFile::new(schema, out)?),
        Format::Arrow => Box::new(binary::ArrowStream::new(schema, out)?),
    };
    Ok(encoder)
}

/// Whether readers of this format find a column by its name alone.
fn is_keyed_by_name(format: Format) -> bool {
    match format {
        Format::Table | Format::Csv => false,
        Format::Json | Format::Ndjson | Format::Parquet | Format::Arrow => true,
    }
}

/// Refuses columns, or fields of a struct, of the same name: a reader would see only one of them.
fn check_names(fields: &Fields) -> Result<()> {
    for (index, field) in fields.iter().enumerate() {
        let name = field.name();
        if fields.iter().take(index).any(|before| before.name() == name) {
            return Err(Error::new(ErrorKind::Query, format!("two columns of the result are called {name:?}"))
                .with_hint(format!("give one of them another name: {name} AS {name}_2")));
        }
        let mut nested = field.data_type();
        while let DataType::List(element) | DataType::LargeList(element) = nested {
            nested = element.data_type();
        }
        if let DataType::Struct(parts) = nested {
            check_names(parts)?;
        }
    }
    Ok(())
}

/// Returns `schema` with all columns nullable. Of several results with the same columns, one may contain nulls although
/// the first does not.
fn with_nulls(schema: &Schema) -> SchemaRef {
    let fields: Vec<Field> = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect();
    SchemaRef::new(Schema::new(fields))
}

fn in_schema(batch: RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    if batch.schema_ref() == schema || batch.num_columns() == 0 {
        return Ok(batch);
    }
    RecordBatch::try_new(SchemaRef::clone(schema), batch.columns().to_vec()).map_err(|error| {
        Error::new(ErrorKind::Query, format!("the rows of a result do not match its columns: {error}"))
    })
}

/// Converts the result of encoding rows.
fn check_encoding(result: Result<(), ArrowError>) -> Result<()> {
    match result {
        Ok(()) => Ok(()),
        Err(ArrowError::IoError(_, error)) => check_write(Err(error)),
        Err(ArrowError::CsvError(text)) if text.contains("Broken pipe") => {
            check_write(Err(io::ErrorKind::BrokenPipe.into()))
        }
        // The CSV writer reports an I/O error only as its text.
        Err(ArrowError::CsvError(text)) if text.contains("(os error ") => check_write(Err(std::io::Error::other(text))),
        Err(error) => Err(Error::new(ErrorKind::Query, error.to_string())),
    }
}
