//! Users: `GET /v1/users` (schema `UserRow` of the contract).
//!
//! `private_metadata` and password material are never read. Values that Clerk counts down (the remaining seconds of a
//! lockout, the attempts left) are left out, because they would change rows at every sync.

mod lists;

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::json::{FieldTypes, id, integer, millis, text};
use lists::{
    ListedEmailAddress, ListedExternalAccount, ListedPhoneNumber, email_addresses, external_accounts, phone_numbers,
};

use super::{CursorList, ListedRow, Reading, Resource, decode_page, year};
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
            "_synced_at",
        ],
        source: "GET /v1/users",
        columns: || columns(&[]),
    },
    reading: Reading::Cursor(USER_LIST),
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

/// The fields of [`UserRow`].
pub(super) const SHAPE: &FieldTypes = &FieldTypes {
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
    integers: &["create_organizations_limit"],
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
    lists: &[
        ("email_addresses", lists::EMAIL_ADDRESS),
        ("phone_numbers", lists::PHONE_NUMBER),
        ("external_accounts", lists::EXTERNAL_ACCOUNT),
    ],
    ..FieldTypes::EMPTY
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

fn columns(rows: &[ListedUser<'_>]) -> Vec<Column> {
    let mut columns = identity(rows);
    columns.extend(activity(rows));
    columns.extend(authentication(rows));
    columns.extend([email_addresses(rows), phone_numbers(rows), external_accounts(rows)]);
    columns.extend([
        Column::text(
            "public_metadata",
            "Public metadata, as JSON text (`public_metadata`).",
            rows.iter().map(|row| row.public_metadata.map(RawValue::get)),
        ),
        Column::text(
            "unsafe_metadata",
            "Metadata that the user may write, as JSON text (`unsafe_metadata`).",
            rows.iter().map(|row| row.unsafe_metadata.map(RawValue::get)),
        ),
        Column::year(
            "created_year",
            "UTC year of `created_at`, or 0 if it is unknown. Partition column.",
            rows.iter().map(|row| Some(year(row.created_at))),
        ),
    ]);
    columns
}

fn identity(rows: &[ListedUser<'_>]) -> Vec<Column> {
    vec![
        Column::text("id", "Clerk's id of the user (`id`).", rows.iter().map(|row| Some(row.id.as_ref()))),
        Column::text(
            "email",
            "Primary e-mail address: the one with the id `primary_email_address_id`, or else the first.",
            rows.iter().map(|row| row.primary_email().and_then(|address| address.email_address.as_deref())),
        ),
        Column::flag(
            "email_verified",
            "Whether the primary e-mail address is verified; NULL if it has no verification.",
            rows.iter().map(ListedUser::email_verified),
        ),
        Column::text("username", "User name (`username`).", rows.iter().map(|row| row.username.as_deref())),
        Column::text("first_name", "First name (`first_name`).", rows.iter().map(|row| row.first_name.as_deref())),
        Column::text("last_name", "Last name (`last_name`).", rows.iter().map(|row| row.last_name.as_deref())),
        Column::text(
            "external_id",
            "Id of the user in your own system (`external_id`).",
            rows.iter().map(|row| row.external_id.as_deref()),
        ),
        Column::text("locale", "Locale (`locale`).", rows.iter().map(|row| row.locale.as_deref())),
        Column::text(
            "image_url",
            "URL of the profile image (`image_url`).",
            rows.iter().map(|row| row.image_url.as_deref()),
        ),
        Column::flag(
            "has_image",
            "Whether the profile image is the user's own, not a generated avatar (`has_image`).",
            rows.iter().map(|row| row.has_image),
        ),
        Column::text(
            "primary_email_address_id",
            "Id of the primary e-mail address (`primary_email_address_id`).",
            rows.iter().map(|row| row.primary_email_address_id.as_deref()),
        ),
        Column::text(
            "primary_phone_number_id",
            "Id of the primary phone number (`primary_phone_number_id`).",
            rows.iter().map(|row| row.primary_phone_number_id.as_deref()),
        ),
        Column::text(
            "primary_web3_wallet_id",
            "Id of the primary Web3 wallet (`primary_web3_wallet_id`).",
            rows.iter().map(|row| row.primary_web3_wallet_id.as_deref()),
        ),
    ]
}

fn activity(rows: &[ListedUser<'_>]) -> Vec<Column> {
    vec![
        Column::time(
            "last_sign_in_at",
            "When the user last signed in (`last_sign_in_at`).",
            rows.iter().map(|row| row.last_sign_in_at),
        ),
        Column::time(
            "last_active_at",
            "When the user was last active. Only the UTC day is meaningful (`last_active_at`).",
            rows.iter().map(|row| row.last_active_at),
        ),
        Column::flag("banned", "Whether the user is banned (`banned`).", rows.iter().map(|row| row.banned)),
        Column::flag("locked", "Whether the user is locked out (`locked`).", rows.iter().map(|row| row.locked)),
        Column::flag(
            "deprovisioned",
            "Whether the user was deprovisioned (`deprovisioned`).",
            rows.iter().map(|row| row.deprovisioned),
        ),
        Column::time("created_at", "When the user was created (`created_at`).", rows.iter().map(|row| row.created_at)),
        Column::time(
            "updated_at",
            "When the user was last changed. Activity alone does not always change it (`updated_at`).",
            rows.iter().map(|row| row.updated_at),
        ),
    ]
}

fn authentication(rows: &[ListedUser<'_>]) -> Vec<Column> {
    let flag =
        |name, meaning, of: fn(&ListedUser<'_>) -> Option<bool>| Column::flag(name, meaning, rows.iter().map(of));
    let time = |name, meaning, of: fn(&ListedUser<'_>) -> Option<i64>| Column::time(name, meaning, rows.iter().map(of));
    vec![
        flag("password_enabled", "Whether a password is set (`password_enabled`).", |row| row.password_enabled),
        flag("two_factor_enabled", "Whether a second factor is enabled (`two_factor_enabled`).", |row| {
            row.two_factor_enabled
        }),
        flag("totp_enabled", "Whether time-based one-time codes are enabled (`totp_enabled`).", |row| row.totp_enabled),
        flag("backup_code_enabled", "Whether backup codes are enabled (`backup_code_enabled`).", |row| {
            row.backup_code_enabled
        }),
        time("mfa_enabled_at", "When a second factor was last enabled (`mfa_enabled_at`).", |row| row.mfa_enabled_at),
        time("mfa_disabled_at", "When the second factor was last disabled (`mfa_disabled_at`).", |row| {
            row.mfa_disabled_at
        }),
        time("password_last_updated_at", "When the password was last set (`password_last_updated_at`).", |row| {
            row.password_last_updated_at
        }),
        flag("delete_self_enabled", "Whether the user may delete their own account (`delete_self_enabled`).", |row| {
            row.delete_self_enabled
        }),
        flag(
            "create_organization_enabled",
            "Whether the user may create organizations (`create_organization_enabled`).",
            |row| row.create_organization_enabled,
        ),
        Column::integer(
            "create_organizations_limit",
            "Maximum number of organizations the user may create; 0 means no limit (`create_organizations_limit`).",
            rows.iter().map(|row| row.create_organizations_limit),
        ),
        flag("bypass_client_trust", "Whether sign-ins skip the device check (`bypass_client_trust`).", |row| {
            row.bypass_client_trust
        }),
        time("legal_accepted_at", "When the user accepted the legal terms (`legal_accepted_at`).", |row| {
            row.legal_accepted_at
        }),
    ]
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
