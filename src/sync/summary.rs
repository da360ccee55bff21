//! What a run did, as one document.

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
    /// Every resource is up to date, or not there on this instance.
    Ok,
    /// Some are, some failed.
    Partial,
    /// None is.
    Failed,
}

/// How one resource ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ResourceStatus {
    /// Up to date.
    Ok,
    /// This instance does not have it, or the lake does not have yet what it is filled from.
    Skipped,
    /// It failed; its table is as the run's last successful commit left it.
    Failed,
}

/// What a run did to one resource.
#[derive(Clone, Debug, Serialize)]
pub struct ResourceSummary {
    /// The resource.
    pub name: String,
    /// How it ended.
    pub status: ResourceStatus,
    /// `full` or `incremental`.
    pub mode: &'static str,
    /// Rows that came from Clerk, each counted once.
    pub rows_read: u64,
    /// Rows that are new in the table.
    pub rows_inserted: u64,
    /// Rows that were in the table with other content.
    pub rows_updated: u64,
    /// Rows that left the table.
    pub rows_deleted: u64,
    /// Rows in the table now.
    pub rows_total: u64,
    /// Rows that could not be read.
    pub rows_rejected: u64,
    /// Fields that are NULL in some rows because Clerk sent another type than its contract promises.
    pub fields_nulled: NulledFields,
    /// Requests sent, repeated ones included.
    pub requests: u64,
    /// Requests that repeated one before.
    pub retries: u64,
    /// Answers that said 429.
    pub throttled: u64,
    /// Bytes received, after decompression.
    pub bytes: u64,
    /// How long it took, in milliseconds.
    pub elapsed_ms: u64,
    /// Up to when the table is complete, by Clerk's clock (RFC 3339).
    pub watermark: Option<String>,
    /// The table's version now.
    pub version: Option<u64>,
    /// Why it failed or was skipped.
    pub error: Option<String>,
    /// The failure itself.
    #[serde(skip)]
    pub failure: Option<Error>,
}

/// What a run did. Serialized, it is what `sync --json` prints.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// How it ended.
    pub status: Status,
    /// When it began, by this machine's clock (RFC 3339).
    pub started_at: String,
    /// When it ended, by this machine's clock (RFC 3339).
    pub finished_at: String,
    /// The lake.
    pub lake: String,
    /// One entry for each resource selected.
    pub resources: Vec<ResourceSummary>,
    /// Whether the run got as far as its first resource; where it did not, all failed for one reason.
    #[serde(skip)]
    pub began: bool,
}

impl ResourceSummary {
    /// What became of the resource called `name`.
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

    /// A resource that was not begun.
    pub(super) fn not_begun(name: &str, error: Error) -> Self {
        Self::new(name, Tally::default(), Traffic::default(), Duration::ZERO, Some(error))
    }
}

impl Summary {
    pub(super) fn new(
        started_at: DateTime<Utc>,
        finished_at: DateTime<Utc>,
        lake: String,
        resources: Vec<ResourceSummary>,
        began: bool,
    ) -> Self {
        let failed = resources.iter().filter(|resource| resource.status == ResourceStatus::Failed).count();
        let status = match failed {
            0 => Status::Ok,
            _ if failed == resources.len() => Status::Failed,
            _ => Status::Partial,
        };
        Self { status, started_at: rfc3339(started_at), finished_at: rfc3339(finished_at), lake, resources, began }
    }

    /// The worst failure of the run, whose exit code is the run's.
    #[must_use]
    pub fn worst(&self) -> Option<&Error> {
        self.resources
            .iter()
            .filter_map(|resource| resource.failure.as_ref())
            .max_by_key(|error| error.kind().severity())
    }
}

fn rfc3339(moment: DateTime<Utc>) -> String {
    moment.to_rfc3339_opts(SecondsFormat::Millis, true)
}
