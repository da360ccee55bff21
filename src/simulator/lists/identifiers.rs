//! `GET /v1/allowlist_identifiers` and `GET /v1/blocklist_identifiers`: who may sign up, and who may not.

use serde_json::{Value, json};

use super::draw;
use super::spec::{ListForm, ListSpec, field};
use crate::simulator::list::List;
use crate::simulator::model::{Model, StoredRow};

pub(super) static ALLOWLIST: ListSpec = ListSpec {
    form: ListForm::Array,
    complete: |context, _, out| field(out, "instance_id", &context.instance.id),
    usual_count: |users, _| users.div_ceil(50),
    create: |model, at, number| {
        let invitation = model.draw_row(List::Invitations).filter(|_| number % 3 == 1);
        let id = model.id("alid_");
        let mut row = StoredRow::with_times(id, at, identifier("allowlist_identifier", "allowed", number));
        if let Some(invitation) = invitation {
            row.set("invitation_id", invitation);
        }
        Some(row)
    },
    change: |model, id| change(model, List::AllowlistIdentifiers, id),
    ..ListSpec::new(List::AllowlistIdentifiers, "/v1/allowlist_identifiers")
};

pub(super) static BLOCKLIST: ListSpec = ListSpec {
    form: ListForm::Whole,
    complete: |context, _, out| field(out, "instance_id", &context.instance.id),
    usual_count: |users, _| users.div_ceil(80),
    create: |model, at, number| {
        let id = model.id("blid_");
        Some(StoredRow::with_times(id, at, identifier("blocklist_identifier", "blocked", number)))
    },
    change: |model, id| change(model, List::BlocklistIdentifiers, id),
    ..ListSpec::new(List::BlocklistIdentifiers, "/v1/blocklist_identifiers")
};

fn identifier(object: &str, name: &str, number: usize) -> Value {
    let (kind, identifier) = match number % 5 {
        2 => ("phone_number", format!("+1555{number:07}")),
        3 => ("web3_wallet", format!("0x{number:040x}")),
        4 => ("email_address", format!("*@{name}{number}.example")),
        _ => ("email_address", format!("{name}{number}@mail.example")),
    };
    json!({"object": object, "identifier": identifier, "identifier_type": kind})
}

/// Replaces an identifier by an address.
fn change(model: &mut Model, list: List, id: &str) -> bool {
    let number = draw::one_of(model, &[1, 2, 3, 4, 5, 6, 7, 8, 9]);
    draw::update(model, list, id, |row| {
        row.set("identifier", format!("changed{number}-{}@mail.example", row.id.to_lowercase()));
        row.set("identifier_type", "email_address");
    })
}
