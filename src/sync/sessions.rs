//! Sessions: the plain list where the instance allows it and it is short enough, else one list for each user
//! whose sessions may have changed.
//!
//! A session changes long after it was created, and nothing lists such changes. It can only change while it is
//! open or its user is active: so the users to ask about are those active since the watermark's day, and the
//! owners of the sessions that the lake knows to be open. What Clerk no longer shows stays in the lake.

use std::collections::BTreeSet;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use futures::{StreamExt, TryStreamExt};

use super::failure::ListingFailure;
use super::incremental::MOST_IDS;
use super::listed::day_of;
use super::staging::Staging;
use super::{ResourceSummary, Run};
use crate::api::{ApiError, Client, Decoded, ListRequest, Listing, Order, Page, Refusal, list};
use crate::error::{Error, ErrorKind, Result};
use crate::lake::{Coverage, Table};
use crate::query;
use crate::resource::{Reading, Resource, USERS};

/// How many users are asked about at a time; the request budget bounds it long before.
const AT_ONCE: usize = 16;

/// How often the newest sessions are read again where the plain list ends short of its own total.
const CHANCES: u32 = 3;

impl Run<'_> {
    pub(super) async fn sessions(
        &self,
        resource: &'static Resource,
        path: &'static str,
        since: Option<DateTime<Utc>>,
        client: &Client,
        mut table: Table,
        summary: &mut ResourceSummary,
    ) -> Result<Option<DateTime<Utc>>> {
        summary.mode = if since.is_some() { "incremental" } else { "full" };
        let mut staging = Staging::of_changes(self, resource, &table)?;
        let read = self.read_sessions(resource, path, since, client, &table, &mut staging).await;
        let read = read.map_err(|failure| staging.placed(failure));
        summary.rows_read = staging.rows - staging.taken_over;
        summary.rows_rejected = staging.rejected();
        summary.fields_nulled = staging.odd.counts.clone();
        match read {
            Err(ListingFailure::Api(error)) if error.refusal == Refusal::Absent => {
                self.sync.progress.warn(&format!("sessions skipped, this instance does not list them: {error}"));
                summary.skip(error.to_string());
                return Ok(None);
            }
            Err(failure) => return Err(self.given_up(&table, failure).await),
            Ok(()) => {}
        }
        self.set_aside(resource, &staging).await?;
        let begun = (staging.taken_over > 0).then_some(staging.watermark());
        let watermark = staging.watermark();
        let diff = table.diff(staging.finish().await?, Coverage::Partial).await?;
        summary.take_counts(diff.counts());
        let change = self.change(summary).complete_up_to(watermark);
        self.claim_lake(&table).await?;
        let outcome = table.commit_diff(diff, change).await?;
        self.settle(outcome, watermark, &mut table, summary).await?;
        Ok(begun)
    }

    /// Reads the plain list, unless the instance refuses it or asking for each user costs fewer requests.
    async fn read_sessions(
        &self,
        resource: &'static Resource,
        path: &'static str,
        since: Option<DateTime<Utc>>,
        client: &Client,
        table: &Table,
        staging: &mut Staging<'_>,
    ) -> Result<(), ListingFailure> {
        let mut listing = Listing::new(client.clone(), plain(path), resource.decode_bytes());
        let first = match listing.next_page().await {
            Err(error) if refuses_plain(&error) => {
                let status = error.status.unwrap_or_default();
                self.sync.progress.note(&format!("this instance does not list all sessions at once ({status})"));
                // Only what is read from the beginning can be gone on with.
                staging.resumable = since.is_none();
                let done = if staging.resumable { staging.take_over().await? } else { None };
                let since = since.unwrap_or_else(|| self.sessions_since());
                // A list of users that is refused says nothing of sessions.
                let mut users = self.users_to_ask(since, client, table).await.map_err(Error::from)?;
                if let Some(done) = done.as_ref().and_then(serde_json::Value::as_str) {
                    users.retain(|user| user.as_str() > done);
                }
                return self.per_user(resource, path, client, users, staging).await;
            }
            other => other?,
        };
        let Some(first) = first else { return Ok(()) };
        let pages = first.total_count.map_or(u64::MAX, |total| total.div_ceil(first.keys.len().max(1) as u64));
        if let Some(since) = since.filter(|_| pages > 1)
            && let Ok(users) = self.users_to_ask(since, client, table).await
            && (users.len() as u64) < pages
        {
            return self.per_user(resource, path, client, users, staging).await;
        }
        self.sync.progress.started(resource.name, first.total_count);
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

    async fn per_user(
        &self,
        resource: &'static Resource,
        path: &'static str,
        client: &Client,
        users: BTreeSet<String>,
        staging: &mut Staging<'_>,
    ) -> Result<(), ListingFailure> {
        self.announce(users.len() as u64, client);
        let pages = futures::stream::iter(users)
            .map(|user| {
                let client = client.clone();
                async move {
                    let request = plain(path).with("user_id", user.clone());
                    let pages = list(client, request, resource.decode_bytes()).try_collect::<Vec<_>>().await;
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
                Ok(None) => return self.assert_gone(client, &mut missing).await,
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
                self.assert_gone(client, &mut missing).await?;
                staging.checkpoint(serde_json::Value::String(user.clone())).await?;
            }
            done = Some(user);
        }
    }

    /// Makes sure that the `missing` users, whose sessions were answered with a 404, are gone: then they have none. A
    /// 404 for a user who is there is no answer to the question. Leaves `missing` empty.
    async fn assert_gone(&self, client: &Client, missing: &mut Vec<String>) -> Result<(), ListingFailure> {
        let Reading::Cursor { path, .. } = USERS.reading else { return Ok(()) };
        for ids in std::mem::take(missing).chunks(MOST_IDS) {
            let request = ListRequest::new(path, Order::Cursor).with("order_by", "created_at");
            let request = ids.iter().fold(request, |request, id| request.with("user_id[]", id));
            let mut there = std::pin::pin!(list(client.clone(), request, decode_ids));
            while let Some(page) = there.try_next().await? {
                // A server that does not heed the filter lists others too.
                if page.keys.iter().any(|key| ids.contains(&key.id)) {
                    return Err(not_gone().into());
                }
            }
        }
        Ok(())
    }

    fn announce(&self, users: u64, client: &Client) {
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        let seconds = client.quota().requests_per_second().map(|rate| users as f64 / rate);
        let time =
            seconds.map(|seconds| format!(", about {seconds:.0} s within the request budget")).unwrap_or_default();
        self.sync.progress.note(&format!("asking for the sessions of {users} users: {users} requests or more{time}"));
        self.sync.progress.started("sessions", None);
    }

    /// Users active since the start of `since`'s day, and the owners of open sessions. The active ones come from
    /// the lake where this run has just read them, else from Clerk.
    async fn users_to_ask(
        &self,
        since: DateTime<Utc>,
        client: &Client,
        table: &Table,
    ) -> Result<BTreeSet<String>, ListingFailure> {
        let day = day_of(since);
        let mut ids = BTreeSet::new();
        // Whoever cannot be read is no row of the users' table.
        ids.extend(query::ids_set_aside(&self.sync.lake, &USERS).await?);
        if table.exists() {
            ids.extend(query::owners_of_open_sessions(&self.sync.lake, table).await?);
        }
        if self.fresh.contains(&USERS.table.name) {
            let users = self.sync.lake.table(&USERS.table).await?;
            ids.extend(query::active_user_ids(&self.sync.lake, &users, day).await?);
        } else {
            let listed = list(client.clone(), self.users_active_since(day)?, decode_ids).map_err(ListingFailure::Api);
            let mut listed = std::pin::pin!(listed);
            while let Some(page) = listed.try_next().await? {
                let Page { keys, .. } = page;
                ids.extend(keys.into_iter().map(|key| key.id));
            }
        }
        Ok(ids)
    }

    /// From when on users' sessions are asked for at the first sync.
    fn sessions_since(&self) -> DateTime<Utc> {
        let days = i64::from(self.sync.options.session_lookback_days);
        self.now - TimeDelta::days(days.saturating_sub(1).max(0))
    }
}

/// Users by their ids alone, which even a user who cannot be read may have.
fn decode_ids(body: &Bytes) -> Result<Decoded<()>, String> {
    let Decoded { keys, total_count, .. } = (USERS.decode)(body)?;
    let unreadable = keys.iter().enumerate().filter(|(_, key)| key.is_none()).map(|(at, _)| at).collect();
    Ok(Decoded { keys, unreadable, total_count, rows: () })
}

/// Sessions, newest first: the only order there is.
fn plain(path: &str) -> ListRequest {
    ListRequest::new(path, Order::Offset).with("paginated", "true")
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
