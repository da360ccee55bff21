//! Figures that are derived: a query of the catalogue over a table, written to a table of its own.

use std::sync::Arc;

use chrono::{NaiveTime, TimeDelta};
use datafusion::catalog::TableProvider;

use super::staging::{ListingFailure, Staging};
use super::{ResourceSummary, Run};
use crate::api::{Client, ListRequest, Order, list};
use crate::error::{Error, Result};
use crate::lake::{Counts, Table};
use crate::query::{Parameters, catalogue};
use crate::resource::{Reading, Resource, USERS};

impl Run<'_> {
    pub(super) async fn derived(
        &self,
        resource: &'static Resource,
        query: &str,
        client: &Client,
        summary: &mut ResourceSummary,
    ) -> Result<()> {
        self.sync.progress.started(resource.name, None);
        let mut table = self.open(resource).await?;
        let users = self.users_for_derived(client, summary).await?;
        let session = self.sync.lake.session();
        session
            .register_table(USERS.table.name, users)
            .map_err(|error| Error::bug(format!("the users cannot be queried: {error}")))?;
        let parameters =
            Parameters::at(self.watermark).with("lookback_days", i64::from(self.sync.options.dau_lookback_days));
        let query = catalogue::builtin(query)?;
        let batches = query.run(&session, &parameters).await?;
        let mut writer = table.writer()?;
        for batch in batches {
            summary.rows_read += batch.num_rows() as u64;
            let batch = crate::query::to_table(&batch, &resource.table)?;
            writer.write(&batch, self.synced_at_micros()).await?;
        }
        let staged = writer.finish().await?;
        let counts = table.changes_by(&staged).await?;
        summary.take_counts(counts);
        let outcome = if table.exists() && counts == Counts::default() {
            table.touch(self.change(summary)).await?
        } else {
            table.replace(staged, self.change(summary)).await?
        };
        let version = outcome.committed(resource.table.name)?;
        summary.take_commit(self.watermark, version, table.rows());
        Ok(())
    }

    /// The users that the figure is taken from: the table where this run has just brought it up to date, else
    /// the active ones from Clerk, staged and never committed: they are not all users.
    async fn users_for_derived(
        &self,
        client: &Client,
        summary: &mut ResourceSummary,
    ) -> Result<Arc<dyn TableProvider>> {
        if self.fresh.contains(&USERS.table.name) {
            return self.sync.lake.table(&USERS.table).await?.provider().await;
        }
        let Reading::Cursor { path, .. } = USERS.reading else {
            return Err(Error::bug("users are not listed by cursor"));
        };
        let days = i64::from(self.sync.options.dau_lookback_days);
        let first = self.watermark.date_naive() - TimeDelta::days(days - 1);
        let since = first.and_time(NaiveTime::MIN).and_utc().timestamp_millis() - 1;
        let request = ListRequest::new(path, Order::Cursor)
            .with("order_by", "+created_at")
            .with("last_active_at_after", since.to_string());
        let table = Table::open(&self.sync.lake, &USERS.table, Some(&self.area)).await?;
        let mut staging = Staging::new(self, &USERS, table.writer()?);
        let read = staging.take_all(list(client.clone(), request, |body| (USERS.decode)(body))).await;
        read.map_err(|failure: ListingFailure| Error::from(failure))?;
        summary.rows_rejected = staging.rejected;
        staging.finish().await?.provider(&self.sync.lake, &USERS.table)
    }
}
