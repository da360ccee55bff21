//! Sessions: read from the list of all sessions if the instance allows it, otherwise from one list for each user whose
//! sessions may have changed.
//!
//! A session changes long after it was created, and no list shows such changes. It can only change while it is open or
//! its user is active. The sessions of users who signed in or up since the last sync are read at each sync. All other
//! sessions that may have changed are read once in each `session_refresh`, see [`owners`]. Sessions that Clerk no
//! longer lists stay in the lake, see [`gone`].

pub(super) mod due;
mod gone;
mod owners;

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use futures::{StreamExt, TryStreamExt};

use super::failure::ListingFailure;
use super::incremental::MARGIN;
use super::requests::MAX_IDS;
use super::staging::Staging;
use super::tally::Tally;
use super::task::Task;
use crate::api::{ApiError, Decoded, ListRequest, Listing, Order, Page, Refusal, RowKey, list};
use crate::error::{Error, ErrorKind, Result};
use crate::lake::{CommitDetails, Coverage, Table};
use crate::resource::{PageRows, PerUserList, USER_LIST};
use owners::Owners;

/// The commit position for the time since which all sessions that may have changed were read, except those of idle
/// users: each was read at this time or later. Unix milliseconds. See [`Table::position`].
pub const SESSIONS_READ: &str = "clerk-lake.sessions_read";

/// The commit position for the time at which all open sessions of the lake were last read in one sync, including those
/// of idle users: Unix milliseconds.
const ALL_OPEN_READ: &str = "clerk-lake.open_sessions_read";

/// The commit position for the time since which sessions have been read in turns: Unix milliseconds.
const CYCLE_BEGUN: &str = "clerk-lake.session_cycle_begun";

/// The commit position for the period of a user's turns, in milliseconds.
const CYCLE_PERIOD: &str = "clerk-lake.session_cycle";

/// Which sessions a sync has read.
#[derive(Clone, Copy, Debug)]
enum ReadExtent {
    /// All sessions that may have changed.
    All,
    /// New sessions.
    New,
    /// New sessions, and the sessions of users whose turn it was.
    Due,
}

/// How many users' lists are requested concurrently; the request budget usually allows fewer.
const CONCURRENT_USERS: usize = 16;

/// How often the newest sessions are read again if the list of all sessions is shorter than its own total.
const RETRIES: u32 = 3;

impl Task<'_, PerUserList> {
    /// Reads the sessions that may have changed since `since` and commits them. Returns the time up to which the table
    /// is complete if an interrupted run started the listing; `None` if this run did.
    pub(super) async fn sync_sessions(
        &self,
        since: Option<DateTime<Utc>>,
        mut table: Table,
        tally: &mut Tally,
    ) -> Result<Option<DateTime<Utc>>> {
        tally.is_incremental = since.is_some();
        let mut staging = Staging::of_changes(self.run, self.resource, &table)?;
        let read = self.read_sessions(since, &table, &mut staging).await;
        let read = read.map_err(|failure| staging.rule_out_absent(failure));
        tally.set_staged(&staging);
        let extent = match read {
            Err(ListingFailure::Api(error)) if error.refusal == Refusal::Absent => {
                self.run.sync.progress.warn(&format!("sessions skipped, this instance does not list them: {error}"));
                tally.skipped = Some(error.to_string());
                return Ok(None);
            }
            Err(failure) => return Err(self.run.listing_error(&table, failure).await),
            Ok(extent) => extent,
        };
        self.run.record_rejected(self.resource, &staging).await?;
        let begun = (staging.resumed_rows > 0).then_some(staging.watermark());
        let watermark = staging.watermark();
        let diff = table.diff(staging.finish().await?, Coverage::Partial).await?;
        tally.prepared = diff.counts();
        let change = self.run.change(tally).complete_up_to(watermark);
        let change = self.with_read_positions(change, extent, since, &table).await?;
        self.run.claim_lake(&table).await?;
        let outcome = table.commit_diff(diff, change).await?;
        self.run.record_commit(outcome, watermark, &mut table, tally).await?;
        Ok(begun)
    }

    /// Stages the sessions from the list of all sessions, or from the lists of the users whose turn it is. Also stages
    /// the sessions that are gone.
    async fn read_sessions(
        &self,
        since: Option<DateTime<Utc>>,
        table: &Table,
        staging: &mut Staging<'_>,
    ) -> Result<ReadExtent, ListingFailure> {
        let mut listing = Listing::new(self.client.clone(), self.request(), self.list.decode);
        let first = match listing.next_page().await {
            Err(error) if refuses_unfiltered(&error) => {
                let status = error.status.unwrap_or_default();
                self.run
                    .sync
                    .progress
                    .note(&format!("this instance does not list all sessions at once (HTTP {status})"));
                // Only a listing from the beginning can be resumed.
                staging.resumable = since.is_none();
                let done = if staging.resumable { staging.resume().await? } else { None };
                // If the list of users is refused, sessions are not absent: convert the failure to an error.
                let owners = self.owners_to_read(since, self.lookback_start(), table).await;
                let mut owners = owners.map_err(Error::from)?;
                if let Some(done) = done.as_ref().and_then(serde_json::Value::as_str) {
                    owners.to_read.retain(|user| user.as_str() > done);
                }
                self.stage_per_user(&owners, table, staging).await?;
                return Ok(if since.is_none() || self.reads_all_sessions() {
                    ReadExtent::All
                } else {
                    ReadExtent::Due
                });
            }
            other => other?,
        };
        let Some(first) = first else {
            self.stage_gone(table, staging, |_| true).await?;
            return Ok(ReadExtent::All);
        };
        if let Some(since) = since.filter(|_| !self.reads_all_sessions())
            && !self.is_whole_list_due(table).await?
        {
            self.run.sync.progress.started(self.resource.name, None);
            self.stage_new(first, listing, since, staging).await?;
            return Ok(ReadExtent::New);
        }
        let pages = first.total_count.map_or(u64::MAX, |total| total.div_ceil(first.keys.len().max(1) as u64));
        if since.is_some_and(|_| pages > 1 && self.reads_all_sessions())
            && let Ok(owners) = self.owners_to_read(since, self.lookback_start(), table).await
            && (owners.to_read.len() as u64) < pages
        {
            self.stage_per_user(&owners, table, staging).await?;
            return Ok(ReadExtent::All);
        }
        self.run.sync.progress.started(self.resource.name, first.total_count);
        self.stage_whole(first, listing, staging).await?;
        self.stage_gone(table, staging, |_| true).await?;
        Ok(ReadExtent::All)
    }

    /// Returns whether each sync reads all sessions that may have changed.
    fn reads_all_sessions(&self) -> bool {
        self.run.sync.options.session_refresh <= TimeDelta::zero()
    }

    /// Returns whether this sync must read the complete list of all sessions because `session_refresh` has passed
    /// since.
    async fn is_whole_list_due(&self, table: &Table) -> Result<bool> {
        let read = table.position(SESSIONS_READ).await?.and_then(DateTime::from_timestamp_millis);
        Ok(read.is_none_or(|read| self.run.watermark - read >= self.run.sync.options.session_refresh))
    }

    /// Stages the sessions created since `since` from the list of all sessions, which is ordered newest first.
    async fn stage_new<D>(
        &self,
        first: Page<PageRows>,
        mut listing: Listing<D>,
        since: DateTime<Utc>,
        staging: &mut Staging<'_>,
    ) -> Result<(), ListingFailure>
    where
        D: Fn(&[u8]) -> Result<Decoded<PageRows>, String>,
    {
        let bound = (since - MARGIN).timestamp_millis();
        let mut page = Some(first);
        while let Some(next) = page {
            let is_old = |key: &RowKey| key.created_at.is_some_and(|at| at < bound);
            let has_passed = next.keys.iter().any(is_old);
            let listed = next.fresh.clone().unwrap_or_else(|| vec![true; next.keys.len()]);
            let fresh = next.keys.iter().zip(listed).map(|(key, fresh)| fresh && !is_old(key)).collect();
            staging.stage(Page { fresh: Some(fresh), ..next }).await?;
            page = if has_passed { None } else { listing.next_page().await? };
        }
        Ok(())
    }

    /// Stages the complete list of all sessions.
    async fn stage_whole<D>(
        &self,
        first: Page<PageRows>,
        mut listing: Listing<D>,
        staging: &mut Staging<'_>,
    ) -> Result<(), ListingFailure>
    where
        D: Fn(&[u8]) -> Result<Decoded<PageRows>, String> + Send + Sync,
    {
        staging.stage(first).await?;
        staging.stage_all(listing.pages()).await?;
        for _ in 0..RETRIES {
            // Sessions created meanwhile are at the front.
            listing.reopen();
            while !is_whole(staging) {
                let Some(page) = listing.next_page().await? else { break };
                let known = page.fresh_count == 0;
                staging.stage(page).await?;
                if known {
                    break;
                }
            }
        }
        if is_whole(staging) { Ok(()) } else { Err(too_short(staging).into()) }
    }

    /// Adds to `change` the positions that show how up to date the sessions are.
    async fn with_read_positions(
        &self,
        change: CommitDetails,
        extent: ReadExtent,
        since: Option<DateTime<Utc>>,
        table: &Table,
    ) -> Result<CommitDetails> {
        let now = self.run.watermark.timestamp_millis();
        match (extent, since) {
            (ReadExtent::All, _) => Ok(change.with_position(SESSIONS_READ, now).with_position(ALL_OPEN_READ, now)),
            // Recorded again, so that the next sync finds it in the newest log entry.
            (ReadExtent::New, _) => {
                let read = table.position(SESSIONS_READ).await?;
                Ok(read.into_iter().fold(change, |change, read| change.with_position(SESSIONS_READ, read)))
            }
            (ReadExtent::Due, None) => Ok(change),
            (ReadExtent::Due, Some(since)) => {
                let period = self.run.sync.options.session_refresh.num_milliseconds();
                let before = table.position(SESSIONS_READ).await?.unwrap_or_else(|| since.timestamp_millis());
                let is_same = table.position(CYCLE_PERIOD).await? == Some(period);
                let begun = table.position(CYCLE_BEGUN).await?.filter(|_| is_same);
                let begun = begun.unwrap_or_else(|| since.timestamp_millis());
                // Once every user has had a turn, no session was read more than one period ago.
                let read = if now - begun >= period { before.max(now - period) } else { before };
                let change = change.with_position(SESSIONS_READ, read);
                Ok(change.with_position(CYCLE_BEGUN, begun).with_position(CYCLE_PERIOD, period))
            }
        }
    }

    async fn stage_per_user(
        &self,
        owners: &Owners,
        table: &Table,
        staging: &mut Staging<'_>,
    ) -> Result<(), ListingFailure> {
        if owners.to_read.is_empty() && owners.deleted.is_empty() {
            return Ok(());
        }
        self.stage_sessions_of(&owners.to_read, staging).await?;
        let is_known = |user: &str| owners.to_read.contains(user) || owners.deleted.contains(user);
        Ok(self.stage_gone(table, staging, is_known).await?)
    }

    /// Stages the sessions of each of these users.
    async fn stage_sessions_of(
        &self,
        users: &BTreeSet<String>,
        staging: &mut Staging<'_>,
    ) -> Result<(), ListingFailure> {
        self.announce(users.len() as u64);
        let pages = futures::stream::iter(users.iter().cloned())
            .map(|user| {
                let (client, decode) = (self.client.clone(), self.list.decode);
                let request = self.request().with("user_id", user.clone());
                async move {
                    let pages = list(client, request, decode).try_collect::<Vec<_>>().await;
                    match pages {
                        Err(error) if error.status == Some(404) && error.refusal == Refusal::Absent => Ok((user, None)),
                        other => other.map(|pages| (user, Some(pages))),
                    }
                }
            })
            .buffered(self.run.at_once(CONCURRENT_USERS));
        let mut pages = std::pin::pin!(pages);
        // The last user whose sessions were staged, and the users whose lists returned 404: they may have been deleted.
        let (mut done, mut missing) = (None, Vec::new());
        loop {
            let (user, pages) = match pages.try_next().await {
                Ok(Some(of_user)) => of_user,
                Ok(None) => return self.verify_deleted(&mut missing).await,
                Err(error) => {
                    let failure = ListingFailure::from(error);
                    if let Some(done) = done.filter(|_| missing.is_empty()) {
                        staging.save_after_failure(&failure, serde_json::Value::String(done)).await;
                    }
                    return Err(failure);
                }
            };
            missing.extend(pages.is_none().then(|| user.clone()));
            for page in pages.unwrap_or_default() {
                staging.stage(page).await?;
            }
            if staging.is_resume_point_due() {
                self.verify_deleted(&mut missing).await?;
                staging.begin_resume_point(serde_json::Value::String(user.clone())).await?;
            }
            done = Some(user);
        }
    }

    /// Checks that the `missing` users, whose lists returned 404, are deleted and therefore have no sessions. A 404 for
    /// an existing user is an error. Leaves `missing` empty.
    async fn verify_deleted(&self, missing: &mut Vec<String>) -> Result<(), ListingFailure> {
        for ids in std::mem::take(missing).chunks(MAX_IDS) {
            let mut there = std::pin::pin!(list(self.client.clone(), USER_LIST.with_ids(ids), decode_ids));
            while let Some(page) = there.try_next().await? {
                // A server that ignores the filter also lists other users.
                if page.keys.iter().any(|key| ids.contains(&key.id)) {
                    return Err(users_exist_error().into());
                }
            }
        }
        Ok(())
    }

    fn announce(&self, users: u64) {
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        let seconds = self.client.quota().requests_per_second().map(|rate| users as f64 / rate);
        let time =
            seconds.map(|seconds| format!(", about {seconds:.0} s within the request budget")).unwrap_or_default();
        self.run.sync.progress.note(&format!("reading the sessions of {users} users: at least {users} requests{time}"));
        self.run.sync.progress.started("sessions", None);
    }

    /// Requests all sessions, newest first: the only order there is.
    fn request(&self) -> ListRequest {
        ListRequest::new(self.list.path, Order::Offset).with("paginated", "true")
    }

    /// Returns the start of the lookback of the first sync, see `session_lookback_days`.
    fn lookback_start(&self) -> DateTime<Utc> {
        let days = i64::from(self.run.sync.options.session_lookback_days);
        self.run.now - TimeDelta::days(days.saturating_sub(1).max(0))
    }
}

/// Decodes users to their ids only, which even a user with a rejected row may have.
fn decode_ids(body: &[u8]) -> Result<Decoded<()>, String> {
    let Decoded { keys, total_count, .. } = (USER_LIST.decode)(body)?;
    let unreadable = keys.iter().enumerate().filter(|(_, key)| key.is_none()).map(|(at, _)| at).collect();
    Ok(Decoded { keys, unreadable, total_count, rows: () })
}

/// Returns whether Clerk requires a user in the request, as opposed to refusing the key or a failure on the way.
pub(super) fn refuses_unfiltered(error: &ApiError) -> bool {
    let kind = Error::from(error.clone()).kind();
    kind == ErrorKind::Answer && error.is_clerks() && error.status.is_some_and(|status| (400..500).contains(&status))
}

fn is_whole(staging: &Staging<'_>) -> bool {
    staging.total.is_none_or(|total| staging.listed() >= total)
}

fn users_exist_error() -> Error {
    Error::answer("GET /v1/sessions returned 404 for users who exist; nothing was written")
        .with_hint("check --api-url and any proxy between this machine and Clerk, then run again")
}

fn too_short(staging: &Staging<'_>) -> Error {
    Error::answer(format!(
        "the list of sessions ended after {} rows, but Clerk counts {}; nothing was written",
        staging.listed(),
        staging.total.unwrap_or_default()
    ))
    .with_hint("run again; if the error persists, report it: a list that may be incomplete is never committed")
    .transient()
}
