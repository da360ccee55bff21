//! OAuth applications: `GET /v1/oauth_applications` (schema `OAuthApplication`).
//!
//! `callback_url` is a deprecated name of the first of `redirect_uris`.

use crate::resource::kept::{KeptField, KeptRow, decode_rows, fields, kept, table};
use crate::resource::{OffsetList, Reading, Resource};

/// Applications that sign users in through this instance.
pub static OAUTH_APPLICATIONS: Resource = Resource {
    name: "oauth_applications",
    table: table::<OAuthApplication>(
        "clerk_oauth_application",
        "The applications that sign users in through this instance.",
        "GET /v1/oauth_applications",
    ),
    reading: Reading::Offset(OffsetList::new("/oauth_applications", decode_rows::<OAuthApplication>)),
    default: false,
    fields: fields::<OAuthApplication>,
};

struct OAuthApplication;

impl KeptRow for OAuthApplication {
    const FIELDS: &'static [KeptField] = kept![
        Text "id" => "Clerk's id of the application",
        Text "instance_id" => "Id of the instance",
        Text "name" => "Display name",
        Text "client_id" => "Client id, which is public",
        Text "client_uri" => "URL of the application",
        Text "client_image_url" => "URL of the application's image",
        Flag "dynamically_registered" => "Whether the application registered itself",
        Flag "consent_screen_enabled" => "Whether users are asked for consent",
        Flag "pkce_required" => "Whether PKCE is required",
        Flag "public" => "Whether it is a public client, which has no secret",
        Text "scopes" => "Scopes, separated by spaces",
        Texts "redirect_uris" => "URLs that users may be sent back to",
        Text "authorize_url" => "Authorization URL",
        Text "token_fetch_url" => "Token URL",
        Text "user_info_url" => "User info URL",
        Text "discovery_url" => "Discovery URL",
        Text "token_introspection_url" => "Token introspection URL",
        Time "created_at" => "When the application was created",
        Time "updated_at" => "When the application was last changed",
    ];
}
