//! Domains of organizations: `GET /v1/organization_domains` (schema `OrganizationDomain`).
//!
//! `affiliation_email_address` is never read. `verification` is a deprecated name of `affiliation_verification`.

use crate::resource::kept::{KeptField, KeptRow, decode_rows, fields, kept, table};
use crate::resource::{OffsetList, Reading, Resource};

/// Domains whose users may join an organization.
pub static ORGANIZATION_DOMAINS: Resource = Resource {
    name: "organization_domains",
    table: table::<OrganizationDomain>(
        "clerk_organization_domain",
        "The e-mail domains that organizations claim, and how their users are enrolled.",
        "GET /v1/organization_domains",
    ),
    reading: Reading::Offset(OffsetList::new("/organization_domains", decode_rows::<OrganizationDomain>)),
    default: true,
    fields: fields::<OrganizationDomain>,
};

/// The fields of a verification.
const VERIFICATION: &[KeptField] = kept![
    Text "status" => "Status, verbatim",
    Text "strategy" => "How the domain is verified",
    Integer "attempts" => "Number of attempts to verify the domain",
    Time "expire_at" => "When the verification expires",
    Time "verified_at" => "When the ownership was verified",
];

struct OrganizationDomain;

impl KeptRow for OrganizationDomain {
    const FIELDS: &'static [KeptField] = kept![
        Text "id" => "Clerk's id of the domain",
        Text "organization_id" => "Id of the organization",
        Text "name" => "The domain, such as example.com",
        Text "enrollment_mode" => "How users of the domain join the organization, verbatim",
        Object(VERIFICATION) "affiliation_verification" => "Verification of the affiliation with the domain",
        Object(VERIFICATION) "ownership_verification" => "Verification of the ownership of the domain; NULL until it is attempted",
        Integer "total_pending_invitations" => "Number of pending invitations for the domain",
        Integer "total_pending_suggestions" => "Number of pending suggestions for the domain",
        Time "created_at" => "When the domain was added",
        Time "updated_at" => "When the domain was last changed",
    ];
}
