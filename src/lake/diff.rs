//! What staged rows change in a table: rows inserted, updated and deleted, and the data files that hold those that go.
//!
//! The staged side is held in memory by a hash of each row's key and one of its content; the table streams by. Where more rows are staged than fit, both sides are read once for each slice of the keys.

use std::collections::HashSet;
use std::ops::Range;

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::TimestampMicrosecondType;
use futures::TryStreamExt;

use super::change::Counts;
use super::rows::{Committed, Key, KeyHasher, contents, failed, file_name, file_names};
use super::table::Table;
use super::writer::StagedRows;
use crate::error::{Error, Result};
use crate::table::conform;

/// The column by which [`Coverage::Within`] goes.
pub(super) const CREATED_AT: &str = "created_at";

/// How many staged rows are compared at a time: 32 bytes for each.
const SLICE: u64 = 2_000_000;

/// How many, if only their keys are read, which costs little to do again.
const SLICE_OF_KEYS: u64 = 500_000;

/// Up to so many staged keys are looked for by name, so that only their rows are decoded.
const LOOKED_UP: u64 = 500;

/// Which rows of a table the staged ones stand for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Coverage {
    /// All rows: one that is not staged is deleted.
    Complete,
    /// All rows with a `created_at` in this range (Unix microseconds), and others: one in the range that is not staged
    /// is deleted.
    Within(Range<i64>),
    /// Themselves: a row that is not staged stays.
    Partial,
    /// New rows: one whose key the table has already is left as the table has it.
    Insertions,
}

/// What staged rows change in the version of a table that they were compared with.
#[derive(Debug)]
pub struct Diff {
    pub(super) staged: StagedRows,
    /// The keys of the staged rows that are new or differ; none: all of them.
    pub(super) changed: Option<HashSet<Key>>,
    /// The keys of the table's rows that are deleted or replaced.
    pub(super) outdated: HashSet<Key>,
    /// The names of the data files that hold them.
    pub(super) touched: HashSet<String>,
    /// Whether the staged rows are all that the table is to have.
    pub(super) is_complete: bool,
    /// Whether so much changes that the keys are not worth remembering: the staged rows replace the table's.
    pub(super) is_overwrite: bool,
    /// Whether a staged row is not to be committed, because it has been deleted since.
    pub(super) drops_staged: bool,
    pub(super) counts: Counts,
}

impl Diff {
    /// Rows whose keys the table lacks, as whoever staged them knows.
    #[must_use]
    pub fn of_new(staged: StagedRows) -> Self {
        Self {
            counts: Counts { inserted: staged.rows, ..Counts::default() },
            changed: None,
            outdated: HashSet::new(),
            touched: HashSet::new(),
            is_complete: false,
            is_overwrite: false,
            drops_staged: false,
            staged,
        }
    }

    /// How many rows it inserts, updates and deletes.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Whether the staged row with this key is new or differs.
    pub(super) fn is_changed(&self, key: &Key) -> bool {
        self.changed.as_ref().is_none_or(|changed| changed.contains(key))
    }

    /// Forgets the staged row with this key: it has been deleted since.
    fn drop_staged(&mut self, key: &Key) {
        if !self.changed.as_mut().is_some_and(|changed| changed.remove(key)) {
            return;
        }
        self.drops_staged = true;
        if self.outdated.contains(key) {
            self.counts.updated -= 1;
            self.counts.deleted += 1;
        } else {
            self.counts.inserted -= 1;
        }
    }

    /// Whether every staged row is new or differs.
    pub(super) fn changes_all(&self) -> bool {
        self.changed.as_ref().is_none_or(|changed| changed.len() as u64 == self.staged.rows)
    }
}

impl Table {
    /// Compares `staged` rows with the version that the table is open at.
    ///
    /// # Errors
    /// [`Bug`](crate::ErrorKind::Bug) if two staged rows share a key, or not all of them can be read back;
    /// [`Unreachable`](crate::ErrorKind::Unreachable) if the store fails.
    pub async fn diff(&self, staged: StagedRows, coverage: Coverage) -> Result<Diff> {
        let reads_content = self.file_count() > 0 && coverage != Coverage::Insertions;
        let most = if reads_content { SLICE } else { SLICE_OF_KEYS };
        let slices = staged.rows.div_ceil(most).max(1);
        self.diff_in_slices(staged, &coverage, slices).await
    }

    async fn diff_in_slices(&self, staged: StagedRows, coverage: &Coverage, slices: u64) -> Result<Diff> {
        let start = tokio::time::Instant::now();
        let mut comparison = Comparison::new(self, coverage)?;
        for slice in 0..slices {
            let rows = comparison.staged_slice(&staged, slice, slices).await?;
            comparison.compare(rows, slice, slices).await?;
        }
        let diff = comparison.into_diff(staged);
        let elapsed_ms = start.elapsed().as_millis();
        tracing::debug!(table = self.spec.name, elapsed_ms, counts = ?diff.counts, "compared with the table");
        Ok(diff)
    }

    /// Adds to `diff` that the rows with these keys, which must be one column, are deleted, even if they are staged. Keys
    /// that neither side has are passed over.
    ///
    /// # Errors
    /// [`Unreachable`](crate::ErrorKind::Unreachable) if the store fails.
    pub async fn delete_too(&self, diff: &mut Diff, ids: &[String]) -> Result<()> {
        if diff.is_overwrite {
            return Err(Error::bug("rows are deleted from a diff that replaces all of them"));
        }
        let hasher = KeyHasher::new(self.spec)?;
        for ids in ids.chunks(1000) {
            for key in hasher.keys_of_text(ids)? {
                diff.drop_staged(&key);
            }
            let filter = Some(self.key_is_one_of(ids.iter().map(String::as_str))?);
            let mut rows = self.committed(Committed { columns: Some(self.spec.key), filter, files: None }).await?;
            while let Some(batch) = rows.try_next().await.map_err(|error| failed(&error))? {
                for (key, file) in hasher.keys(&self.keys_of(&batch)?)?.into_iter().zip(file_names(&batch)?) {
                    if diff.outdated.insert(key) {
                        diff.counts.deleted += 1;
                        diff.touched.insert(file);
                    }
                }
            }
        }
        Ok(())
    }

    /// The key columns of `batch`, in the table's own types.
    pub(super) fn keys_of(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let schema = self.spec.schema();
        let at = self.spec.key.iter().map(|name| schema.index_of(name)).collect::<Result<Vec<_>, _>>();
        let keys = at.and_then(|at| schema.project(&at)).map_err(|error| Error::bug(error.to_string()))?;
        conform(batch, &keys.into())
    }
}

/// A staged row.
struct Entry {
    key: Key,
    content: u64,
}

/// The staged rows of one slice in the order of their keys, and what the table has of each.
struct Slice {
    entries: Vec<Entry>,
    found: Vec<Found>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Nothing,
    Same,
    Other,
}

impl Slice {
    fn position(&self, key: &Key) -> Option<usize> {
        self.entries.binary_search_by(|entry| entry.key.cmp(key)).ok()
    }
}

struct Comparison<'a> {
    table: &'a Table,
    coverage: &'a Coverage,
    hasher: KeyHasher,
    /// So many keys are remembered of a complete comparison; beyond that all is replaced.
    most: usize,
    /// How many staged rows were read back.
    read: u64,
    /// The staged keys themselves, as long as they are few.
    names: Option<Vec<String>>,
    changed: HashSet<Key>,
    outdated: HashSet<Key>,
    touched: HashSet<String>,
    is_overwrite: bool,
    counts: Counts,
}

impl<'a> Comparison<'a> {
    fn new(table: &'a Table, coverage: &'a Coverage) -> Result<Self> {
        let most = if *coverage == Coverage::Complete && !table.records_changes() {
            usize::try_from(table.rows() / 2).unwrap_or(usize::MAX)
        } else {
            usize::MAX
        };
        Ok(Self {
            table,
            coverage,
            hasher: KeyHasher::new(table.spec)?,
            most,
            read: 0,
            names: None,
            changed: HashSet::new(),
            outdated: HashSet::new(),
            touched: HashSet::new(),
            is_overwrite: false,
            counts: Counts::default(),
        })
    }

    /// Whether the content of rows matters: not where all of them are new, or only their keys count.
    fn reads_content(&self) -> bool {
        self.table.file_count() > 0 && *self.coverage != Coverage::Insertions
    }

    async fn staged_slice(&mut self, staged: &StagedRows, slice: u64, slices: u64) -> Result<Slice> {
        let reads_content = self.reads_content();
        let columns = if reads_content { None } else { Some(self.table.spec.key) };
        let is_looked_up = slices == 1 && staged.rows <= LOOKED_UP && self.coverage_is_partial();
        let mut names = is_looked_up.then(Vec::new);
        let mut entries = Vec::with_capacity(usize::try_from(staged.rows / slices).unwrap_or(0));
        let mut read = 0;
        let mut rows = self.table.all_staged(staged, columns).await?;
        while let Some(batch) = rows.try_next().await.map_err(|error| failed(&error))? {
            read += batch.num_rows() as u64;
            let keys = self.hasher.keys(&self.table.keys_of(&batch)?)?;
            let contents = if reads_content {
                contents(&conform(&batch, &self.table.spec.schema())?)?
            } else {
                vec![0; keys.len()]
            };
            let entry = |(key, content)| Entry { key, content };
            entries.extend(keys.into_iter().zip(contents).map(entry).filter(|entry| is_of(entry.key, slice, slices)));
            if let Some(names) = &mut names {
                take_names(self.table.spec.key, &batch, names);
            }
        }
        if read != staged.rows {
            return Err(Error::bug(format!(
                "{} rows of {} were staged, and {read} can be read",
                staged.rows, self.table.spec.name
            )));
        }
        self.read = read;
        self.names = names.filter(|names| names.len() as u64 == staged.rows);
        entries.sort_unstable_by_key(|entry| entry.key);
        if entries.windows(2).any(|pair| pair[0].key == pair[1].key) {
            return Err(Error::bug(format!("two staged rows of {} share a key", self.table.spec.name)));
        }
        let found = vec![Found::Nothing; entries.len()];
        Ok(Slice { entries, found })
    }

    fn coverage_is_partial(&self) -> bool {
        matches!(self.coverage, Coverage::Partial | Coverage::Insertions)
    }

    async fn compare(&mut self, mut slice: Slice, number: u64, slices: u64) -> Result<()> {
        if self.table.file_count() > 0 && (self.read > 0 || !self.coverage_is_partial()) {
            let filter = self.names.take().map(|names| self.table.key_is_one_of(names.iter().map(String::as_str)));
            let columns = if self.reads_content() { None } else { Some(self.table.spec.key) };
            let mut rows =
                self.table.committed(Committed { columns, filter: filter.transpose()?, files: None }).await?;
            while let Some(batch) = rows.try_next().await.map_err(|error| failed(&error))? {
                self.take_committed(&batch, &mut slice, number, slices)?;
            }
        }
        if self.table.file_count() == 0 {
            self.counts.inserted += slice.entries.len() as u64;
            return Ok(());
        }
        for (entry, found) in slice.entries.iter().zip(&slice.found) {
            match found {
                Found::Nothing => self.counts.inserted += 1,
                Found::Other => self.counts.updated += 1,
                Found::Same => continue,
            }
            self.note_changed(entry.key);
        }
        Ok(())
    }

    /// Compares rows of the table with the staged ones of this slice.
    fn take_committed(&mut self, batch: &RecordBatch, slice: &mut Slice, number: u64, slices: u64) -> Result<()> {
        let keys = self.hasher.keys(&self.table.keys_of(batch)?)?;
        let places: Vec<Option<usize>> = keys.iter().map(|key| slice.position(key)).collect();
        let covered = self.covered(batch)?;
        let goes = |at: usize| covered[at] && is_of(keys[at], number, slices) && places[at].is_none();
        let wanted: Vec<usize> = (0..keys.len()).filter(|at| places[*at].is_some() || goes(*at)).collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let mask: BooleanArray = (0..keys.len()).map(|at| Some(places[at].is_some() || goes(at))).collect();
        let rows = filter_record_batch(batch, &mask).map_err(|error| Error::bug(error.to_string()))?;
        let contents = if self.reads_content() {
            contents(&conform(&rows, &self.table.spec.schema())?)?
        } else {
            vec![0; wanted.len()]
        };
        let files = file_names(&rows)?;
        for ((at, content), file) in wanted.into_iter().zip(contents).zip(files) {
            let Some(place) = places[at] else {
                self.counts.deleted += 1;
                self.note_outdated(keys[at], file);
                continue;
            };
            let is_alone = slice.found[place] == Found::Nothing;
            if !is_alone {
                // The table has the key twice, which this program never leaves behind: wherever the other one is, both go.
                self.touched.extend(self.table.files().map(|file| file_name(&file.path).to_owned()));
            }
            let is_same = is_alone && slice.entries[place].content == content;
            slice.found[place] = if is_same { Found::Same } else { Found::Other };
            if !is_same {
                self.note_outdated(keys[at], file);
            }
        }
        Ok(())
    }

    /// Whether each row would be deleted if it were not staged.
    fn covered(&self, batch: &RecordBatch) -> Result<Vec<bool>> {
        Ok(match self.coverage {
            Coverage::Complete => vec![true; batch.num_rows()],
            Coverage::Partial | Coverage::Insertions => vec![false; batch.num_rows()],
            Coverage::Within(range) => {
                let created = batch.column_by_name(CREATED_AT);
                let created = created.and_then(|it| it.as_primitive_opt::<TimestampMicrosecondType>());
                let created = created.ok_or_else(|| Error::bug("rows that do not say when they were created"))?;
                created.iter().map(|at| at.is_some_and(|at| range.contains(&at))).collect()
            }
        })
    }

    fn note_outdated(&mut self, key: Key, file: String) {
        if !self.is_overwrite {
            self.outdated.insert(key);
            self.touched.insert(file);
            self.give_up_remembering();
        }
    }

    fn note_changed(&mut self, key: Key) {
        if !self.is_overwrite {
            self.changed.insert(key);
            self.give_up_remembering();
        }
    }

    fn give_up_remembering(&mut self) {
        if self.outdated.len().max(self.changed.len()) > self.most.max(1000) {
            self.is_overwrite = true;
            (self.outdated, self.changed, self.touched) = Default::default();
        }
    }

    fn into_diff(self, staged: StagedRows) -> Diff {
        Diff {
            changed: (!self.is_overwrite && self.table.file_count() > 0).then_some(self.changed),
            outdated: self.outdated,
            touched: self.touched,
            is_complete: *self.coverage == Coverage::Complete,
            is_overwrite: self.is_overwrite,
            drops_staged: false,
            counts: self.counts,
            staged,
        }
    }
}

/// Whether the row with this key belongs to this one of so many slices.
fn is_of(key: Key, slice: u64, slices: u64) -> bool {
    slices == 1 || key % u128::from(slices) == u128::from(slice)
}

/// Adds the keys of `batch` to `names`, if they are one column of text.
fn take_names(key: &[&str], batch: &RecordBatch, names: &mut Vec<String>) {
    let [key] = key else { return };
    let column = batch.column_by_name(key).and_then(|column| column.as_string_opt::<i32>());
    names.extend(column.into_iter().flatten().flatten().map(str::to_owned));
}

#[cfg(test)]
mod tests;
