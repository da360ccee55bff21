//! `GET /v1/organization_domains`: the e-mail domains of organizations.

use serde_json::{Value, json};

use super::context::ListContext;
use super::spec::{ListSpec, field, is_or_absent};
use super::{draw, people};
use crate::simulator::list::List;
use crate::simulator::model::{DAY, Model, StoredRow};

const MODES: [&str; 4] = ["manual_invitation", "automatic_invitation", "automatic_suggestion", "enterprise_sso"];

pub(super) static ORGANIZATION_DOMAINS: ListSpec = ListSpec {
    orders: &["created_at", "name"],
    filters: &["organization_id", "verified", "enrollment_mode", "enrollment_mode[]", "query", "domains", "domains[]"],
    choices: &[("verified", &["true", "false"])],
    matches,
    complete: |context, row, out| {
        let organization = people::public_organization(context.model, row.text("organization_id"));
        field(out, "public_organization_data", organization);
    },
    usual_count: |_, organizations| organizations.div_ceil(3),
    create,
    change,
    ..ListSpec::new(List::OrganizationDomains, "/v1/organization_domains")
};

fn matches(context: &ListContext<'_>, row: &StoredRow) -> bool {
    let (name, organization) = (row.text("name"), row.text("organization_id"));
    let modes: Vec<&str> = context.parameters.all("enrollment_mode").collect();
    let (unwanted, wanted): (Vec<&str>, Vec<&str>) = modes.into_iter().partition(|mode| mode.starts_with('-'));
    let mode = row.text("enrollment_mode");
    let names: Vec<&str> = context.parameters.all("domains").collect();
    is_or_absent(context, "organization_id", organization)
        && is_or_absent(context, "verified", if is_verified(row) { "true" } else { "false" })
        && (wanted.is_empty() || wanted.contains(&mode))
        && !unwanted.iter().any(|it| it.strip_prefix('-') == Some(mode))
        && (names.is_empty() || names.contains(&name))
        && context.parameters.get("query").is_none_or(|query| {
            let is_id = query.starts_with("org_");
            if is_id { query == organization } else { name.to_lowercase().contains(&query.to_lowercase()) }
        })
}

fn is_verified(row: &StoredRow) -> bool {
    row.fields.get("verification").and_then(|it| it.get("status")).and_then(Value::as_str) == Some("verified")
}

fn verification(at: i64, verified_at: Option<i64>) -> Value {
    json!({
        "status": if verified_at.is_some() { "verified" } else { "unverified" },
        "strategy": "affiliation_email_code", "attempts": i32::from(verified_at.is_some()),
        "expire_at": at + DAY, "verified_at": verified_at,
    })
}

fn create(model: &mut Model, at: i64, number: usize) -> Option<StoredRow> {
    let organization = draw::organization(model)?;
    let at = at.max(model.organizations.get(&organization)?.created_at);
    let mode = draw::one_of(model, &MODES);
    let verified_at = (at < model.now && !number.is_multiple_of(3)).then(|| draw::later(model, at));
    let name = format!("company{number}.example");
    let check = if number % 5 == 4 { Value::Null } else { verification(at, verified_at) };
    let mut row = StoredRow::with_times(
        model.id("orgdmn_"),
        at,
        json!({
            "object": "organization_domain", "organization_id": organization, "name": name, "enrollment_mode": mode,
            "affiliation_email_address": (!check.is_null()).then(|| format!("it@{name}")),
            "affiliation_verification": check, "ownership_verification": null, "verification": check,
            "total_pending_invitations": number % 3, "total_pending_suggestions": number % 2,
        }),
    );
    row.set("updated_at", verified_at.unwrap_or(at));
    Some(row)
}

/// Verifies a domain, or changes the enrollment mode of a verified one.
fn change(model: &mut Model, id: &str) -> bool {
    let (mode, now) = (draw::one_of(model, &MODES), model.now);
    draw::update(model, List::OrganizationDomains, id, |row| {
        if is_verified(row) {
            row.set("enrollment_mode", mode);
        } else {
            let check = verification(row.created_at, Some(now));
            let address = format!("it@{}", row.text("name"));
            row.set("affiliation_email_address", address);
            row.set("affiliation_verification", check.clone());
            row.set("verification", check);
        }
    })
}
