//! Who pays: the parts of rows about a user or an organization as a customer.

use serde_json::{Value, json};

use super::plans::money;
use super::{draw, people};
use crate::simulator::json_text::PRIVATE_MARKER;
use crate::simulator::model::{Model, StoredRow};

/// Returns the id of the user or organization that pays for a subscription item, a statement or a payment attempt.
pub(super) fn payer_of(row: &StoredRow) -> &str {
    row.parts.first().map_or("", String::as_str)
}

/// Returns the type of a payer as plans name it.
pub(super) fn payer_type(payer: &str) -> &'static str {
    if payer.starts_with("org_") { "org" } else { "user" }
}

/// Returns the id that a user or an organization has as a payer.
pub(super) fn payer_id(payer: &str) -> String {
    format!("cpayer_{}", payer.rsplit('_').next().unwrap_or_default())
}

/// Draws a user or an organization as a payer.
pub(super) fn draw_payer(model: &mut Model) -> Option<String> {
    let is_organization = draw::one_of(model, &[true, false, false]);
    if is_organization { draw::organization(model) } else { draw::user(model) }
}

/// Returns when a payer was created.
pub(super) fn created_at(model: &Model, payer: &str) -> Option<i64> {
    let organization = model.organizations.get(payer).map(|it| it.created_at);
    organization.or_else(|| model.users.get(payer).map(|it| it.created_at))
}

/// Returns a payer. Names and addresses must not be stored.
pub(super) fn payer(payer: &str, instance: &str, at: i64) -> Value {
    let is_organization = payer_type(payer) == "org";
    let of_user = |value: &str| (!is_organization).then(|| value.to_owned());
    let of_organization = |value: &str| is_organization.then(|| value.to_owned());
    json!({
        "object": "commerce_payer", "id": payer_id(payer), "instance_id": instance, "user_id": of_user(payer),
        "first_name": of_user(PRIVATE_MARKER), "last_name": of_user(PRIVATE_MARKER),
        "email": format!("{PRIVATE_MARKER}@payer.example"), "organization_id": of_organization(payer),
        "organization_name": of_organization(PRIVATE_MARKER), "image_url": people::image_url(payer),
        "credits_balance": money(0), "created_at": at, "updated_at": at,
    })
}

/// Returns the id of a payer's payment method.
pub(super) fn payment_method_id(payer: &str) -> String {
    format!("cpm_{}", payer.rsplit('_').next().unwrap_or_default())
}

/// Returns a payer's payment method. It must not be stored.
pub(super) fn payment_method(payer: &str, at: i64) -> Value {
    json!({
        "object": "commerce_payment_method", "id": payment_method_id(payer), "payer_id": payer_id(payer),
        "payment_type": "card", "is_default": true, "gateway": "stripe",
        "gateway_external_id": format!("pm_{PRIVATE_MARKER}"),
        "gateway_external_account_id": format!("acct_{PRIVATE_MARKER}"), "last4": PRIVATE_MARKER, "status": "active",
        "wallet_type": null, "card_type": "visa", "expiry_year": 2031, "expiry_month": 7, "created_at": at,
        "updated_at": at, "is_removable": true,
    })
}
