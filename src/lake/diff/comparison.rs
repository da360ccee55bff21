//! The comparison that computes a diff: which staged rows are new, which differ, and which rows of the table are
//! deleted.

use std::collections::HashSet;

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::TimestampMicrosecondType;
use futures::TryStreamExt;

use super::outcome::{CREATED_AT, Coverage, Diff};
use crate::error::{Error, Result};
use crate::lake::change::Counts;
use crate::lake::identity::{Key, KeyHasher, contents};
use crate::lake::rows::{Committed, ahead, failed, file_name, file_names};
use crate::lake::staged_rows::StagedRows;
use crate::lake::table::Table;
use crate::table::conform;

/// The maximum number of staged keys that are looked up with a filter, so that only their rows are decoded.
const MAX_LOOKUP_KEYS: u64 = 500;

/// A staged row: the hashes of its key and its content.
struct StagedEntry {
    key: Key,
    content: u64,
}

/// The staged rows of one slice in the order of their keys, and what the table has for each.
pub(super) struct ComparedSlice {
    entries: Vec<StagedEntry>,
    found: Vec<Found>,
}

/// What the table has for a staged row: no row, the same content, or other content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Nothing,
    Same,
    Other,
}

impl ComparedSlice {
    fn position(&self, key: &Key) -> Option<usize> {
        self.entries.binary_search_by(|entry| entry.key.cmp(key)).ok()
    }
}

/// A comparison of staged rows with the rows of a table, one slice of the keys at a time.
pub(super) struct Comparison<'a> {
    table: &'a Table,
    coverage: &'a Coverage,
    hasher: KeyHasher,
    /// The maximum number of keys that are held in memory. If more rows change, the staged rows replace all rows.
    max_keys: usize,
    /// The number of staged rows that were read back.
    read: u64,
    /// The staged keys as text, if they are few.
    lookup_keys: Option<Vec<String>>,
    changed: HashSet<Key>,
    outdated: HashSet<Key>,
    touched: HashSet<String>,
    is_overwrite: bool,
    counts: Counts,
}

impl<'a> Comparison<'a> {
    pub(super) fn new(table: &'a Table, coverage: &'a Coverage) -> Result<Self> {
        let max_keys = if *coverage == Coverage::Complete && !table.records_changes() {
            usize::try_from(table.rows() / 2).unwrap_or(usize::MAX)
        } else {
            usize::MAX
        };
        Ok(Self {
            table,
            coverage,
            hasher: KeyHasher::new(table.spec)?,
            max_keys,
            read: 0,
            lookup_keys: None,
            changed: HashSet::new(),
            outdated: HashSet::new(),
            touched: HashSet::new(),
            is_overwrite: false,
            counts: Counts::default(),
        })
    }

    /// Returns whether the content of rows is compared. It is not if the table is empty or only the keys matter.
    fn reads_content(&self) -> bool {
        self.table.file_count() > 0 && *self.coverage != Coverage::Insertions
    }

    /// Reads the staged rows of one slice.
    pub(super) async fn staged_slice(&mut self, staged: &StagedRows, slice: u64, slices: u64) -> Result<ComparedSlice> {
        let reads_content = self.reads_content();
        let columns = if reads_content { None } else { Some(self.table.spec.key) };
        let is_looked_up = slices == 1 && staged.rows <= MAX_LOOKUP_KEYS && self.coverage_is_partial();
        let mut lookup_keys = is_looked_up.then(Vec::new);
        let mut entries = Vec::with_capacity(usize::try_from(staged.rows / slices).unwrap_or(0));
        let mut read = 0;
        let mut rows = ahead(self.table.all_staged(staged, columns).await?);
        while let Some(batch) = rows.try_next().await.map_err(|error| failed(&error))? {
            read += batch.num_rows() as u64;
            let keys = self.hasher.keys(&self.table.keys_of(&batch)?)?;
            let contents = if reads_content {
                contents(&conform(&batch, &self.table.spec.schema())?)?
            } else {
                vec![0; keys.len()]
            };
            let entry = |(key, content)| StagedEntry { key, content };
            entries.extend(
                keys.into_iter().zip(contents).map(entry).filter(|entry| is_in_slice(entry.key, slice, slices)),
            );
            if let Some(texts) = &mut lookup_keys {
                append_keys(self.table.spec.key, &batch, texts);
            }
        }
        if read != staged.rows {
            return Err(Error::bug(format!(
                "{} rows of {} were staged, but {read} can be read back",
                staged.rows, self.table.spec.name
            )));
        }
        self.read = read;
        self.lookup_keys = lookup_keys.filter(|texts| texts.len() as u64 == staged.rows);
        entries.sort_unstable_by_key(|entry| entry.key);
        if entries.windows(2).any(|pair| pair[0].key == pair[1].key) {
            return Err(Error::bug(format!("two staged rows of {} share a key", self.table.spec.name)));
        }
        let found = vec![Found::Nothing; entries.len()];
        Ok(ComparedSlice { entries, found })
    }

    fn coverage_is_partial(&self) -> bool {
        matches!(self.coverage, Coverage::Partial | Coverage::Insertions)
    }

    /// Compares the staged rows of slice `number` with the table.
    pub(super) async fn compare(&mut self, mut slice: ComparedSlice, number: u64, slices: u64) -> Result<()> {
        if self.table.file_count() > 0 && (self.read > 0 || !self.coverage_is_partial()) {
            let lookup_keys = self.lookup_keys.take();
            let filter = lookup_keys.map(|keys| self.table.key_is_one_of(keys.iter().map(String::as_str)));
            let columns = if self.reads_content() { None } else { Some(self.table.spec.key) };
            let rows = self.table.committed(Committed { columns, filter: filter.transpose()?, files: None }).await?;
            let mut rows = ahead(rows);
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

    /// Compares a batch of the table's rows with the staged rows of this slice.
    fn take_committed(
        &mut self,
        batch: &RecordBatch,
        slice: &mut ComparedSlice,
        number: u64,
        slices: u64,
    ) -> Result<()> {
        let keys = self.hasher.keys(&self.table.keys_of(batch)?)?;
        let places: Vec<Option<usize>> = keys.iter().map(|key| slice.position(key)).collect();
        let covered = self.covered(batch)?;
        let is_deleted = |at: usize| covered[at] && is_in_slice(keys[at], number, slices) && places[at].is_none();
        let wanted: Vec<usize> = (0..keys.len()).filter(|at| places[*at].is_some() || is_deleted(*at)).collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let mask: BooleanArray = (0..keys.len()).map(|at| Some(places[at].is_some() || is_deleted(at))).collect();
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
                // The table has the key twice, which this program never writes. It is not known which file holds the
                // other row, so all files count as touched and both rows are replaced.
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

    /// Returns, for each row, whether it is deleted if it is not staged.
    fn covered(&self, batch: &RecordBatch) -> Result<Vec<bool>> {
        Ok(match self.coverage {
            Coverage::Complete => vec![true; batch.num_rows()],
            Coverage::Partial | Coverage::Insertions => vec![false; batch.num_rows()],
            Coverage::Within(range) => {
                let created = batch.column_by_name(CREATED_AT);
                let created = created.and_then(|it| it.as_primitive_opt::<TimestampMicrosecondType>());
                let created = created.ok_or_else(|| Error::bug("rows without the column created_at"))?;
                created.iter().map(|at| at.is_some_and(|at| range.contains(&at))).collect()
            }
        })
    }

    fn note_outdated(&mut self, key: Key, file: String) {
        if !self.is_overwrite {
            self.outdated.insert(key);
            self.touched.insert(file);
            self.overwrite_if_too_many_keys();
        }
    }

    fn note_changed(&mut self, key: Key) {
        if !self.is_overwrite {
            self.changed.insert(key);
            self.overwrite_if_too_many_keys();
        }
    }

    /// Switches to an overwrite if more than `max_keys` keys are held, and more than 1,000.
    fn overwrite_if_too_many_keys(&mut self) {
        if self.outdated.len().max(self.changed.len()) > self.max_keys.max(1000) {
            self.is_overwrite = true;
            (self.outdated, self.changed, self.touched) = Default::default();
        }
    }

    pub(super) fn into_diff(self, staged: StagedRows) -> Diff {
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

/// Returns whether the row with this key belongs to slice number `slice` of `slices`.
fn is_in_slice(key: Key, slice: u64, slices: u64) -> bool {
    slices == 1 || key % u128::from(slices) == u128::from(slice)
}

/// Appends the keys of `batch` to `texts`, if the key is a single text column.
fn append_keys(key: &[&str], batch: &RecordBatch, texts: &mut Vec<String>) {
    let [key] = key else { return };
    let column = batch.column_by_name(key).and_then(|column| column.as_string_opt::<i32>());
    texts.extend(column.into_iter().flatten().flatten().map(str::to_owned));
}
