//! Domains of the instance: `GET /v1/domains` (schema `Domain`).

use crate::resource::kept::{KeptField, KeptRow, decode_rows, fields, kept, table};
use crate::resource::{OffsetList, Paging, Reading, Resource};

/// Domains that the instance runs on.
pub static DOMAINS: Resource = Resource {
    name: "domains",
    table: table::<Domain>("clerk_domain", "The domains that the instance runs on.", "GET /v1/domains"),
    reading: Reading::Offset(OffsetList {
        order_by: None,
        paging: Paging::None,
        ..OffsetList::new("/domains", decode_rows::<Domain>)
    }),
    default: false,
    fields: fields::<Domain>,
};

struct Domain;

impl KeptRow for Domain {
    const FIELDS: &'static [KeptField] = kept![
        Text "id" => "Clerk's id of the domain",
        Text "name" => "The domain",
        Flag "is_satellite" => "Whether it is a satellite of the primary domain",
        Text "frontend_api_url" => "URL of the Frontend API",
        Text "accounts_portal_url" => "URL of the Account Portal; NULL for a satellite",
        Text "proxy_url" => "URL of the proxy for the Frontend API",
        Text "development_origin" => "Origin of a development instance",
        List(CNAME_TARGET) "cname_targets" => "DNS records that the domain needs",
    ];
    const CREATED: Option<&'static str> = None;
}

const CNAME_TARGET: &[KeptField] = kept![
    Text "host" => "Name of the record",
    Text "value" => "Value of the record",
    Flag "required" => "Whether the domain does not work without it",
];
