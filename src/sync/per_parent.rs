//! Resources with one list for each row of another table, the parent, and single objects.
//!
//! Reading all lists costs one request for each parent. So a sync reads the lists of the parents that have changed since
//! the last sync, of those that are not settled yet, and of the others in turns, each once in `verify_every`. The rows of
//! the other parents stay as they are.

use std::collections::{BTreeSet, HashSet};

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::TimestampMicrosecondType;
use chrono::{DateTime, Utc};
use futures::{StreamExt, TryStreamExt};

use super::by_offset::page_of;
use super::failure::ListingFailure;
use super::replace::StagedListing;
use super::sessions::due::Cycle;
use super::staging::Staging;
use super::tally::Tally;
use super::task::Task;
use crate::api::{ListRequest, Order, Refusal, list};
use crate::error::{Error, Result};
use crate::lake::Table;
use crate::resource::{PerParentList, SingleObject};
use crate::table::SYNCED_AT;

/// How many lists are read at the same time.
const CONCURRENT_LISTS: usize = 16;

/// The parents: those whose lists are read, and those whose rows stay as they are.
#[derive(Debug, Default)]
struct Parents {
    due: BTreeSet<String>,
    others: HashSet<String>,
}

impl Task<'_, PerParentList> {
    /// Reads the lists of the parents that are due since the table's watermark `since`, or of all without one.
    pub(super) async fn sync_per_parent(
        &self,
        since: Option<DateTime<Utc>>,
        table: Table,
        tally: &mut Tally,
    ) -> Result<()> {
        tally.is_incremental = since.is_some();
        let parents = self.run.lake.table(self.list.parents).await?;
        if !parents.exists() {
            tally.skipped = Some(format!("there is no table {} to read the lists of", self.list.parents.name));
            return Ok(());
        }
        let parents = self.parents(&parents, since).await?;
        match self.read_lists(&parents, &table, tally).await {
            Ok(listing) => self.replace(listing, table, tally).await.map(drop),
            Err(failure) => self.end_unread(&table, failure, tally).await,
        }
    }

    async fn read_lists(
        &self,
        parents: &Parents,
        table: &Table,
        tally: &mut Tally,
    ) -> Result<StagedListing, ListingFailure> {
        let mut staging = Staging::of_changes(self.run, self.resource, table)?;
        self.run.sync.progress.started(self.resource.name, None);
        let read = self.stage_lists(&parents.due, &mut staging).await;
        tally.set_staged(&staging);
        if let Err(failure) = read {
            return Err(staging.rule_out_absent(failure));
        }
        self.stage_others(&parents.others, table, &mut staging).await?;
        Ok(self.finish_listing(staging, serde_json::Value::Null).await?)
    }

    /// Divides the parents into those whose lists are due and the others.
    async fn parents(&self, parents: &Table, since: Option<DateTime<Utc>>) -> Result<Parents> {
        let (settled, settled_value) = self.list.settled;
        let mut divided = Parents::default();
        let key = parents.spec().key;
        let [key] = key else { return Err(Error::bug(format!("{} has more than one key", parents.spec().name))) };
        let mut rows = std::pin::pin!(parents.all_rows().await?);
        while let Some(batch) = rows.try_next().await? {
            let (ids, settled) = (texts(&batch, key)?, texts(&batch, settled)?);
            let written =
                batch.column_by_name(SYNCED_AT).and_then(|it| it.as_primitive_opt::<TimestampMicrosecondType>());
            let written = written.ok_or_else(|| Error::bug("rows without the column _synced_at"))?;
            for ((id, settled), written) in ids.into_iter().zip(settled).zip(written) {
                let Some(id) = id else { continue };
                let is_settled = settled.as_deref() == Some(settled_value);
                if is_settled && !self.is_due(&id, written, since) {
                    divided.others.insert(id);
                } else {
                    divided.due.insert(id);
                }
            }
        }
        Ok(divided)
    }

    /// Returns whether the list of a settled parent is due: the parent was `written` since the last sync, in Unix
    /// microseconds, or it is its turn.
    fn is_due(&self, id: &str, written: Option<i64>, since: Option<DateTime<Utc>>) -> bool {
        let Some(since) = since else { return true };
        let period = self.run.sync.options.verify_every.num_milliseconds();
        let cycle = Cycle { period, from: since.timestamp_millis(), until: self.run.watermark.timestamp_millis() };
        written.is_none_or(|written| written > since.timestamp_micros())
            || (period > 0 && cycle.unread_since(id, None).is_some())
    }

    /// Stages the lists of these parents. A parent that has been deleted meanwhile has no rows. But if Clerk finds no list
    /// at all, the instance does not have them.
    async fn stage_lists(&self, parents: &BTreeSet<String>, staging: &mut Staging<'_>) -> Result<(), ListingFailure> {
        let lists = futures::stream::iter(parents.iter().cloned()).map(|parent| {
            let request = ListRequest::new(self.list.path_of(&parent), Order::Offset);
            let parameters = self.list.parameters.iter();
            let request = parameters.fold(request, |request, (name, value)| request.with(name, *value));
            let (client, decode) = (self.client.clone(), self.list.decode);
            async move {
                match list(client, request, decode).try_collect::<Vec<_>>().await {
                    Err(error) if error.status == Some(404) && error.refusal != Refusal::Malformed => Ok(Err(error)),
                    pages => pages.map(Ok),
                }
            }
        });
        let mut lists = std::pin::pin!(lists.buffered(self.run.at_once(CONCURRENT_LISTS)));
        let (mut is_any_found, mut not_found) = (false, None);
        while let Some(pages) = lists.try_next().await? {
            match pages {
                Ok(pages) => {
                    is_any_found = true;
                    for page in pages {
                        staging.stage(page).await?;
                    }
                }
                Err(error) => not_found = Some(error),
            }
        }
        match not_found {
            Some(error) if !is_any_found => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Stages the rows of the table that belong to these parents.
    async fn stage_others(&self, parents: &HashSet<String>, table: &Table, staging: &mut Staging<'_>) -> Result<()> {
        if parents.is_empty() || !table.exists() {
            return Ok(());
        }
        let mut rows = std::pin::pin!(table.all_rows().await?);
        while let Some(batch) = rows.try_next().await? {
            let parents_of = texts(&batch, self.list.parent_id)?;
            let stays = parents_of.iter().map(|parent| Some(parent.as_ref().is_some_and(|it| parents.contains(it))));
            let rows = filter_record_batch(&batch, &stays.collect::<BooleanArray>());
            staging.stage_known(rows.map_err(|error| Error::bug(error.to_string()))?).await?;
        }
        Ok(())
    }
}

impl Task<'_, SingleObject> {
    /// Reads the object, and replaces the table with it.
    pub(super) async fn sync_single(&self, table: Table, tally: &mut Tally) -> Result<()> {
        match self.read_object(&table, tally).await {
            Ok(listing) => self.replace(listing, table, tally).await.map(drop),
            Err(failure) => self.end_unread(&table, failure, tally).await,
        }
    }

    async fn read_object(&self, table: &Table, tally: &mut Tally) -> Result<StagedListing, ListingFailure> {
        self.run.sync.progress.started(self.resource.name, Some(1));
        let mut staging = Staging::new(self.run, self.resource, table)?;
        let page = page_of(self.client.get(self.list.path, &[], self.list.decode).await?)?;
        staging.stage(page).await?;
        tally.set_staged(&staging);
        Ok(self.finish_listing(staging, serde_json::Value::Null).await?)
    }
}

/// Returns the values of a text column.
fn texts(batch: &RecordBatch, column: &str) -> Result<Vec<Option<String>>> {
    let texts = batch.column_by_name(column).and_then(|column| column.as_string_opt::<i32>());
    let texts = texts.ok_or_else(|| Error::bug(format!("{column} is not a text column")))?;
    Ok(texts.iter().map(|text| text.map(str::to_owned)).collect())
}
