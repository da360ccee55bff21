//! Prices: `GET /v1/billing/prices` (schema `BillingPriceResponse`).

use super::MONEY;
use crate::resource::kept::{KeptField, KeptRow, decode_rows, fields, kept, table};
use crate::resource::{OffsetList, Reading, Resource};

/// Prices of plans.
pub static BILLING_PRICES: Resource = Resource {
    name: "billing_prices",
    table: table::<Price>(
        "clerk_billing_price",
        "The prices of plans. A plan can have several.",
        "GET /v1/billing/prices",
    ),
    reading: Reading::Offset(OffsetList {
        parameters: &[("paginated", "true")],
        order_by: None,
        ..OffsetList::new("/billing/prices", decode_rows::<Price>)
    }),
    default: false,
    fields: fields::<Price>,
};

struct Price;

impl KeptRow for Price {
    const FIELDS: &'static [KeptField] = kept![
        Text "id" => "Clerk's id of the price",
        Text "plan_id" => "Id of the plan",
        Text "instance_id" => "Id of the instance",
        Text "currency" => "Currency, such as USD",
        Integer "amount" => "Price in the smallest unit of the currency, such as cents",
        Integer "annual_monthly_amount" => "Price for a month if billed for a year, in the smallest unit of the currency",
        Object(MONEY) "fee" => "Fee for a month",
        Object(MONEY) "annual_monthly_fee" => "Fee for a month if billed for a year",
        Text "description" => "Description",
        Flag "is_default" => "Whether it is the default price of the plan",
        Text "supported_billing_periods" => "Billing periods, verbatim: `month`, `annual` or `both`",
        Time "created_at" => "When the price was created",
    ];
}
