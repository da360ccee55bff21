//! The rows of the resources whose tables are described by the meanings of their columns: each names the field of
//! Clerk's object that the column comes from. The rows are those that the simulator lists.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use chrono::Datelike;
use clerk_lake::simulator::List;
use clerk_lake::table::TableSpec;
use serde_json::{Map, Value};

use super::{Rows, moment, time};
use crate::support::{World, named};

/// Returns the rows that the table of the resource `name` must hold.
pub fn rows(world: &World, name: &str) -> Rows {
    let list: List = name.parse().unwrap_or_else(|_| panic!("no expected rows are defined for the table of {name}"));
    let table = &named(name).table;
    let objects = world.simulator.listed(list);
    objects.iter().map(|object| (text(&object["id"]), row(table, object))).collect()
}

/// Returns the row of the table for one of Clerk's objects.
pub fn row(table: &TableSpec, object: &Value) -> Value {
    let columns = (table.columns)().into_iter().map(|column| {
        let value = match field_of(column.meaning) {
            Some(path) => converted(column.name, column.array.data_type(), at(object, path)),
            None => created_year(column.name, object),
        };
        (column.name.to_owned(), value)
    });
    Value::Object(columns.collect())
}

/// Returns the field that a column comes from, which the meaning of the column ends with: "(`field`).".
fn field_of(meaning: &str) -> Option<&str> {
    meaning.strip_suffix("`).")?.rsplit_once("(`").map(|(_, path)| path)
}

/// Returns the value at the path in the object, or null.
fn at<'a>(object: &'a Value, path: &str) -> &'a Value {
    path.split('.').fold(object, |value, name| value.get(name).unwrap_or(&Value::Null))
}

/// Returns the year of creation, the only column that comes from no field.
fn created_year(column: &str, object: &Value) -> Value {
    assert_eq!(column, "created_year", "the meaning of {column} names no field");
    let created = object.get("created_at").or(object.get("timestamp"));
    created.and_then(Value::as_i64).map_or(0, |at| moment(at).year()).into()
}

/// Returns a value of Clerk's object as a column of this name and type shows it.
fn converted(name: &str, kind: &DataType, value: &Value) -> Value {
    match (kind, value) {
        (_, Value::Null) => Value::Null,
        (DataType::Utf8, Value::String(text)) => text.as_str().into(),
        (DataType::Utf8, json) => json.to_string().into(),
        (DataType::Timestamp(..), millis) => time(millis.as_i64().expect("a time")).into(),
        (DataType::Float64, number) => number.as_f64().into(),
        (DataType::Struct(fields), object) => {
            let fields = fields.iter().map(|field| (field.name().clone(), nested(field, object)));
            Value::Object(fields.collect::<Map<_, _>>())
        }
        (DataType::List(element), Value::Array(elements)) => {
            elements.iter().map(|value| converted_element(name, element, value)).collect()
        }
        (DataType::Boolean | DataType::Int64, value) => value.clone(),
        (kind, value) => panic!("{name}: no column of type {kind} can hold {value}"),
    }
}

/// Returns an element of a list. A list of ids comes from a list of objects that have them.
fn converted_element(name: &str, element: &Arc<Field>, value: &Value) -> Value {
    if *element.data_type() == DataType::Utf8 && value.is_object() {
        assert!(name.ends_with("_ids"), "{name} is not a list of ids");
        return value["id"].clone();
    }
    converted(name, element.data_type(), value)
}

/// Returns a field of a struct. It has the name of the field that it comes from, except for lists of ids.
fn nested(field: &Field, object: &Value) -> Value {
    let from = match field.name().as_str() {
        "payment_attempt_ids" => "items",
        name => name,
    };
    converted(field.name(), field.data_type(), &object[from])
}

fn text(id: &Value) -> String {
    id.as_str().expect("an id").to_owned()
}
