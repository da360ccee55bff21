//! Selects the users whose sessions are read, if an instance lists sessions only by user.
//!
//! New sessions are found at each sync, from the users who signed in or up since the last one. Ends of sessions and
//! activity are read on a budget: for users who were active since their sessions were last read, once in each
//! `session_refresh`; for the other owners of open sessions, once in each `verify_every`. An unused open session can
//! only expire, which its row shows already, or be revoked.

use std::collections::{BTreeSet, HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};
use futures::TryStreamExt;

use super::due::Cycle;
use super::{ALL_OPEN_READ, SESSIONS_READ};
use crate::api::{Decoded, Page, list};
use crate::error::Result;
use crate::lake::Table;
use crate::query::{self, Owner};
use crate::resource::{PageRows, PerUserList, USER_LIST, USERS};
use crate::sync::failure::ListingFailure;
use crate::sync::incremental::MARGIN;
use crate::sync::plan::MAX_CLOCK_SKEW;
use crate::sync::requests::{CREATED_AFTER, day_of};
use crate::sync::run::lock;
use crate::sync::staging::timestamps;
use crate::sync::task::Task;

/// The users whose sessions a sync reads, and the deleted users whose sessions are gone.
#[derive(Debug, Default)]
pub(super) struct Owners {
    pub to_read: BTreeSet<String>,
    /// Owners of open sessions who have been deleted.
    pub deleted: HashSet<String>,
}

/// A user who may have been active recently.
struct PossibleOwner {
    id: String,
    /// Unix microseconds.
    last_active_at: Option<i64>,
    /// Whether the user may have a new session.
    is_new: bool,
}

impl Task<'_, PerUserList> {
    /// Returns the users whose sessions may have changed since `since` and are to be read now. `lookback` is for a
    /// first or full sync: it reads the sessions of all users active since then, and of all owners of open sessions.
    pub(super) async fn owners_to_read(
        &self,
        since: Option<DateTime<Utc>>,
        lookback: DateTime<Utc>,
        table: &Table,
    ) -> Result<Owners, ListingFailure> {
        let refresh = self.run.sync.options.session_refresh;
        let mut owners = Owners::default();
        // Users with rejected rows are not in the users table.
        owners.to_read.extend(query::ids_set_aside(&self.run.lake, &USERS).await?);
        let in_turns = since.is_some() && refresh > TimeDelta::zero();
        let open_at = in_turns.then(|| self.run.watermark - MAX_CLOCK_SKEW);
        // Includes owners whose second turn may have come since the last sync.
        let recent = since.unwrap_or(self.run.watermark) - refresh * 2;
        let known = if table.exists() {
            query::session_owners(&self.run.lake, table, recent, open_at).await?
        } else {
            Vec::new()
        };
        let users = if lock(&self.run.fresh).contains(&USERS.table.name) {
            Some(self.run.lake.table(&USERS.table).await?)
        } else {
            None
        };
        if let Some(users) = &users {
            let is_complete = users.unreadable().await? == 0;
            owners.deleted = self.deleted_among(&known, users).await?.into_iter().filter(|_| is_complete).collect();
        }
        // If the period was longer before, changes before the last sync may be unread.
        let read = table.position(SESSIONS_READ).await?.and_then(DateTime::from_timestamp_millis);
        match since.filter(|_| in_turns) {
            None => {
                let since = since.map_or(lookback, |since| read.map_or(since, |read| read.min(since)));
                let candidates = self.active_since(day_of(since), since - MARGIN, users.as_ref()).await?;
                owners.to_read.extend(candidates.into_iter().map(|user| user.id));
                owners.to_read.extend(known.into_iter().filter(|owner| owner.has_unended).map(|owner| owner.id));
            }
            Some(since) => {
                let read = read.unwrap_or(since);
                let active = day_of(read.min(since - refresh));
                let candidates = self.active_since(active, since - MARGIN, users.as_ref()).await?;
                owners.to_read.extend(self.due_active(since, read, &candidates, &known));
                let open_read = table.position(ALL_OPEN_READ).await?;
                owners.to_read.extend(self.due_idle(since, open_read, &candidates, &known));
                owners.to_read.extend(known.into_iter().filter(|it| it.has_unknown_status).map(|owner| owner.id));
            }
        }
        owners.to_read.retain(|id| !owners.deleted.contains(id));
        Ok(owners)
    }

    /// Returns the active users who are due, if all sessions were read up to `read`.
    fn due_active(
        &self,
        since: DateTime<Utc>,
        read: DateTime<Utc>,
        candidates: &[PossibleOwner],
        known: &[Owner],
    ) -> Vec<String> {
        let cycle = self.cycle(since, self.run.sync.options.session_refresh);
        let newest: HashMap<&str, i64> =
            known.iter().filter_map(|owner| Some((owner.id.as_str(), owner.newest?.div_euclid(1000)))).collect();
        let is_due = |user: &&PossibleOwner| {
            let unread_since = cycle.unread_since(&user.id, newest.get(user.id.as_str()).copied());
            let unread_since = unread_since.and_then(DateTime::from_timestamp_millis).map(|since| since.min(read));
            user.is_new
                || unread_since
                    .is_some_and(|since| user.last_active_at.is_some_and(|at| at >= day_of(since).timestamp_micros()))
        };
        candidates.iter().filter(is_due).map(|user| user.id.clone()).collect()
    }

    /// Returns the idle owners of open sessions who are due, if all open sessions were read at `open_read` (Unix
    /// milliseconds) or later.
    fn due_idle(
        &self,
        since: DateTime<Utc>,
        open_read: Option<i64>,
        candidates: &[PossibleOwner],
        known: &[Owner],
    ) -> Vec<String> {
        let every = self.run.sync.options.verify_every;
        if every <= TimeDelta::zero() {
            return Vec::new();
        }
        let cycle = self.cycle(since, every);
        let active: HashSet<&str> = candidates.iter().map(|user| user.id.as_str()).collect();
        // Sessions that expire before their next turn need none.
        let now = (self.run.watermark - MAX_CLOCK_SKEW).timestamp_millis();
        let next = open_read.map_or(now, |read| now.max(read + every.num_milliseconds()));
        let is_open = |owner: &&Owner| owner.open_until.is_some_and(|until| until > next.saturating_mul(1000));
        let others = known.iter().filter(|owner| is_open(owner) && !active.contains(owner.id.as_str()));
        // The row of a session that lives no longer than this period is never older than the period while it is open.
        let is_due = |owner: &&Owner| {
            cycle.unread_since(&owner.id, owner.newest.map(|newest| newest.div_euclid(1000))).is_some()
        };
        others.filter(is_due).map(|owner| owner.id.clone()).collect()
    }

    /// Returns the part of a cycle with this period that has passed since the last sync.
    fn cycle(&self, since: DateTime<Utc>, period: TimeDelta) -> Cycle {
        Cycle {
            period: period.num_milliseconds().max(1),
            from: since.timestamp_millis(),
            until: self.run.watermark.timestamp_millis(),
        }
    }

    /// Returns the users who were active at `active` or later, and those who may have new sessions since `new`: from
    /// the users table if this run has synced it, otherwise from Clerk.
    async fn active_since(
        &self,
        active: DateTime<Utc>,
        new: DateTime<Utc>,
        users: Option<&Table>,
    ) -> Result<Vec<PossibleOwner>, ListingFailure> {
        if let Some(users) = users {
            let found = query::active_users(&self.run.lake, users, active, new).await?;
            let candidate = |(id, last_active_at, is_new)| PossibleOwner { id, last_active_at, is_new };
            return Ok(found.into_iter().map(candidate).collect());
        }
        let mut found = Vec::new();
        let new = (new.timestamp_millis() - 1).to_string();
        let lists = [
            (false, USER_LIST.active_since(active)),
            (true, USER_LIST.oldest_first().with("last_sign_in_at_after", new.clone())),
            (true, USER_LIST.oldest_first().with(CREATED_AFTER, new)),
        ];
        for (is_new, request) in lists {
            let request = request.until(self.run.watermark.timestamp_millis());
            let listed = list(self.client.clone(), request, decode_activity).map_err(ListingFailure::Api);
            let mut listed = std::pin::pin!(listed);
            while let Some(page) = listed.try_next().await? {
                let Page { keys, rows, .. } = page;
                let candidate = |(key, last_active_at): (crate::api::RowKey, _)| PossibleOwner {
                    id: key.id,
                    last_active_at,
                    is_new,
                };
                found.extend(keys.into_iter().zip(rows).map(candidate));
            }
        }
        Ok(found)
    }

    /// Returns the owners of sessions that have not ended who are missing from the users table.
    async fn deleted_among(&self, known: &[Owner], users: &Table) -> Result<Vec<String>> {
        let mut owners: HashSet<&str> =
            known.iter().filter(|owner| owner.has_unended).map(|owner| owner.id.as_str()).collect();
        if owners.is_empty() || !users.exists() {
            return Ok(Vec::new());
        }
        let mut remove = |id: &str| {
            owners.remove(id);
        };
        query::for_each_text(&self.run.lake, &users.provider().await?, "id", &mut remove).await?;
        let set_aside: HashSet<String> = query::ids_set_aside(&self.run.lake, &USERS).await?.into_iter().collect();
        Ok(owners.into_iter().filter(|id| !set_aside.contains(*id)).map(str::to_owned).collect())
    }
}

/// Decodes users to their ids and last activity in Unix microseconds. A user with a rejected row has only an id and
/// counts as active.
fn decode_activity(body: &[u8]) -> Result<Decoded<Vec<Option<i64>>>, String> {
    let Decoded { keys, unreadable, total_count, rows } = (USER_LIST.decode)(body)?;
    let rows: PageRows = rows;
    let mut known = timestamps(&rows, "last_active_at");
    let of_row =
        |at: usize| if unreadable.binary_search(&at).is_ok() { Some(i64::MAX) } else { known.next().flatten() };
    let of_rows: Vec<Option<i64>> = (0..keys.len()).map(of_row).collect();
    let activity = of_rows.into_iter().zip(&keys).filter(|(_, key)| key.is_some()).map(|(at, _)| at).collect();
    let without = keys.iter().enumerate().filter(|(_, key)| key.is_none()).map(|(at, _)| at).collect();
    Ok(Decoded { unreadable: without, total_count, rows: activity, keys })
}
