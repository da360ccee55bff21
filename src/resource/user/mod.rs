//! Users: `GET /v1/users` (schema `User` of the contract).
//!
//! `private_metadata`, backup codes and password material are never read. `profile_image_url` is a deprecated name of
//! `image_url`. Memberships have a table of their own.

mod accounts;
mod columns;
mod lists;

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::json::{FieldTypes, id, integer, millis, text};
use accounts::{ListedEnterpriseAccount, ListedPasskey, ListedSamlAccount, ListedWallet, Scim};
use columns::columns;
use lists::{ListedEmailAddress, ListedExternalAccount, ListedPhoneNumber};

use super::page::{ListedRow, decode_page};
use super::{CursorList, Reading, Resource};
use crate::api::RowKey;
use crate::table::{Column, Shape, TableSpec};

/// Users, in their current state.
pub static USERS: Resource = Resource {
    name: "users",
    table: TableSpec {
        name: "clerk_user",
        meaning: "The users of the instance, as they are now.",
        shape: Shape::Entity,
        key: &["id"],
        partition: Some("created_year"),
        row_group_rows: 16_384,
        repetitive: &[
            "locale",
            "last_active_at",
            "email_addresses.list.element.verification_status",
            "external_accounts.list.element.provider",
            "saml_accounts.list.element.provider",
            "enterprise_accounts.list.element.provider",
            "_synced_at",
        ],
        source: "GET /v1/users",
        columns: || columns(&[]),
    },
    reading: Reading::Cursor(USER_LIST),
    default: true,
    fields: || SHAPE.fields(),
};

/// The list of users, `GET /v1/users`.
pub const USER_LIST: CursorList = CursorList {
    path: "/users",
    count: "/users/count",
    active_after: "last_active_at_after",
    changed: "updated_at",
    decode: decode_page::<UserRow>,
};

#[derive(Deserialize)]
struct ListedUser<'a> {
    #[serde(borrow, deserialize_with = "id")]
    id: Cow<'a, str>,
    #[serde(borrow, default, deserialize_with = "text")]
    username: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "text")]
    first_name: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "text")]
    last_name: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "text")]
    external_id: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "text")]
    locale: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "text")]
    image_url: Option<Cow<'a, str>>,
    has_image: Option<bool>,
    #[serde(borrow, default, deserialize_with = "text")]
    primary_email_address_id: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "text")]
    primary_phone_number_id: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "text")]
    primary_web3_wallet_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    email_addresses: Option<Vec<ListedEmailAddress<'a>>>,
    #[serde(borrow)]
    phone_numbers: Option<Vec<ListedPhoneNumber<'a>>>,
    #[serde(borrow)]
    external_accounts: Option<Vec<ListedExternalAccount<'a>>>,
    #[serde(default, deserialize_with = "millis")]
    last_sign_in_at: Option<i64>,
    #[serde(default, deserialize_with = "millis")]
    last_active_at: Option<i64>,
    banned: Option<bool>,
    locked: Option<bool>,
    deprovisioned: Option<bool>,
    password_enabled: Option<bool>,
    two_factor_enabled: Option<bool>,
    totp_enabled: Option<bool>,
    backup_code_enabled: Option<bool>,
    #[serde(default, deserialize_with = "millis")]
    mfa_enabled_at: Option<i64>,
    #[serde(default, deserialize_with = "millis")]
    mfa_disabled_at: Option<i64>,
    #[serde(default, deserialize_with = "millis")]
    password_last_updated_at: Option<i64>,
    delete_self_enabled: Option<bool>,
    create_organization_enabled: Option<bool>,
    #[serde(default, deserialize_with = "integer")]
    create_organizations_limit: Option<i64>,
    bypass_client_trust: Option<bool>,
    #[serde(default, deserialize_with = "millis")]
    legal_accepted_at: Option<i64>,
    #[serde(default, deserialize_with = "millis")]
    created_at: Option<i64>,
    #[serde(default, deserialize_with = "millis")]
    updated_at: Option<i64>,
    #[serde(borrow)]
    public_metadata: Option<&'a RawValue>,
    #[serde(borrow)]
    unsafe_metadata: Option<&'a RawValue>,
    #[serde(borrow)]
    web3_wallets: Option<Vec<ListedWallet<'a>>>,
    #[serde(borrow)]
    passkeys: Option<Vec<ListedPasskey<'a>>>,
    #[serde(borrow)]
    saml_accounts: Option<Vec<ListedSamlAccount<'a>>>,
    #[serde(borrow)]
    enterprise_accounts: Option<Vec<ListedEnterpriseAccount<'a>>>,
    #[serde(borrow)]
    scim: Option<Scim<'a>>,
    #[serde(default, deserialize_with = "integer")]
    lockout_expires_in_seconds: Option<i64>,
    #[serde(default, deserialize_with = "integer")]
    verification_attempts_remaining: Option<i64>,
}

impl ListedUser<'_> {
    /// Returns the primary e-mail address: the one whose id is `primary_email_address_id` (Backend API, "Users"), or
    /// the first one if no id matches. `None` if the user has no e-mail address.
    fn primary_email(&self) -> Option<&ListedEmailAddress<'_>> {
        let addresses = self.email_addresses.as_deref()?;
        let primary = self.primary_email_address_id.as_deref();
        addresses.iter().find(|address| primary.is_some() && address.id.as_deref() == primary).or(addresses.first())
    }

    /// Returns whether the primary e-mail address is verified; `None` if there is no such address or it has no
    /// verification.
    fn email_verified(&self) -> Option<bool> {
        self.primary_email()?.verification.as_ref().map(|it| it.status.as_deref() == Some("verified"))
    }
}

/// The fields of [`ListedUser`].
const SHAPE: &FieldTypes = &FieldTypes {
    text: &[
        "id",
        "username",
        "first_name",
        "last_name",
        "external_id",
        "locale",
        "image_url",
        "primary_email_address_id",
        "primary_phone_number_id",
        "primary_web3_wallet_id",
    ],
    flags: &[
        "has_image",
        "banned",
        "locked",
        "deprovisioned",
        "password_enabled",
        "two_factor_enabled",
        "totp_enabled",
        "backup_code_enabled",
        "delete_self_enabled",
        "create_organization_enabled",
        "bypass_client_trust",
    ],
    integers: &["create_organizations_limit", "lockout_expires_in_seconds", "verification_attempts_remaining"],
    times: &[
        "last_sign_in_at",
        "last_active_at",
        "mfa_enabled_at",
        "mfa_disabled_at",
        "password_last_updated_at",
        "legal_accepted_at",
        "created_at",
        "updated_at",
    ],
    json: &["public_metadata", "unsafe_metadata"],
    objects: &[("scim", accounts::SCIM)],
    lists: &[
        ("email_addresses", lists::EMAIL_ADDRESS),
        ("phone_numbers", lists::PHONE_NUMBER),
        ("external_accounts", lists::EXTERNAL_ACCOUNT),
        ("web3_wallets", accounts::WALLET),
        ("passkeys", accounts::PASSKEY),
        ("saml_accounts", accounts::SAML_ACCOUNT),
        ("enterprise_accounts", accounts::ENTERPRISE_ACCOUNT),
    ],
};

struct UserRow;

impl ListedRow for UserRow {
    type Of<'a> = ListedUser<'a>;

    const SHAPE: &'static FieldTypes = SHAPE;

    fn key(row: &ListedUser<'_>) -> RowKey {
        RowKey { id: row.id.to_string(), created_at: row.created_at }
    }

    fn columns(rows: &[ListedUser<'_>]) -> Vec<Column> {
        columns(rows)
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;

    use super::*;
    use crate::resource::json::fields_of;

    #[test]
    fn the_shape_names_the_fields_that_are_read() {
        assert_eq!(SHAPE.sorted_names(), fields_of::<ListedUser<'_>>());
    }

    fn emails(body: &str) -> Vec<(Option<String>, Option<bool>)> {
        let batch = decode_page::<UserRow>(body.as_bytes()).unwrap().rows.batch;
        let email = batch.column_by_name("email").unwrap().as_string::<i32>().clone();
        let verified = batch.column_by_name("email_verified").unwrap().as_boolean().clone();
        email.iter().map(|email| email.map(str::to_owned)).zip(verified.iter()).collect()
    }

    #[test]
    fn the_primary_email_is_the_one_with_the_primary_id_or_the_first() {
        let got = emails(
            r#"[
            {"id":"a","primary_email_address_id":"2","email_addresses":[
                {"id":"1","email_address":"one@example.com","verification":{"status":"verified"}},
                {"id":"2","email_address":"two@example.com","verification":{"status":"unverified"}}]},
            {"id":"b","primary_email_address_id":"9","email_addresses":[
                {"id":"1","email_address":"one@example.com","verification":{"status":"verified"}}]},
            {"id":"c","primary_email_address_id":null,"email_addresses":[
                {"id":"1","email_address":"one@example.com","verification":null}]},
            {"id":"d","primary_email_address_id":"1","email_addresses":[]},
            {"id":"e"}]"#,
        );
        let email = |text: &str| Some(text.to_owned());
        assert_eq!(
            got,
            [
                (email("two@example.com"), Some(false)),
                (email("one@example.com"), Some(true)),
                (email("one@example.com"), None),
                (None, None),
                (None, None)
            ]
        );
    }

    #[test]
    fn private_metadata_and_password_material_have_no_column() {
        let names: Vec<_> = columns(&[]).iter().map(|column| column.name).collect();
        assert!(names.iter().all(|name| !name.contains("private") && *name != "password"));
    }
}
