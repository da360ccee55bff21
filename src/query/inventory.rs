//! What SQL can name in a context: the tables of the lake and the queries, with their meanings.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::DataType;
use datafusion::common::TableReference;
use datafusion::dataframe::DataFrame;
use datafusion::error::DataFusionError;
use datafusion::execution::context::SessionContext;

use super::failure::failed_in;
use super::known::{INSTANCE, queries, tables};
use crate::error::Result;
use crate::table::TableSpec;

/// Returns the tables and queries that SQL can use: name, kind and meaning.
pub(super) fn list(context: &SessionContext) -> Result<DataFrame> {
    let queries = queries(context);
    let tables = tables(context).map(|spec| [spec.name, "table", spec.meaning].map(str::to_owned));
    let queries = queries.iter().flat_map(|queries| {
        queries.0.iter().map(|query| [query.name.as_str(), "query", query.title.as_str()].map(str::to_owned))
    });
    frame(context, ["name", "kind", "meaning"], &tables.chain(queries).collect::<Vec<_>>())
}

/// Returns the columns of the table, query or file `name`: name, type and meaning.
pub(super) async fn describe(context: &SessionContext, name: &str, sql: &str) -> Result<DataFrame> {
    let provider = context.table_provider(TableReference::bare(name)).await;
    let schema = provider.map_err(|error| failed_in(&error, sql, Some(context)))?.schema();
    let spec = tables(context).find(|spec| spec.name == name);
    let meanings = spec.map(TableSpec::describe).unwrap_or_default();
    let meaning = |column: &str| match meanings.iter().find(|(known, _)| *known == column) {
        Some((_, meaning)) => (*meaning).to_owned(),
        None if column == INSTANCE => "The instance that the row comes from.".to_owned(),
        None => String::new(),
    };
    let row = |field: &Arc<arrow::datatypes::Field>| {
        [field.name().clone(), type_name(field.data_type()), meaning(field.name())]
    };
    frame(context, ["column", "type", "meaning"], &schema.fields().iter().map(row).collect::<Vec<_>>())
}

fn frame(context: &SessionContext, names: [&str; 3], rows: &[[String; 3]]) -> Result<DataFrame> {
    let column = |at: usize| Arc::new(rows.iter().map(|row| row.get(at)).collect::<StringArray>()) as ArrayRef;
    let columns = names.into_iter().enumerate().map(|(at, name)| (name, column(at), true));
    let batch = RecordBatch::try_from_iter_with_nullable(columns);
    let frame = batch.map_err(DataFusionError::from).and_then(|batch| context.read_batch(batch));
    frame.map_err(|error| failed_in(&error, "", None))
}

/// Returns a type as the documentation of the tables writes it.
fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text".to_owned(),
        DataType::Boolean => "boolean".to_owned(),
        DataType::Int64 => "bigint".to_owned(),
        DataType::Int32 => "int".to_owned(),
        DataType::Float64 => "double".to_owned(),
        DataType::Date32 => "date".to_owned(),
        DataType::Timestamp(..) => "timestamp".to_owned(),
        DataType::List(element) => format!("list of {}", type_name(element.data_type())),
        DataType::Struct(fields) => {
            let fields: Vec<_> =
                fields.iter().map(|field| format!("{} {}", field.name(), type_name(field.data_type()))).collect();
            format!("struct({})", fields.join(", "))
        }
        other => other.to_string(),
    }
}
