//! The columns of users.

use serde_json::value::RawValue;

use super::ListedUser;
use super::accounts::{enterprise_accounts, passkeys, saml_accounts, scim, web3_wallets};
use super::lists::{email_addresses, external_accounts, phone_numbers};
use crate::resource::time::year;
use crate::table::Column;

/// Returns the columns of the users `rows`.
pub(super) fn columns(rows: &[ListedUser<'_>]) -> Vec<Column> {
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
        web3_wallets(rows),
        passkeys(rows),
        saml_accounts(rows),
        enterprise_accounts(rows),
        scim(rows),
        Column::integer(
            "lockout_expires_in_seconds",
            "Seconds until the lockout ended, at the time of the sync; NULL if the user is not locked or the lockout does \
                not end (`lockout_expires_in_seconds`).",
            rows.iter().map(|row| row.lockout_expires_in_seconds),
        ),
        Column::integer(
            "verification_attempts_remaining",
            "Number of failed attempts until the user is locked, at the time of the sync; NULL if users are never locked \
                (`verification_attempts_remaining`).",
            rows.iter().map(|row| row.verification_attempts_remaining),
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
