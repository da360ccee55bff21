//! Lakes of a version whose tables had fewer columns.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StructArray};
use arrow::datatypes::{DataType, Field, Schema};
use bytes::Bytes;
use clerk_lake::resource::Resource;
use clerk_lake::simulator::ChangeKind;
use clerk_lake::sync::Extent;
use clerk_lake::table::TableSpec;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};

use super::{an_hour_later, assert_exact, listed, stored, sync_ok, synced, wanted, written};
use crate::incremental::change;
use crate::support::{World, files};

/// The name of a column that an older table lacks, and the names of structs with the field that each lacks.
type Missing = (String, Vec<(String, String)>);

/// Returns the names of the columns that an older table lacks: one text column, and one field of each struct.
fn missing(table: &TableSpec) -> Missing {
    let schema = table.schema();
    let is_optional =
        |field: &&Arc<Field>| *field.data_type() == DataType::Utf8 && !table.key.contains(&field.name().as_str());
    let column = schema.fields().iter().rfind(is_optional).expect("a text column").name().clone();
    let structs = schema.fields().iter().filter_map(|field| match field.data_type() {
        DataType::Struct(fields) => Some((field.name().clone(), fields.last()?.name().clone())),
        _ => None,
    });
    (column, structs.collect())
}

/// Returns `batch` without the missing columns and fields.
fn without(batch: &RecordBatch, missing: &Missing) -> RecordBatch {
    let (column, structs) = missing;
    let schema = batch.schema();
    let kept = schema.fields().iter().zip(batch.columns()).filter(|(field, _)| field.name() != column);
    let kept = kept.map(|(field, values)| {
        let dropped = structs.iter().find(|(name, _)| name == field.name());
        let values = dropped.map_or_else(|| Arc::clone(values), |(_, child)| without_field(values, child));
        (Field::new(field.name(), values.data_type().clone(), field.is_nullable()), values)
    });
    let (fields, values): (Vec<_>, Vec<_>) = kept.unzip();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), values).expect("a batch")
}

fn without_field(structs: &ArrayRef, dropped: &str) -> ArrayRef {
    let structs = structs.as_struct();
    let kept = structs.fields().iter().zip(structs.columns()).filter(|(field, _)| field.name() != dropped);
    let (fields, columns): (Vec<_>, Vec<_>) =
        kept.map(|(field, column)| (Arc::clone(field), Arc::clone(column))).unzip();
    Arc::new(StructArray::new(fields.into(), columns, structs.nulls().cloned()))
}

/// Removes the columns from a data file, and returns its new size.
fn rewrite(path: &Path, missing: &Missing) -> usize {
    let content = Bytes::from(std::fs::read(path).expect("a data file"));
    let reader = ParquetRecordBatchReaderBuilder::try_new(content).expect("a Parquet file").build().expect("a reader");
    let batches: Vec<_> = reader.map(|batch| without(&batch.expect("rows"), missing)).collect();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batches[0].schema(), None).expect("a writer");
    for batch in &batches {
        writer.write(batch).expect("rows");
    }
    writer.close().expect("a file");
    std::fs::write(path, &bytes).expect("a data file");
    bytes.len()
}

/// Removes the columns from the schema in the log, which is JSON text.
fn older_schema(text: &str, missing: &Missing) -> String {
    let mut schema: Value = serde_json::from_str(text).expect("a schema");
    let (column, structs) = missing;
    let fields = schema["fields"].as_array_mut().expect("fields");
    fields.retain(|field| field["name"] != column.as_str());
    for field in fields {
        let dropped = structs.iter().find(|(name, _)| field["name"] == name.as_str());
        if let Some((_, dropped)) = dropped {
            let children = field["type"]["fields"].as_array_mut().expect("fields");
            children.retain(|child| child["name"] != dropped.as_str());
        }
    }
    schema.to_string()
}

/// Makes the table of a resource, which has one commit, that of a version without some columns.
fn make_older(world: &World, resource: &Resource) {
    let (table, missing) = (world.path().join(resource.table.name), missing(&resource.table));
    let log = table.join("_delta_log/00000000000000000000.json");
    let text = std::fs::read_to_string(&log).expect("the first commit");
    let lines = text.lines().map(|line| {
        let mut action: Value = serde_json::from_str(line).expect("an action");
        if let Some(schema) = action["metaData"]["schemaString"].as_str() {
            action["metaData"]["schemaString"] = json!(older_schema(schema, &missing));
        } else if let Some(path) = action["add"]["path"].as_str() {
            action["add"]["size"] = json!(rewrite(&table.join(path), &missing));
        }
        action.to_string() + "\n"
    });
    std::fs::write(&log, lines.collect::<String>()).expect("the first commit");
    let logged = files(&table.join("_delta_log"));
    assert_eq!(logged.len(), 1, "{} has several commits", resource.table.name);
}

/// Returns a row without the missing columns, and without the structs that lack a field.
fn without_columns(row: &Value, (column, structs): &Missing) -> Value {
    let mut row = row.clone();
    let columns = row.as_object_mut().expect("a row");
    columns.retain(|name, _| name != column && structs.iter().all(|(known, _)| known != name));
    row
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_of_an_older_version_get_the_new_columns() {
    for extent in [Extent::Changes, Extent::Full] {
        let mut world = synced(|_| ()).await;
        let wanted = wanted(&world);
        for resource in listed() {
            make_older(&world, resource);
            let (name, missing) = (resource.name, missing(&resource.table));
            let rows = stored(&world, resource).await;
            assert_eq!(rows.len(), wanted[name].len(), "{name}");
            for (id, row) in &rows {
                assert_eq!(without_columns(row, &missing), without_columns(&wanted[name][id], &missing), "{name}");
                assert!(row.get(&missing.0).is_none_or(Value::is_null), "{name}: {} of {row}", missing.0);
            }
        }
        an_hour_later(&world, |model| change(model, &[ChangeKind::JoinWaitlist], 1));
        world.options.extent = extent;
        let summary = sync_ok(&world, "an older lake").await;
        let updated: u64 = summary.resources.iter().map(|resource| written(resource)[1]).sum();
        assert!(updated > 0, "{summary:?}");
        if extent == Extent::Changes {
            // The payment attempts of closed statements are read again in turns, or by a full sync.
            world.options.extent = Extent::Full;
            sync_ok(&world, "an older lake, full").await;
        }
        assert_exact(&world, &format!("an older lake, {extent:?}")).await;
    }
}
