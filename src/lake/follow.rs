//! Following a table by its changes: the rows that later versions inserted, updated and deleted.
//!
//! Delta-rs reads change data too, and its reader is what the tests compare this one with. It takes the changes of a
//! version that recorded none from the version's data files, whether or not they were to be recorded then and whether
//! or not a later commit has removed those files. Here it is an error that says where to begin anew.

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

/// The column that says which version a change came with.
const COMMIT_VERSION: &str = "_commit_version";

/// The column that says when that was committed, by the clock of the machine that did.
const COMMIT_TIMESTAMP: &str = "_commit_timestamp";

impl Table {
    /// The rows that versions after `version`, up to the one that the table is open at, inserted, updated and deleted,
    /// as DataFusion reads them: the table's columns, then `_change_type` (`insert`, `update_preimage` and
    /// `update_postimage`, `delete`), `_commit_version` and `_commit_timestamp`. They come in no order.
    ///
    /// # Errors
    /// [`Query`](ErrorKind::Query) where changes are not recorded, or not since that version, or the log no longer
    /// reaches back to it, or there is no such version yet; [`Unreachable`](ErrorKind::Unreachable) where the store
    /// fails, or the table has not been written yet.
    pub async fn changes_since(&self, version: u64) -> Result<Arc<dyn TableProvider>> {
        let schema = self.plain_schema()?;
        let newest = self.newest_followed(version)?;
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
            let Some(entry) = entry else { return Err(self.let_go(version, newest).await) };
            for (file, at) in self.changes_in(version, &entry, newest)? {
                files.push(self.listed_change(&file, version, at, &columns)?);
            }
        }
        let fields: Vec<FieldRef> = schema.fields().iter().cloned().chain([change_type()]).chain(of_commit).collect();
        Ok(Arc::new(DataFiles::new(&self.lake, Arc::new(Schema::new(fields)), columns, files)?))
    }

    /// The version that the table is open at, where `version` is one from which it can be followed.
    fn newest_followed(&self, version: u64) -> Result<u64> {
        let name = self.spec.name;
        let newest = self.version().unwrap_or_default();
        if version > newest {
            let text = format!("{name} is at version {newest}: there is no version {version} yet");
            return Err(Error::new(ErrorKind::Query, text)
                .with_hint(format!("if the lake was begun anew, so must be whoever follows it: {}", anew(newest))));
        }
        if !self.records_changes() {
            return Err(Error::new(ErrorKind::Query, format!("the changes of {name} are not recorded"))
                .with_hint("sync with --change-data-feed: changes are recorded from the next commit on"));
        }
        match self.feed_begins() {
            // The version that switched it on changed no row.
            Some(begins) if begins <= version.saturating_add(1) => Ok(newest),
            Some(begins) => Err(Error::new(
                ErrorKind::Query,
                format!("the changes of {name} are recorded since version {begins}, not since {version}"),
            )
            .with_hint(anew(newest))),
            None => {
                let text = format!("another program has switched on that the changes of {name} are recorded");
                Err(Error::new(ErrorKind::Query, text)
                    .with_hint("sync with --change-data-feed, which notes since which version that is so"))
            }
        }
    }

    /// The log has let `version` go.
    async fn let_go(&self, version: u64, newest: u64) -> Error {
        let oldest = match self.oldest_entry().await {
            Ok(oldest) => oldest.map(|oldest| format!(", but to version {oldest}")).unwrap_or_default(),
            Err(error) => return error,
        };
        let text = format!("the log of {} no longer reaches back to version {version}{oldest}", self.spec.name);
        Error::new(ErrorKind::Query, text)
            .with_hint(format!("{}; the log is kept for a week, or as long as --history says", anew(newest)))
    }

    /// The change data files of one version, and when it was committed.
    fn changes_in(&self, version: u64, entry: &Bytes, newest: u64) -> Result<Vec<(AddCDCFile, Option<DateTime<Utc>>)>> {
        let name = self.spec.name;
        let (mut changes, mut at, mut is_written) = (Vec::new(), None, false);
        for action in actions(name, version, entry)? {
            match action {
                Action::CommitInfo(info) => at = info.in_commit_timestamp.or(info.timestamp),
                Action::Metadata(metadata) if !is_on(metadata.configuration()) => {
                    let text = format!("the changes of {name} were not recorded for a while from version {version} on");
                    return Err(Error::new(ErrorKind::Query, text).with_hint(anew(newest)));
                }
                Action::Cdc(file) => changes.push(file),
                Action::Add(file) => is_written |= file.data_change,
                Action::Remove(file) => is_written |= file.data_change,
                _ => {}
            }
        }
        if changes.is_empty() && is_written {
            let text = format!("version {version} of {name} changed rows and did not record which");
            let hint = format!("another program has written to the lake; {}", anew(newest));
            return Err(Error::new(ErrorKind::Query, text).with_hint(hint));
        }
        let at = at.and_then(DateTime::from_timestamp_millis);
        Ok(changes.into_iter().map(|file| (file, at)).collect())
    }

    /// A change data file as DataFusion knows one, by its path from the store's root.
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

/// How whoever follows a table begins anew.
fn anew(newest: u64) -> String {
    format!("load the whole table as it is now, and go on with --changes-since {newest}")
}
