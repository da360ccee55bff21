//! The tables as Markdown. Each is a section with a table of columns.

use std::io::{self, Write};

use arrow::datatypes::DataType;
use clerk_lake::table::TableSpec;

use super::{columns, type_name};

/// Prints the section of `table`.
pub fn print(table: &TableSpec, out: &mut impl Write) -> io::Result<()> {
    let key: Vec<_> = table.key.iter().map(|column| format!("`{column}`")).collect();
    let partition = table.partition.map(|column| format!("; partitioned by `{column}`")).unwrap_or_default();
    writeln!(out, "### `{}`\n", table.name)?;
    writeln!(out, "{} Key: {}; from {}{partition}.\n", table.meaning, key.join(", "), table.source)?;
    writeln!(out, "| column | type | Clerk field | meaning |")?;
    writeln!(out, "|---|---|---|---|")?;
    for column in columns(table) {
        let field = column.field().map(|field| format!("`{field}`")).unwrap_or_default();
        let cells =
            [format!("`{}`", column.name), full_type_name(&column.data_type), field, column.meaning_without_field()];
        writeln!(out, "| {} |", cells.map(|cell| cell.replace('|', "\\|")).join(" | "))?;
    }
    Ok(())
}

/// Returns the name of a type with its nested types.
fn full_type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::List(element) => format!("list of {}", full_type_name(element.data_type())),
        DataType::Struct(fields) => {
            let parts: Vec<_> = fields
                .iter()
                .map(|field| format!("`{}` {}", field.name(), full_type_name(field.data_type())))
                .collect();
            format!("struct ({})", parts.join(", "))
        }
        other => type_name(other),
    }
}
