//! The tables that the ledger is filled from, as this run sees them, and how they are asked.

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
use crate::sync::derived::not_read;
use crate::sync::run::Run;
use crate::table::TableSpec;

/// The tables at the versions that this run fills the ledger from.
pub(super) struct Snapshots {
    pub(super) session: SessionContext,
    pub(super) lake: Lake,
    /// The names of those that have been written.
    there: Vec<&'static str>,
}

impl Snapshots {
    pub(super) async fn open(run: &Run<'_>, sources: &Sources, ledger: &Table, days: &Table) -> Result<Self> {
        let lake = run.lake.clone();
        let (session, mut there) = (lake.session(), Vec::new());
        for table in [&sources.users, &sources.sessions, ledger, days] {
            if table.exists() {
                let (name, provider) = (table.spec().name, table.provider().await?);
                session.register_table(name, provider).map_err(|error| query::failed(&error))?;
                there.push(name);
            }
        }
        Ok(Self { session, lake, there })
    }

    pub(super) fn has(&self, spec: &TableSpec) -> bool {
        self.there.contains(&spec.name)
    }

    /// What a query of the program's own gives.
    pub(super) async fn ask(&self, sql: &str, values: Vec<(String, ScalarValue)>) -> Result<Vec<RecordBatch>> {
        let plan = query::sql(&self.session, sql, values).await.map_err(not_read)?;
        plan.collect().await.map_err(|error| not_read(query::failed(&error)))
    }
}

/// The first two columns of `batches`: days, and a number for each.
pub(super) fn numbers(batches: &[RecordBatch]) -> Result<BTreeMap<i32, i64>> {
    let mut found = BTreeMap::new();
    for batch in batches {
        let days = batch.column(0).as_primitive_opt::<Date32Type>();
        let numbers = batch.column(1).as_primitive_opt::<Int64Type>();
        let (Some(days), Some(numbers)) = (days, numbers) else {
            return Err(Error::bug("days were asked for, and something else was given"));
        };
        found.extend(days.iter().zip(numbers.iter()).filter_map(|(day, number)| Some((day?, number?))));
    }
    Ok(found)
}

/// A day as SQL has it.
pub(super) fn sql_day(day: i32) -> String {
    let midnight = DateTime::from_timestamp(i64::from(day) * 86_400, 0).unwrap_or_default();
    format!("DATE '{}'", midnight.date_naive())
}
