//! The state that all resources of a run share, and the start of a run.

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;

use super::{SyncJob, watermark};
use crate::api::{self, Client, Lanes};
use crate::error::Result;
use crate::lake::{Lake, RunArea};
use crate::resource;

/// Retry budget of the first request: a wrong address should be reported at once, not after minutes.
pub(super) const FIRST_REQUEST_BUDGET: Duration = Duration::from_secs(20);

/// How far Clerk's clock may be ahead of this machine's clock to be trusted: a watermark that is too late hides
/// changes.
pub(super) const MAX_CLOCK_AHEAD: TimeDelta = TimeDelta::days(1);

/// How far Clerk's clock may be behind to be trusted: a watermark that is too early only costs requests.
const MAX_CLOCK_BEHIND: TimeDelta = TimeDelta::weeks(1);

/// The state that all resources of one run share.
pub(super) struct Run<'a> {
    pub(super) sync: &'a SyncJob,
    /// The lake with this run's view of its tables.
    pub(super) lake: Lake,
    pub(super) client: Client,
    pub(super) area: RunArea,
    pub(super) instance: Option<String>,
    /// Clerk's time at the start of the run, or an earlier time.
    pub(super) watermark: DateTime<Utc>,
    /// The time at the start of the run: by Clerk's clock if known, otherwise by this machine's.
    pub(super) now: DateTime<Utc>,
    /// Whether Clerk's responses carry a usable time.
    pub(super) has_clerk_time: bool,
    /// When the run started, by a monotonic clock.
    pub(super) started: Instant,
    /// The tables that this run has synced so far.
    pub(super) fresh: Mutex<Vec<&'static str>>,
    /// The resources that the instance does not have, and its answers.
    pub(super) absent: Mutex<Vec<(&'static str, String)>>,
    /// Held while rejected rows are recorded, because several resources may have some.
    pub(super) recording: tokio::sync::Mutex<()>,
    /// Whether this run has claimed the lake for its instance.
    pub(super) has_claim: AtomicBool,
    /// The version of each table when this run opened it or last committed to it.
    pub(super) bases: Mutex<HashMap<&'static str, Option<u64>>>,
}

impl<'a> Run<'a> {
    /// Starts a run: checks that the lake is writable, that Clerk responds and accepts the key, and that the lake
    /// belongs to the key's instance. Reads no resource yet.
    pub(super) async fn begin(sync: &'a SyncJob) -> Result<Self> {
        let started = Instant::now();
        let lake = sync.lake.for_run().await?;
        let area = RunArea::open(&lake).await?;
        let progress = Arc::clone(&sync.progress);
        let client = sync.client.for_run(sync.stop.clone(), Arc::new(move |text: &str| progress.note(text)));
        let instance = api::instance(&client.within_retry_budget(FIRST_REQUEST_BUDGET)).await?;
        match &instance.id {
            Some(id) => lake.check_instance(id, &resource::TABLES).await?,
            None => sync.progress.warn(
                "this key may not read its instance (GET /v1/instance): \
                 cannot check that the lake belongs to the same instance",
            ),
        }
        let now = clerk_time(sync, &client);
        let watermark = match now {
            Some(now) => now,
            None => watermark::latest_timestamp(&client).await?,
        };
        Ok(Self {
            sync,
            lake,
            client,
            area,
            instance: instance.id,
            watermark,
            now: now.unwrap_or_else(|| sync.clock.now()),
            has_clerk_time: now.is_some(),
            started,
            fresh: Mutex::default(),
            absent: Mutex::default(),
            recording: tokio::sync::Mutex::default(),
            has_claim: AtomicBool::new(false),
            bases: Mutex::default(),
        })
    }

    /// Returns how many lists are read at the same time: `usual`, or one if the run has only one lane, so that requests
    /// are sent one at a time.
    pub(super) fn at_once(&self, usual: usize) -> usize {
        if self.sync.options.lanes == Lanes::Fixed(1) { 1 } else { usual }
    }
}

/// Returns the time at Clerk. `None` if its responses carry no date or an implausible one: a date far from this
/// machine's clock may come from a proxy, and a watermark that is too late would hide changes.
pub(super) fn clerk_time(sync: &SyncJob, client: &Client) -> Option<DateTime<Utc>> {
    const FALLBACK: &str = "using the latest change of any user as the watermark";
    let Some(clerk) = client.server_start() else {
        sync.progress.warn(&format!("Clerk's responses carry no Date header: {FALLBACK}"));
        return None;
    };
    let own = sync.clock.now();
    if (own - MAX_CLOCK_BEHIND..=own + MAX_CLOCK_AHEAD).contains(&clerk) {
        return Some(clerk);
    }
    sync.progress.warn(&format!(
        "the Date header of Clerk's responses ({clerk}) is too far from this machine's clock ({own}): {FALLBACK}"
    ));
    None
}

/// Locks `mutex`. What it protects is never left incomplete, so a panic of another holder does not matter.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
