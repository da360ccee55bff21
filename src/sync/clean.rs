//! Cleans lakes written by an earlier version, which stored more of the JSON of rejected rows than is allowed now. The
//! first sync by this version cleans them once, including old table versions and resume points.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, StringArray};
use futures::TryStreamExt;
use serde_json::Value;

use super::run::Run;
use crate::error::{Error, Result};
use crate::lake::{CommitDetails, Counts, Coverage};
use crate::query;
use crate::resource::json::storable;
use crate::resource::{REJECTED_ROWS, TABLES};
use crate::table::conform;

/// The commit position which marks the table of rejected rows as clean, by the rules of the version with this number.
pub(super) const CLEANED: (&str, i64) = ("clerk-lake.cleaned", 1);

impl Run<'_> {
    /// Cleans the rejected rows in the lake and in the resume points of interrupted runs.
    pub(super) async fn clean_rejected_rows(&self) -> Result<()> {
        let is_unclean = |set_aside: &Value| {
            let rows = set_aside.as_array().into_iter().flatten();
            rows.filter_map(|row| row.get("raw")?.as_str()).any(|raw| storable(raw) != raw)
        };
        for spec in TABLES {
            if let Ok(table) = self.lake.table(spec).await {
                table.forget_unclean(&self.area, is_unclean).await?;
            }
        }
        let table = self.lake.table(&REJECTED_ROWS).await?;
        if !table.exists() || table.position(CLEANED.0).await? == Some(CLEANED.1) {
            return Ok(());
        }
        self.rewrite_rejected_rows().await
    }

    async fn rewrite_rejected_rows(&self) -> Result<()> {
        let mut table = self.open(&REJECTED_ROWS).await?;
        let context = self.lake.context();
        context.register_table(REJECTED_ROWS.name, table.provider().await?).map_err(|error| query::failed(&error))?;
        let frame = context.table(REJECTED_ROWS.name).await.map_err(|error| query::failed(&error))?;
        let mut rows = frame.execute_stream().await.map_err(|error| query::failed(&error))?;
        let (mut writer, mut counts, mut seen) = (table.writer()?, Counts::default(), HashSet::new());
        while let Some(batch) = rows.try_next().await.map_err(|error| query::failed(&error))? {
            let (clean, changed) = cleaned(&batch, &mut seen)?;
            counts.updated += changed;
            counts.deleted += (batch.num_rows() - clean.num_rows()) as u64;
            writer.write_stamped(conform(&clean, &REJECTED_ROWS.schema())?).await?;
        }
        let is_clean = counts == Counts::default();
        let change =
            CommitDetails { watermark: None, ..self.change_of("clean", 0) }.with_position(CLEANED.0, CLEANED.1);
        let diff = table.diff(writer.finish().await?, Coverage::Complete).await?;
        table.commit_diff(diff, change).await?.committed(REJECTED_ROWS.name)?;
        if !is_clean {
            table.purge_past().await?;
            self.sync.progress.warn(&format!(
                "{}: {} rows written by an earlier version held fields that must not be stored; they were cleaned, and \
                 the old table versions deleted",
                REJECTED_ROWS.name, counts.updated
            ));
        }
        Ok(())
    }
}

/// Returns the rows of `batch` without the parts that must not be stored, each key once, and how many of them changed.
fn cleaned(batch: &RecordBatch, seen: &mut HashSet<(String, String)>) -> Result<(RecordBatch, u64)> {
    let batch = conform(batch, &REJECTED_ROWS.schema())?;
    let column = |name: &str| -> Result<Vec<String>> {
        let text = batch.column_by_name(name).and_then(|column| column.as_string_opt::<i32>());
        let text = text.ok_or_else(|| Error::bug(format!("the rejected rows have no column {name}")))?;
        Ok(text.iter().map(|text| text.unwrap_or_default().to_owned()).collect())
    };
    let (resources, old) = (column("resource")?, [column("row")?, column("raw")?, column("reason")?]);
    let clean_row = |row: &String| if row.starts_with('{') { storable(row) } else { row.clone() };
    let new = [
        old[0].iter().map(clean_row).collect::<Vec<_>>(),
        old[1].iter().map(|raw| if raw.is_empty() { String::new() } else { storable(raw) }).collect(),
        old[2].iter().map(|reason| without_values(reason)).collect(),
    ];
    let changed = (0..batch.num_rows()).filter(|at| (0..3).any(|column| old[column][*at] != new[column][*at])).count();
    let there = batch.schema();
    let columns = there.fields().iter().zip(batch.columns()).map(|(field, column)| {
        let at = ["row", "raw", "reason"].iter().position(|name| name == field.name());
        at.map_or_else(|| Arc::clone(column), |at| Arc::new(StringArray::from(new[at].clone())) as ArrayRef)
    });
    let columns: Vec<_> = columns.collect();
    let bug = |error: arrow::error::ArrowError| Error::bug(error.to_string());
    let fresh: Vec<bool> = resources.into_iter().zip(&new[0]).map(|(it, row)| seen.insert((it, row.clone()))).collect();
    let clean = RecordBatch::try_new(there, columns).map_err(bug)?;
    let clean = arrow::compute::filter_record_batch(&clean, &fresh.into()).map_err(bug)?;
    Ok((clean, changed as u64))
}

/// Returns `reason` without the values that it quotes from the row.
fn without_values(reason: &str) -> String {
    match (reason.find('"'), reason.rfind('"')) {
        (Some(first), Some(last)) if first < last => format!("{}…{}", &reason[..first], &reason[last + 1..]),
        _ => reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_values_are_removed_from_a_reason() {
        let reason = "invalid type: string \"123-45\", expected a boolean at line 1 column 9";
        assert_eq!(without_values(reason), "invalid type: string …, expected a boolean at line 1 column 9");
        assert_eq!(without_values("missing field `id`"), "missing field `id`");
    }
}
