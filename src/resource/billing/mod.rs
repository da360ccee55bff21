//! Billing: plans, prices, subscription items, statements and payment attempts.
//!
//! Amounts of money are whole numbers of the smallest unit of the currency, such as cents. The name and e-mail address
//! of a payer, and payment methods, are never read.

mod payment_attempt;
mod plan;
mod price;
mod statement;
mod subscription_item;
mod totals;

use super::kept::{KeptField, kept};

pub use payment_attempt::PAYMENT_ATTEMPTS;
pub use plan::BILLING_PLANS;
pub use price::BILLING_PRICES;
pub use statement::BILLING_STATEMENTS;
pub use subscription_item::SUBSCRIPTION_ITEMS;

/// An amount of money. Its formatted texts are not kept.
const MONEY: &[KeptField] = kept![
    Integer "amount" => "Amount in the smallest unit of the currency, such as cents",
    Text "currency" => "Currency, such as USD",
];
