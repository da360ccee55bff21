//! What is known of the tables before a sync, for estimates: the tables of a lake, or assumed ones.

use chrono::{DateTime, Utc};

use super::list_counts::ListCounts;
use super::options::SyncOptions;
use super::resume::source;
use super::sessions::SESSIONS_READ;
use crate::api::{Client, Refusal};
use crate::error::Result;
use crate::lake::Lake;
use crate::resource::{self, PerParentList, Resource};

/// The tables before a sync.
pub(super) enum KnownTables {
    /// The tables of a lake that belongs to this instance.
    OfLake { lake: Lake, instance: Option<String> },
    /// No tables: the sync is the first one.
    None,
    /// Tables that have all rows of Clerk, complete up to this time.
    CompleteTo(DateTime<Utc>),
}

/// What is known of a resource's table before its sync.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TableFacts {
    pub(super) watermark: Option<DateTime<Utc>>,
    pub(super) rows: u64,
    /// The time at which all sessions that may have ended were read.
    pub(super) sessions_read: Option<DateTime<Utc>>,
    /// The rows that an interrupted sync has staged; `None` if no listing can be resumed.
    pub(super) staged: Option<u64>,
    /// Whether a complete listing is staged whose commit was refused.
    pub(super) has_refused_listing: bool,
}

impl KnownTables {
    /// Returns what is known of the table of `resource`.
    pub(super) async fn facts(
        &self,
        resource: &'static Resource,
        options: &SyncOptions,
        counts: &ListCounts,
        client: &Client,
    ) -> Result<TableFacts> {
        let (lake, instance) = match self {
            Self::OfLake { lake, instance } => (lake, instance.as_deref()),
            Self::None => return Ok(TableFacts::default()),
            Self::CompleteTo(time) => {
                let rows = counts.size_of(resource).await.map(|size| size.different).unwrap_or_default();
                let (watermark, sessions_read) = (Some(*time), Some(*time));
                return Ok(TableFacts { watermark, rows, sessions_read, ..TableFacts::default() });
            }
        };
        let table = lake.table(&resource.table).await?;
        let source = source(client, instance, options, resource);
        let resume_point =
            if options.fresh { None } else { table.find_resume_point(&source, options.max_shrink).await? };
        Ok(TableFacts {
            watermark: table.watermark().await?,
            rows: table.rows(),
            sessions_read: table.position(SESSIONS_READ).await?.and_then(DateTime::from_timestamp_millis),
            has_refused_listing: resume_point.as_ref().is_some_and(|point| point.refused_share.is_some()),
            staged: resume_point.map(|point| point.rows),
        })
    }

    /// Returns the number of parents whose lists a sync reads: those in the table, or those that the sync itself writes.
    pub(super) async fn rows_of_parents(
        &self,
        list: PerParentList,
        options: &SyncOptions,
        counts: &ListCounts,
    ) -> Result<u64> {
        if let Self::OfLake { lake, .. } = self {
            let table = lake.table(list.parents).await?;
            if table.exists() {
                return Ok(table.rows());
            }
        }
        let Some(parents) = options.resources.iter().find(|it| it.table.name == list.parents.name) else {
            return Ok(0);
        };
        match counts.size_of(parents).await {
            Ok(size) => Ok(size.different),
            Err(error) if error.refusal == Refusal::Absent => Ok(0),
            Err(error) => Err(error.into()),
        }
    }
}

/// Returns the resource whose rows are the parents of `list`.
pub(super) fn resource_of_parents(list: PerParentList) -> Option<&'static Resource> {
    resource::ALL.into_iter().find(|it| it.table.name == list.parents.name)
}
