//! Sessions: the plain list where the instance allows it, else one list for each user who was active lately.

use chrono::{DateTime, TimeDelta, Utc};
use futures::{Stream, StreamExt, TryStreamExt};

use super::staging::{ListingFailure, Staging};
use super::{ResourceSummary, Run};
use crate::api::{ApiError, Client, ListRequest, Order, Page, Refusal, list};
use crate::error::{Error, ErrorKind, Result};
use crate::query;
use crate::resource::{PageRows, Reading, Resource, USERS};

/// How many users are asked about at a time; the request budget bounds it long before.
const AT_ONCE: usize = 16;

impl Run<'_> {
    pub(super) async fn sessions(
        &self,
        resource: &'static Resource,
        path: &'static str,
        client: &Client,
        summary: &mut ResourceSummary,
    ) -> Result<()> {
        let mut table = self.open(resource).await?;
        let mut staging = Staging::new(self, resource, table.writer()?);
        let read = match staging.take_all(list(client.clone(), plain(path), resource.decode_bytes())).await {
            Err(ListingFailure::Api(error)) if refuses_plain(&error) && staging.rows == 0 => {
                self.sync.progress.note(&format!(
                    "this instance does not list all sessions at once ({}): asking for each active user",
                    error.status.unwrap_or_default()
                ));
                self.per_user(resource, path, client, &mut staging).await
            }
            Ok(()) if staging.total.is_some_and(|total| staging.rows + staging.rejected < total) => {
                let total = staging.total.unwrap_or_default();
                Err(Error::answer(format!(
                    "the list of sessions ended after {} rows, but Clerk counts {total}; nothing was written",
                    staging.rows
                ))
                .with_hint("run again: sessions that ended meanwhile can cause it"))
                .map_err(ListingFailure::Other)
            }
            other => other,
        };
        summary.rows_read = staging.rows;
        summary.rows_rejected = staging.rejected;
        match read {
            Err(ListingFailure::Api(error)) if error.refusal == Refusal::Absent => {
                self.sync.progress.warn(&format!("sessions skipped, this instance does not list them: {error}"));
                summary.skip(error.to_string());
                return Ok(());
            }
            other => other?,
        }
        let staged = staging.finish().await?;
        let (outcome, counts) = table.upsert(staged, self.change(summary)).await?;
        summary.take_counts(counts);
        let version = outcome.committed(resource.table.name)?;
        summary.take_commit(self.watermark, version, table.rows());
        Ok(())
    }

    async fn per_user(
        &self,
        resource: &'static Resource,
        path: &'static str,
        client: &Client,
        staging: &mut Staging<'_>,
    ) -> Result<(), ListingFailure> {
        let (users, count) = self.active_users(client).await?;
        self.announce(count, client);
        let pages = users
            .map(|user| {
                let client = client.clone();
                async move {
                    let request = plain(path).with("user_id", user?);
                    let pages = list(client, request, resource.decode_bytes()).try_collect::<Vec<_>>().await;
                    match pages {
                        // Gone between the two lists: a user without sessions.
                        Err(error) if error.status == Some(404) => Ok(Vec::new()),
                        other => other.map_err(ListingFailure::Api),
                    }
                }
            })
            .buffer_unordered(AT_ONCE);
        let mut pages = std::pin::pin!(pages);
        while let Some(of_user) = pages.try_next().await? {
            staging.take_all(futures::stream::iter(of_user.into_iter().map(Ok))).await?;
        }
        // A user's total says nothing of all sessions.
        staging.total = None;
        Ok(())
    }

    fn announce(&self, users: Option<u64>, client: &Client) {
        let Some(users) = users else { return };
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        let seconds = client.quota().requests_per_second().map(|rate| users as f64 / rate);
        let time =
            seconds.map(|seconds| format!(", about {seconds:.0} s within the request budget")).unwrap_or_default();
        self.sync.progress.note(&format!("asking for the sessions of {users} users: {users} requests or more{time}"));
        self.sync.progress.started("sessions", None);
    }

    /// The users to ask about: those active since the start of the day `session_lookback_days` ago. They come
    /// from the lake where this run has just read them, else from Clerk.
    async fn active_users(&self, client: &Client) -> Result<(UserIds, Option<u64>), ListingFailure> {
        let since = self.sessions_since();
        if self.fresh.contains(&USERS.table.name) {
            let table = self.sync.lake.table(&USERS.table).await.map_err(ListingFailure::Other)?;
            let (ids, count) =
                query::active_user_ids(&self.sync.lake, &table, since).await.map_err(ListingFailure::Other)?;
            return Ok((ids.map_err(ListingFailure::Other).boxed(), Some(count)));
        }
        let Reading::Cursor { path, .. } = USERS.reading else {
            return Err(ListingFailure::Other(Error::bug("users are not listed by cursor")));
        };
        let request = ListRequest::new(path, Order::Cursor)
            .with("order_by", "+created_at")
            .with("last_active_at_after", (since.timestamp_millis() - 1).to_string());
        let ids = list(client.clone(), request, |body| {
            let decoded = (USERS.decode)(body)?;
            let ids: Vec<String> = decoded.keys.iter().map(|key| key.id.clone()).collect();
            Ok(crate::api::Decoded {
                keys: decoded.keys,
                received: decoded.received,
                total_count: decoded.total_count,
                rows: ids,
            })
        })
        .map_err(ListingFailure::Api)
        .map_ok(|page| {
            let Page { rows, fresh, .. } = page;
            let fresh = fresh.unwrap_or_else(|| vec![true; rows.len()]);
            futures::stream::iter(rows.into_iter().zip(fresh).filter(|(_, fresh)| *fresh).map(|(id, _)| Ok(id)))
        })
        .try_flatten();
        Ok((ids.boxed(), None))
    }

    fn sessions_since(&self) -> DateTime<Utc> {
        let days = i64::from(self.sync.options.session_lookback_days);
        let day = self.watermark.date_naive() - TimeDelta::days(days.saturating_sub(1).max(0));
        day.and_time(chrono::NaiveTime::MIN).and_utc()
    }
}

type UserIds = std::pin::Pin<Box<dyn Stream<Item = Result<String, ListingFailure>> + Send>>;

impl Resource {
    fn decode_bytes(
        &self,
    ) -> impl Fn(&bytes::Bytes) -> Result<crate::api::Decoded<PageRows>, String> + Send + Sync + use<> {
        let decode = self.decode;
        move |body| decode(body)
    }
}

/// Sessions, newest first: the only order there is.
fn plain(path: &str) -> ListRequest {
    ListRequest::new(path, Order::Offset).with("paginated", "true")
}

/// Whether Clerk's answer means "not without a user", as opposed to a refused key or a failure on the way.
fn refuses_plain(error: &ApiError) -> bool {
    let kind = Error::from(error.clone()).kind();
    kind == ErrorKind::Answer && error.status.is_some_and(|status| (400..500).contains(&status))
}
