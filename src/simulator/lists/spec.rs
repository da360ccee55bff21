//! What a list declares: its path, its form, its parameters, and the life of its rows.

use std::fmt::Write;

use serde::Serialize;

use super::context::ListContext;
use super::page::SortKey;
use crate::simulator::list::List;
use crate::simulator::listing::QueryString;
use crate::simulator::model::{Model, StoredRow};

/// The form of a list's responses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::simulator) enum ListForm {
    /// `{"data": […], "total_count": N}`.
    Envelope,
    /// An array, or an envelope if `paginated=true`.
    Array,
    /// An envelope with all rows, whatever the limit and the offset.
    Whole,
}

/// Declaration of a list.
pub(in crate::simulator) struct ListSpec {
    pub list: List,
    /// The path. `{}` stands for the id of a row of [`ListSpec::parent`].
    pub path: &'static str,
    /// An older path of the same list.
    pub older_path: Option<&'static str>,
    /// The list whose rows have a list of their own each.
    pub parent: Option<List>,
    pub form: ListForm,
    /// The fields by which the list can be ordered.
    pub orders: &'static [&'static str],
    pub default_order: &'static str,
    /// The parameters that select rows.
    pub filters: &'static [&'static str],
    /// The allowed values of parameters.
    pub choices: &'static [(&'static str, &'static [&'static str])],
    /// Returns whether the list leaves rows out because no parameter asks for them.
    pub is_partial: fn(&QueryString) -> bool,
    /// Returns the value by which the list is ordered by a field.
    pub key: fn(&StoredRow, &str) -> SortKey,
    /// Returns whether the parameters select a row.
    pub matches: fn(&ListContext<'_>, &StoredRow) -> bool,
    /// Writes the fields that follow from other rows, or that depend on the request.
    pub complete: fn(&ListContext<'_>, &StoredRow, &mut String),
    /// Returns the initial number of rows for these numbers of users and organizations.
    pub usual_count: fn(usize, usize) -> usize,
    /// Creates a row at a time. The number is the number of rows so far. `None` if the row needs another one that does
    /// not exist.
    pub create: fn(&mut Model, i64, usize) -> Option<StoredRow>,
    /// Takes the next step in the life of a row now. Returns `false` if there is none.
    pub change: fn(&mut Model, &str) -> bool,
    /// Called after a row has been removed.
    pub removed: fn(&mut Model, &StoredRow),
}

impl ListSpec {
    /// Returns a declaration of an envelope list with an order by `created_at` only, without filters and rows.
    pub(super) const fn new(list: List, path: &'static str) -> Self {
        Self {
            list,
            path,
            older_path: None,
            parent: None,
            form: ListForm::Envelope,
            orders: &[],
            default_order: "-created_at",
            filters: &[],
            choices: &[],
            is_partial: |_| false,
            key: |row, field| SortKey::of(row.fields.get(field)),
            matches: |_, _| true,
            complete: |_, _, _| (),
            usual_count: |_, _| 0,
            create: |_, _, _| None,
            change: |_, _| false,
            removed: |_, _| (),
        }
    }

    /// Returns whether the list belongs to the organizations feature.
    pub(in crate::simulator) fn is_of_organizations(&self) -> bool {
        self.path.starts_with("/v1/organization") || self.list == List::RoleSets
    }

    /// Returns the parent's id if `path` is the path of this list; the empty text for a list without a parent.
    pub(in crate::simulator) fn parent_id<'a>(&self, path: &'a str) -> Option<&'a str> {
        match self.path.split_once("{}") {
            None => (path == self.path || Some(path) == self.older_path).then_some(""),
            Some((before, after)) => {
                path.strip_prefix(before)?.strip_suffix(after).filter(|id| !id.is_empty() && !id.contains('/'))
            }
        }
    }
}

/// Writes `,"name":` and the value.
pub(super) fn field(out: &mut String, name: &str, value: impl Serialize) {
    let value = serde_json::to_string(&value).unwrap_or_else(|_| "null".to_owned());
    raw(out, name, &value);
}

/// Writes `,"name":` and JSON text.
pub(super) fn raw(out: &mut String, name: &str, json: &str) {
    let _ = write!(out, ",\"{name}\":{json}");
}

/// Returns whether a parameter is absent or is the text of a field.
pub(super) fn is_or_absent(context: &ListContext<'_>, parameter: &str, text: &str) -> bool {
    context.parameters.get(parameter).is_none_or(|wanted| wanted == text)
}

/// Returns whether `query` is absent, is the row's id, or is a part of one of these fields, whatever the case.
pub(super) fn matches_query(context: &ListContext<'_>, row: &StoredRow, fields: &[&str]) -> bool {
    context.parameters.get("query").is_none_or(|query| {
        let query = query.to_lowercase();
        row.id.to_lowercase() == query || fields.iter().any(|name| row.text(name).to_lowercase().contains(&query))
    })
}
