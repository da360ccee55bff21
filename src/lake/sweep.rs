//! Removal of the orphan files that crashes leave in a table's directory.

use std::collections::HashSet;

use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore};

use super::store_error;
use super::table::Table;
use crate::error::Result;

impl Table {
    /// Removes orphan files: data files and change data that no version names. A crash leaves them between moving files
    /// and committing them, or between committing and deleting superseded files. Returns the number of removed files.
    ///
    /// If old versions are kept, this also removes the files of versions whose retention has ended. It always removes
    /// the change data of versions that the log no longer has.
    ///
    /// A file that may belong to a live run, or to a commit whose outcome is unknown, stays until it is [old
    /// enough](super::Location::orphans_spared_for). Orphan files are removed only after an empty commit.
    /// A pending or late commit that names them then conflicts, instead of naming files that no longer exist. If the
    /// table has no commit yet, nothing is removed: its first commit removes the orphan files.
    ///
    /// # Errors
    /// [`Conflict`](crate::ErrorKind::Conflict) if another run commits at the same time;
    /// [`Unreachable`](crate::ErrorKind::Unreachable) if the store fails.
    pub async fn sweep(&mut self) -> Result<usize> {
        if !self.exists() {
            return Ok(0);
        }
        let old = self.remove_old_changes().await?;
        if self.keeps_history() {
            // Orphan files cannot be told apart from files of old versions, so both are removed by age.
            return Ok(old + self.remove_expired().await?);
        }
        let found = self.orphans().await?;
        if found.is_empty() {
            return Ok(old);
        }
        self.fence().await?;
        self.lake.refresh(self.spec, true).await?;
        // An orphan file that appeared after the first list may belong to a run whose commit follows the empty one.
        let still_orphaned: HashSet<Path> = self.orphans().await?.into_iter().collect();
        let orphans: Vec<_> = found.into_iter().filter(|path| still_orphaned.contains(path)).collect();
        self.delete_files(&orphans).await;
        Ok(old + orphans.len())
    }

    /// Returns whether `orphan`, which no version names, is old enough to be removed by a sweep.
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

    /// Deletes files that no readable version names. A file that cannot be deleted becomes an orphan file, which the
    /// next run sweeps.
    pub(super) async fn delete_files(&self, paths: &[Path]) {
        let paths: Vec<_> = paths.iter().cloned().map(Ok).collect();
        let results: Vec<_> = self.store.delete_stream(futures::stream::iter(paths).boxed()).collect().await;
        for error in results.into_iter().filter_map(std::result::Result::err) {
            if !matches!(error, object_store::Error::NotFound { .. }) {
                tracing::warn!(table = self.spec.name, %error, "cannot remove a superseded file; the next run will");
            }
        }
    }
}
