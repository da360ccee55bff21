//! Where a table's recorded changes lie, and what columns they have.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use object_store::path::Path;

use crate::table::TableSpec;

/// The directory of change data files, in a table's own.
pub(super) const CHANGE_DATA: &str = "_change_data";

/// The column that says what became of a row.
pub(super) const CHANGE_TYPE: &str = "_change_type";

/// The field of [`CHANGE_TYPE`].
pub(super) fn change_type() -> FieldRef {
    Arc::new(Field::new(CHANGE_TYPE, DataType::Utf8, true))
}

/// The columns of a table's change data.
pub(super) fn schema_of_changes(spec: &TableSpec) -> SchemaRef {
    let schema = spec.schema();
    Arc::new(Schema::new(schema.fields().iter().cloned().chain([change_type()]).collect::<Vec<_>>()))
}

/// Whether `path`, relative to a table, lies where change data files do.
pub(super) fn is_change_data(path: &Path) -> bool {
    path.parts().next().is_some_and(|part| part.as_ref() == CHANGE_DATA)
}
