//! What a run does for each resource: it decides by [`plan`], takes that step, and sums up what happened.

use chrono::{DateTime, Utc};
use tokio::time::Instant;

use super::listed::WholeList;
use super::odd_fields;
use super::plan::{Known, Present, Step, catch_up, plan};
use super::run::Run;
use super::tally::Tally;
use super::task::Task;
use super::{ResourceStatus, ResourceSummary};
use crate::api::Client;
use crate::error::{Error, ErrorKind, Result};
use crate::lake::Table;
use crate::resource::{Reading, Resource};

impl Run<'_> {
    /// What time it is at Clerk.
    fn present(&self) -> Present {
        Present { watermark: self.watermark, is_dated: self.dated }
    }

    /// Brings the tables of these resources up to date, one after the other. One resource's failure does not stop the
    /// others; a refused key and an interruption do.
    pub(super) async fn all(mut self, selected: &[&'static Resource]) -> Vec<ResourceSummary> {
        if let Err(error) = Box::pin(self.clean_rejected_rows()).await {
            self.sync.progress.warn(&format!("rejected rows of an earlier version could not be cleaned: {error}"));
        }
        self.clear_others(selected).await;
        let mut summaries = Vec::with_capacity(selected.len());
        let mut refused: Option<Error> = None;
        for &resource in selected {
            let summary = match &refused {
                Some(error) => ResourceSummary::not_begun(resource.name, error.clone()),
                None => Box::pin(self.one(resource)).await,
            };
            let hopeless = |kind| matches!(kind, ErrorKind::KeyRefused | ErrorKind::Interrupted);
            if let Some(error) = summary.failure.as_ref().filter(|error| hopeless(error.kind())) {
                refused = Some(error.clone());
            }
            if summary.status == ResourceStatus::Ok {
                self.fresh.push(resource.table.name);
            }
            self.sync.progress.finished(&summary);
            summaries.push(summary);
        }
        self.area.remove().await;
        summaries
    }

    async fn one(&self, resource: &'static Resource) -> ResourceSummary {
        let start = Instant::now();
        let client = self.client.scope();
        let mut tally = Tally::default();
        let outcome = Box::pin(self.bring_up_to_date(resource, &client, &mut tally)).await;
        for (field, nulled) in &tally.fields_nulled {
            self.sync.progress.warn(&odd_fields::describe(resource.name, field, nulled));
        }
        let (traffic, elapsed) = (client.traffic(), start.elapsed());
        let failure = match outcome {
            Ok(()) => None,
            Err(error) => {
                let error = self.conflict_behind(resource, &error).await.unwrap_or(error);
                Some(self.damage_behind(resource, &error).await.unwrap_or(error))
            }
        };
        ResourceSummary::new(resource.name, tally, traffic, elapsed, failure)
    }

    async fn bring_up_to_date(&self, resource: &'static Resource, client: &Client, tally: &mut Tally) -> Result<()> {
        Box::pin(self.repair_before_full(resource)).await?;
        let table = self.open(&resource.table).await?;
        let watermark = table.watermark().await?;
        tally.take_table(&table, watermark);
        if self.sync.options.fresh {
            table.forget_checkpoints(&self.area).await;
        }
        let present = self.present();
        if let Some(watermark) = watermark.filter(|watermark| present.is_before(*watermark)) {
            self.sync.progress.warn(&format!(
                "{} is complete up to {watermark}, which is after Clerk's own clock ({}): reading everything",
                resource.table.name, self.watermark
            ));
        }
        let has_refused_listing = matches!(resource.reading, Reading::Cursor(_))
            && table.has_refused_listing(&self.area, &self.source_of(resource), self.sync.options.max_shrink).await?;
        let known = Known { watermark, has_refused_listing };
        let step = plan(resource.reading, known, present, self.sync.options.extent);
        let mut begun = self.take(step, resource, client, table, tally).await?;
        // What an interrupted run had begun is complete as of its start; what changed since comes on top.
        while let Some(step) = begun.and_then(|begun| catch_up(resource.reading, begun)) {
            let table = self.open(&resource.table).await?;
            let before = tally.clone();
            let taken = self.take(step, resource, client, table, tally).await;
            tally.add_read(&before);
            begun = taken?;
        }
        Ok(())
    }

    /// Takes a step. Returns the moment up to which the table is complete then, if an interrupted run had begun it, and
    /// that moment is not this run's own.
    async fn take(
        &self,
        step: Step,
        resource: &'static Resource,
        client: &Client,
        table: Table,
        tally: &mut Tally,
    ) -> Result<Option<DateTime<Utc>>> {
        let task = Task { run: self, resource, list: (), client: client.clone() };
        match step {
            Step::AllByCursor(list) => task.from(WholeList::Cursor(list)).whole(table, tally).await,
            Step::AllByOffset(list) => task.from(WholeList::Offset(list)).whole(table, tally).await,
            Step::Changes(list, since) => task.from(list).changes(since, table, tally).await,
            Step::Sessions(list, since) => task.from(list).sessions(since, table, tally).await,
            Step::Derive(derivation) => task.from(derivation).derived(table, tally).await.map(|()| None),
            Step::Ledger(since) => Box::pin(self.ledger(resource, since, table, tally)).await.map(|()| None),
        }
    }
}
