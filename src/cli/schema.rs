//! `clerk-lake schema`.

use std::io::Write;

use clerk_lake::table::TableSpec;
use clerk_lake::{Error, Result, resource};
use serde_json::json;

use super::arguments::Schema;
use super::terminal::{Terminal, written};

pub fn run(terminal: &mut Terminal, arguments: &Schema) -> Result<()> {
    let out = terminal.out();
    if arguments.json {
        let tables: Vec<_> = resource::TABLES.into_iter().map(document).collect();
        let text = serde_json::to_string_pretty(&tables).map_err(|error| Error::bug(error.to_string()))?;
        written(writeln!(out, "{text}"))?;
    } else {
        for table in resource::TABLES {
            written(print(table, out))?;
        }
    }
    terminal.flushed()
}

fn document(table: &TableSpec) -> serde_json::Value {
    let schema = table.schema();
    let columns: Vec<_> = schema
        .fields()
        .iter()
        .zip(table.describe())
        .map(
            |(field, (name, meaning))| json!({"name": name, "type": field.data_type().to_string(), "meaning": meaning}),
        )
        .collect();
    json!({
        "table": table.name, "meaning": table.meaning, "shape": table.shape.word(),
        "key": table.key, "partition": table.partition, "source": table.source, "columns": columns,
    })
}

fn print(table: &TableSpec, out: &mut impl Write) -> std::io::Result<()> {
    writeln!(out, "{} ({})", table.name, table.shape.word())?;
    writeln!(out, "  {}", table.meaning)?;
    let partition = table.partition.map(|column| format!("; partitioned by {column}")).unwrap_or_default();
    writeln!(out, "  key {}; from {}{partition}\n", table.key.join(", "), table.source)?;
    let schema = table.schema();
    for (field, (name, meaning)) in schema.fields().iter().zip(table.describe()) {
        writeln!(out, "  {name:<28} {:<14} {meaning}", kind(field.data_type()))?;
    }
    writeln!(out)
}

/// A type in a word.
fn kind(data_type: &arrow::datatypes::DataType) -> String {
    use arrow::datatypes::DataType;
    match data_type {
        DataType::Utf8 => "text".to_owned(),
        DataType::Boolean => "boolean".to_owned(),
        DataType::Int64 => "bigint".to_owned(),
        DataType::Int32 => "int".to_owned(),
        DataType::Date32 => "date".to_owned(),
        DataType::Timestamp(..) => "timestamp".to_owned(),
        DataType::List(_) => "list of struct".to_owned(),
        DataType::Struct(_) => "struct".to_owned(),
        other => other.to_string(),
    }
}
