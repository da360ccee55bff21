//! Records of failed runs: `_failed_runs/<time>-<id>.json` in the lake's directory.
//!
//! A run that succeeds leaves its trace in the logs of the tables. One that fails may not reach any table, so it leaves a
//! small file beside them. A record is written on a best-effort basis, and only into a lake that is not empty. No
//! decision depends on it.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use serde::{Deserialize, Serialize};

use super::layout::{FAILED_RUNS, join};
use super::{Lake, store_error};
use crate::error::{Error, Result, chain};

/// How many records are kept.
const KEPT: usize = 20;

/// How long a record is shown, and kept when another one is written.
const KEPT_FOR: TimeDelta = TimeDelta::days(30);

/// How long writing a record may take. A failing store must not delay the end of the run.
const LONGEST_WRITE: Duration = Duration::from_secs(3);

/// How many records are read at the same time.
const CONCURRENT_READS: usize = 8;

/// A run that failed, or of which a part failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedRun {
    /// When the run started, by the clock of its machine.
    pub started_at: DateTime<Utc>,
    /// When the run ended, by the clock of its machine.
    pub finished_at: DateTime<Utc>,
    /// The resources that failed.
    pub failures: Vec<FailedResource>,
}

/// A resource whose sync failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedResource {
    /// The name of the resource.
    pub resource: String,
    /// Why it failed, without data of users.
    pub error: String,
}

/// Returns the beginning of a record's name. Names sort by time.
fn name_of(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%dT%H-%M-%S%.3fZ").to_string()
}

impl Lake {
    /// Writes the record of a failed run, and removes old ones. Does nothing if the lake is still empty, or if the
    /// store does not answer. A failure is only logged.
    pub async fn record_failed_run(&self, run: &FailedRun) {
        if !self.location.has_answered() {
            return;
        }
        match tokio::time::timeout(LONGEST_WRITE, self.write_failed_run(run)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "the record of the failed run was not written"),
            Err(_) => tracing::debug!("the record of the failed run was not written in time"),
        }
    }

    async fn write_failed_run(&self, run: &FailedRun) -> Result<()> {
        if self.is_empty().await? {
            return Ok(());
        }
        let id = uuid::Uuid::new_v4().simple().to_string();
        let file = join(&self.failed_runs_prefix(), &Path::from(format!("{}-{id}.json", name_of(run.finished_at))));
        let content = serde_json::to_vec(run).map_err(|error| Error::bug(error.to_string()))?;
        let failed = |error| store_error("the record of a failed run cannot be written", &error);
        self.location.root.put(&file, content.into()).await.map_err(failed)?;
        let oldest = name_of(run.finished_at - KEPT_FOR);
        let is_old = |record: &Path| record.filename().is_some_and(|name| name < oldest.as_str());
        let outdated = self.listed_failed_runs().await?.into_iter().enumerate();
        let outdated: Vec<_> =
            outdated.filter(|(at, record)| *at >= KEPT || is_old(record)).map(|(_, it)| Ok(it)).collect();
        let removed: Vec<_> = self.location.root.delete_stream(futures::stream::iter(outdated).boxed()).collect().await;
        removed.into_iter().find_map(std::result::Result::err).map_or(Ok(()), |error| Err(failed(error)))
    }

    fn failed_runs_prefix(&self) -> Path {
        join(&self.location.prefix, &Path::from(FAILED_RUNS))
    }

    /// Returns the records, newest first. Their names begin with the time.
    async fn listed_failed_runs(&self) -> Result<Vec<Path>> {
        let listed = self.location.root.list(Some(&self.failed_runs_prefix())).try_collect::<Vec<_>>().await;
        let listed = listed.map_err(|error| store_error("the records of failed runs cannot be listed", &error))?;
        let mut records: Vec<Path> = listed.into_iter().map(|object| object.location).collect();
        records.retain(|record| record.extension() == Some("json"));
        records.sort_unstable_by(|one, other| other.cmp(one));
        Ok(records)
    }

    /// Returns the last runs that failed in the 30 days before `now`, newest first, at most `count`. Files that are not
    /// records are left out.
    ///
    /// # Errors
    /// [`Unreachable`](crate::ErrorKind::Unreachable) if the store fails.
    pub async fn failed_runs(&self, count: usize, now: DateTime<Utc>) -> Result<Vec<FailedRun>> {
        let listed = self.listed_failed_runs().await?.into_iter().take(count);
        let read = |record: Path| async move {
            let content = match self.location.root.get(&record).await {
                Ok(found) => found.bytes().await,
                Err(error) => Err(error),
            };
            let content = content.inspect_err(|error| tracing::debug!("{record}: {}", chain(error))).ok()?;
            serde_json::from_slice::<FailedRun>(&content).ok()
        };
        let runs: Vec<_> = futures::stream::iter(listed.map(read)).buffered(CONCURRENT_READS).collect().await;
        Ok(runs.into_iter().flatten().filter(|run| run.finished_at > now - KEPT_FOR).collect())
    }

    /// Returns whether nothing lies at the lake's location.
    pub(super) async fn is_empty(&self) -> Result<bool> {
        let location = &self.location;
        if let Some(directory) = location.directory() {
            return Ok(
                std::fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_none()) || !directory.exists()
            );
        }
        let mut listed = location.root.list(Some(&location.prefix));
        let first = location.asked(listed.try_next()).await;
        Ok(first.map_err(|error| store_error("the lake cannot be listed", &error))?.is_none())
    }

    /// Returns the error of a command that needs a lake if this one has no tables.
    #[must_use]
    pub fn without_tables(&self) -> Error {
        let location = self.location();
        let message = match location.directory() {
            Some(directory) if !directory.exists() => format!("the lake {location} does not exist"),
            _ => format!("the lake {location} has no tables yet"),
        };
        Error::settings(message).with_hint("run clerk-lake sync first, or point --lake at another lake")
    }
}
