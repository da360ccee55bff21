//! Decodes pages of kept rows.

use std::borrow::Cow;

use super::{Column, KeptField, KeptKind, KeptRow, fields};
use crate::api::{Decoded, RowKey};
use crate::resource::json::{self, RepairedPage};
use crate::resource::page::{PageRows, with_rejected};
use crate::resource::time::year;
use crate::table::columns::batch;

/// Name of the partition column.
pub(super) const CREATED_YEAR: &str = "created_year";

/// The members of a reduced object.
type Members<'a> = Vec<(Cow<'a, str>, &'a str)>;

/// Decodes a page of rows of type `R`.
pub(in crate::resource) fn decode_rows<R: KeptRow>(body: &[u8]) -> Result<Decoded<PageRows>, String> {
    lay_out::<R>(json::reduce_page(body, &fields::<R>())?)
}

/// Decodes a body that is a single object of type `R`, as a page of one row.
pub(in crate::resource) fn decode_object<R: KeptRow>(body: &[u8]) -> Result<Decoded<PageRows>, String> {
    let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
    if first != Some(&b'{') {
        return Err("not an object".to_owned());
    }
    let mut page = json::reduce_page(&[b"[", body, b"]"].concat(), &fields::<R>())?;
    if let Some(rejected) = page.rejected.first() {
        return Err(rejected.reason.clone());
    }
    if page.rows.len() != 1 {
        return Err("not one object".to_owned());
    }
    page.total_count = Some(1);
    lay_out::<R>(page)
}

/// Returns the columns of rows of type `R`, without rows.
pub(super) fn no_rows<R: KeptRow>() -> Vec<Column> {
    all_columns::<R>(&[])
}

fn lay_out<R: KeptRow>(page: RepairedPage) -> Result<Decoded<PageRows>, String> {
    let RepairedPage { rows, rejected, odd, total_count, is_null } = page;
    let objects: Vec<_> = rows.iter().map(|row| json::members(row)).collect();
    let key = |object: &Option<Members<'_>>| {
        let object = object.as_ref()?;
        let id = text(value(object, "id")?)?.into_owned();
        Some(RowKey { id, created_at: created::<R>(object) })
    };
    let keys: Vec<_> = objects.iter().map(key).collect();
    let batch = batch(&all_columns::<R>(&objects), rows.len()).map_err(|error| error.to_string())?;
    Ok(with_rejected(keys, total_count, PageRows { batch, rejected, odd, is_null }))
}

fn all_columns<R: KeptRow>(objects: &[Option<Members<'_>>]) -> Vec<Column> {
    let mut columns = columns(R::FIELDS, objects);
    if R::BY_YEAR {
        let years = objects.iter().map(|object| Some(year(object.as_ref().and_then(created::<R>))));
        let meaning = "UTC year of the creation, or 0 if it is unknown. Partition column.";
        columns.push(Column::year(CREATED_YEAR, meaning, years));
    }
    columns
}

fn created<R: KeptRow>(object: &Members<'_>) -> Option<i64> {
    value(object, R::CREATED?)?.parse().ok()
}

/// Returns the columns for `fields` of these objects.
fn columns(fields: &[KeptField], objects: &[Option<Members<'_>>]) -> Vec<Column> {
    fields.iter().map(|field| column(field, objects)).collect()
}

/// Returns the column for a field. Every value has the right type, because the objects are reduced to the kept fields.
fn column(field: &KeptField, objects: &[Option<Members<'_>>]) -> Column {
    let KeptField { path, column: name, meaning, kind } = *field;
    let values: Vec<Option<&str>> = objects.iter().map(|object| value(object.as_ref()?, path)).collect();
    let values = || values.iter().copied();
    match kind {
        KeptKind::Text => {
            let texts: Vec<_> = values().map(|raw| text(raw?)).collect();
            Column::text(name, meaning, texts.iter().map(Option::as_deref))
        }
        KeptKind::Flag => Column::flag(name, meaning, values().map(|raw| raw.map(|raw| raw == "true"))),
        KeptKind::Integer => Column::integer(name, meaning, values().map(|raw| raw?.parse().ok())),
        KeptKind::Number => Column::number(name, meaning, values().map(|raw| raw?.parse().ok())),
        KeptKind::Time => Column::time(name, meaning, values().map(|raw| raw?.parse().ok())),
        KeptKind::Json => Column::text(name, meaning, values()),
        KeptKind::Texts => {
            let lists = values().map(|raw| Some(json::elements(raw?)?.into_iter().map(text).collect()));
            Column::texts(name, meaning, lists)
        }
        KeptKind::TextsOf(field) => {
            let text_of = |element| text(value(&json::members(element)?, field)?);
            Column::texts(
                name,
                meaning,
                values().map(|raw| Some(json::elements(raw?)?.into_iter().map(text_of).collect())),
            )
        }
        KeptKind::Object(fields) => {
            let nested: Vec<_> = values().map(|raw| json::members(raw?)).collect();
            Column::structure(name, meaning, &columns(fields, &nested), nested.iter().map(Option::is_some))
        }
        KeptKind::List(fields) => {
            let lists: Vec<_> = values().map(|raw| json::elements(raw?)).collect();
            let nested: Vec<_> = lists.iter().flatten().flatten().map(|element| json::members(element)).collect();
            let lengths = lists.iter().map(|list| list.as_ref().map(Vec::len));
            Column::list(name, meaning, lengths, &columns(fields, &nested))
        }
    }
}

/// Returns the text of the string `raw`.
fn text(raw: &str) -> Option<Cow<'_, str>> {
    json::decode_text(raw).map(|(text, _)| text)
}

/// Returns the JSON at `path` in the object; `None` if it is missing or null.
fn value<'a>(object: &[(Cow<'_, str>, &'a str)], path: &str) -> Option<&'a str> {
    let (name, rest) = path.split_once('.').map_or((path, None), |(name, rest)| (name, Some(rest)));
    let (_, raw) = object.iter().find(|(known, _)| known == name)?;
    match rest {
        None => Some(*raw).filter(|raw| *raw != "null"),
        Some(rest) => value(&json::members(raw)?, rest),
    }
}
