//! Prepares tables that were written by another version of this program or with other settings.
//!
//! New columns are added as NULL, without rewriting a row. A column that this version does not know means that a newer
//! version wrote the table, so this version must not write to it.

use arrow::datatypes::{DataType, FieldRef, Fields, Schema};
use deltalake::kernel::StructType;
use deltalake::kernel::engine::arrow_conversion::{TryIntoArrow, TryIntoKernel};
use deltalake::kernel::transaction::CommitProperties;

use super::commit::Base;
use super::table::{RUN_INFO, Table};
use crate::error::{Error, ErrorKind, Result};

impl Table {
    /// Prepares a table that is open for writing for the rows of this version of the program.
    ///
    /// Replaces damaged checkpoints, adds missing columns, switches the change data feed on or off if the settings say
    /// so, records the retention, and removes orphan files ([`Table::sweep`]). Returns the number of orphan files
    /// removed.
    ///
    /// # Errors
    /// [`Settings`](ErrorKind::Settings) if a newer version wrote the table;
    /// [`Conflict`](ErrorKind::Conflict) if another run commits at the same time;
    /// [`Unreachable`](ErrorKind::Unreachable) if the store fails.
    pub async fn make_ready(&mut self) -> Result<usize> {
        self.mend_checkpoints().await?;
        self.add_new_columns().await?;
        Box::pin(self.switch_feed()).await?;
        Box::pin(self.note_history()).await?;
        self.sweep().await
    }

    async fn add_new_columns(&mut self) -> Result<()> {
        let Ok(state) = self.delta.snapshot() else { return Ok(()) };
        let kernel = state.schema();
        let stored: Schema = kernel.as_ref().try_into_arrow().map_err(|error| Error::bug(error.to_string()))?;
        let own = self.spec.schema();
        if let Some(unknown) = unknown_field(stored.fields(), own.fields()) {
            return Err(Error::new(
                ErrorKind::Settings,
                format!(
                    "the table {} in {} has the column {unknown}, which this version does not know; nothing was written",
                    self.spec.name,
                    self.lake.location()
                ),
            )
            .with_hint("update clerk-lake: a newer version wrote this lake"));
        }
        // A struct that lacks a field is merged with the new one.
        let has_new = |field: &&FieldRef| unknown_field(&[FieldRef::clone(field)], stored.fields()).is_some();
        let new: Vec<_> = own.fields().iter().filter(has_new).cloned().collect();
        if new.is_empty() {
            return Ok(());
        }
        let bug = |error: arrow::error::ArrowError| Error::bug(error.to_string());
        let added: StructType = (&Schema::new(new)).try_into_kernel().map_err(bug)?;
        let added: Vec<_> = added.fields().cloned().collect();
        let base = Base::of(self);
        let info = serde_json::json!({ "mode": "new columns" });
        let once = CommitProperties::default().with_max_retries(0).with_metadata([(RUN_INFO.to_owned(), info)]);
        let done = self.delta.clone().add_columns().with_fields(added).with_commit_properties(once).await;
        self.settle(base, done.map(|_| ())).await?.committed(self.spec.name)?;
        tracing::info!(table = self.spec.name, "added new columns; a row gets their values when it is next written");
        Ok(())
    }
}

/// Returns the path of a field that `known` does not have, fields of structs and of lists of structs included; `None` if
/// it has them all.
fn unknown_field(fields: &[FieldRef], known: &Fields) -> Option<String> {
    fields.iter().find_map(|field| {
        let Some((_, own)) = known.find(field.name()) else { return Some(field.name().clone()) };
        let nested = unknown_field(nested_fields(field.data_type())?, nested_fields(own.data_type())?)?;
        Some(format!("{}.{nested}", field.name()))
    })
}

/// Returns the fields of a struct or of a list of structs; `None` for any other type.
fn nested_fields(data_type: &DataType) -> Option<&Fields> {
    match data_type {
        DataType::Struct(fields) => Some(fields),
        DataType::List(element) | DataType::LargeList(element) => nested_fields(element.data_type()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::Field;

    use super::*;

    #[test]
    fn fields_of_structs_in_lists_are_compared_by_their_path() {
        let text = |name: &str| Field::new(name, DataType::Utf8, true);
        let entry = |fields: Vec<Field>| DataType::Struct(fields.into());
        let list = |of: DataType| Field::new("list", DataType::List(Field::new("element", of, true).into()), true);
        let before = Fields::from(vec![text("id"), list(entry(vec![text("a")]))]);
        let after = Fields::from(vec![text("id"), list(entry(vec![text("a"), text("b")])), text("new")]);
        assert_eq!(unknown_field(&before, &after), None);
        assert_eq!(unknown_field(&after, &before).as_deref(), Some("list.b"));
        assert_eq!(unknown_field(&after[2..], &before).as_deref(), Some("new"));
    }
}
