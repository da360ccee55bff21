//! Snapshots of the tables from which the ledger is filled, and queries over them.

use std::collections::BTreeMap;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Date32Type, Int64Type};
use chrono::DateTime;
use datafusion::common::ScalarValue;
use datafusion::execution::context::SessionContext;

use super::Sources;
use crate::error::{Error, Result};
use crate::lake::{Lake, Table};
use crate::query;
use crate::sync::derived::as_read_error;
use crate::sync::run::Run;
use crate::table::TableSpec;

/// The tables at the versions from which this run fills the ledger.
pub(super) struct Snapshots {
    pub(super) context: SessionContext,
    pub(super) lake: Lake,
    /// The names of the tables that exist.
    existing: Vec<&'static str>,
}

impl Snapshots {
    pub(super) async fn open(run: &Run<'_>, sources: &Sources, ledger: &Table, days: &Table) -> Result<Self> {
        let lake = run.lake.clone();
        let tables = [&sources.users, &sources.sessions, ledger, days];
        let bytes = tables.iter().map(|table| table.bytes()).sum();
        let (context, mut existing) = (lake.context_for_size(bytes), Vec::new());
        for table in tables {
            if table.exists() {
                let (name, provider) = (table.spec().name, table.provider().await?);
                context.register_table(name, provider).map_err(|error| query::failed(&error))?;
                existing.push(name);
            }
        }
        Ok(Self { context, lake, existing })
    }

    pub(super) fn has(&self, spec: &TableSpec) -> bool {
        self.existing.contains(&spec.name)
    }

    /// Runs an internal query and returns its result.
    pub(super) async fn collect(&self, sql: &str, values: Vec<(String, ScalarValue)>) -> Result<Vec<RecordBatch>> {
        let plan = query::sql(&self.context, sql, values).await.map_err(as_read_error)?;
        plan.collect().await.map_err(|error| as_read_error(query::failed(&error)))
    }
}

/// Reads the first two columns of `batches`: days, and a number for each.
pub(super) fn counts_by_day(batches: &[RecordBatch]) -> Result<BTreeMap<i32, i64>> {
    let mut found = BTreeMap::new();
    for batch in batches {
        let days = batch.column(0).as_primitive_opt::<Date32Type>();
        let numbers = batch.column(1).as_primitive_opt::<Int64Type>();
        let (Some(days), Some(numbers)) = (days, numbers) else {
            return Err(Error::bug("the query must return a date and a number"));
        };
        found.extend(days.iter().zip(numbers.iter()).filter_map(|(day, number)| Some((day?, number?))));
    }
    Ok(found)
}

/// Returns the day as an SQL literal.
pub(super) fn sql_day(day: i32) -> String {
    let midnight = DateTime::from_timestamp(i64::from(day) * 86_400, 0).unwrap_or_default();
    format!("DATE '{}'", midnight.date_naive())
}
