//! The fields of the contract that are not read, and why.

const SECRET: &str = "must never be stored";
const PRIVATE: &str = "personal data that Clerk's own object of the person has";
const ELSEWHERE: &str = "a copy: the object has a table of its own";
const DEPRECATED: &str = "a deprecated name of another field";
const FORMAT: &str = "how an amount is written follows from the amount and the currency";
const PASSING: &str = "the state of a verification while it lasts";
const UNSPECIFIED: &str = "an object without stated fields; its id is kept";
const NESTED: &str = "tables of earlier versions cannot get new fields in a nested column yet";

/// The resource, or `*` for all; the fields, where a `*` stands for anything; and why they are not read. The first entry
/// that fits counts.
pub(super) const LEFT_OUT: &[(&str, &str, &str)] = &[
    ("*", "*private_metadata", SECRET),
    ("*", "*api_key", SECRET),
    ("*", "*backup_codes", SECRET),
    ("*", "*external_verification_redirect_url", SECRET),
    ("*", "*.verification.nonce", SECRET),
    ("*", "*.verification.message", SECRET),
    ("*", "payment_method", SECRET),
    ("*", "gateway_external_url", SECRET),
    ("invitations", "url", SECRET),
    ("organization_invitations", "url", SECRET),
    ("waitlist_entries", "invitation.url", SECRET),
    ("organization_domains", "affiliation_email_address", SECRET),
    ("*", "*.verification.attempts", PASSING),
    ("*", "*.verification.channel", PASSING),
    ("*", "*.verification.error", PASSING),
    ("*", "*.verification.expire_at", PASSING),
    ("*", "*.verification.verified_at_client", PASSING),
    ("users", "profile_image_url", DEPRECATED),
    ("users", "external_accounts[].avatar_url", DEPRECATED),
    ("organization_domains", "verification", DEPRECATED),
    ("oauth_applications", "callback_url", DEPRECATED),
    ("users", "email_addresses[].*", NESTED),
    ("users", "phone_numbers[].*", NESTED),
    ("users", "external_accounts[].*", NESTED),
    ("users", "passkeys[].verification.strategy", "always `passkey`"),
    ("users", "organization_memberships", ELSEWHERE),
    ("users", "saml_accounts[].saml_connection.*", ELSEWHERE),
    ("users", "enterprise_accounts[].enterprise_connection", ELSEWHERE),
    ("organizations", "missing_member_with_elevated_permissions", "sent only on request"),
    ("memberships", "organization.*", ELSEWHERE),
    ("memberships", "public_user_data.*", PRIVATE),
    ("organization_invitations", "public_inviter_data", PRIVATE),
    ("organization_invitations", "public_organization_data", ELSEWHERE),
    ("organization_domains", "public_organization_data", ELSEWHERE),
    ("organization_roles", "permissions[].*", ELSEWHERE),
    ("role_sets", "roles[].*", ELSEWHERE),
    ("role_sets", "default_role.*", ELSEWHERE),
    ("role_sets", "creator_role.*", ELSEWHERE),
    ("waitlist_entries", "invitation.*", ELSEWHERE),
    ("machines", "scoped_machines[].*", ELSEWHERE),
    ("subscription_items", "plan", ELSEWHERE),
    ("billing_statements", "groups[].items[].*", ELSEWHERE),
    ("*", "payer.*", PRIVATE),
    ("payment_attempts", "payee", UNSPECIFIED),
    ("payment_attempts", "subscription_item", UNSPECIFIED),
    ("*", "*amount_formatted", FORMAT),
    ("*", "*currency_symbol", FORMAT),
];
