//! Sessions: the plain list where the instance allows it, else one list for each user whose sessions may have changed.
//!
//! A session changes long after it was created, and nothing lists such changes. It can only change while it is open or its
//! user is active. Who signed in or up since the last sync is asked for at each sync; all others who may have changed, once
//! in each `session_refresh`, see [`owners`]. What Clerk no longer shows stays in the lake, see [`gone`].

mod due;
mod gone;
mod owners;

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use futures::{StreamExt, TryStreamExt};

use super::failure::ListingFailure;
use super::incremental::MARGIN;
use super::requests::MOST_IDS;
use super::staging::Staging;
use super::tally::Tally;
use super::task::Task;
use crate::api::{ApiError, Decoded, ListRequest, Listing, Order, Page, Refusal, RowKey, list};
use crate::error::{Error, ErrorKind, Result};
use crate::lake::{Change, Coverage, Table};
use crate::resource::{PageRows, PerUserList, USER_LIST};
use owners::Owners;

/// The position under which the table of sessions says since when all sessions have been read that may have changed, those
/// of idle users aside: Unix milliseconds. See [`Table::position`].
pub const SESSIONS_READ: &str = "clerk-lake.sessions_read";

/// When every open session that the lake knew of was last read at once, those of idle users included: Unix milliseconds.
const ALL_OPEN_READ: &str = "clerk-lake.open_sessions_read";

/// Since when sessions have been read in turns, Unix milliseconds.
const CYCLE_BEGUN: &str = "clerk-lake.session_cycle_begun";

/// How often everybody's turn comes, milliseconds.
const CYCLE_PERIOD: &str = "clerk-lake.session_cycle";

/// What a sync has read of the sessions.
#[derive(Clone, Copy, Debug)]
enum Reach {
    /// All that may have changed.
    All,
    /// Those that are new.
    New,
    /// Those that are new, and of the users whose turn it was.
    Due,
}

/// How many users are asked about at a time; the request budget bounds it long before.
const AT_ONCE: usize = 16;

/// How often the newest sessions are read again where the plain list ends short of its own total.
const CHANCES: u32 = 3;

impl Task<'_, PerUserList> {
    pub(super) async fn sessions(
        &self,
        since: Option<DateTime<Utc>>,
        mut table: Table,
        tally: &mut Tally,
    ) -> Result<Option<DateTime<Utc>>> {
        tally.is_incremental = since.is_some();
        let mut staging = Staging::of_changes(self.run, self.resource, &table)?;
        let read = self.read_sessions(since, &table, &mut staging).await;
        let read = read.map_err(|failure| staging.placed(failure));
        tally.take_staged(&staging);
        let reach = match read {
            Err(ListingFailure::Api(error)) if error.refusal == Refusal::Absent => {
                self.run.sync.progress.warn(&format!("sessions skipped, this instance does not list them: {error}"));
                tally.skipped = Some(error.to_string());
                return Ok(None);
            }
            Err(failure) => return Err(self.run.given_up(&table, failure).await),
            Ok(reach) => reach,
        };
        self.run.set_aside(self.resource, &staging).await?;
        let begun = (staging.taken_over > 0).then_some(staging.watermark());
        let watermark = staging.watermark();
        let diff = table.diff(staging.finish().await?, Coverage::Partial).await?;
        tally.prepared = diff.counts();
        let change = self.run.change(tally).complete_up_to(watermark);
        let change = self.with_reach(change, reach, since, &table).await?;
        self.run.claim_lake(&table).await?;
        let outcome = table.commit_diff(diff, change).await?;
        self.run.settle(outcome, watermark, &mut table, tally).await?;
        Ok(begun)
    }

    /// Reads the plain list, or asks for the sessions of each user whose turn it is. Stages what is gone, too.
    async fn read_sessions(
        &self,
        since: Option<DateTime<Utc>>,
        table: &Table,
        staging: &mut Staging<'_>,
    ) -> Result<Reach, ListingFailure> {
        let mut listing = Listing::new(self.client.clone(), self.plain(), self.list.decode);
        let first = match listing.next_page().await {
            Err(error) if refuses_plain(&error) => {
                let status = error.status.unwrap_or_default();
                self.run.sync.progress.note(&format!("this instance does not list all sessions at once ({status})"));
                // Only what is read from the beginning can be gone on with.
                staging.resumable = since.is_none();
                let done = if staging.resumable { staging.take_over().await? } else { None };
                // A list of users that is refused says nothing of sessions.
                let owners = self.owners_to_ask(since, self.sessions_since(), table).await;
                let mut owners = owners.map_err(Error::from)?;
                if let Some(done) = done.as_ref().and_then(serde_json::Value::as_str) {
                    owners.to_ask.retain(|user| user.as_str() > done);
                }
                self.per_user(&owners, table, staging).await?;
                return Ok(if since.is_none() || self.reads_all_sessions() { Reach::All } else { Reach::Due });
            }
            other => other?,
        };
        let Some(first) = first else {
            self.stage_gone(table, staging, |_| true).await?;
            return Ok(Reach::All);
        };
        if let Some(since) = since.filter(|_| !self.reads_all_sessions())
            && !self.is_whole_list_due(table).await?
        {
            self.run.sync.progress.started(self.resource.name, None);
            self.take_new(first, listing, since, staging).await?;
            return Ok(Reach::New);
        }
        let pages = first.total_count.map_or(u64::MAX, |total| total.div_ceil(first.keys.len().max(1) as u64));
        if since.is_some_and(|_| pages > 1 && self.reads_all_sessions())
            && let Ok(owners) = self.owners_to_ask(since, self.sessions_since(), table).await
            && (owners.to_ask.len() as u64) < pages
        {
            self.per_user(&owners, table, staging).await?;
            return Ok(Reach::All);
        }
        self.run.sync.progress.started(self.resource.name, first.total_count);
        self.take_whole(first, listing, staging).await?;
        self.stage_gone(table, staging, |_| true).await?;
        Ok(Reach::All)
    }

    /// Whether each sync is to read all sessions that may have changed.
    fn reads_all_sessions(&self) -> bool {
        self.run.sync.options.session_refresh <= TimeDelta::zero()
    }

    /// Whether so much time has passed since the plain list was read whole that this sync is to do it again.
    async fn is_whole_list_due(&self, table: &Table) -> Result<bool> {
        let read = table.position(SESSIONS_READ).await?.and_then(DateTime::from_timestamp_millis);
        Ok(read.is_none_or(|read| self.run.watermark - read >= self.run.sync.options.session_refresh))
    }

    /// Stages the sessions that began since `since` from the plain list, which has the newest first.
    async fn take_new<D>(
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
            staging.take(Page { fresh: Some(fresh), ..next }).await?;
            page = if has_passed { None } else { listing.next_page().await? };
        }
        Ok(())
    }

    /// Stages all of the plain list.
    async fn take_whole<D>(
        &self,
        first: Page<PageRows>,
        mut listing: Listing<D>,
        staging: &mut Staging<'_>,
    ) -> Result<(), ListingFailure>
    where
        D: Fn(&[u8]) -> Result<Decoded<PageRows>, String> + Send + Sync,
    {
        staging.take(first).await?;
        staging.take_all(listing.pages()).await?;
        for _ in 0..CHANCES {
            // Sessions that began meanwhile stand at the front.
            listing.reopen();
            while !is_whole(staging) {
                let Some(page) = listing.next_page().await? else { break };
                let known = page.fresh_count == 0;
                staging.take(page).await?;
                if known {
                    break;
                }
            }
        }
        if is_whole(staging) { Ok(()) } else { Err(too_short(staging).into()) }
    }

    /// `change` with what is known of how old the sessions' rows are.
    async fn with_reach(
        &self,
        change: Change,
        reach: Reach,
        since: Option<DateTime<Utc>>,
        table: &Table,
    ) -> Result<Change> {
        let now = self.run.watermark.timestamp_millis();
        match (reach, since) {
            (Reach::All, _) => Ok(change.with_position(SESSIONS_READ, now).with_position(ALL_OPEN_READ, now)),
            (Reach::New, _) | (Reach::Due, None) => Ok(change),
            (Reach::Due, Some(since)) => {
                let period = self.run.sync.options.session_refresh.num_milliseconds();
                let before = table.position(SESSIONS_READ).await?.unwrap_or_else(|| since.timestamp_millis());
                let is_same = table.position(CYCLE_PERIOD).await? == Some(period);
                let begun = table.position(CYCLE_BEGUN).await?.filter(|_| is_same);
                let begun = begun.unwrap_or_else(|| since.timestamp_millis());
                // Once everybody has had a turn, nothing is older than a period.
                let read = if now - begun >= period { before.max(now - period) } else { before };
                let change = change.with_position(SESSIONS_READ, read);
                Ok(change.with_position(CYCLE_BEGUN, begun).with_position(CYCLE_PERIOD, period))
            }
        }
    }

    async fn per_user(&self, owners: &Owners, table: &Table, staging: &mut Staging<'_>) -> Result<(), ListingFailure> {
        if owners.to_ask.is_empty() && owners.deleted.is_empty() {
            return Ok(());
        }
        self.ask_each(&owners.to_ask, staging).await?;
        let is_known = |user: &str| owners.to_ask.contains(user) || owners.deleted.contains(user);
        Ok(self.stage_gone(table, staging, is_known).await?)
    }

    /// Stages the sessions of each of these users.
    async fn ask_each(&self, users: &BTreeSet<String>, staging: &mut Staging<'_>) -> Result<(), ListingFailure> {
        self.announce(users.len() as u64);
        let pages = futures::stream::iter(users.iter().cloned())
            .map(|user| {
                let (client, decode) = (self.client.clone(), self.list.decode);
                let request = self.plain().with("user_id", user.clone());
                async move {
                    let pages = list(client, request, decode).try_collect::<Vec<_>>().await;
                    match pages {
                        Err(error) if error.status == Some(404) && error.refusal == Refusal::Absent => Ok((user, None)),
                        other => other.map(|pages| (user, Some(pages))),
                    }
                }
            })
            .buffered(AT_ONCE);
        let mut pages = std::pin::pin!(pages);
        // The last user who has been asked about, and those whose sessions were answered with a 404 and who may be gone.
        let (mut done, mut missing) = (None, Vec::new());
        loop {
            let (user, pages) = match pages.try_next().await {
                Ok(Some(of_user)) => of_user,
                Ok(None) => return self.assert_gone(&mut missing).await,
                Err(error) => {
                    let failure = ListingFailure::from(error);
                    if let Some(done) = done.filter(|_| missing.is_empty()) {
                        staging.checkpoint_at(&failure, serde_json::Value::String(done)).await;
                    }
                    return Err(failure);
                }
            };
            missing.extend(pages.is_none().then(|| user.clone()));
            for page in pages.unwrap_or_default() {
                staging.take(page).await?;
            }
            if staging.wants_checkpoint() {
                self.assert_gone(&mut missing).await?;
                staging.checkpoint(serde_json::Value::String(user.clone())).await?;
            }
            done = Some(user);
        }
    }

    /// Makes sure that the `missing` users, whose sessions were answered with a 404, are gone: then they have none. A
    /// 404 for a user who is there is no answer to the question. Leaves `missing` empty.
    async fn assert_gone(&self, missing: &mut Vec<String>) -> Result<(), ListingFailure> {
        for ids in std::mem::take(missing).chunks(MOST_IDS) {
            let mut there = std::pin::pin!(list(self.client.clone(), USER_LIST.named(ids), decode_ids));
            while let Some(page) = there.try_next().await? {
                // A server that does not heed the filter lists others too.
                if page.keys.iter().any(|key| ids.contains(&key.id)) {
                    return Err(not_gone().into());
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
        self.run
            .sync
            .progress
            .note(&format!("asking for the sessions of {users} users: {users} requests or more{time}"));
        self.run.sync.progress.started("sessions", None);
    }

    /// Sessions, newest first: the only order there is.
    fn plain(&self) -> ListRequest {
        ListRequest::new(self.list.path, Order::Offset).with("paginated", "true")
    }

    /// From when on users' sessions are asked for at the first sync.
    fn sessions_since(&self) -> DateTime<Utc> {
        let days = i64::from(self.run.sync.options.session_lookback_days);
        self.run.now - TimeDelta::days(days.saturating_sub(1).max(0))
    }
}

/// Users by their ids alone, which even a user who cannot be read may have.
fn decode_ids(body: &[u8]) -> Result<Decoded<()>, String> {
    let Decoded { keys, total_count, .. } = (USER_LIST.decode)(body)?;
    let unreadable = keys.iter().enumerate().filter(|(_, key)| key.is_none()).map(|(at, _)| at).collect();
    Ok(Decoded { keys, unreadable, total_count, rows: () })
}

/// Whether Clerk's answer means "not without a user", as opposed to a refused key or a failure on the way.
fn refuses_plain(error: &ApiError) -> bool {
    let kind = Error::from(error.clone()).kind();
    kind == ErrorKind::Answer && error.is_clerks() && error.status.is_some_and(|status| (400..500).contains(&status))
}

fn is_whole(staging: &Staging<'_>) -> bool {
    staging.total.is_none_or(|total| staging.listed() >= total)
}

fn not_gone() -> Error {
    Error::answer("GET /v1/sessions: 404 for users who exist; nothing was written")
        .with_hint("check --api-url and any proxy on the way to Clerk, then run again")
}

fn too_short(staging: &Staging<'_>) -> Error {
    Error::answer(format!(
        "the list of sessions ended after {} rows, but Clerk counts {}; nothing was written",
        staging.listed(),
        staging.total.unwrap_or_default()
    ))
    .with_hint("run again; if it stays so, report it: a list that may be incomplete is never committed")
}
