//! What staged rows would change in a table: row by row, by a hash of the content.
//!
//! `_synced_at` is not content: a row that was read again and is the same as before has not changed. Rows are
//! told apart by a 64-bit hash over all other columns, so that wide rows are joined at the cost of narrow ones.

use std::hash::BuildHasher;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array, UInt64Array};
use arrow::datatypes::{DataType, Schema};
use arrow::row::{RowConverter, SortField};
use datafusion::common::hash_utils::QualityRandomState;
use datafusion::dataframe::DataFrame;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl};
use datafusion::error::DataFusionError;
use datafusion::execution::context::SessionContext;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use super::commit::Counts;
use super::table::Table;
use super::writer::StagedRows;
use super::{Lake, store_error};
use crate::error::{Error, Result};
use crate::table::{SYNCED_AT, TableSpec};

/// Rows that are new or differ, and how many of each.
pub(super) struct Changed {
    pub rows: DataFrame,
    pub counts: Counts,
}

/// Counts what replacing `table`'s rows by `staged` changes.
pub(super) async fn replacement(table: &Table, staged: &StagedRows) -> Result<Counts> {
    let session = session_with(table, staged).await?;
    let (key, hash) = (key_list(table.spec), content_hash(table.spec));
    let first = table.spec.key.first().copied().unwrap_or_default();
    count(
        &session,
        &format!(
            "SELECT count(*) FILTER (WHERE o.{first} IS NULL), \
                    count(*) FILTER (WHERE o.h <> n.h), \
                    count(*) FILTER (WHERE n.{first} IS NULL) \
             FROM (SELECT {key}, {hash} AS h FROM committed) o \
             FULL JOIN (SELECT {key}, {hash} AS h FROM staged) n ON {on}",
            on = on(table.spec, "o", "n"),
        ),
    )
    .await
}

/// The `staged` rows that are new to `table` or differ from its own.
pub(super) async fn changed_rows(table: &Table, staged: &StagedRows) -> Result<Changed> {
    let session = session_with(table, staged).await?;
    let (key, hash) = (key_list(table.spec), content_hash(table.spec));
    let first = table.spec.key.first().copied().unwrap_or_default();
    let joined = format!(
        "FROM (SELECT *, {hash} AS h FROM staged) n \
         LEFT JOIN (SELECT {key}, {hash} AS h FROM committed) o ON {on} \
         WHERE o.{first} IS NULL OR o.h <> n.h",
        on = on(table.spec, "o", "n"),
    );
    let counts = count(
        &session,
        &format!(
            "SELECT count(*) FILTER (WHERE o.{first} IS NULL), count(*) FILTER (WHERE o.{first} IS NOT NULL), 0 {joined}"
        ),
    )
    .await?;
    let columns = table.spec.schema();
    let columns: Vec<_> = columns.fields().iter().map(|field| format!("n.{}", field.name())).collect();
    let rows = session.sql(&format!("SELECT {} {joined}", columns.join(", "))).await.map_err(|error| failed(&error))?;
    Ok(Changed { rows, counts })
}

async fn session_with(table: &Table, staged: &StagedRows) -> Result<SessionContext> {
    let session = table.lake.session();
    session.register_udf(ScalarUDF::from(ContentHash::new(table.spec)));
    session.register_table("committed", table.provider().await?).map_err(|error| failed(&error))?;
    let staged = staged_table(&table.lake, table.spec, staged)?;
    session.register_table("staged", Arc::new(staged)).map_err(|error| failed(&error))?;
    Ok(session)
}

/// Staged rows as a table that DataFusion can read.
pub(super) fn staged_table(lake: &Lake, spec: &TableSpec, staged: &StagedRows) -> Result<ListingTable> {
    let schema = spec.schema();
    let (inside, partition): (Vec<_>, Vec<_>) =
        schema.fields().iter().cloned().partition(|field| Some(field.name().as_str()) != spec.partition);
    let partition = partition.iter().map(|field| (field.name().clone(), field.data_type().clone())).collect();
    let options = ListingOptions::new(Arc::new(ParquetFormat::default())).with_table_partition_cols(partition);
    let url = lake.location().url_of(&staged.staging)?;
    let url = ListingTableUrl::parse(url.as_str()).map_err(|error| failed(&error))?;
    let config = ListingTableConfig::new(url).with_listing_options(options).with_schema(Arc::new(Schema::new(inside)));
    ListingTable::try_new(config).map_err(|error| failed(&error))
}

async fn count(session: &SessionContext, sql: &str) -> Result<Counts> {
    let batches = session.sql(sql).await.map_err(|error| failed(&error))?.collect().await;
    let batches = batches.map_err(|error| failed(&error))?;
    let value = |column: usize| {
        let batch = batches.iter().find(|batch| batch.num_rows() > 0)?;
        let values = batch.column(column).as_any().downcast_ref::<Int64Array>()?;
        u64::try_from(values.value(0)).ok()
    };
    match (value(0), value(1), value(2)) {
        (Some(inserted), Some(updated), Some(deleted)) => Ok(Counts { inserted, updated, deleted }),
        _ => Err(Error::bug("a count of changes that is no number")),
    }
}

fn key_list(spec: &TableSpec) -> String {
    spec.key.join(", ")
}

fn on(spec: &TableSpec, left: &str, right: &str) -> String {
    let same = spec.key.iter().map(|column| format!("{left}.{column} = {right}.{column}"));
    same.collect::<Vec<_>>().join(" AND ")
}

/// The call that hashes a row's content.
fn content_hash(spec: &TableSpec) -> String {
    let schema = spec.schema();
    let columns = schema.fields().iter().map(|field| field.name().as_str()).filter(|name| *name != SYNCED_AT);
    format!("content_hash({})", columns.collect::<Vec<_>>().join(", "))
}

fn failed(error: &DataFusionError) -> Error {
    store_error("rows could not be compared with the table", error)
}

/// `content_hash(column, …)`: a 64-bit hash over all its arguments, each brought to the table's own type first.
#[derive(Debug, PartialEq, Eq, Hash)]
struct ContentHash {
    signature: Signature,
    types: Vec<DataType>,
}

impl ContentHash {
    fn new(spec: &TableSpec) -> Self {
        let schema = spec.schema();
        let content = schema.fields().iter().filter(|field| field.name() != SYNCED_AT);
        let types = content.map(|field| field.data_type().clone()).collect();
        Self { signature: Signature::variadic_any(Volatility::Immutable), types }
    }
}

impl ScalarUDFImpl for ContentHash {
    fn name(&self) -> &'static str {
        "content_hash"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType, DataFusionError> {
        Ok(DataType::UInt64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue, DataFusionError> {
        let rows = args.number_rows;
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(args.args.len());
        for (value, expected) in args.args.into_iter().zip(&self.types) {
            let array = value.into_array(rows)?;
            arrays.push(if array.data_type() == expected { array } else { arrow::compute::cast(&array, expected)? });
        }
        let fields = self.types.iter().cloned().map(SortField::new).collect();
        // The row format tells null from empty and one column's null from another's; hashing values alone does not.
        let encoded = RowConverter::new(fields)?.convert_columns(&arrays)?;
        let hasher = QualityRandomState::with_seed(0);
        let hashes: UInt64Array = encoded.iter().map(|row| Some(hasher.hash_one(row.as_ref()))).collect();
        Ok(ColumnarValue::Array(Arc::new(hashes)))
    }
}
