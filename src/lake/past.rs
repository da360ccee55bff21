//! Tables as they were: at an earlier version, or at an earlier moment; and what has been done to them since.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use deltalake::DeltaTable;
use futures::TryStreamExt;
use serde::Deserialize;
use serde_json::Value;

use super::table::{RUN_INFO, WATERMARK};
use super::{Lake, Table, is_of_store, store_error};
use crate::error::{Error, ErrorKind, Result, chain};
use crate::table::TableSpec;

/// A point in a table's past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// The table's version of this number.
    Version(u64),
    /// The newest version committed at this moment or before it, by the clocks of the machines that committed.
    Moment(DateTime<Utc>),
}

/// What a commit says of itself, and of the run that made it.
#[derive(Clone, Debug)]
pub struct CommitRecord {
    /// When it was made, by the clock of the machine that made it.
    pub at: Option<DateTime<Utc>>,
    /// Up to when the table's rows were complete with it; none where it did not say.
    pub watermark: Option<DateTime<Utc>>,
    /// The run's figures, as it recorded them; null where another program made the commit.
    pub info: Value,
}

impl CommitRecord {
    fn read(entry: &[u8]) -> Self {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Line {
            commit_info: Option<Value>,
            txn: Option<Position>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Position {
            app_id: String,
            version: i64,
        }
        let mut found = Self { at: None, watermark: None, info: Value::Null };
        for line in entry.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<Line>(line).ok()) {
            if let Some(mut info) = line.commit_info {
                found.at = info.get("timestamp").and_then(Value::as_i64).and_then(DateTime::from_timestamp_millis);
                found.info = info.get_mut(RUN_INFO).map(Value::take).unwrap_or_default();
            }
            if let Some(position) = line.txn.filter(|position| position.app_id == WATERMARK) {
                found.watermark = DateTime::from_timestamp_millis(position.version);
            }
        }
        found
    }
}

impl Table {
    /// What the last `count` commits say, newest first, as far as the log still has them. One small file is read for
    /// each, several at a time.
    ///
    /// # Errors
    /// [`Unreachable`](crate::ErrorKind::Unreachable) where the store fails.
    pub async fn history(&self, count: usize) -> Result<Vec<CommitRecord>> {
        let Some(newest) = self.version() else { return Ok(Vec::new()) };
        let entries = self.entries((0..=newest).rev().take(count));
        let kept = entries.try_take_while(|(_, entry)| std::future::ready(Ok(entry.is_some())));
        let read = |(_, entry): (u64, Option<Bytes>)| CommitRecord::read(&entry.unwrap_or_default());
        kept.map_ok(read).try_collect().await
    }

    /// What the commits after `version` say, oldest first, up to the version that the table is open at; none where
    /// the log no longer has all of them, or the table has never had that version. One small file is read for each,
    /// several at a time.
    ///
    /// # Errors
    /// [`Unreachable`](crate::ErrorKind::Unreachable) where the store fails.
    pub async fn commits_since(&self, version: u64) -> Result<Option<Vec<CommitRecord>>> {
        let Some(newest) = self.version().filter(|newest| *newest >= version) else { return Ok(None) };
        let mut commits = Vec::new();
        let mut entries = std::pin::pin!(self.entries(version.saturating_add(1)..=newest));
        while let Some((_, entry)) = entries.try_next().await? {
            let Some(entry) = entry else { return Ok(None) };
            commits.push(CommitRecord::read(&entry));
        }
        Ok(Some(commits))
    }

    /// Opens `spec`'s table for reading, as it was `at` an earlier version or moment.
    ///
    /// # Errors
    /// As [`Table::open`], and [`Query`](crate::ErrorKind::Query) where the log no longer reaches back so far.
    pub async fn open_at(lake: &Lake, spec: &'static TableSpec, at: At) -> Result<Self> {
        let mut table = Self::open(lake, spec, None).await?;
        if table.exists() {
            table.go_back(at).await?;
        }
        Ok(table)
    }

    /// To the version that the table had then; to none, where there was none yet.
    async fn go_back(&mut self, at: At) -> Result<()> {
        let name = self.spec.name;
        let newest = self.version();
        let not_kept = |why: &str| {
            Error::new(ErrorKind::Query, format!("{name} is not kept as it was then{why}"))
                .with_hint("a lake keeps as much of the past as --history says: sync with --history 30d, for example")
        };
        let version = match at {
            At::Version(version) => Some(version).filter(|version| Some(*version) <= newest),
            At::Moment(moment) => {
                let oldest = self.oldest_entry().await?.unwrap_or_default();
                let version = self.newest_at(moment, oldest, newest.unwrap_or_default()).await?;
                if version.is_none() && oldest > 0 {
                    return Err(not_kept(""));
                }
                version
            }
        };
        let Some(version) = version else {
            self.delta = DeltaTable::new(self.log_store());
            return Ok(());
        };
        self.delta.load_version(version).await.map_err(|error| {
            if is_of_store(&error) {
                return store_error(&format!("the table {name} cannot be read"), &error);
            }
            not_kept(&format!(": {}", chain(&error)))
        })
    }

    /// The newest of these versions that was committed at `moment` or before it, as the commits themselves say: the
    /// log's files may have been copied since.
    async fn newest_at(&self, moment: DateTime<Utc>, oldest: u64, newest: u64) -> Result<Option<u64>> {
        let (mut from, mut until) = (oldest, newest + 1);
        while from < until {
            let middle = from + (until - from) / 2;
            let entry = std::pin::pin!(self.entries([middle])).try_next().await?.and_then(|(_, entry)| entry);
            let committed = entry.and_then(|entry| CommitRecord::read(&entry).at);
            if committed.is_none_or(|committed| committed <= moment) {
                from = middle + 1;
            } else {
                until = middle;
            }
        }
        Ok(from.checked_sub(1).filter(|version| *version >= oldest))
    }
}
