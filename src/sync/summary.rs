//! The summary of a run.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;

use super::odd_fields::NulledFields;
use super::tally::Tally;
use crate::api::Traffic;
use crate::error::Error;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Every resource is up to date, or the instance does not have it.
    Ok,
    /// Some resources are up to date, others failed.
    Partial,
    /// All resources failed.
    Failed,
}

/// How the sync of one resource ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ResourceStatus {
    /// Up to date.
    Ok,
    /// The instance does not have the resource, or the lake does not have the tables that it is filled from.
    Skipped,
    /// The sync failed. The table is as the run's last successful commit left it.
    Failed,
}

/// The summary of one resource.
#[derive(Clone, Debug, Serialize)]
pub struct ResourceSummary {
    /// The name of the resource.
    pub name: String,
    /// How it ended.
    pub status: ResourceStatus,
    /// `full` or `incremental`.
    pub mode: &'static str,
    /// Rows read from Clerk, each counted once.
    pub rows_read: u64,
    /// Rows inserted into the table.
    pub rows_inserted: u64,
    /// Rows updated in the table.
    pub rows_updated: u64,
    /// Rows deleted from the table.
    pub rows_deleted: u64,
    /// Rows in the table now.
    pub rows_total: u64,
    /// Rejected rows.
    pub rows_rejected: u64,
    /// Fields stored as NULL in some rows because Clerk sent another type than its contract promises.
    pub fields_nulled: NulledFields,
    /// Requests sent, including retries.
    pub requests: u64,
    /// Requests that were retries.
    pub retries: u64,
    /// Responses with status 429.
    pub throttled: u64,
    /// Bytes received, after decompression.
    pub bytes: u64,
    /// Elapsed time in milliseconds.
    pub elapsed_ms: u64,
    /// The table's watermark: the time up to which it is complete, by Clerk's clock (RFC 3339).
    pub watermark: Option<String>,
    /// The current table version.
    pub version: Option<u64>,
    /// Why the resource failed or was skipped.
    pub error: Option<String>,
    /// The failure itself.
    #[serde(skip)]
    pub failure: Option<Error>,
}

/// The summary of a run. Serialized, this is the output of `sync --json`.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// How the run ended.
    pub status: Status,
    /// When the run started, by this machine's clock (RFC 3339).
    pub started_at: String,
    /// When the run ended, by this machine's clock (RFC 3339).
    pub finished_at: String,
    /// The location of the lake.
    pub lake: String,
    /// The Clerk instance; `None` if the key may not read it, or if Clerk did not answer.
    pub instance: Option<String>,
    /// One entry for each selected resource.
    pub resources: Vec<ResourceSummary>,
    /// Whether the run reached its first resource. If not, all resources failed for the same reason.
    #[serde(skip)]
    pub began: bool,
}

impl ResourceSummary {
    /// Creates the summary of the resource `name`.
    pub(super) fn new(name: &str, tally: Tally, traffic: Traffic, elapsed: Duration, failure: Option<Error>) -> Self {
        let status = match (&failure, &tally.skipped) {
            (Some(_), _) => ResourceStatus::Failed,
            (None, Some(_)) => ResourceStatus::Skipped,
            (None, None) => ResourceStatus::Ok,
        };
        Self {
            name: name.to_owned(),
            status,
            mode: tally.mode(),
            rows_read: tally.rows_read,
            rows_inserted: tally.committed.inserted,
            rows_updated: tally.committed.updated,
            rows_deleted: tally.committed.deleted,
            rows_total: tally.rows_total,
            rows_rejected: tally.rows_rejected,
            fields_nulled: tally.fields_nulled,
            requests: traffic.requests,
            retries: traffic.retries,
            throttled: traffic.throttled,
            bytes: traffic.bytes,
            elapsed_ms: u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
            watermark: tally.watermark.map(rfc3339),
            version: tally.version,
            error: failure.as_ref().map(Error::to_string).or(tally.skipped),
            failure,
        }
    }

    /// Returns this summary with the counts of the `first` try added.
    fn after(mut self, first: &Self) -> Self {
        self.rows_read += first.rows_read;
        self.rows_inserted += first.rows_inserted;
        self.rows_updated += first.rows_updated;
        self.rows_deleted += first.rows_deleted;
        self.requests += first.requests;
        self.retries += first.retries;
        self.throttled += first.throttled;
        self.bytes += first.bytes;
        self.elapsed_ms += first.elapsed_ms;
        self
    }

    /// Creates the summary of a resource that was not started.
    pub(super) fn not_begun(name: &str, error: Error) -> Self {
        Self::new(name, Tally::default(), Traffic::default(), Duration::ZERO, Some(error))
    }
}

impl Summary {
    pub(super) fn new(
        started_at: DateTime<Utc>,
        finished_at: DateTime<Utc>,
        lake: String,
        instance: Option<String>,
        resources: Vec<ResourceSummary>,
        began: bool,
    ) -> Self {
        let (started_at, finished_at) = (rfc3339(started_at), rfc3339(finished_at));
        Self { status: status_of(&resources), started_at, finished_at, lake, instance, resources, began }
    }

    /// Adds a second try of some of the resources. Its outcome replaces that of the first; the counts are added.
    pub(super) fn with_second_try(mut self, second: Self) -> Self {
        if !second.began {
            return self;
        }
        self.finished_at = second.finished_at;
        for resource in second.resources {
            if let Some(first) = self.resources.iter_mut().find(|first| first.name == resource.name) {
                *first = resource.after(first);
            }
        }
        self.status = status_of(&self.resources);
        self
    }

    /// Returns the most severe failure of the run. Its exit code is the run's exit code.
    #[must_use]
    pub fn worst(&self) -> Option<&Error> {
        self.resources
            .iter()
            .filter_map(|resource| resource.failure.as_ref())
            .max_by_key(|error| error.kind().severity())
    }
}

fn status_of(resources: &[ResourceSummary]) -> Status {
    match resources.iter().filter(|resource| resource.status == ResourceStatus::Failed).count() {
        0 => Status::Ok,
        failed if failed == resources.len() => Status::Failed,
        _ => Status::Partial,
    }
}

fn rfc3339(moment: DateTime<Utc>) -> String {
    moment.to_rfc3339_opts(SecondsFormat::Millis, true)
}
