//! Totals of what is billed.

use super::MONEY;
use crate::resource::kept::{KeptField, kept};

/// The totals of a subscription item or of a payment (schema `CommerceTotalsResponse`).
pub(super) const TOTALS: &[KeptField] = kept![
    Object(MONEY) "subtotal" => "Base fee and fees per unit, before tax",
    Object(MONEY) "base_fee" => "Base fee of the plan",
    Object(MONEY) "tax_total" => "Tax",
    Object(MONEY) "grand_total" => "What is to be paid",
    List(PER_UNIT_TOTAL) "per_unit_totals" => "Fees per unit, such as seats",
    Object(CREDITS) "credits" => "Credits that are deducted",
    Object(DISCOUNTS) "discounts" => "Discounts",
];

/// The fees for one kind of unit (schema `CommercePerUnitTotal`).
pub(super) const PER_UNIT_TOTAL: &[KeptField] = kept![
    Text "name" => "The unit, such as seats",
    Integer "block_size" => "Number of units in a block",
    List(TIER) "tiers" => "Fees by tier",
];

/// The fees in one tier (schema `CommercePerUnitTotalTier`).
pub(super) const TIER: &[KeptField] = kept![
    Integer "quantity" => "Number of units in the tier; NULL means no limit",
    Object(MONEY) "fee_per_block" => "Fee for each block",
    Object(MONEY) "total" => "Fee for the tier",
];

/// Credits (schema `CommerceCreditsResponse`).
pub(super) const CREDITS: &[KeptField] = kept![
    Object(PRORATION_CREDIT) "proration" => "Credit for the rest of a period",
    Object(PAYER_CREDIT) "payer" => "Credit of the payer",
    Object(MONEY) "total" => "All credits",
];

const PRORATION_CREDIT: &[KeptField] = kept![
    Object(MONEY) "amount" => "Amount of the credit",
    Integer "cycle_days_remaining" => "Number of days left in the period",
    Integer "cycle_days_total" => "Number of days in the period",
    Number "cycle_remaining_percent" => "Share of the period that is left, in percent",
];

const PAYER_CREDIT: &[KeptField] = kept![
    Object(MONEY) "remaining_balance" => "Credit that is left",
    Object(MONEY) "applied_amount" => "Credit that is deducted",
];

const DISCOUNTS: &[KeptField] = kept![
    Object(PRORATION_DISCOUNT) "proration" => "Discount for the part of a period that has passed",
    Object(MONEY) "total" => "All discounts",
];

const PRORATION_DISCOUNT: &[KeptField] = kept![
    Object(MONEY) "amount" => "Amount of the discount",
    Integer "cycle_days_passed" => "Number of days that have passed in the period",
    Integer "cycle_days_total" => "Number of days in the period",
    Number "cycle_passed_percent" => "Share of the period that has passed, in percent",
];
