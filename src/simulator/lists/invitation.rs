//! `GET /v1/invitations`: invitations to sign up.

use serde_json::{Value, json};

use super::draw;
use super::spec::{ListForm, ListSpec, is_or_absent, matches_query};
use crate::simulator::list::List;
use crate::simulator::model::{DAY, Model, StoredRow};

pub(super) static INVITATIONS: ListSpec = ListSpec {
    form: ListForm::Array,
    orders: &["created_at", "email_address", "expires_at"],
    filters: &["status", "query"],
    choices: &[("status", &["pending", "accepted", "revoked", "expired"])],
    is_partial: |parameters| parameters.get("status").is_none(),
    matches: |context, row| {
        let status = row.text("status");
        let is_shown = context.parameters.get("status").is_some() || status != "revoked";
        is_shown && is_or_absent(context, "status", status) && matches_query(context, row, &["email_address"])
    },
    usual_count: |users, _| users.div_ceil(20),
    create: |model, at, number| Some(create(model, at, number)),
    change,
    ..ListSpec::new(List::Invitations, "/v1/invitations")
};

fn create(model: &mut Model, at: i64, number: usize) -> StoredRow {
    let expires_at = at + 30 * DAY;
    let status = draw::invitation_status(model, at, expires_at);
    invitation(model, at, &format!("guest{number}@invited.example"), status)
}

/// Returns an invitation of an address.
pub(super) fn invitation(model: &mut Model, at: i64, address: &str, status: &str) -> StoredRow {
    let id = model.id("inv_");
    let url = draw::invitation_url(&id);
    let mut row = StoredRow::with_times(
        id,
        at,
        json!({
            "object": "invitation", "email_address": address, "public_metadata": {"campaign": "spring"},
            "revoked": status == "revoked", "status": status, "url": url, "expires_at": at + 30 * DAY,
        }),
    );
    if status != "pending" {
        let updated_at = draw::later(model, at);
        row.set("updated_at", updated_at);
    }
    row
}

/// Accepts or revokes a pending invitation, or lets it expire.
fn change(model: &mut Model, id: &str) -> bool {
    let row = model.rows(List::Invitations).get(id).filter(|row| row.text("status") == "pending");
    let Some(expires_at) = row.map(|row| row.integer("expires_at")) else { return false };
    let end = draw::invitation_end(model, expires_at);
    draw::update(model, List::Invitations, id, |row| {
        row.set("status", end);
        row.set("revoked", Value::Bool(end == "revoked"));
    })
}
