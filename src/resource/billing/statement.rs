//! Statements: `GET /v1/billing/statements` (schema `BillingStatement`).
//!
//! Of the payer and of the payment attempts in the groups only the ids are kept.

use super::MONEY;
use crate::resource::kept::{KeptField, KeptRow, decode_rows, fields, kept, table};
use crate::resource::{OffsetList, Reading, Resource};
use crate::table::TableSpec;

/// Statements of what was billed.
pub static BILLING_STATEMENTS: Resource = Resource {
    name: "billing_statements",
    table: TableSpec {
        repetitive: &["instance_id", "status", "_synced_at"],
        ..table::<StatementRow>(
            "clerk_billing_statement",
            "The statements of what was billed to users and organizations.",
            "GET /v1/billing/statements",
        )
    },
    reading: Reading::Offset(OffsetList {
        parameters: &[("paginated", "true")],
        order_by: None,
        ..OffsetList::new("/billing/statements", decode_rows::<StatementRow>)
    }),
    default: false,
    fields: fields::<StatementRow>,
};

struct StatementRow;

impl KeptRow for StatementRow {
    const FIELDS: &'static [KeptField] = kept![
        Text "id" => "Clerk's id of the statement",
        Text "instance_id" => "Id of the instance",
        Time "timestamp" => "When the statement was created",
        Text "payer.id" as "payer_id" => "Id of the payer",
        Text "payer.user_id" as "user_id" => "Id of the user who pays; NULL if an organization pays",
        Text "payer.organization_id" as "organization_id" => "Id of the organization that pays; NULL if a user pays",
        Text "status" => "Status, verbatim: `open` or `closed`",
        Object(STATEMENT_TOTALS) "totals" => "Totals of the statement",
        List(GROUP) "groups" => "The payment attempts, by day",
    ];
    const CREATED: Option<&'static str> = Some("timestamp");
    const BY_YEAR: bool = true;
}

const STATEMENT_TOTALS: &[KeptField] = kept![
    Object(MONEY) "grand_total" => "What is to be paid",
    Object(MONEY) "subtotal" => "Base fee and fees per unit, before tax",
    Object(MONEY) "base_fee" => "Base fee of the plan",
    Object(MONEY) "tax_total" => "Tax",
];

const GROUP: &[KeptField] = kept![
    Time "timestamp" => "Day of the payment attempts",
    TextsOf("id") "items" as "payment_attempt_ids" => "Ids of the payment attempts",
];
