//! Converts rows to the types that the tables declare.
//!
//! The query engine represents text as views and repeated values as dictionaries. These are internal to the engine, and
//! not every reader of Arrow and Parquet files supports them.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::error::ArrowError;

/// Returns `schema` without views and dictionaries, at any depth.
pub fn schema(schema: &Schema) -> SchemaRef {
    Arc::new(Schema::new(schema.fields().iter().map(field).collect::<Vec<_>>()))
}

/// Returns `batch` cast to `schema`, which is the result of [`schema()`] for its own schema.
///
/// # Errors
/// [`ArrowError`] if a value cannot be cast, which is a bug.
pub fn batch(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let columns = batch.columns().iter().zip(schema.fields());
    let columns = columns.map(|(column, field)| {
        let is_plain = column.data_type() == field.data_type();
        if is_plain { Ok(Arc::clone(column)) } else { cast(column, field.data_type()) }
    });
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(SchemaRef::clone(schema), columns.collect::<Result<_, _>>()?, &options)
}

fn field(field: &FieldRef) -> FieldRef {
    Arc::new(Field::new(field.name(), plain(field.data_type()), field.is_nullable()))
}

fn plain(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Dictionary(_, values) => plain(values),
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        DataType::List(element) | DataType::ListView(element) => DataType::List(field(element)),
        DataType::LargeList(element) | DataType::LargeListView(element) => DataType::LargeList(field(element)),
        DataType::Struct(parts) => DataType::Struct(parts.iter().map(field).collect()),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, AsArray, DictionaryArray, StringViewArray, StructArray};
    use arrow::datatypes::{Int32Type, UInt16Type};

    use super::*;

    #[test]
    fn dictionaries_and_views_become_plain_types() {
        let years: DictionaryArray<UInt16Type> = ["2025", "2026", "2025"].into_iter().collect();
        let texts: ArrayRef = Arc::new(StringViewArray::from(vec![Some("a"), None, Some("c")]));
        let part = Arc::new(Field::new("part", DataType::Utf8View, true));
        let parts = StructArray::from(vec![(part, Arc::clone(&texts))]);
        let columns: [(&str, ArrayRef); 3] =
            [("year", Arc::new(years)), ("text", texts), ("parts", Arc::new(parts) as ArrayRef)];
        let given = RecordBatch::try_from_iter(columns).expect("a batch");
        let plain = batch(&given, &schema(&given.schema())).expect("the same rows");
        let types: Vec<_> = plain.schema().fields().iter().map(|field| field.data_type().clone()).collect();
        let struct_type = DataType::Struct(vec![Field::new("part", DataType::Utf8, true)].into());
        assert_eq!(types, [DataType::Utf8, DataType::Utf8, struct_type]);
        let years: Vec<_> = plain.column(0).as_string::<i32>().iter().flatten().collect();
        assert_eq!(years, ["2025", "2026", "2025"]);
        let numbers: DictionaryArray<Int32Type> =
            DictionaryArray::new(vec![0, 0].into(), Arc::new(arrow::array::Int32Array::from(vec![2026])));
        let numbers = RecordBatch::try_from_iter([("n", Arc::new(numbers) as ArrayRef)]).expect("a batch");
        assert_eq!(schema(&numbers.schema()).field(0).data_type(), &DataType::Int32);
    }
}
