//! The lists of a user: e-mail addresses, phone numbers and external accounts.

use std::borrow::Cow;

use serde::Deserialize;

use super::ListedUser;
use crate::resource::json::{FieldTypes, millis, text};
use crate::table::Column;

#[derive(Deserialize)]
pub(super) struct ListedEmailAddress<'a> {
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
pub(super) struct ListedPhoneNumber<'a> {
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
pub(super) struct ListedExternalAccount<'a> {
    #[serde(borrow, default, deserialize_with = "text")]
    id: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "text")]
    object: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "text")]
    provider: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "text")]
    provider_user_id: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "text")]
    google_id: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "text")]
    facebook_id: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "text")]
    email_address: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "text")]
    username: Option<Cow<'a, str>>,
    #[serde(borrow)]
    verification: Option<AccountVerification<'a>>,
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

#[derive(Deserialize)]
pub(super) struct AccountVerification<'a> {
    #[serde(borrow, default, deserialize_with = "text")]
    pub(super) status: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "text")]
    pub(super) strategy: Option<Cow<'a, str>>,
}

impl ListedExternalAccount<'_> {
    /// Returns the provider, by the same name for all of Clerk's formats: `provider` without the prefix `oauth_`.
    ///
    /// An account in the older format has no `provider`. Its provider is taken from `object` (`google_account`), or
    /// else from the strategy of its verification (`oauth_google`).
    fn provider(&self) -> Option<&str> {
        let strategy = || self.verification.as_ref()?.strategy.as_deref()?.strip_prefix("oauth_");
        let object = || self.object.as_deref()?.strip_suffix("_account").filter(|name| *name != "external");
        let provider = self.provider.as_deref().map(|name| name.strip_prefix("oauth_").unwrap_or(name));
        provider.filter(|name| !name.is_empty()).or_else(object).or_else(strategy)
    }

    /// Returns the user's id at the provider. Its field has a different name in the older formats.
    fn provider_user_id(&self) -> Option<&str> {
        self.provider_user_id.as_deref().or(self.google_id.as_deref()).or(self.facebook_id.as_deref())
    }
}

/// The fields of [`ListedEmailAddress`].
pub(super) const EMAIL_ADDRESS: &FieldTypes = &FieldTypes {
    text: &["id", "email_address"],
    times: &["created_at", "updated_at"],
    objects: &[("verification", VERIFICATION)],
    ..FieldTypes::EMPTY
};

/// The fields of [`ListedPhoneNumber`].
pub(super) const PHONE_NUMBER: &FieldTypes = &FieldTypes {
    text: &["id", "phone_number"],
    flags: &["reserved_for_second_factor", "default_second_factor"],
    times: &["created_at", "updated_at"],
    objects: &[("verification", VERIFICATION)],
    ..FieldTypes::EMPTY
};

/// The fields of [`ListedExternalAccount`].
pub(super) const EXTERNAL_ACCOUNT: &FieldTypes = &FieldTypes {
    text: &["id", "object", "provider", "provider_user_id", "google_id", "facebook_id", "email_address", "username"],
    times: &["created_at", "updated_at"],
    objects: &[("verification", ACCOUNT_VERIFICATION)],
    ..FieldTypes::EMPTY
};

/// The fields of [`Verification`].
pub(super) const VERIFICATION: &FieldTypes = &FieldTypes { text: &["status"], ..FieldTypes::EMPTY };

/// The fields of [`AccountVerification`].
pub(super) const ACCOUNT_VERIFICATION: &FieldTypes = &FieldTypes { text: &["status", "strategy"], ..FieldTypes::EMPTY };

/// Returns the status of a verification, if there is one.
pub(super) fn status<'r>(verification: Option<&'r Verification<'_>>) -> Option<&'r str> {
    verification.and_then(|verification| verification.status.as_deref())
}

pub(super) fn email_addresses(rows: &[ListedUser<'_>]) -> Column {
    let all = || rows.iter().filter_map(|row| row.email_addresses.as_deref()).flatten();
    let children = [
        Column::text("id", "Id.", all().map(|it| it.id.as_deref())),
        Column::text("email_address", "E-mail address.", all().map(|it| it.email_address.as_deref())),
        Column::text(
            "verification_status",
            "Status of the verification.",
            all().map(|it| status(it.verification.as_ref())),
        ),
        Column::time("created_at", "When it was created.", all().map(|it| it.created_at)),
        Column::time("updated_at", "When it was last changed.", all().map(|it| it.updated_at)),
    ];
    let lengths = rows.iter().map(|row| row.email_addresses.as_ref().map(Vec::len));
    Column::list("email_addresses", "All e-mail addresses (`email_addresses`).", lengths, &children)
}

pub(super) fn phone_numbers(rows: &[ListedUser<'_>]) -> Column {
    let all = || rows.iter().filter_map(|row| row.phone_numbers.as_deref()).flatten();
    let children = [
        Column::text("id", "Id.", all().map(|it| it.id.as_deref())),
        Column::text("phone_number", "Phone number.", all().map(|it| it.phone_number.as_deref())),
        Column::text(
            "verification_status",
            "Status of the verification.",
            all().map(|it| status(it.verification.as_ref())),
        ),
        Column::flag(
            "reserved_for_second_factor",
            "Whether it is used for the second factor only.",
            all().map(|it| it.reserved_for_second_factor),
        ),
        Column::flag(
            "default_second_factor",
            "Whether it is the default second factor.",
            all().map(|it| it.default_second_factor),
        ),
        Column::time("created_at", "When it was created.", all().map(|it| it.created_at)),
        Column::time("updated_at", "When it was last changed.", all().map(|it| it.updated_at)),
    ];
    let lengths = rows.iter().map(|row| row.phone_numbers.as_ref().map(Vec::len));
    Column::list("phone_numbers", "All phone numbers (`phone_numbers`).", lengths, &children)
}

pub(super) fn external_accounts(rows: &[ListedUser<'_>]) -> Column {
    let all = || rows.iter().filter_map(|row| row.external_accounts.as_deref()).flatten();
    let children = [
        Column::text("id", "Id.", all().map(|it| it.id.as_deref())),
        Column::text("provider", "Provider, without the prefix `oauth_`.", all().map(ListedExternalAccount::provider)),
        Column::text(
            "provider_user_id",
            "The user's id at the provider.",
            all().map(ListedExternalAccount::provider_user_id),
        ),
        Column::text("email_address", "E-mail address at the provider.", all().map(|it| it.email_address.as_deref())),
        Column::text("username", "User name at the provider.", all().map(|it| it.username.as_deref())),
        Column::text(
            "verification_status",
            "Status of the verification.",
            all().map(|it| it.verification.as_ref()?.status.as_deref()),
        ),
        Column::time("created_at", "When it was created.", all().map(|it| it.created_at)),
        Column::time("updated_at", "When it was last changed.", all().map(|it| it.updated_at)),
    ];
    let lengths = rows.iter().map(|row| row.external_accounts.as_ref().map(Vec::len));
    Column::list("external_accounts", "All accounts at external providers (`external_accounts`).", lengths, &children)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::json::fields_of;

    #[test]
    fn the_shapes_name_the_fields_that_are_read() {
        assert_eq!(EMAIL_ADDRESS.sorted_names(), fields_of::<ListedEmailAddress<'_>>());
        assert_eq!(PHONE_NUMBER.sorted_names(), fields_of::<ListedPhoneNumber<'_>>());
        assert_eq!(EXTERNAL_ACCOUNT.sorted_names(), fields_of::<ListedExternalAccount<'_>>());
        assert_eq!(VERIFICATION.sorted_names(), fields_of::<Verification<'_>>());
        assert_eq!(ACCOUNT_VERIFICATION.sorted_names(), fields_of::<AccountVerification<'_>>());
    }

    #[test]
    fn accounts_in_every_format_have_the_same_provider_name() {
        for (account, provider, id) in [
            (r#"{"provider":"google","provider_user_id":"1"}"#, Some("google"), Some("1")),
            (r#"{"provider":"oauth_google","provider_user_id":"1","google_id":"2"}"#, Some("google"), Some("1")),
            (r#"{"object":"google_account","google_id":"2"}"#, Some("google"), Some("2")),
            (r#"{"object":"facebook_account","facebook_id":"3","provider":""}"#, Some("facebook"), Some("3")),
            (r#"{"object":"external_account","verification":{"strategy":"oauth_apple"}}"#, Some("apple"), None),
            (r#"{"object":"external_account","verification":{"strategy":"ticket"}}"#, None, None),
            ("{}", None, None),
        ] {
            let account: ListedExternalAccount<'_> = serde_json::from_str(account).unwrap();
            assert_eq!((account.provider(), account.provider_user_id()), (provider, id));
        }
    }
}
