//! Syncs each resource: plans the step with [`plan`], executes it, and builds the summary.

use std::sync::Mutex;

use chrono::{DateTime, Utc};
use futures::{StreamExt, stream};
use tokio::time::Instant;

use super::odd_fields;
use super::plan::{ServerTime, Step, TableState, catch_up, plan};
use super::run::{Run, lock};
use super::tally::Tally;
use super::task::Task;
use super::{ResourceStatus, ResourceSummary};
use crate::api::Client;
use crate::error::{Error, ErrorKind, Result};
use crate::lake::Table;
use crate::resource::{Reading, Resource};

/// How many tracks run at the same time. They share the request budget.
const CONCURRENT_TRACKS: usize = 4;

/// Divides the resources into tracks, which do not depend on each other. A resource that reads the table of another one
/// comes after it in the same track.
fn tracks(selected: &[&'static Resource]) -> Vec<Vec<&'static Resource>> {
    let mut tracks: Vec<Vec<&'static Resource>> = Vec::new();
    for &resource in selected {
        let read = resource.tables_read();
        let reads = |other: &&Resource| read.iter().any(|spec| spec.name == other.table.name);
        match tracks.iter_mut().find(|track| track.iter().any(reads)) {
            Some(track) => track.push(resource),
            None => tracks.push(vec![resource]),
        }
    }
    tracks
}

impl Run<'_> {
    /// Returns the time at Clerk when the run started.
    fn server_time(&self) -> ServerTime {
        ServerTime { watermark: self.watermark, is_from_clerk: self.has_clerk_time }
    }

    /// Syncs these resources, several at a time. The failure of one resource does not stop the others; a refused key and
    /// an interruption do. Returns one summary for each resource, in the same order.
    pub(super) async fn sync_all(self, selected: &[&'static Resource]) -> Vec<ResourceSummary> {
        if let Err(error) = Box::pin(self.clean_rejected_rows()).await {
            self.sync
                .progress
                .warn(&format!("rejected rows written by an earlier version could not be cleaned: {error}"));
        }
        self.sweep_unselected(selected).await;
        let stopped_by = Mutex::new(None);
        let concurrent = self.at_once(CONCURRENT_TRACKS);
        let tracks = tracks(selected).into_iter().map(|track| self.sync_track(track, &stopped_by));
        let synced: Vec<Vec<ResourceSummary>> = stream::iter(tracks).buffer_unordered(concurrent).collect().await;
        let mut summaries: Vec<_> = synced.into_iter().flatten().collect();
        let position = |name: &str| selected.iter().position(|resource| resource.name == name);
        summaries.sort_by_key(|summary| position(&summary.name));
        self.warn_of_absent();
        self.area.remove().await;
        summaries
    }

    /// Syncs the resources of a track, one after the other.
    async fn sync_track(
        &self,
        track: Vec<&'static Resource>,
        stopped_by: &Mutex<Option<Error>>,
    ) -> Vec<ResourceSummary> {
        let mut summaries = Vec::with_capacity(track.len());
        for resource in track {
            let stopped = lock(stopped_by).clone();
            let summary = match stopped {
                Some(error) => ResourceSummary::not_begun(resource.name, error),
                None => Box::pin(self.sync_resource(resource)).await,
            };
            let stops_run = |kind| matches!(kind, ErrorKind::KeyRefused | ErrorKind::Interrupted);
            if let Some(error) = summary.failure.as_ref().filter(|error| stops_run(error.kind())) {
                lock(stopped_by).get_or_insert_with(|| error.clone());
            }
            if summary.status == ResourceStatus::Ok {
                lock(&self.fresh).push(resource.table.name);
            }
            self.sync.progress.finished(&summary);
            summaries.push(summary);
        }
        summaries
    }

    async fn sync_resource(&self, resource: &'static Resource) -> ResourceSummary {
        let start = Instant::now();
        let client = self.client.scope();
        let mut tally = Tally::default();
        let outcome = Box::pin(self.sync_table(resource, &client, &mut tally)).await;
        for (field, nulled) in &tally.fields_nulled {
            self.sync.progress.warn(&odd_fields::describe(resource.name, field, nulled));
        }
        let (traffic, elapsed) = (client.traffic(), start.elapsed());
        let failure = match outcome {
            Ok(()) => None,
            Err(error) => {
                let error = self.find_conflict(resource, &error).await.unwrap_or(error);
                Some(self.find_damage(resource, &error).await.unwrap_or(error))
            }
        };
        ResourceSummary::new(resource.name, tally, traffic, elapsed, failure)
    }

    async fn sync_table(&self, resource: &'static Resource, client: &Client, tally: &mut Tally) -> Result<()> {
        Box::pin(self.repair_before_full(resource)).await?;
        let table = self.open(&resource.table).await?;
        let watermark = table.watermark().await?;
        tally.set_table(&table, watermark);
        if self.sync.options.fresh {
            table.forget_checkpoints(&self.area).await;
        }
        let server_time = self.server_time();
        if let Some(watermark) = watermark.filter(|watermark| server_time.is_before(*watermark)) {
            self.sync.progress.warn(&format!(
                "the watermark of {} ({watermark}) is later than Clerk's own clock ({}): reading everything",
                resource.table.name, self.watermark
            ));
        }
        let has_refused_listing = matches!(resource.reading, Reading::Cursor(_))
            && table.has_refused_listing(&self.area, &self.source_of(resource), self.sync.options.max_shrink).await?;
        let state = TableState { watermark, has_refused_listing };
        let step = plan(resource.reading, state, server_time, self.sync.options.extent);
        let mut begun = Box::pin(self.execute(step, resource, client, table, tally)).await?;
        // A resumed listing is complete as of the start of the interrupted run. Changes since then are read next.
        while let Some(step) = begun.and_then(|begun| catch_up(resource.reading, begun)) {
            let table = self.open(&resource.table).await?;
            let before = tally.clone();
            let taken = Box::pin(self.execute(step, resource, client, table, tally)).await;
            tally.add_read(&before);
            begun = taken?;
        }
        Ok(())
    }

    /// Executes a step. Returns the time up to which the table is complete if an interrupted run started the listing;
    /// `None` if this run did.
    async fn execute(
        &self,
        step: Step,
        resource: &'static Resource,
        client: &Client,
        table: Table,
        tally: &mut Tally,
    ) -> Result<Option<DateTime<Utc>>> {
        let task = Task { run: self, resource, list: (), client: client.clone() };
        match step {
            Step::AllByCursor(list) => task.from(list).sync_whole(table, tally).await,
            Step::AllByOffset(list) => task.from(list).sync_whole(table, tally).await.map(|()| None),
            Step::Changes(list, since) => Box::pin(task.from(list).sync_changes(since, table, tally)).await,
            Step::Sessions(list, since) => task.from(list).sync_sessions(since, table, tally).await,
            Step::PerParent(list, since) => task.from(list).sync_per_parent(since, table, tally).await.map(|()| None),
            Step::Single(object) => task.from(object).sync_single(table, tally).await.map(|()| None),
            Step::Derive(derivation) => task.from(derivation).sync_derived(table, tally).await.map(|()| None),
            Step::Ledger(since) => Box::pin(self.sync_ledger(resource, since, table, tally)).await.map(|()| None),
        }
    }
}
