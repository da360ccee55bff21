//! A snapshot as a plain list of Parquet files, each with its partition key: what a plan can be made of that is
//! carried out elsewhere, by an engine that knows nothing of Delta and lists nothing by itself.
//!
//! DataFusion's own `ListingTable` will not do. Told of single files, it finds no partition keys in their paths, and
//! drops every file where a query asks for a key; and a file that is gone is an empty list to it, not an error.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::{DFSchema, ScalarValue, Statistics, project_schema};
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::listing::helpers::{expr_applicable_for_cols, filter_partitioned_file};
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder};
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::DataFusionError;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use deltalake::kernel::LogicalFileView;
use object_store::ObjectMeta;

use super::damaged_rows::DamagedRows;
use super::layout::join;
use super::{Lake, Table, store_error};
use crate::error::{Error, ErrorKind, Result, chain};

/// The table property by which columns may go by other names in the files.
const COLUMN_MAPPING: &str = "delta.columnMapping.mode";

impl Table {
    /// The table at the version that it is open at, as DataFusion reads a list of Parquet files: a plan over it can
    /// be carried out wherever these files can be reached by their URLs. Where a commit supersedes one of them before
    /// it is read, the plan fails: it never gives fewer rows.
    ///
    /// # Errors
    /// [`Query`](ErrorKind::Query) where another program has given the table what its files alone do not tell
    /// (deletion vectors, columns by other names); [`Unreachable`](ErrorKind::Unreachable) where the table has not
    /// been written yet.
    pub fn as_files(&self) -> Result<Arc<dyn TableProvider>> {
        if let Some(error) = &self.damaged {
            return Ok(Arc::new(DamagedRows { schema: self.spec().schema(), error: error.clone() }));
        }
        let schema = self.plain_schema()?;
        let (keys, rest) = self.keys_and_rest(&schema);
        let columns = TableSchema::builder(Arc::new(Schema::new(rest))).with_table_partition_cols(keys).build();
        let state = self.delta.snapshot().map_err(|error| Error::bug(chain(&error)))?;
        let files = state.log_data().iter().map(|file| self.listed(&file, &columns)).collect::<Result<_>>()?;
        Ok(Arc::new(DataFiles::new(&self.lake, schema, columns, files)?))
    }

    /// The table's columns, which its files have by the same names.
    pub(super) fn plain_schema(&self) -> Result<SchemaRef> {
        let name = self.spec().name;
        let state = self.delta.snapshot();
        let state = state.map_err(|error| store_error(&format!("the table {name} cannot be read"), &error))?;
        if self.property(COLUMN_MAPPING).is_some_and(|mode| mode != "none") {
            return Err(not_plain(name, "its columns have other names in the files"));
        }
        Ok(state.snapshot().arrow_schema())
    }

    /// The column that names the files' directories, if there is one, and those that are in the files.
    pub(super) fn keys_and_rest(&self, schema: &Schema) -> (Vec<FieldRef>, Vec<FieldRef>) {
        schema.fields().iter().cloned().partition(|field| self.spec().partition == Some(field.name().as_str()))
    }

    /// A data file as DataFusion knows one, by its path from the store's root.
    fn listed(&self, file: &LogicalFileView, columns: &TableSchema) -> Result<PartitionedFile> {
        let name = self.spec().name;
        if file.deletion_vector_descriptor().is_some() {
            return Err(not_plain(name, "rows of its files are marked as deleted"));
        }
        let bug = |error: &(dyn std::error::Error + 'static)| Error::bug(format!("{name}: {}", chain(error)));
        let location = join(&self.lake.table_prefix(name), &file.object_store_path());
        let mut listed = PartitionedFile::new_from_meta(ObjectMeta {
            location,
            last_modified: file.modification_datetime().map_err(|error| bug(&error))?,
            size: u64::try_from(file.size()).map_err(|error| bug(&error))?,
            e_tag: None,
            version: None,
        });
        let mut values = file.partition_values_map();
        for key in columns.table_partition_cols() {
            let value = values.remove(key.name()).ok_or_else(|| Error::bug(format!("{name}: a file without a key")))?;
            listed.partition_values.push(key_value(value, key.data_type()).map_err(|error| bug(&error))?);
        }
        let rows = file.num_records().map_or(Precision::Absent, Precision::Exact);
        listed.statistics = Some(Arc::new(Statistics::new_unknown(columns.table_schema()).with_num_rows(rows)));
        Ok(listed)
    }
}

fn not_plain(table: &str, why: &str) -> Error {
    Error::new(ErrorKind::Query, format!("{table} cannot be read as plain Parquet files: {why}"))
        .with_hint("another program has changed the table; ask with --engine local, which reads it as Delta")
}

/// A partition key's value, which the log has as text.
pub(super) fn key_value(text: Option<String>, data_type: &DataType) -> Result<ScalarValue, DataFusionError> {
    match text {
        Some(text) => ScalarValue::try_from_string(text, data_type),
        None => ScalarValue::try_from(data_type),
    }
}

/// The files of a snapshot, or of what changed between two.
#[derive(Debug)]
pub(super) struct DataFiles {
    /// All columns, in the table's order.
    schema: SchemaRef,
    /// The same, the partition key last, as DataFusion has them in a scan of files.
    columns: TableSchema,
    store: ObjectStoreUrl,
    files: Vec<PartitionedFile>,
}

impl DataFiles {
    /// `files` of `lake`, which have `columns` and are to be read in the order of `schema`.
    pub(super) fn new(
        lake: &Lake,
        schema: SchemaRef,
        columns: TableSchema,
        files: Vec<PartitionedFile>,
    ) -> Result<Self> {
        let store = ObjectStoreUrl::parse(&lake.location().root_url).map_err(|error| Error::bug(chain(&error)))?;
        Ok(Self { schema, columns, store, files })
    }

    /// Whether `filter` can be answered from the partition key alone.
    fn is_of_key(&self, filter: &Expr) -> bool {
        let keys: Vec<&str> = self.columns.table_partition_cols().iter().map(|key| key.name().as_str()).collect();
        !keys.is_empty() && expr_applicable_for_cols(&keys, filter)
    }

    /// The files whose partition key passes those of `filters` that ask for nothing else.
    fn kept(&self, filters: &[Expr]) -> Result<Vec<PartitionedFile>, DataFusionError> {
        let filters: Vec<Expr> = filters.iter().filter(|filter| self.is_of_key(filter)).cloned().collect();
        let keys = DFSchema::from_unqualified_fields(self.columns.table_partition_cols().clone(), HashMap::new())?;
        let kept = |file: &PartitionedFile| filter_partitioned_file(file.clone(), &filters, &keys).transpose();
        self.files.iter().filter_map(kept).collect()
    }

    /// Where the columns of `projection`, which counts in the table's order, are in a scan of files.
    fn in_a_scan(&self, projection: Option<&Vec<usize>>) -> Result<Vec<usize>, DataFusionError> {
        let fields = project_schema(&self.schema, projection)?;
        let at = |field: &FieldRef| self.columns.table_schema().index_of(field.name()).map_err(DataFusionError::from);
        fields.fields().iter().map(at).collect()
    }
}

#[async_trait]
impl TableProvider for DataFiles {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>, DataFusionError> {
        let push_down = |filter: &&Expr| {
            if self.is_of_key(filter) {
                TableProviderFilterPushDown::Exact
            } else {
                TableProviderFilterPushDown::Inexact
            }
        };
        Ok(filters.iter().map(push_down).collect())
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        let files = self.kept(filters)?;
        if files.is_empty() {
            return Ok(Arc::new(EmptyExec::new(project_schema(&self.schema, projection)?)));
        }
        let rows = files.iter().fold(Precision::Exact(0_usize), |sum, file| sum.add(&rows(file)));
        let statistics = Statistics::new_unknown(self.columns.table_schema()).with_num_rows(rows);
        let format = ParquetFormat::default().with_options(session.default_table_options().parquet);
        let scan = FileScanConfigBuilder::new(self.store.clone(), format.file_source(self.columns.clone()))
            .with_file_groups(FileGroup::new(files).split_files(session.config().target_partitions()))
            .with_statistics(statistics)
            .with_projection_indices(Some(self.in_a_scan(projection)?))?
            .with_limit(limit)
            .build();
        format.create_physical_plan(session, scan).await
    }
}

/// How many rows a file has, as the log says.
fn rows(file: &PartitionedFile) -> Precision<usize> {
    file.statistics.as_ref().map_or(Precision::Absent, |statistics| statistics.num_rows)
}
