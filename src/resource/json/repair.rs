//! Rows whose JSON does not have the types that the contract promises, made fit to be read.
//!
//! A repaired row holds the fields that have a column and nothing else: whatever must never be stored (private
//! metadata, tokens, redirect URLs) is left out because nobody asks for it. A field of another type becomes null.

use std::borrow::Cow;
use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::scan;

/// The fields of an object, by the JSON type that each of them must have. Every one of them may be null or missing.
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
    /// JSON of any type, kept as text.
    pub json: &'static [&'static str],
    /// Objects.
    pub objects: &'static [(&'static str, &'static Self)],
    /// Lists of objects.
    pub lists: &'static [(&'static str, &'static Self)],
}

impl FieldTypes {
    /// A shape without fields, for shapes to be written by what they have.
    pub const EMPTY: Self =
        Self { text: &[], flags: &[], integers: &[], times: &[], json: &[], objects: &[], lists: &[] };

    fn scalars(&self) -> impl Iterator<Item = (&'static str, Kind)> + use<> {
        let of = |names: &'static [&'static str], kind| names.iter().map(move |name| (*name, kind));
        of(self.text, Kind::Text)
            .chain(of(self.flags, Kind::Flag))
            .chain(of(self.integers, Kind::Integer))
            .chain(of(self.times, Kind::Time))
            .chain(of(self.json, Kind::Json))
    }

    /// The names of all fields, sorted.
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
enum Kind {
    Text,
    Flag,
    Integer,
    Time,
    Json,
}

impl Kind {
    fn expected(self) -> &'static str {
        match self {
            Self::Text => "a string",
            Self::Flag => "a boolean",
            Self::Integer => "a whole number",
            Self::Time => "a time in Unix milliseconds",
            Self::Json => "JSON",
        }
    }

    /// Returns `raw` as a strict parser takes it, or `None` if it is of another type.
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

/// Returns the whole number that `raw` stands for, be it written as `7`, `7.0` or `0.7e1`.
fn whole_number(raw: &str) -> Option<i64> {
    if !raw.starts_with(|c: char| c == '-' || c.is_ascii_digit()) {
        return None;
    }
    raw.parse().ok().or_else(|| super::whole(raw.parse().ok()?))
}

/// A field whose value has another type than the contract promises.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct OddField {
    /// The field, such as `locked` or `email_addresses[].verification`. A name that ends with `[]` is an element of
    /// a list.
    pub field: String,
    /// What belongs there, such as "a boolean".
    pub expected: Cow<'static, str>,
    /// What was there, such as "a string": never the value.
    pub found: Cow<'static, str>,
}

/// An object, repaired.
#[derive(Debug, Default)]
pub(super) struct Repaired {
    /// The object's JSON, without what has no column.
    pub json: String,
    /// Fields that are null now, each once.
    pub odd: Vec<OddField>,
}

/// Repairs the object `raw`; `None` if it is not an object.
pub(super) fn repair(raw: &str, shapes: &[&FieldTypes]) -> Option<Repaired> {
    let mut repaired = Repaired::default();
    repaired.object(raw, shapes, "")?;
    repaired.odd.sort();
    repaired.odd.dedup();
    Some(repaired)
}

impl Repaired {
    fn object(&mut self, raw: &str, shapes: &[&FieldTypes], path: &str) -> Option<()> {
        let mut members: HashMap<Cow<'_, str>, &str> = HashMap::new();
        for (name, value) in scan::members(raw)? {
            if shapes.iter().any(|shape| shape.names().any(|known| known == name)) {
                members.insert(name, value);
            }
        }
        self.json.push('{');
        let start = self.json.len();
        for shape in shapes {
            for (name, kind) in shape.scalars() {
                let Some(value) = members.remove(name) else { continue };
                self.name(name, start);
                match kind.read(value) {
                    Some(value) => self.json.push_str(&value),
                    None => self.odd(format!("{path}{name}"), kind.expected(), value),
                }
            }
            for (name, of) in shape.objects {
                let Some(value) = members.remove(*name) else { continue };
                self.name(name, start);
                self.nested(value, of, &format!("{path}{name}"), "an object");
            }
            for (name, of) in shape.lists {
                let Some(value) = members.remove(*name) else { continue };
                self.name(name, start);
                self.list(value, of, &format!("{path}{name}"));
            }
        }
        self.json.push('}');
        Some(())
    }

    fn name(&mut self, name: &str, start: usize) {
        if self.json.len() > start {
            self.json.push(',');
        }
        self.json.push('"');
        self.json.push_str(name);
        self.json.push_str("\":");
    }

    fn odd(&mut self, field: String, expected: &'static str, value: &str) {
        self.json.push_str("null");
        self.note(field, expected, value);
    }

    fn note(&mut self, field: String, expected: &'static str, value: &str) {
        let is_numeric = matches!(expected, "a whole number" | "a time in Unix milliseconds");
        let found = match scan::type_name(value) {
            "a number" if is_numeric => "another number",
            other => other,
        };
        self.odd.push(OddField { field, expected: expected.into(), found: found.into() });
    }

    fn nested(&mut self, value: &str, shape: &FieldTypes, path: &str, expected: &'static str) {
        if value == "null" {
            self.json.push_str(value);
        } else if value.starts_with('{') {
            self.object(value, &[shape], &format!("{path}."));
        } else {
            self.odd(path.to_owned(), expected, value);
        }
    }

    /// A list of objects; an element that is none is left out.
    fn list(&mut self, value: &str, shape: &FieldTypes, path: &str) {
        if value == "null" {
            self.json.push_str(value);
            return;
        }
        let Some(elements) = scan::elements(value) else {
            return self.odd(path.to_owned(), "a list", value);
        };
        self.json.push('[');
        let start = self.json.len();
        for element in elements {
            if element.starts_with('{') {
                if self.json.len() > start {
                    self.json.push(',');
                }
                self.object(element, &[shape], &format!("{path}[]."));
            } else {
                self.note(format!("{path}[]"), "an object", element);
            }
        }
        self.json.push(']');
    }
}
