//! `GET /v1/enterprise_connections` and `GET /v1/directories`: sign-in by an organization's own identity provider.

use rand::RngExt;
use serde_json::{Value, json};

use super::draw;
use super::spec::{ListSpec, field, is_or_absent};
use crate::simulator::json_text::PRIVATE_MARKER;
use crate::simulator::list::List;
use crate::simulator::model::{Model, StoredRow};

pub(super) static ENTERPRISE_CONNECTIONS: ListSpec = ListSpec {
    filters: &["organization_id", "active"],
    choices: &[("active", &["true", "false"])],
    matches: |context, row| {
        is_or_absent(context, "organization_id", row.text("organization_id"))
            && is_or_absent(context, "active", if row.flag("active") { "true" } else { "false" })
    },
    usual_count: |_, organizations| organizations.div_ceil(12),
    create: |model, at, number| Some(create_connection(model, at, number)),
    change: |model, id| toggle(model, List::EnterpriseConnections, id, "active"),
    removed: |model, row| remove_directories(model, &row.id),
    ..ListSpec::new(List::EnterpriseConnections, "/v1/enterprise_connections")
};

pub(super) static DIRECTORIES: ListSpec = ListSpec {
    older_path: Some("/v1/scim_directories"),
    complete: |context, row, out| {
        let is_older = context.path.ends_with("/scim_directories");
        field(out, "object", if is_older { "scim_directory" } else { "directory" });
        field(out, "api_key", format!("scim_{PRIVATE_MARKER}_{}", row.id));
    },
    usual_count: |_, organizations| organizations.div_ceil(25),
    create: |model, at, number| Some(create_directory(model, at, number)),
    change: |model, id| toggle(model, List::Directories, id, "enabled"),
    ..ListSpec::new(List::Directories, "/v1/directories")
};

fn toggle(model: &mut Model, list: List, id: &str, flag: &str) -> bool {
    draw::update(model, list, id, |row| {
        let value = !row.flag(flag);
        row.set(flag, value);
    })
}

fn remove_directories(model: &mut Model, connection: &str) {
    let rows = model.rows(List::Directories).iter();
    let of_connection = rows.filter(|row| row.text("enterprise_connection_id") == connection);
    for id in of_connection.map(|row| row.id.clone()).collect::<Vec<_>>() {
        model.remove_row(List::Directories, &id);
    }
}

fn create_connection(model: &mut Model, at: i64, number: usize) -> StoredRow {
    let organization = draw::organization(model).filter(|_| number % 4 != 3);
    let created_at = organization.as_ref().and_then(|id| model.organizations.get(id)).map(|it| it.created_at);
    let at = created_at.map_or(at, |created_at| at.max(created_at));
    let id = model.id("entconn_");
    let is_saml = number.is_multiple_of(2);
    let (saml, oauth) = (saml_connection(&id), oauth_config(&id, at));
    let fields = json!({
        "object": "enterprise_connection", "name": format!("Connection {number}"),
        "provider": if is_saml { "saml_okta" } else { "oauth_custom_entra" },
        "logo_public_url": null, "active": model.random.random_bool(0.8),
        "domains": [format!("company{number}.example"), format!("subsidiary{number}.example")],
        "organization_id": organization, "sync_user_attributes": true, "disable_additional_identifications": false,
        "allow_organization_account_linking": number.is_multiple_of(3),
        "authenticatable": true, "disable_jit_provisioning": number % 3 == 1,
        "custom_attributes": if number.is_multiple_of(3) { custom_attributes() } else { json!([]) },
        "saml_connection": if is_saml { saml } else { Value::Null },
        "oauth_config": if is_saml { Value::Null } else { oauth },
    });
    StoredRow::with_times(id, at, fields)
}

fn custom_attributes() -> Value {
    json!([{
        "name": "Cost center", "key": "cost_center", "sso_path": "user.costCenter", "scim_path": "costCenter",
        "directory_path": "costCenter", "multi_valued": false,
    }])
}

fn saml_connection(id: &str) -> Value {
    json!({
        "id": format!("samlc_{id}"), "name": "Okta", "idp_entity_id": format!("https://idp.example/{id}"),
        "idp_sso_url": format!("https://idp.example/{id}/sso"), "idp_metadata_url": null,
        "acs_url": format!("https://clerk.example/v1/saml/acs/{id}"),
        "sp_entity_id": format!("https://clerk.example/saml/{id}"), "sp_metadata_url": null, "active": true,
        "allow_idp_initiated": false, "allow_subdomains": true, "force_authn": false,
        "login_hint": {"mode": "email_address"},
    })
}

fn oauth_config(id: &str, at: i64) -> Value {
    json!({
        "id": format!("oauthc_{id}"), "name": "Entra", "provider_key": "custom_entra", "client_id": format!("client-{id}"),
        "discovery_url": "https://login.example/.well-known/openid-configuration",
        "auth_url": "https://login.example/authorize", "token_url": "https://login.example/token",
        "user_info_url": "https://login.example/userinfo", "requires_pkce": true, "logo_public_url": null,
        "created_at": at, "updated_at": at,
    })
}

fn create_directory(model: &mut Model, at: i64, number: usize) -> StoredRow {
    let connection = model.draw_row(List::EnterpriseConnections);
    let id = model.id("dir_");
    let endpoint = format!("https://clerk.example/v1/scim/{id}");
    let fields = json!({
        "name": format!("Directory {number}"), "enterprise_connection_id": connection, "endpoint_url": endpoint,
        "provider": draw::one_of(model, &["okta", "entra", "custom"]), "enabled": number % 4 != 1,
        "group_role_mapping_enabled": number.is_multiple_of(2),
        "attribute_mapping": {"first_name": "name.givenName", "last_name": "name.familyName"},
        "custom_attributes": if number.is_multiple_of(2) { custom_attributes() } else { json!([]) },
    });
    StoredRow::with_times(id, at, fields)
}
