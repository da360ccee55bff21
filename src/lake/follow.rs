//! Reads a table's change data feed: the rows that later versions inserted, updated and deleted.
//!
//! delta-rs reads change data too, and the tests compare this reader with it. If a version recorded no changes,
//! delta-rs derives them from the version's data files, even if the feed was off then and even if a later commit has
//! removed those files. Here this is an error that says how to restart.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use datafusion::catalog::TableProvider;
use datafusion::common::ScalarValue;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::table_schema::TableSchema;
use deltalake::kernel::{Action, AddCDCFile};
use futures::TryStreamExt;
use object_store::ObjectMeta;
use object_store::path::Path;

use super::change_data::change_type;
use super::data_files::{DataFiles, key_value};
use super::feed::{actions, is_on};
use super::layout::join;
use super::table::Table;
use crate::error::{Error, ErrorKind, Result, chain};
use crate::table::columns::time_type;

/// The column that holds the version of a change.
const COMMIT_VERSION: &str = "_commit_version";

/// The column that holds the time of the commit, by the clock of the machine that made it.
const COMMIT_TIMESTAMP: &str = "_commit_timestamp";

impl Table {
    /// Returns the rows that the versions after `version`, up to the one that the table is open at, inserted, updated
    /// and deleted.
    ///
    /// The columns are those of the table, then `_change_type` (`insert`, `update_preimage` and `update_postimage`,
    /// `delete`), `_commit_version` and `_commit_timestamp`. The rows are in no particular order.
    ///
    /// # Errors
    /// [`Query`](ErrorKind::Query) if changes are not recorded, or not since that version, or the log no longer reaches
    /// back to it, or the version does not exist yet; [`Unreachable`](ErrorKind::Unreachable) if the store fails, or
    /// the table has not been written yet.
    pub async fn changes_since(&self, version: u64) -> Result<Arc<dyn TableProvider>> {
        let schema = self.plain_schema()?;
        let newest = self.check_feed_since(version)?;
        let (mut keys, mut rest) = self.keys_and_rest(&schema);
        let of_commit = [
            Arc::new(Field::new(COMMIT_VERSION, DataType::Int64, true)),
            Arc::new(Field::new(COMMIT_TIMESTAMP, time_type(), true)),
        ];
        rest.push(change_type());
        keys.extend(of_commit.iter().cloned());
        let columns = TableSchema::builder(Arc::new(Schema::new(rest))).with_table_partition_cols(keys).build();
        let mut files = Vec::new();
        let mut entries = std::pin::pin!(self.entries(version.saturating_add(1)..=newest));
        while let Some((version, entry)) = entries.try_next().await? {
            let Some(entry) = entry else { return Err(self.expired_version(version, newest).await) };
            for (file, at) in self.changes_in(version, &entry, newest)? {
                files.push(self.listed_change(&file, version, at, &columns)?);
            }
        }
        let fields: Vec<FieldRef> = schema.fields().iter().cloned().chain([change_type()]).chain(of_commit).collect();
        Ok(Arc::new(DataFiles::new(&self.lake, Arc::new(Schema::new(fields)), columns, files)?))
    }

    /// Checks that the feed has all changes after `version`. Returns the version that the table is open at.
    fn check_feed_since(&self, version: u64) -> Result<u64> {
        let name = self.spec.name;
        let newest = self.version().unwrap_or_default();
        if version > newest {
            let text = format!("{name} is at version {newest}: there is no version {version} yet");
            return Err(Error::new(ErrorKind::Query, text)
                .with_hint(format!("if the lake was recreated, {}", reload_hint(newest))));
        }
        if !self.records_changes() {
            return Err(Error::new(ErrorKind::Query, format!("the change data feed of {name} is off"))
                .with_hint("sync with --change-data-feed: changes are recorded from the next commit on"));
        }
        match self.feed_begins() {
            // The version that switched the feed on changed no row.
            Some(begins) if begins <= version.saturating_add(1) => Ok(newest),
            Some(begins) => Err(Error::new(
                ErrorKind::Query,
                format!("the change data feed of {name} begins at version {begins}, not at {version}"),
            )
            .with_hint(reload_hint(newest))),
            None => {
                let text = format!("another program switched on the change data feed of {name}; its start is unknown");
                Err(Error::new(ErrorKind::Query, text)
                    .with_hint("sync with --change-data-feed, which records the version at which the feed begins"))
            }
        }
    }

    /// Returns the error of a `version` whose log entry has expired.
    async fn expired_version(&self, version: u64, newest: u64) -> Error {
        let oldest = match self.oldest_entry().await {
            Ok(oldest) => oldest.map(|oldest| format!(", only to version {oldest}")).unwrap_or_default(),
            Err(error) => return error,
        };
        let text = format!("the log of {} no longer reaches back to version {version}{oldest}", self.spec.name);
        Error::new(ErrorKind::Query, text).with_hint(format!(
            "{}; log entries are kept for a week, or for the time given by --history",
            reload_hint(newest)
        ))
    }

    /// Returns the change data files of one version, and the time of its commit.
    fn changes_in(&self, version: u64, entry: &Bytes, newest: u64) -> Result<Vec<(AddCDCFile, Option<DateTime<Utc>>)>> {
        let name = self.spec.name;
        let (mut changes, mut at, mut is_written) = (Vec::new(), None, false);
        for action in actions(name, version, entry)? {
            match action {
                Action::CommitInfo(info) => at = info.in_commit_timestamp.or(info.timestamp),
                Action::Metadata(metadata) if !is_on(metadata.configuration()) => {
                    let text =
                        format!("the change data feed of {name} was off for some time, from version {version} on");
                    return Err(Error::new(ErrorKind::Query, text).with_hint(reload_hint(newest)));
                }
                Action::Cdc(file) => changes.push(file),
                Action::Add(file) => is_written |= file.data_change,
                Action::Remove(file) => is_written |= file.data_change,
                _ => {}
            }
        }
        if changes.is_empty() && is_written {
            let text = format!("version {version} of {name} changed rows without recording the changes");
            let hint = format!("another program has written to the lake; {}", reload_hint(newest));
            return Err(Error::new(ErrorKind::Query, text).with_hint(hint));
        }
        let at = at.and_then(DateTime::from_timestamp_millis);
        Ok(changes.into_iter().map(|file| (file, at)).collect())
    }

    /// Returns a change data file as a DataFusion [`PartitionedFile`], whose path is relative to the store's root.
    fn listed_change(
        &self,
        file: &AddCDCFile,
        version: u64,
        at: Option<DateTime<Utc>>,
        columns: &TableSchema,
    ) -> Result<PartitionedFile> {
        let name = self.spec.name;
        let bug = |error: &(dyn std::error::Error + 'static)| Error::bug(format!("{name}: {}", chain(error)));
        let path = Path::parse(&file.path).map_err(|error| bug(&error))?;
        let mut listed = PartitionedFile::new_from_meta(ObjectMeta {
            location: join(&self.lake.table_prefix(name), &path),
            last_modified: at.unwrap_or_default(),
            size: u64::try_from(file.size).map_err(|error| bug(&error))?,
            e_tag: None,
            version: None,
        });
        for key in columns.table_partition_cols() {
            listed.partition_values.push(match key.name().as_str() {
                COMMIT_VERSION => ScalarValue::Int64(i64::try_from(version).ok()),
                COMMIT_TIMESTAMP => {
                    ScalarValue::TimestampMicrosecond(at.map(|at| at.timestamp_micros()), Some("UTC".into()))
                }
                column => {
                    let value = file.partition_values.get(column).cloned().flatten();
                    key_value(value, key.data_type()).map_err(|error| bug(&error))?
                }
            });
        }
        Ok(listed)
    }
}

/// Returns the hint that says how to restart reading the feed.
fn reload_hint(newest: u64) -> String {
    format!("load the whole table as it is now, then continue with --changes-since {newest}")
}
