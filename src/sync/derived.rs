//! Figures that are derived: a query of the catalogue over a table, written to a table of its own.

use std::sync::Arc;

use chrono::{NaiveTime, TimeDelta};
use datafusion::catalog::TableProvider;

use super::failure::ListingFailure;
use super::staging::Staging;
use super::{ResourceSummary, Run};
use crate::api::{Client, list};
use crate::error::{Error, ErrorKind, Result};
use crate::lake::{Coverage, Table};
use crate::query::{Parameters, catalogue};
use crate::resource::{Resource, USERS};
use crate::table;

impl Run<'_> {
    pub(super) async fn derived(
        &self,
        resource: &'static Resource,
        query: &str,
        client: &Client,
        mut table: Table,
        summary: &mut ResourceSummary,
    ) -> Result<()> {
        self.sync.progress.started(resource.name, None);
        let users = self.users_for_derived(client, summary).await?;
        let session = self.lake.session();
        session
            .register_table(USERS.table.name, users)
            .map_err(|error| Error::bug(format!("the users cannot be queried: {error}")))?;
        let parameters = Parameters::at(self.now).with("lookback_days", i64::from(self.sync.options.dau_lookback_days));
        let query = catalogue::builtin(query)?;
        let batches = query.run(&session, &parameters).await.map_err(not_read)?;
        let columns = table::columns::schema(&(resource.table.columns)());
        let mut writer = table.writer()?;
        for batch in batches {
            summary.rows_read += batch.num_rows() as u64;
            let batch = table::conform(&batch, &columns)?;
            writer.write(&batch, self.synced_at_micros()).await?;
        }
        let staged = writer.finish().await?;
        let diff = table.diff(staged, Coverage::Complete).await?;
        summary.take_counts(diff.counts());
        self.claim_lake(&table).await?;
        let outcome = table.commit_diff(diff, self.change(summary)).await?;
        self.settle(outcome, self.watermark, &mut table, summary).await
    }

    /// The users that the figure is taken from: the table where this run has just brought it up to date, else
    /// the active ones from Clerk, staged and never committed: they are not all users.
    async fn users_for_derived(
        &self,
        client: &Client,
        summary: &mut ResourceSummary,
    ) -> Result<Arc<dyn TableProvider>> {
        if self.fresh.contains(&USERS.table.name) {
            return self.lake.table(&USERS.table).await?.provider().await;
        }
        let days = i64::from(self.sync.options.dau_lookback_days);
        let first = self.now.date_naive() - TimeDelta::days(days - 1);
        let request = self.users_active_since(first.and_time(NaiveTime::MIN).and_utc())?;
        let table = Table::open(&self.lake, &USERS.table, Some(&self.area)).await?;
        let mut staging = Staging::new(self, &USERS, &table)?;
        let read = staging.take_all(list(client.clone(), request, |body| (USERS.decode)(body))).await;
        read.map_err(|failure: ListingFailure| Error::from(failure))?;
        summary.rows_rejected = staging.rejected();
        staging.finish().await?.provider(&self.lake, &USERS.table)
    }
}

/// A query of the program's own has failed: what fails is the reading.
pub(super) fn not_read(error: Error) -> Error {
    match error.kind() {
        ErrorKind::Query => {
            Error::new(ErrorKind::Unreachable, error.message()).with_hint("run again: nothing half-done was written")
        }
        _ => error,
    }
}
