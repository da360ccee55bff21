//! Says what a sync would do and cost. Sends a few requests, and writes nothing anywhere.
//!
//! The step of each resource comes from [`plan`], as in a sync. The rows to read are Clerk's own counts, or positions in
//! its lists that are ordered by time: the number of users active since a time is the position of the first one who was
//! not. A sync also reads what changes while it runs, so all numbers are estimates.

use chrono::{DateTime, NaiveTime, TimeDelta, Utc};
use serde::Serialize;

use super::SyncJob;
use super::incremental::{FULL_READ_DIVISOR, MARGIN};
use super::known_tables::{KnownTables, TableFacts};
use super::list_counts::{ListCounts, pages};
use super::options::SyncOptions;
use super::plan::{ServerTime, Step, TableState, plan};
use super::requests::day_of;
use super::run::{FIRST_REQUEST_BUDGET, clerk_time};
use super::sessions::refuses_unfiltered;
use super::verify::slice;
use super::watermark::latest_timestamp;
use crate::api::{self, ApiError, Client, LARGEST_PAGE, Refusal};
use crate::error::Result;
use crate::resource::{self, CursorList, PerParentList, Resource, USERS};

/// What a sync would do for one resource. All numbers are estimates.
#[derive(Clone, Debug, Serialize)]
pub struct ResourcePlan {
    /// The name of the resource.
    pub name: &'static str,
    /// `full` or `incremental`, as in the summary of a sync; `skipped` if the instance does not have the resource.
    pub mode: &'static str,
    /// Rows to read from Clerk.
    pub rows: u64,
    /// Requests to send.
    pub requests: u64,
    /// How long these requests take within the request budget.
    pub minutes: f64,
    /// Why the resource is read in this way.
    pub why: String,
}

/// What a sync would do. Serialized, this is the output of `sync --plan --json`.
#[derive(Clone, Debug, Serialize)]
pub struct SyncPlan {
    /// The location of the lake.
    pub lake: String,
    /// The Clerk instance; `None` if the key may not read it.
    pub instance: Option<String>,
    /// Requests to send for all resources.
    pub requests: u64,
    /// How long all requests take within the request budget.
    pub minutes: f64,
    /// The request budget; `None` if requests are not limited.
    pub requests_per_second: Option<f64>,
    /// One entry for each selected resource.
    pub resources: Vec<ResourcePlan>,
}

/// The cost of one resource.
struct Cost {
    mode: &'static str,
    rows: u64,
    requests: u64,
    why: String,
}

const FULL: &str = "full";
const INCREMENTAL: &str = "incremental";

/// Requests that a sync of users sends besides those for pages: counts, and the ends of lists.
const OTHER_REQUESTS: u64 = 4;

/// How many requests a plan sends to estimate one number.
const MAX_PROBES: u32 = 12;

impl SyncJob {
    /// Returns what [`run`](Self::run) would do, and writes nothing.
    ///
    /// # Errors
    /// As the failures of a run before its first resource: a refused key, an unreachable server, a lake of another
    /// instance. Also the errors of opening the tables.
    pub async fn plan(&self) -> Result<SyncPlan> {
        let lake = self.lake.for_run().await?;
        let progress = std::sync::Arc::clone(&self.progress);
        let client = self.client.for_run(self.stop.clone(), std::sync::Arc::new(move |text: &str| progress.note(text)));
        let instance = api::instance(&client.within_retry_budget(FIRST_REQUEST_BUDGET)).await?.id;
        if let Some(id) = &instance {
            lake.check_instance(id, &resource::TABLES).await?;
        }
        let now = clerk_time(self, &client);
        let watermark = match now {
            Some(now) => now,
            None => latest_timestamp(&client).await?,
        };
        let counts = ListCounts::new(client.clone(), MAX_PROBES);
        let forecast = Forecast {
            options: &self.options,
            tables: KnownTables::OfLake { lake, instance: instance.clone() },
            counts: &counts,
            client,
            server_time: ServerTime { watermark, is_from_clerk: now.is_some() },
            now: now.unwrap_or_else(|| self.clock.now()),
        };
        let resources = forecast.resources().await?;
        let requests = resources.iter().map(|resource| resource.requests).sum();
        Ok(SyncPlan {
            lake: self.lake.location().to_string(),
            requests,
            minutes: forecast.minutes(requests),
            requests_per_second: forecast.client.quota().requests_per_second(),
            instance,
            resources,
        })
    }
}

/// What is known before the resources are looked at.
pub(super) struct Forecast<'a> {
    pub(super) options: &'a SyncOptions,
    pub(super) tables: KnownTables,
    pub(super) counts: &'a ListCounts,
    pub(super) client: Client,
    pub(super) server_time: ServerTime,
    pub(super) now: DateTime<Utc>,
}

impl Forecast<'_> {
    /// Returns what the sync would do for each selected resource.
    pub(super) async fn resources(&self) -> Result<Vec<ResourcePlan>> {
        let mut resources = Vec::new();
        for resource in resource::ALL.into_iter().filter(|it| self.is_selected(it)) {
            let Cost { mode, rows, requests, why } = Box::pin(self.cost_of(resource)).await?;
            let minutes = self.minutes(requests);
            resources.push(ResourcePlan { name: resource.name, mode, rows, requests, minutes, why });
        }
        Ok(resources)
    }

    fn is_selected(&self, resource: &Resource) -> bool {
        self.options.resources.iter().any(|selected| selected.name == resource.name)
    }

    /// Returns how long `requests` take: at the rate of the request budget, or without a limit one after the other.
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    pub(super) fn minutes(&self, requests: u64) -> f64 {
        let latency = self.client.latency().unwrap_or_default().as_secs_f64();
        let each = self.client.quota().requests_per_second().map_or(latency, |rate| 1.0 / rate);
        requests as f64 * each / 60.0
    }

    async fn cost_of(&self, resource: &'static Resource) -> Result<Cost> {
        let facts = self.tables.facts(resource, self.options, self.counts, &self.client).await?;
        let state = TableState { watermark: facts.watermark, has_refused_listing: facts.has_refused_listing };
        match plan(resource.reading, state, self.server_time, self.options.extent) {
            Step::AllByCursor(_) if facts.has_refused_listing => {
                let staged = facts.staged.unwrap_or_default();
                let why = format!("{staged} rows are staged since an earlier sync was refused");
                Ok(Cost { mode: FULL, rows: 0, requests: 0, why })
            }
            Step::AllByCursor(_) => self.all_by_cursor(&facts).await,
            Step::Changes(list, since) => self.changes(list, since, &facts).await,
            Step::AllByOffset(_) => self.all_by_offset(resource).await,
            Step::Sessions(_, since) => self.sessions(resource, since, &facts).await,
            Step::PerParent(list, since) => self.per_parent(list, since).await,
            Step::Single(_) => Ok(Cost { mode: FULL, rows: 1, requests: 1, why: "one object".to_owned() }),
            Step::Derive(_) => self.derived().await,
            Step::Ledger(since) => Ok(Cost {
                mode: if since.is_some() { INCREMENTAL } else { FULL },
                rows: 0,
                requests: 0,
                why: "computed from the tables of users and sessions".to_owned(),
            }),
        }
    }

    async fn all_by_cursor(&self, facts: &TableFacts) -> Result<Cost> {
        let total = self.counts.users().await?;
        let rows = total.saturating_sub(facts.staged.unwrap_or_default());
        let why = match (facts.staged, facts.watermark) {
            (Some(staged), _) => format!("resumes an interrupted sync after {staged} rows"),
            (None, None) => "the table is empty".to_owned(),
            (None, Some(watermark)) if self.server_time.is_before(watermark) => {
                format!("the table is complete up to {watermark}, which is in the future")
            }
            (None, Some(_)) => "a full sync was asked for".to_owned(),
        };
        Ok(Cost { mode: FULL, rows, requests: pages(rows) + OTHER_REQUESTS, why })
    }

    async fn changes(&self, list: CursorList, since: DateTime<Utc>, facts: &TableFacts) -> Result<Cost> {
        let total = self.counts.users().await?;
        let changed = self.counts.since(list.changed, since - MARGIN, total).await?;
        if changed > facts.rows / FULL_READ_DIVISOR + LARGEST_PAGE as u64 {
            let why = format!("about {changed} rows have changed since {since}: reading all costs less");
            return Ok(Cost { mode: FULL, rows: total, requests: pages(total) + OTHER_REQUESTS, why });
        }
        let active = self.counts.since("last_active_at", day_of(since), total).await?;
        let every = self.options.verify_every;
        let verified = if every > TimeDelta::zero() {
            slice(facts.rows, self.server_time.watermark - since, every).max(LARGEST_PAGE as u64).min(total)
        } else {
            0
        };
        let requests = pages(active) + pages(changed) + if verified > 0 { pages(verified) } else { 0 };
        let rows = (active + changed + verified).min(total);
        let why = format!("reads what changed since {since}");
        Ok(Cost { mode: INCREMENTAL, rows, requests: requests + OTHER_REQUESTS, why })
    }

    async fn all_by_offset(&self, resource: &'static Resource) -> Result<Cost> {
        match self.counts.size_of(resource).await {
            Ok(size) => Ok(Cost {
                mode: FULL,
                rows: size.listed,
                requests: size.pages,
                why: "always read completely".to_owned(),
            }),
            Err(error) if error.refusal == Refusal::Absent => Ok(absent(&error)),
            Err(error) => Err(error.into()),
        }
    }

    /// Estimates the lists of parents: all of them at first, and then those that are read in turns.
    async fn per_parent(&self, list: PerParentList, since: Option<DateTime<Utc>>) -> Result<Cost> {
        let parents = self.tables.rows_of_parents(list, self.options, self.counts).await?;
        let every = self.options.verify_every;
        let (mode, due) = match since {
            None => (FULL, parents),
            Some(since) if every > TimeDelta::zero() => {
                (INCREMENTAL, slice(parents, self.server_time.watermark - since, every).min(parents))
            }
            Some(_) => (INCREMENTAL, 0),
        };
        let why = format!("one list for each row of {} that is due", list.parents.name);
        Ok(Cost { mode, rows: due, requests: due, why })
    }

    async fn sessions(
        &self,
        resource: &'static Resource,
        since: Option<DateTime<Utc>>,
        facts: &TableFacts,
    ) -> Result<Cost> {
        let mode = if since.is_some() { INCREMENTAL } else { FULL };
        let size = match self.counts.size_of(resource).await {
            Ok(size) => size,
            Err(error) if refuses_unfiltered(&error) => return self.sessions_by_user(since, mode, facts.staged).await,
            Err(error) if error.refusal == Refusal::Absent => return Ok(absent(&error)),
            Err(error) => return Err(error.into()),
        };
        let refresh = self.options.session_refresh;
        let is_due = facts.sessions_read.is_none_or(|read| self.server_time.watermark - read >= refresh);
        let Some(since) = since.filter(|_| !is_due) else {
            let why = "reads all sessions".to_owned();
            return Ok(Cost { mode, rows: size.listed, requests: size.pages, why });
        };
        let users = self.counts.users().await?;
        let new = self.counts.since("last_sign_in_at", since - MARGIN, users).await?;
        let why = format!("reads new sessions since {since}");
        Ok(Cost { mode, rows: new, requests: pages(new), why })
    }

    /// Estimates the sessions of an instance that lists them only by user: one request for each user.
    async fn sessions_by_user(
        &self,
        since: Option<DateTime<Utc>>,
        mode: &'static str,
        staged: Option<u64>,
    ) -> Result<Cost> {
        let total = self.counts.users().await?;
        let options = self.options;
        let (users, read) = match since {
            None => {
                let first = self.now - TimeDelta::days(i64::from(options.session_lookback_days) - 1);
                let active = self.counts.since("last_active_at", day_of(first), total).await?;
                (active.saturating_sub(staged.unwrap_or_default()), active)
            }
            Some(since) if options.session_refresh <= TimeDelta::zero() => {
                let active = self.counts.since("last_active_at", day_of(since), total).await?;
                (active, active)
            }
            Some(since) => {
                let signed_in = self.counts.since("last_sign_in_at", since - MARGIN, total).await?;
                let refreshed = day_of(since - options.session_refresh);
                let active = self.counts.since("last_active_at", refreshed, total).await?;
                let due = slice(active, self.server_time.watermark - since, options.session_refresh);
                ((signed_in + due).min(total), active)
            }
        };
        let lists = if self.is_selected(&USERS) { 0 } else { pages(read) };
        let why = format!("this instance lists sessions by user: {users} users are due");
        Ok(Cost { mode, rows: users, requests: users + lists + 1, why })
    }

    async fn derived(&self) -> Result<Cost> {
        let why = "computed from the table of users".to_owned();
        if self.is_selected(&USERS) {
            return Ok(Cost { mode: FULL, rows: 0, requests: 0, why });
        }
        let days = i64::from(self.options.dau_lookback_days);
        let first = (self.now.date_naive() - TimeDelta::days(days - 1)).and_time(NaiveTime::MIN).and_utc();
        let total = self.counts.users().await?;
        let rows = self.counts.since("last_active_at", first, total).await?;
        let why = "computed from the users who were active, because users are not synced".to_owned();
        Ok(Cost { mode: FULL, rows, requests: pages(rows), why })
    }
}

fn absent(error: &ApiError) -> Cost {
    Cost { mode: "skipped", rows: 0, requests: 1, why: format!("this instance does not have them: {error}") }
}
