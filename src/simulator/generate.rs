//! Generates a fictitious instance: plausible on the whole, with the rare cases that break readers.

use rand::RngExt;

use super::model::{DAY, EmailAddress, ExternalAccount, Membership, Model, Organization, PhoneNumber, Session, User};

const FIRST: [&str; 16] = [
    "Ada",
    "Björn",
    "Chloé",
    "Dmitri",
    "Élise",
    "Farah",
    "Grzegorz",
    "Hana",
    "Inês",
    "José",
    "Kofi",
    "Li \"Lee\"",
    "Māra",
    "Ngọc",
    "O\\Brien",
    "Zoë 🦀",
];
const LAST: [&str; 12] = [
    "Arkwright",
    "Bellamy",
    "Castellane",
    "Drăgan",
    "Eichenwald",
    "Fjørtoft",
    "Gómez",
    "Hollingworth",
    "Ibáñez",
    "Jørgensen",
    "Kovačević",
    "Łukasik",
];
const PROVIDERS: [&str; 4] = ["oauth_google", "oauth_github", "oauth_microsoft", "oauth_apple"];
const STATUSES: [&str; 12] = [
    "active",
    "active",
    "active",
    "active",
    "active",
    "ended",
    "expired",
    "abandoned",
    "removed",
    "replaced",
    "revoked",
    "pending",
];

/// Age of the oldest user, in milliseconds.
pub(super) const HISTORY: i64 = 3 * 365 * DAY;

/// Fills an empty instance with `users` users, `organizations` organizations, and their sessions and memberships.
pub fn fill(model: &mut Model, users: usize, organizations: usize) {
    let mut previous = model.now - HISTORY;
    for number in 0..users {
        let user = user(model, number, users, &mut previous);
        sessions(model, &user);
        model.users.insert(user.created_at, &user.id.clone(), user);
    }
    let ids: Vec<String> = model.users.iter().map(|user| user.id.clone()).collect();
    for number in 0..organizations {
        let organization = organization(model, number, &ids);
        let members = if ids.is_empty() { 0 } else { model.random.random_range(0..12) };
        for _ in 0..members {
            let user_id = ids[model.random.random_range(0..ids.len())].clone();
            let id = model.id("orgmem_");
            let role = if model.random.random_bool(0.2) { "org:admin" } else { "org:member" };
            let created_at = organization.created_at + model.random.random_range(0..DAY);
            if !model.is_member(&organization.id, &user_id) {
                model.insert_membership(Membership {
                    id,
                    organization_id: organization.id.clone(),
                    user_id,
                    role: role.to_owned(),
                    created_at,
                    updated_at: created_at,
                });
            }
        }
        model.organizations.insert(organization.created_at, &organization.id.clone(), organization);
    }
}

/// Signs up a new user now and returns the id.
pub fn sign_up(model: &mut Model) -> String {
    let mut previous = model.now;
    let number = model.users.len() * 7 + 1;
    let now = model.now;
    let user = User {
        created_at: now,
        updated_at: now,
        last_sign_in_at: Some(now),
        last_active_at: Some(now.div_euclid(DAY) * DAY),
        ..user(model, number, 1, &mut previous)
    };
    let id = user.id.clone();
    model.users.insert(now, &id, user);
    model.create_session(&id);
    id
}

/// Imports a user from another system and returns the id. The user keeps the creation time of that system.
pub fn import(model: &mut Model) -> String {
    let now = model.now;
    let number = model.users.len() * 7 + 3;
    let created_at = now - model.random.random_range(1000..HISTORY);
    let user = User {
        created_at,
        updated_at: now,
        last_sign_in_at: None,
        last_active_at: None,
        ..user(model, number, 1, &mut now.clone())
    };
    let id = user.id.clone();
    model.users.insert(created_at, &id, user);
    id
}

fn user(model: &mut Model, number: usize, users: usize, previous: &mut i64) -> User {
    let now = model.now;
    let slot = HISTORY / i64::try_from(users.max(1)).unwrap_or(1);
    // Every tenth user has the creation time of the previous one, as after a bulk import.
    let created_at = if number % 10 == 9 {
        *previous
    } else {
        (*previous + model.random.random_range(1..=2 * slot.max(1))).min(now - 1000)
    };
    *previous = created_at.max(now - HISTORY + slot * i64::try_from(number).unwrap_or(0)).min(now - 1000);
    let created_at = if number % 10 == 9 { created_at } else { *previous };
    let updated_at = model.random.random_range(created_at..=now);
    let last_active_at = last_active(model, created_at, now);
    let (email_addresses, primary_email_address_id) = emails(model, number, created_at);
    let named = model.random.random_bool(0.9);
    User {
        id: model.id("user_"),
        first_name: named.then(|| FIRST[number % FIRST.len()].to_owned()),
        last_name: named.then(|| LAST[number / 3 % LAST.len()].to_owned()),
        username: number.is_multiple_of(4).then(|| format!("user_{number}")),
        external_id: number.is_multiple_of(5).then(|| format!("crm-{number:08}")),
        primary_email_address_id,
        email_addresses,
        phone_numbers: phones(model, number),
        external_accounts: accounts(model, number),
        banned: model.random.random_bool(0.01),
        locked: model.random.random_bool(0.005),
        password_enabled: !number.is_multiple_of(3),
        two_factor_enabled: number.is_multiple_of(7),
        public_metadata: format!("{{\"plan\":\"{}\",\"seats\":{}}}", ["free", "pro", "team"][number % 3], number % 50),
        unsafe_metadata: if number.is_multiple_of(6) {
            "{\"theme\":\"dark \\\"ish\\\"\"}".to_owned()
        } else {
            "{}".to_owned()
        },
        created_at,
        updated_at,
        last_sign_in_at: last_active_at.map(|at| (at - model.random.random_range(0..3 * DAY)).max(created_at)),
        last_active_at,
    }
}

/// Draws the time of the last activity; `None` for the 8% of users who were never active.
///
/// Recent days are more likely. Most times are midnight, as in Clerk; some are not.
fn last_active(model: &mut Model, created_at: i64, now: i64) -> Option<i64> {
    if model.random.random_bool(0.08) {
        return None;
    }
    let back: f64 = model.random.random_range(0.0..1.0);
    let days = if model.random.random_bool(0.6) {
        back * back * 30.0
    } else {
        30.0 + back * (f64::from(model.activity_days) - 30.0).max(0.0)
    };
    #[expect(clippy::cast_possible_truncation, reason = "whole days")]
    let day = (now.div_euclid(DAY) - days as i64).max(created_at.div_euclid(DAY));
    let time_of_day = if model.random.random_bool(0.8) { 0 } else { model.random.random_range(0..DAY) };
    Some((day * DAY + time_of_day).min(now))
}

fn emails(model: &mut Model, number: usize, _created_at: i64) -> (Vec<EmailAddress>, Option<String>) {
    let address = |id: String, at: String, verification| EmailAddress { id, address: at, verification };
    let main = model.id("idn_");
    let at = format!("person{number}@mail.example");
    match number % 20 {
        3 => (Vec::new(), None),
        5 => (vec![address(main, at, Some("verified"))], Some(model.id("idn_"))),
        7 => (vec![address(main.clone(), at, Some("unverified"))], Some(main)),
        11 => (vec![address(main.clone(), at, None)], Some(main)),
        13 => (vec![address(main, at, Some("verified"))], None),
        _ if number.is_multiple_of(8) => {
            let other = address(model.id("idn_"), format!("other{number}@mail.example"), Some("verified"));
            (vec![other, address(main.clone(), at, Some("verified"))], Some(main))
        }
        _ => (vec![address(main.clone(), at, Some("verified"))], Some(main)),
    }
}

fn phones(model: &mut Model, number: usize) -> Vec<PhoneNumber> {
    if number.is_multiple_of(9) {
        vec![PhoneNumber { id: model.id("idn_"), number: format!("+1555{number:07}") }]
    } else {
        Vec::new()
    }
}

fn accounts(model: &mut Model, number: usize) -> Vec<ExternalAccount> {
    let count = [0, 1, 1, 0, 2][number % 5];
    (0..count).map(|n| ExternalAccount { id: model.id("eac_"), provider: PROVIDERS[(number + n) % 4] }).collect()
}

/// Adds one to three sessions of a user, the newest from about the last activity. Users without activity have none.
fn sessions(model: &mut Model, user: &User) {
    let Some(last_active_at) = user.last_active_at else { return };
    let now = model.now;
    let count = model.random.random_range(1..=3);
    for number in 0..count {
        let started_at =
            (last_active_at - i64::from(number) * 20 * DAY - model.random.random_range(0..DAY)).max(user.created_at);
        let active = (started_at + model.random.random_range(0..5 * DAY)).min(last_active_at.max(started_at));
        let status = STATUSES[model.random.random_range(0..STATUSES.len())].to_owned();
        let session = Session {
            id: model.id("sess_"),
            user_id: user.id.clone(),
            client_id: model.id("client_"),
            actor: model
                .random
                .random_bool(0.02)
                .then(|| "{\"sub\":\"user_support\",\"iss\":\"https://support.example\"}".to_owned()),
            has_activity: model.random.random_bool(0.9),
            last_active_organization_id: None,
            status,
            created_at: started_at,
            updated_at: active,
            last_active_at: active,
            expire_at: if number == 0 { now + 7 * DAY } else { started_at + 7 * DAY },
            abandon_at: started_at + 30 * DAY,
            device: None,
        };
        model.insert_session(session);
    }
}

fn organization(model: &mut Model, number: usize, users: &[String]) -> Organization {
    let created_at = model.now - model.random.random_range(DAY..=HISTORY);
    let updated_at = model.random.random_range(created_at..=model.now);
    let owner = (!users.is_empty()).then(|| users[model.random.random_range(0..users.len())].clone());
    Organization {
        id: model.id("org_"),
        name: format!("{} & Partners № {number}", LAST[number % LAST.len()]),
        slug: format!("organization-{number}"),
        created_by: owner,
        pending_invitations_count: model.random.random_range(0..4),
        max_allowed_memberships: [0, 5, 50][number % 3],
        created_at,
        updated_at,
        last_active_at: updated_at,
    }
}
