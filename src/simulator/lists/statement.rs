//! `GET /v1/billing/statements` and `GET /v1/billing/statements/{id}/payment_attempts`: what payers were charged.

use std::fmt::Write;

use rand::RngExt;
use serde_json::{Value, json};

use super::context::ListContext;
use super::draw;
use super::payer::{payer, payer_id, payer_of, payment_method, payment_method_id};
use super::plans::{fee, money};
use super::spec::{ListSpec, field};
use super::subscription_item::totals;
use crate::simulator::json_text::PRIVATE_MARKER;
use crate::simulator::list::List;
use crate::simulator::model::{Model, StoredRow};

const STATEMENTS: List = List::BillingStatements;
const ATTEMPTS: List = List::PaymentAttempts;

pub(super) static BILLING_STATEMENTS: ListSpec = ListSpec {
    complete: complete_statement,
    usual_count: |users, organizations| users.div_ceil(20) + organizations.div_ceil(10),
    create: create_statement,
    change: |model, id| {
        let is_open = model.rows(STATEMENTS).get(id).is_some_and(|row| row.text("status") == "open");
        is_open && draw::update(model, STATEMENTS, id, |row| row.set("status", "closed"))
    },
    removed: |model, row| {
        for attempt in attempts(row) {
            model.rows_mut(ATTEMPTS).remove(attempt);
        }
    },
    ..ListSpec::new(STATEMENTS, "/v1/billing/statements")
};

pub(super) static PAYMENT_ATTEMPTS: ListSpec = ListSpec {
    parent: Some(STATEMENTS),
    complete: complete_attempt,
    usual_count: |users, organizations| users.div_ceil(18) + organizations.div_ceil(9),
    create: create_attempt,
    change: change_attempt,
    removed: |model, row| {
        if let Some(statement) = model.rows_mut(STATEMENTS).get_mut(row.text("statement_id")) {
            statement.parts.retain(|part| *part != row.id);
        }
    },
    ..ListSpec::new(ATTEMPTS, "/v1/billing/statements/{}/payment_attempts")
};

/// Returns the ids of a statement's payment attempts.
///
/// The parts of a statement are its payer, its subscription item, and its payment attempts.
fn attempts(statement: &StoredRow) -> &[String] {
    statement.parts.get(2..).unwrap_or_default()
}

fn create_statement(model: &mut Model, at: i64, number: usize) -> Option<StoredRow> {
    let item = model.draw_row(List::SubscriptionItems)?;
    let item = model.rows(List::SubscriptionItems).get(&item)?;
    let (payer, amount) = (payer_of(item).to_owned(), fee(model, item.text("plan_id")));
    let (item_id, at) = (item.id.clone(), at.max(item.created_at));
    let is_open = at >= model.now || number.is_multiple_of(10);
    let fields = json!({
        "object": "commerce_statement", "timestamp": at, "status": if is_open { "open" } else { "closed" },
        "totals": {
            "grand_total": money(amount), "subtotal": money(amount), "base_fee": money(amount), "tax_total": money(0),
        },
    });
    let mut row = StoredRow::new(model.id("cstmt_"), at, fields);
    row.parts.extend([payer, item_id]);
    Some(row)
}

fn complete_statement(context: &ListContext<'_>, row: &StoredRow, out: &mut String) {
    field(out, "instance_id", &context.instance.id);
    field(out, "payer", payer(payer_of(row), &context.instance.id, row.created_at));
    out.push_str(",\"groups\":[");
    let attempts = attempts(row).iter().filter_map(|id| context.model.rows(ATTEMPTS).get(id));
    for (number, attempt) in attempts.enumerate() {
        let comma = if number > 0 { "," } else { "" };
        let _ = write!(
            out,
            "{comma}{{\"object\":\"commerce_statement_group\",\"timestamp\":{},\"items\":[",
            attempt.created_at
        );
        super::render(context, &PAYMENT_ATTEMPTS, attempt, out);
        out.push_str("]}");
    }
    out.push(']');
}

fn create_attempt(model: &mut Model, at: i64, number: usize) -> Option<StoredRow> {
    let statement = model.draw_row(STATEMENTS)?;
    let row = model.rows(STATEMENTS).get(&statement)?;
    let payer = payer_of(row).to_owned();
    let at = if at < model.now { (row.created_at + 60_000).min(model.now) } else { at };
    let amount = row.fields.get("totals").and_then(|it| it["grand_total"]["amount"].as_i64()).unwrap_or(0);
    let item_id = row.parts.get(1).cloned().unwrap_or_default();
    let plan = model.rows(List::SubscriptionItems).get(&item_id).map(|item| item.text("plan_id").to_owned());
    let id = model.id("cpay_");
    let status = if at >= model.now { "pending" } else { draw::one_of(model, &["paid", "paid", "paid", "failed"]) };
    let settled_at = |wanted: &str| (status == wanted).then_some(at + 2000);
    let fields = json!({
        "object": "commerce_payment", "payment_id": format!("pay_{id}"),
        "charge_type": if number.is_multiple_of(3) { "checkout" } else { "recurring" },
        "payee_id": "cpayee_1", "payee": {"object": "commerce_payee", "id": "cpayee_1", "gateway_type": "stripe"},
        "payer_id": payer_id(&payer), "subscription_item_id": item_id,
        "subscription_item": {"object": "commerce_subscription_item", "id": item_id, "plan_id": plan},
        "amount": money(amount), "totals": totals(amount), "payment_method_id": payment_method_id(&payer),
        "statement_id": statement, "gateway_external_id": format!("pi_{number}"),
        "gateway_external_url": format!("https://gateway.example/{PRIVATE_MARKER}/{id}"),
        "status": status, "paid_at": settled_at("paid"), "failed_at": settled_at("failed"),
    });
    let mut attempt = StoredRow::with_times(id.clone(), at, fields);
    attempt.parts.push(payer);
    model.rows_mut(STATEMENTS).get_mut(&statement)?.parts.push(id);
    Some(attempt)
}

fn complete_attempt(context: &ListContext<'_>, row: &StoredRow, out: &mut String) {
    field(out, "instance_id", &context.instance.id);
    field(out, "payer", payer(payer_of(row), &context.instance.id, row.created_at));
    field(out, "payment_method", payment_method(payer_of(row), row.created_at));
}

/// Settles a pending payment attempt, or tries a failed one again.
fn change_attempt(model: &mut Model, id: &str) -> bool {
    let now = model.now;
    let status = model.rows(ATTEMPTS).get(id).map(|row| row.text("status").to_owned());
    let is_paid = match status.as_deref() {
        Some("pending") => model.random.random_bool(0.8),
        Some("failed") => true,
        _ => return false,
    };
    draw::update(model, ATTEMPTS, id, |row| {
        row.set("status", if is_paid { "paid" } else { "failed" });
        row.set("paid_at", is_paid.then_some(now));
        row.set("failed_at", if is_paid { Value::Null } else { now.into() });
    })
}
