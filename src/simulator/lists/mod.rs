//! The lists of organizations, invitations, billing and the rest. Each list is a [`ListSpec`]: an entry in [`SPECS`].
//!
//! Users and sessions have their own rules of paging; see `listing`.

mod application;
mod context;
mod draw;
mod enterprise_connection;
mod identifiers;
mod invitation;
mod life;
mod membership;
mod organization;
mod organization_domain;
mod organization_invitation;
mod page;
mod payer;
mod people;
mod plans;
mod roles;
mod spec;
mod statement;
mod subscription_item;
#[cfg(test)]
mod tests;
mod waitlist_entry;

use serde_json::Value;

pub(super) use self::context::ListContext;
pub(super) use self::life::{daily_changes, fill};
use self::page::{PagePlan, page, sort_order, sorted_page};
pub(super) use self::spec::{ListForm, ListSpec};
use super::answer::{Reply, error_reply};
use super::corruption;
use super::list::List;
use super::listing::{self, PageRange, TieOrder};
use super::model::{Model, StoredRow};

/// Every list of this module. A list comes after the lists that its rows refer to.
pub(super) static SPECS: [&ListSpec; 21] = [
    &organization::ORGANIZATIONS,
    &membership::MEMBERSHIPS,
    &invitation::INVITATIONS,
    &organization_invitation::ORGANIZATION_INVITATIONS,
    &waitlist_entry::WAITLIST_ENTRIES,
    &organization_domain::ORGANIZATION_DOMAINS,
    &roles::PERMISSIONS,
    &roles::ROLES,
    &roles::ROLE_SETS,
    &enterprise_connection::ENTERPRISE_CONNECTIONS,
    &enterprise_connection::DIRECTORIES,
    &application::OAUTH_APPLICATIONS,
    &application::MACHINES,
    &application::DOMAINS,
    &identifiers::ALLOWLIST,
    &identifiers::BLOCKLIST,
    &plans::BILLING_PLANS,
    &plans::BILLING_PRICES,
    &subscription_item::SUBSCRIPTION_ITEMS,
    &statement::BILLING_STATEMENTS,
    &statement::PAYMENT_ATTEMPTS,
];

/// Returns the list with this path.
pub(super) fn at(path: &str) -> Option<&'static ListSpec> {
    SPECS.into_iter().find(|spec| spec.parent_id(path).is_some())
}

/// Returns the declaration of a list; `None` for users, sessions and the instance.
fn spec_of(list: List) -> Option<&'static ListSpec> {
    SPECS.into_iter().find(|spec| spec.list == list)
}

/// Returns the response to a list request. `clamp` is the maximum page size.
pub(super) fn respond(
    spec: &ListSpec,
    context: &ListContext<'_>,
    clamp: Option<usize>,
    ties: TieOrder,
) -> Result<Reply, Reply> {
    let is_whole = spec.form == ListForm::Whole;
    let everything = PageRange { limit: usize::MAX, offset: 0 };
    let range = if is_whole { everything } else { listing::page_range(context.parameters, clamp)? };
    for (name, choices) in spec.choices {
        if context.parameters.get(name).is_some_and(|value| !choices.contains(&value)) {
            return Err(error_reply(422, "form_param_value_invalid", &format!("{name} is invalid")));
        }
    }
    let order = sort_order(context.parameters, spec.orders, spec.default_order)?;
    let (rows, count) = match spec.list {
        List::Organizations => organization::page_of(context, range, order, ties),
        List::Memberships => membership::page_of(context, range, order, ties),
        _ => stored_page(spec, context, &PagePlan { range, order, ties, matches: None, key: &spec.key })?,
    };
    let is_enveloped = spec.form != ListForm::Array || context.parameters.flag("paginated");
    Ok(Reply::json(if is_enveloped { format!("{{\"data\":{rows},\"total_count\":{count}}}") } else { rows }))
}

fn stored_page(
    spec: &ListSpec,
    context: &ListContext<'_>,
    plan: &PagePlan<'_, StoredRow>,
) -> Result<(String, usize), Reply> {
    let rows = context.model.rows(spec.list);
    let matches = |row: &StoredRow| (spec.matches)(context, row);
    let has_filter = spec.filters.iter().any(|name| context.parameters.get(name).is_some());
    let is_filtered = has_filter || (spec.is_partial)(context.parameters);
    let plan = PagePlan { matches: is_filtered.then_some(&matches as &dyn Fn(&StoredRow) -> bool), ..*plan };
    let (page, count) = match spec.parent {
        None => page(context, rows, &plan),
        Some(parent) => {
            let parent = context.model.rows(parent).get(spec.parent_id(context.path).unwrap_or_default());
            let parent = parent.ok_or_else(|| error_reply(404, "resource_not_found", "Resource not found"))?;
            sorted_page(parent.parts.iter().filter_map(|id| rows.get(id)), &plan)
        }
    };
    let text = array(page.into_iter(), context.model, |row| &row.id, |out, row| render(context, spec, row, out));
    Ok((text, count))
}

/// Returns a JSON array of the rows that `write` writes. Rows are corrupted as the model says.
fn array<'a, T: 'a>(
    rows: impl ExactSizeIterator<Item = &'a T>,
    model: &Model,
    id: impl Fn(&T) -> &str,
    mut write: impl FnMut(&mut String, &T),
) -> String {
    let mut out = String::with_capacity(rows.len() * 1000 + 2);
    out.push('[');
    for (at, row) in rows.enumerate() {
        if at > 0 {
            out.push(',');
        }
        corruption::render(&mut out, model.corrupt.get(id(row)), |out| write(out, row));
    }
    out.push(']');
    out
}

/// Writes a row as its list shows it.
fn render(context: &ListContext<'_>, spec: &ListSpec, row: &StoredRow, out: &mut String) {
    let fields = serde_json::to_string(&row.fields).unwrap_or_default();
    out.push_str(fields.strip_suffix('}').unwrap_or("{\"object\":null"));
    (spec.complete)(context, row, out);
    out.push('}');
}

/// Returns all rows of a list as it shows them to a request that leaves none out, uncorrupted, oldest first. Empty for
/// users, sessions and the instance.
pub(super) fn all(list: List, context: &ListContext<'_>) -> Vec<Value> {
    let parse = |text: String| serde_json::from_str(&text).unwrap_or_default();
    let written = |write: &dyn Fn(&mut String)| {
        let mut out = String::new();
        write(&mut out);
        parse(out)
    };
    match (list, spec_of(list)) {
        (_, None) => Vec::new(),
        (List::Organizations, _) => {
            let rows = context.model.organizations.iter();
            rows.map(|row| written(&|out| organization::render(context, row, true, out))).collect()
        }
        (List::Memberships, _) => {
            let rows = context.model.memberships.iter();
            rows.map(|row| written(&|out| membership::render(context, row, out))).collect()
        }
        (_, Some(spec)) => {
            context.model.rows(list).iter().map(|row| written(&|out| render(context, spec, row, out))).collect()
        }
    }
}
