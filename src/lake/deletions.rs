//! The rows that a diff deletes, and those that it inserts again.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Schema;
use futures::{Stream, TryStreamExt};

use super::diff::Diff;
use super::identity::{Key, KeyHasher, rows_where};
use super::rows::{Committed, failed};
use super::table::Table;
use crate::error::{Error, Result};
use crate::table::conform;

impl Table {
    /// Returns the rows that `diff` deletes, with these columns and the types of the table's definition. The columns must
    /// include the key.
    ///
    /// # Errors
    /// [`Unreachable`](crate::ErrorKind::Unreachable) if the store fails.
    pub async fn deleted_rows(
        &self,
        diff: &Diff,
        columns: &'static [&'static str],
    ) -> Result<impl Stream<Item = Result<RecordBatch>>> {
        let hasher = KeyHasher::new(self.spec)?;
        // If so many rows change that the keys are not held, the staged rows are all rows that stay.
        let staying: HashSet<Key> =
            if diff.is_overwrite { self.staged_keys(diff, &hasher, |_| true).await? } else { HashSet::new() };
        let is_deleted = move |key: &Key| {
            if diff.is_overwrite {
                !staying.contains(key)
            } else {
                diff.outdated.contains(key) && !diff.is_changed(key)
            }
        };
        let files = (!diff.is_overwrite).then_some(&diff.touched);
        let rows = self.committed(Committed { columns: Some(columns), filter: None, files }).await?;
        let types = self.spec.schema();
        let fields = columns.iter().map(|name| types.field_with_name(name).cloned());
        let fields: Vec<_> =
            fields.collect::<std::result::Result<_, _>>().map_err(|error| Error::bug(error.to_string()))?;
        let schema = Arc::new(Schema::new(fields));
        let deleted = move |batch: RecordBatch| {
            let keys = hasher.keys(&self.keys_of(&batch)?)?;
            rows_where(&conform(&batch, &schema)?, &keys, &is_deleted)
        };
        Ok(rows.map_err(|error| failed(&error)).and_then(move |batch| std::future::ready(deleted(batch))))
    }

    /// Returns the keys of all rows. The table's key must be a single text column.
    ///
    /// # Errors
    /// [`Unreachable`](crate::ErrorKind::Unreachable) if the store fails.
    pub async fn text_keys(&self) -> Result<Vec<String>> {
        let mut keys = Vec::new();
        let mut rows = self.committed(Committed { columns: Some(self.spec.key), ..Committed::default() }).await?;
        while let Some(batch) = rows.try_next().await.map_err(|error| failed(&error))? {
            let batch = self.keys_of(&batch)?;
            let column = batch.column(0).as_string_opt::<i32>();
            let column = column.ok_or_else(|| Error::bug(format!("the key of {} is not text", self.spec.name)))?;
            keys.extend(column.iter().flatten().map(str::to_owned));
        }
        Ok(keys)
    }

    /// Returns those of `ids` whose rows `diff` inserts. The table's key must be a single text column.
    ///
    /// # Errors
    /// [`Unreachable`](crate::ErrorKind::Unreachable) if the store fails.
    pub async fn inserted_among(&self, diff: &Diff, ids: &[String]) -> Result<Vec<String>> {
        let hasher = KeyHasher::new(self.spec)?;
        let keys = hasher.keys_of_text(ids)?;
        let wanted: HashSet<Key> = keys.iter().copied().collect();
        let staged = match &diff.changed {
            Some(changed) => wanted.intersection(changed).copied().collect(),
            None => self.staged_keys(diff, &hasher, |key| wanted.contains(key)).await?,
        };
        let is_inserted = |key: &Key| staged.contains(key) && !diff.outdated.contains(key);
        Ok(ids.iter().zip(keys).filter(|(_, key)| is_inserted(key)).map(|(id, _)| id.clone()).collect())
    }

    /// Returns the keys of the staged rows that are `wanted`.
    async fn staged_keys(
        &self,
        diff: &Diff,
        hasher: &KeyHasher,
        wanted: impl Fn(&Key) -> bool,
    ) -> Result<HashSet<Key>> {
        let mut keys = HashSet::new();
        let mut rows = self.all_staged(&diff.staged, Some(self.spec.key)).await?;
        while let Some(batch) = rows.try_next().await.map_err(|error| failed(&error))? {
            keys.extend(hasher.keys(&self.keys_of(&batch)?)?.into_iter().filter(&wanted));
        }
        Ok(keys)
    }
}
