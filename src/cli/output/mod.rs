//! Rows, as they are printed, or written to a file.

mod binary;
mod file;
mod plain;
mod table;
mod text;

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use clerk_lake::query::failed;
use clerk_lake::{Error, ErrorKind, Result};
use datafusion::dataframe::DataFrame;
use futures::TryStreamExt;

use super::arguments::Format;
use super::terminal::written;
pub use file::OutputFile;

/// Where encoded rows go.
type Out<'a> = Box<dyn Write + Send + 'a>;

/// The endings of files, and the formats that they stand for.
const ENDINGS: [(&str, Format); 10] = [
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

/// The format that a file's ending stands for.
pub fn format_of(file: &Path) -> Option<Format> {
    let ending = file.extension()?.to_str()?;
    ENDINGS.iter().find(|(known, _)| ending.eq_ignore_ascii_case(known)).map(|(_, format)| *format)
}

/// In which format rows are wanted, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// How they are encoded.
    pub format: Format,
    /// The file they go to; none for standard output.
    pub file: Option<PathBuf>,
}

impl Target {
    /// What `--format` and `--output` ask for; `-` is standard output.
    ///
    /// # Errors
    /// [`Settings`](ErrorKind::Settings) where a file's ending does not tell the format, or binary data would go to a
    /// terminal.
    pub fn of(format: Option<Format>, output: Option<&Path>) -> Result<Self> {
        let file = output.filter(|file| *file != Path::new("-")).map(Path::to_path_buf);
        let format = match (format, &file) {
            (Some(format), _) => format,
            (None, None) => Format::Table,
            (None, Some(file)) => format_of(file).ok_or_else(|| {
                Error::settings(format!("the ending of {} does not say which format is wanted", file.display()))
                    .with_hint("add --format, or end the name in .csv, .json, .ndjson, .parquet, .arrow or .txt")
            })?,
        };
        let target = Self { format, file };
        target.check_terminal()?;
        Ok(target)
    }

    fn check_terminal(&self) -> Result<()> {
        if self.file.is_none() && self.holds_one_result() && io::stdout().is_terminal() {
            return Err(Error::settings("Parquet and Arrow are not to be read on a terminal")
                .with_hint("name a file with --output, or send the output to another program"));
        }
        Ok(())
    }

    /// Whether only one result fits there.
    pub fn holds_one_result(&self) -> bool {
        self.file.is_some() || matches!(self.format, Format::Parquet | Format::Arrow)
    }
}

/// Rows of one schema, encoded as they come.
trait Encoder {
    /// Takes in rows.
    fn write(&mut self, batch: &RecordBatch) -> Result<()>;

    /// Whether anything has been sent out: some encoders wait.
    fn has_begun(&self) -> bool;

    /// Sends out what ends the output.
    fn finish(self: Box<Self>) -> Result<()>;
}

/// Where one result goes: to standard output, or to a file that is there once all of it is.
pub struct Sink<'a> {
    format: Format,
    file: Option<OutputFile>,
    /// Where rows go; none once the encoder has it.
    out: Option<Out<'a>>,
    schema: Option<SchemaRef>,
    encoder: Option<Box<dyn Encoder + 'a>>,
    rows: u64,
}

impl<'a> Sink<'a> {
    /// Nothing is sent out yet. What goes to standard output goes to `out`.
    ///
    /// # Errors
    /// [`Settings`](ErrorKind::Settings) where the file cannot be made.
    pub fn open(target: &Target, out: &'a mut (dyn Write + Send)) -> Result<Self> {
        let file = target.file.as_deref().map(OutputFile::create).transpose()?;
        let out: Out<'a> = match &file {
            Some(file) => Box::new(file.writer()?),
            None => Box::new(out),
        };
        Ok(Self { format: target.format, file, out: Some(out), schema: None, encoder: None, rows: 0 })
    }

    /// Whether nothing has been sent out that would stay: what goes to a file only counts once all of it is there.
    pub fn is_untouched(&self) -> bool {
        self.file.is_some() || !self.encoder.as_ref().is_some_and(|encoder| encoder.has_begun())
    }

    /// Runs `answers` and takes in their rows, one answer after the other.
    ///
    /// # Errors
    /// [`Query`](ErrorKind::Query) where one fails on the way; [`Conflict`](ErrorKind::Conflict) where it does because
    /// another run has replaced the files that it reads.
    pub async fn print(&mut self, answers: Vec<DataFrame>) -> Result<()> {
        let are_several = answers.len() > 1;
        for answer in answers {
            let mut batches = answer.execute_stream().await.map_err(|error| failed(&error))?;
            let own = batches.schema();
            let schema = self.schema.get_or_insert_with(|| if are_several { with_nulls(&own) } else { own });
            let schema = SchemaRef::clone(schema);
            while let Some(batch) = batches.try_next().await.map_err(|error| failed(&error))? {
                self.write(&in_schema(batch, &schema)?)?;
            }
        }
        Ok(())
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.rows += batch.num_rows() as u64;
        self.encoder()?.write(batch)
    }

    /// The encoder, which is there from the first rows on.
    fn encoder(&mut self) -> Result<&mut (dyn Encoder + 'a)> {
        if self.encoder.is_none() {
            let schema = self.schema.clone().unwrap_or_else(|| SchemaRef::new(Schema::empty()));
            let out = self.out.take().ok_or_else(|| Error::bug("rows go nowhere"))?;
            self.encoder = Some(encoder(self.format, &schema, out, self.file.is_some())?);
        }
        self.encoder.as_deref_mut().ok_or_else(|| Error::bug("rows without an encoder"))
    }

    /// Sends out what ends the output, and puts the file in its place; gives the number of rows.
    ///
    /// # Errors
    /// [`Unreachable`](ErrorKind::Unreachable) where the output cannot be written.
    pub fn finish(mut self) -> Result<u64> {
        self.encoder()?;
        if let Some(encoder) = self.encoder.take() {
            encoder.finish()?;
        }
        self.file.map_or(Ok(()), OutputFile::put_in_place)?;
        Ok(self.rows)
    }
}

fn encoder<'a>(format: Format, schema: &SchemaRef, out: Out<'a>, is_file: bool) -> Result<Box<dyn Encoder + 'a>> {
    let encoder: Box<dyn Encoder + 'a> = match format {
        Format::Table => Box::new(table::Table::new(schema, out)),
        Format::Csv => Box::new(text::Csv::new(schema, out)),
        Format::Json => Box::new(text::Json::new(out)),
        Format::Ndjson => Box::new(text::Ndjson::new(out)),
        Format::Parquet => Box::new(binary::Parquet::new(schema, out)?),
        Format::Arrow if is_file => Box::new(binary::ArrowFile::new(schema, out)?),
        Format::Arrow => Box::new(binary::ArrowStream::new(schema, out)?),
    };
    Ok(encoder)
}

/// The same columns, all of which may be null: of several answers, one may have nulls where another has none.
fn with_nulls(schema: &Schema) -> SchemaRef {
    let fields: Vec<Field> = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect();
    SchemaRef::new(Schema::new(fields))
}

fn in_schema(batch: RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    if batch.schema_ref() == schema || batch.num_columns() == 0 {
        return Ok(batch);
    }
    RecordBatch::try_new(SchemaRef::clone(schema), batch.columns().to_vec())
        .map_err(|error| Error::new(ErrorKind::Query, format!("an answer's rows do not fit its columns: {error}")))
}

/// A failed encoding of rows; a reader that has gone away is none.
fn sent(result: Result<(), ArrowError>) -> Result<()> {
    match result {
        Ok(()) => Ok(()),
        Err(ArrowError::IoError(_, error)) => written(Err(error)),
        Err(ArrowError::CsvError(text)) if text.contains("Broken pipe") => Ok(()),
        // The writer of CSV passes on the text of what the system says.
        Err(ArrowError::CsvError(text)) if text.contains("(os error ") => written(Err(std::io::Error::other(text))),
        Err(error) => Err(Error::new(ErrorKind::Query, error.to_string())),
    }
}
