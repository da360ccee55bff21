//! Parses users with serde alone, borrowing from the JSON. Decoding a page cannot be faster.

#![expect(dead_code, reason = "the bench measures parsing the fields; nothing uses their values")]

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Visitor};
use serde_json::value::RawValue;

/// Parses the users of a page, with the fields that the users table stores.
pub fn users(page: &[u8]) -> Vec<User<'_>> {
    serde_json::from_str(std::str::from_utf8(page).expect("UTF-8")).expect("a page of users")
}

/// A user.
#[derive(Deserialize)]
pub struct User<'a> {
    #[serde(borrow)]
    id: Text<'a>,
    #[serde(borrow)]
    username: Option<Text<'a>>,
    #[serde(borrow)]
    first_name: Option<Text<'a>>,
    #[serde(borrow)]
    last_name: Option<Text<'a>>,
    #[serde(borrow)]
    external_id: Option<Text<'a>>,
    #[serde(borrow)]
    locale: Option<Text<'a>>,
    #[serde(borrow)]
    image_url: Option<Text<'a>>,
    has_image: Option<bool>,
    #[serde(borrow)]
    primary_email_address_id: Option<Text<'a>>,
    #[serde(borrow)]
    primary_phone_number_id: Option<Text<'a>>,
    #[serde(borrow)]
    primary_web3_wallet_id: Option<Text<'a>>,
    #[serde(borrow)]
    email_addresses: Option<Vec<EmailAddress<'a>>>,
    #[serde(borrow)]
    phone_numbers: Option<Vec<PhoneNumber<'a>>>,
    #[serde(borrow)]
    external_accounts: Option<Vec<ExternalAccount<'a>>>,
    last_sign_in_at: Option<i64>,
    last_active_at: Option<i64>,
    banned: Option<bool>,
    locked: Option<bool>,
    deprovisioned: Option<bool>,
    password_enabled: Option<bool>,
    two_factor_enabled: Option<bool>,
    totp_enabled: Option<bool>,
    backup_code_enabled: Option<bool>,
    mfa_enabled_at: Option<i64>,
    mfa_disabled_at: Option<i64>,
    password_last_updated_at: Option<i64>,
    delete_self_enabled: Option<bool>,
    create_organization_enabled: Option<bool>,
    create_organizations_limit: Option<i64>,
    bypass_client_trust: Option<bool>,
    legal_accepted_at: Option<i64>,
    created_at: Option<i64>,
    updated_at: Option<i64>,
    #[serde(borrow)]
    public_metadata: Option<&'a RawValue>,
    #[serde(borrow)]
    unsafe_metadata: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[expect(clippy::struct_field_names, reason = "the fields are Clerk's")]
struct EmailAddress<'a> {
    #[serde(borrow)]
    id: Option<Text<'a>>,
    #[serde(borrow)]
    email_address: Option<Text<'a>>,
    #[serde(borrow)]
    verification: Option<Verification<'a>>,
    created_at: Option<i64>,
    updated_at: Option<i64>,
}

#[derive(Deserialize)]
#[expect(clippy::struct_field_names, reason = "the fields are Clerk's")]
struct PhoneNumber<'a> {
    #[serde(borrow)]
    id: Option<Text<'a>>,
    #[serde(borrow)]
    phone_number: Option<Text<'a>>,
    #[serde(borrow)]
    verification: Option<Verification<'a>>,
    reserved_for_second_factor: Option<bool>,
    default_second_factor: Option<bool>,
    created_at: Option<i64>,
    updated_at: Option<i64>,
}

#[derive(Deserialize)]
struct ExternalAccount<'a> {
    #[serde(borrow)]
    id: Option<Text<'a>>,
    #[serde(borrow)]
    provider: Option<Text<'a>>,
    #[serde(borrow)]
    provider_user_id: Option<Text<'a>>,
    #[serde(borrow)]
    email_address: Option<Text<'a>>,
    #[serde(borrow)]
    username: Option<Text<'a>>,
    #[serde(borrow)]
    verification: Option<Verification<'a>>,
    created_at: Option<i64>,
    updated_at: Option<i64>,
}

#[derive(Deserialize)]
struct Verification<'a> {
    #[serde(borrow)]
    status: Option<Text<'a>>,
}

/// Text that is copied only if it contains an escape.
struct Text<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(AnyText)
    }
}

struct AnyText;

impl<'de> Visitor<'de> for AnyText {
    type Value = Text<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
        Ok(Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
        Ok(Text(Cow::Owned(text.to_owned())))
    }
}
