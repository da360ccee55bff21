//! `clerk-lake schema`: every table and column, with its meaning and the field of Clerk's that it comes from.

mod markdown;
mod sql;

use std::io::{self, Write};

use arrow::datatypes::DataType;
use clerk_lake::table::TableSpec;
use clerk_lake::{Error, Result, resource};
use serde_json::json;

use super::arguments::{Schema, SchemaFormat};
use super::terminal::{Terminal, written};

pub fn run(terminal: &mut Terminal, arguments: &Schema) -> Result<()> {
    let named = if arguments.json { SchemaFormat::Json } else { SchemaFormat::Text };
    let format = arguments.schema_format.unwrap_or(named);
    let out = terminal.out();
    if format == SchemaFormat::Json {
        let tables: Vec<_> = resource::TABLES.into_iter().map(document).collect();
        let text = serde_json::to_string_pretty(&tables).map_err(|error| Error::bug(error.to_string()))?;
        written(writeln!(out, "{text}"))?;
        return terminal.flushed();
    }
    for (place, table) in resource::TABLES.into_iter().enumerate() {
        let printed = match format {
            SchemaFormat::Sql => between(place, out).and_then(|()| sql::print(table, out)),
            SchemaFormat::Markdown => between(place, out).and_then(|()| markdown::print(table, out)),
            SchemaFormat::Text | SchemaFormat::Json => print(table, out),
        };
        written(printed)?;
    }
    terminal.flushed()
}

/// An empty line between one table and the next.
fn between(place: usize, out: &mut impl Write) -> io::Result<()> {
    if place > 0 { writeln!(out) } else { Ok(()) }
}

fn document(table: &TableSpec) -> serde_json::Value {
    let columns: Vec<_> = columns(table)
        .into_iter()
        .map(|column| {
            json!({
                "name": column.name, "type": column.data_type.to_string(), "meaning": column.meaning,
                "field": column.field(),
            })
        })
        .collect();
    json!({
        "table": table.name, "meaning": table.meaning, "shape": table.shape.word(),
        "key": table.key, "partition": table.partition, "source": table.source, "columns": columns,
    })
}

fn print(table: &TableSpec, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{} ({})", table.name, table.shape.word())?;
    writeln!(out, "  {}", table.meaning)?;
    writeln!(out, "  {}\n", place(table))?;
    for Column { name, data_type, meaning } in columns(table) {
        writeln!(out, "  {name:<28} {:<14} {meaning}", kind(&data_type))?;
        if let Some(fields) = fields(&data_type) {
            writeln!(out, "  {:<28} {:<14} {fields}", "", "")?;
        }
    }
    writeln!(out)
}

/// A table's key, where it comes from, and its partition.
fn place(table: &TableSpec) -> String {
    let partition = table.partition.map(|column| format!("; partitioned by {column}")).unwrap_or_default();
    format!("key {}; from {}{partition}", table.key.join(", "), table.source)
}

/// A column as it is described.
struct Column {
    name: &'static str,
    data_type: DataType,
    meaning: &'static str,
}

impl Column {
    /// The field of Clerk's that it comes from, where its meaning ends with it: "… (`field`)."
    fn field(&self) -> Option<&'static str> {
        let (_, field) = self.meaning.strip_suffix("`).")?.rsplit_once(" (`")?;
        Some(field)
    }

    /// Its meaning without that field.
    fn meaning_alone(&self) -> String {
        let (meaning, _) = self.field().and_then(|_| self.meaning.rsplit_once(" (`")).unwrap_or((self.meaning, ""));
        format!("{}.", meaning.trim_end_matches('.'))
    }
}

fn columns(table: &TableSpec) -> Vec<Column> {
    let schema = table.schema();
    let described = schema.fields().iter().zip(table.describe());
    described.map(|(field, (name, meaning))| Column { name, data_type: field.data_type().clone(), meaning }).collect()
}

/// A type in a word.
pub fn kind(data_type: &DataType) -> String {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text".to_owned(),
        DataType::Boolean => "boolean".to_owned(),
        DataType::Int64 => "bigint".to_owned(),
        DataType::Int32 => "int".to_owned(),
        DataType::Date32 => "date".to_owned(),
        DataType::Timestamp(..) => "timestamp".to_owned(),
        DataType::List(element) => format!("list of {}", kind(element.data_type())),
        DataType::Struct(_) => "struct".to_owned(),
        other => other.to_string(),
    }
}

/// What a struct, or a list of them, has in it; none of any other type.
pub fn fields(data_type: &DataType) -> Option<String> {
    match data_type {
        DataType::List(element) => fields(element.data_type()),
        DataType::Struct(fields) => {
            let fields: Vec<_> =
                fields.iter().map(|field| format!("{} {}", field.name(), kind(field.data_type()))).collect();
            Some(format!("Fields: {}.", fields.join(", ")))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(meaning: &'static str) -> Column {
        Column { name: "id", data_type: DataType::Utf8, meaning }
    }

    #[test]
    fn the_field_is_told_apart_from_the_meaning() {
        let both = column("Clerk's id (`id`) of the user (`user.id`).");
        assert_eq!(
            (both.field(), both.meaning_alone()),
            (Some("user.id"), "Clerk's id (`id`) of the user.".to_owned())
        );
        let none = column("The UTC year of `created_at`.");
        assert_eq!((none.field(), none.meaning_alone()), (None, "The UTC year of `created_at`.".to_owned()));
    }
}
