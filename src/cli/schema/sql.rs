//! The tables as `CREATE TABLE` statements with standard SQL types and comments. They run on engines that support
//! `ARRAY<…>` and `STRUCT<…>`.

use std::io::{self, Write};

use arrow::datatypes::{DataType, TimeUnit};
use clerk_lake::table::TableSpec;

use super::{columns, key_and_source};

/// Prints the statement of `table`.
pub fn print(table: &TableSpec, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "-- {}", table.meaning)?;
    writeln!(out, "-- {} table; {}", table.shape.word(), key_and_source(table))?;
    writeln!(out, "CREATE TABLE {} (", table.name)?;
    for column in columns(table) {
        writeln!(out, "  -- {}", column.meaning)?;
        writeln!(out, "  {} {},", quoted(column.name), sql_type(&column.data_type, 1))?;
    }
    writeln!(out, "  PRIMARY KEY ({})", table.key.join(", "))?;
    writeln!(out, ");")
}

/// Returns the name of a column, in quotes if it would begin the definition of a key.
fn quoted(name: &str) -> String {
    if name == "key" { format!("\"{name}\"") } else { name.to_owned() }
}

/// Returns the SQL name of a type. Each field of a struct is on its own line, indented one level deeper than `level`.
fn sql_type(data_type: &DataType, level: usize) -> String {
    match data_type {
        DataType::Utf8 => "VARCHAR".to_owned(),
        DataType::Boolean => "BOOLEAN".to_owned(),
        DataType::Int64 => "BIGINT".to_owned(),
        DataType::Int32 => "INTEGER".to_owned(),
        DataType::Float64 => "DOUBLE".to_owned(),
        DataType::Date32 => "DATE".to_owned(),
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => "TIMESTAMP(6) WITH TIME ZONE".to_owned(),
        DataType::Timestamp(TimeUnit::Microsecond, None) => "TIMESTAMP(6)".to_owned(),
        DataType::List(element) => format!("ARRAY<{}>", sql_type(element.data_type(), level)),
        DataType::Struct(fields) => {
            let (inner, outer) = ("  ".repeat(level + 1), "  ".repeat(level));
            let parts: Vec<_> = fields
                .iter()
                .map(|field| format!("\n{inner}{} {}", field.name(), sql_type(field.data_type(), level + 1)))
                .collect();
            format!("STRUCT<{}\n{outer}>", parts.join(","))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::{Field, Fields};

    use super::*;

    #[test]
    fn each_struct_field_is_on_its_own_line() {
        let fields = Fields::from(vec![
            Field::new("id", DataType::Utf8, true),
            Field::new("at", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
        ]);
        let element = Field::new("element", DataType::Struct(fields), true);
        let text = sql_type(&DataType::List(Arc::new(element)), 1);
        assert_eq!(text, "ARRAY<STRUCT<\n    id VARCHAR,\n    at TIMESTAMP(6) WITH TIME ZONE\n  >>");
    }
}
