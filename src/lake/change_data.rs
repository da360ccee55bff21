//! The location and the columns of a table's change data.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use object_store::path::Path;

use crate::table::TableSpec;

/// The directory of change data files, inside the table's directory.
pub(super) const CHANGE_DATA: &str = "_change_data";

/// The column that says whether the row was inserted, updated or deleted.
pub(super) const CHANGE_TYPE: &str = "_change_type";

/// Returns the Arrow field of [`CHANGE_TYPE`].
pub(super) fn change_type() -> FieldRef {
    Arc::new(Field::new(CHANGE_TYPE, DataType::Utf8, true))
}

/// Returns the schema of a table's change data.
pub(super) fn schema_of_changes(spec: &TableSpec) -> SchemaRef {
    let schema = spec.schema();
    Arc::new(Schema::new(schema.fields().iter().cloned().chain([change_type()]).collect::<Vec<_>>()))
}

/// Returns whether `path`, relative to a table, is in the directory of change data files.
pub(super) fn is_change_data(path: &Path) -> bool {
    path.parts().next().is_some_and(|part| part.as_ref() == CHANGE_DATA)
}
