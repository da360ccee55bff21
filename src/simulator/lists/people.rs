//! The parts of rows that show a user or an organization.

use serde_json::{Value, json};

use crate::simulator::json_text;
use crate::simulator::model::{Model, Organization, User};

/// Returns the address of a picture.
pub(super) fn image_url(id: &str) -> String {
    format!("https://img.clerk.example/{id}?width=160")
}

/// Returns the address that identifies a user to others.
pub(super) fn identifier(user: &User) -> Option<&str> {
    let primary = |id: &String| user.email_addresses.iter().find(|email| email.id == *id);
    let email = user.primary_email_address_id.as_ref().and_then(primary).or(user.email_addresses.first());
    email.map(|email| email.address.as_str())
}

/// Returns what invited people see of the user who invited them; `None` if the user does not exist.
pub(super) fn inviter(model: &Model, user: &str) -> Option<Value> {
    let user = model.users.get(user)?;
    Some(json!({
        "user_id": user.id, "first_name": user.first_name, "last_name": user.last_name,
        "image_url": image_url(&user.id), "has_image": !user.external_accounts.is_empty(),
        "identifier": identifier(user).unwrap_or_default(),
    }))
}

/// Returns what people outside an organization see of it; `None` if it does not exist.
pub(super) fn public_organization(model: &Model, organization: &str) -> Option<Value> {
    let Organization { id, name, slug, .. } = model.organizations.get(organization)?;
    Some(json!({
        "id": id, "name": name, "slug": slug, "image_url": image_url(id), "has_image": json_text::has_logo(id),
    }))
}
