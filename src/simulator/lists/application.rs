//! `GET /v1/oauth_applications`, `/v1/machines` and `/v1/domains`: how applications use the instance.

use serde_json::{Value, json};

use super::context::ListContext;
use super::draw;
use super::spec::{ListForm, ListSpec, field, matches_query};
use crate::simulator::list::List;
use crate::simulator::model::{Model, StoredRow};

pub(super) static OAUTH_APPLICATIONS: ListSpec = ListSpec {
    orders: &["created_at", "name"],
    default_order: "+created_at",
    filters: &["name_query"],
    matches: |context, row| {
        context.parameters.get("name_query").is_none_or(|query| {
            row.text("client_id") == query || row.text("name").to_lowercase().contains(&query.to_lowercase())
        })
    },
    complete: |context, _, out| field(out, "instance_id", &context.instance.id),
    usual_count: |users, _| users.min(4),
    create: |model, at, number| Some(create_oauth_application(model, at, number)),
    change: |model, id| draw::rename(model, List::OauthApplications, id),
    ..ListSpec::new(List::OauthApplications, "/v1/oauth_applications")
};

pub(super) static MACHINES: ListSpec = ListSpec {
    orders: &["created_at", "name"],
    filters: &["query"],
    matches: |context, row| matches_query(context, row, &["name"]),
    complete: complete_machine,
    usual_count: |users, _| users.min(5),
    create: |model, at, number| Some(create_machine(model, at, number)),
    change: change_machine,
    ..ListSpec::new(List::Machines, "/v1/machines")
};

pub(super) static DOMAINS: ListSpec = ListSpec {
    form: ListForm::Whole,
    default_order: "+created_at",
    usual_count: |_, _| 2,
    create: |model, at, number| Some(domain(model.id("dmn_"), at, number)),
    change: change_domain,
    ..ListSpec::new(List::Domains, "/v1/domains")
};

fn create_oauth_application(model: &mut Model, at: i64, number: usize) -> StoredRow {
    let (id, client) = (model.id("oa_"), model.id(""));
    let is_public = number % 3 == 2;
    let fields = json!({
        "object": "oauth_application", "name": format!("Application {number}"), "client_id": client,
        "client_uri": (!is_public).then(|| format!("https://application{number}.example")), "client_image_url": null,
        "dynamically_registered": number % 4 == 3, "consent_screen_enabled": true, "pkce_required": is_public,
        "public": is_public, "scopes": "profile email offline_access",
        "redirect_uris": [format!("https://application{number}.example/callback"), "http://localhost:3000/callback"],
        "callback_url": format!("https://application{number}.example/callback"),
        "authorize_url": "https://clerk.example/oauth/authorize", "token_fetch_url": "https://clerk.example/oauth/token",
        "user_info_url": "https://clerk.example/oauth/userinfo",
        "discovery_url": "https://clerk.example/.well-known/openid-configuration",
        "token_introspection_url": "https://clerk.example/oauth/token_info",
    });
    StoredRow::with_times(id, at, fields)
}

fn create_machine(model: &mut Model, at: i64, number: usize) -> StoredRow {
    let parts = model.draw_row(List::Machines).into_iter().collect();
    let id = model.id("mch_");
    let fields = json!({
        "object": "machine", "name": format!("worker {number}"),
        "default_token_ttl": draw::one_of(model, &[600, 3600]),
    });
    StoredRow { parts, ..StoredRow::with_times(id, at, fields) }
}

fn complete_machine(context: &ListContext<'_>, row: &StoredRow, out: &mut String) {
    field(out, "instance_id", &context.instance.id);
    let scoped = row.parts.iter().filter_map(|id| context.model.rows(List::Machines).get(id)).map(|machine| {
        let mut fields = machine.fields.clone();
        fields.insert("instance_id".to_owned(), context.instance.id.clone().into());
        Value::Object(fields)
    });
    field(out, "scoped_machines", scoped.collect::<Vec<_>>());
}

/// Allows a machine to call another one, or forbids it.
fn change_machine(model: &mut Model, id: &str) -> bool {
    let Some(other) = model.draw_row(List::Machines).filter(|other| other != id) else { return false };
    draw::update(model, List::Machines, id, |row| {
        if row.parts.contains(&other) {
            row.parts.retain(|part| *part != other);
        } else {
            row.parts.push(other);
        }
    })
}

/// Returns a domain of the instance. The first is the primary one; the others are satellites.
fn domain(id: String, at: i64, number: usize) -> StoredRow {
    let is_satellite = number > 0;
    let name = if is_satellite { format!("satellite{number}.example") } else { "application.example".to_owned() };
    let fields = json!({
        "object": "domain", "name": name, "is_satellite": is_satellite,
        "frontend_api_url": format!("https://clerk.{name}"),
        "accounts_portal_url": (!is_satellite).then(|| format!("https://accounts.{name}")),
        "proxy_url": null, "development_origin": "",
        "cname_targets": [{"host": format!("clerk.{name}"), "value": "frontend-api.clerk.example", "required": true}],
    });
    StoredRow::new(id, at, fields)
}

/// Puts a domain behind a proxy, or takes it from there.
fn change_domain(model: &mut Model, id: &str) -> bool {
    draw::update(model, List::Domains, id, |row| {
        let proxy = format!("https://{}/__clerk", row.text("name"));
        let is_proxied = !row.text("proxy_url").is_empty();
        row.set("proxy_url", (!is_proxied).then_some(proxy));
    })
}
