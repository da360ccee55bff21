//! What a check has found.

use serde::Serialize;
use serde::ser::{SerializeStruct, Serializer};

use super::probe::Probed;
use crate::api::{ApiError, Refusal};
use crate::error::{Error, ErrorKind};
use crate::resource::Resource;
use crate::sync::ResourcePlan;

/// What a check has found. Serialized, this is the output of `check --json`.
#[derive(Clone, Debug, Serialize)]
pub struct CheckReport {
    /// Whether a sync can be expected to succeed.
    pub status: CheckStatus,
    /// The key.
    pub key: KeyCheck,
    /// The lake.
    pub lake: LakeCheck,
    /// Clerk's lists, in the order in which they were asked for.
    pub lists: Vec<ListCheck>,
    /// The number of requests that the check has sent.
    pub requests: u64,
    /// The request budget; `None` if requests are not limited.
    pub requests_per_second: Option<f64>,
    /// What the first sync of an empty lake would cost; `None` if unknown.
    pub first_sync: Option<SyncCost>,
    /// What a sync would cost an hour after the one before; `None` if unknown.
    pub hourly_sync: Option<SyncCost>,
    /// All problems.
    pub problems: Vec<CheckProblem>,
}

impl CheckReport {
    /// Returns the most severe problem; `None` if there is none.
    #[must_use]
    pub fn worst(&self) -> Option<&CheckProblem> {
        // Of several problems of the same severity, the first.
        self.problems.iter().rev().max_by_key(|problem| problem.error.kind().severity())
    }
}

/// Whether a check has found problems.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckStatus {
    /// No problem was found.
    Ok,
    /// There is at least one problem.
    Failed,
}

/// The key.
#[derive(Clone, Debug, Default, Serialize)]
pub struct KeyCheck {
    /// Whether Clerk accepts the key.
    pub state: KeyState,
    /// The id of the key's instance; `None` if unknown.
    pub instance: Option<String>,
    /// The kind of the instance, `production` or `development`; `None` if unknown.
    pub environment: Option<String>,
    /// What is wrong, or what the key may not do.
    pub why: Option<String>,
}

impl KeyCheck {
    /// Returns whether Clerk accepts the key, so that lists may be readable.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        matches!(self.state, KeyState::Ok | KeyState::Limited)
    }
}

/// Whether Clerk accepts a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyState {
    /// Clerk accepts the key.
    Ok,
    /// Clerk knows the key, but allows it to read neither the instance nor the number of users.
    Limited,
    /// Clerk refuses the key.
    Refused,
    /// There is no key, or Clerk did not answer.
    #[default]
    Unknown,
}

/// The lake.
#[derive(Clone, Debug, Default, Serialize)]
pub struct LakeCheck {
    /// The location; `None` if it is invalid.
    pub location: Option<String>,
    /// Whether it has tables, or belongs to an instance already; `None` if unknown.
    pub exists: Option<bool>,
    /// Whether a sync could write to it.
    #[serde(rename = "writable")]
    pub is_writable: bool,
    /// The id of the instance that it belongs to; `None` if it belongs to none yet, or if that is unknown.
    pub instance: Option<String>,
}

/// A list of Clerk's.
#[derive(Clone, Debug, Serialize)]
pub struct ListCheck {
    /// The name of the resource.
    pub name: &'static str,
    /// Whether the key may read the list.
    pub state: ListState,
    /// The number of rows; `None` if unknown.
    pub rows: Option<u64>,
    /// Clerk's answer if the list cannot be read, or what is special about it.
    pub why: Option<String>,
    /// Whether a sync reads the list if no resources are selected.
    #[serde(rename = "default")]
    pub is_default: bool,
}

impl ListCheck {
    fn new(resource: &'static Resource, state: ListState, rows: Option<u64>, why: Option<String>) -> Self {
        Self { name: resource.name, state, rows, why, is_default: resource.default }
    }

    /// Returns the check of a list that was not tried.
    pub(super) fn unchecked(resource: &'static Resource) -> Self {
        Self::new(resource, ListState::Unchecked, None, None)
    }

    pub(super) fn readable(resource: &'static Resource, probed: Probed) -> Self {
        Self::new(resource, ListState::Ok, probed.rows, probed.note)
    }

    /// Returns the check of a list that cannot be read, and the problem if it is one.
    pub(super) fn unreadable(resource: &'static Resource, error: ApiError) -> (Self, Option<CheckProblem>) {
        let state = match error.refusal {
            Refusal::Absent => ListState::NotEnabled,
            Refusal::Key | Refusal::Missing | Refusal::Denied | Refusal::Parameter => ListState::Refused,
            _ => ListState::Failed,
        };
        Self::failed(resource, state, error.into())
    }

    pub(super) fn failed(resource: &'static Resource, state: ListState, error: Error) -> (Self, Option<CheckProblem>) {
        let check = Self::new(resource, state, None, Some(error.to_string()));
        let problem = (state != ListState::NotEnabled).then(|| CheckProblem::new(resource.name, error));
        (check, problem)
    }
}

/// Whether a list can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ListState {
    /// It can be read.
    Ok,
    /// The instance has not enabled the feature. A sync skips the list.
    NotEnabled,
    /// Clerk does not allow the key to read it.
    Refused,
    /// There was no answer, or none that can be understood.
    Failed,
    /// It was not tried, because the key is unknown or refused.
    Unchecked,
}

/// What a sync would cost. All numbers are estimates.
#[derive(Clone, Debug, Serialize)]
pub struct SyncCost {
    /// Requests to send.
    pub requests: u64,
    /// How long these requests take within the request budget.
    pub minutes: f64,
    /// One entry for each resource.
    pub resources: Vec<ResourcePlan>,
    /// The resources that are not part of the estimate, because their lists cannot be read.
    pub left_out: Vec<&'static str>,
}

/// A problem that a check has found. Serialized with its kind, its message and its hint.
#[derive(Clone, Debug)]
pub struct CheckProblem {
    /// What has the problem: `key`, `lake`, `cost`, or the name of a list.
    pub of: &'static str,
    /// The problem.
    pub error: Error,
}

impl CheckProblem {
    pub(super) fn new(of: &'static str, error: Error) -> Self {
        Self { of, error }
    }

    /// Returns the name of the problem's kind, as in the output of `check --json`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self.error.kind() {
            ErrorKind::Settings => "settings",
            ErrorKind::KeyRefused => "key_refused",
            ErrorKind::Unreachable => "unreachable",
            ErrorKind::Answer => "answer",
            ErrorKind::Damaged => "damaged",
            _ => "other",
        }
    }
}

impl Serialize for CheckProblem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("CheckProblem", 4)?;
        fields.serialize_field("of", self.of)?;
        fields.serialize_field("kind", self.kind())?;
        fields.serialize_field("message", self.error.message())?;
        fields.serialize_field("hint", &self.error.hint())?;
        fields.end()
    }
}
