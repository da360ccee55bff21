//! Figures that are derived: a query of the catalogue over a table, written to a table of its own.

use std::sync::Arc;

use chrono::{NaiveTime, TimeDelta};
use datafusion::catalog::TableProvider;

use super::failure::ListingFailure;
use super::staging::Staging;
use super::tally::Tally;
use super::task::Task;
use crate::api::list;
use crate::error::{Error, ErrorKind, Result};
use crate::lake::{Coverage, Table};
use crate::query::{Parameters, catalogue};
use crate::resource::{Derivation, USER_LIST, USERS};
use crate::table;

impl Task<'_, Derivation> {
    pub(super) async fn derived(&self, mut table: Table, tally: &mut Tally) -> Result<()> {
        self.run.sync.progress.started(self.resource.name, None);
        let users = self.users_for_derived(tally).await?;
        let session = self.run.lake.session();
        session
            .register_table(USERS.table.name, users)
            .map_err(|error| Error::bug(format!("the users cannot be queried: {error}")))?;
        let parameters =
            Parameters::at(self.run.now).with("lookback_days", i64::from(self.run.sync.options.dau_lookback_days));
        let query = catalogue::builtin(self.list.query)?;
        let batches = query.run(&session, &parameters).await.map_err(not_read)?;
        let columns = table::columns::schema(&(self.resource.table.columns)());
        let mut writer = table.writer()?;
        for batch in batches {
            tally.rows_read += batch.num_rows() as u64;
            let batch = table::conform(&batch, &columns)?;
            writer.write(&batch, self.run.synced_at_micros()).await?;
        }
        let staged = writer.finish().await?;
        let diff = table.diff(staged, Coverage::Complete).await?;
        tally.prepared = diff.counts();
        self.run.claim_lake(&table).await?;
        let outcome = table.commit_diff(diff, self.run.change(tally)).await?;
        self.run.settle(outcome, self.run.watermark, &mut table, tally).await
    }

    /// The users that the figure is taken from: the table where this run has just brought it up to date, else
    /// the active ones from Clerk, staged and never committed: they are not all users.
    async fn users_for_derived(&self, tally: &mut Tally) -> Result<Arc<dyn TableProvider>> {
        if self.run.fresh.contains(&USERS.table.name) {
            return self.run.lake.table(&USERS.table).await?.provider().await;
        }
        let days = i64::from(self.run.sync.options.dau_lookback_days);
        let first = self.run.now.date_naive() - TimeDelta::days(days - 1);
        let request = USER_LIST.active_since(first.and_time(NaiveTime::MIN).and_utc());
        let request = request.until(self.run.watermark.timestamp_millis());
        let table = Table::open(&self.run.lake, &USERS.table, Some(&self.run.area)).await?;
        let mut staging = Staging::new(self.run, &USERS, &table)?;
        let read = staging.take_all(list(self.client.clone(), request, USER_LIST.decode)).await;
        read.map_err(|failure: ListingFailure| Error::from(failure))?;
        tally.rows_rejected = staging.rejected();
        staging.finish().await?.provider(&self.run.lake, &USERS.table)
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
