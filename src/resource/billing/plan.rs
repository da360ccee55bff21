//! Plans: `GET /v1/billing/plans` (schema `CommercePlan`). A plan has no times.

use super::MONEY;
use crate::resource::kept::{KeptField, KeptRow, decode_rows, fields, kept, table};
use crate::resource::{OffsetList, Reading, Resource};

/// Plans that users and organizations can subscribe to.
pub static BILLING_PLANS: Resource = Resource {
    name: "billing_plans",
    table: table::<Plan>(
        "clerk_billing_plan",
        "The plans that users and organizations can subscribe to, with their fees and features.",
        "GET /v1/billing/plans",
    ),
    reading: Reading::Offset(OffsetList {
        parameters: &[("paginated", "true")],
        order_by: None,
        ..OffsetList::new("/billing/plans", decode_rows::<Plan>)
    }),
    default: true,
    fields: fields::<Plan>,
};

struct Plan;

impl KeptRow for Plan {
    const FIELDS: &'static [KeptField] = kept![
        Text "id" => "Clerk's id of the plan",
        Text "name" => "Display name",
        Text "slug" => "URL slug",
        Text "description" => "Description",
        Text "product_id" => "Id of the product that the plan belongs to",
        Text "for_payer_type" => "Who can subscribe, verbatim: `user` or `org`",
        Flag "is_default" => "Whether it is the plan of those who have subscribed to no other",
        Flag "is_recurring" => "Whether the fee recurs",
        Flag "publicly_visible" => "Whether the plan is offered to everybody",
        Flag "has_base_fee" => "Whether the plan has a base fee",
        Object(MONEY) "fee" => "Fee for a month",
        Object(MONEY) "annual_fee" => "Fee for a year",
        Object(MONEY) "annual_monthly_fee" => "Fee for a month if billed for a year",
        Flag "free_trial_enabled" => "Whether the plan has a free trial",
        Integer "free_trial_days" => "Length of the free trial in days",
        List(FEATURE) "features" => "Features of the plan",
        List(UNIT_PRICE) "unit_prices" => "Prices per unit, such as seats",
        Text "avatar_url" => "URL of the plan's image",
    ];
    const CREATED: Option<&'static str> = None;
}

const FEATURE: &[KeptField] = kept![
    Text "id" => "Id of the feature",
    Text "name" => "Display name",
    Text "slug" => "URL slug",
    Text "description" => "Description",
    Text "avatar_url" => "URL of the feature's image",
];

const UNIT_PRICE: &[KeptField] = kept![
    Text "name" => "The unit, such as seats",
    Integer "block_size" => "Number of units in a block",
    List(TIER) "tiers" => "Prices by tier",
];

const TIER: &[KeptField] = kept![
    Integer "starts_at_block" => "First block of the tier",
    Integer "ends_after_block" => "Last block of the tier; NULL means no limit",
    Object(MONEY) "fee_per_block" => "Fee for each block",
];
