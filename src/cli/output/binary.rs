//! Rows as Parquet and Arrow.

use std::io::{self, Write};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::ipc::writer::{FileWriter, StreamWriter};
use clerk_lake::{Error, ErrorKind, Result};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;

use super::{Encoder, Out, check_encoding, plain};
use crate::cli::terminal::check_write;

/// Rows in a row group: enough that engines can skip row groups, few enough to hold one in memory.
const ROW_GROUP_ROWS: usize = 128 * 1024;

/// Bytes at which a row group is closed even if it has fewer rows.
const ROW_GROUP_BYTES: usize = 64 * 1024 * 1024;

/// A Parquet file, compressed with zstd.
pub struct Parquet<'a> {
    schema: SchemaRef,
    writer: ArrowWriter<Out<'a>>,
}

impl<'a> Parquet<'a> {
    pub fn new(schema: &SchemaRef, out: Out<'a>) -> Result<Self> {
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
            .set_max_row_group_bytes(Some(ROW_GROUP_BYTES))
            .set_created_by(concat!("clerk-lake ", env!("CARGO_PKG_VERSION")).to_owned())
            .build();
        let schema = plain::schema(schema);
        let writer = ArrowWriter::try_new(out, SchemaRef::clone(&schema), Some(properties));
        Ok(Self { writer: writer.map_err(parquet_error)?, schema })
    }
}

impl Encoder for Parquet<'_> {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let batch = plain::batch(batch, &self.schema).map_err(ParquetError::from).map_err(parquet_error)?;
        check_parquet(self.writer.write(&batch))
    }

    fn has_written(&self) -> bool {
        true
    }

    fn finish(self: Box<Self>) -> Result<()> {
        match self.writer.into_inner() {
            Ok(mut out) => check_write(out.flush()),
            Err(error) => check_parquet(Err(error)),
        }
    }
}

/// Converts the result of writing Parquet. A broken pipe is not an error.
fn check_parquet(result: Result<(), ParquetError>) -> Result<()> {
    match result {
        Ok(()) => Ok(()),
        Err(ParquetError::External(error)) => match error.downcast::<io::Error>() {
            Ok(error) => check_write(Err(*error)),
            Err(error) => Err(Error::new(ErrorKind::Query, error.to_string())),
        },
        Err(error) => Err(parquet_error(error)),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn parquet_error(error: ParquetError) -> Error {
    Error::new(ErrorKind::Query, format!("cannot write these columns as Parquet: {error}"))
        .with_hint("cast columns whose type Parquet does not have, or choose another --format")
}

/// An Arrow IPC file. Its footer gives readers random access to the batches.
pub struct ArrowFile<'a> {
    schema: SchemaRef,
    writer: FileWriter<Out<'a>>,
}

impl<'a> ArrowFile<'a> {
    pub fn new(schema: &SchemaRef, out: Out<'a>) -> Result<Self> {
        let schema = plain::schema(schema);
        let writer = FileWriter::try_new(out, &schema);
        Ok(Self { writer: writer.map_err(|error| Error::new(ErrorKind::Query, error.to_string()))?, schema })
    }
}

impl Encoder for ArrowFile<'_> {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        check_encoding(plain::batch(batch, &self.schema).and_then(|batch| self.writer.write(&batch)))
    }

    fn has_written(&self) -> bool {
        true
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        check_encoding(self.writer.finish())?;
        check_encoding(self.writer.flush())
    }
}

/// An Arrow IPC stream, which is read sequentially.
pub struct ArrowStream<'a> {
    schema: SchemaRef,
    writer: StreamWriter<Out<'a>>,
}

impl<'a> ArrowStream<'a> {
    pub fn new(schema: &SchemaRef, out: Out<'a>) -> Result<Self> {
        let schema = plain::schema(schema);
        let writer = StreamWriter::try_new(out, &schema);
        Ok(Self { writer: writer.map_err(|error| Error::new(ErrorKind::Query, error.to_string()))?, schema })
    }
}

impl Encoder for ArrowStream<'_> {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        check_encoding(plain::batch(batch, &self.schema).and_then(|batch| self.writer.write(&batch)))
    }

    fn has_written(&self) -> bool {
        true
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        check_encoding(self.writer.finish())?;
        check_encoding(self.writer.flush())
    }
}
