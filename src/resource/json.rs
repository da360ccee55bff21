//! A page's JSON to typed rows, without a tree of values in between: strings are borrowed where they hold no
//! escapes, metadata stays raw.
//!
//! Unknown fields are ignored and missing ones are null. A row that cannot be read (no id, a string where a
//! number belongs) is set aside with its JSON and the reason; the rest of the page goes on.

use std::borrow::Cow;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

use serde::de::{Error as _, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::api::RowKey;

/// A row that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejected {
    /// The row as it came.
    pub raw: String,
    /// Why it could not be read.
    pub reason: String,
    /// Its place in the page.
    pub at: usize,
    /// Its key, where it has an id.
    pub key: Option<RowKey>,
}

impl Rejected {
    /// What tells the row from others: its id, or its JSON where it has none.
    #[must_use]
    pub fn name(&self) -> &str {
        self.key.as_ref().map_or(self.raw.as_str(), |key| key.id.as_str())
    }
}

/// A page's rows, and what of it could not be read.
#[derive(Debug)]
pub struct Rows<R> {
    /// The rows, in the order of the page.
    pub rows: Vec<R>,
    /// Rows set aside.
    pub rejected: Vec<Rejected>,
    /// How many rows the server says the whole listing has.
    pub total_count: Option<u64>,
}

#[derive(Deserialize)]
#[serde(bound(deserialize = "R: Deserialize<'de>"))]
struct Envelope<R> {
    data: Vec<R>,
    total_count: Option<u64>,
}

/// Reads a page: a bare array, or an envelope of `data` and `total_count`.
///
/// # Errors
/// What is wrong with it, where it is neither.
pub fn read_page<'a, R: Deserialize<'a>>(body: &'a [u8]) -> Result<Rows<R>, String> {
    // Checked once for the whole page instead of once for each text.
    let body = std::str::from_utf8(body).map_err(|error| format!("not UTF-8: {error}"))?;
    if let Ok(page) = read_all::<R>(body) {
        return Ok(Rows { rows: page.data, rejected: Vec::new(), total_count: page.total_count });
    }
    let page = read_all::<&'a RawValue>(body).map_err(|error| format!("not a list of objects: {error}"))?;
    let mut rows = Vec::with_capacity(page.data.len());
    let mut rejected = Vec::new();
    for (at, raw) in page.data.into_iter().map(RawValue::get).enumerate() {
        match serde_json::from_str(raw) {
            Ok(row) => rows.push(row),
            Err(error) => {
                let raw = storable(raw);
                rejected.push(Rejected { key: key_of(&raw), raw, reason: error.to_string(), at });
            }
        }
    }
    Ok(Rows { rows, rejected, total_count: page.total_count })
}

/// Fields that are never stored, whatever row they are in.
const NEVER_STORED: [&str; 3] = ["private_metadata", "password_digest", "url"];

/// A row's JSON without what is never stored.
pub(crate) fn storable(raw: &str) -> String {
    match serde_json::from_str::<Value>(raw) {
        Ok(mut row) => {
            strip(&mut row);
            row.to_string()
        }
        // What cannot be taken apart may hold what is never stored: that it was there is all that is kept of it.
        Err(error) => {
            let mut hasher = DefaultHasher::new();
            raw.hash(&mut hasher);
            json!({ "not_kept": error.to_string(), "bytes": raw.len(), "hash": format!("{:016x}", hasher.finish()) })
                .to_string()
        }
    }
}

/// Takes out what is never stored, however deep it lies.
fn strip(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, _| !NEVER_STORED.contains(&name.as_str()));
            fields.values_mut().for_each(strip);
        }
        Value::Array(values) => values.iter_mut().for_each(strip),
        _ => {}
    }
}

/// The key of a row that cannot be read as what it should be, where at least that much of it can.
fn key_of(raw: &str) -> Option<RowKey> {
    let row: Value = serde_json::from_str(raw).ok()?;
    let id = row.get("id")?.as_str().filter(|id| !id.is_empty())?;
    Some(RowKey { id: id.to_owned(), created_at: row.get("created_at").and_then(Value::as_i64) })
}

fn read_all<'a, R: Deserialize<'a>>(body: &'a str) -> serde_json::Result<Envelope<R>> {
    if body.trim_start().starts_with('{') {
        serde_json::from_str(body)
    } else {
        serde_json::from_str(body).map(|data| Envelope { data, total_count: None })
    }
}

/// A required id: text that is not empty.
///
/// # Errors
/// Where it is neither.
pub fn id<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Cow<'a, str>, D::Error> {
    let Text(text) = Text::deserialize(deserializer)?;
    if text.is_empty() { Err(D::Error::invalid_value(Unexpected::Str(""), &"an id")) } else { Ok(text) }
}

/// Optional text, borrowed where the JSON allows.
///
/// # Errors
/// Where it is there and no text.
pub fn text<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Cow<'a, str>>, D::Error> {
    Ok(Option::<Text<'a>>::deserialize(deserializer)?.map(|Text(text)| text))
}

/// The furthest moment from 1970 that a time may have, in milliseconds: the range of calendar dates.
const FURTHEST: i64 = 8_210_000_000_000_000;

/// An optional moment in Unix milliseconds.
///
/// # Errors
/// Where it is there and no whole number, or beyond the calendar.
pub fn millis<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    match Option::<i64>::deserialize(deserializer)? {
        Some(millis) if !(-FURTHEST..=FURTHEST).contains(&millis) => {
            Err(D::Error::invalid_value(Unexpected::Signed(millis), &"a moment in Unix milliseconds"))
        }
        millis => Ok(millis),
    }
}

/// Text that borrows from the JSON unless an escape forces a copy (serde's own `Cow` always copies inside `Option`).
struct Text<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Cow<'de, str>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Cow::Borrowed(text))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Cow::Owned(text.to_owned()))
            }
        }
        deserializer.deserialize_str(TextVisitor).map(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize, Debug)]
    struct Row<'a> {
        #[serde(borrow, deserialize_with = "id")]
        id: Cow<'a, str>,
        #[serde(borrow, default, deserialize_with = "text")]
        name: Option<Cow<'a, str>>,
        #[serde(default, deserialize_with = "millis")]
        at: Option<i64>,
    }

    #[test]
    fn a_row_that_cannot_be_taken_apart_is_set_aside_without_its_text() {
        let body = br#"[{"id":"a","name":"\ud800","private_metadata":{"plan":"secret"}},{"id":"b","at":1e999}]"#;
        let page = read_page::<Row<'_>>(body).unwrap();
        assert_eq!(page.rejected.len(), 2);
        for rejected in &page.rejected {
            assert!(!rejected.raw.contains("secret") && rejected.raw.contains("not_kept"), "{}", rejected.raw);
            assert!(!rejected.name().contains("secret"), "{}", rejected.name());
        }
        assert_ne!(page.rejected[0].raw, page.rejected[1].raw);
    }

    #[test]
    fn rows_that_cannot_be_read_are_set_aside_and_the_rest_goes_on() {
        let body = br#"[{"id":"a","name":"x\"y","new":[1]},{"name":"no id"},{"id":"","at":1},{"id":"b","at":"1"},
            {"id":"c","at":9223372036854775807},{"id":"d","at":1700000000000,"name":null}]"#;
        let page = read_page::<Row<'_>>(body).unwrap();
        let ids: Vec<_> = page.rows.iter().map(|row| (row.id.as_ref(), row.name.as_deref(), row.at)).collect();
        assert_eq!(ids, [("a", Some("x\"y"), None), ("d", None, Some(1_700_000_000_000))]);
        assert_eq!(page.rejected.len(), 4);
        assert_eq!(page.rejected[2].raw, r#"{"at":"1","id":"b"}"#);
        assert_eq!(page.rejected[2].name(), "b");
        assert_eq!(page.rejected.iter().map(|row| row.at).collect::<Vec<_>>(), [1, 2, 3, 4]);
        assert!(page.rejected[2].reason.contains("invalid type: string"), "{}", page.rejected[2].reason);
    }

    #[test]
    fn a_row_set_aside_keeps_nothing_private() {
        let page = read_page::<Row<'_>>(br#"[{"id":7,"private_metadata":{"secret":1},"name":"n"}]"#).unwrap();
        assert_eq!(page.rejected[0].raw, r#"{"id":7,"name":"n"}"#);
    }

    #[test]
    fn strings_without_escapes_are_borrowed() {
        let page = read_page::<Row<'_>>(br#"{"data":[{"id":"a","name":"b"}],"total_count":7}"#).unwrap();
        assert!(matches!(page.rows[0].name, Some(Cow::Borrowed("b"))));
        assert_eq!(page.total_count, Some(7));
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for body in [&b""[..], b"[", b"{}", b"null", b"<html>", br#"{"data":7}"#, b"[{\"id\":\"a\"}"] {
            assert!(read_page::<Row<'_>>(body).is_err(), "{}", String::from_utf8_lossy(body));
        }
    }
}
