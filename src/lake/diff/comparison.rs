//! The comparison behind a diff: which staged rows are new, which differ, and which rows of the table go.

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

/// Up to so many staged keys are looked for by name, so that only their rows are decoded.
const LOOKED_UP: u64 = 500;

/// A staged row.
struct Entry {
    key: Key,
    content: u64,
}

/// The staged rows of one slice in the order of their keys, and what the table has of each.
pub(super) struct Slice {
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

/// A comparison of staged rows with a table's, a slice of the keys at a time.
pub(super) struct Comparison<'a> {
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
    pub(super) fn new(table: &'a Table, coverage: &'a Coverage) -> Result<Self> {
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

    pub(super) async fn staged_slice(&mut self, staged: &StagedRows, slice: u64, slices: u64) -> Result<Slice> {
        let reads_content = self.reads_content();
        let columns = if reads_content { None } else { Some(self.table.spec.key) };
        let is_looked_up = slices == 1 && staged.rows <= LOOKED_UP && self.coverage_is_partial();
        let mut names = is_looked_up.then(Vec::new);
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

    pub(super) async fn compare(&mut self, mut slice: Slice, number: u64, slices: u64) -> Result<()> {
        if self.table.file_count() > 0 && (self.read > 0 || !self.coverage_is_partial()) {
            let filter = self.names.take().map(|names| self.table.key_is_one_of(names.iter().map(String::as_str)));
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
