use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use serde_json::Value;

use super::*;
use crate::simulator::json_text::PRIVATE_MARKER;
use crate::simulator::list::InstanceIdentity;
use crate::simulator::listing::QueryString;
use crate::simulator::model::{DAY, Membership};
use crate::simulator::{ChangeKind, Life, generate};

const NOON: i64 = 20_000 * DAY + DAY / 2;

fn model(counts: &[(List, usize)]) -> Model {
    let mut model = Model::new(5, NOON);
    generate::fill(&mut model, 400, 40);
    fill(&mut model, &counts.iter().copied().collect());
    model
}

fn instance() -> InstanceIdentity {
    InstanceIdentity { id: "ins_1".to_owned(), environment_type: "production".to_owned() }
}

/// Returns the response to a request.
fn get(model: &Model, path: &str, query: &str) -> Reply {
    let (parameters, instance) = (QueryString::parse(query), instance());
    let context = ListContext { model, parameters: &parameters, path, instance: &instance };
    let spec = at(path).unwrap_or_else(|| panic!("no list at {path}"));
    respond(spec, &context, None, TieOrder::Stable).unwrap_or_else(|error| error)
}

fn json(model: &Model, path: &str, query: &str) -> Value {
    let reply = get(model, path, query);
    assert_eq!(reply.status, 200, "{path}?{query}: {}", reply.body);
    serde_json::from_str(&reply.body).unwrap()
}

fn everything(model: &Model, list: List) -> Vec<Value> {
    let (parameters, instance) = (QueryString::default(), instance());
    all(list, &ListContext { model, parameters: &parameters, path: "", instance: &instance })
}

fn ids(rows: &Value) -> Vec<String> {
    let rows = rows.get("data").unwrap_or(rows).as_array().expect("rows");
    rows.iter().map(|row| row["id"].as_str().expect("an id").to_owned()).collect()
}

/// Returns the ids of all rows of a list, page by page.
fn paged(model: &Model, path: &str, query: &str) -> Vec<String> {
    let mut found = Vec::new();
    loop {
        let page = ids(&json(model, path, &format!("{query}&limit=7&offset={}", found.len())));
        if page.is_empty() {
            return found;
        }
        found.extend(page);
    }
}

fn set(ids: Vec<String>) -> BTreeSet<String> {
    ids.into_iter().collect()
}

#[test]
fn every_list_is_filled_and_each_order_shows_every_row_once() {
    let model = model(&[]);
    for spec in SPECS.into_iter().filter(|spec| spec.parent.is_none()) {
        let wanted = everything(&model, spec.list);
        assert!(!wanted.is_empty(), "{}", spec.list);
        let wanted: BTreeSet<String> = ids(&Value::Array(wanted)).into_iter().collect();
        if spec.form == ListForm::Whole {
            assert_eq!(set(ids(&json(&model, spec.path, "limit=1&offset=1"))), wanted, "{}", spec.list);
            continue;
        }
        let asked = "include_free=true&paginated=true";
        for order in std::iter::once("").chain(spec.orders.iter().copied()) {
            for sign in if order.is_empty() { &[""][..] } else { &["-", "%2B", ""] } {
                let order = if order.is_empty() { String::new() } else { format!("&order_by={sign}{order}") };
                let mut found = paged(&model, spec.path, &format!("{asked}{order}"));
                if spec.list == List::Invitations {
                    found.extend(paged(&model, spec.path, &format!("{asked}{order}&status=revoked")));
                }
                assert_eq!(found.len(), wanted.len(), "{} {order}", spec.list);
                assert_eq!(set(found), wanted, "{} {order}", spec.list);
            }
        }
    }
}

#[test]
fn lists_are_sorted_as_requested() {
    let model = model(&[]);
    for (path, field) in [("/v1/invitations", "expires_at"), ("/v1/machines", "created_at")] {
        let rows = json(&model, path, &format!("order_by=%2B{field}&limit=500&paginated=true"));
        let values: Vec<i64> =
            rows["data"].as_array().unwrap().iter().map(|row| row[field].as_i64().unwrap()).collect();
        assert!(values.len() > 3 && values.is_sorted(), "{path}: {values:?}");
    }
    let newest_first = json(&model, "/v1/billing/subscription_items", "include_free=true&limit=500");
    let times: Vec<i64> =
        newest_first["data"].as_array().unwrap().iter().map(|row| -row["created_at"].as_i64().unwrap()).collect();
    assert!(times.len() > 50 && times.is_sorted());
}

#[test]
fn unknown_orders_and_values_are_refused() {
    let model = model(&[]);
    for (path, query) in [
        ("/v1/invitations", "order_by=name"),
        ("/v1/invitations", "order_by=+created_at"),
        ("/v1/invitations", "status=unknown"),
        ("/v1/organization_memberships", "order_by=role"),
        ("/v1/billing/subscription_items", "payer_type=nobody"),
        ("/v1/machines", "limit=0"),
    ] {
        assert_eq!(get(&model, path, query).status, 422, "{path}?{query}");
    }
}

#[test]
fn invitations_omit_revoked_ones_unless_asked_for() {
    let model = model(&[(List::Invitations, 200)]);
    let default = paged(&model, "/v1/invitations", "");
    let by_status = |status: &str| paged(&model, "/v1/invitations", &format!("status={status}"));
    let (revoked, others) = (by_status("revoked"), ["pending", "accepted", "expired"].map(by_status).concat());
    assert!(!revoked.is_empty() && revoked.len() + others.len() == 200, "{}", revoked.len());
    assert_eq!(set(default), set(others));
}

#[test]
fn subscription_items_omit_free_ones_unless_asked_for() {
    let model = model(&[]);
    let path = "/v1/billing/subscription_items";
    let (paid, all) = (paged(&model, path, ""), paged(&model, path, "include_free=true"));
    assert!(!paid.is_empty() && paid.len() < all.len());
    let of = |payer: &str| paged(&model, path, &format!("include_free=true&payer_type={payer}"));
    assert!(!of("org").is_empty() && of("org").len() + of("user").len() == all.len());
    let plans = paged(&model, "/v1/billing/plans", "");
    let by_plan = plans.iter().flat_map(|plan| paged(&model, path, &format!("include_free=true&plan_id={plan}")));
    assert_eq!(set(by_plan.collect()), set(all));
}

#[test]
fn lists_have_their_forms() {
    let model = model(&[]);
    assert!(json(&model, "/v1/invitations", "").is_array());
    assert!(json(&model, "/v1/invitations", "paginated=true")["total_count"].is_number());
    assert!(json(&model, "/v1/allowlist_identifiers", "").is_array());
    let directories = json(&model, "/v1/directories", "");
    let older = json(&model, "/v1/scim_directories", "");
    assert_eq!(ids(&directories), ids(&older));
    assert_eq!(older["data"][0]["object"], "scim_directory");
    assert!(at("/v1/api_keys").is_none() && at("/v1/billing/statements/a/b/payment_attempts").is_none());
}

#[test]
fn statements_list_their_payment_attempts() {
    let model = model(&[]);
    let statements = paged(&model, "/v1/billing/statements", "");
    let path = |id: &str| format!("/v1/billing/statements/{id}/payment_attempts");
    let found: Vec<String> = statements.iter().flat_map(|id| paged(&model, &path(id), "")).collect();
    assert_eq!(found.len(), model.rows(List::PaymentAttempts).len());
    assert_eq!(set(found), set(ids(&Value::Array(everything(&model, List::PaymentAttempts)))));
    assert_eq!(get(&model, &path("cstmt_unknown"), "").status, 404);
}

#[test]
fn private_parts_carry_the_marker() {
    let model = model(&[]);
    for list in [
        List::Memberships,
        List::Invitations,
        List::OrganizationInvitations,
        List::WaitlistEntries,
        List::Directories,
        List::SubscriptionItems,
        List::BillingStatements,
        List::PaymentAttempts,
    ] {
        let rows = everything(&model, list);
        assert!(rows.iter().any(|row| row.to_string().contains(PRIVATE_MARKER)), "{list}");
    }
    let membership = &everything(&model, List::Memberships)[0];
    assert_eq!(membership["private_metadata"], membership["organization"]["private_metadata"]);
}

#[test]
fn a_deleted_organization_takes_its_rows_along_and_ends_its_subscriptions() {
    let mut model = model(&[(List::OrganizationInvitations, 200), (List::SubscriptionItems, 400)]);
    let lists = [List::OrganizationInvitations, List::OrganizationDomains, List::EnterpriseConnections];
    let of = |model: &Model, list: List, id: &str| {
        model.rows(list).iter().filter(|row| row.text("organization_id") == id).count()
    };
    let id = model.rows(List::OrganizationInvitations).iter().next().unwrap().text("organization_id").to_owned();
    assert!(of(&model, lists[0], &id) > 0);
    model.delete_organization(&id);
    assert!(lists.iter().all(|list| of(&model, *list, &id) == 0));
    assert!(model.memberships.iter().all(|it| it.organization_id != id));
    let items = model.rows(List::SubscriptionItems).iter().filter(|row| payer::payer_of(row) == id);
    let items: Vec<&StoredRow> = items.collect();
    assert!(!items.is_empty() && items.iter().all(|row| row.text("status") == "ended"), "{items:?}");
    let user = model.memberships.iter().next().unwrap().user_id.clone();
    model.delete_user(&user);
    assert!(model.memberships.iter().all(|it| it.user_id != user));
}

#[test]
fn counts_of_organizations_agree_with_their_rows_through_all_changes() {
    let mut model = model(&[]);
    for round in 0..40 {
        model.now = NOON + round * DAY;
        for kind in ChangeKind::ALL {
            model.change(kind);
        }
        model.expire_invitations();
    }
    let mut members: BTreeMap<&str, i64> = BTreeMap::new();
    let mut pairs = BTreeSet::new();
    for Membership { organization_id, user_id, .. } in model.memberships.iter() {
        *members.entry(organization_id).or_default() += 1;
        assert!(pairs.insert((organization_id, user_id)), "a user is a member twice");
    }
    for row in everything(&model, List::Organizations) {
        let id = row["id"].as_str().unwrap();
        assert_eq!(row["members_count"], members.get(id).copied().unwrap_or(0));
        let invitations = model.rows(List::OrganizationInvitations).iter();
        let pending = invitations.filter(|it| it.text("organization_id") == id && it.text("status") == "pending");
        assert_eq!(row["pending_invitations_count"], pending.count());
    }
    for list in List::ALL {
        for row in everything(&model, list) {
            assert!(row["id"].is_string() && row["object"].is_string(), "{list}: {row}");
        }
    }
    let roles: BTreeSet<&str> = model.rows(List::OrganizationRoles).iter().map(|row| row.text("key")).collect();
    assert!(roles.contains("org:admin") && roles.contains("org:member"));
    assert!(model.memberships.iter().all(|it| roles.contains(it.role.as_str())));
}

#[test]
fn life_changes_the_lists() {
    let (mut life, mut model) = (Life::new(NOON, 60, 2000), Model::new(7, NOON));
    fill(&mut model, &BTreeMap::new());
    life.advance(&mut model, NOON + 30 * DAY);
    let before: Vec<Vec<Value>> = List::ALL.map(|list| everything(&model, list)).into();
    life.advance(&mut model, NOON + 60 * DAY);
    for (list, before) in List::ALL.into_iter().zip(before) {
        let is_elsewhere = [List::Users, List::Sessions, List::Instance].contains(&list);
        // Administrators change these rarely.
        let is_rare = life::SETTINGS.contains(&list);
        assert!(is_elsewhere || is_rare || everything(&model, list) != before, "{list}");
    }
}

#[test]
fn the_rows_of_lists_do_not_change_what_is_drawn_for_users() {
    let users = |counts: &[(List, usize)]| {
        let mut model = model(counts);
        model.change(ChangeKind::CreateInvitation);
        model.change(ChangeKind::AddSetting);
        model.change(ChangeKind::CreateUser);
        model.users.iter().cloned().collect::<Vec<_>>()
    };
    assert_eq!(users(&[]), users(&[(List::Invitations, 10), (List::BillingPlans, 20)]));
}

#[test]
#[ignore = "measures time; run it with --release --nocapture"]
#[expect(clippy::print_stdout, reason = "the result of the measurement")]
fn pages_of_large_lists_are_cheap() {
    let start = Instant::now();
    let mut model = Model::new(5, NOON);
    generate::fill(&mut model, 60_000, 5000);
    let counts = [(List::Memberships, 200_000), (List::Invitations, 50_000), (List::SubscriptionItems, 30_000)];
    fill(&mut model, &counts.into_iter().collect());
    println!("filled in {:?}", start.elapsed());
    for (path, count) in [
        ("/v1/organization_memberships?order_by=%2Bcreated_at", 200_000),
        ("/v1/invitations?order_by=%2Bcreated_at", 50_000),
        ("/v1/invitations?order_by=%2Bcreated_at&status=revoked", 9_000),
        ("/v1/billing/subscription_items?include_free=true", 30_000),
        ("/v1/billing/subscription_items?payer_type=org", 5_000),
        ("/v1/organization_memberships?order_by=first_name", 200_000),
    ] {
        let (path, query) = path.split_once('?').unwrap();
        for offset in [0, count / 2, count - 500] {
            let start = Instant::now();
            let bytes = get(&model, path, &format!("{query}&limit=500&offset={offset}")).body.len();
            println!("{path}?{query} offset {offset}: {:?}, {bytes} bytes", start.elapsed());
        }
    }
}
