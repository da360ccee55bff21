//! A run's staging area: `<lake>/_staged/<run>/`, where data files wait for their commit.
//!
//! An area belongs to one run. On local disk, the run holds a lock for as long as its process lives, so an area without
//! a held lock belongs to a dead run. S3 has no locks: there, a run counts as dead when it has written nothing for a
//! while. The files of dead runs are removed, except listings with a [resume point](super::resume_point), which a later
//! run can resume for a week.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions};

use super::layout::{RESUME_POINT, STAGED, join};
use super::lock::{LocalLock, RESUMABLE_FOR};
use super::{Lake, Location, store_error};
use crate::error::{Error, Result};

/// The name of the object that a run writes, on a store without locks, to read the store's clock.
const MARKER: &str = "now";

/// The time without a write after which a run on a store without locks is certainly dead.
const DEAD_AFTER: TimeDelta = TimeDelta::days(1);

/// A run's directory under `_staged`, where data files wait for their commit.
///
/// Dropping it removes a local area; [`RunArea::remove`] removes any area. Listings with a resume point stay, so that a
/// later run can resume them.
#[derive(Debug)]
pub struct RunArea {
    run: String,
    /// `<lake>/_staged`, relative to the store's root.
    all: Path,
    prefix: Path,
    root: Arc<dyn ObjectStore>,
    location: Arc<Location>,
    local: Option<LocalLock>,
    writers: Arc<AtomicU32>,
    /// The time without a write after which a run on a store without locks counts as dead.
    silent_for: TimeDelta,
    sparing: Sparing,
}

/// Which orphan files a sweep leaves alone: those written less than `spared_for` ago, by the store's clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sparing {
    /// The time at which the run's area was opened, by the store's clock.
    opened: DateTime<Utc>,
    /// The same time by a monotonic clock.
    since: Instant,
    spared_for: TimeDelta,
}

impl Sparing {
    /// Returns whether a sweep may remove an orphan file with this modification time.
    pub(super) fn allows(&self, written: DateTime<Utc>) -> bool {
        let elapsed = TimeDelta::from_std(self.since.elapsed()).unwrap_or_default();
        self.spared_for <= TimeDelta::zero() || self.opened + elapsed - written >= self.spared_for
    }
}

impl RunArea {
    /// Opens an area for a new run and removes the files of dead runs. Also proves that the lake is writable.
    ///
    /// # Errors
    /// [`Settings`](crate::ErrorKind::Settings) if the lake is not writable;
    /// [`Unreachable`](crate::ErrorKind::Unreachable) if the store fails.
    pub async fn open(lake: &Lake) -> Result<Self> {
        let run = uuid::Uuid::new_v4().simple().to_string();
        let local = lake.location().directory().map(|directory| LocalLock::take(directory, &run)).transpose()?;
        let mut area = Self::unopened(lake, run, local);
        area.sparing = match &area.local {
            // If no other run is alive, every orphan file belongs to a dead run.
            Some(local) if !local.has_company() => Sparing { spared_for: TimeDelta::zero(), ..area.sparing },
            Some(local) => Sparing { opened: local.opened(), ..area.sparing },
            None => Sparing { opened: area.remove_dead_on_store().await?, since: Instant::now(), ..area.sparing },
        };
        Ok(area)
    }

    /// Proves that a run could write to the store of `lake`, which is not on local disk: it accepts a marker, protects it
    /// from concurrent runs, and deletes it. Nothing stays behind.
    ///
    /// # Errors
    /// As [`RunArea::open`].
    pub(super) async fn prove_store(lake: &Lake) -> Result<()> {
        let area = Self::unopened(lake, uuid::Uuid::new_v4().simple().to_string(), None);
        let proof = match area.now().await {
            Ok(_) => area.prove_conditions().await,
            Err(error) => Err(error),
        };
        match area.root.delete(&area.prefix_for(MARKER)).await {
            Err(error) if proof.is_ok() && !matches!(error, object_store::Error::NotFound { .. }) => {
                Err(store_error("cannot delete from the lake", &error))
            }
            _ => proof,
        }
    }

    /// Returns the area of `run` without writing anything.
    fn unopened(lake: &Lake, run: String, local: Option<LocalLock>) -> Self {
        let location = lake.location();
        let staged = join(&location.prefix, &Path::from(STAGED));
        Self {
            prefix: join(&staged, &Path::from(run.as_str())),
            root: Arc::clone(&location.root),
            location: Arc::clone(&lake.location),
            writers: Arc::default(),
            silent_for: location.silent_for,
            sparing: Sparing { opened: DateTime::UNIX_EPOCH, since: Instant::now(), spared_for: location.spared_for },
            all: staged,
            run,
            local,
        }
    }

    /// Returns the run's id.
    #[must_use]
    pub fn run(&self) -> &str {
        &self.run
    }

    /// Returns which orphan files this run's sweeps leave alone.
    pub(super) fn sparing(&self) -> Sparing {
        self.sparing
    }

    /// Returns the counter of writers in this run. The code that opens a writer increments it.
    pub(super) fn writers(&self) -> Arc<AtomicU32> {
        Arc::clone(&self.writers)
    }

    /// Returns the prefix, relative to the store's root, under which files for `name` are staged.
    pub(super) fn prefix_for(&self, name: &str) -> Path {
        join(&self.prefix, &Path::from(name))
    }

    /// Removes everything that is still staged, except listings with a resume point.
    pub async fn remove(self) {
        if self.local.is_none() {
            self.remove_except_resume_points(&self.prefix).await;
        }
    }

    /// Deletes this run's resume point of `table`, and those of dead runs together with their staged files.
    pub(super) async fn forget(&self, table: &str) {
        let own = join(&self.prefix_for(table), &Path::from(RESUME_POINT));
        if let Err(error) = self.root.delete(&own).await
            && !matches!(error, object_store::Error::NotFound { .. })
        {
            tracing::warn!(%error, "cannot remove a resume point that is no longer needed");
        }
        for dead in self.dead_areas(table).await.unwrap_or_default() {
            remove_all(&self.root, &dead).await;
            if let (Some(local), Some(run)) = (&self.local, dead.parts().nth(self.all.parts().count())) {
                local.remove_if_empty(run.as_ref());
            }
        }
    }

    /// Returns the directories in dead runs' areas that hold a resume point of `table`.
    pub(super) async fn dead_areas(&self, table: &str) -> Result<Vec<Path>> {
        let refused = |error| store_error("cannot list the staged files", &error);
        let mut dead = Vec::new();
        for run in self.root.list_with_delimiter(Some(&self.all)).await.map_err(refused)?.common_prefixes {
            let part = join(&run, &Path::from(table));
            let checkpoint = join(&part, &Path::from(RESUME_POINT));
            let Ok(found) = self.root.head(&checkpoint).await else { continue };
            let is_dead = match (&self.local, run.filename()) {
                _ if run == self.prefix => false,
                (Some(local), Some(name)) => !local.is_held(name),
                _ => self.now().await? - found.last_modified >= self.silent_for,
            };
            if is_dead {
                dead.push(part);
            }
        }
        Ok(dead)
    }

    /// Returns the time by the store's clock: the modification time of a marker written now.
    async fn now(&self) -> Result<DateTime<Utc>> {
        let refused = |error| store_error("cannot write to the lake", &error);
        let marker = self.prefix_for(MARKER);
        self.location.asked(self.root.put(&marker, "".into())).await.map_err(refused)?;
        Ok(self.root.head(&marker).await.map_err(refused)?.last_modified)
    }

    /// Proves that the store supports conditional puts, which commits need: it must refuse to create the marker again.
    async fn prove_conditions(&self) -> Result<()> {
        let new = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        let marker = self.prefix_for(MARKER);
        let why = match self.root.put_opts(&marker, "".into(), new).await {
            Err(object_store::Error::AlreadyExists { .. }) => return Ok(()),
            Err(error @ object_store::Error::NotImplemented { .. }) => error.to_string(),
            Err(error) => return Err(store_error("cannot write to the lake", &error)),
            Ok(_) => "it overwrites an existing object despite If-None-Match".to_owned(),
        };
        // A failure does no harm: the next run removes the marker.
        let _ = self.root.delete(&marker).await;
        Err(Error::settings(format!("the store cannot protect the lake from concurrent runs: {why}"))
            .with_hint("use a store with conditional writes, such as S3, MinIO or R2; do not set AWS_CONDITIONAL_PUT"))
    }

    /// Removes the areas of runs that are certainly dead, and resume points that are too old. Also proves that the
    /// store is writable. Returns the time by the store's clock.
    async fn remove_dead_on_store(&self) -> Result<DateTime<Utc>> {
        let refused = |error| store_error("cannot list the staged files", &error);
        let now = self.now().await?;
        self.prove_conditions().await?;
        for run in self.root.list_with_delimiter(Some(&self.all)).await.map_err(refused)?.common_prefixes {
            let objects: Vec<_> = self.root.list(Some(&run)).try_collect().await.map_err(refused)?;
            let silent_for = |span| objects.iter().all(|object| now - object.last_modified > span);
            if silent_for(RESUMABLE_FOR) {
                remove_all(&self.root, &run).await;
            } else if silent_for(DEAD_AFTER) {
                self.remove_except_resume_points(&run).await;
            }
        }
        Ok(now)
    }

    /// Removes the contents of the area at `run`, except the directories of tables that have a resume point.
    async fn remove_except_resume_points(&self, run: &Path) {
        let Ok(parts) = self.root.list_with_delimiter(Some(run)).await else { return };
        for part in parts.common_prefixes {
            let checkpoint = join(&part, &Path::from(RESUME_POINT));
            if matches!(self.root.head(&checkpoint).await, Err(object_store::Error::NotFound { .. })) {
                remove_all(&self.root, &part).await;
            }
        }
        for object in parts.objects {
            // A failure does no harm: this is a marker, and the next run removes it.
            let _ = self.root.delete(&object.location).await;
        }
    }
}

async fn remove_all(root: &Arc<dyn ObjectStore>, prefix: &Path) {
    let paths = root.list(Some(prefix)).map_ok(|object| object.location).boxed();
    let removed: Vec<_> = root.delete_stream(paths).collect().await;
    let absent = |error: &object_store::Error| matches!(error, object_store::Error::NotFound { .. });
    if let Some(error) = removed.into_iter().filter_map(std::result::Result::err).find(|error| !absent(error)) {
        tracing::warn!(%prefix, %error, "cannot remove staged files; a later run will");
    }
}
