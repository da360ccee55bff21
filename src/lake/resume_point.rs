//! Resume points: what a long listing has staged so far, so that the next run can resume it after a crash.
//!
//! A resume point is stored next to the staged files that it names, in its run's area. It is complete as soon as it is
//! written; staged files that it does not name are lost with the run. A later run resumes the listing of a dead run by
//! copying its files into its own area (a link on local disk, a copy inside the store on S3). This module does not
//! interpret the position: its meaning belongs to the code that reads the listing.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use deltalake::kernel::Add;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::area::RunArea;
use super::layout::{RESUME_POINT, STAGED, join};
use super::staged_rows::StagedRows;
use super::table::Table;
use super::{Lake, store_error};
use crate::error::{Error, Result};
use crate::table::TableSpec;

/// A resume point: staged rows, and the position of their listing.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ResumePoint {
    /// What must be equal for a later run to resume: the instance, the API address, the columns.
    pub source: Value,
    /// The watermark of the run that started the listing.
    pub watermark: DateTime<Utc>,
    /// The position of the listing.
    pub position: Value,
    /// The number of staged rows.
    pub rows: u64,
    /// The rejected rows.
    pub set_aside: Value,
    /// The share of the table's rows, 0 to 1, that committing these rows would have deleted, if the commit was refused
    /// for that reason. The listing is then complete, and waits for a run that allows such a share.
    #[serde(default)]
    pub refused_share: Option<f64>,
    segments: Vec<Segment>,
}

/// Closed files of one writer.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Segment {
    /// Relative to the table's directory in the run's area.
    place: String,
    rows: u64,
    adds: Vec<Add>,
}

impl ResumePoint {
    /// Returns a resume point for the rows in `staged`, whose listing is at `position`.
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

    fn is_usable(&self, watermark: Option<DateTime<Utc>>, source: &Value, max_shrink: f64) -> bool {
        let is_new = watermark.is_none_or(|watermark| self.watermark >= watermark);
        self.source == *source && is_new && self.refused_share.is_none_or(|share| share <= max_shrink)
    }
}

/// Returns the names and types of the table's columns. Another run can use staged rows only if these are equal.
#[must_use]
pub(crate) fn columns_of(spec: &TableSpec) -> Value {
    spec.schema().fields().iter().map(|field| format!("{}: {}", field.name(), field.data_type())).collect()
}

impl Table {
    /// Writes a listing's resume point. Replaces the one that this run wrote before.
    ///
    /// # Errors
    /// [`Unreachable`](crate::ErrorKind::Unreachable) if the store fails.
    pub async fn save_resume_point(&self, area: &RunArea, checkpoint: &ResumePoint) -> Result<()> {
        let bytes = serde_json::to_vec(checkpoint).map_err(|error| Error::bug(error.to_string()))?;
        let place = join(&area.prefix_for(self.spec.name), &Path::from(RESUME_POINT));
        let saved = self.lake.location().root.put(&place, bytes.into()).await;
        saved.map(|_| ()).map_err(|error| store_error("cannot write the resume point of the listing", &error))
    }

    /// Resumes the listing of a dead run: uses the resume point for this table that matches `source` and has the most
    /// rows, and stages its rows as if this run had read them. Returns `None` if there is none.
    ///
    /// A resume point that is older than the table's watermark is not used, nor is one that would delete a larger share
    /// of the table than `max_shrink`.
    ///
    /// # Errors
    /// [`Unreachable`](crate::ErrorKind::Unreachable) if the store fails.
    pub async fn resume_listing(
        &self,
        area: &RunArea,
        source: &Value,
        max_shrink: f64,
    ) -> Result<Option<(ResumePoint, Vec<StagedRows>)>> {
        for (place, mut checkpoint) in self.usable_checkpoints(area, source, max_shrink).await? {
            match self.copy_segments(area, &place, &mut checkpoint).await {
                Ok(staged) => {
                    self.save_resume_point(area, &checkpoint).await?;
                    return Ok(Some((checkpoint, staged)));
                }
                // Another run may be resuming it or removing it at the same time.
                Err(error) => tracing::info!(%error, "cannot use the staged files of an interrupted run"),
            }
        }
        Ok(None)
    }

    /// Returns whether [`Table::resume_listing`] would find a complete listing whose commit was refused and is allowed now.
    ///
    /// # Errors
    /// [`Unreachable`](crate::ErrorKind::Unreachable) if the store fails.
    pub async fn has_refused_listing(&self, area: &RunArea, source: &Value, max_shrink: f64) -> Result<bool> {
        let found = self.usable_checkpoints(area, source, max_shrink).await?;
        Ok(found.iter().any(|(_, checkpoint)| checkpoint.refused_share.is_some()))
    }

    /// Returns the resume point that [`Table::resume_listing`] would use, and changes nothing. Cannot tell whether the
    /// run that wrote it is still alive.
    ///
    /// # Errors
    /// [`Unreachable`](crate::ErrorKind::Unreachable) if the store fails.
    pub async fn find_resume_point(&self, source: &Value, max_shrink: f64) -> Result<Option<ResumePoint>> {
        let watermark = self.watermark().await?;
        let location = self.lake.location();
        let staged = join(&location.prefix, &Path::from(STAGED));
        let listed = location.root.list_with_delimiter(Some(&staged)).await;
        let runs = listed.map_err(|error| store_error("cannot list the staged files", &error))?.common_prefixes;
        let mut found: Option<ResumePoint> = None;
        for run in runs {
            let Some(point) = read(&self.lake, &join(&run, &Path::from(self.spec.name))).await else { continue };
            let is_longer = found.as_ref().is_none_or(|found| point.rows > found.rows);
            if is_longer && point.is_usable(watermark, source, max_shrink) {
                found = Some(point);
            }
        }
        Ok(found)
    }

    /// Returns the usable resume points of dead runs with their directories, the one with the most rows first.
    async fn usable_checkpoints(
        &self,
        area: &RunArea,
        source: &Value,
        max_shrink: f64,
    ) -> Result<Vec<(Path, ResumePoint)>> {
        let watermark = self.watermark().await?;
        let mut found = Vec::new();
        for place in area.dead_areas(self.spec.name).await? {
            let Some(checkpoint) = read(&self.lake, &place).await else { continue };
            if checkpoint.is_usable(watermark, source, max_shrink) {
                found.push((place, checkpoint));
            }
        }
        found.sort_by_key(|(_, checkpoint)| std::cmp::Reverse(checkpoint.rows));
        Ok(found)
    }

    /// Deletes this run's resume point of this table and those of dead runs, when they are no longer needed.
    pub async fn forget_checkpoints(&self, area: &RunArea) {
        area.forget(self.spec.name).await;
    }

    async fn copy_segments(
        &self,
        area: &RunArea,
        from: &Path,
        checkpoint: &mut ResumePoint,
    ) -> Result<Vec<StagedRows>> {
        let mut staged = Vec::new();
        for segment in &mut checkpoint.segments {
            let (place, prefix) = self.new_place(&area.prefix_for(self.spec.name));
            let mut files = Vec::new();
            for add in &mut segment.adds {
                let parse = |path: &str| Path::from_url_path(path).map_err(|error| Error::bug(error.to_string()));
                let old = parse(&add.path)?;
                // Use a new file name: the run that counts as dead may still commit its files under the old one.
                add.path = renamed(&add.path);
                let name = parse(&add.path)?;
                let (from, to) = (join(&join(from, &Path::from(segment.place.as_str())), &old), join(&prefix, &name));
                let copied = self.lake.location().root.copy(&from, &to).await;
                copied.map_err(|error| store_error("cannot copy the staged files of an interrupted run", &error))?;
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

/// Returns a path in the same directory as `path`, with a new unique file name.
fn renamed(path: &str) -> String {
    let directory = path.rfind('/').map_or("", |end| &path[..=end]);
    format!("{directory}part-00000-{}-c000.zstd.parquet", uuid::Uuid::new_v4())
}

/// Reads the resume point in the directory `place`. `None` if there is none or it cannot be read.
pub(super) async fn read(lake: &Lake, place: &Path) -> Option<ResumePoint> {
    let root = Arc::clone(&lake.location().root);
    let bytes = root.get(&join(place, &Path::from(RESUME_POINT))).await.ok()?.bytes().await.ok()?;
    serde_json::from_slice(&bytes).ok()
}
