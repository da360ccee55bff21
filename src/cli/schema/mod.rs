//! `clerk-lake schema`: every table and column, with its meaning and the Clerk field that it comes from.

mod markdown;
mod sql;

use std::io::{self, Write};

use arrow::datatypes::{DataType, FieldRef};
use clerk_lake::table::TableSpec;
use clerk_lake::{Error, Result, resource};
use serde_json::json;

use super::arguments::{SchemaArguments, SchemaFormat};
use super::terminal::{Terminal, check_write};

pub fn run(terminal: &mut Terminal, arguments: &SchemaArguments) -> Result<()> {
    let default = if arguments.json { SchemaFormat::Json } else { SchemaFormat::Text };
    let format = arguments.schema_format.unwrap_or(default);
    let out = terminal.out();
    if format == SchemaFormat::Json {
        let tables: Vec<_> = resource::TABLES.into_iter().map(document).collect();
        let text = serde_json::to_string_pretty(&tables).map_err(|error| Error::bug(error.to_string()))?;
        check_write(writeln!(out, "{text}"))?;
        return terminal.try_flush();
    }
    for (index, table) in resource::TABLES.into_iter().enumerate() {
        let printed = match format {
            SchemaFormat::Sql => separator(index, out).and_then(|()| sql::print(table, out)),
            SchemaFormat::Markdown => separator(index, out).and_then(|()| markdown::print(table, out)),
            SchemaFormat::Text | SchemaFormat::Json => print(table, out),
        };
        check_write(printed)?;
    }
    terminal.try_flush()
}

/// Prints an empty line before every table but the first.
fn separator(index: usize, out: &mut impl Write) -> io::Result<()> {
    if index > 0 { writeln!(out) } else { Ok(()) }
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
    writeln!(out, "  {}\n", key_and_source(table))?;
    for ColumnDescription { name, data_type, meaning } in columns(table) {
        writeln!(out, "  {name:<28} {:<14} {meaning}", type_name(&data_type))?;
        if let Some(fields) = fields(&data_type) {
            writeln!(out, "  {:<28} {:<14} {fields}", "", "")?;
        }
    }
    writeln!(out)
}

/// Returns the key, the source and the partition column of a table.
fn key_and_source(table: &TableSpec) -> String {
    let partition = table.partition.map(|column| format!("; partitioned by {column}")).unwrap_or_default();
    format!("key {}; from {}{partition}", table.key.join(", "), table.source)
}

/// The description of a column.
struct ColumnDescription {
    name: &'static str,
    data_type: DataType,
    meaning: &'static str,
}

impl ColumnDescription {
    /// Returns the Clerk field that the column comes from, if its meaning ends with one: "… (`field`)."
    fn field(&self) -> Option<&'static str> {
        let (_, field) = self.meaning.strip_suffix("`).")?.rsplit_once(" (`")?;
        Some(field)
    }

    /// Returns the meaning without that field.
    fn meaning_without_field(&self) -> String {
        let (meaning, _) = self.field().and_then(|_| self.meaning.rsplit_once(" (`")).unwrap_or((self.meaning, ""));
        format!("{}.", meaning.trim_end_matches('.'))
    }
}

fn columns(table: &TableSpec) -> Vec<ColumnDescription> {
    let schema = table.schema();
    let described = schema.fields().iter().zip(table.describe());
    described
        .map(|(field, (name, meaning))| ColumnDescription { name, data_type: field.data_type().clone(), meaning })
        .collect()
}

/// Returns a short name of a type.
pub fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text".to_owned(),
        DataType::Boolean => "boolean".to_owned(),
        DataType::Int64 => "bigint".to_owned(),
        DataType::Int32 => "int".to_owned(),
        DataType::Float64 => "double".to_owned(),
        DataType::Date32 => "date".to_owned(),
        DataType::Timestamp(..) => "timestamp".to_owned(),
        DataType::List(element) => format!("list of {}", type_name(element.data_type())),
        DataType::Struct(_) => "struct".to_owned(),
        other => other.to_string(),
    }
}

/// Returns the fields of a struct or of a list of structs; `None` for any other type.
pub fn fields(data_type: &DataType) -> Option<String> {
    match data_type {
        DataType::List(element) => fields(element.data_type()),
        DataType::Struct(fields) => {
            let nested = |field: &FieldRef| match field.data_type() {
                DataType::List(element) if element.data_type().is_nested() => format!("{} list", field.name()),
                data_type => format!("{} {}", field.name(), type_name(data_type)),
            };
            let fields: Vec<_> = fields.iter().map(nested).collect();
            Some(format!("Fields: {}.", fields.join(", ")))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(meaning: &'static str) -> ColumnDescription {
        ColumnDescription { name: "id", data_type: DataType::Utf8, meaning }
    }

    #[test]
    fn a_meaning_is_split_from_its_field() {
        let both = column("Clerk's id (`id`) of the user (`user.id`).");
        assert_eq!(
            (both.field(), both.meaning_without_field()),
            (Some("user.id"), "Clerk's id (`id`) of the user.".to_owned())
        );
        let none = column("The UTC year of `created_at`.");
        assert_eq!((none.field(), none.meaning_without_field()), (None, "The UTC year of `created_at`.".to_owned()));
    }
}
