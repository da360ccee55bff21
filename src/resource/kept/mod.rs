//! Rows that are described by a list of the fields to keep.
//!
//! The list is the only description of such a row. The columns of the table follow from it, and so does the decoder: it
//! first reduces each row to the fields in the list, and then reads the columns from the reduced row. What is not in the
//! list therefore reaches neither a column nor a rejected row.

mod decode;

use super::json::{FieldType, RowFields};
use crate::table::{Column, Shape, TableSpec};

pub(super) use decode::{decode_object, decode_rows};

/// A field of Clerk's object that is kept, and the column that holds it.
#[derive(Clone, Copy, Debug)]
pub(super) struct KeptField {
    /// Path of the field in the object. A dot separates the names of an object and of its field.
    pub(super) path: &'static str,
    /// Name of the column, or of the field in a struct.
    pub(super) column: &'static str,
    /// Meaning of the column.
    pub(super) meaning: &'static str,
    /// Type of the field.
    pub(super) kind: KeptKind,
}

/// The type of a kept field.
#[derive(Clone, Copy, Debug)]
pub(super) enum KeptKind {
    /// A string.
    Text,
    /// A boolean.
    Flag,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// A time in Unix milliseconds.
    Time,
    /// JSON of any type, kept as text.
    Json,
    /// A list of strings.
    Texts,
    /// A list of objects, of which only the string with this name is kept. The column is a list of strings.
    TextsOf(&'static str),
    /// An object.
    Object(&'static [KeptField]),
    /// A list of objects.
    List(&'static [KeptField]),
}

/// Returns a list of [`KeptField`]s. Each is written as its kind, its path, the name of its column if that differs from
/// the path, and its meaning. The path is added to the meaning.
macro_rules! kept {
    (@column $path:literal) => { $path };
    (@column $path:literal $column:literal) => { $column };
    ($($kind:ident $(($($of:tt)*))? $path:literal $(as $column:literal)? => $meaning:literal),* $(,)?) => {
        &[$($crate::resource::kept::KeptField {
            path: $path,
            column: $crate::resource::kept::kept!(@column $path $($column)?),
            meaning: concat!($meaning, " (`", $path, "`)."),
            kind: $crate::resource::kept::KeptKind::$kind $(($($of)*))?,
        }),*]
    };
}
pub(super) use kept;

/// A kind of row of which a list of fields is kept. The field `id` is the key, and must be among them.
pub(super) trait KeptRow {
    /// The fields that are kept.
    const FIELDS: &'static [KeptField];

    /// Path of the time of creation; `None` if the row has none.
    const CREATED: Option<&'static str> = Some("created_at");

    /// Whether the table is partitioned by the year of creation. Large tables are.
    const BY_YEAR: bool = false;
}

/// Returns the definition of the table `name`, which holds rows of type `R` from `source`.
pub(super) const fn table<R: KeptRow>(name: &'static str, meaning: &'static str, source: &'static str) -> TableSpec {
    TableSpec {
        name,
        meaning,
        shape: Shape::Entity,
        key: &["id"],
        partition: if R::BY_YEAR { Some(decode::CREATED_YEAR) } else { None },
        row_group_rows: if R::BY_YEAR { 16_384 } else { 65_536 },
        repetitive: &["_synced_at"],
        source,
        columns: decode::no_rows::<R>,
    }
}

/// Returns the fields that are read of a row of type `R`.
pub(super) fn fields<R: KeptRow>() -> RowFields {
    row_fields(R::FIELDS)
}

fn row_fields(kept: &[KeptField]) -> RowFields {
    let mut fields = RowFields::default();
    for field in kept {
        fields.insert(field.path, field.kind.field_type());
    }
    fields
}

impl KeptKind {
    fn field_type(self) -> FieldType {
        match self {
            Self::Text => FieldType::Text,
            Self::Flag => FieldType::Flag,
            Self::Integer => FieldType::Integer,
            Self::Number => FieldType::Number,
            Self::Time => FieldType::Time,
            Self::Json => FieldType::Json,
            Self::Texts => FieldType::Texts,
            Self::TextsOf(name) => {
                let mut fields = RowFields::default();
                fields.insert(name, FieldType::Text);
                FieldType::List(fields)
            }
            Self::Object(kept) => FieldType::Object(row_fields(kept)),
            Self::List(kept) => FieldType::List(row_fields(kept)),
        }
    }
}

#[cfg(test)]
mod tests;
