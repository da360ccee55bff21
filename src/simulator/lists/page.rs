//! Pages of rows: selection, order, limit and offset.

use serde_json::Value;

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
/// In the order of creation, this takes time in proportion to the page, or to the rows of the list if there is a
/// filter. Other orders sort the list.
pub(super) fn page<'a, T: PagedRow>(rows: &'a Ordered<T>, plan: &PagePlan<'_, T>) -> (Vec<&'a T>, usize) {
    let PageRange { limit, offset } = plan.range;
    if plan.order.field != "created_at" || matches!(plan.ties, TieOrder::Shuffled(_)) {
        return sorted_page(rows.iter(), plan);
    }
    let Some(matches) = plan.matches else {
        let page: Vec<&T> = if plan.order.descending {
            rows.skip_newest(offset).take(limit).collect()
        } else {
            rows.skip_oldest(offset).take(limit).collect()
        };
        return (page, rows.len());
    };
    let (mut page, mut count) = (Vec::new(), 0);
    let mut add = |row: &'a T| {
        if matches(row) {
            if count >= offset && page.len() < limit {
                page.push(row);
            }
            count += 1;
        }
    };
    if plan.order.descending {
        rows.iter().rev().for_each(&mut add);
    } else {
        rows.iter().for_each(&mut add);
    }
    (page, count)
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
