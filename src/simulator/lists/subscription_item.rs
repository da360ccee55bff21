//! `GET /v1/billing/subscription_items`: which plans users and organizations have.

use rand::RngExt;
use serde_json::{Value, json};

use super::context::ListContext;
use super::payer::{created_at, draw_payer, payer, payer_id, payer_of, payer_type, payment_method};
use super::plans::{fee, money};
use super::spec::{ListSpec, field, is_or_absent};
use super::{draw, people};
use crate::simulator::list::List;
use crate::simulator::model::{DAY, Model, StoredRow};

const LIST: List = List::SubscriptionItems;

pub(super) static SUBSCRIPTION_ITEMS: ListSpec = ListSpec {
    filters: &["status", "payer_type", "plan_id", "query"],
    choices: &[
        ("status", &["active", "ended", "past_due", "upcoming", "free_trial"]),
        ("payer_type", &["user", "org"]),
        ("include_free", &["true", "false"]),
    ],
    is_partial: |parameters| !parameters.flag("include_free"),
    matches,
    complete,
    usual_count: |users, organizations| users.div_ceil(5) + organizations.div_ceil(2),
    create,
    change,
    ..ListSpec::new(LIST, "/v1/billing/subscription_items")
};

fn matches(context: &ListContext<'_>, row: &StoredRow) -> bool {
    let plan = row.text("plan_id");
    let status = match context.parameters.get("status") {
        None => true,
        Some("free_trial") => row.flag("is_free_trial") && row.text("status") == "active",
        Some(status) => row.text("status") == status,
    };
    let query = |query: &str| row.id == query || payer_of(row) == query || payer_name(context, row).contains(query);
    status
        && is_or_absent(context, "payer_type", payer_type(payer_of(row)))
        && is_or_absent(context, "plan_id", plan)
        && context.parameters.get("query").is_none_or(query)
        && (context.parameters.flag("include_free") || fee(context.model, plan) > 0)
}

fn payer_name(context: &ListContext<'_>, row: &StoredRow) -> String {
    let id = payer_of(row);
    let organization = context.model.organizations.get(id).map(|it| it.name.clone());
    let user = || context.model.users.get(id).and_then(people::identifier).map(str::to_owned);
    organization.or_else(user).unwrap_or_default()
}

fn complete(context: &ListContext<'_>, row: &StoredRow, out: &mut String) {
    let (model, payer_of, plan) = (context.model, payer_of(row), row.text("plan_id"));
    let fee = fee(model, plan);
    field(out, "instance_id", &context.instance.id);
    field(out, "plan", model.rows(List::BillingPlans).get(plan).map(|plan| &plan.fields));
    field(out, "payer_id", payer_id(payer_of));
    field(out, "payer", payer(payer_of, &context.instance.id, row.created_at));
    if fee > 0 {
        field(out, "payment_method", payment_method(payer_of, row.created_at));
    }
    let is_open = row.text("status") == "active" && row.fields.get("canceled_at") == Some(&Value::Null);
    let next = (is_open && fee > 0).then(|| {
        json!({"amount": money(fee), "date": row.integer("period_end"), "per_unit_totals": [], "totals": totals(fee)})
    });
    field(out, "next_payment", next);
    field(out, "totals", totals(fee));
}

/// Returns the parts of an amount.
pub(super) fn totals(amount: i64) -> Value {
    json!({
        "subtotal": money(amount), "base_fee": money(amount), "tax_total": money(0), "grand_total": money(amount),
        "per_unit_totals": [], "credits": null, "discounts": null,
    })
}

/// Draws a plan for a payer and returns its id and the id of its price, if it has one.
fn draw_plan(model: &mut Model, payer: &str) -> Option<(String, Option<String>)> {
    let plans = model.rows(List::BillingPlans).iter();
    let plans: Vec<String> =
        plans.filter(|plan| plan.text("for_payer_type") == payer_type(payer)).map(|plan| plan.id.clone()).collect();
    if plans.is_empty() {
        return None;
    }
    let plan = plans[model.random.random_range(0..plans.len())].clone();
    let price = model.rows(List::BillingPrices).iter().find(|price| price.text("plan_id") == plan);
    let price = price.map(|price| price.id.clone());
    Some((plan, price))
}

fn create(model: &mut Model, at: i64, number: usize) -> Option<StoredRow> {
    let payer = draw_payer(model)?;
    let (plan, price) = draw_plan(model, &payer)?;
    let at = at.max(created_at(model, &payer)?);
    let fee = fee(model, &plan);
    let now = model.now;
    let (period, days) = draw::one_of(model, &[("month", 30), ("month", 30), ("annual", 365)]);
    let passed = (now - at).max(0) / (days * DAY);
    let start = at + passed * days * DAY;
    let end = start + days * DAY;
    let (status, canceled_at, ended_at) = match model.random.random_range(0..20) {
        _ if at >= now || fee == 0 => ("active", None, None),
        0..3 => ("ended", Some(start), Some(now.min(end))),
        3 => ("active", Some(start), None),
        4 => ("past_due", None, None),
        5 => ("upcoming", None, None),
        6 => ("abandoned", Some(start), None),
        _ => ("active", None, None),
    };
    let fields = json!({
        "object": "commerce_subscription_item", "status": status,
        "credit": {"amount": null, "cycle_remaining_percent": 0}, "credits": null,
        "plan_id": plan, "price_id": price, "plan_period": period, "lifetime_paid": money(fee * passed),
        "is_free_trial": fee > 0 && number % 9 == 4, "period_start": start,
        "period_end": (fee > 0).then_some(end), "canceled_at": canceled_at,
        "past_due_at": (status == "past_due").then_some(start), "ended_at": ended_at,
        "seats": if payer_type(&payer) == "org" { json!({"quantity": 5 + number % 20, "tiers": []}) } else { Value::Null },
    });
    let mut row = StoredRow::with_times(model.id("csubitem_"), at, fields);
    row.set("updated_at", ended_at.or(canceled_at).unwrap_or(start));
    row.parts.push(payer);
    Some(row)
}

/// Moves a subscription item that has not ended to another plan, cancels it, or ends it.
fn change(model: &mut Model, id: &str) -> bool {
    let Some(row) = model.rows(LIST).get(id).filter(|row| row.text("status") != "ended") else { return false };
    let payer = payer_of(row).to_owned();
    let now = model.now;
    match model.random.random_range(0..4) {
        0 => draw::update(model, LIST, id, |row| end(row, now)),
        1 => draw::update(model, LIST, id, |row| row.set("canceled_at", now)),
        2 => draw::update(model, LIST, id, |row| {
            row.set("status", "past_due");
            row.set("past_due_at", now);
        }),
        _ => {
            let Some((plan, price)) = draw_plan(model, &payer) else { return false };
            draw::update(model, LIST, id, |row| {
                row.set("status", "active");
                row.set("plan_id", plan);
                row.set("price_id", price);
                row.set("canceled_at", Value::Null);
                row.set("past_due_at", Value::Null);
            })
        }
    }
}

fn end(row: &mut StoredRow, now: i64) {
    row.set("status", "ended");
    row.set("ended_at", now);
}

impl Model {
    /// Ends the subscription items of a user or an organization.
    pub(in crate::simulator) fn end_subscriptions(&mut self, payer: &str) {
        let now = self.now;
        let items = self.rows(LIST).iter().filter(|row| payer_of(row) == payer && row.text("status") != "ended");
        for id in items.map(|row| row.id.clone()).collect::<Vec<_>>() {
            draw::update(self, LIST, &id, |row| end(row, now));
        }
    }
}
