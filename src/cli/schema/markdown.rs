//! The tables as Markdown: a section and a table each.

use std::io::{self, Write};

use arrow::datatypes::DataType;
use clerk_lake::table::TableSpec;

use super::{columns, kind};

/// Prints `table`'s section.
pub fn print(table: &TableSpec, out: &mut impl Write) -> io::Result<()> {
    let key: Vec<_> = table.key.iter().map(|column| format!("`{column}`")).collect();
    let partition = table.partition.map(|column| format!("; partitioned by `{column}`")).unwrap_or_default();
    writeln!(out, "### `{}`\n", table.name)?;
    writeln!(out, "{} Key: {}; from {}{partition}.\n", table.meaning, key.join(", "), table.source)?;
    writeln!(out, "| column | type | field of Clerk's | meaning |")?;
    writeln!(out, "|---|---|---|---|")?;
    for column in columns(table) {
        let field = column.field().map(|field| format!("`{field}`")).unwrap_or_default();
        let cells = [format!("`{}`", column.name), full_kind(&column.data_type), field, column.meaning_alone()];
        writeln!(out, "| {} |", cells.map(|cell| cell.replace('|', "\\|")).join(" | "))?;
    }
    Ok(())
}

/// A type in words, with what it is made of.
fn full_kind(data_type: &DataType) -> String {
    match data_type {
        DataType::List(element) => format!("list of {}", full_kind(element.data_type())),
        DataType::Struct(fields) => {
            let parts: Vec<_> =
                fields.iter().map(|field| format!("`{}` {}", field.name(), full_kind(field.data_type()))).collect();
            format!("struct ({})", parts.join(", "))
        }
        other => kind(other),
    }
}
