//! Repairs rows whose JSON does not match the types of the contract.
//!
//! A repaired row holds only the fields that have a column. Data that must never be stored (private metadata, tokens,
//! redirect URLs) has no column and is dropped. A field of the wrong type becomes null.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::fields::{FieldType, RowFields};
use super::scan;

/// A field whose value had the wrong type.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct OddField {
    /// Path of the field, such as `locked` or `email_addresses[].verification`. A path that ends with `[]` stands for
    /// an element of a list.
    pub field: String,
    /// The expected type, such as "a boolean".
    pub expected: Cow<'static, str>,
    /// The type that was found, such as "a string". Never the value.
    pub found: Cow<'static, str>,
}

/// A repaired object.
#[derive(Debug, Default)]
pub(super) struct Repaired {
    /// The object's JSON, reduced to the fields that have a column.
    pub json: String,
    /// The fields that were set to null, each listed once.
    pub odd: Vec<OddField>,
}

/// Repairs the object `raw`: reduces it to `fields`, and sets those of the wrong type to null. Returns `None` if it is not
/// an object.
pub(super) fn repair(raw: &str, fields: &RowFields) -> Option<Repaired> {
    let mut repaired = Repaired::default();
    repaired.push_object(raw, fields, "")?;
    repaired.odd.sort();
    repaired.odd.dedup();
    Some(repaired)
}

impl Repaired {
    fn push_object(&mut self, raw: &str, fields: &RowFields, path: &str) -> Option<()> {
        let members = scan::members(raw)?;
        self.json.push('{');
        let start = self.json.len();
        for (name, of) in fields.iter() {
            // If a name occurs several times, the last member wins.
            let Some((_, value)) = members.iter().rev().find(|(known, _)| known == name) else { continue };
            self.push_name(name, start);
            self.push_value(value, of, &format!("{path}{name}"));
        }
        self.json.push('}');
        Some(())
    }

    fn push_name(&mut self, name: &str, start: usize) {
        self.push_comma(start);
        self.json.push('"');
        self.json.push_str(name);
        self.json.push_str("\":");
    }

    /// Pushes a comma, unless nothing has been pushed since the JSON had the length `start`.
    fn push_comma(&mut self, start: usize) {
        if self.json.len() > start {
            self.json.push(',');
        }
    }

    fn push_value(&mut self, value: &str, of: &FieldType, path: &str) {
        match of {
            _ if value == "null" => self.json.push_str(value),
            FieldType::Object(fields) if value.starts_with('{') => {
                self.push_object(value, fields, &format!("{path}."));
            }
            FieldType::List(fields) if value.starts_with('[') => {
                self.push_list(value, path, "an object", |repaired, element| {
                    repaired.push_object(element, fields, &format!("{path}[]."))
                });
            }
            FieldType::Texts if value.starts_with('[') => {
                self.push_list(value, path, FieldType::Text.expected(), |repaired, element| {
                    let text = FieldType::Text.read(element).filter(|_| element != "null")?;
                    repaired.json.push_str(&text);
                    Some(())
                });
            }
            of => {
                let read = of.read(value);
                self.json.push_str(read.as_deref().unwrap_or("null"));
                if read.is_none() {
                    self.record(path.to_owned(), of.expected(), value);
                }
            }
        }
    }

    fn record(&mut self, field: String, expected: &'static str, value: &str) {
        let is_numeric = matches!(expected, "a whole number" | "a finite number" | "a time in Unix milliseconds");
        let found = match scan::type_name(value) {
            "a number" if is_numeric => "another number",
            other => other,
        };
        self.odd.push(OddField { field, expected: expected.into(), found: found.into() });
    }

    /// Pushes a list. Elements that `push` refuses, because they are not what is `expected`, are dropped.
    fn push_list(
        &mut self,
        value: &str,
        path: &str,
        expected: &'static str,
        push: impl Fn(&mut Self, &str) -> Option<()>,
    ) {
        self.json.push('[');
        let start = self.json.len();
        for element in scan::elements(value).unwrap_or_default() {
            let end = self.json.len();
            self.push_comma(start);
            if push(self, element).is_none() {
                self.json.truncate(end);
                self.record(format!("{path}[]"), expected, element);
            }
        }
        self.json.push(']');
    }
}
