//! Resume points: what another run takes over, and what must be the same for that.

use serde_json::Value;

use super::options::SyncOptions;
use super::run::Run;
use crate::api::{API_VERSION, Client};
use crate::lake::{ResumePoint, StagedRows, columns_of};
use crate::resource::{Reading, Resource};

/// The version of the decoder of pages. Raise it whenever the same page decodes to different rows: a listing that
/// another version read is not resumed.
const DECODER: u32 = 2;

/// A listing staged to its end.
pub(super) struct Finished {
    pub(super) parts: Vec<StagedRows>,
    pub(super) resume_point: ResumePoint,
}

impl Finished {
    /// Returns all rows as one set of staged rows.
    pub(super) fn into_rows(self) -> StagedRows {
        StagedRows::all(self.parts)
    }

    /// Returns the resume point that includes all of these rows; `None` if no run can resume.
    pub(super) fn resume_point(&self) -> Option<ResumePoint> {
        Some(self.resume_point.clone()).filter(|point| !point.position.is_null())
    }
}

impl Run<'_> {
    /// Returns what must be the same for another run to resume a listing of `resource` from this run's rows.
    pub(super) fn source_of(&self, resource: &Resource) -> Value {
        source(&self.client, self.instance.as_deref(), &self.sync.options, resource)
    }
}

/// Returns what must be the same for a run to resume a listing of `resource` that another run has staged.
pub(super) fn source(client: &Client, instance: Option<&str>, options: &SyncOptions, resource: &Resource) -> Value {
    // An instance has one id, whatever the address.
    let instance = instance.unwrap_or_else(|| client.address());
    let lookback = match resource.reading {
        Reading::PerUser(_) => Some(options.session_lookback_days),
        Reading::Cursor(_)
        | Reading::Offset(_)
        | Reading::PerParent(_)
        | Reading::Single(_)
        | Reading::Derived(_)
        | Reading::Ledger => None,
    };
    serde_json::json!({
        "instance": instance,
        "key": client.key_fingerprint(),
        "api_version": API_VERSION,
        "program": env!("CARGO_PKG_VERSION"),
        "decoder": DECODER,
        "columns": columns_of(&resource.table),
        "lookback": lookback,
        "layout": 2,
    })
}
