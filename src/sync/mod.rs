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
mod progress;
mod ranks;
mod rejected;
mod repair;
mod resume;
mod sessions;
mod staging;
mod summary;
mod tables;
mod unreadable;
mod verify;
mod watermark;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;

use crate::api::{self, Client, Lanes};
use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Result};
use crate::lake::{Lake, RunArea, Table};
use crate::resource::{self, Reading, Resource};

pub use odd_fields::{NulledField, NulledFields};
pub use progress::{Progress, Silent};
pub use sessions::SESSIONS_READ;
pub use tokio_util::sync::CancellationToken;
pub use verify::VERIFIED_TO;

pub use summary::{ResourceStatus, ResourceSummary, Status, Summary};

/// How long the first request may be tried: a wrong address should be known at once, not after minutes.
const FIRST_CONTACT: Duration = Duration::from_secs(20);

/// How far the clocks of Clerk's servers may be apart.
const CLOCKS_APART: TimeDelta = TimeDelta::minutes(5);

/// How far Clerk's clock may be ahead of this machine's to be taken for its own: a watermark that is too late hides
/// changes.
const CLOCK_AHEAD: TimeDelta = TimeDelta::days(1);

/// How far it may be behind: a watermark that is too early costs requests only.
const CLOCK_BEHIND: TimeDelta = TimeDelta::weeks(1);

/// How much of each resource a run reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Extent {
    /// What changed since the table's watermark; everything where there is none yet.
    #[default]
    Changes,
    /// What changed since this moment, if it is before the watermark.
    Since(DateTime<Utc>),
    /// Everything.
    Full,
}

/// What a run is to do.
#[derive(Clone, Debug)]
pub struct SyncOptions {
    /// How much of each resource to read.
    pub extent: Extent,
    /// How many lanes walk a listing by cursor.
    pub lanes: Lanes,
    /// Whether to forget what an interrupted run had staged instead of going on with it.
    pub fresh: bool,
    /// The resources to sync; the order of the registry is kept, whatever order they are given in.
    pub resources: Vec<&'static Resource>,
    /// How many days `clerk_daily_active_users` covers, today included: 1 to 90.
    pub dau_lookback_days: u32,
    /// Users active in that many last days are asked for their sessions at the first sync.
    pub session_lookback_days: u32,
    /// Within what time the sessions of an active user are read again; zero for at each sync.
    pub session_refresh: TimeDelta,
    /// Within what time every user is read again, whether or not a list shows a change; zero for never.
    pub verify_every: TimeDelta,
    /// The largest share of a table's rows, 0 to 1, that a replacement may remove.
    pub max_shrink: f64,
    /// The largest share of a listing's rows, 0 to 1, that may be unreadable.
    pub max_rejected: f64,
}

impl Default for SyncOptions {
    fn default() -> Self {
        Self {
            extent: Extent::default(),
            lanes: Lanes::default(),
            fresh: false,
            resources: resource::ALL.to_vec(),
            dau_lookback_days: 30,
            session_lookback_days: 30,
            session_refresh: TimeDelta::days(1),
            verify_every: TimeDelta::days(7),
            max_shrink: 0.2,
            max_rejected: 0.01,
        }
    }
}

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

/// What all resources of one run share.
struct Run<'a> {
    sync: &'a Sync,
    /// The lake as this run sees it.
    lake: Lake,
    client: Client,
    area: RunArea,
    instance: Option<String>,
    /// Clerk's clock at the start of the run, or a moment before it.
    watermark: DateTime<Utc>,
    /// What time it is: by Clerk's clock, or else by this machine's.
    now: DateTime<Utc>,
    /// Whether Clerk says what time it has.
    dated: bool,
    /// When it began, by a clock that nobody sets.
    begun: Instant,
    /// Tables that this run has brought up to date so far.
    fresh: Vec<&'static str>,
    /// The version at which this run opened each table, or left it.
    bases: Mutex<HashMap<&'static str, Option<u64>>>,
}

impl Sync {
    /// Runs it. What was committed stays committed, whatever fails afterwards; dropping the future between two
    /// awaits leaves every table at its last commit.
    pub async fn run(&self) -> Summary {
        let started_at = self.clock.now();
        let mut selected: Vec<_> = resource::ALL.to_vec();
        selected.retain(|resource| self.options.resources.iter().any(|wanted| wanted.name == resource.name));
        let run = self.begin().await;
        let began = run.is_ok();
        let resources = match run {
            Ok(run) => run.all(&selected).await,
            Err(error) => selected.iter().map(|it| ResourceSummary::failed(it.name, error.clone())).collect(),
        };
        Summary::new(started_at, self.clock.now(), self.lake.location().to_string(), resources, began)
    }

    /// Everything that is checked before anything is read: that the lake can be written, that Clerk answers and
    /// takes the key, and that the two belong together.
    async fn begin(&self) -> Result<Run<'_>> {
        let begun = Instant::now();
        let lake = self.lake.for_run().await?;
        let area = RunArea::open(&lake).await?;
        let progress = Arc::clone(&self.progress);
        let client = self.client.for_run(self.stop.clone(), Arc::new(move |text: &str| progress.note(text)));
        let instance = api::instance(&client.within_retry_budget(FIRST_CONTACT)).await?;
        match &instance.id {
            Some(id) => lake.check_instance(id, &resource::TABLES).await?,
            None => self.progress.warn(
                "this key may not read which instance it belongs to (GET /v1/instance); \
                 whether it is this lake's own cannot be checked",
            ),
        }
        let now = self.clerks_time(&client);
        let watermark = match now {
            Some(now) => now,
            None => watermark::latest_stamp(&client).await?,
        };
        Ok(Run {
            sync: self,
            lake,
            client,
            area,
            instance: instance.id,
            watermark,
            now: now.unwrap_or_else(|| self.clock.now()),
            dated: now.is_some(),
            begun,
            fresh: Vec::new(),
            bases: Mutex::default(),
        })
    }
}

impl Sync {
    /// What time it is at Clerk. `None` if its answers do not say, or say what cannot be: a clock that is far from this
    /// machine's may be a proxy's, and a watermark that is too late would hide changes.
    fn clerks_time(&self, client: &Client) -> Option<DateTime<Utc>> {
        const FALLBACK: &str = "the watermark comes from the latest change of a user";
        let Some(clerks) = client.server_start() else {
            self.progress.warn(&format!("Clerk's answers carry no Date: {FALLBACK}"));
            return None;
        };
        let own = self.clock.now();
        if (own - CLOCK_BEHIND..=own + CLOCK_AHEAD).contains(&clerks) {
            return Some(clerks);
        }
        self.progress.warn(&format!(
            "the Date of Clerk's answers ({clerks}) is too far from this machine's clock ({own}): {FALLBACK}"
        ));
        None
    }
}

impl Run<'_> {
    async fn all(mut self, selected: &[&'static Resource]) -> Vec<ResourceSummary> {
        if let Err(error) = Box::pin(self.clean_rejected_rows()).await {
            self.sync.progress.warn(&format!("rejected rows of an earlier version could not be cleaned: {error}"));
        }
        self.clear_others(selected).await;
        let mut summaries = Vec::with_capacity(selected.len());
        let mut refused: Option<Error> = None;
        for &resource in selected {
            let summary = match &refused {
                Some(error) => ResourceSummary::failed(resource.name, error.clone()),
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
        let mut summary = ResourceSummary::new(resource.name);
        let opened = match Box::pin(self.repair_before_full(resource)).await {
            Ok(()) => self.open(&resource.table).await,
            Err(error) => Err(error),
        };
        let outcome = match opened {
            Ok(table) => self.bring_up_to_date(resource, table, &client, &mut summary).await,
            Err(error) => Err(error),
        };
        summary.take_traffic(client.traffic(), start.elapsed());
        for (field, nulled) in &summary.fields_nulled {
            self.sync.progress.warn(&odd_fields::describe(resource.name, field, nulled));
        }
        match outcome {
            Ok(()) => summary,
            Err(error) => {
                let error = self.conflict_behind(resource, &error).await.unwrap_or(error);
                let error = self.damage_behind(resource, &error).await.unwrap_or(error);
                summary.into_failed(error)
            }
        }
    }

    async fn bring_up_to_date(
        &self,
        resource: &'static Resource,
        table: Table,
        client: &Client,
        summary: &mut ResourceSummary,
    ) -> Result<()> {
        let watermark = table.watermark().await?;
        summary.take_table(&table, watermark);
        let since = self.since(&table, watermark);
        if self.sync.options.fresh {
            table.forget_checkpoints(&self.area).await;
        }
        let begun = match (resource.reading, since) {
            (Reading::Cursor { .. }, Some(since)) if !self.has_refused_listing(resource, &table).await? => {
                self.changes(resource, since, client, table, summary).await?
            }
            (Reading::Cursor { .. } | Reading::Offset { .. }, _) => {
                self.whole(resource, client, table, summary).await?
            }
            (Reading::PerUser { path }, _) => self.sessions(resource, path, since, client, table, summary).await?,
            (Reading::Derived { query }, _) => {
                self.derived(resource, query, client, table, summary).await?;
                None
            }
            (Reading::Ledger, _) => {
                Box::pin(self.ledger(resource, since, table, summary)).await?;
                None
            }
        };
        match begun {
            // What an interrupted run had begun is complete as of its start; what changed since comes on top.
            Some(begun) => self.catch_up(resource, begun, client, summary).await,
            None => Ok(()),
        }
    }

    /// Whether a complete listing waits to be committed, because the run that read it was not allowed to remove as many
    /// rows as this one is.
    async fn has_refused_listing(&self, resource: &'static Resource, table: &Table) -> Result<bool> {
        let source = self.source_of(resource);
        table.has_refused_listing(&self.area, &source, self.sync.options.max_shrink).await
    }

    /// Reads what changed since `begun`, on top of what this run has just committed.
    async fn catch_up(
        &self,
        resource: &'static Resource,
        begun: DateTime<Utc>,
        client: &Client,
        summary: &mut ResourceSummary,
    ) -> Result<()> {
        let mut begun = Some(begun);
        while let Some(since) = begun {
            let table = self.open(&resource.table).await?;
            let before = summary.clone();
            let read = match resource.reading {
                Reading::Cursor { .. } => self.changes(resource, since, client, table, summary).await,
                Reading::PerUser { path } => self.sessions(resource, path, Some(since), client, table, summary).await,
                Reading::Offset { .. } | Reading::Derived { .. } | Reading::Ledger => Ok(None),
            };
            summary.add(&before);
            begun = read?;
        }
        Ok(())
    }

    /// Since when changes are to be read; none where everything is. A time later than the watermark would leave
    /// out what changed in between: the watermark counts then.
    fn since(&self, table: &Table, watermark: Option<DateTime<Utc>>) -> Option<DateTime<Utc>> {
        let watermark = watermark?;
        if self.dated && watermark > self.watermark + CLOCKS_APART {
            self.sync.progress.warn(&format!(
                "{} is complete up to {watermark}, which is after Clerk's own clock ({}): reading everything",
                table.spec().name,
                self.watermark
            ));
            return None;
        }
        let watermark = watermark.min(self.watermark);
        match self.sync.options.extent {
            Extent::Full => None,
            Extent::Changes => Some(watermark),
            Extent::Since(since) => Some(since.min(watermark)),
        }
    }
}
