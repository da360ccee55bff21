//! What crashes leave beside a table's own files, and when it may be removed.

use std::collections::HashSet;

use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore};

use super::store_error;
use super::table::Table;
use crate::error::Result;

impl Table {
    /// Removes data files that no version names (if old versions are kept: those that have been kept for long
    /// enough), and change data likewise: what a crash left between moving files and committing them,
    /// or between committing and clearing up. A file that may belong to a run at work, or to a commit whose outcome is
    /// unknown, stays until it is [old enough](super::Location::orphans_spared_for). Before anything is removed an empty
    /// commit is made: a commit that names those files, under way or carried out late, loses to it instead of naming
    /// files that are gone. Before a table's first commit nothing is removed: that commit does. Change data of versions
    /// that the log no longer has are removed too.
    ///
    /// # Errors
    /// [`Conflict`](crate::ErrorKind::Conflict) where another run commits at the same time;
    /// [`Unreachable`](crate::ErrorKind::Unreachable) where the store fails.
    pub async fn sweep(&mut self) -> Result<usize> {
        if !self.exists() {
            return Ok(0);
        }
        let old = self.remove_old_changes().await?;
        if self.keeps_history() {
            // What no version names looks like what older ones do: it goes with them, by its age.
            return Ok(old + self.remove_expired().await?);
        }
        let before = self.orphans().await?;
        if before.is_empty() {
            return Ok(old);
        }
        self.fence().await?;
        self.lake.refresh(self.spec, true).await?;
        // What came after the first look may belong to a run that begins at the fence.
        let still: HashSet<Path> = self.orphans().await?.into_iter().collect();
        let orphans: Vec<_> = before.into_iter().filter(|path| still.contains(path)).collect();
        self.delete_files(&orphans).await;
        Ok(old + orphans.len())
    }

    /// Whether a sweep may remove `orphan`, which no version names: it is old enough.
    pub(super) fn may_sweep(&self, orphan: &ObjectMeta) -> bool {
        self.sparing.is_none_or(|sparing| sparing.allows(orphan.last_modified))
    }

    async fn orphans(&self) -> Result<Vec<Path>> {
        let active: HashSet<String> = self.files().map(|file| file.path).collect();
        let listed = self.store.list(None).try_filter(|object| {
            let orphan = self.is_own_file(&object.location) && !active.contains(object.location.as_ref());
            std::future::ready(orphan && self.may_sweep(object))
        });
        let orphans: Result<Vec<Path>, _> = listed.map_ok(|object| object.location).try_collect().await;
        let mut orphans =
            orphans.map_err(|error| store_error(&format!("the table {} cannot be listed", self.spec.name), &error))?;
        orphans.extend(self.orphaned_changes().await?);
        Ok(orphans)
    }

    /// Deletes data files that are named by no version that may still be read. A file that cannot be deleted
    /// is an orphan that the next run sweeps.
    pub(super) async fn delete_files(&self, paths: &[Path]) {
        let paths: Vec<_> = paths.iter().cloned().map(Ok).collect();
        let results: Vec<_> = self.store.delete_stream(futures::stream::iter(paths).boxed()).collect().await;
        for error in results.into_iter().filter_map(std::result::Result::err) {
            if !matches!(error, object_store::Error::NotFound { .. }) {
                tracing::warn!(table = self.spec.name, %error, "a superseded file could not be removed; the next run will");
            }
        }
    }
}
