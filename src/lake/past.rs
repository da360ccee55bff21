//! Tables as they were: at an earlier version, or at an earlier moment; and what has been done to them since.

use chrono::{DateTime, Utc};
use deltalake::DeltaTable;
use futures::TryStreamExt;
use serde::Deserialize;
use serde_json::Value;

use super::table::{RUN_INFO, WATERMARK};
use super::{Lake, Table};
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

/// What a commit's entry in the log says.
#[derive(Clone, Debug)]
pub struct CommitEntry {
    /// Up to when the table's rows were complete with it; none where it did not say.
    pub watermark: Option<DateTime<Utc>>,
    /// The run's figures, as it recorded them; null where another program made the commit.
    pub info: Value,
}

impl CommitEntry {
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
        let mut found = Self { watermark: None, info: Value::Null };
        for line in entry.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<Line>(line).ok()) {
            if let Some(info) = line.commit_info.as_ref().and_then(|info| info.get(RUN_INFO)) {
                found.info = info.clone();
            }
            if let Some(position) = line.txn.filter(|position| position.app_id == WATERMARK) {
                found.watermark = DateTime::from_timestamp_millis(position.version);
            }
        }
        found
    }
}

impl Table {
    /// What the commits after `version` say, oldest first, up to the version that the table is open at; none where
    /// the log no longer has all of them, or the table has never had that version. One small file is read for each,
    /// several at a time.
    ///
    /// # Errors
    /// [`Unreachable`](crate::ErrorKind::Unreachable) where the store fails.
    pub async fn commits_since(&self, version: u64) -> Result<Option<Vec<CommitEntry>>> {
        let Some(newest) = self.version().filter(|newest| *newest >= version) else { return Ok(None) };
        let mut commits = Vec::new();
        let mut entries = std::pin::pin!(self.entries(version.saturating_add(1)..=newest));
        while let Some((_, entry)) = entries.try_next().await? {
            let Some(entry) = entry else { return Ok(None) };
            commits.push(CommitEntry::read(&entry));
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
        let loaded = match at {
            At::Version(version) if Some(version) > newest => {
                self.delta = DeltaTable::new(self.log_store());
                return Ok(());
            }
            At::Version(version) => self.delta.load_version(version).await,
            At::Moment(moment) => self.delta.load_with_datetime(moment).await,
        };
        let not_kept = |why: &str| {
            Error::new(ErrorKind::Query, format!("{name} is not kept as it was then{why}"))
                .with_hint("a lake keeps as much of the past as --history says: sync with --history 30d, for example")
        };
        loaded.map_err(|error| not_kept(&format!(": {}", chain(&error))))?;
        let At::Moment(moment) = at else { return Ok(()) };
        // Before the first commit that the log holds, that one is loaded.
        match self.history(1).await?.pop().and_then(|commit| commit.at) {
            Some(committed) if committed <= moment => Ok(()),
            _ if self.version() == Some(0) => {
                self.delta = DeltaTable::new(self.log_store());
                Ok(())
            }
            _ => Err(not_kept("")),
        }
    }
}
