//! What a run is to do.

use chrono::{DateTime, TimeDelta, Utc};

use crate::api::Lanes;
use crate::resource::{self, Resource};

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
