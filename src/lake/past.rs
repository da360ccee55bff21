//! Time travel: a table at an earlier version or time, and the commits that have been made since.

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

/// A point in a table's history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// The table version with this number.
    Version(u64),
    /// The newest version committed at or before this time, by the clocks of the machines that committed.
    Moment(DateTime<Utc>),
}

/// What a commit records about itself and the run that made it.
#[derive(Clone, Debug)]
pub struct CommitRecord {
    /// When the commit was made, by the clock of the machine that made it.
    pub at: Option<DateTime<Utc>>,
    /// The watermark that the commit set; `None` if it set none.
    pub watermark: Option<DateTime<Utc>>,
    /// The metrics that the run recorded; null if another program made the commit.
    pub info: Value,
}

impl CommitRecord {
    fn read(entry: &[u8]) -> Self {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct CommitLine {
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
        for line in
            entry.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<CommitLine>(line).ok())
        {
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
    /// Returns the last `count` commits, newest first, as far as the log still has them. Reads one small file per
    /// commit, several at a time.
    ///
    /// # Errors
    /// [`Unreachable`](crate::ErrorKind::Unreachable) if the store fails.
    pub async fn history(&self, count: usize) -> Result<Vec<CommitRecord>> {
        let Some(newest) = self.version() else { return Ok(Vec::new()) };
        let entries = self.entries((0..=newest).rev().take(count));
        let kept = entries.try_take_while(|(_, entry)| std::future::ready(Ok(entry.is_some())));
        let read = |(_, entry): (u64, Option<Bytes>)| CommitRecord::read(&entry.unwrap_or_default());
        kept.map_ok(read).try_collect().await
    }

    /// Returns the commits after `version`, oldest first, up to the version that the table is open at. `None` if the
    /// log no longer has all of them, or `version` is newer than the table. Reads one small file per commit, several at
    /// a time.
    ///
    /// # Errors
    /// [`Unreachable`](crate::ErrorKind::Unreachable) if the store fails.
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

    /// Opens `spec`'s table for reading, `at` an earlier version or time.
    ///
    /// # Errors
    /// Same as [`Table::open`]. Also [`Query`](crate::ErrorKind::Query) if the log does not reach back that far.
    pub async fn open_at(lake: &Lake, spec: &'static TableSpec, at: At) -> Result<Self> {
        let mut table = Self::open(lake, spec, None).await?;
        if table.exists() {
            table.go_back(at).await?;
        }
        Ok(table)
    }

    /// Loads the version that the table had `at` that point. If it had none yet, the table counts as not written.
    async fn go_back(&mut self, at: At) -> Result<()> {
        let name = self.spec.name;
        let newest = self.version();
        let not_kept = |why: &str| {
            Error::new(ErrorKind::Query, format!("that version of {name} is no longer kept{why}"))
                .with_hint("--history sets how long old versions are kept: for example, sync with --history 30d")
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

    /// Returns the newest version from `oldest` to `newest` that was committed at or before `moment`. Uses the time in
    /// the commit, not the modification time of its file: the log may have been copied since.
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
