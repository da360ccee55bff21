//! Descriptions of tables, their columns and the built-in queries.

use std::io::{self, Write};

use arrow::datatypes::{DataType, Fields, SchemaRef};
use clap::ValueEnum;
use clerk_lake::harmless::harmless;
use clerk_lake::query::{INSTANCE, ParameterValue, Queries, Query, Snapshot, failed};
use clerk_lake::table::TableSpec;
use clerk_lake::{Error, ErrorKind, Result};
use datafusion::common::TableReference;

use super::completion::CompletionWords;
use crate::cli::arguments::Format;
use crate::cli::schema::type_name;
use crate::cli::terminal::Terminal;
use unicode_width::UnicodeWidthStr;

/// The largest width of a line.
const WIDTH: usize = 100;

/// The smallest width of the last column, however long the names are.
const MIN_TEXT_WIDTH: usize = 40;

/// The columns before the text, and the lines of the text.
type DescribedRow = (Vec<String>, Vec<String>);

/// Lists the tables and queries. The outer result is an error of the lake, the inner one an error of the output.
pub fn tables(snapshot: &Snapshot, queries: &Queries, out: &mut (dyn Write + Send)) -> Result<io::Result<()>> {
    let tables = snapshot.tables()?;
    let tables = tables.into_iter().map(|table| ("table", table.name, vec![table.meaning.to_owned()]));
    let queries = queries.iter().map(|query| ("query", query.name.as_str(), vec![query.title.clone()]));
    let row = |(what, name, text): (&str, &str, _)| (vec![what.to_owned(), name.to_owned()], text);
    let rows: Vec<_> = tables.chain(queries).map(row).collect();
    Ok(print(&rows, out))
}

/// Lists `queries` with their parameters.
pub fn queries(queries: &Queries, out: &mut (dyn Write + Send)) -> io::Result<()> {
    let rows: Vec<_> = queries.iter().map(|query| (vec![query.name.clone()], about(query))).collect();
    print(&rows, out)
}

/// Returns the title, the parameters and the description of a query.
fn about(query: &Query) -> Vec<String> {
    let range = |name: &str| query.ranges.iter().find(|(ranged, _)| ranged == name).map(|(_, range)| range);
    let parameters = query.parameters.iter().map(|(name, default)| match range(name) {
        Some(range) => format!("{name}={default} ({} to {})", range.start(), range.end()),
        None => format!("{name}={default}"),
    });
    let first: Vec<String> = std::iter::once(query.title.clone()).chain(parameters).collect();
    let description = Some(query.description.clone()).filter(|description| !description.is_empty());
    std::iter::once(first.join("  ")).chain(description).collect()
}

/// Returns `queries` as one JSON document.
pub fn queries_as_json(queries: &Queries) -> serde_json::Value {
    queries.iter().map(document).collect()
}

fn document(query: &Query) -> serde_json::Value {
    let parameters = query.parameters.iter().map(|(name, default)| {
        let range = query.ranges.iter().find(|(ranged, _)| ranged == name).map(|(_, range)| range);
        serde_json::json!({
            "name": name, "default": json_of(default),
            "least": range.map(|range| json_of(range.start())), "most": range.map(|range| json_of(range.end())),
        })
    });
    serde_json::json!({
        "name": query.name, "title": query.title, "description": query.description, "chart": query.chart.word(),
        "unit": query.unit, "section": query.section, "order": query.order,
        "parameters": parameters.collect::<Vec<_>>(),
        "file": query.file.as_ref().map(|file| file.display().to_string()),
    })
}

fn json_of(value: &ParameterValue) -> serde_json::Value {
    match value {
        ParameterValue::Integer(number) => (*number).into(),
        ParameterValue::Text(text) => text.as_str().into(),
        ParameterValue::Date(day) => day.to_string().into(),
    }
}

/// Lists the columns of a table, a query or a file with their types, and with their meanings if known.
pub async fn columns(
    snapshot: &Snapshot,
    queries: &Queries,
    name: &str,
    out: &mut (dyn Write + Send),
) -> Result<io::Result<()>> {
    let table = snapshot.tables()?.into_iter().find(|table| table.name == name);
    let schema = schema_of(snapshot, name).await?;
    let query = queries.iter().find(|query| query.name == name);
    let about = match (table, query) {
        (Some(table), _) => vec![table.meaning.to_owned()],
        (None, Some(query)) => about(query),
        (None, None) => Vec::new(),
    };
    let mut rows: Vec<DescribedRow> = Vec::new();
    for field in schema.fields() {
        let columns = vec![field.name().clone(), type_name(field.data_type())];
        rows.push((columns, vec![meaning(table, field.name())]));
        push_fields(field.data_type(), 1, &mut rows);
    }
    let above = about.iter().try_for_each(|line| writeln!(out, "{}", harmless(line)));
    Ok(above.and_then(|()| print(&rows, out)))
}

/// Appends a row for each field of a struct, or of a list of structs, indented by `depth` levels.
fn push_fields(data_type: &DataType, depth: usize, rows: &mut Vec<DescribedRow>) {
    for field in fields_of(data_type).into_iter().flatten() {
        let name = format!("{}{}", "  ".repeat(depth), field.name());
        rows.push((vec![name, type_name(field.data_type())], vec![String::new()]));
        push_fields(field.data_type(), depth + 1, rows);
    }
}

fn fields_of(data_type: &DataType) -> Option<&Fields> {
    match data_type {
        DataType::List(element) | DataType::LargeList(element) => fields_of(element.data_type()),
        DataType::Struct(fields) => Some(fields),
        _ => None,
    }
}

async fn schema_of(snapshot: &Snapshot, name: &str) -> Result<SchemaRef> {
    let provider = snapshot.context().table_provider(TableReference::bare(name)).await;
    provider.map(|table| table.schema()).map_err(|error| {
        let error = failed(&error);
        if error.message().starts_with("there is no table or query") {
            return Error::new(ErrorKind::Query, format!("there is no table or query called {name:?}"))
                .with_hint("\\d lists them");
        }
        error
    })
}

fn meaning(table: Option<&TableSpec>, column: &str) -> String {
    let known = table.and_then(|table| table.describe().into_iter().find(|(name, _)| *name == column));
    match known {
        Some((_, meaning)) => meaning.to_owned(),
        None if column == INSTANCE => "The instance that the row comes from.".to_owned(),
        None => String::new(),
    }
}

/// Returns the words that a shell completes.
pub async fn words(snapshot: &Snapshot, queries: Vec<String>) -> Result<CompletionWords> {
    let mut words = CompletionWords { queries, ..CompletionWords::default() };
    for table in snapshot.tables()? {
        let schema = schema_of(snapshot, table.name).await?;
        let columns = schema.fields().iter().map(|field| field.name().clone()).collect();
        words.tables.push((table.name.to_owned(), columns));
    }
    words.commands = super::COMMANDS.iter().filter_map(|(usage, _)| usage.split(' ').next()).collect();
    let formats = Format::value_variants().iter().filter_map(ValueEnum::to_possible_value);
    words.formats = formats.map(|format| format.get_name().to_owned()).collect();
    Ok(words)
}

/// Prints rows with aligned columns. The text in the last column is wrapped.
fn print(rows: &[DescribedRow], out: &mut (dyn Write + Send)) -> io::Result<()> {
    let widest =
        |column: usize| rows.iter().filter_map(move |(names, _)| names.get(column)).map(|name| harmless(name).width());
    let columns = rows.first().map_or(0, |(names, _)| names.len());
    let widths: Vec<_> = (0..columns).map(|column| widest(column).max().unwrap_or(0) + 2).collect();
    let before: usize = widths.iter().sum();
    let width = Terminal::stdout_width().unwrap_or(WIDTH).min(WIDTH);
    let text_width = width.saturating_sub(before).max(MIN_TEXT_WIDTH);
    for (names, texts) in rows {
        let padded = names.iter().zip(&widths).map(|(name, width)| {
            let name = harmless(name);
            let room = " ".repeat(width.saturating_sub(name.width()));
            format!("{name}{room}")
        });
        let mut start: String = padded.collect();
        for line in texts.iter().flat_map(|text| wrap(&harmless(text), text_width)) {
            writeln!(out, "{}", format!("{start:before$}{line}").trim_end())?;
            start.clear();
        }
    }
    Ok(())
}

/// Wraps `text` between words into lines of at most `width` characters. A longer word is not split.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last().map_or(0, |line| line.chars().count());
        if line > 0 && line + 1 + word.chars().count() > width {
            lines.push(word.to_owned());
        } else if let Some(last) = lines.last_mut() {
            if !last.is_empty() {
                last.push(' ');
            }
            last.push_str(word);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_wrapped_between_words() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("incomprehensible is it", 5), ["incomprehensible", "is it"]);
        assert_eq!(wrap("", 5), [""]);
    }

    #[test]
    fn a_query_without_a_description_is_one_line() {
        let query = Query::parse("x", "-- title: T\n-- parameter: a = 1 (0 to 2)\n-- parameter: b = 3\n").expect("it");
        assert_eq!(about(&query), ["T  a=1 (0 to 2)  b=3"]);
    }
}
