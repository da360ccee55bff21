//! Subscription items: `GET /v1/billing/subscription_items` (schema `CommerceSubscriptionItem`).
//!
//! Of the plan and of the payer only the ids are kept. Their other data are in other tables, or must not be stored.

use super::MONEY;
use super::totals::{CREDITS, PER_UNIT_TOTAL, TIER, TOTALS};
use crate::resource::kept::{KeptField, KeptRow, decode_rows, fields, kept, table};
use crate::resource::{OffsetList, Reading, Resource};
use crate::table::TableSpec;

/// Subscription items, free ones included.
pub static SUBSCRIPTION_ITEMS: Resource = Resource {
    name: "subscription_items",
    table: TableSpec {
        repetitive: &["instance_id", "status", "plan_id", "price_id", "plan_period", "_synced_at"],
        ..table::<SubscriptionItem>(
            "clerk_subscription_item",
            "Who subscribes to which plan: the subscription items of users and organizations, with their current status.",
            "GET /v1/billing/subscription_items",
        )
    },
    reading: Reading::Offset(OffsetList {
        parameters: &[("paginated", "true"), ("include_free", "true")],
        order_by: None,
        ..OffsetList::new("/billing/subscription_items", decode_rows::<SubscriptionItem>)
    }),
    default: true,
    fields: fields::<SubscriptionItem>,
};

struct SubscriptionItem;

impl KeptRow for SubscriptionItem {
    const FIELDS: &'static [KeptField] = kept![
        Text "id" => "Clerk's id of the subscription item",
        Text "instance_id" => "Id of the instance",
        Text "status" => "Status, verbatim",
        Text "plan_id" => "Id of the plan",
        Text "price_id" => "Id of the price",
        Text "plan_period" => "Billing period, verbatim: `month` or `annual`",
        Text "payer_id" => "Id of the payer",
        Text "payer.user_id" as "user_id" => "Id of the user who pays; NULL if an organization pays",
        Text "payer.organization_id" as "organization_id" => "Id of the organization that pays; NULL if a user pays",
        Flag "is_free_trial" => "Whether the item is a free trial",
        Time "period_start" => "When the current period started",
        Time "period_end" => "When the current period ends",
        Text "proration_date" => "The day that the item was prorated from, such as 2026-11-30",
        Time "canceled_at" => "When the item was canceled",
        Time "past_due_at" => "When the payment became overdue",
        Time "ended_at" => "When the item ended",
        Object(MONEY) "lifetime_paid" => "What has been paid for the item so far",
        Object(NEXT_PAYMENT) "next_payment" => "The next payment",
        Object(SEATS) "seats" => "Seats that are billed",
        Object(CREDIT) "credit" => "Credit for the rest of a period",
        Object(CREDITS) "credits" => "All credits",
        Object(TOTALS) "totals" => "Totals of the item",
        Time "created_at" => "When the item was created",
        Time "updated_at" => "When the item was last changed",
    ];
    const BY_YEAR: bool = true;
}

const NEXT_PAYMENT: &[KeptField] = kept![
    Object(MONEY) "amount" => "Base fee",
    Time "date" => "When the payment is due",
    List(PER_UNIT_TOTAL) "per_unit_totals" => "Fees per unit, such as seats",
    Object(TOTALS) "totals" => "Totals of the payment",
];

const SEATS: &[KeptField] = kept![
    Integer "quantity" => "Number of seats; NULL means no limit",
    List(TIER) "tiers" => "Fees by tier",
];

const CREDIT: &[KeptField] = kept![
    Object(MONEY) "amount" => "Amount of the credit",
    Number "cycle_remaining_percent" => "Share of the period that is left, in percent",
];
