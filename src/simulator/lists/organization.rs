//! `GET /v1/organizations`.

use super::context::ListContext;
use super::page::{PagePlan, SortKey, SortOrder, page};
use super::spec::ListSpec;
use crate::simulator::list::List;
use crate::simulator::listing::{PageRange, TieOrder};
use crate::simulator::model::Organization;
use crate::simulator::render as write;

/// The rows have their own type; the functions of the declaration that concern stored rows do not apply.
pub(super) static ORGANIZATIONS: ListSpec = ListSpec {
    orders: &["created_at", "name", "members_count"],
    ..ListSpec::new(List::Organizations, "/v1/organizations")
};

/// Returns the rows of a page as a JSON array, and the number of all rows.
pub(super) fn page_of(
    context: &ListContext<'_>,
    range: PageRange,
    order: SortOrder<'_>,
    ties: TieOrder,
) -> (String, usize) {
    let key = |row: &Organization, field: &str| match field {
        "name" => SortKey::Text(row.name.clone()),
        _ => SortKey::Number(members(context, row)),
    };
    let plan = PagePlan { range, order, ties, matches: None, key: &key };
    let (rows, count) = page(context, &context.model.organizations, &plan);
    let with_members = context.parameters.flag("include_members_count");
    let write = |out: &mut String, row: &Organization| render(context, row, with_members, out);
    (super::array(rows.into_iter(), context.model, |row| &row.id, write), count)
}

/// Writes an organization.
pub(super) fn render(context: &ListContext<'_>, row: &Organization, with_members: bool, out: &mut String) {
    write::organization(out, row, with_members.then(|| members(context, row)));
}

fn members(context: &ListContext<'_>, row: &Organization) -> i64 {
    context.model.members.get(&row.id).copied().unwrap_or(0)
}
