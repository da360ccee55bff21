//! Enterprise connections: `GET /v1/enterprise_connections` (schema `EnterpriseConnection`).

use super::CUSTOM_ATTRIBUTE;
use crate::resource::kept::{KeptField, KeptRow, decode_rows, fields, kept, table};
use crate::resource::{OffsetList, Reading, Resource};

/// Connections to identity providers of enterprises.
pub static ENTERPRISE_CONNECTIONS: Resource = Resource {
    name: "enterprise_connections",
    table: table::<EnterpriseConnection>(
        "clerk_enterprise_connection",
        "The connections to the identity providers of enterprises (SAML, OIDC).",
        "GET /v1/enterprise_connections",
    ),
    reading: Reading::Offset(OffsetList {
        order_by: None,
        ..OffsetList::new("/enterprise_connections", decode_rows::<EnterpriseConnection>)
    }),
    default: false,
    fields: fields::<EnterpriseConnection>,
};

struct EnterpriseConnection;

impl KeptRow for EnterpriseConnection {
    const FIELDS: &'static [KeptField] = kept![
        Text "id" => "Clerk's id of the connection",
        Text "name" => "Display name",
        Text "provider" => "Identity provider, verbatim",
        Text "logo_public_url" => "URL of the provider's logo",
        Flag "active" => "Whether the connection is active",
        Texts "domains" => "E-mail domains whose users sign in through the connection",
        Text "organization_id" => "Id of the organization that the connection belongs to",
        Flag "sync_user_attributes" => "Whether each sign-in updates the user's attributes",
        Flag "disable_additional_identifications" => "Whether users may add no other identifiers",
        Flag "allow_organization_account_linking" => "Whether accounts are linked by membership of the organization",
        List(CUSTOM_ATTRIBUTE) "custom_attributes" => "Attributes that are copied from the provider",
        Object(SAML_CONNECTION) "saml_connection" => "Settings of a SAML connection",
        Object(OAUTH_CONFIG) "oauth_config" => "Settings of an OIDC or EASIE connection",
        Time "created_at" => "When the connection was created",
        Time "updated_at" => "When the connection was last changed",
    ];
}

const SAML_CONNECTION: &[KeptField] = kept![
    Text "id" => "Id of the SAML connection",
    Text "name" => "Display name",
    Text "idp_entity_id" => "Entity id of the identity provider",
    Text "idp_sso_url" => "Sign-in URL of the identity provider",
    Text "idp_metadata_url" => "Metadata URL of the identity provider",
    Text "acs_url" => "Assertion Consumer Service URL",
    Text "sp_entity_id" => "Entity id of the service provider",
    Text "sp_metadata_url" => "Metadata URL of the service provider",
    Flag "active" => "Whether the SAML connection is active",
    Flag "allow_idp_initiated" => "Whether a sign-in may start at the identity provider",
    Flag "allow_subdomains" => "Whether subdomains match",
    Flag "force_authn" => "Whether users must authenticate again",
    Object(LOGIN_HINT) "login_hint" => "The hint that is sent to the identity provider",
];

const LOGIN_HINT: &[KeptField] = kept![
    Text "mode" => "What is sent, verbatim",
    Text "source" => "Key of the public metadata that is sent",
];

const OAUTH_CONFIG: &[KeptField] = kept![
    Text "id" => "Id of the settings",
    Text "name" => "Display name of the provider",
    Text "provider_key" => "Key of the provider",
    Text "client_id" => "Client id at the provider",
    Text "discovery_url" => "Discovery URL",
    Text "auth_url" => "Authorization URL",
    Text "token_url" => "Token URL",
    Text "user_info_url" => "User info URL",
    Flag "requires_pkce" => "Whether PKCE is required",
    Text "logo_public_url" => "URL of the provider's logo",
    Time "created_at" => "When the settings were created",
    Time "updated_at" => "When the settings were last changed",
];
