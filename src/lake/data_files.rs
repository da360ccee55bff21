//! A snapshot as a plain list of Parquet files, each with its partition key. A plan over such a list can run in an
//! engine that does not know Delta and does not list directories, such as a Ballista executor.
//!
//! DataFusion's `ListingTable` is not suitable. If it is given single files, it finds no partition keys in their paths,
//! and drops every file when a query filters on a key. It also treats a missing file as an empty list, not as an error.

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

/// The table property that allows columns to have other names in the files.
const COLUMN_MAPPING: &str = "delta.columnMapping.mode";

impl Table {
    /// Returns the table, at the version that it is open at, as a list of Parquet files.
    ///
    /// A plan over it can run on any machine that can access these files by their URLs. If a commit supersedes one of
    /// them before it is read, the plan fails: it never returns fewer rows.
    ///
    /// # Errors
    /// [`Query`](ErrorKind::Query) if another program has enabled a feature on the table that its files alone do not
    /// express (deletion vectors, column mapping); [`Unreachable`](ErrorKind::Unreachable) if the table has not been
    /// written yet.
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

    /// Returns the table's schema. Fails if the columns have other names in the files.
    pub(super) fn plain_schema(&self) -> Result<SchemaRef> {
        let name = self.spec().name;
        let state = self.delta.snapshot();
        let state = state.map_err(|error| store_error(&format!("the table {name} cannot be read"), &error))?;
        if self.property(COLUMN_MAPPING).is_some_and(|mode| mode != "none") {
            return Err(not_plain_parquet(name, "its columns have other names in the files"));
        }
        Ok(state.snapshot().arrow_schema())
    }

    /// Splits the columns into the partition column, if there is one, and the columns that are stored in the files.
    pub(super) fn keys_and_rest(&self, schema: &Schema) -> (Vec<FieldRef>, Vec<FieldRef>) {
        schema.fields().iter().cloned().partition(|field| self.spec().partition == Some(field.name().as_str()))
    }

    /// Returns a data file as a DataFusion [`PartitionedFile`], whose path is relative to the store's root.
    fn listed(&self, file: &LogicalFileView, columns: &TableSchema) -> Result<PartitionedFile> {
        let name = self.spec().name;
        if file.deletion_vector_descriptor().is_some() {
            return Err(not_plain_parquet(name, "it has deletion vectors"));
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

fn not_plain_parquet(table: &str, why: &str) -> Error {
    Error::new(ErrorKind::Query, format!("{table} cannot be read as plain Parquet files: {why}"))
        .with_hint("another program has changed the table; query it with --engine local, which reads it as Delta")
}

/// Parses the value of a partition key, which the log stores as text.
pub(super) fn key_value(text: Option<String>, data_type: &DataType) -> Result<ScalarValue, DataFusionError> {
    match text {
        Some(text) => ScalarValue::try_from_string(text, data_type),
        None => ScalarValue::try_from(data_type),
    }
}

/// The data files of a snapshot, or the change data files between two snapshots.
#[derive(Debug)]
pub(super) struct DataFiles {
    /// All columns, in the table's order.
    schema: SchemaRef,
    /// The same columns in the order of a DataFusion file scan: the partition key comes last.
    columns: TableSchema,
    store: ObjectStoreUrl,
    files: Vec<PartitionedFile>,
}

impl DataFiles {
    /// Returns the table of these `files` of `lake`. The files have `columns`; a scan returns them in the order of
    /// `schema`.
    pub(super) fn new(
        lake: &Lake,
        schema: SchemaRef,
        columns: TableSchema,
        files: Vec<PartitionedFile>,
    ) -> Result<Self> {
        let store = ObjectStoreUrl::parse(&lake.location().root_url).map_err(|error| Error::bug(chain(&error)))?;
        Ok(Self { schema, columns, store, files })
    }

    /// Returns whether `filter` can be evaluated from the partition key alone.
    fn uses_only_the_key(&self, filter: &Expr) -> bool {
        let keys: Vec<&str> = self.columns.table_partition_cols().iter().map(|key| key.name().as_str()).collect();
        !keys.is_empty() && expr_applicable_for_cols(&keys, filter)
    }

    /// Returns the files whose partition key passes the filters that use only the partition key.
    fn pruned(&self, filters: &[Expr]) -> Result<Vec<PartitionedFile>, DataFusionError> {
        let filters: Vec<Expr> = filters.iter().filter(|filter| self.uses_only_the_key(filter)).cloned().collect();
        let keys = DFSchema::from_unqualified_fields(self.columns.table_partition_cols().clone(), HashMap::new())?;
        let passing = |file: &PartitionedFile| filter_partitioned_file(file.clone(), &filters, &keys).transpose();
        self.files.iter().filter_map(passing).collect()
    }

    /// Converts `projection`, whose indices are in the table's order, to indices in the order of a file scan.
    fn scan_indices(&self, projection: Option<&Vec<usize>>) -> Result<Vec<usize>, DataFusionError> {
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
            if self.uses_only_the_key(filter) {
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
        let files = self.pruned(filters)?;
        if files.is_empty() {
            return Ok(Arc::new(EmptyExec::new(project_schema(&self.schema, projection)?)));
        }
        let rows = files.iter().fold(Precision::Exact(0_usize), |sum, file| sum.add(&rows(file)));
        let statistics = Statistics::new_unknown(self.columns.table_schema()).with_num_rows(rows);
        let format = ParquetFormat::default().with_options(session.default_table_options().parquet);
        let scan = FileScanConfigBuilder::new(self.store.clone(), format.file_source(self.columns.clone()))
            .with_file_groups(FileGroup::new(files).split_files(session.config().target_partitions()))
            .with_statistics(statistics)
            .with_projection_indices(Some(self.scan_indices(projection)?))?
            .with_limit(limit)
            .build();
        format.create_physical_plan(session, scan).await
    }
}

/// Returns the number of rows of a file, according to the log.
fn rows(file: &PartitionedFile) -> Precision<usize> {
    file.statistics.as_ref().map_or(Precision::Absent, |statistics| statistics.num_rows)
}
