//! Derived tables: the result of a built-in query over one table, written to another table.

use std::sync::Arc;

use chrono::{NaiveTime, TimeDelta};
use datafusion::catalog::TableProvider;

use super::failure::ListingFailure;
use super::run::lock;
use super::staging::Staging;
use super::tally::Tally;
use super::task::Task;
use crate::api::list;
use crate::error::{Error, ErrorKind, Result};
use crate::lake::{Coverage, Table};
use crate::query::{Parameters, queries};
use crate::resource::{Derivation, USER_LIST, USERS};
use crate::table;

impl Task<'_, Derivation> {
    pub(super) async fn sync_derived(&self, mut table: Table, tally: &mut Tally) -> Result<()> {
        self.run.sync.progress.started(self.resource.name, None);
        let users = self.users_for_derived(tally).await?;
        let size = self.run.lake.table(&USERS.table).await?.bytes();
        let context = self.run.lake.context_for_size(size);
        context
            .register_table(USERS.table.name, users)
            .map_err(|error| Error::bug(format!("cannot register the users table: {error}")))?;
        let parameters =
            Parameters::at(self.run.now).with("lookback_days", i64::from(self.run.sync.options.dau_lookback_days));
        let query = queries::builtin(self.list.query)?;
        let batches = query.run(&context, &parameters).await.map_err(as_read_error)?;
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
        self.run.record_commit(outcome, self.run.watermark, &mut table, tally).await
    }

    /// Returns the users to query: the users table if this run has synced it. Otherwise, the active users from Clerk:
    /// they are staged but never committed, because they are not all users.
    async fn users_for_derived(&self, tally: &mut Tally) -> Result<Arc<dyn TableProvider>> {
        if lock(&self.run.fresh).contains(&USERS.table.name) {
            return self.run.lake.table(&USERS.table).await?.provider().await;
        }
        let days = i64::from(self.run.sync.options.dau_lookback_days);
        let first = self.run.now.date_naive() - TimeDelta::days(days - 1);
        let request = USER_LIST.active_since(first.and_time(NaiveTime::MIN).and_utc());
        let request = request.until(self.run.watermark.timestamp_millis());
        let table = Table::open(&self.run.lake, &USERS.table, Some(&self.run.area)).await?;
        let mut staging = Staging::new(self.run, &USERS, &table)?;
        let read = staging.stage_all(list(self.client.clone(), request, USER_LIST.decode)).await;
        read.map_err(|failure: ListingFailure| Error::from(failure))?;
        tally.rows_rejected = staging.rejected();
        staging.finish().await?.provider(&self.run.lake, &USERS.table)
    }
}

/// Converts the error of an internal query. Its SQL is correct, so reading its tables failed.
pub(super) fn as_read_error(error: Error) -> Error {
    match error.kind() {
        ErrorKind::Query => {
            let error = Error::new(ErrorKind::Unreachable, error.message()).transient();
            error.with_hint("run again: no partial result was written")
        }
        _ => error,
    }
}
