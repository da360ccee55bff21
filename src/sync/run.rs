//! What all resources of a run have in common, and how a run begins.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;

use super::{Sync, watermark};
use crate::api::{self, Client};
use crate::error::Result;
use crate::lake::{Lake, RunArea};
use crate::resource;

/// How long the first request may be tried: a wrong address should be known at once, not after minutes.
const FIRST_CONTACT: Duration = Duration::from_secs(20);

/// How far Clerk's clock may be ahead of this machine's to be taken for its own: a watermark that is too late hides
/// changes.
pub(super) const CLOCK_AHEAD: TimeDelta = TimeDelta::days(1);

/// How far it may be behind: a watermark that is too early costs requests only.
const CLOCK_BEHIND: TimeDelta = TimeDelta::weeks(1);

/// What all resources of one run share.
pub(super) struct Run<'a> {
    pub(super) sync: &'a Sync,
    /// The lake as this run sees it.
    pub(super) lake: Lake,
    pub(super) client: Client,
    pub(super) area: RunArea,
    pub(super) instance: Option<String>,
    /// Clerk's clock at the start of the run, or a moment before it.
    pub(super) watermark: DateTime<Utc>,
    /// What time it is: by Clerk's clock, or else by this machine's.
    pub(super) now: DateTime<Utc>,
    /// Whether Clerk says what time it has.
    pub(super) dated: bool,
    /// When it began, by a clock that nobody sets.
    pub(super) begun: Instant,
    /// Tables that this run has brought up to date so far.
    pub(super) fresh: Vec<&'static str>,
    /// The version at which this run opened each table, or left it.
    pub(super) bases: Mutex<HashMap<&'static str, Option<u64>>>,
}

impl<'a> Run<'a> {
    /// Begins a run: makes sure that the lake can be written, that Clerk answers and takes the key, and that the two
    /// belong together. Reads nothing yet.
    pub(super) async fn begin(sync: &'a Sync) -> Result<Self> {
        let begun = Instant::now();
        let lake = sync.lake.for_run().await?;
        let area = RunArea::open(&lake).await?;
        let progress = Arc::clone(&sync.progress);
        let client = sync.client.for_run(sync.stop.clone(), Arc::new(move |text: &str| progress.note(text)));
        let instance = api::instance(&client.within_retry_budget(FIRST_CONTACT)).await?;
        match &instance.id {
            Some(id) => lake.check_instance(id, &resource::TABLES).await?,
            None => sync.progress.warn(
                "this key may not read which instance it belongs to (GET /v1/instance); \
                 whether it is this lake's own cannot be checked",
            ),
        }
        let now = clerks_time(sync, &client);
        let watermark = match now {
            Some(now) => now,
            None => watermark::latest_stamp(&client).await?,
        };
        Ok(Self {
            sync,
            lake,
            client,
            area,
            instance: instance.id,
            watermark,
            now: now.unwrap_or_else(|| sync.clock.now()),
            dated: now.is_some(),
            begun,
            fresh: Vec::new(),
            bases: Mutex::default(),
        })
    }
}

/// What time it is at Clerk. `None` if its answers do not say, or say what cannot be: a clock that is far from this
/// machine's may be a proxy's, and a watermark that is too late would hide changes.
fn clerks_time(sync: &Sync, client: &Client) -> Option<DateTime<Utc>> {
    const FALLBACK: &str = "the watermark comes from the latest change of a user";
    let Some(clerks) = client.server_start() else {
        sync.progress.warn(&format!("Clerk's answers carry no Date: {FALLBACK}"));
        return None;
    };
    let own = sync.clock.now();
    if (own - CLOCK_BEHIND..=own + CLOCK_AHEAD).contains(&clerks) {
        return Some(clerks);
    }
    sync.progress.warn(&format!(
        "the Date of Clerk's answers ({clerks}) is too far from this machine's clock ({own}): {FALLBACK}"
    ));
    None
}
