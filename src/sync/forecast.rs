//! Says what a sync would do and cost. Sends a few requests, and writes nothing anywhere.
//!
//! The step of each resource comes from [`plan`], as in a sync. The rows to read are Clerk's own counts, or positions in
//! its lists that are ordered by time: the number of users active since a time is the position of the first one who was
//! not. A sync also reads what changes while it runs, so all numbers are estimates.

use chrono::{DateTime, NaiveTime, TimeDelta, Utc};
use serde::Serialize;

use super::SyncJob;
use super::incremental::{FULL_READ_DIVISOR, MARGIN};
use super::plan::{ServerTime, Step, TableState, plan};
use super::requests::day_of;
use super::resume::source;
use super::run::{FIRST_REQUEST_BUDGET, clerk_time};
use super::sessions::{SESSIONS_READ, refuses_unfiltered};
use super::staging::timestamps;
use super::verify::slice;
use super::watermark::latest_timestamp;
use crate::api::{self, ApiError, Client, Decoded, LARGEST_PAGE, Refusal};
use crate::error::Result;
use crate::lake::{Lake, Table};
use crate::resource::{
    self, CursorList, Decode, OffsetList, PageRows, Paging, PerParentList, PerUserList, Resource, USER_LIST, USERS,
};

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

/// How many requests are sent to estimate one number.
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
        let server_time = ServerTime { watermark, is_from_clerk: now.is_some() };
        let now = now.unwrap_or_else(|| self.clock.now());
        let forecast = Forecast { sync: self, lake, client, instance, server_time, now };
        let mut resources = Vec::new();
        for resource in resource::ALL.into_iter().filter(|it| forecast.is_selected(it)) {
            let Cost { mode, rows, requests, why } = Box::pin(forecast.cost_of(resource)).await?;
            resources.push(ResourcePlan {
                name: resource.name,
                mode,
                rows,
                requests,
                minutes: forecast.minutes(requests),
                why,
            });
        }
        let requests = resources.iter().map(|resource| resource.requests).sum();
        Ok(SyncPlan {
            lake: self.lake.location().to_string(),
            requests,
            minutes: forecast.minutes(requests),
            requests_per_second: forecast.client.quota().requests_per_second(),
            instance: forecast.instance,
            resources,
        })
    }
}

/// What is known before the resources are looked at.
struct Forecast<'a> {
    sync: &'a SyncJob,
    lake: Lake,
    client: Client,
    instance: Option<String>,
    server_time: ServerTime,
    now: DateTime<Utc>,
}

impl Forecast<'_> {
    fn is_selected(&self, resource: &Resource) -> bool {
        self.sync.options.resources.iter().any(|selected| selected.name == resource.name)
    }

    /// Returns how long `requests` take: at the rate of the request budget, or without a limit one after the other.
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    fn minutes(&self, requests: u64) -> f64 {
        let latency = self.client.latency().unwrap_or_default().as_secs_f64();
        let each = self.client.quota().requests_per_second().map_or(latency, |rate| 1.0 / rate);
        requests as f64 * each / 60.0
    }

    async fn cost_of(&self, resource: &'static Resource) -> Result<Cost> {
        let table = self.lake.table(&resource.table).await?;
        let options = &self.sync.options;
        let source = source(&self.client, self.instance.as_deref(), options, resource);
        let resume_point =
            if options.fresh { None } else { table.find_resume_point(&source, options.max_shrink).await? };
        let has_refused_listing = resume_point.as_ref().is_some_and(|point| point.refused_share.is_some());
        let state = TableState { watermark: table.watermark().await?, has_refused_listing };
        let step = plan(resource.reading, state, self.server_time, options.extent);
        let staged = resume_point.map(|point| point.rows);
        match step {
            Step::AllByCursor(_) if has_refused_listing => {
                let why = format!("{} rows are staged since an earlier sync was refused", staged.unwrap_or_default());
                Ok(Cost { mode: FULL, rows: 0, requests: 0, why })
            }
            Step::AllByCursor(list) => self.all_by_cursor(list, state.watermark, staged).await,
            Step::Changes(list, since) => self.changes(list, since, &table).await,
            Step::AllByOffset(list) => self.all_by_offset(list).await,
            Step::Sessions(list, since) => self.sessions(list, since, &table, staged).await,
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

    async fn all_by_cursor(
        &self,
        list: CursorList,
        watermark: Option<DateTime<Utc>>,
        staged: Option<u64>,
    ) -> Result<Cost> {
        let total = list.count_rows(&self.client).await?;
        let rows = total.saturating_sub(staged.unwrap_or_default());
        let why = match (staged, watermark) {
            (Some(staged), _) => format!("resumes an interrupted sync after {staged} rows"),
            (None, None) => "the table is empty".to_owned(),
            (None, Some(watermark)) if self.server_time.is_before(watermark) => {
                format!("the table is complete up to {watermark}, which is in the future")
            }
            (None, Some(_)) => "a full sync was asked for".to_owned(),
        };
        Ok(Cost { mode: FULL, rows, requests: pages(rows) + OTHER_REQUESTS, why })
    }

    async fn changes(&self, list: CursorList, since: DateTime<Utc>, table: &Table) -> Result<Cost> {
        let total = list.count_rows(&self.client).await?;
        let changed = self.count_since(list.changed, since - MARGIN, total).await?;
        if changed > table.rows() / FULL_READ_DIVISOR + LARGEST_PAGE as u64 {
            let why = format!("about {changed} rows have changed since {since}: reading all costs less");
            return Ok(Cost { mode: FULL, rows: total, requests: pages(total) + OTHER_REQUESTS, why });
        }
        let active = self.count_since("last_active_at", day_of(since), total).await?;
        let every = self.sync.options.verify_every;
        let verified = if every > TimeDelta::zero() {
            slice(table.rows(), self.server_time.watermark - since, every).max(LARGEST_PAGE as u64).min(total)
        } else {
            0
        };
        let requests = pages(active) + pages(changed) + if verified > 0 { pages(verified) } else { 0 };
        let rows = (active + changed + verified).min(total);
        let why = format!("reads what changed since {since}");
        Ok(Cost { mode: INCREMENTAL, rows, requests: requests + OTHER_REQUESTS, why })
    }

    async fn all_by_offset(&self, list: OffsetList) -> Result<Cost> {
        let (mut rows, mut requests) = (0, 0);
        for query in list.queries() {
            let count = match self.count_listed(list, list.path, &query).await {
                Err(error) if error.status == Some(404) && list.older_path.is_some() => {
                    self.count_listed(list, list.older_path.unwrap_or(list.path), &query).await
                }
                count => count,
            };
            match count {
                Ok(count) => {
                    rows += count;
                    requests += if list.paging == Paging::None { 1 } else { pages(count) };
                }
                Err(error) if error.refusal == Refusal::Absent => return Ok(absent(&error)),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Cost { mode: FULL, rows, requests, why: "always read completely".to_owned() })
    }

    /// Returns the number of rows in a list.
    async fn count_listed(
        &self,
        list: OffsetList,
        path: &str,
        query: &[(&'static str, &'static str)],
    ) -> Result<u64, ApiError> {
        let limit = (list.paging == Paging::Offset).then(|| ("limit", "1".to_owned()));
        let query = query.iter().map(|(name, value)| (*name, (*value).to_owned()));
        let query: Vec<_> = limit.into_iter().chain(query).collect();
        let page = self.first_row(path, &query, list.decode).await?;
        Ok(page.total_count.unwrap_or(page.keys.len() as u64))
    }

    /// Estimates the lists of parents: all of them at first, and then those that are read in turns.
    async fn per_parent(&self, list: PerParentList, since: Option<DateTime<Utc>>) -> Result<Cost> {
        let parents = self.lake.table(list.parents).await?.rows();
        let every = self.sync.options.verify_every;
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
        list: PerUserList,
        since: Option<DateTime<Utc>>,
        table: &Table,
        staged: Option<u64>,
    ) -> Result<Cost> {
        let query = [("limit", "1".to_owned()), ("paginated", "true".to_owned())];
        let mode = if since.is_some() { INCREMENTAL } else { FULL };
        let total = match self.first_row(list.path, &query, list.decode).await {
            Ok(page) => page.total_count.unwrap_or(page.keys.len() as u64),
            Err(error) if refuses_unfiltered(&error) => return self.sessions_by_user(since, mode, staged).await,
            Err(error) if error.refusal == Refusal::Absent => return Ok(absent(&error)),
            Err(error) => return Err(error.into()),
        };
        let refresh = self.sync.options.session_refresh;
        let read = table.position(SESSIONS_READ).await?.and_then(DateTime::from_timestamp_millis);
        let is_due = read.is_none_or(|read| self.server_time.watermark - read >= refresh);
        let Some(since) = since.filter(|_| !is_due) else {
            return Ok(Cost { mode, rows: total, requests: pages(total), why: "reads all sessions".to_owned() });
        };
        let users = USER_LIST.count_rows(&self.client).await?;
        let new = self.count_since("last_sign_in_at", since - MARGIN, users).await?;
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
        let total = USER_LIST.count_rows(&self.client).await?;
        let options = &self.sync.options;
        let (users, read) = match since {
            None => {
                let first = self.now - TimeDelta::days(i64::from(options.session_lookback_days) - 1);
                let active = self.count_since("last_active_at", day_of(first), total).await?;
                (active.saturating_sub(staged.unwrap_or_default()), active)
            }
            Some(since) if options.session_refresh <= TimeDelta::zero() => {
                let active = self.count_since("last_active_at", day_of(since), total).await?;
                (active, active)
            }
            Some(since) => {
                let signed_in = self.count_since("last_sign_in_at", since - MARGIN, total).await?;
                let active = self.count_since("last_active_at", day_of(since - options.session_refresh), total).await?;
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
        let days = i64::from(self.sync.options.dau_lookback_days);
        let first = (self.now.date_naive() - TimeDelta::days(days - 1)).and_time(NaiveTime::MIN).and_utc();
        let total = USER_LIST.count_rows(&self.client).await?;
        let rows = self.count_since("last_active_at", first, total).await?;
        let why = "computed from the users who were active, because users are not synced".to_owned();
        Ok(Cost { mode: FULL, rows, requests: pages(rows), why })
    }

    /// Returns about how many of the `total` users have a time of `bound` or later in `column`. Exact up to one page of
    /// users, and then off by a quarter at most. `total` if Clerk does not list users in this order.
    async fn count_since(&self, column: &str, bound: DateTime<Utc>, total: u64) -> Result<u64> {
        let bound = bound.timestamp_micros();
        let page = match self.newest(column, 0, LARGEST_PAGE).await {
            Err(error) if error.refusal == Refusal::Parameter => return Ok(total),
            page => page?,
        };
        let recent = |page: &PageRows| timestamps(page, column).filter(|at| at.is_some_and(|at| at >= bound)).count();
        let (listed, found) = (page.batch.num_rows(), recent(&page));
        // Some servers send fewer rows than requested.
        if found < listed || listed as u64 >= total {
            return Ok(found as u64);
        }
        let (mut low, mut high) = (found as u64, total);
        for _ in 0..MAX_PROBES {
            if high <= low + low / 4 {
                break;
            }
            let probe = if high == total { (low * 4).min(total - 1) } else { u64::midpoint(low, high) };
            if probe <= low {
                break;
            }
            if recent(&self.newest(column, probe, 1).await?) > 0 {
                low = probe;
            } else {
                high = probe;
            }
        }
        Ok(u64::midpoint(low, high))
    }

    /// Returns users in the order of `column`, newest first, from the position `offset` on.
    async fn newest(&self, column: &str, offset: u64, limit: usize) -> Result<PageRows, ApiError> {
        let query = [("limit", limit.to_string()), ("offset", offset.to_string()), ("order_by", format!("-{column}"))];
        Ok(self.first_row(USER_LIST.path, &query, USER_LIST.decode).await?.rows)
    }

    async fn first_row(
        &self,
        path: &str,
        query: &[(&str, String)],
        decode: Decode,
    ) -> Result<Decoded<PageRows>, ApiError> {
        self.client.get(path, query, decode).await
    }
}

/// Returns the number of pages of a list with `rows` rows.
fn pages(rows: u64) -> u64 {
    rows.div_ceil(LARGEST_PAGE as u64).max(1)
}

fn absent(error: &ApiError) -> Cost {
    Cost { mode: "skipped", rows: 0, requests: 1, why: format!("this instance does not have them: {error}") }
}
