//! Pages of rows: selection, order, limit and offset.

use serde_json::Value;

use super::context::ListContext;
use crate::simulator::answer::{Reply, error_reply};
use crate::simulator::listing::{self, PageRange, QueryString, TieOrder};
use crate::simulator::model::{Membership, Ordered, Organization, StoredRow};

/// A row of a list that is paged by offset.
pub(super) trait PagedRow {
    fn id(&self) -> &str;
    fn created_at(&self) -> i64;
}

impl PagedRow for StoredRow {
    fn id(&self) -> &str {
        &self.id
    }
    fn created_at(&self) -> i64 {
        self.created_at
    }
}

impl PagedRow for Organization {
    fn id(&self) -> &str {
        &self.id
    }
    fn created_at(&self) -> i64 {
        self.created_at
    }
}

impl PagedRow for Membership {
    fn id(&self) -> &str {
        &self.id
    }
    fn created_at(&self) -> i64 {
        self.created_at
    }
}

/// The requested order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SortOrder<'a> {
    pub field: &'a str,
    pub descending: bool,
}

/// Reads `order_by`. A list without `orders` ignores the parameter.
pub(super) fn sort_order<'a>(
    parameters: &'a QueryString,
    orders: &[&str],
    default: &'static str,
) -> Result<SortOrder<'a>, Reply> {
    if orders.is_empty() {
        return Ok(SortOrder { field: "created_at", descending: default.starts_with('-') });
    }
    let (field, descending) = listing::order(parameters, default);
    if !orders.contains(&field) {
        return Err(error_reply(422, "form_param_value_invalid", "order_by is invalid"));
    }
    Ok(SortOrder { field, descending })
}

/// A value by which rows are ordered. Absent values come first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::simulator) enum SortKey {
    Absent,
    Number(i64),
    Text(String),
}

impl SortKey {
    pub(super) fn of(value: Option<&Value>) -> Self {
        match value {
            Some(Value::String(text)) => Self::Text(text.clone()),
            Some(value) => value.as_i64().map_or(Self::Absent, Self::Number),
            None => Self::Absent,
        }
    }
}

/// What a page consists of.
pub(super) struct PagePlan<'a, T> {
    pub range: PageRange,
    pub order: SortOrder<'a>,
    pub ties: TieOrder,
    /// Selects rows; `None` for all rows.
    pub matches: Option<&'a dyn Fn(&T) -> bool>,
    /// Returns the value of a field other than `created_at`.
    pub key: &'a dyn Fn(&T, &str) -> SortKey,
}

/// Returns the rows of a page, and the number of rows that match.
///
/// The first page of a filtered list, and of a list in an order other than that of creation, reads all rows. All other
/// pages take time in proportion to their length, unless rows have changed since.
pub(super) fn page<'a, T: PagedRow>(
    context: &ListContext<'_>,
    rows: &'a Ordered<T>,
    plan: &PagePlan<'_, T>,
) -> (Vec<&'a T>, usize) {
    let PageRange { limit, offset } = plan.range;
    if matches!(plan.ties, TieOrder::Shuffled(_)) {
        return sorted_page(rows.iter(), plan);
    }
    if plan.order.field == "created_at" && plan.matches.is_none() {
        let page: Vec<&T> = if plan.order.descending {
            rows.skip_newest(offset).take(limit).collect()
        } else {
            rows.skip_oldest(offset).take(limit).collect()
        };
        return (page, rows.len());
    }
    let ids = context.model.selections.get(&request(context), context.model.version(), || select(rows, plan));
    let page = ids.iter().skip(offset).take(limit).filter_map(|id| rows.get(id));
    (page.collect(), ids.len())
}

/// Returns what identifies a list request, without the page.
fn request(context: &ListContext<'_>) -> String {
    let parameters = context.parameters.0.iter().filter(|(name, _)| name != "limit" && name != "offset");
    let parameters: Vec<String> = parameters.map(|(name, value)| format!("{name}={value:?}")).collect();
    format!("{} {}", context.path, parameters.join("&"))
}

/// Returns the ids of all rows that match, in order.
fn select<T: PagedRow>(rows: &Ordered<T>, plan: &PagePlan<'_, T>) -> Vec<String> {
    let matches = |row: &&T| plan.matches.is_none_or(|matches| matches(row));
    let id = |row: &T| row.id().to_owned();
    match (plan.order.field, plan.order.descending) {
        ("created_at", true) => rows.iter().rev().filter(matches).map(id).collect(),
        ("created_at", false) => rows.iter().filter(matches).map(id).collect(),
        _ => {
            let range = PageRange { limit: usize::MAX, offset: 0 };
            sorted_page(rows.iter(), &PagePlan { range, ..*plan }).0.into_iter().map(id).collect()
        }
    }
}

/// Returns the rows of a page of `rows`, sorted, and the number of rows that match.
pub(super) fn sorted_page<'a, T: PagedRow>(
    rows: impl Iterator<Item = &'a T>,
    plan: &PagePlan<'_, T>,
) -> (Vec<&'a T>, usize) {
    let rows = rows.filter(|row| plan.matches.is_none_or(|matches| matches(row)));
    let key = |row: &T| match plan.order.field {
        "created_at" => SortKey::Number(row.created_at()),
        field => (plan.key)(row, field),
    };
    let mut keyed: Vec<(SortKey, &T)> = rows.map(|row| (key(row), row)).collect();
    keyed.sort_unstable_by(|(left_key, left), (right_key, right)| {
        let ties = || plan.ties.compare((left.created_at(), left.id()), (right.created_at(), right.id()));
        let order = left_key.cmp(right_key).then_with(ties);
        if plan.order.descending { order.reverse() } else { order }
    });
    let count = keyed.len();
    (keyed.into_iter().map(|(_, row)| row).skip(plan.range.offset).take(plan.range.limit).collect(), count)
}
