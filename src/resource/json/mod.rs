//! Parses a page's JSON into typed rows.
//!
//! No tree of JSON values is built: strings without escapes are borrowed, and metadata stays raw JSON. Unknown fields
//! are ignored, and missing fields are null.
//!
//! A page whose types match the contract is parsed in one step. Any other page is repaired row by row: a field of the
//! wrong type becomes null and is counted, and a row is rejected only if its id cannot be read.

mod fields;
mod repair;
mod scan;
mod store;

use std::borrow::Cow;
use std::fmt::{self, Write};
use std::ops::RangeInclusive;

use serde::de::{Error as _, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::error::Category;
use serde_json::value::RawValue;

use crate::api::RowKey;
pub use fields::{FieldType, FieldTypes, RowFields};
pub use repair::OddField;
pub(super) use scan::{elements, members, text as decode_text};
pub(crate) use store::storable;

/// The valid range of times, in Unix milliseconds: the range of calendar dates.
const CALENDAR: RangeInclusive<i64> = -8_210_000_000_000_000..=8_210_000_000_000_000;

/// A rejected row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejected {
    /// The row's id, or a hash of the row if it has no readable id.
    pub name: String,
    /// The row's JSON, reduced to the fields that have a column.
    pub raw: String,
    /// Why the row could not be read. Never includes a value.
    pub reason: String,
    /// The row's position in the page, from 0.
    pub at: usize,
    /// The row's key; `None` if it has no readable id.
    pub key: Option<RowKey>,
}

impl Rejected {
    /// Returns the row's id, or a hash of the row if it has no readable id.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// A row that was kept, but with some fields set to null because they had the wrong type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OddRow {
    /// The row's id.
    pub id: String,
    /// The row's JSON after the repair.
    pub raw: String,
    /// The fields that were set to null.
    pub fields: Vec<OddField>,
}

/// The rows of one page.
#[derive(Debug)]
pub struct Rows<R> {
    /// The rows, in the order of the page.
    pub rows: Vec<R>,
    /// The number of rows in the whole listing, as stated by the server.
    pub total_count: Option<u64>,
    /// Whether the page held `null` instead of a list.
    pub is_null: bool,
}

/// A page whose rows were reduced to the fields that are read, because [`read_page`] refuses it or has no typed row for it.
#[derive(Debug, Default)]
pub struct RepairedPage {
    /// The JSON of each row that can be read.
    pub rows: Vec<String>,
    /// Rejected rows.
    pub rejected: Vec<Rejected>,
    /// Rows with fields that were set to null.
    pub odd: Vec<OddRow>,
    /// The number of rows in the whole listing, as stated by the server.
    pub total_count: Option<u64>,
    /// Whether the page held `null` instead of a list.
    pub is_null: bool,
}

#[derive(Deserialize)]
#[serde(bound(deserialize = "R: Deserialize<'de>"))]
struct Envelope<R> {
    // No `default`: an object without `data` is not a list.
    #[serde(deserialize_with = "null_or_list")]
    data: Option<Vec<R>>,
    #[serde(default, deserialize_with = "integer")]
    total_count: Option<i64>,
}

fn null_or_list<'de, R: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<R>>, D::Error> {
    Option::deserialize(deserializer)
}

/// Parses a page whose rows all match the types of the contract. The page is an array, or an object with `data` and
/// `total_count`.
///
/// # Errors
/// Returns what is wrong with the page. The text never includes a value.
pub fn read_page<'a, R: Deserialize<'a>>(body: &'a [u8]) -> Result<Rows<R>, String> {
    // UTF-8 is validated once for the whole page instead of once per string.
    let body = std::str::from_utf8(body).map_err(|error| format!("not UTF-8: {error}"))?;
    if !body.trim_start().starts_with('{') {
        let rows: Option<Vec<R>> = serde_json::from_str(body).map_err(|error| not_a_list(&error))?;
        let is_null = rows.is_none();
        return Ok(Rows { rows: rows.unwrap_or_default(), total_count: None, is_null });
    }
    let Envelope { data, total_count } = serde_json::from_str(body).map_err(|error| not_a_list(&error))?;
    let total_count = total_count.map(u64::try_from).transpose();
    let total_count = total_count.map_err(|_| "the total count is negative".to_owned())?;
    match data {
        Some(rows) => Ok(Rows { rows, total_count, is_null: false }),
        None if total_count == Some(0) => Ok(Rows { rows: Vec::new(), total_count, is_null: true }),
        None => Err("not a list: data is null, although the total count is not 0".to_owned()),
    }
}

/// Repairs a page that [`read_page`] refuses. Rows for whose JSON `is_readable` returns true are kept unchanged.
///
/// # Errors
/// Returns what is wrong with the page if it is not a list. The text never includes a value.
pub fn repair_page(
    body: &[u8],
    fields: &RowFields,
    is_readable: impl Fn(&str) -> bool,
) -> Result<RepairedPage, String> {
    read_raw_page(body, |page, at, raw| {
        if is_readable(raw) {
            page.rows.push(raw.to_owned());
        } else {
            page.take(at, raw, fields, &is_readable);
        }
    })
}

/// Reads a page whose rows have no type of their own. Each row is reduced to `fields`.
///
/// # Errors
/// Returns what is wrong with the page if it is not a list. The text never includes a value.
pub fn reduce_page(body: &[u8], fields: &RowFields) -> Result<RepairedPage, String> {
    read_raw_page(body, |page, at, raw| page.take(at, raw, fields, &|_| true))
}

/// Calls `take` with the position and the JSON of each row of a page.
fn read_raw_page(body: &[u8], take: impl Fn(&mut RepairedPage, usize, &str)) -> Result<RepairedPage, String> {
    let body = String::from_utf8_lossy(body);
    let body = body.trim_start_matches('\u{feff}');
    let escaped;
    let page = match read_page::<&RawValue>(body.as_bytes()) {
        Ok(page) => page,
        Err(error) => {
            escaped = escape_controls(body).ok_or_else(|| error.clone())?;
            read_page::<&RawValue>(escaped.as_bytes()).map_err(|_| error)?
        }
    };
    let Rows { rows, total_count, is_null } = page;
    let mut page = RepairedPage { total_count, is_null, ..RepairedPage::default() };
    for (at, raw) in rows.into_iter().map(RawValue::get).enumerate() {
        take(&mut page, at, raw);
    }
    Ok(page)
}

impl RepairedPage {
    /// Returns the rows that can be read, as a JSON array.
    #[must_use]
    pub fn body(&self) -> String {
        format!("[{}]", self.rows.join(","))
    }

    /// Repairs the row `raw`, and rejects it if its id cannot be read.
    fn take(&mut self, at: usize, raw: &str, fields: &RowFields, is_readable: &impl Fn(&str) -> bool) {
        let Some(row) = repair::repair(raw, fields) else {
            let reason = format!("row is {}, expected an object", scan::type_name(raw));
            self.rejected.push(Rejected { name: hashed(raw), raw: "{}".to_owned(), reason, at, key: None });
            return;
        };
        match id_of(raw) {
            Ok(id) if is_readable(&row.json) => {
                if !row.odd.is_empty() {
                    self.odd.push(OddRow { id, raw: row.json.clone(), fields: row.odd });
                }
                self.rows.push(row.json);
            }
            Ok(id) => {
                let key = Some(RowKey { id: id.clone(), created_at: None });
                let reason = "row cannot be read, even without the fields of the wrong type".to_owned();
                self.rejected.push(Rejected { name: id, raw: row.json, reason, at, key });
            }
            Err(reason) => {
                let name = hashed(&row.json);
                self.rejected.push(Rejected { name, raw: row.json, reason, at, key: None });
            }
        }
    }
}

/// Returns the id of the object `raw`, or the reason why it has no readable id.
fn id_of(raw: &str) -> Result<String, String> {
    let members = scan::members(raw).unwrap_or_default();
    let id = members.iter().rev().find(|(name, _)| name == "id").map(|(_, value)| *value);
    match id.map(|id| (id, scan::text(id))) {
        None => Err("id is missing".to_owned()),
        Some((id, None)) => Err(format!("id is {}", scan::type_name(id))),
        Some((_, Some((id, is_broken)))) if is_broken || id.is_empty() => {
            Err(format!("id is {}", if is_broken { "not valid Unicode" } else { "empty" }))
        }
        Some((_, Some((id, _)))) => Ok(id.into_owned()),
    }
}

/// Returns a name for a row that has no readable id: a hash, which is stable and does not reveal the row.
fn hashed(text: &str) -> String {
    // FNV-1a, because the name is stored and must not depend on the compiler's version.
    let hash = |seed: u64| text.bytes().fold(seed, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    format!("hash:{:016x}", hash(0xcbf2_9ce4_8422_2325))
}

/// Escapes the control characters in the strings of `body`, or returns `None` if there are none.
fn escape_controls(body: &str) -> Option<String> {
    let (mut out, mut is_text, mut is_escape, mut found) = (String::with_capacity(body.len()), false, false, false);
    for c in body.chars() {
        if is_text && c < ' ' {
            let _ = write!(out, "\\u{:04x}", u32::from(c));
            found = true;
        } else {
            out.push(c);
        }
        is_text ^= c == '"' && !is_escape;
        is_escape = is_text && c == '\\' && !is_escape;
    }
    found.then_some(out)
}

/// Describes why a body is not a list. serde's own message for wrong data is not used, because it includes values.
fn not_a_list(error: &serde_json::Error) -> String {
    match error.classify() {
        Category::Data => format!("not a list of objects as in Clerk's contract (line {})", error.line()),
        Category::Syntax | Category::Eof | Category::Io => format!("not JSON: {error}"),
    }
}

/// Deserializes a required id: a string that is not empty.
///
/// # Errors
/// Returns an error if the value is not a string, or is empty.
pub fn id<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Cow<'a, str>, D::Error> {
    let JsonText(text) = JsonText::deserialize(deserializer)?;
    if text.is_empty() { Err(D::Error::invalid_value(Unexpected::Str(""), &"an id")) } else { Ok(text) }
}

/// Deserializes an optional string. It is borrowed if it holds no escapes.
///
/// # Errors
/// Returns an error if the value is neither null nor a string.
pub fn text<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Cow<'a, str>>, D::Error> {
    Ok(Option::<JsonText<'a>>::deserialize(deserializer)?.map(|JsonText(text)| text))
}

/// Deserializes an optional whole number, written as `7` or as `7.0`.
///
/// # Errors
/// Returns an error if the value is neither null nor a whole number.
pub fn integer<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    Ok(Option::<Whole>::deserialize(deserializer)?.map(|Whole(number)| number))
}

/// Deserializes an optional time in Unix milliseconds.
///
/// # Errors
/// Returns an error if the value is neither null nor a whole number, or is outside of the calendar range.
pub fn millis<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    match integer(deserializer)? {
        Some(millis) if !CALENDAR.contains(&millis) => {
            Err(D::Error::invalid_value(Unexpected::Signed(millis), &"a time in Unix milliseconds"))
        }
        millis => Ok(millis),
    }
}

/// Converts `number` to an integer. Returns `None` if it has a fraction or is too large.
#[expect(clippy::cast_possible_truncation, reason = "the number is whole and within range")]
fn whole(number: f64) -> Option<i64> {
    const BEYOND: f64 = 9_223_372_036_854_775_808.0;
    (number.fract() == 0.0 && number.abs() < BEYOND).then_some(number as i64)
}

struct Whole(i64);

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct WholeVisitor;
        impl Visitor<'_> for WholeVisitor {
            type Value = i64;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number")
            }

            fn visit_i64<E>(self, number: i64) -> Result<i64, E> {
                Ok(number)
            }

            fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<i64, E> {
                i64::try_from(number).map_err(|_| E::invalid_value(Unexpected::Unsigned(number), &self))
            }

            fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<i64, E> {
                whole(number).ok_or_else(|| E::invalid_value(Unexpected::Float(number), &self))
            }
        }
        deserializer.deserialize_i64(WholeVisitor).map(Self)
    }
}

/// A string that borrows from the JSON unless an escape forces a copy. serde's own `Cow` always copies in an `Option`.
struct JsonText<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for JsonText<'a> {
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
        deserializer.deserialize_str(TextVisitor).map(JsonText)
    }
}

#[cfg(test)]
pub(super) use tests::fields_of;

#[cfg(test)]
mod tests;
