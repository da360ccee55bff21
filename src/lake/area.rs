//! A run's staging area: `<lake>/_staged/<run>/`, where data files wait for their commit.
//!
//! It belongs to one run. On local disk the run holds a lock for as long as its process lives, so what a dead
//! run left is known to be dead; on S3, which has no locks, it counts as dead when it has been silent for a
//! while. What a dead run left is removed, but for listings with a [checkpoint](super::checkpoint), which a later
//! run may go on with for a week.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions};

use super::layout::{CHECKPOINT, STAGED, join};
use super::lock::{LocalLock, RESUMABLE_FOR};
use super::{Lake, Location, store_error};
use crate::error::{Error, Result};

/// What a run on a store without locks writes to see what time it is there.
const MARKER: &str = "now";

/// After how long a run on a store without locks counts as dead beyond doubt.
const DEAD_AFTER: TimeDelta = TimeDelta::days(1);

/// A run's own place under `_staged`, where data files wait for their commit. Dropping it removes a local area;
/// [`RunArea::remove`] removes any. Listings with a checkpoint stay, for a later run to go on with.
#[derive(Debug)]
pub struct RunArea {
    run: String,
    /// `<lake>/_staged`, in the whole store.
    all: Path,
    prefix: Path,
    root: Arc<dyn ObjectStore>,
    location: Arc<Location>,
    local: Option<LocalLock>,
    writers: Arc<AtomicU32>,
    /// After how long without a word a run on a store without locks may be taken over.
    silent_for: TimeDelta,
    sparing: Sparing,
}

/// Which orphan files a sweep leaves alone: those written after this moment, by the store's own clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sparing {
    /// When the run's area was opened, by the store's clock.
    opened: DateTime<Utc>,
    /// The same moment by a monotonic clock.
    since: Instant,
    spared_for: TimeDelta,
}

impl Sparing {
    /// Whether a sweep may remove an orphan file that was `written` then.
    pub(super) fn allows(&self, written: DateTime<Utc>) -> bool {
        let elapsed = TimeDelta::from_std(self.since.elapsed()).unwrap_or_default();
        self.spared_for <= TimeDelta::zero() || self.opened + elapsed - written >= self.spared_for
    }
}

impl RunArea {
    /// Opens an area for a new run and removes what dead runs left. This is also the proof that the lake can
    /// be written.
    ///
    /// # Errors
    /// [`Settings`](crate::ErrorKind::Settings) where the lake cannot be written;
    /// [`Unreachable`](crate::ErrorKind::Unreachable) where the store fails.
    pub async fn open(lake: &Lake) -> Result<Self> {
        let run = uuid::Uuid::new_v4().simple().to_string();
        let location = lake.location();
        let staged = join(&location.prefix, &Path::from(STAGED));
        let local = location.directory().map(|directory| LocalLock::take(directory, &run)).transpose()?;
        let mut area = Self {
            prefix: join(&staged, &Path::from(run.as_str())),
            root: Arc::clone(&location.root),
            location: Arc::clone(&lake.location),
            writers: Arc::default(),
            silent_for: location.silent_for,
            sparing: Sparing { opened: DateTime::UNIX_EPOCH, since: Instant::now(), spared_for: location.spared_for },
            all: staged,
            run,
            local,
        };
        area.sparing = match &area.local {
            // Whatever lies there is of a dead run if no other is alive.
            Some(local) if !local.has_company() => Sparing { spared_for: TimeDelta::zero(), ..area.sparing },
            Some(local) => Sparing { opened: local.opened(), ..area.sparing },
            None => Sparing { opened: area.remove_dead_on_store().await?, since: Instant::now(), ..area.sparing },
        };
        Ok(area)
    }

    /// The run's id.
    #[must_use]
    pub fn run(&self) -> &str {
        &self.run
    }

    /// Which orphan files this run's sweeps leave alone.
    pub(super) fn sparing(&self) -> Sparing {
        self.sparing
    }

    /// How many writers there have been; whoever opens one more counts it.
    pub(super) fn writers(&self) -> Arc<AtomicU32> {
        Arc::clone(&self.writers)
    }

    /// The prefix, in the store, at which something called `name` is staged.
    pub(super) fn prefix_for(&self, name: &str) -> Path {
        join(&self.prefix, &Path::from(name))
    }

    /// Removes everything that is still staged, but for listings with a checkpoint.
    pub async fn remove(self) {
        if self.local.is_none() {
            self.remove_but_checkpoints(&self.prefix).await;
        }
    }

    /// Forgets this run's checkpoint of the table called `table`, and those that dead runs left of it.
    pub(super) async fn forget(&self, table: &str) {
        let own = join(&self.prefix_for(table), &Path::from(CHECKPOINT));
        if let Err(error) = self.root.delete(&own).await
            && !matches!(error, object_store::Error::NotFound { .. })
        {
            tracing::warn!(%error, "a checkpoint that is of no use could not be removed");
        }
        for dead in self.dead_areas(table).await.unwrap_or_default() {
            remove_all(&self.root, &dead).await;
            if let (Some(local), Some(run)) = (&self.local, dead.parts().nth(self.all.parts().count())) {
                local.remove_if_empty(run.as_ref());
            }
        }
    }

    /// The parts of dead runs' areas that hold a checkpoint of the table called `table`.
    pub(super) async fn dead_areas(&self, table: &str) -> Result<Vec<Path>> {
        let refused = |error| store_error("what was staged cannot be listed", &error);
        let mut dead = Vec::new();
        for run in self.root.list_with_delimiter(Some(&self.all)).await.map_err(refused)?.common_prefixes {
            let part = join(&run, &Path::from(table));
            let checkpoint = join(&part, &Path::from(CHECKPOINT));
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

    /// What time it is by the store's own clock: the age of a marker that is written now is none.
    async fn now(&self) -> Result<DateTime<Utc>> {
        let refused = |error| store_error("the lake cannot be written", &error);
        let marker = self.prefix_for(MARKER);
        self.location.asked(self.root.put(&marker, "".into())).await.map_err(refused)?;
        Ok(self.root.head(&marker).await.map_err(refused)?.last_modified)
    }

    /// Proves that the store refuses to put what is there already, as commits need: the marker, once more.
    async fn prove_conditions(&self) -> Result<()> {
        let new = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        let marker = self.prefix_for(MARKER);
        let why = match self.root.put_opts(&marker, "".into(), new).await {
            Err(object_store::Error::AlreadyExists { .. }) => return Ok(()),
            Err(error @ object_store::Error::NotImplemented { .. }) => error.to_string(),
            Err(error) => return Err(store_error("the lake cannot be written", &error)),
            Ok(_) => "it puts an object in place of another although it is asked not to (If-None-Match)".to_owned(),
        };
        // Whatever becomes of it: it is a marker, which the next run removes.
        let _ = self.root.delete(&marker).await;
        Err(Error::settings(format!("the store cannot keep two runs apart: {why}"))
            .with_hint("use one with conditional writes, such as S3, MinIO or R2; leave AWS_CONDITIONAL_PUT alone"))
    }

    /// Removes areas whose runs are dead beyond doubt, and checkpoints that are too old. This is also the proof
    /// that the store can be written. Returns what time it is by the store's clock.
    async fn remove_dead_on_store(&self) -> Result<DateTime<Utc>> {
        let refused = |error| store_error("what was staged cannot be listed", &error);
        let now = self.now().await?;
        self.prove_conditions().await?;
        for run in self.root.list_with_delimiter(Some(&self.all)).await.map_err(refused)?.common_prefixes {
            let objects: Vec<_> = self.root.list(Some(&run)).try_collect().await.map_err(refused)?;
            let silent_for = |span| objects.iter().all(|object| now - object.last_modified > span);
            if silent_for(RESUMABLE_FOR) {
                remove_all(&self.root, &run).await;
            } else if silent_for(DEAD_AFTER) {
                self.remove_but_checkpoints(&run).await;
            }
        }
        Ok(now)
    }

    /// Removes what lies in the area at `run`, but for tables' parts that hold a checkpoint.
    async fn remove_but_checkpoints(&self, run: &Path) {
        let Ok(parts) = self.root.list_with_delimiter(Some(run)).await else { return };
        for part in parts.common_prefixes {
            let checkpoint = join(&part, &Path::from(CHECKPOINT));
            if matches!(self.root.head(&checkpoint).await, Err(object_store::Error::NotFound { .. })) {
                remove_all(&self.root, &part).await;
            }
        }
        for object in parts.objects {
            // A marker; the next run that finds it removes it.
            let _ = self.root.delete(&object.location).await;
        }
    }
}

async fn remove_all(root: &Arc<dyn ObjectStore>, prefix: &Path) {
    let paths = root.list(Some(prefix)).map_ok(|object| object.location).boxed();
    let removed: Vec<_> = root.delete_stream(paths).collect().await;
    let absent = |error: &object_store::Error| matches!(error, object_store::Error::NotFound { .. });
    if let Some(error) = removed.into_iter().filter_map(std::result::Result::err).find(|error| !absent(error)) {
        tracing::warn!(%prefix, %error, "staged files could not be removed; a later run will");
    }
}
