//! Reads text files once before a query does, to learn what they hold: the types of a CSV file, and whether the fields of
//! a JSON file have one type each.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::file_format::csv::CsvFormat;
use datafusion::datasource::file_format::file_compression_type::FileCompressionType;
use datafusion::datasource::listing::ListingTableUrl;
use datafusion::error::DataFusionError;
use datafusion::execution::SessionState;
use datafusion::execution::context::SessionContext;
use futures::{StreamExt, TryStreamExt};

use super::csv_types::ColumnTypes;
use super::json_fields::JsonFields;
use super::wording::reword;
use crate::error::{Error, ErrorKind, Result, chain};

const CSV_WAYS_OUT: &str =
    "correct the file; or convert it to NDJSON or Parquet, where each value has a type of its own";
const JSON_WAYS_OUT: &str =
    "make the field one type in the whole file (numbers can be written as text: \"12\"), and write one object per line";

/// Returns the error for the content of the file `name`.
pub(super) fn unreadable(name: &str, why: &str, hint: &str) -> Error {
    Error::new(ErrorKind::Query, format!("the file {name:?} cannot be read: {}", reword(why))).with_hint(hint)
}

/// Returns the columns of the CSV files at `url`, as their header lines name them.
///
/// # Errors
/// [`Query`](ErrorKind::Query) if a header cannot be read, or the files have different ones.
pub(super) async fn csv_columns(
    state: &SessionState,
    url: &ListingTableUrl,
    extension: &str,
    format: impl Fn() -> CsvFormat,
) -> Result<ColumnTypes> {
    let failed = |error: DataFusionError| unreadable(url.as_str(), &chain(error.find_root()), CSV_WAYS_OUT);
    let header = format().with_schema_infer_max_rec(1);
    // Reading a header, DataFusion takes two columns of one name for one.
    let line = format().with_schema_infer_max_rec(1).with_has_header(false);
    let store = state.runtime_env().object_store(url).map_err(failed)?;
    let mut files = url.list_all_files(state, store.as_ref(), extension).await.map_err(failed)?;
    let mut first: Option<(String, Vec<String>)> = None;
    while let Some(file) = files.try_next().await.map_err(failed)? {
        let path = file.location.to_string();
        let schema = header.infer_schema(state, &store, std::slice::from_ref(&file)).await;
        let schema = schema.map_err(|error| unreadable(&path, &chain(error.find_root()), CSV_WAYS_OUT))?;
        let columns = line.infer_schema(state, &store, std::slice::from_ref(&file)).await.map_err(failed)?;
        if columns.fields().len() != schema.fields().len() {
            return Err(unreadable(&path, "line 1: two columns have the same name", "rename one of them"));
        }
        let names = column_names(&path, schema.fields().iter().map(|field| field.name().as_str()))?;
        match &first {
            None => first = Some((path, names)),
            Some((_, known)) if *known == names => {}
            Some((other, _)) => {
                return Err(unreadable(&path, &format!("its columns differ from those of {other:?}"), CSV_WAYS_OUT));
            }
        }
    }
    Ok(ColumnTypes::new(first.map(|(_, names)| names).unwrap_or_default()))
}

/// Returns the names of the columns. A column without a name is called after its position.
fn column_names<'a>(path: &str, header: impl Iterator<Item = &'a str>) -> Result<Vec<String>> {
    let mut names: Vec<String> = Vec::new();
    for (at, name) in header.enumerate() {
        // Some programs write a byte order mark at the start of a file.
        let name = if at == 0 { name.trim_start_matches('\u{feff}').trim_matches('"') } else { name };
        names.push(if name.is_empty() { format!("column_{}", at + 1) } else { name.to_owned() });
    }
    if names.is_empty() {
        return Err(unreadable(path, "it has no header line", CSV_WAYS_OUT));
    }
    Ok(names)
}

/// Reads all rows of `text`, the table with the files at `name` as text, and returns the schema that fits them.
///
/// # Errors
/// [`Query`](ErrorKind::Query) if a row cannot be read.
pub(super) async fn csv_schema(
    state: &SessionState,
    name: &str,
    text: Arc<dyn TableProvider>,
    mut columns: ColumnTypes,
) -> Result<SchemaRef> {
    let failed = |error: DataFusionError| unreadable(name, &chain(error.find_root()), CSV_WAYS_OUT);
    let context = SessionContext::new_with_state(state.clone());
    let mut rows = context.read_table(text).map_err(failed)?.execute_stream().await.map_err(failed)?;
    while let Some(rows) = rows.try_next().await.map_err(failed)? {
        columns.take(&rows);
    }
    Ok(columns.schema())
}

/// Reads all objects of the JSON files at `url`.
///
/// # Errors
/// [`Query`](ErrorKind::Query) if one cannot be read, or a field has values of different types.
pub(super) async fn check_json(
    state: &SessionState,
    url: &ListingTableUrl,
    extension: &str,
    compression: FileCompressionType,
) -> Result<()> {
    let failed = |error: DataFusionError| unreadable(url.as_str(), &chain(error.find_root()), JSON_WAYS_OUT);
    let store = state.runtime_env().object_store(url).map_err(failed)?;
    let mut files = url.list_all_files(state, store.as_ref(), extension).await.map_err(failed)?;
    let mut fields = JsonFields::default();
    while let Some(file) = files.try_next().await.map_err(failed)? {
        let path = file.location.to_string();
        let refused = |(line, why): (usize, String)| unreadable(&path, &format!("line {line}: {why}"), JSON_WAYS_OUT);
        let content = store.get_opts(&file.location, Default::default()).await;
        let content = content.map_err(|error| failed(error.into()))?;
        let bytes = content.into_stream().map_err(DataFusionError::from).boxed();
        let mut bytes = compression.convert_stream(bytes).map_err(failed)?;
        while let Some(bytes) = bytes.try_next().await.map_err(failed)? {
            fields.take(&bytes).map_err(refused)?;
        }
        fields.end().map_err(refused)?;
    }
    Ok(())
}
