//! Renders rows as JSON, with every field of the API contract and the size of real rows.

use std::fmt::Write;

use super::device::Device;
use super::model::{EmailAddress, Membership, Organization, Session, User};

/// The content of all private metadata. It must never appear in a lake.
pub const PRIVATE_MARKER: &str = "private-marker-do-not-store";

/// Writes a JSON string, including the quotes.
pub fn string(out: &mut String, text: &str) {
    out.push('"');
    let mut clean = 0;
    for (at, byte) in text.bytes().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.push_str(&text[clean..at]);
        let _ = write!(out, "\\u{byte:04x}");
        clean = at + 1;
    }
    out.push_str(&text[clean..]);
    out.push('"');
}

/// Writes a JSON string, or null.
fn optional(out: &mut String, text: Option<&str>) {
    match text {
        Some(text) => string(out, text),
        None => out.push_str("null"),
    }
}

fn number(out: &mut String, number: Option<i64>) {
    match number {
        Some(number) => {
            let _ = write!(out, "{number}");
        }
        None => out.push_str("null"),
    }
}

/// Writes `,"name":` and then the value.
macro_rules! field {
    ($out:expr, $name:literal, $write:expr) => {{
        $out.push_str(concat!(",\"", $name, "\":"));
        $write;
    }};
}

/// Writes a user as `GET /v1/users` lists it.
pub fn user(out: &mut String, user: &User) {
    out.push_str("{\"object\":\"user\"");
    field!(out, "id", string(out, &user.id));
    field!(out, "external_id", optional(out, user.external_id.as_deref()));
    field!(out, "primary_email_address_id", optional(out, user.primary_email_address_id.as_deref()));
    field!(out, "primary_phone_number_id", optional(out, user.phone_numbers.first().map(|it| it.id.as_str())));
    out.push_str(",\"primary_web3_wallet_id\":null");
    field!(out, "username", optional(out, user.username.as_deref()));
    field!(out, "first_name", optional(out, user.first_name.as_deref()));
    field!(out, "last_name", optional(out, user.last_name.as_deref()));
    out.push_str(",\"locale\":\"en-GB\"");
    image(out, "profile_image_url", &user.id);
    image(out, "image_url", &user.id);
    let _ = write!(
        out,
        ",\"has_image\":{},\"public_metadata\":{},\"private_metadata\":{{\"note\":\"{PRIVATE_MARKER}\"}},\"unsafe_metadata\":{}",
        !user.external_accounts.is_empty(),
        user.public_metadata,
        user.unsafe_metadata
    );
    list(out, "email_addresses", &user.email_addresses, |out, it| email(out, it, user));
    list(out, "phone_numbers", &user.phone_numbers, |out, it| {
        let _ = write!(
            out,
            "{{\"id\":\"{}\",\"object\":\"phone_number\",\"phone_number\":\"{}\",\"reserved_for_second_factor\":false,\
             \"default_second_factor\":false,\"reserved\":false,\"verification\":{},\"linked_to\":[],\"backup_codes\":null,\
             \"created_at\":{},\"updated_at\":{}}}",
            it.id,
            it.number,
            verification("verified", "phone_code"),
            user.created_at,
            user.created_at
        );
    });
    out.push_str(",\"web3_wallets\":[],\"passkeys\":[]");
    authentication(out, user);
    accounts(out, user);
    out.push_str(",\"saml_accounts\":[],\"enterprise_accounts\":[],\"scim\":null");
    field!(out, "last_sign_in_at", number(out, user.last_sign_in_at));
    let _ = write!(
        out,
        ",\"banned\":{},\"locked\":{},\"deprovisioned\":false,\"lockout_expires_in_seconds\":{},\"verification_attempts_remaining\":100,\
         \"updated_at\":{},\"created_at\":{},\"delete_self_enabled\":true,\"create_organization_enabled\":true,\
         \"create_organizations_limit\":null,\"bypass_client_trust\":false,\"legal_accepted_at\":null",
        user.banned,
        user.locked,
        if user.locked { "3600" } else { "null" },
        user.updated_at,
        user.created_at
    );
    field!(out, "last_active_at", number(out, user.last_active_at));
    out.push('}');
}

fn image(out: &mut String, name: &str, id: &str) {
    let _ = write!(
        out,
        ",\"{name}\":\"https://img.clerk.example/eyJ0eXBlIjoiZGVmYXVsdCIsImlpZCI6Imluc18ifQ/{id}/{id}?width=160&quality=85&fit=crop\""
    );
}

fn list<T>(out: &mut String, name: &str, rows: &[T], mut write: impl FnMut(&mut String, &T)) {
    let _ = write!(out, ",\"{name}\":[");
    for (at, row) in rows.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        write(out, row);
    }
    out.push(']');
}

fn verification(status: &str, strategy: &str) -> String {
    format!(
        "{{\"object\":\"verification_{strategy}\",\"status\":\"{status}\",\"strategy\":\"{strategy}\",\"attempts\":1,\"expire_at\":1893456000000,\
         \"verified_at_client\":null,\"error\":null,\"external_verification_redirect_url\":null}}"
    )
}

fn email(out: &mut String, email: &EmailAddress, user: &User) {
    let _ = write!(
        out,
        "{{\"id\":\"{}\",\"object\":\"email_address\",\"email_address\":\"{}\",\"reserved\":false,\"verification\":{},\"linked_to\":[",
        email.id,
        email.address,
        email.verification.map_or_else(|| "null".to_owned(), |status| verification(status, "email_code"))
    );
    for (at, account) in user.external_accounts.iter().enumerate() {
        let comma = if at > 0 { "," } else { "" };
        let _ = write!(out, "{comma}{{\"type\":\"{}\",\"id\":\"{}\"}}", account.provider, account.id);
    }
    let _ = write!(
        out,
        "],\"matches_sso_connection\":false,\"created_at\":{},\"updated_at\":{}}}",
        user.created_at, user.created_at
    );
}

fn authentication(out: &mut String, user: &User) {
    let _ = write!(
        out,
        ",\"password_enabled\":{},\"two_factor_enabled\":{},\"totp_enabled\":{},\"backup_code_enabled\":false,\
         \"mfa_enabled_at\":{},\"mfa_disabled_at\":null,\"password_last_updated_at\":{}",
        user.password_enabled,
        user.two_factor_enabled,
        user.two_factor_enabled,
        if user.two_factor_enabled { user.created_at.to_string() } else { "null".to_owned() },
        if user.password_enabled { user.created_at.to_string() } else { "null".to_owned() }
    );
}

fn accounts(out: &mut String, user: &User) {
    list(out, "external_accounts", &user.external_accounts, |out, account| {
        let email = user.email_addresses.first().map_or("", |it| it.address.as_str());
        let _ = write!(
            out,
            "{{\"object\":\"external_account\",\"id\":\"{id}\",\"provider\":\"{provider}\",\"identification_id\":\"idn_{id}\",\
             \"provider_user_id\":\"{id}-there\",\"approved_scopes\":\"email https://www.googleapis.example/auth/userinfo.email openid profile\",\
             \"email_address\":\"{email}\",\"email_address_verified\":true",
            id = account.id,
            provider = account.provider,
        );
        field!(out, "first_name", string(out, user.first_name.as_deref().unwrap_or_default()));
        field!(out, "last_name", string(out, user.last_name.as_deref().unwrap_or_default()));
        image(out, "avatar_url", &account.id);
        image(out, "image_url", &account.id);
        let _ = write!(
            out,
            ",\"username\":null,\"phone_number\":null,\"public_metadata\":{{}},\"label\":null,\"created_at\":{},\"updated_at\":{},\"verification\":{}}}",
            user.created_at,
            user.created_at,
            verification("verified", account.provider)
        );
    });
}

/// Writes a session as `GET /v1/sessions` lists it.
pub fn session(out: &mut String, session: &Session) {
    let _ = write!(
        out,
        "{{\"object\":\"session\",\"id\":\"{}\",\"user_id\":\"{}\",\"client_id\":\"{}\",\"actor\":{},\"status\":",
        session.id,
        session.user_id,
        session.client_id,
        session.actor.as_deref().unwrap_or("null"),
    );
    string(out, &session.status);
    field!(out, "last_active_organization_id", optional(out, session.last_active_organization_id.as_deref()));
    if session.has_activity {
        let Device { device_type, is_mobile, browser } = session.device();
        let (city, country) = session.place();
        let _ = write!(
            out,
            ",\"latest_activity\":{{\"object\":\"session_activity\",\"id\":\"sess_activity_{}\",\"device_type\":\"{device_type}\",\"is_mobile\":{is_mobile},\
             \"browser_name\":\"{browser}\",\"browser_version\":\"141.0\",\"ip_address\":\"192.0.2.{}\",\"city\":\"{}\",\"country\":\"{}\"}}",
            session.id,
            session.id.len(),
            city,
            country
        );
    }
    let _ = write!(
        out,
        ",\"last_active_at\":{},\"expire_at\":{},\"abandon_at\":{},\"updated_at\":{},\"created_at\":{},\"tasks\":null}}",
        session.last_active_at, session.expire_at, session.abandon_at, session.updated_at, session.created_at
    );
}

/// Writes an organization as `GET /v1/organizations` lists it. If `members` is `None`, `members_count` is left out.
pub fn organization(out: &mut String, organization: &Organization, members: Option<i64>) {
    let _ = write!(out, "{{\"object\":\"organization\",\"id\":\"{}\"", organization.id);
    field!(out, "name", string(out, &organization.name));
    field!(out, "slug", string(out, &organization.slug));
    image(out, "image_url", &organization.id);
    if let Some(members) = members {
        let _ = write!(out, ",\"members_count\":{members}");
    }
    let _ = write!(
        out,
        ",\"has_image\":false,\"missing_member_with_elevated_permissions\":false,\"pending_invitations_count\":{},\
         \"max_allowed_memberships\":{},\"admin_delete_enabled\":true,\"public_metadata\":{{\"tier\":\"gold\"}},\
         \"private_metadata\":{{\"note\":\"{PRIVATE_MARKER}\"}},\"role_set_key\":null,\"created_at\":{},\"updated_at\":{},\"last_active_at\":{}",
        organization.pending_invitations_count,
        organization.max_allowed_memberships,
        organization.created_at,
        organization.updated_at,
        organization.last_active_at
    );
    if let Some(user) = &organization.created_by {
        let _ = write!(out, ",\"created_by\":\"{user}\"");
    }
    out.push('}');
}

/// Writes a membership as `GET /v1/organization_memberships` lists it, with its organization and user.
pub fn membership(out: &mut String, membership: &Membership, parent: Option<&Organization>, user: Option<&User>) {
    let _ = write!(
        out,
        "{{\"object\":\"organization_membership\",\"id\":\"{}\",\"role\":\"{}\",\"role_name\":\"Member\",\"permissions\":[\"org:sys_profile:manage\"],\
         \"public_metadata\":{{}},\"private_metadata\":{{\"note\":\"{PRIVATE_MARKER}\"}},\"created_at\":{},\"updated_at\":{},\"organization\":",
        membership.id, membership.role, membership.created_at, membership.created_at
    );
    match parent {
        Some(parent) => organization(out, parent, None),
        None => out.push_str("null"),
    }
    let _ = write!(out, ",\"public_user_data\":{{\"user_id\":\"{}\"", membership.user_id);
    field!(out, "first_name", optional(out, user.and_then(|user| user.first_name.as_deref())));
    field!(out, "last_name", optional(out, user.and_then(|user| user.last_name.as_deref())));
    out.push_str("}}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_strings_parse_back_as_json() {
        for text in ["", "plain", "a \"quoted\" \\ back", "new\nline", "Zoë 🦀"] {
            let mut out = String::new();
            string(&mut out, text);
            assert_eq!(serde_json::from_str::<String>(&out).unwrap(), text);
        }
    }
}
