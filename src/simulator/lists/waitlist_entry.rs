//! `GET /v1/waitlist_entries`: people who wait for access.

use rand::RngExt;
use serde_json::{Value, json};

use super::page::SortKey;
use super::spec::{ListSpec, is_or_absent, matches_query};
use super::{draw, invitation};
use crate::simulator::list::List;
use crate::simulator::model::{Model, StoredRow};

pub(super) static WAITLIST_ENTRIES: ListSpec = ListSpec {
    orders: &["created_at", "email_address", "invited_at"],
    filters: &["status", "query"],
    choices: &[("status", &["pending", "invited", "completed", "rejected"])],
    key: |row, field| match field {
        "invited_at" => SortKey::of(row.fields.get("invitation").and_then(|it| it.get("created_at"))),
        _ => SortKey::of(row.fields.get(field)),
    },
    matches: |context, row| {
        is_or_absent(context, "status", row.text("status")) && matches_query(context, row, &["email_address"])
    },
    usual_count: |users, _| users.div_ceil(25),
    create: |model, at, number| Some(create(model, at, number)),
    change,
    ..ListSpec::new(List::WaitlistEntries, "/v1/waitlist_entries")
};

fn create(model: &mut Model, at: i64, number: usize) -> StoredRow {
    let status = match model.random.random_range(0..10) {
        _ if at >= model.now => "pending",
        0..5 => "pending",
        5..7 => "invited",
        7..9 => "completed",
        _ => "rejected",
    };
    let address = format!("waiting{number}@waitlist.example");
    let later = draw::later(model, at);
    let invitation = invitation_for(model, status, &address, later);
    let mut row = StoredRow::with_times(
        model.id("wle_"),
        at,
        json!({
            "object": "waitlist_entry", "email_address": address, "status": status,
            "is_locked": number.is_multiple_of(11), "invitation": invitation,
        }),
    );
    if status != "pending" {
        row.set("updated_at", later);
    }
    row
}

/// Returns the invitation of an entry with this status, as JSON; null for none.
fn invitation_for(model: &mut Model, status: &str, address: &str, at: i64) -> Value {
    let status = match status {
        "invited" => "pending",
        "completed" => "accepted",
        _ => return Value::Null,
    };
    Value::Object(invitation::invitation(model, at, address, status).fields)
}

/// Invites or rejects a pending entry, or completes an invited one.
fn change(model: &mut Model, id: &str) -> bool {
    let Some(row) = model.rows(List::WaitlistEntries).get(id) else { return false };
    let address = row.text("email_address").to_owned();
    let next = match row.text("status") {
        "pending" => draw::one_of(model, &["invited", "invited", "rejected"]),
        "invited" => "completed",
        _ => return false,
    };
    let invitation = invitation_for(model, next, &address, model.now);
    draw::update(model, List::WaitlistEntries, id, |row| {
        row.set("status", next);
        row.set("invitation", invitation);
    })
}
