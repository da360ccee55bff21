//! Payment attempts: `GET /v1/billing/statements/{id}/payment_attempts` (schema `BillingPaymentAttempt`).
//!
//! Of the payer and of the subscription item only the ids are kept. The payment method, the payee and the URL at the
//! payment gateway are never read.

use super::MONEY;
use super::statement::BILLING_STATEMENTS;
use super::totals::TOTALS;
use crate::resource::kept::{KeptField, KeptRow, decode_rows, fields, kept, table};
use crate::resource::{PerParentList, Reading, Resource};
use crate::table::TableSpec;

/// Attempts to pay what statements bill. There is one list for each statement.
pub static PAYMENT_ATTEMPTS: Resource = Resource {
    name: "payment_attempts",
    table: TableSpec {
        repetitive: &["instance_id", "charge_type", "payee_id", "status", "_synced_at"],
        ..table::<PaymentAttempt>(
            "clerk_payment_attempt",
            "The attempts to pay what statements bill.",
            "GET /v1/billing/statements/{id}/payment_attempts",
        )
    },
    reading: Reading::PerParent(PerParentList {
        path: "/billing/statements/{id}/payment_attempts",
        parents: &BILLING_STATEMENTS.table,
        parent_id: "statement_id",
        settled: ("status", "closed"),
        parameters: &[("paginated", "true")],
        decode: decode_rows::<PaymentAttempt>,
    }),
    default: false,
    fields: fields::<PaymentAttempt>,
};

struct PaymentAttempt;

impl KeptRow for PaymentAttempt {
    const FIELDS: &'static [KeptField] = kept![
        Text "id" => "Clerk's id of the payment attempt",
        Text "payment_id" => "Id of the payment",
        Text "statement_id" => "Id of the statement",
        Text "instance_id" => "Id of the instance",
        Text "charge_type" => "Type of the charge, verbatim",
        Text "status" => "Status, verbatim: `pending`, `paid` or `failed`",
        Text "payee_id" => "Id of the payee",
        Text "payer_id" => "Id of the payer",
        Text "payer.user_id" as "user_id" => "Id of the user who pays; NULL if an organization pays",
        Text "payer.organization_id" as "organization_id" => "Id of the organization that pays; NULL if a user pays",
        Text "subscription_item_id" => "Id of the subscription item",
        Text "payment_method_id" => "Id of the payment method",
        Text "gateway_external_id" => "Id of the payment at the payment gateway",
        Object(MONEY) "amount" => "Amount of the payment",
        Object(TOTALS) "totals" => "Totals of the payment",
        Time "paid_at" => "When the payment was completed",
        Time "failed_at" => "When the payment failed",
        Time "created_at" => "When the attempt was created",
        Time "updated_at" => "When the attempt was last changed",
    ];
    const BY_YEAR: bool = true;
}
