//! Rows as Parquet and Arrow, types and all.

use std::io::{self, Write};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::ipc::writer::{FileWriter, StreamWriter};
use clerk_lake::{Error, ErrorKind, Result};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;

use super::{Encoder, Out, plain, sent};
use crate::cli::terminal::written;

/// Rows in a row group: enough for an engine to skip by, few enough to be held in memory.
const ROW_GROUP_ROWS: usize = 128 * 1024;

/// Bytes after which a row group is closed before it has that many rows.
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
        Ok(Self { writer: writer.map_err(refused)?, schema })
    }
}

impl Encoder for Parquet<'_> {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let batch = plain::batch(batch, &self.schema).map_err(ParquetError::from).map_err(refused)?;
        encoded(self.writer.write(&batch))
    }

    fn has_begun(&self) -> bool {
        true
    }

    fn finish(self: Box<Self>) -> Result<()> {
        match self.writer.into_inner() {
            Ok(mut out) => written(out.flush()),
            Err(error) => encoded(Err(error)),
        }
    }
}

/// A failed encoding of rows; a reader that has gone away is none.
fn encoded(result: Result<(), ParquetError>) -> Result<()> {
    match result {
        Ok(()) => Ok(()),
        Err(ParquetError::External(error)) => match error.downcast::<io::Error>() {
            Ok(error) => written(Err(*error)),
            Err(error) => Err(Error::new(ErrorKind::Query, error.to_string())),
        },
        Err(error) => Err(refused(error)),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn refused(error: ParquetError) -> Error {
    Error::new(ErrorKind::Query, format!("these columns cannot be written as Parquet: {error}"))
        .with_hint("cast what Parquet has no type for, or choose another --format")
}

/// An Arrow IPC file: with a footer, by which a reader finds every batch.
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
        sent(plain::batch(batch, &self.schema).and_then(|batch| self.writer.write(&batch)))
    }

    fn has_begun(&self) -> bool {
        true
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        sent(self.writer.finish())?;
        sent(self.writer.flush())
    }
}

/// An Arrow IPC stream, to be read as it comes.
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
        sent(plain::batch(batch, &self.schema).and_then(|batch| self.writer.write(&batch)))
    }

    fn has_begun(&self) -> bool {
        true
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        sent(self.writer.finish())?;
        sent(self.writer.flush())
    }
}
