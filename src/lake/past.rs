//! Tables as they were: at an earlier version, or at an earlier moment.

use chrono::{DateTime, Utc};
use deltalake::DeltaTable;

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

impl Table {
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
