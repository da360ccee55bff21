//! Renders how users can sign in: accounts at other providers, wallets and passkeys.

use std::fmt::Write;

use super::json_text::{PRIVATE_MARKER, image, list, spread, string, verification};
use super::model::{ExternalAccount, User};

impl ExternalAccount {
    /// Returns whether lists show the account in the older form: `google_account`, with `google_id` and without
    /// `provider`.
    #[must_use]
    pub fn has_older_form(&self) -> bool {
        self.provider == "oauth_google" && spread(&self.id).is_multiple_of(4)
    }
}

/// Writes the accounts at other providers.
pub(super) fn external(out: &mut String, user: &User) {
    list(out, "external_accounts", &user.external_accounts, |out, account| {
        if account.has_older_form() {
            older(out, user, account);
        } else {
            newer(out, user, account);
        }
    });
}

fn address(user: &User) -> &str {
    user.email_addresses.first().map_or("", |it| it.address.as_str())
}

fn newer(out: &mut String, user: &User, account: &ExternalAccount) {
    let _ = write!(
        out,
        "{{\"object\":\"external_account\",\"id\":\"{id}\",\"provider\":\"{provider}\",\"identification_id\":\"idn_{id}\",\
         \"provider_user_id\":\"{id}-there\",\"approved_scopes\":\"email https://www.googleapis.example/auth/userinfo.email openid profile\",\
         \"email_address\":\"{email}\",\"email_address_verified\":true,\"first_name\":",
        id = account.id,
        provider = account.provider,
        email = address(user),
    );
    names(out, user, "last_name");
    image(out, "avatar_url", &account.id);
    image(out, "image_url", &account.id);
    out.push_str(",\"phone_number\":null");
    end(out, user, account);
}

fn older(out: &mut String, user: &User, account: &ExternalAccount) {
    let _ = write!(
        out,
        "{{\"object\":\"google_account\",\"id\":\"{id}\",\"google_id\":\"{id}-there\",\"approved_scopes\":\"email openid profile\",\
         \"email_address\":\"{email}\",\"given_name\":",
        id = account.id,
        email = address(user),
    );
    names(out, user, "family_name");
    image(out, "picture", &account.id);
    end(out, user, account);
}

/// Writes the first name, and the last name as the field `last`.
fn names(out: &mut String, user: &User, last: &str) {
    string(out, user.first_name.as_deref().unwrap_or_default());
    let _ = write!(out, ",\"{last}\":");
    string(out, user.last_name.as_deref().unwrap_or_default());
}

fn end(out: &mut String, user: &User, account: &ExternalAccount) {
    let _ = write!(
        out,
        ",\"username\":null,\"public_metadata\":{{}},\"label\":null,\"created_at\":{},\"updated_at\":{},\"verification\":{}}}",
        user.created_at,
        user.created_at,
        verification("verified", account.provider)
    );
}

/// Writes the wallets. Few users have one.
pub(super) fn wallets(out: &mut String, user: &User) {
    let number = spread(&user.id);
    let wallets: &[usize] = if number.is_multiple_of(17) { &[number] } else { &[] };
    list(out, "web3_wallets", wallets, |out, number| {
        let _ = write!(
            out,
            "{{\"id\":\"idn_wallet{id}\",\"object\":\"web3_wallet\",\"web3_wallet\":\"0x{number:040x}\",\"verification\":\
             {{\"object\":\"verification_web3\",\"status\":\"verified\",\"strategy\":\"web3_metamask_signature\",\
             \"nonce\":\"{PRIVATE_MARKER}\",\"message\":null,\"attempts\":1,\"expire_at\":null,\"verified_at_client\":null}},\
             \"created_at\":{at},\"updated_at\":{at}}}",
            id = user.id,
            at = user.created_at,
        );
    });
}

/// Writes the passkeys. Few users have one.
pub(super) fn passkeys(out: &mut String, user: &User) {
    let count = [1, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0][spread(&user.id) % 11];
    let numbers: Vec<usize> = (0..count).collect();
    list(out, "passkeys", &numbers, |out, number| {
        let _ = write!(
            out,
            "{{\"id\":\"idn_passkey{number}{id}\",\"object\":\"passkey\",\"name\":\"Firefox on Linux {number}\",\
             \"last_used_at\":{used},\"verification\":{{\"object\":\"verification_passkey\",\"status\":\"verified\",\
             \"strategy\":\"passkey\",\"nonce\":\"nonce\",\"message\":null,\"attempts\":1,\"expire_at\":null,\
             \"verified_at_client\":null}}}}",
            id = user.id,
            used = user.last_sign_in_at.unwrap_or(user.created_at),
        );
    });
}

/// Writes the accounts at the identity providers of organizations. Few users have one. The older field `saml_accounts`
/// shows the same accounts.
pub(super) fn enterprise(out: &mut String, user: &User) {
    let number = spread(&user.id);
    let accounts: &[usize] = if number % 19 == 3 { &[number] } else { &[] };
    for (name, object, connection) in [
        ("saml_accounts", "saml_account", "saml_connection"),
        ("enterprise_accounts", "enterprise_account", "enterprise_connection"),
    ] {
        list(out, name, accounts, |out, _| enterprise_account(out, user, object, connection));
    }
    if accounts.is_empty() {
        out.push_str(",\"scim\":null");
    } else {
        let _ = write!(
            out,
            ",\"scim\":{{\"directory_id\":\"dir_{}\",\"directory_enabled\":true,\"external_id\":null}}",
            user.id
        );
    }
}

fn enterprise_account(out: &mut String, user: &User, object: &str, connection: &str) {
    let is_saml = object == "saml_account";
    let _ = write!(
        out,
        "{{\"object\":\"{object}\",\"id\":\"ea_{id}\",\"provider\":\"saml_okta\",\"active\":true,\
         \"email_address\":\"{email}\",\"first_name\":",
        id = user.id,
        email = address(user),
    );
    names(out, user, "last_name");
    if !is_saml {
        let _ = write!(out, ",\"protocol\":\"saml\",\"enterprise_connection_id\":\"entconn_{}\"", user.id);
    }
    let _ = write!(
        out,
        ",\"provider_user_id\":\"{id}-okta\",\"last_authenticated_at\":{signed_in},\"public_metadata\":{{\"department\":\"it\"}},\
         \"verification\":{check},\"{connection}\":{{\"id\":\"entconn_{id}\",\"name\":\"Okta\",\"domain\":\"company.example\",\
         \"domains\":[\"company.example\"],\"active\":true,\"provider\":\"saml_okta\",\"sync_user_attributes\":true,\
         \"allow_subdomains\":false,\"allow_idp_initiated\":false,\"disable_additional_identifications\":false,\
         \"created_at\":{at},\"updated_at\":{at}",
        id = user.id,
        at = user.created_at,
        signed_in = user.last_sign_in_at.map_or_else(|| "null".to_owned(), |at| at.to_string()),
        check = verification("verified", "saml"),
    );
    if !is_saml {
        out.push_str(",\"protocol\":\"saml\",\"logo_public_url\":null");
    }
    out.push_str("}}");
}
