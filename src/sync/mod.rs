//! A run: from Clerk to the lake, one resource after the other.
//!
//! A full sync reads all of a resource and replaces its table. An incremental one, the default once there is a
//! watermark, takes in what changed: users by activity, by change and by count, deleted ones by the ranks of others, and
//! all of them if these do not explain each other; organizations whole, since they are few; new sessions at each sync,
//! and the others in turns. What was read again and is the same is not written.
//! Besides, each incremental sync reads a slice of the users again, since some changes show in no list.
//! Two figures come from what is in the lake then: the users by their last day of activity, and the ledger of all
//! days on which they were seen active.
//!
//! Each resource is read as a stream of pages, staged as it comes, checked for completeness and committed once,
//! together with its watermark. One resource's failure does not stop the others; a refused key does. It
//! deliberately prints nothing: whoever runs it passes a [`Progress`].

mod arrivals;
mod clean;
mod deletions;
mod derived;
mod failure;
mod incremental;
mod ledger;
mod listed;
mod odd_fields;
mod options;
mod plan;
mod progress;
mod ranks;
mod rejected;
mod repair;
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
mod unreadable;
mod verify;
mod watermark;

use std::sync::Arc;

use crate::api::Client;
use crate::clock::Clock;
use crate::lake::Lake;
use crate::resource;
use run::Run;

pub use odd_fields::{NulledField, NulledFields};
pub use options::{Extent, SyncOptions};
pub use progress::{Progress, Silent};
pub use sessions::SESSIONS_READ;
pub use summary::{ResourceStatus, ResourceSummary, Status, Summary};
pub use tokio_util::sync::CancellationToken;
pub use verify::VERIFIED_TO;

/// What a run works with.
#[derive(Clone)]
pub struct Sync {
    /// The way to Clerk.
    pub client: Client,
    /// Where the tables are.
    pub lake: Lake,
    /// The local clock: for the summary's times, and for what day it is where Clerk does not say.
    pub clock: Clock,
    /// What to do.
    pub options: SyncOptions,
    /// Who watches.
    pub progress: Arc<dyn Progress>,
    /// Cancel it to stop the run: what is being read is dropped, what is being committed is finished.
    pub stop: CancellationToken,
}

impl Sync {
    /// Runs it. What was committed stays committed, whatever fails afterwards; dropping the future between two
    /// awaits leaves every table at its last commit.
    pub async fn run(&self) -> Summary {
        let started_at = self.clock.now();
        let mut selected: Vec<_> = resource::ALL.to_vec();
        selected.retain(|resource| self.options.resources.iter().any(|wanted| wanted.name == resource.name));
        let run = Run::begin(self).await;
        let began = run.is_ok();
        let resources = match run {
            Ok(run) => run.all(&selected).await,
            Err(error) => selected.iter().map(|it| ResourceSummary::not_begun(it.name, error.clone())).collect(),
        };
        Summary::new(started_at, self.clock.now(), self.lake.location().to_string(), resources, began)
    }
}
