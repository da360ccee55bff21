//! What else a user signs in with: wallets, passkeys, SAML and enterprise accounts, and the directory.
//!
//! Of the connection of an account only the id is read.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::ListedUser;
use super::lists::{ACCOUNT_VERIFICATION, AccountVerification, VERIFICATION, Verification, status};
use crate::resource::json::{FieldTypes, millis, text};
use crate::table::Column;

#[derive(Deserialize)]
pub(super) struct ListedWallet<'a> {
    #[serde(borrow, default, deserialize_with = "text")]
    id: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "text")]
    web3_wallet: Option<Cow<'a, str>>,
    #[serde(borrow)]
    verification: Option<AccountVerification<'a>>,
    #[serde(default, deserialize_with = "millis")]
    created_at: Option<i64>,
    #[serde(default, deserialize_with = "millis")]
    updated_at: Option<i64>,
}

#[derive(Deserialize)]
pub(super) struct ListedPasskey<'a> {
    #[serde(borrow, default, deserialize_with = "text")]
    id: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "text")]
    name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    verification: Option<Verification<'a>>,
    #[serde(default, deserialize_with = "millis")]
    last_used_at: Option<i64>,
}

#[derive(Deserialize)]
pub(super) struct ListedSamlAccount<'a> {
    #[serde(borrow, default, deserialize_with = "text")]
    id: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "text")]
    provider: Option<Cow<'a, str>>,
    active: Option<bool>,
    #[serde(borrow, default, deserialize_with = "text")]
    email_address: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "text")]
    provider_user_id: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "text")]
    first_name: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "text")]
    last_name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    saml_connection: Option<ConnectionId<'a>>,
    #[serde(borrow)]
    public_metadata: Option<&'a RawValue>,
    #[serde(borrow)]
    verification: Option<AccountVerification<'a>>,
    #[serde(default, deserialize_with = "millis")]
    last_authenticated_at: Option<i64>,
}

#[derive(Deserialize)]
pub(super) struct ListedEnterpriseAccount<'a> {
    #[serde(borrow, default, deserialize_with = "text")]
    id: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "text")]
    protocol: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "text")]
    provider: Option<Cow<'a, str>>,
    active: Option<bool>,
    #[serde(borrow, default, deserialize_with = "text")]
    email_address: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "text")]
    provider_user_id: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "text")]
    first_name: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "text")]
    last_name: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "text")]
    enterprise_connection_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    public_metadata: Option<&'a RawValue>,
    #[serde(borrow)]
    verification: Option<AccountVerification<'a>>,
    #[serde(default, deserialize_with = "millis")]
    last_authenticated_at: Option<i64>,
}

#[derive(Deserialize)]
struct ConnectionId<'a> {
    #[serde(borrow, default, deserialize_with = "text")]
    id: Option<Cow<'a, str>>,
}

/// The directory that a user is provisioned from.
#[derive(Deserialize)]
pub(super) struct Scim<'a> {
    #[serde(borrow, default, deserialize_with = "text")]
    directory_id: Option<Cow<'a, str>>,
    directory_enabled: Option<bool>,
    #[serde(borrow, default, deserialize_with = "text")]
    external_id: Option<Cow<'a, str>>,
}

/// The fields of [`ListedWallet`].
pub(super) const WALLET: &FieldTypes = &FieldTypes {
    text: &["id", "web3_wallet"],
    times: &["created_at", "updated_at"],
    objects: &[("verification", ACCOUNT_VERIFICATION)],
    ..FieldTypes::EMPTY
};

/// The fields of [`ListedPasskey`].
pub(super) const PASSKEY: &FieldTypes = &FieldTypes {
    text: &["id", "name"],
    times: &["last_used_at"],
    objects: &[("verification", VERIFICATION)],
    ..FieldTypes::EMPTY
};

/// The fields of [`ListedSamlAccount`].
pub(super) const SAML_ACCOUNT: &FieldTypes = &FieldTypes {
    text: &["id", "provider", "email_address", "provider_user_id", "first_name", "last_name"],
    flags: &["active"],
    times: &["last_authenticated_at"],
    json: &["public_metadata"],
    objects: &[("saml_connection", CONNECTION_ID), ("verification", ACCOUNT_VERIFICATION)],
    ..FieldTypes::EMPTY
};

/// The fields of [`ListedEnterpriseAccount`].
pub(super) const ENTERPRISE_ACCOUNT: &FieldTypes = &FieldTypes {
    text: &[
        "id",
        "protocol",
        "provider",
        "email_address",
        "provider_user_id",
        "first_name",
        "last_name",
        "enterprise_connection_id",
    ],
    flags: &["active"],
    times: &["last_authenticated_at"],
    json: &["public_metadata"],
    objects: &[("verification", ACCOUNT_VERIFICATION)],
    ..FieldTypes::EMPTY
};

const CONNECTION_ID: &FieldTypes = &FieldTypes { text: &["id"], ..FieldTypes::EMPTY };

/// The fields of [`Scim`].
pub(super) const SCIM: &FieldTypes =
    &FieldTypes { text: &["directory_id", "external_id"], flags: &["directory_enabled"], ..FieldTypes::EMPTY };

pub(super) fn web3_wallets(rows: &[ListedUser<'_>]) -> Column {
    let all = || rows.iter().filter_map(|row| row.web3_wallets.as_deref()).flatten();
    let children = [
        Column::text("id", "Id.", all().map(|it| it.id.as_deref())),
        Column::text("web3_wallet", "Address of the wallet.", all().map(|it| it.web3_wallet.as_deref())),
        Column::text(
            "verification_status",
            "Status of the verification.",
            all().map(|it| it.verification.as_ref()?.status.as_deref()),
        ),
        Column::text(
            "verification_strategy",
            "How it was verified.",
            all().map(|it| it.verification.as_ref()?.strategy.as_deref()),
        ),
        Column::time("created_at", "When it was created.", all().map(|it| it.created_at)),
        Column::time("updated_at", "When it was last changed.", all().map(|it| it.updated_at)),
    ];
    let lengths = rows.iter().map(|row| row.web3_wallets.as_ref().map(Vec::len));
    Column::list("web3_wallets", "All Web3 wallets (`web3_wallets`).", lengths, &children)
}

pub(super) fn passkeys(rows: &[ListedUser<'_>]) -> Column {
    let all = || rows.iter().filter_map(|row| row.passkeys.as_deref()).flatten();
    let children = [
        Column::text("id", "Id.", all().map(|it| it.id.as_deref())),
        Column::text("name", "Name that the user chose.", all().map(|it| it.name.as_deref())),
        Column::text(
            "verification_status",
            "Status of the verification.",
            all().map(|it| status(it.verification.as_ref())),
        ),
        Column::time("last_used_at", "When it was last used.", all().map(|it| it.last_used_at)),
    ];
    let lengths = rows.iter().map(|row| row.passkeys.as_ref().map(Vec::len));
    Column::list("passkeys", "All passkeys (`passkeys`).", lengths, &children)
}

pub(super) fn saml_accounts(rows: &[ListedUser<'_>]) -> Column {
    let all = || rows.iter().filter_map(|row| row.saml_accounts.as_deref()).flatten();
    let children = [
        Column::text("id", "Id.", all().map(|it| it.id.as_deref())),
        Column::text("provider", "Identity provider.", all().map(|it| it.provider.as_deref())),
        Column::flag("active", "Whether it is active.", all().map(|it| it.active)),
        Column::text("email_address", "E-mail address at the provider.", all().map(|it| it.email_address.as_deref())),
        Column::text("first_name", "First name at the provider.", all().map(|it| it.first_name.as_deref())),
        Column::text("last_name", "Last name at the provider.", all().map(|it| it.last_name.as_deref())),
        Column::text(
            "provider_user_id",
            "The user's id at the provider.",
            all().map(|it| it.provider_user_id.as_deref()),
        ),
        Column::text(
            "saml_connection_id",
            "Id of the SAML connection.",
            all().map(|it| it.saml_connection.as_ref()?.id.as_deref()),
        ),
        Column::text(
            "verification_status",
            "Status of the verification.",
            all().map(|it| it.verification.as_ref()?.status.as_deref()),
        ),
        Column::text(
            "verification_strategy",
            "How it was verified.",
            all().map(|it| it.verification.as_ref()?.strategy.as_deref()),
        ),
        Column::text(
            "public_metadata",
            "Public metadata of the account, as JSON text.",
            all().map(|it| it.public_metadata.map(RawValue::get)),
        ),
        Column::time("last_authenticated_at", "When it was last used.", all().map(|it| it.last_authenticated_at)),
    ];
    let lengths = rows.iter().map(|row| row.saml_accounts.as_ref().map(Vec::len));
    Column::list("saml_accounts", "All SAML accounts (`saml_accounts`).", lengths, &children)
}

pub(super) fn enterprise_accounts(rows: &[ListedUser<'_>]) -> Column {
    let all = || rows.iter().filter_map(|row| row.enterprise_accounts.as_deref()).flatten();
    let children = [
        Column::text("id", "Id.", all().map(|it| it.id.as_deref())),
        Column::text("protocol", "Protocol: `oauth` or `saml`.", all().map(|it| it.protocol.as_deref())),
        Column::text("provider", "Identity provider.", all().map(|it| it.provider.as_deref())),
        Column::flag("active", "Whether it is active.", all().map(|it| it.active)),
        Column::text("email_address", "E-mail address at the provider.", all().map(|it| it.email_address.as_deref())),
        Column::text("first_name", "First name at the provider.", all().map(|it| it.first_name.as_deref())),
        Column::text("last_name", "Last name at the provider.", all().map(|it| it.last_name.as_deref())),
        Column::text(
            "provider_user_id",
            "The user's id at the provider.",
            all().map(|it| it.provider_user_id.as_deref()),
        ),
        Column::text(
            "enterprise_connection_id",
            "Id of the enterprise connection.",
            all().map(|it| it.enterprise_connection_id.as_deref()),
        ),
        Column::text(
            "verification_status",
            "Status of the verification.",
            all().map(|it| it.verification.as_ref()?.status.as_deref()),
        ),
        Column::text(
            "verification_strategy",
            "How it was verified.",
            all().map(|it| it.verification.as_ref()?.strategy.as_deref()),
        ),
        Column::text(
            "public_metadata",
            "Public metadata of the account, as JSON text.",
            all().map(|it| it.public_metadata.map(RawValue::get)),
        ),
        Column::time("last_authenticated_at", "When it was last used.", all().map(|it| it.last_authenticated_at)),
    ];
    let lengths = rows.iter().map(|row| row.enterprise_accounts.as_ref().map(Vec::len));
    Column::list("enterprise_accounts", "All enterprise accounts (`enterprise_accounts`).", lengths, &children)
}

pub(super) fn scim(rows: &[ListedUser<'_>]) -> Column {
    let all = || rows.iter().map(|row| row.scim.as_ref());
    let children = [
        Column::text("directory_id", "Id of the directory.", all().map(|it| it?.directory_id.as_deref())),
        Column::flag("directory_enabled", "Whether the directory is enabled.", all().map(|it| it?.directory_enabled)),
        Column::text("external_id", "The user's id in the directory.", all().map(|it| it?.external_id.as_deref())),
    ];
    Column::structure(
        "scim",
        "The directory that the user is provisioned from; NULL if there is none (`scim`).",
        &children,
        all().map(|it| it.is_some()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::json::fields_of;

    #[test]
    fn the_shapes_name_the_fields_that_are_read() {
        assert_eq!(WALLET.sorted_names(), fields_of::<ListedWallet<'_>>());
        assert_eq!(PASSKEY.sorted_names(), fields_of::<ListedPasskey<'_>>());
        assert_eq!(SAML_ACCOUNT.sorted_names(), fields_of::<ListedSamlAccount<'_>>());
        assert_eq!(ENTERPRISE_ACCOUNT.sorted_names(), fields_of::<ListedEnterpriseAccount<'_>>());
        assert_eq!(CONNECTION_ID.sorted_names(), fields_of::<ConnectionId<'_>>());
        assert_eq!(SCIM.sorted_names(), fields_of::<Scim<'_>>());
    }
}
