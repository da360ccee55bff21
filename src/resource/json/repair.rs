//! Repairs rows whose JSON does not match the types of the contract.
//!
//! A repaired row holds only the fields that have a column. Data that must never be stored (private metadata, tokens,
//! redirect URLs) has no column and is dropped. A field of the wrong type becomes null.

use std::borrow::Cow;
use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::scan;

/// The fields of an object, grouped by the JSON type that they must have. Every field may be null or missing.
#[derive(Clone, Copy, Debug)]
pub struct FieldTypes {
    /// Strings.
    pub text: &'static [&'static str],
    /// Booleans.
    pub flags: &'static [&'static str],
    /// Whole numbers.
    pub integers: &'static [&'static str],
    /// Times, in Unix milliseconds.
    pub times: &'static [&'static str],
    /// JSON of any type, kept as raw text.
    pub json: &'static [&'static str],
    /// Objects.
    pub objects: &'static [(&'static str, &'static Self)],
    /// Lists of objects.
    pub lists: &'static [(&'static str, &'static Self)],
}

impl FieldTypes {
    /// No fields. Used as the base in struct update syntax.
    pub const EMPTY: Self =
        Self { text: &[], flags: &[], integers: &[], times: &[], json: &[], objects: &[], lists: &[] };

    fn scalars(&self) -> impl Iterator<Item = (&'static str, ScalarType)> + use<> {
        let of = |names: &'static [&'static str], scalar| names.iter().map(move |name| (*name, scalar));
        of(self.text, ScalarType::Text)
            .chain(of(self.flags, ScalarType::Flag))
            .chain(of(self.integers, ScalarType::Integer))
            .chain(of(self.times, ScalarType::Time))
            .chain(of(self.json, ScalarType::Json))
    }

    /// Returns the names of all fields, sorted.
    #[cfg(test)]
    pub(in crate::resource) fn sorted_names(&self) -> Vec<&'static str> {
        let mut names: Vec<_> = self.names().collect();
        names.sort_unstable();
        names
    }

    fn names(&self) -> impl Iterator<Item = &'static str> + use<> {
        let nested = self.objects.iter().chain(self.lists).map(|(name, _)| *name);
        self.scalars().map(|(name, _)| name).chain(nested)
    }
}

#[derive(Clone, Copy, Debug)]
enum ScalarType {
    Text,
    Flag,
    Integer,
    Time,
    Json,
}

impl ScalarType {
    /// Returns the type in words, as in [`OddField::expected`].
    fn expected(self) -> &'static str {
        match self {
            Self::Text => "a string",
            Self::Flag => "a boolean",
            Self::Integer => "a whole number",
            Self::Time => "a time in Unix milliseconds",
            Self::Json => "JSON",
        }
    }

    /// Returns `raw` in a form that a strict parser accepts, or `None` if it has the wrong type.
    fn read(self, raw: &str) -> Option<Cow<'_, str>> {
        if raw == "null" {
            return Some(Cow::Borrowed(raw));
        }
        match self {
            Self::Text => {
                let (text, is_broken) = scan::text(raw)?;
                if is_broken { serde_json::to_string(&text).ok().map(Cow::Owned) } else { Some(Cow::Borrowed(raw)) }
            }
            Self::Flag => matches!(raw, "true" | "false").then_some(Cow::Borrowed(raw)),
            Self::Integer => whole_number(raw).map(|number| Cow::Owned(number.to_string())),
            Self::Time => {
                let time = whole_number(raw).filter(|time| super::CALENDAR.contains(time))?;
                Some(Cow::Owned(time.to_string()))
            }
            Self::Json => Some(Cow::Borrowed(raw)),
        }
    }
}

/// Parses a whole number, written as `7`, `7.0` or `0.7e1`. Returns `None` if `raw` is not one.
fn whole_number(raw: &str) -> Option<i64> {
    if !raw.starts_with(|c: char| c == '-' || c.is_ascii_digit()) {
        return None;
    }
    raw.parse().ok().or_else(|| super::whole(raw.parse().ok()?))
}

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

/// Repairs the object `raw`. Returns `None` if it is not an object.
pub(super) fn repair(raw: &str, shapes: &[&FieldTypes]) -> Option<Repaired> {
    let mut repaired = Repaired::default();
    repaired.push_object(raw, shapes, "")?;
    repaired.odd.sort();
    repaired.odd.dedup();
    Some(repaired)
}

impl Repaired {
    fn push_object(&mut self, raw: &str, shapes: &[&FieldTypes], path: &str) -> Option<()> {
        let mut members: HashMap<Cow<'_, str>, &str> = HashMap::new();
        for (name, value) in scan::members(raw)? {
            if shapes.iter().any(|shape| shape.names().any(|known| known == name)) {
                members.insert(name, value);
            }
        }
        self.json.push('{');
        let start = self.json.len();
        for shape in shapes {
            for (name, scalar) in shape.scalars() {
                let Some(value) = members.remove(name) else { continue };
                self.push_name(name, start);
                match scalar.read(value) {
                    Some(value) => self.json.push_str(&value),
                    None => self.push_null(format!("{path}{name}"), scalar.expected(), value),
                }
            }
            for (name, of) in shape.objects {
                let Some(value) = members.remove(*name) else { continue };
                self.push_name(name, start);
                self.push_nested(value, of, &format!("{path}{name}"), "an object");
            }
            for (name, of) in shape.lists {
                let Some(value) = members.remove(*name) else { continue };
                self.push_name(name, start);
                self.push_list(value, of, &format!("{path}{name}"));
            }
        }
        self.json.push('}');
        Some(())
    }

    fn push_name(&mut self, name: &str, start: usize) {
        if self.json.len() > start {
            self.json.push(',');
        }
        self.json.push('"');
        self.json.push_str(name);
        self.json.push_str("\":");
    }

    fn push_null(&mut self, field: String, expected: &'static str, value: &str) {
        self.json.push_str("null");
        self.record(field, expected, value);
    }

    fn record(&mut self, field: String, expected: &'static str, value: &str) {
        let is_numeric = matches!(expected, "a whole number" | "a time in Unix milliseconds");
        let found = match scan::type_name(value) {
            "a number" if is_numeric => "another number",
            other => other,
        };
        self.odd.push(OddField { field, expected: expected.into(), found: found.into() });
    }

    fn push_nested(&mut self, value: &str, shape: &FieldTypes, path: &str, expected: &'static str) {
        if value == "null" {
            self.json.push_str(value);
        } else if value.starts_with('{') {
            self.push_object(value, &[shape], &format!("{path}."));
        } else {
            self.push_null(path.to_owned(), expected, value);
        }
    }

    /// Pushes a list of objects. Elements that are not objects are dropped.
    fn push_list(&mut self, value: &str, shape: &FieldTypes, path: &str) {
        if value == "null" {
            self.json.push_str(value);
            return;
        }
        let Some(elements) = scan::elements(value) else {
            return self.push_null(path.to_owned(), "a list", value);
        };
        self.json.push('[');
        let start = self.json.len();
        for element in elements {
            if element.starts_with('{') {
                if self.json.len() > start {
                    self.json.push(',');
                }
                self.push_object(element, &[shape], &format!("{path}[]."));
            } else {
                self.record(format!("{path}[]"), "an object", element);
            }
        }
        self.json.push(']');
    }
}
