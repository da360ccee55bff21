//! `GET /v1/organization_memberships`.

use std::fmt::Write;

use super::context::ListContext;
use super::page::{PagePlan, SortKey, SortOrder, page};
use super::people;
use super::spec::{ListSpec, field, raw};
use crate::simulator::list::List;
use crate::simulator::listing::{PageRange, TieOrder};
use crate::simulator::model::{Membership, User};
use crate::simulator::organizations::{ADMIN, MEMBER};
use crate::simulator::render as write;

/// The rows have their own type; the functions of the declaration that concern stored rows do not apply.
pub(super) static MEMBERSHIPS: ListSpec = ListSpec {
    orders: &["created_at", "phone_number", "email_address", "first_name", "last_name", "username"],
    ..ListSpec::new(List::Memberships, "/v1/organization_memberships")
};

/// Returns the rows of a page as a JSON array, and the number of all rows.
pub(super) fn page_of(
    context: &ListContext<'_>,
    range: PageRange,
    order: SortOrder<'_>,
    ties: TieOrder,
) -> (String, usize) {
    let key = |row: &Membership, field: &str| {
        let text = context.model.users.get(&row.user_id).and_then(|user| value(user, field));
        text.map_or(SortKey::Absent, |text| SortKey::Text(text.to_owned()))
    };
    let plan = PagePlan { range, order, ties, matches: None, key: &key };
    let (rows, count) = page(context, &context.model.memberships, &plan);
    let write = |out: &mut String, row: &Membership| render(context, row, out);
    (super::array(rows.into_iter(), context.model, |row| &row.id, write), count)
}

/// Returns the value by which memberships are ordered.
fn value<'a>(user: &'a User, field: &str) -> Option<&'a str> {
    match field {
        "phone_number" => user.phone_numbers.first().map(|phone| phone.number.as_str()),
        "email_address" => people::identifier(user),
        "first_name" => user.first_name.as_deref(),
        "last_name" => user.last_name.as_deref(),
        _ => user.username.as_deref(),
    }
}

/// Writes a membership, with its organization and user.
pub(super) fn render(context: &ListContext<'_>, row: &Membership, out: &mut String) {
    let model = context.model;
    let role = model.rows(List::OrganizationRoles).iter().find(|role| role.text("key") == row.role);
    let name = match (role, row.role.as_str()) {
        (Some(role), _) => role.text("name"),
        (None, ADMIN) => "Admin",
        (None, MEMBER) => "Member",
        (None, other) => other.trim_start_matches("org:"),
    };
    let permissions = role.into_iter().flat_map(|role| &role.parts);
    let permissions = permissions.filter_map(|id| model.rows(List::OrganizationPermissions).get(id));
    out.push_str("{\"object\":\"organization_membership\"");
    field(out, "id", &row.id);
    field(out, "role", &row.role);
    field(out, "role_name", name);
    field(out, "permissions", permissions.map(|row| row.text("key")).collect::<Vec<_>>());
    raw(out, "public_metadata", "{\"desk\":4}");
    field(out, "private_metadata", super::draw::private_metadata());
    field(out, "created_at", row.created_at);
    field(out, "updated_at", row.updated_at);
    out.push_str(",\"organization\":");
    match model.organizations.get(&row.organization_id) {
        Some(organization) => write::organization(out, organization, None),
        None => out.push_str("null"),
    }
    public_user(out, &row.user_id, model.users.get(&row.user_id));
    out.push('}');
}

fn public_user(out: &mut String, id: &str, user: Option<&User>) {
    let _ = write!(out, ",\"public_user_data\":{{\"user_id\":\"{id}\"");
    field(out, "first_name", user.and_then(|user| user.first_name.as_deref()));
    field(out, "last_name", user.and_then(|user| user.last_name.as_deref()));
    field(out, "profile_image_url", people::image_url(id));
    field(out, "image_url", people::image_url(id));
    field(out, "has_image", user.is_some_and(|user| !user.external_accounts.is_empty()));
    field(out, "identifier", user.and_then(people::identifier));
    field(out, "username", user.and_then(|user| user.username.as_deref()));
    field(out, "banned", user.is_some_and(|user| user.banned));
    raw(out, "deprovisioned", "false");
    out.push('}');
}
