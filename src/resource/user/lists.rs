//! What a user has several of: e-mail addresses, phone numbers, accounts elsewhere.

use std::borrow::Cow;

use serde::Deserialize;

use super::User;
use crate::resource::json::{millis, text};
use crate::table::Column;

#[derive(Deserialize)]
#[expect(clippy::struct_field_names, reason = "the fields are Clerk's")]
pub(super) struct EmailAddress<'a> {
    #[serde(borrow, default, deserialize_with = "text")]
    pub(super) id: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "text")]
    pub(super) email_address: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) verification: Option<Verification<'a>>,
    #[serde(default, deserialize_with = "millis")]
    created_at: Option<i64>,
    #[serde(default, deserialize_with = "millis")]
    updated_at: Option<i64>,
}

#[derive(Deserialize)]
#[expect(clippy::struct_field_names, reason = "the fields are Clerk's")]
pub(super) struct PhoneNumber<'a> {
    #[serde(borrow, default, deserialize_with = "text")]
    id: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "text")]
    phone_number: Option<Cow<'a, str>>,
    #[serde(borrow)]
    verification: Option<Verification<'a>>,
    reserved_for_second_factor: Option<bool>,
    default_second_factor: Option<bool>,
    #[serde(default, deserialize_with = "millis")]
    created_at: Option<i64>,
    #[serde(default, deserialize_with = "millis")]
    updated_at: Option<i64>,
}

#[derive(Deserialize)]
pub(super) struct ExternalAccount<'a> {
    #[serde(borrow, default, deserialize_with = "text")]
    id: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "text")]
    provider: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "text")]
    provider_user_id: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "text")]
    email_address: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "text")]
    username: Option<Cow<'a, str>>,
    #[serde(borrow)]
    verification: Option<Verification<'a>>,
    #[serde(default, deserialize_with = "millis")]
    created_at: Option<i64>,
    #[serde(default, deserialize_with = "millis")]
    updated_at: Option<i64>,
}

#[derive(Deserialize)]
pub(super) struct Verification<'a> {
    #[serde(borrow, default, deserialize_with = "text")]
    pub(super) status: Option<Cow<'a, str>>,
}

/// The status of a verification, where there is one.
fn status<'r>(verification: Option<&'r Verification<'_>>) -> Option<&'r str> {
    verification.and_then(|verification| verification.status.as_deref())
}

pub(super) fn email_addresses(rows: &[User<'_>]) -> Column {
    let all = || rows.iter().filter_map(|row| row.email_addresses.as_deref()).flatten();
    let children = [
        Column::text("id", "Id.", all().map(|it| it.id.as_deref())),
        Column::text("email_address", "Address.", all().map(|it| it.email_address.as_deref())),
        Column::text("verification_status", "Verification.", all().map(|it| status(it.verification.as_ref()))),
        Column::time("created_at", "Created.", all().map(|it| it.created_at)),
        Column::time("updated_at", "Changed.", all().map(|it| it.updated_at)),
    ];
    let lengths = rows.iter().map(|row| row.email_addresses.as_ref().map(Vec::len));
    Column::list("email_addresses", "All e-mail addresses (`email_addresses`).", lengths, &children)
}

pub(super) fn phone_numbers(rows: &[User<'_>]) -> Column {
    let all = || rows.iter().filter_map(|row| row.phone_numbers.as_deref()).flatten();
    let children = [
        Column::text("id", "Id.", all().map(|it| it.id.as_deref())),
        Column::text("phone_number", "Number.", all().map(|it| it.phone_number.as_deref())),
        Column::text("verification_status", "Verification.", all().map(|it| status(it.verification.as_ref()))),
        Column::flag(
            "reserved_for_second_factor",
            "Only for the second factor.",
            all().map(|it| it.reserved_for_second_factor),
        ),
        Column::flag("default_second_factor", "The usual second factor.", all().map(|it| it.default_second_factor)),
        Column::time("created_at", "Created.", all().map(|it| it.created_at)),
        Column::time("updated_at", "Changed.", all().map(|it| it.updated_at)),
    ];
    let lengths = rows.iter().map(|row| row.phone_numbers.as_ref().map(Vec::len));
    Column::list("phone_numbers", "All phone numbers (`phone_numbers`).", lengths, &children)
}

pub(super) fn external_accounts(rows: &[User<'_>]) -> Column {
    let all = || rows.iter().filter_map(|row| row.external_accounts.as_deref()).flatten();
    let children = [
        Column::text("id", "Id.", all().map(|it| it.id.as_deref())),
        Column::text("provider", "Provider.", all().map(|it| it.provider.as_deref())),
        Column::text("provider_user_id", "Id there.", all().map(|it| it.provider_user_id.as_deref())),
        Column::text("email_address", "Address there.", all().map(|it| it.email_address.as_deref())),
        Column::text("username", "Name there.", all().map(|it| it.username.as_deref())),
        Column::text("verification_status", "Verification.", all().map(|it| status(it.verification.as_ref()))),
        Column::time("created_at", "Created.", all().map(|it| it.created_at)),
        Column::time("updated_at", "Changed.", all().map(|it| it.updated_at)),
    ];
    let lengths = rows.iter().map(|row| row.external_accounts.as_ref().map(Vec::len));
    Column::list("external_accounts", "All accounts elsewhere (`external_accounts`).", lengths, &children)
}
