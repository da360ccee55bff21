//! What staged rows would change in a table: row by row, by a hash of the content.
//!
//! `_synced_at` is not content: a row that was read again and is the same as before has not changed. Rows are
//! told apart by a 64-bit hash over all other columns, so that wide rows are joined at the cost of narrow ones.

use std::collections::HashSet;
use std::hash::BuildHasher;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch, UInt64Array};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Int64Type, Schema};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};
use chrono::DateTime;
use datafusion::common::Statistics;
use datafusion::common::hash_utils::QualityRandomState;
use datafusion::common::stats::Precision;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::context::SessionContext;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use datafusion::prelude::{col, lit};
use deltalake::kernel::Add;
use futures::TryStreamExt;
use object_store::ObjectMeta;
use object_store::path::Path;

use super::change::Counts;
use super::data_files::{DataFiles, key_value};
use super::table::Table;
use super::writer::StagedRows;
use super::{Lake, store_error};
use crate::error::{Error, Result, chain};
use crate::table::{SYNCED_AT, TableSpec};

/// What a comparing session calls the rows that a table has.
pub(super) const COMMITTED: &str = "committed";

/// What it calls the staged ones.
pub(super) const STAGED: &str = "staged";

/// Staged rows that are new or differ, staged once more without the others, and how many of each.
pub(super) struct Changed {
    pub rows: StagedRows,
    pub counts: Counts,
}

/// Counts what replacing `table`'s rows by `staged` changes.
pub(super) async fn replacement(table: &Table, staged: &StagedRows) -> Result<Counts> {
    let session = session_with(table, staged).await?;
    let sql = format!("SELECT count(*), count(*) FILTER (WHERE NOT same) FROM ({})", matches(table.spec));
    let batches = session.sql(&sql).await.map_err(|error| failed(&error))?.collect().await;
    let batches = batches.map_err(|error| failed(&error))?;
    let value = |column: usize| {
        let batch = batches.iter().find(|batch| batch.num_rows() > 0)?;
        u64::try_from(batch.column(column).as_primitive_opt::<Int64Type>()?.value(0)).ok()
    };
    let (Some(matched), Some(updated)) = (value(0), value(1)) else {
        return Err(Error::bug("a count of changes that is no number"));
    };
    Ok(Counts { inserted: staged.rows.saturating_sub(matched), updated, deleted: table.rows().saturating_sub(matched) })
}

/// The `staged` rows that are new to `table` or differ from its own. Memory grows with the number of rows that
/// are the same, by a few bytes each.
pub(super) async fn changed_rows(table: &Table, staged: &StagedRows) -> Result<Changed> {
    rows_without_match(table, staged, &matches(table.spec)).await
}

/// The `staged` rows whose key `table` lacks.
pub(super) async fn new_rows(table: &Table, staged: &StagedRows) -> Result<Changed> {
    let keys: Vec<_> = table.spec.key.iter().map(|column| format!("n.{column}")).collect();
    let on: Vec<_> = table.spec.key.iter().map(|column| format!("n.{column} = o.{column}")).collect();
    let (keys, on) = (keys.join(", "), on.join(" AND "));
    rows_without_match(table, staged, &format!("SELECT {keys}, true AS same FROM staged n JOIN committed o ON {on}"))
        .await
}

/// The rows of `staged` but those that `matches` finds to be the same.
async fn rows_without_match(table: &Table, staged: &StagedRows, matches: &str) -> Result<Changed> {
    let start = tokio::time::Instant::now();
    let session = session_with(table, staged).await?;
    let mut found = 0;
    let mut same = Keys::new(table.spec);
    let mut joined = rows_by(&session, matches).await?;
    while let Some(batch) = joined.try_next().await.map_err(|error| failed(&error))? {
        found += batch.num_rows() as u64;
        same.insert_where(&batch, true)?;
    }
    let mut writer = table.writer()?;
    let mut rows = all_rows(&session, STAGED).await?;
    while let Some(batch) = rows.try_next().await.map_err(|error| failed(&error))? {
        writer.write_stamped(same.not_in(&batch, table.spec)?).await?;
    }
    let rows = writer.finish().await?;
    let inserted = staged.rows.saturating_sub(found);
    tracing::debug!(table = table.spec.name, elapsed_ms = start.elapsed().as_millis(), "compared with the table");
    Ok(Changed { counts: Counts { inserted, updated: rows.rows.saturating_sub(inserted), deleted: 0 }, rows })
}

/// All rows that the session knows by the name of `side`.
pub(super) async fn all_rows(session: &SessionContext, side: &str) -> Result<SendableRecordBatchStream> {
    rows_by(session, &format!("SELECT * FROM {side}")).await
}

/// All `staged` rows, compared with nothing.
pub(super) async fn all_staged(table: &Table, staged: &StagedRows) -> Result<SendableRecordBatchStream> {
    let session = table.lake.narrow_session();
    let rows = staged_table(&table.lake, table.spec, staged)?;
    session.register_table(STAGED, Arc::new(rows)).map_err(|error| failed(&error))?;
    all_rows(&session, STAGED).await
}

async fn rows_by(session: &SessionContext, sql: &str) -> Result<SendableRecordBatchStream> {
    let rows = session.sql(sql).await.map_err(|error| failed(&error))?;
    rows.execute_stream().await.map_err(|error| failed(&error))
}

/// The rows of `table` whose key column (it must have just one) is among `keys`.
pub(super) async fn rows_of(table: &Table, keys: &[String]) -> Result<Vec<RecordBatch>> {
    let session = table.lake.narrow_session();
    session.register_table("committed", table.provider().await?).map_err(|error| failed(&error))?;
    let key = table.spec.key.first().copied().unwrap_or_default();
    let committed = session.table("committed").await.map_err(|error| failed(&error))?;
    let wanted = keys.iter().map(|key| lit(key.as_str())).collect();
    let rows = committed.filter(col(key).in_list(wanted, false)).map_err(|error| failed(&error))?;
    let rows = rows.collect().await.map_err(|error| failed(&error))?;
    rows.iter().map(|batch| crate::table::conform(batch, &table.spec.schema())).collect()
}

/// For every staged row whose key the table has: the key, and whether the content is the same.
fn matches(spec: &TableSpec) -> String {
    let (key, hash) = (spec.key.join(", "), content_hash(spec));
    let keys: Vec<_> = spec.key.iter().map(|column| format!("n.{column}")).collect();
    let on: Vec<_> = spec.key.iter().map(|column| format!("n.{column} = o.{column}")).collect();
    format!(
        "SELECT {}, n.h = o.h AS same FROM (SELECT {key}, {hash} AS h FROM staged) n \
         JOIN (SELECT {key}, {hash} AS h FROM committed) o ON {}",
        keys.join(", "),
        on.join(" AND ")
    )
}

/// Which committed and staged rows belong together, by their keys.
pub(super) struct Matches {
    spec: &'static TableSpec,
    same: Keys,
    differing: Keys,
}

impl Matches {
    /// Those of a comparing session.
    pub(super) async fn find(session: &SessionContext, spec: &'static TableSpec) -> Result<Self> {
        let (mut same, mut differing) = (Keys::new(spec), Keys::new(spec));
        let mut joined = rows_by(session, &matches(spec)).await?;
        while let Some(batch) = joined.try_next().await.map_err(|error| failed(&error))? {
            same.insert_where(&batch, true)?;
            differing.insert_where(&batch, false)?;
        }
        Ok(Self { spec, same, differing })
    }

    /// The rows of `batch`, of either side, that the other side lacks, and those that it has with other content.
    pub(super) fn split(&mut self, batch: &RecordBatch) -> Result<(RecordBatch, RecordBatch)> {
        let batch = crate::table::conform(batch, &self.spec.schema())?;
        let keys = self.same.fingerprints(&batch)?;
        let (same, differing) = (&self.same.seen, &self.differing.seen);
        let only = |is_one: &dyn Fn(&u128) -> bool| {
            let ones: BooleanArray = keys.iter().map(|key| Some(is_one(key))).collect();
            filter_record_batch(&batch, &ones).map_err(|error| Error::bug(error.to_string()))
        };
        let alone = only(&|key| !same.contains(key) && !differing.contains(key))?;
        Ok((alone, only(&|key| differing.contains(key))?))
    }
}

/// Keys of rows, at 16 bytes each.
struct Keys {
    converter: Result<RowConverter, ArrowError>,
    columns: &'static [&'static str],
    seen: HashSet<u128>,
}

impl Keys {
    fn new(spec: &TableSpec) -> Self {
        let schema = spec.schema();
        let fields = spec.key.iter().map(|name| schema.field_with_name(name).map(|it| it.data_type().clone()));
        let fields = fields.map(|data_type| data_type.map(SortField::new)).collect::<Result<Vec<_>, _>>();
        Self { converter: fields.and_then(RowConverter::new), columns: spec.key, seen: HashSet::new() }
    }

    fn fingerprints(&mut self, batch: &RecordBatch) -> Result<Vec<u128>> {
        let bug = |error: &ArrowError| Error::bug(format!("keys cannot be compared: {error}"));
        let columns = self.columns.iter().filter_map(|name| batch.column_by_name(name).cloned()).collect::<Vec<_>>();
        let converter = self.converter.as_mut().map_err(|error| bug(error))?;
        let rows = converter.convert_columns(&columns).map_err(|error| bug(&error))?;
        let hashers = [QualityRandomState::with_seed(1), QualityRandomState::with_seed(2)];
        let hash = |row: &[u8]| u128::from(hashers[0].hash_one(row)) << 64 | u128::from(hashers[1].hash_one(row));
        Ok(rows.iter().map(|row| hash(row.as_ref())).collect())
    }

    /// Takes in those of the joined rows that are the `same`, or those that are not.
    fn insert_where(&mut self, joined: &RecordBatch, same: bool) -> Result<()> {
        let keys = self.fingerprints(joined)?;
        let flags = joined.column_by_name("same").and_then(|column| column.as_boolean_opt());
        let flags = flags.ok_or_else(|| Error::bug("rows compared without a result"))?;
        self.seen.extend(keys.into_iter().zip(flags).filter(|(_, flag)| *flag == Some(same)).map(|(key, _)| key));
        Ok(())
    }

    /// The rows of `batch` whose keys are not among these, in the schema of `spec`.
    fn not_in(&mut self, batch: &RecordBatch, spec: &TableSpec) -> Result<RecordBatch> {
        let keys = self.fingerprints(batch)?;
        let others: BooleanArray = keys.iter().map(|key| Some(!self.seen.contains(key))).collect();
        let batch = filter_record_batch(batch, &others).map_err(|error| Error::bug(error.to_string()))?;
        crate::table::conform(&batch, &spec.schema())
    }
}

/// A session that knows the rows of `table` and the `staged` ones.
pub(super) async fn session_with(table: &Table, staged: &StagedRows) -> Result<SessionContext> {
    let session = table.lake.narrow_session();
    session.register_udf(ScalarUDF::from(ContentHash::new(table.spec)));
    session.register_table(COMMITTED, table.provider().await?).map_err(|error| failed(&error))?;
    let staged = staged_table(&table.lake, table.spec, staged)?;
    session.register_table(STAGED, Arc::new(staged)).map_err(|error| failed(&error))?;
    Ok(session)
}

/// Staged rows as a table that DataFusion can read. It reads the files by their names: one that is gone is an error,
/// where a listing would find nothing new.
pub(super) fn staged_table(lake: &Lake, spec: &TableSpec, staged: &StagedRows) -> Result<DataFiles> {
    let schema = spec.schema();
    let (keys, rest): (Vec<_>, Vec<_>) =
        schema.fields().iter().cloned().partition(|field| Some(field.name().as_str()) == spec.partition);
    let columns = TableSchema::builder(Arc::new(Schema::new(rest))).with_table_partition_cols(keys).build();
    let files = staged.adds.iter().zip(&staged.files);
    let files = files.map(|(add, file)| staged_file(add, file, &columns)).collect::<Result<_>>()?;
    DataFiles::new(lake, schema, columns, files)
}

/// The staged file `add`, which lies at `file` in the whole store.
fn staged_file(add: &Add, file: &Path, columns: &TableSchema) -> Result<PartitionedFile> {
    let bug = |error: &(dyn std::error::Error + 'static)| Error::bug(chain(error));
    let mut listed = PartitionedFile::new_from_meta(ObjectMeta {
        location: file.clone(),
        last_modified: DateTime::from_timestamp_millis(add.modification_time).unwrap_or_default(),
        size: u64::try_from(add.size).map_err(|error| bug(&error))?,
        e_tag: None,
        version: None,
    });
    for key in columns.table_partition_cols() {
        let value = add.partition_values.get(key.name()).cloned().flatten();
        listed.partition_values.push(key_value(value, key.data_type()).map_err(|error| bug(&error))?);
    }
    let told = add.get_stats().ok().flatten().and_then(|stats| usize::try_from(stats.num_records).ok());
    let rows = told.map_or(Precision::Absent, Precision::Exact);
    listed.statistics = Some(Arc::new(Statistics::new_unknown(columns.table_schema()).with_num_rows(rows)));
    Ok(listed)
}

/// The call that hashes a row's content.
fn content_hash(spec: &TableSpec) -> String {
    let schema = spec.schema();
    let columns = schema.fields().iter().map(|field| field.name().as_str()).filter(|name| *name != SYNCED_AT);
    format!("content_hash({})", columns.collect::<Vec<_>>().join(", "))
}

pub(super) fn failed(error: &DataFusionError) -> Error {
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
        let values: UInt64Array = encoded.iter().map(|row| Some(hasher.hash_one(row.as_ref()))).collect();
        Ok(ColumnarValue::Array(Arc::new(values)))
    }
}
