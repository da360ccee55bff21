//! Runs a sync: copies each resource from Clerk to the lake, one after the other.
//!
//! A full sync reads all rows of a resource and replaces its table. An incremental sync, the default once the table has
//! a watermark, applies only what changed:
//! - Users are listed by activity and by last change, and compared with Clerk's count. Deleted users are found by the
//!   ranks of the remaining ones. If the changes and deletions do not explain the count, all users are read. Each
//!   incremental sync also re-reads a slice of the users, because some changes appear in no list.
//! - Organizations are always read completely, because there are few.
//! - New sessions are read at each sync, other sessions in turns.
//!
//! Rows that were read again and did not change are not written.
//!
//! Two tables are then derived from the data in the lake: the users by their last day of activity, and the activity
//! ledger of all days on which each user was seen active.
//!
//! Each resource is read as a stream of pages, staged page by page, checked for completeness, and committed once,
//! together with its watermark. The failure of one resource does not stop the others; a refused key does. This module
//! prints nothing: the caller passes a [`Progress`].

mod arrivals;
mod by_offset;
mod check;
mod clean;
mod deletions;
mod derived;
mod failure;
mod forecast;
mod incremental;
mod known_tables;
mod ledger;
mod list_counts;
mod listed;
mod odd_fields;
mod options;
mod per_parent;
mod plan;
mod progress;
mod ranks;
mod rejected;
mod repair;
mod replace;
mod requests;
mod resume;
mod run;
mod sessions;
mod staging;
mod steps;
mod summary;
mod tables;
mod tally;
mod task;
mod tombstones;
mod trace;
mod unreadable;
mod verify;
mod watermark;

use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::api::Client;
use crate::clock::Clock;
use crate::error::ErrorKind;
use crate::lake::Lake;
use crate::resource::{self, Reading, Resource};
use run::Run;

pub use check::{
    Check, CheckProblem, CheckReport, CheckStatus, KeyCheck, KeyState, LakeCheck, ListCheck, ListState, SyncCost,
};
pub use forecast::{ResourcePlan, SyncPlan};
pub use odd_fields::{NulledField, NulledFields};
pub use options::{Extent, SyncOptions};
pub use progress::{Progress, Silent};
pub use sessions::SESSIONS_READ;
pub use summary::{ResourceStatus, ResourceSummary, Status, Summary};
pub use tokio_util::sync::CancellationToken;
pub use verify::VERIFIED_TO;

/// A sync, ready to run.
#[derive(Clone)]
pub struct SyncJob {
    /// The Clerk client.
    pub client: Client,
    /// The lake that holds the tables.
    pub lake: Lake,
    /// The local clock: for the times in the summary, and for the current time if Clerk's responses carry none.
    pub clock: Clock,
    /// The options of the run.
    pub options: SyncOptions,
    /// Receives progress, notes and warnings.
    pub progress: Arc<dyn Progress>,
    /// Cancel this token to stop the run. A read in progress is abandoned; a commit in progress is finished.
    pub stop: CancellationToken,
}

impl SyncJob {
    /// Runs the sync. Committed data stays committed even if something fails afterwards. If something fails, the lake gets
    /// a record of that: see [`Lake::failed_runs`]. Dropping the future at an await point leaves every table at its last
    /// commit.
    pub async fn run(&self) -> Summary {
        let started_at = self.clock.now();
        let summary = self.run_once().await;
        self.record_failures(&summary, started_at).await;
        summary
    }

    /// Adds a record of what failed to the lake.
    async fn record_failures(&self, summary: &Summary, started_at: DateTime<Utc>) {
        if let Some(failed) = trace::of_run(summary, started_at, self.clock.now()) {
            self.lake.record_failed_run(&failed).await;
        }
    }

    async fn run_once(&self) -> Summary {
        let started_at = self.clock.now();
        let mut selected: Vec<_> = resource::ALL.to_vec();
        selected.retain(|resource| self.options.resources.iter().any(|wanted| wanted.name == resource.name));
        let run = Run::begin(self).await;
        let began = run.is_ok();
        let instance = run.as_ref().ok().and_then(|run| run.instance.clone());
        let resources = match run {
            Ok(run) => run.sync_all(&selected).await,
            Err(error) => selected.iter().map(|it| ResourceSummary::not_begun(it.name, error.clone())).collect(),
        };
        Summary::new(started_at, self.clock.now(), self.lake.location().to_string(), instance, resources, began)
    }

    /// Runs the sync as [`run`](Self::run) does. If resources fail with a [transient](crate::Error::is_transient) error, such
    /// as a conflict with another run, syncs them and the tables computed from them once more. Returns one summary of
    /// both tries.
    pub async fn run_with_second_try(&self) -> Summary {
        let started_at = self.clock.now();
        let summary = self.run_twice_if_transient().await;
        self.record_failures(&summary, started_at).await;
        summary
    }

    async fn run_twice_if_transient(&self) -> Summary {
        let first = self.run_once().await;
        let error_of = |name: &str| {
            let resource = first.resources.iter().find(|resource| resource.name == name)?;
            resource.failure.as_ref().filter(|error| error.is_transient())
        };
        let is_stopped = first.worst().is_some_and(|error| {
            self.stop.is_cancelled() || matches!(error.kind(), ErrorKind::KeyRefused | ErrorKind::Interrupted)
        });
        let failed: Vec<_> = first.resources.iter().filter(|it| error_of(&it.name).is_some()).collect();
        if failed.is_empty() || is_stopped || !first.began {
            return first;
        }
        for resource in &failed {
            let why = resource.error.as_deref().unwrap_or_default();
            self.progress.note(&format!("{}: {why}; trying once more", resource.name));
        }
        let is_computed = |it: &Resource| matches!(it.reading, Reading::Derived(_) | Reading::Ledger);
        let mut resources = self.options.resources.clone();
        resources.retain(|it| is_computed(it) || error_of(it.name).is_some());
        let options = SyncOptions { resources, fresh: false, ..self.options.clone() };
        let second = Self { options, ..self.clone() }.run_once().await;
        first.with_second_try(second)
    }
}
