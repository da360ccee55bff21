//! `GET /v1/billing/plans` and `GET /v1/billing/prices`: what users and organizations can subscribe to.

use rand::RngExt;
use serde_json::{Value, json};

use super::draw;
use super::spec::{ListSpec, field, is_or_absent};
use crate::simulator::list::List;
use crate::simulator::model::{Model, StoredRow};

/// The first plans: name, slug, type of the payer, monthly fee in cents.
const PLANS: [(&str, &str, &str, i64); 5] = [
    ("Free", "free_user", "user", 0),
    ("Pro", "pro", "user", 900),
    ("Free", "free_org", "org", 0),
    ("Team", "team", "org", 4900),
    ("Business", "business", "org", 19900),
];

pub(super) static BILLING_PLANS: ListSpec = ListSpec {
    filters: &["payer_type"],
    choices: &[("payer_type", &["user", "org"])],
    matches: |context, row| is_or_absent(context, "payer_type", row.text("for_payer_type")),
    usual_count: |_, _| 6,
    create: |model, at, number| Some(create_plan(model, at, number)),
    change: change_plan,
    removed: |model, row| remove_prices(model, &row.id),
    ..ListSpec::new(List::BillingPlans, "/v1/billing/plans")
};

pub(super) static BILLING_PRICES: ListSpec = ListSpec {
    filters: &["plan_id"],
    matches: |context, row| is_or_absent(context, "plan_id", row.text("plan_id")),
    complete: |context, _, out| field(out, "instance_id", &context.instance.id),
    usual_count: |_, _| 8,
    create: create_price,
    ..ListSpec::new(List::BillingPrices, "/v1/billing/prices")
};

/// Returns an amount of money, in cents.
pub(super) fn money(amount: i64) -> Value {
    json!({
        "amount": amount, "amount_formatted": format!("{}.{:02}", amount / 100, amount % 100), "currency": "USD",
        "currency_symbol": "$",
    })
}

/// Returns the monthly fee of a plan, in cents. 0 for a free plan, and for a plan that does not exist.
pub(super) fn fee(model: &Model, plan: &str) -> i64 {
    let plan = model.rows(List::BillingPlans).get(plan);
    plan.and_then(|plan| plan.fields.get("fee")?.get("amount")?.as_i64()).unwrap_or(0)
}

fn create_plan(model: &mut Model, at: i64, number: usize) -> StoredRow {
    let id = model.id("cplan_");
    let (name, slug, payer, fee) = if let Some(plan) = PLANS.get(number).filter(|_| at < model.now) {
        (plan.0.to_owned(), plan.1.to_owned(), plan.2, plan.3)
    } else {
        let slug = format!("plan_{number}_{}", id[6..12].to_lowercase());
        let payer = draw::one_of(model, &["user", "org"]);
        (format!("Plan {number}"), slug, payer, random_fee(model))
    };
    let features: Vec<Value> = (0..number % 3).map(|feature| feature_of(&id, feature)).collect();
    let fees = |amount: i64| if fee == 0 { Value::Null } else { money(amount) };
    let fields = json!({
        "object": "commerce_plan", "name": name, "fee": if fee == 0 { money(0) } else { money(fee) },
        "annual_monthly_fee": fees(fee * 5 / 6), "annual_fee": fees(fee * 10),
        "description": (number % 2 == 1).then(|| format!("The plan {name}")), "product_id": format!("cprod_{payer}"),
        "is_default": fee == 0 && number < PLANS.len(), "is_recurring": true, "publicly_visible": number != 4,
        "has_base_fee": fee > 0, "for_payer_type": payer, "slug": slug, "avatar_url": null, "features": features,
        "free_trial_enabled": number == 1, "free_trial_days": (number == 1).then_some(14),
        "unit_prices": if number == 3 { unit_prices() } else { json!([]) },
    });
    StoredRow::new(id, at, fields)
}

fn feature_of(plan: &str, number: usize) -> Value {
    json!({
        "object": "feature", "id": format!("feat_{plan}_{number}"), "name": format!("Feature {number}"),
        "description": null, "slug": format!("feature_{number}"), "avatar_url": null,
    })
}

fn unit_prices() -> Value {
    json!([{
        "name": "seats", "block_size": 1, "tiers": [
            {"starts_at_block": 1, "ends_after_block": 10, "fee_per_block": money(0)},
            {"starts_at_block": 11, "ends_after_block": null, "fee_per_block": money(500)},
        ],
    }])
}

/// Changes the fee of a paid plan, or shows or hides a free one.
fn change_plan(model: &mut Model, id: &str) -> bool {
    let (old, new) = (fee(model, id), random_fee(model));
    draw::update(model, List::BillingPlans, id, |row| {
        if old == 0 {
            let is_visible = row.flag("publicly_visible");
            row.set("publicly_visible", !is_visible);
        } else {
            row.set("fee", money(new));
            row.set("annual_monthly_fee", money(new * 5 / 6));
            row.set("annual_fee", money(new * 10));
        }
    })
}

fn remove_prices(model: &mut Model, plan: &str) {
    let prices = model.rows(List::BillingPrices).iter().filter(|row| row.text("plan_id") == plan);
    for id in prices.map(|row| row.id.clone()).collect::<Vec<_>>() {
        model.remove_row(List::BillingPrices, &id);
    }
}

fn create_price(model: &mut Model, at: i64, number: usize) -> Option<StoredRow> {
    let plans = model.rows(List::BillingPlans);
    let plan = plans.iter().nth(number % plans.len().max(1))?;
    let (plan_id, name) = (plan.id.clone(), plan.text("name").to_owned());
    let is_default = number < plans.len();
    let amount = if is_default { fee(model, &plan_id) } else { random_fee(model) };
    let id = model.id("cprice_");
    let mut row = StoredRow::new(
        id,
        at,
        json!({
            "object": "commerce_price", "plan_id": plan_id, "currency": "USD", "currency_symbol": "$",
            "amount": amount, "annual_monthly_amount": amount * 5 / 6, "fee": money(amount),
            "annual_monthly_fee": if amount == 0 { Value::Null } else { money(amount * 5 / 6) },
            "description": (!is_default).then(|| format!("{name}, negotiated")), "is_default": is_default,
            "supported_billing_periods": if number.is_multiple_of(2) { "both" } else { "month" },
        }),
    );
    row.set("created_at", at);
    Some(row)
}

/// Draws the monthly fee of a paid plan, in cents.
fn random_fee(model: &mut Model) -> i64 {
    model.random.random_range(5..400) * 100
}
