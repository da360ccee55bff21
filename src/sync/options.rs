//! The options of a run.

use chrono::{DateTime, TimeDelta, Utc};

use crate::api::Lanes;
use crate::resource::{self, Resource};

/// How much of each resource a run reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Extent {
    /// What changed since the table's watermark; everything if the table has no watermark yet.
    #[default]
    Changes,
    /// What changed since this time, or since the watermark if that is earlier.
    Since(DateTime<Utc>),
    /// Everything.
    Full,
}

/// The options of a run.
#[derive(Clone, Debug)]
pub struct SyncOptions {
    /// How much of each resource to read.
    pub extent: Extent,
    /// How many lanes read a listing by cursor in parallel.
    pub lanes: Lanes,
    /// Whether to discard the staged rows of an interrupted run instead of resuming its listing.
    pub fresh: bool,
    /// The resources to sync. They are synced in the order of the registry, whatever their order here.
    pub resources: Vec<&'static Resource>,
    /// How many days `clerk_daily_active_users` covers, including today: 1 to 90.
    pub dau_lookback_days: u32,
    /// The first sync reads the sessions of users who were active in this many last days.
    pub session_lookback_days: u32,
    /// The period within which the sessions of an active user are read again; zero means at each sync.
    pub session_refresh: TimeDelta,
    /// The period within which every user is read again, whether or not a list shows a change; zero means never.
    pub verify_every: TimeDelta,
    /// The largest share of a table's rows, 0 to 1, that a commit may delete.
    pub max_shrink: f64,
    /// The largest share of a listing's rows, 0 to 1, that may be rejected.
    pub max_rejected: f64,
}

impl Default for SyncOptions {
    fn default() -> Self {
        Self {
            extent: Extent::default(),
            lanes: Lanes::default(),
            fresh: false,
            resources: resource::defaults(),
            dau_lookback_days: 30,
            session_lookback_days: 30,
            session_refresh: TimeDelta::days(1),
            verify_every: TimeDelta::days(7),
            max_shrink: 0.2,
            max_rejected: 0.01,
        }
    }
}
