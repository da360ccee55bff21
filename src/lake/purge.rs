//! Removal of data that must not be kept: old versions of a table, their change data, and staged resume points.

use std::collections::HashSet;

use futures::TryStreamExt;
use object_store::ObjectStore;
use object_store::path::Path;

use super::change_data::is_change_data;
use super::resume_point::read;
use super::table::Table;
use super::{RunArea, store_error};
use crate::error::Result;

impl Table {
    /// Deletes the data files and change data of all versions except the one that the table is open at, whatever its
    /// retention is, because they contain data that must not be stored. Readers of the change data feed are told to
    /// load the table again.
    ///
    /// # Errors
    /// [`Conflict`](crate::ErrorKind::Conflict) if another run commits at the same time;
    /// [`Unreachable`](crate::ErrorKind::Unreachable) if the store fails.
    pub async fn purge_past(&mut self) -> Result<()> {
        self.begin_feed_anew().await?;
        let named: HashSet<String> = self.files().map(|file| file.path).collect();
        let past = self.store.list(None).try_filter(|object| {
            let path = &object.location;
            let is_past = self.is_own_file(path) && !named.contains(path.as_ref()) || is_change_data(path);
            std::future::ready(is_past)
        });
        let past: Result<Vec<Path>, _> = past.map_ok(|object| object.location).try_collect().await;
        let past =
            past.map_err(|error| store_error(&format!("the table {} cannot be listed", self.spec.name), &error))?;
        self.delete_files(&past).await;
        Ok(())
    }

    /// Deletes the table's resume points if one that a dead run left has rejected rows for which `unclean` is true.
    ///
    /// # Errors
    /// [`Unreachable`](crate::ErrorKind::Unreachable) if the store fails.
    pub async fn forget_unclean(&self, area: &RunArea, unclean: impl Fn(&serde_json::Value) -> bool) -> Result<()> {
        for place in area.dead_areas(self.spec.name).await? {
            if read(&self.lake, &place).await.is_some_and(|checkpoint| unclean(&checkpoint.set_aside)) {
                area.forget(self.spec.name).await;
                break;
            }
        }
        Ok(())
    }
}
