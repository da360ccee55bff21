//! Rows of the lists that have no type of their own: each is the JSON object that the API shows, without the parts that
//! follow from other rows.

use serde_json::{Map, Value};

/// A row of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredRow {
    /// The id.
    pub id: String,
    /// Time of creation, Unix milliseconds. Rows of some lists do not show it.
    pub created_at: i64,
    /// The fields that do not follow from other rows, with Clerk's names.
    pub fields: Map<String, Value>,
    /// Ids of other rows that this one consists of, such as the permissions of a role.
    pub parts: Vec<String>,
}

impl StoredRow {
    /// Creates a row from a JSON object. Adds its `id`.
    #[must_use]
    pub fn new(id: String, created_at: i64, fields: Value) -> Self {
        let Value::Object(mut fields) = fields else { return Self::new(id, created_at, Value::Object(Map::new())) };
        fields.insert("id".to_owned(), id.clone().into());
        Self { id, created_at, fields, parts: Vec::new() }
    }

    /// Creates a row from a JSON object. Adds its `id`, `created_at` and `updated_at`.
    #[must_use]
    pub fn with_times(id: String, created_at: i64, fields: Value) -> Self {
        let mut row = Self::new(id, created_at, fields);
        row.set("created_at", created_at);
        row.set("updated_at", created_at);
        row
    }

    /// Returns a text field; the empty text if there is none.
    #[must_use]
    pub fn text(&self, name: &str) -> &str {
        self.fields.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// Returns an integer field.
    #[must_use]
    pub fn integer(&self, name: &str) -> Option<i64> {
        self.fields.get(name).and_then(Value::as_i64)
    }

    /// Returns whether a field is `true`.
    #[must_use]
    pub fn flag(&self, name: &str) -> bool {
        self.fields.get(name) == Some(&Value::Bool(true))
    }

    /// Sets a field.
    pub fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.fields.insert(name.to_owned(), value.into());
    }
}
