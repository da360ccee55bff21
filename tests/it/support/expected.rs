//! The rows that the tables must hold. They come from the simulator's model, not from the code of the program.
//!
//! A row is a JSON object with one field per column, in the form that [`super::as_json`] returns for query results.
//! `_synced_at` must be present, but is not compared.

pub mod listed;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Datelike, SecondsFormat, Utc};
use clerk_lake::resource::{self, GONE_AT, USER_ACTIVITY};
use clerk_lake::simulator::model::{EmailAddress, ExternalAccount, PhoneNumber, Session, User};
use clerk_lake::simulator::{List, Model, SimulatorConfig};
use clerk_lake::sync::Extent;
use clerk_lake::table::SYNCED_AT;
use serde_json::{Value, json};

use super::{World, ledger, named, plain_row_count};

/// A table's rows by key.
pub type Rows = BTreeMap<String, Value>;

/// The rows of all tables, by the name of the resource.
pub type Tables = BTreeMap<&'static str, Rows>;

/// The time of a [`fixed_clock_world`]: 2026-09-21T14:13:20Z.
pub const NOW: i64 = 1_790_000_000_000;

/// Returns a world with a fixed clock, so that its content does not depend on when the test runs. Every sync of it is a
/// full sync.
pub async fn fixed_clock_world(change: impl FnOnce(&mut SimulatorConfig)) -> World {
    let mut world = World::with(|config| {
        config.now = Some(NOW);
        change(config);
    })
    .await;
    world.options.extent = Extent::Full;
    world
}

/// Asserts that every table equals the current state of the instance, row by row, and that nothing is staged.
pub async fn assert_tables_equal(world: &World) {
    assert_tables_equal_for(world, "the lake").await;
}

/// Like [`assert_tables_equal`], with a name for the case.
pub async fn assert_tables_equal_for(world: &World, case: &str) {
    for resource in resource::defaults() {
        assert_resource_equals(world, resource.name, case).await;
    }
    assert_nothing_staged(world, case);
}

/// Asserts that the table of the resource `name` equals the current state of the instance, row by row. The activity
/// ledger also keeps past activity: it must have all activity that the other tables show, and only true activity.
pub async fn assert_resource_equals(world: &World, name: &str, case: &str) {
    let rows = stored(world, name).await;
    if name == USER_ACTIVITY.name {
        ledger::assert_ledger(world, &world.lake(), case).await;
    } else {
        assert_same(&format!("{case}: {name}"), &rows, &wanted(world, name));
    }
    let plain = plain_row_count(&world.path(), named(name).table.name);
    assert_eq!(plain, rows.len(), "{case}: number of rows of {name} that a plain Parquet reader sees");
}

pub fn assert_nothing_staged(world: &World, case: &str) {
    assert!(!world.path().join("_staged").exists(), "{case}: something is still staged");
}

/// Asserts that two tables are equal. Otherwise, panics with the first row that differs, column by column.
pub fn assert_same(what: &str, got: &Rows, want: &Rows) {
    let keys: BTreeSet<&String> = got.keys().chain(want.keys()).collect();
    let differing: Vec<&String> = keys.into_iter().filter(|key| got.get(*key) != want.get(*key)).collect();
    if let Some(first) = differing.first() {
        panic!(
            "{what}: {} rows differ; found {} rows, expected {}; the first is {first}{}",
            differing.len(),
            got.len(),
            want.len(),
            difference(got.get(*first), want.get(*first))
        );
    }
}

fn difference(got: Option<&Value>, want: Option<&Value>) -> String {
    let (Some(got), Some(want)) = (got, want) else {
        let which = if got.is_some() { ", which is not expected" } else { ", which is missing" };
        return which.to_owned();
    };
    let columns: BTreeSet<&String> =
        [got, want].into_iter().filter_map(Value::as_object).flat_map(serde_json::Map::keys).collect();
    let differing = columns.into_iter().filter(|column| got.get(column.as_str()) != want.get(column.as_str()));
    let lines = differing.map(|column| {
        let shown = |row: &Value| row.get(column.as_str()).map_or("no such column".to_owned(), Value::to_string);
        format!("\n  {column}: found {}, expected {}", shown(got), shown(want))
    });
    lines.collect::<Vec<_>>().concat()
}

/// Returns the rows that the table of the resource `name` holds.
pub async fn stored(world: &World, name: &str) -> Rows {
    let table = named(name).table;
    let mut rows = by_key(world.rows(&format!("SELECT * FROM {}", table.name)).await, table.key);
    if name == "sessions" {
        let shown = wanted(world, name);
        for row in rows.iter_mut().filter(|(id, _)| !shown.contains_key(*id)).map(|(_, row)| row) {
            row.as_object_mut().and_then(|row| row.remove(GONE_AT));
        }
    }
    rows
}

/// Returns rows by their key, and asserts that there are no duplicates. `first_observed_at` is not compared.
pub fn by_key(rows: Vec<Value>, key: &[&str]) -> Rows {
    let mut found = Rows::new();
    for mut row in rows {
        let synced_at = row.as_object_mut().and_then(|row| row.remove(SYNCED_AT));
        assert!(synced_at.is_some_and(|at| at.is_string()), "a row without _synced_at: {row}");
        if let Some(row) = row.as_object_mut() {
            row.remove("first_observed_at");
            // Compare whether a session is gone, not since when.
            if row.get(GONE_AT).is_some_and(Value::is_null) {
                row.remove(GONE_AT);
            } else if let Some(gone) = row.get_mut(GONE_AT) {
                *gone = Value::Bool(true);
            }
        }
        let id: Vec<&str> = key.iter().map(|column| row[*column].as_str().expect("a key")).collect();
        let id = id.join(" ");
        let before = found.insert(id, row);
        assert!(before.is_none(), "a duplicate row: {before:?}");
    }
    found
}

/// Returns the rows that all tables must hold.
pub fn wanted_tables(world: &World) -> Tables {
    resource::defaults().into_iter().map(|resource| (resource.name, wanted(world, resource.name))).collect()
}

/// Returns the rows that the table of the resource `name` must hold; for the activity ledger, after a first sync.
pub fn wanted(world: &World, name: &str) -> Rows {
    match name {
        "users" => with_listed(world.simulator.with_model(|model| users(model)), world, List::Users, accounts),
        "sessions" => {
            let tasks = |listed: &Value| vec![("tasks", each(&listed["tasks"], |task| task["key"].clone()))];
            with_listed(world.simulator.with_model(|model| sessions(model)), world, List::Sessions, tasks)
        }
        "daily_active_users" => daily_active_users(world),
        "user_activity" => world.simulator.with_model(|model| user_activity(model)),
        other => listed::rows(world, other),
    }
}

/// Returns the rows with the columns that the model has no types for. They come from what the API shows.
fn with_listed(
    mut rows: Rows,
    world: &World,
    list: List,
    columns: impl Fn(&Value) -> Vec<(&'static str, Value)>,
) -> Rows {
    for listed in world.simulator.listed(list) {
        let row = listed["id"].as_str().and_then(|id| rows.get_mut(id)).and_then(Value::as_object_mut);
        row.expect("a row").extend(columns(&listed).into_iter().map(|(name, value)| (name.to_owned(), value)));
    }
    rows
}

/// Returns what `of` makes of each element of a list; null if there is no list.
fn each(list: &Value, of: impl Fn(&Value) -> Value) -> Value {
    list.as_array().map_or(Value::Null, |elements| elements.iter().map(of).collect())
}

/// Returns the columns of a user that hold what else the user signs in with.
fn accounts(user: &Value) -> Vec<(&'static str, Value)> {
    let connection = |account: &Value| account["saml_connection"]["id"].clone();
    let saml = |it: &Value| with(account(it), [("saml_connection_id", connection(it))]);
    let enterprise = |it: &Value| {
        let own = ["protocol", "enterprise_connection_id"].map(|name| (name, it[name].clone()));
        with(account(it), own)
    };
    let wallet = |it: &Value| {
        let times = ["created_at", "updated_at"].map(|name| (name, listed_time(&it[name])));
        with(with(verified(it), [("web3_wallet", it["web3_wallet"].clone())]), times)
    };
    let passkey = |it: &Value| {
        let mut row =
            with(verified(it), [("name", it["name"].clone()), ("last_used_at", listed_time(&it["last_used_at"]))]);
        row.as_object_mut().expect("an object").remove("verification_strategy");
        row
    };
    let own = |name: &'static str| (name, user[name].clone());
    vec![
        ("web3_wallets", each(&user["web3_wallets"], wallet)),
        ("passkeys", each(&user["passkeys"], passkey)),
        ("saml_accounts", each(&user["saml_accounts"], saml)),
        ("enterprise_accounts", each(&user["enterprise_accounts"], enterprise)),
        own("scim"),
        own("lockout_expires_in_seconds"),
        own("verification_attempts_remaining"),
    ]
}

/// Returns the columns that SAML and enterprise accounts share.
fn account(listed: &Value) -> Value {
    let same = ["provider", "active", "email_address", "first_name", "last_name", "provider_user_id"];
    let row = with(verified(listed), same.map(|name| (name, listed[name].clone())));
    let metadata = listed["public_metadata"].to_string().into();
    let used = listed_time(&listed["last_authenticated_at"]);
    with(row, [("public_metadata", metadata), ("last_authenticated_at", used)])
}

/// Returns the columns that everything has that can be verified.
fn verified(listed: &Value) -> Value {
    let verification = &listed["verification"];
    json!({
        "id": listed["id"],
        "verification_status": verification["status"],
        "verification_strategy": verification["strategy"],
    })
}

fn with<const N: usize>(mut row: Value, columns: [(&str, Value); N]) -> Value {
    let columns = columns.into_iter().map(|(name, value)| (name.to_owned(), value));
    row.as_object_mut().expect("an object").extend(columns);
    row
}

fn listed_time(millis: &Value) -> Value {
    millis.as_i64().map(time).into()
}

fn users(model: &Model) -> Rows {
    model.users.iter().map(|it| (it.id.clone(), user(it))).collect()
}

fn sessions(model: &Model) -> Rows {
    model.sessions.iter().map(|it| (it.id.clone(), session(it))).collect()
}

fn daily_active_users(world: &World) -> Rows {
    let days = world.simulator.truth(world.options.dau_lookback_days).daily_active_users;
    let row = |(date, users): (chrono::NaiveDate, i64)| {
        (date.to_string(), json!({"date": date.to_string(), "daily_active_users": users}))
    };
    days.into_iter().map(row).collect()
}

/// Returns the activity that users and sessions show now. If both show a day, the source is the user.
fn user_activity(model: &Model) -> Rows {
    let own = model.sessions.iter().filter(|session| session.actor.is_none());
    let sessions = own.flat_map(|it| [it.created_at, it.last_active_at].map(|at| (&it.user_id, at, "session")));
    let users = model.users.iter().filter_map(|user| Some((&user.id, user.last_active_at?, "user")));
    let row = |(user, at, source): (&String, i64, &str)| {
        let at = moment(at);
        let (date, month) = (at.date_naive().to_string(), at.format("%Y-%m").to_string());
        let key = format!("{user} {date}");
        (key, json!({"user_id": user, "date": date, "source": source, "month": month}))
    };
    sessions.chain(users).map(row).collect()
}

fn user(user: &User) -> Value {
    let parts = [identity(user), activity(user), authentication(user), belongings(user)];
    let columns = parts.into_iter().filter_map(|part| part.as_object().cloned()).flatten();
    Value::Object(columns.collect())
}

fn identity(user: &User) -> Value {
    let email = primary_email(user);
    json!({
        "id": user.id,
        "email": email.map(|email| &email.address),
        "email_verified": email.and_then(|email| email.verification).map(|status| status == "verified"),
        "username": user.username,
        "first_name": user.first_name,
        "last_name": user.last_name,
        "external_id": user.external_id,
        "locale": "en-GB",
        "image_url": image_url(&user.id),
        "has_image": !user.external_accounts.is_empty(),
        "primary_email_address_id": user.primary_email_address_id,
        "primary_phone_number_id": user.phone_numbers.first().map(|phone| &phone.id),
        "primary_web3_wallet_id": null,
    })
}

/// Returns the primary address of the user, or the first address if the primary one is not in the list.
fn primary_email(user: &User) -> Option<&EmailAddress> {
    let primary = user.primary_email_address_id.as_deref();
    let named = user.email_addresses.iter().find(|email| Some(email.id.as_str()) == primary);
    named.or(user.email_addresses.first())
}

fn image_url(id: &str) -> String {
    let place = "https://img.clerk.example/eyJ0eXBlIjoiZGVmYXVsdCIsImlpZCI6Imluc18ifQ";
    format!("{place}/{id}/{id}?width=160&quality=85&fit=crop")
}

fn activity(user: &User) -> Value {
    json!({
        "last_sign_in_at": user.last_sign_in_at.map(time),
        "last_active_at": user.last_active_at.map(time),
        "banned": user.banned,
        "locked": user.locked,
        "deprovisioned": false,
        "created_at": time(user.created_at),
        "updated_at": time(user.updated_at),
    })
}

fn authentication(user: &User) -> Value {
    let created_at = time(user.created_at);
    json!({
        "password_enabled": user.password_enabled,
        "two_factor_enabled": user.two_factor_enabled,
        "totp_enabled": user.two_factor_enabled,
        "backup_code_enabled": false,
        "mfa_enabled_at": user.two_factor_enabled.then_some(&created_at),
        "mfa_disabled_at": null,
        "password_last_updated_at": user.password_enabled.then_some(&created_at),
        "delete_self_enabled": true,
        "create_organization_enabled": true,
        "create_organizations_limit": null,
        "bypass_client_trust": false,
        "legal_accepted_at": null,
    })
}

fn belongings(user: &User) -> Value {
    let email_addresses: Vec<_> = user.email_addresses.iter().map(|it| email_address(it, user)).collect();
    let phone_numbers: Vec<_> = user.phone_numbers.iter().map(|it| phone_number(it, user)).collect();
    let external_accounts: Vec<_> = user.external_accounts.iter().map(|it| external_account(it, user)).collect();
    json!({
        "email_addresses": email_addresses,
        "phone_numbers": phone_numbers,
        "external_accounts": external_accounts,
        "public_metadata": user.public_metadata,
        "unsafe_metadata": user.unsafe_metadata,
        "created_year": moment(user.created_at).year(),
    })
}

fn email_address(email: &EmailAddress, user: &User) -> Value {
    json!({
        "id": email.id,
        "email_address": email.address,
        "verification_status": email.verification,
        "created_at": time(user.created_at),
        "updated_at": time(user.created_at),
    })
}

fn phone_number(phone: &PhoneNumber, user: &User) -> Value {
    json!({
        "id": phone.id,
        "phone_number": phone.number,
        "verification_status": "verified",
        "reserved_for_second_factor": false,
        "default_second_factor": false,
        "created_at": time(user.created_at),
        "updated_at": time(user.created_at),
    })
}

fn external_account(account: &ExternalAccount, user: &User) -> Value {
    json!({
        "id": account.id,
        "provider": account.provider.trim_start_matches("oauth_"),
        "provider_user_id": format!("{}-there", account.id),
        "email_address": user.email_addresses.first().map_or("", |email| email.address.as_str()),
        "username": null,
        "verification_status": "verified",
        "created_at": time(user.created_at),
        "updated_at": time(user.created_at),
    })
}

fn session(session: &Session) -> Value {
    json!({
        "session_id": session.id,
        "user_id": session.user_id,
        "client_id": session.client_id,
        "status": session.status,
        "created_at": time(session.created_at),
        "updated_at": time(session.updated_at),
        "last_active_at": time(session.last_active_at),
        "expire_at": time(session.expire_at),
        "abandon_at": time(session.abandon_at),
        "last_active_organization_id": session.last_active_organization_id,
        "actor": session.actor,
        "latest_activity": session.has_activity.then(|| latest_activity(session)),
        "created_month": moment(session.created_at).format("%Y-%m").to_string(),
    })
}

fn latest_activity(session: &Session) -> Value {
    let device = session.device();
    json!({
        "id": format!("sess_activity_{}", session.id),
        "device_type": device.device_type,
        "is_mobile": device.is_mobile,
        "browser_name": device.browser,
        "browser_version": "141.0",
        "ip_address": format!("192.0.2.{}", session.id.len()),
        "city": session.place().0,
        "country": session.place().1,
    })
}

/// Formats a time as rows show it: with fractions of a second only if there are any.
fn time(millis: i64) -> String {
    moment(millis).to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

fn moment(millis: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(millis).expect("a moment")
}
