//! Renders rows as JSON, with every field of the API contract and the size of real rows.

use std::fmt::Write;

use super::device::Device;
use super::json_text::{PRIVATE_MARKER, has_logo, image, list, number, optional, spread, string, verification};
use super::model::{EmailAddress, Organization, Session, User};
use super::render_accounts as accounts;

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
    accounts::wallets(out, user);
    accounts::passkeys(out, user);
    authentication(out, user);
    accounts::external(out, user);
    accounts::enterprise(out, user);
    field!(out, "last_sign_in_at", number(out, user.last_sign_in_at));
    let _ = write!(
        out,
        ",\"banned\":{},\"locked\":{},\"deprovisioned\":false,\"lockout_expires_in_seconds\":{},\"verification_attempts_remaining\":{},\
         \"updated_at\":{},\"created_at\":{},\"delete_self_enabled\":true,\"create_organization_enabled\":true,\
         \"create_organizations_limit\":null,\"bypass_client_trust\":false,\"legal_accepted_at\":null",
        user.banned,
        user.locked,
        if user.locked { "3600" } else { "null" },
        if user.locked { 0 } else { 100 - spread(&user.id) % 4 },
        user.updated_at,
        user.created_at
    );
    field!(out, "last_active_at", number(out, user.last_active_at));
    out.push('}');
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
        ",\"last_active_at\":{},\"expire_at\":{},\"abandon_at\":{},\"updated_at\":{},\"created_at\":{},\"tasks\":{}}}",
        session.last_active_at,
        session.expire_at,
        session.abandon_at,
        session.updated_at,
        session.created_at,
        tasks(session)
    );
}

/// Returns what a user has to do before a session becomes active, as JSON.
fn tasks(session: &Session) -> &'static str {
    match (session.status.as_str(), spread(&session.id) % 3) {
        ("pending", 0) => "[{\"key\":\"choose-organization\"}]",
        ("pending", 1) => "[{\"key\":\"setup-mfa\"},{\"key\":\"reset-password\"}]",
        ("pending", _) => "[{\"key\":\"reset-password\"}]",
        (_, 0) => "[]",
        _ => "null",
    }
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
        ",\"has_image\":{},\"missing_member_with_elevated_permissions\":false,\"pending_invitations_count\":{},\
         \"max_allowed_memberships\":{},\"admin_delete_enabled\":true,\"public_metadata\":{{\"tier\":\"gold\"}},\
         \"private_metadata\":{{\"note\":\"{PRIVATE_MARKER}\"}},\"role_set_key\":{},\"created_at\":{},\"updated_at\":{},\"last_active_at\":{}",
        has_logo(&organization.id),
        organization.pending_invitations_count,
        organization.max_allowed_memberships,
        if spread(&organization.id).is_multiple_of(4) { "null" } else { "\"role_set:default\"" },
        organization.created_at,
        organization.updated_at,
        organization.last_active_at
    );
    if let Some(user) = &organization.created_by {
        let _ = write!(out, ",\"created_by\":\"{user}\"");
    }
    out.push('}');
}
