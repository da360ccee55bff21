//! Checks what a sync needs: whether the key is good, what it may read, how large the lists are, whether the lake can be
//! written, and what syncs would cost. Sends about two requests per list, and leaves nothing in the lake.
//!
//! A check goes on after a problem and reports all of them. Lists that the instance has not enabled are no problem.

mod probe;
mod report;

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use futures::{StreamExt, stream};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::forecast::Forecast;
use super::known_tables::KnownTables;
use super::list_counts::ListCounts;
use super::options::SyncOptions;
use super::plan::ServerTime;
use super::progress::Progress;
use crate::api::{self, Client, Instance, Refusal};
use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Result};
use crate::lake::Lake;
use crate::resource::{self, Reading, Resource, USERS};
use probe::ListProbe;

pub use report::{
    CheckProblem, CheckReport, CheckStatus, KeyCheck, KeyState, LakeCheck, ListCheck, ListState, SyncCost,
};

/// How long a check waits for answers, besides the time that its requests take within the request budget.
const LONGEST_WAIT: Duration = Duration::from_secs(20);

/// About how many requests a check sends.
const TYPICAL_REQUESTS: f64 = 60.0;

/// How many lists are tried at the same time.
const CONCURRENT_LISTS: usize = 4;

/// How many requests are sent to estimate one number.
const MAX_PROBES: u32 = 6;

/// The period between two syncs for the estimate of a regular sync.
const BETWEEN_SYNCS: TimeDelta = TimeDelta::hours(1);

/// A check, ready to run.
#[derive(Clone)]
pub struct Check {
    /// The Clerk client, or why there is none.
    pub client: Result<Client>,
    /// The lake, or why its location is invalid.
    pub lake: Result<Lake>,
    /// The local clock, for the current time if Clerk's responses carry none.
    pub clock: Clock,
    /// The resources whose lists are tried. Those that Clerk does not list are left out.
    pub lists: Vec<&'static Resource>,
    /// The options of the syncs whose cost is estimated.
    pub options: SyncOptions,
    /// Receives notes about long waits.
    pub progress: Arc<dyn Progress>,
}

/// The requests of a check, and until when it waits for them.
struct Requests {
    client: Client,
    counts: ListCounts,
    deadline: Instant,
}

impl Check {
    /// Runs the check. Dropping the future leaves the lake as it was, except for a marker in a bucket, which the next
    /// sync removes.
    pub async fn run(&self) -> CheckReport {
        let requests = self.client.clone().map(|client| self.requests(&client));
        let requests = requests.as_ref();
        let ((key, key_problem), writable) = tokio::join!(check_key(requests), self.prove_writable());
        let ((lists, list_problems), (lake, lake_problems)) =
            tokio::join!(self.check_lists(requests, &key), self.check_lake(writable, key.instance.as_deref()));
        let costs = match requests {
            Ok(requests) if key.is_accepted() => self.costs(requests, &lists).await,
            _ => Ok(None),
        };
        let (costs, cost_problem) = match costs {
            Ok(costs) => (costs, None),
            Err(error) => (None, Some(CheckProblem::new("cost", error))),
        };
        let (first_sync, hourly_sync) = costs.unzip();
        let problems = key_problem.into_iter().chain(lake_problems).chain(list_problems).chain(cost_problem);
        let problems: Vec<_> = problems.collect();
        let client = requests.ok().map(|requests| &requests.client);
        CheckReport {
            status: if problems.is_empty() { CheckStatus::Ok } else { CheckStatus::Failed },
            key,
            lake,
            lists,
            requests: client.map(|client| client.traffic().requests).unwrap_or_default(),
            requests_per_second: client.and_then(|client| client.quota().requests_per_second()),
            first_sync,
            hourly_sync,
            problems,
        }
    }

    fn requests(&self, client: &Client) -> Requests {
        let progress = Arc::clone(&self.progress);
        let client = client.for_run(CancellationToken::new(), Arc::new(move |text: &str| progress.note(text)));
        let paced = client.quota().requests_per_second().map_or(0.0, |rate| TYPICAL_REQUESTS / rate);
        let paced = Duration::try_from_secs_f64(paced).unwrap_or_default();
        let counts = ListCounts::new(client.clone(), MAX_PROBES);
        Requests { client, counts, deadline: Instant::now() + LONGEST_WAIT + paced }
    }

    async fn prove_writable(&self) -> Result<()> {
        self.lake.as_ref().map_err(Clone::clone)?.prove_writable().await
    }

    /// Checks whether the lake belongs to `instance`. `writable` says whether it can be written.
    async fn check_lake(&self, writable: Result<()>, instance: Option<&str>) -> (LakeCheck, Vec<CheckProblem>) {
        let is_writable = writable.is_ok();
        let mut problems: Vec<_> = writable.err().map(|error| CheckProblem::new("lake", error)).into_iter().collect();
        let Ok(lake) = &self.lake else { return (LakeCheck::default(), problems) };
        let mut check = LakeCheck { location: Some(lake.location().to_string()), is_writable, ..LakeCheck::default() };
        let belongs = match read_owner(lake).await {
            Ok((exists, owner)) => {
                (check.exists, check.instance) = (Some(exists), owner);
                check_owner(lake, &check, instance).await
            }
            // A store that does not answer, and a path that leads nowhere, would only fail again.
            Err(_) if !is_writable => Ok(()),
            Err(error) => Err(error),
        };
        problems.extend(belongs.err().map(|error| CheckProblem::new("lake", error)));
        (check, problems)
    }

    /// Tries the lists.
    async fn check_lists(
        &self,
        requests: Result<&Requests, &Error>,
        key: &KeyCheck,
    ) -> (Vec<ListCheck>, Vec<CheckProblem>) {
        let is_listed = |it: &&&Resource| !matches!(it.reading, Reading::Derived(_) | Reading::Ledger);
        let lists = self.lists.iter().filter(is_listed).copied();
        let Some(requests) = requests.ok().filter(|_| key.is_accepted()) else {
            return (lists.map(ListCheck::unchecked).collect(), Vec::new());
        };
        let probe = ListProbe { client: &requests.client, counts: &requests.counts };
        let tried = stream::iter(lists).map(|resource| async move {
            match timeout_at(requests.deadline, probe.of(resource)).await {
                Ok(Ok(probed)) => (ListCheck::readable(resource, probed), None),
                Ok(Err(error)) => ListCheck::unreadable(resource, error),
                Err(_) => ListCheck::failed(resource, ListState::Failed, too_late(resource.name)),
            }
        });
        let tried: Vec<_> = tried.buffered(CONCURRENT_LISTS).collect().await;
        let (lists, problems): (Vec<_>, Vec<_>) = tried.into_iter().unzip();
        (lists, problems.into_iter().flatten().collect())
    }

    /// Returns what a first sync and an hourly sync would cost. `None` if the users cannot be read.
    async fn costs(&self, requests: &Requests, lists: &[ListCheck]) -> Result<Option<(SyncCost, SyncCost)>> {
        let state_of = |name: &str| lists.iter().find(|list| list.name == name).map(|list| list.state);
        let is_usable = |it: &&'static Resource| {
            state_of(it.name).is_none_or(|state| matches!(state, ListState::Ok | ListState::NotEnabled))
        };
        if state_of(USERS.name).is_some_and(|state| state != ListState::Ok) {
            return Ok(None);
        }
        let (usable, left_out): (Vec<_>, Vec<_>) = self.options.resources.iter().copied().partition(|it| is_usable(it));
        let left_out: Vec<_> = left_out.into_iter().map(|resource| resource.name).collect();
        let options = SyncOptions { resources: usable, ..self.options.clone() };
        let now = requests.client.server_start().unwrap_or_else(|| self.clock.now());
        let cost = async |tables| {
            let forecast = Forecast {
                options: &options,
                tables,
                counts: &requests.counts,
                client: requests.client.clone(),
                server_time: ServerTime { watermark: now, is_from_clerk: true },
                now,
            };
            let resources = timeout_at(requests.deadline, forecast.resources()).await;
            let resources = resources.map_err(|_| too_late("the estimate of the cost"))??;
            let requests = resources.iter().map(|resource| resource.requests).sum();
            Ok::<_, Error>(SyncCost {
                requests,
                minutes: forecast.minutes(requests),
                resources,
                left_out: left_out.clone(),
            })
        };
        let first = Box::pin(cost(KnownTables::None)).await?;
        let hourly = Box::pin(cost(KnownTables::CompleteTo(now - BETWEEN_SYNCS))).await?;
        Ok(Some((first, hourly)))
    }
}

/// Finds the instance of the key, which proves that Clerk accepts it.
async fn check_key(requests: Result<&Requests, &Error>) -> (KeyCheck, Option<CheckProblem>) {
    let unknown = |state, error: Error| {
        let why = Some(error.to_string());
        (KeyCheck { state, why, ..KeyCheck::default() }, Some(CheckProblem::new("key", error)))
    };
    let requests = match requests {
        Ok(requests) => requests,
        Err(error) => return unknown(KeyState::Unknown, error.clone()),
    };
    let error = match timeout_at(requests.deadline, api::instance(&requests.client)).await {
        Ok(Ok(found)) => {
            let why = found.id.is_none().then(|| "this key may not read its instance (GET /v1/instance)".to_owned());
            let Instance { id: instance, environment_type: environment } = found;
            return (KeyCheck { state: KeyState::Ok, instance, environment, why }, None);
        }
        Ok(Err(error)) => error,
        Err(_) => return unknown(KeyState::Unknown, too_late("GET /v1/instance")),
    };
    let state = match error.refusal {
        Refusal::Key => KeyState::Refused,
        // Clerk knows the key, so its lists may be readable.
        Refusal::Denied | Refusal::Parameter | Refusal::Absent => KeyState::Limited,
        _ => KeyState::Unknown,
    };
    unknown(state, error.into())
}

/// Returns whether the lake exists, and the instance that it belongs to.
async fn read_owner(lake: &Lake) -> Result<(bool, Option<String>)> {
    let owner = lake.owner().await?;
    let present = lake.present(&resource::TABLES).await?;
    if owner.is_some() {
        return Ok((true, owner));
    }
    // A lake of an earlier version has no claim. Its tables name the instance.
    for spec in &present {
        match lake.table(spec).await {
            Err(error) if error.kind() == ErrorKind::Damaged => {}
            table => {
                if let Some(owner) = table?.instance() {
                    return Ok((true, Some(owner)));
                }
            }
        }
    }
    Ok((!present.is_empty(), None))
}

/// Checks that a lake and all of its tables belong to `instance`, if that is known.
async fn check_owner(lake: &Lake, check: &LakeCheck, instance: Option<&str>) -> Result<()> {
    match (instance, &check.instance) {
        (Some(instance), Some(owner)) if owner != instance => Err(lake.belongs_to(owner, instance)),
        (Some(instance), _) if check.exists == Some(true) => {
            lake.for_run().await?.check_instance(instance, &resource::TABLES).await
        }
        _ => Ok(()),
    }
}

fn too_late(what: &str) -> Error {
    Error::new(ErrorKind::Unreachable, format!("{what}: no complete answer in time")).with_hint(
        "run the check again; if it is slow because of a small request budget, select fewer lists with --resource",
    )
}
