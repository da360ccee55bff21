//! `GET /v1/organization_invitations`: invitations to join an organization.

use serde_json::json;

use super::context::ListContext;
use super::spec::{ListSpec, field, is_or_absent, matches_query};
use super::{draw, people};
use crate::simulator::list::List;
use crate::simulator::model::{DAY, Model, StoredRow};
use crate::simulator::organizations::{ADMIN, MEMBER};

const LIST: List = List::OrganizationInvitations;

pub(super) static ORGANIZATION_INVITATIONS: ListSpec = ListSpec {
    orders: &["created_at", "email_address"],
    filters: &["status", "query"],
    choices: &[("status", &["pending", "accepted", "revoked", "expired"])],
    matches: |context, row| {
        is_or_absent(context, "status", row.text("status")) && matches_query(context, row, &["email_address"])
    },
    complete,
    usual_count: |_, organizations| organizations * 3 / 2,
    create,
    change,
    removed: |model, row| add_pending(model, row, -1),
    ..ListSpec::new(LIST, "/v1/organization_invitations")
};

fn complete(context: &ListContext<'_>, row: &StoredRow, out: &mut String) {
    field(out, "public_inviter_data", people::inviter(context.model, row.text("inviter_id")));
    field(out, "public_organization_data", people::public_organization(context.model, row.text("organization_id")));
}

fn create(model: &mut Model, at: i64, number: usize) -> Option<StoredRow> {
    let organization = draw::organization(model)?;
    let at = at.max(model.organizations.get(&organization)?.created_at);
    let inviter = draw::user(model);
    let expires_at = at + 30 * DAY;
    let status = draw::invitation_status(model, at, expires_at);
    let (role, role_name) = draw::one_of(model, &[(MEMBER, "Member"), (MEMBER, "Member"), (ADMIN, "Admin")]);
    let id = model.id("orginv_");
    let url = draw::invitation_url(&id);
    let mut row = StoredRow::with_times(
        id,
        at,
        json!({
            "object": "organization_invitation", "email_address": format!("colleague{number}@invited.example"),
            "role": role, "role_name": role_name, "organization_id": organization, "inviter_id": inviter,
            "status": status, "public_metadata": {"team": number % 7},
            "private_metadata": draw::private_metadata(), "url": url, "expires_at": expires_at,
        }),
    );
    if status != "pending" {
        let updated_at = draw::later(model, at);
        row.set("updated_at", updated_at);
    }
    add_pending(model, &row, 1);
    Some(row)
}

/// Accepts or revokes a pending invitation, or lets it expire. A user who accepts it becomes a member.
fn change(model: &mut Model, id: &str) -> bool {
    let row = model.rows(LIST).get(id).filter(|row| row.text("status") == "pending");
    let Some(row) = row.cloned() else { return false };
    let end = draw::invitation_end(model, row.integer("expires_at"));
    add_pending(model, &row, -1);
    if let Some(user) = draw::user(model).filter(|_| end == "accepted") {
        model.add_member(row.text("organization_id"), &user);
    }
    draw::update(model, LIST, id, |row| row.set("status", end))
}

/// Changes the organization's number of pending invitations by `by`, if the invitation is pending.
fn add_pending(model: &mut Model, row: &StoredRow, by: i64) {
    if row.text("status") == "pending"
        && let Some(organization) = model.organizations.get_mut(row.text("organization_id"))
    {
        organization.pending_invitations_count += by;
    }
}

/// Sets every organization's number of pending invitations to 0, before the invitations are created.
pub(super) fn reset_pending(model: &mut Model) {
    let ids: Vec<String> = model.organizations.iter().map(|it| it.id.clone()).collect();
    for id in ids {
        if let Some(organization) = model.organizations.get_mut(&id) {
            organization.pending_invitations_count = 0;
        }
    }
}
