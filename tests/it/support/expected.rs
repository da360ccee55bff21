//! What the tables must hold, worked out from the simulator's model and not by the program's own code.
//!
//! A row is a JSON object by column, rendered as [`super::as_json`] renders what a query gives. `_synced_at` is no
//! content: it must be there, and is left out.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Datelike, SecondsFormat, Utc};
use clerk_lake::resource::{self, GONE_AT, USER_ACTIVITY};
use clerk_lake::simulator::model::{EmailAddress, ExternalAccount, Organization, PhoneNumber, Session, User};
use clerk_lake::simulator::{Model, SimulatorConfig};
use clerk_lake::sync::Extent;
use clerk_lake::table::SYNCED_AT;
use serde_json::{Value, json};

use super::{World, ledger, named, plain_rows};

/// A table's rows by key.
pub type Rows = BTreeMap<String, Value>;

/// All tables' rows, by the name of the resource.
pub type Tables = BTreeMap<&'static str, Rows>;

/// Where the clock of a [`still`] world stands: 2026-09-21T14:13:20Z.
pub const NOW: i64 = 1_790_000_000_000;

/// A world whose clock stands still, so that what is in it does not depend on when the test runs; every sync of it
/// is a full one.
pub async fn still(change: impl FnOnce(&mut SimulatorConfig)) -> World {
    let mut world = World::with(|config| {
        config.now = Some(NOW);
        change(config);
    })
    .await;
    world.options.extent = Extent::Full;
    world
}

/// Every table that has been synced equals the instance as it is now, row by row, and nothing is staged.
pub async fn assert_tables_equal(world: &World) {
    assert_tables_equal_for(world, "the lake").await;
}

/// The same for one of several cases.
pub async fn assert_tables_equal_for(world: &World, case: &str) {
    for resource in resource::ALL {
        assert_resource_equals(world, resource.name, case).await;
    }
    assert_nothing_staged(world, case);
}

/// The table of the resource called `name` equals the instance as it is now, row by row; the ledger, which has more
/// than that, all that the lake's tables tell of and nothing that was not.
pub async fn assert_resource_equals(world: &World, name: &str, case: &str) {
    let rows = stored(world, name).await;
    if name == USER_ACTIVITY.name {
        ledger::assert_ledger(world, &world.lake(), case).await;
    } else {
        assert_same(&format!("{case}: {name}"), &rows, &wanted(world, name));
    }
    let plain = plain_rows(&world.path(), named(name).table.name);
    assert_eq!(plain, rows.len(), "{case}: {name} as a plain Parquet reader counts");
}

pub fn assert_nothing_staged(world: &World, case: &str) {
    assert!(!world.path().join("_staged").exists(), "{case}: something is still staged");
}

/// Two tables are the same; where they are not, the first row that differs is shown, column by column.
pub fn assert_same(what: &str, got: &Rows, want: &Rows) {
    let keys: BTreeSet<&String> = got.keys().chain(want.keys()).collect();
    let differing: Vec<&String> = keys.into_iter().filter(|key| got.get(*key) != want.get(*key)).collect();
    if let Some(first) = differing.first() {
        panic!(
            "{what}: {} rows differ, there are {} and should be {}; the first is {first}{}",
            differing.len(),
            got.len(),
            want.len(),
            difference(got.get(*first), want.get(*first))
        );
    }
}

fn difference(got: Option<&Value>, want: Option<&Value>) -> String {
    let (Some(got), Some(want)) = (got, want) else {
        let which = if got.is_some() { ", which should not be there" } else { ", which is missing" };
        return which.to_owned();
    };
    let columns: BTreeSet<&String> =
        [got, want].into_iter().filter_map(Value::as_object).flat_map(serde_json::Map::keys).collect();
    let differing = columns.into_iter().filter(|column| got.get(column.as_str()) != want.get(column.as_str()));
    let lines = differing.map(|column| {
        let shown = |row: &Value| row.get(column.as_str()).map_or("no such column".to_owned(), Value::to_string);
        format!("\n  {column} is {} and should be {}", shown(got), shown(want))
    });
    lines.collect::<Vec<_>>().concat()
}

/// What the table of the resource called `name` holds.
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

/// Rows by their key, none of them twice. When the ledger first saw something is no content either.
pub fn by_key(rows: Vec<Value>, key: &[&str]) -> Rows {
    let mut found = Rows::new();
    for mut row in rows {
        let synced_at = row.as_object_mut().and_then(|row| row.remove(SYNCED_AT));
        assert!(synced_at.is_some_and(|at| at.is_string()), "a row does not say when it was written: {row}");
        if let Some(row) = row.as_object_mut() {
            row.remove("first_observed_at");
            // When a session was missed is no content either; whether it is missed is.
            if row.get(GONE_AT).is_some_and(Value::is_null) {
                row.remove(GONE_AT);
            } else if let Some(gone) = row.get_mut(GONE_AT) {
                *gone = Value::Bool(true);
            }
        }
        let id: Vec<&str> = key.iter().map(|column| row[*column].as_str().expect("a key")).collect();
        let id = id.join(" ");
        let before = found.insert(id, row);
        assert!(before.is_none(), "a row is there twice: {before:?}");
    }
    found
}

/// What all tables must hold.
pub fn wanted_tables(world: &World) -> Tables {
    resource::ALL.into_iter().map(|resource| (resource.name, wanted(world, resource.name))).collect()
}

/// What the table of the resource called `name` must hold; the ledger, after a first sync.
pub fn wanted(world: &World, name: &str) -> Rows {
    match name {
        "users" => world.simulator.with_model(|model| users(model)),
        "organizations" => world.simulator.with_model(|model| organizations(model)),
        "sessions" => world.simulator.with_model(|model| sessions(model)),
        "daily_active_users" => daily_active_users(world),
        "user_activity" => world.simulator.with_model(|model| user_activity(model)),
        other => panic!("nobody has said what the table of {other} must hold"),
    }
}

fn users(model: &Model) -> Rows {
    model.users.iter().map(|it| (it.id.clone(), user(it))).collect()
}

fn organizations(model: &Model) -> Rows {
    model.organizations.iter().map(|it| (it.id.clone(), organization(it, model))).collect()
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

/// What is shown of activity now: where a user and a session show the same day, the user counts.
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

/// The address that the user names as primary; where that is none of the user's, the first.
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

fn organization(organization: &Organization, model: &Model) -> Value {
    json!({
        "id": organization.id,
        "name": organization.name,
        "slug": organization.slug,
        "members_count": model.memberships.iter().filter(|it| it.organization_id == organization.id).count(),
        "pending_invitations_count": organization.pending_invitations_count,
        "max_allowed_memberships": organization.max_allowed_memberships,
        "admin_delete_enabled": true,
        "created_by": organization.created_by,
        "created_at": time(organization.created_at),
        "updated_at": time(organization.updated_at),
        "last_active_at": time(organization.last_active_at),
        "public_metadata": "{\"tier\":\"gold\"}",
        "created_year": moment(organization.created_at).year(),
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

/// A moment as rows show it: fractions of a second only where there are any.
fn time(millis: i64) -> String {
    moment(millis).to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

fn moment(millis: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(millis).expect("a moment")
}
