//! What a long listing has staged so far, so that a run which comes after a crash goes on from there.
//!
//! A checkpoint lies beside the staged files that it names, in its run's area: it is complete when it is written,
//! and whatever is staged and not named by it is lost with the run. A later run takes a dead run's checkpoint
//! over by copying its files (a link on local disk, a copy inside the store on S3) into its own area. What the
//! position means is the reader's business.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use deltalake::kernel::Add;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::area::RunArea;
use super::layout::{CHECKPOINT, join};
use super::staged_rows::StagedRows;
use super::table::Table;
use super::{Lake, store_error};
use crate::error::{Error, Result};
use crate::table::TableSpec;

/// Staged rows and where their listing stood.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Checkpoint {
    /// What must be the same for a later run to go on: the instance, the address, the columns.
    pub source: Value,
    /// The watermark of the run that began it.
    pub watermark: DateTime<Utc>,
    /// Where the listing stood.
    pub position: Value,
    /// Rows staged.
    pub rows: u64,
    /// Rows that could not be read.
    pub set_aside: Value,
    /// The share of the table's rows, 0 to 1, that committing these rows would have removed, if that was refused: the
    /// listing is complete, and waits for a run that may remove as many.
    #[serde(default)]
    pub refused_share: Option<f64>,
    segments: Vec<Segment>,
}

/// Closed files of one writer.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Segment {
    /// Relative to the table's part of the run's area.
    place: String,
    rows: u64,
    adds: Vec<Add>,
}

impl Checkpoint {
    /// A checkpoint of what `staged` holds, whose listing stands at `position`.
    #[must_use]
    pub fn new(
        source: Value,
        watermark: DateTime<Utc>,
        position: Value,
        set_aside: Value,
        staged: &[StagedRows],
    ) -> Self {
        let segment =
            |staged: &StagedRows| Segment { place: staged.place.clone(), rows: staged.rows, adds: staged.adds.clone() };
        let rows = staged.iter().map(|staged| staged.rows).sum();
        let segments = staged.iter().map(segment).collect();
        Self { source, watermark, position, rows, set_aside, refused_share: None, segments }
    }
}

/// What says that rows staged by one run are of use to another: the columns they have.
#[must_use]
pub(crate) fn columns_of(spec: &TableSpec) -> Value {
    spec.schema().fields().iter().map(|field| format!("{}: {}", field.name(), field.data_type())).collect()
}

impl Table {
    /// Writes down how far a listing has come; replaces what this run wrote down before.
    ///
    /// # Errors
    /// [`Unreachable`](crate::ErrorKind::Unreachable) where the store fails.
    pub async fn save_checkpoint(&self, area: &RunArea, checkpoint: &Checkpoint) -> Result<()> {
        let bytes = serde_json::to_vec(checkpoint).map_err(|error| Error::bug(error.to_string()))?;
        let place = join(&area.prefix_for(self.spec.name), &Path::from(CHECKPOINT));
        let saved = self.lake.location().root.put(&place, bytes.into()).await;
        saved.map(|_| ()).map_err(|error| store_error("how far the listing has come could not be written down", &error))
    }

    /// Takes over the furthest checkpoint that a dead run has left for this table and that fits `source`: its
    /// rows are staged as if this run had read them. One that is older than the table's own watermark does not fit, nor
    /// does one that would remove a larger share of the table than `max_shrink`.
    ///
    /// # Errors
    /// [`Unreachable`](crate::ErrorKind::Unreachable) if the store fails.
    pub async fn take_over(
        &self,
        area: &RunArea,
        source: &Value,
        max_shrink: f64,
    ) -> Result<Option<(Checkpoint, Vec<StagedRows>)>> {
        for (place, mut checkpoint) in self.usable_checkpoints(area, source, max_shrink).await? {
            match self.copy_segments(area, &place, &mut checkpoint).await {
                Ok(staged) => {
                    self.save_checkpoint(area, &checkpoint).await?;
                    return Ok(Some((checkpoint, staged)));
                }
                // Another run may be taking it over, or clearing up.
                Err(error) => tracing::info!(%error, "what an interrupted run had staged cannot be used"),
            }
        }
        Ok(None)
    }

    /// Whether [`Table::take_over`] would find a complete listing whose commit was refused before and is allowed now.
    ///
    /// # Errors
    /// [`Unreachable`](crate::ErrorKind::Unreachable) if the store fails.
    pub async fn has_refused_listing(&self, area: &RunArea, source: &Value, max_shrink: f64) -> Result<bool> {
        let found = self.usable_checkpoints(area, source, max_shrink).await?;
        Ok(found.iter().any(|(_, checkpoint)| checkpoint.refused_share.is_some()))
    }

    /// The checkpoints of dead runs that fit, with the places where they lie, the furthest one first.
    async fn usable_checkpoints(
        &self,
        area: &RunArea,
        source: &Value,
        max_shrink: f64,
    ) -> Result<Vec<(Path, Checkpoint)>> {
        let watermark = self.watermark().await?;
        let mut found = Vec::new();
        for place in area.dead_areas(self.spec.name).await? {
            let Some(checkpoint) = read(&self.lake, &place).await else { continue };
            let is_new = watermark.is_none_or(|watermark| checkpoint.watermark >= watermark);
            let is_allowed = checkpoint.refused_share.is_none_or(|share| share <= max_shrink);
            if checkpoint.source == *source && is_new && is_allowed {
                found.push((place, checkpoint));
            }
        }
        found.sort_by_key(|(_, checkpoint)| std::cmp::Reverse(checkpoint.rows));
        Ok(found)
    }

    /// Forgets what this run has written down of this table, and what dead runs had: it is of no use any more.
    pub async fn forget_checkpoints(&self, area: &RunArea) {
        area.forget(self.spec.name).await;
    }

    async fn copy_segments(&self, area: &RunArea, from: &Path, checkpoint: &mut Checkpoint) -> Result<Vec<StagedRows>> {
        let mut staged = Vec::new();
        for segment in &mut checkpoint.segments {
            let (place, prefix) = self.new_place(&area.prefix_for(self.spec.name));
            let mut files = Vec::new();
            for add in &mut segment.adds {
                let parse = |path: &str| Path::from_url_path(path).map_err(|error| Error::bug(error.to_string()));
                let old = parse(&add.path)?;
                // A name of its own: the run that is taken for dead may yet publish its files under the old one.
                add.path = renamed(&add.path);
                let name = parse(&add.path)?;
                let (from, to) = (join(&join(from, &Path::from(segment.place.as_str())), &old), join(&prefix, &name));
                let copied = self.lake.location().root.copy(&from, &to).await;
                copied.map_err(|error| store_error("staged rows could not be taken over", &error))?;
                self.store.note_staged(name, to.clone());
                files.push(to);
            }
            segment.place = place;
            staged.push(StagedRows {
                keys: None,
                adds: segment.adds.clone(),
                files,
                place: segment.place.clone(),
                rows: segment.rows,
            });
        }
        Ok(staged)
    }
}

/// `path` with a file name of its own, in the same directory.
fn renamed(path: &str) -> String {
    let directory = path.rfind('/').map_or("", |end| &path[..=end]);
    format!("{directory}part-00000-{}-c000.zstd.parquet", uuid::Uuid::new_v4())
}

pub(super) async fn read(lake: &Lake, place: &Path) -> Option<Checkpoint> {
    let root = Arc::clone(&lake.location().root);
    let bytes = root.get(&join(place, &Path::from(CHECKPOINT))).await.ok()?.bytes().await.ok()?;
    serde_json::from_slice(&bytes).ok()
}
