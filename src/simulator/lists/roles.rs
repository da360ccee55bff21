//! `GET /v1/organization_permissions`, `/v1/organization_roles` and `/v1/role_sets`: what members may do.

use rand::RngExt;
use serde_json::{Map, Value, json};

use super::context::ListContext;
use super::draw;
use super::spec::{ListSpec, field, matches_query};
use crate::simulator::list::List;
use crate::simulator::model::{Model, StoredRow};
use crate::simulator::organizations::{ADMIN, MEMBER};

const SYSTEM: [(&str, &str); 6] = [
    ("org:sys_profile:manage", "Manage organization"),
    ("org:sys_profile:delete", "Delete organization"),
    ("org:sys_memberships:read", "Read members"),
    ("org:sys_memberships:manage", "Manage members"),
    ("org:sys_domains:read", "Read domains"),
    ("org:sys_domains:manage", "Manage domains"),
];

pub(super) static PERMISSIONS: ListSpec = ListSpec {
    orders: &["created_at", "name", "key"],
    filters: &["query"],
    matches: |context, row| matches_query(context, row, &["name", "key"]),
    usual_count: |_, _| 8,
    create: |model, at, number| Some(create_permission(model, at, number)),
    change: |model, id| draw::rename(model, List::OrganizationPermissions, id),
    ..ListSpec::new(List::OrganizationPermissions, "/v1/organization_permissions")
};

pub(super) static ROLES: ListSpec = ListSpec {
    orders: &["created_at", "name", "key"],
    filters: &["query"],
    matches: |context, row| matches_query(context, row, &["name", "key"]),
    complete: |context, row, out| {
        let permissions = row.parts.iter().filter_map(|id| context.model.rows(List::OrganizationPermissions).get(id));
        field(out, "permissions", permissions.map(|row| &row.fields).collect::<Vec<_>>());
    },
    usual_count: |_, _| 4,
    create: |model, at, number| Some(create_role(model, at, number)),
    change: change_role,
    removed: |model, row| reassign(model, row.text("key")),
    ..ListSpec::new(List::OrganizationRoles, "/v1/organization_roles")
};

pub(super) static ROLE_SETS: ListSpec = ListSpec {
    orders: &["created_at", "name", "key"],
    filters: &["query"],
    matches: |context, row| matches_query(context, row, &["name", "key"]),
    complete: complete_role_set,
    usual_count: |_, _| 2,
    create: |model, at, number| Some(create_role_set(model, at, number)),
    change: |model, id| draw::rename(model, List::RoleSets, id),
    ..ListSpec::new(List::RoleSets, "/v1/role_sets")
};

fn create_permission(model: &mut Model, at: i64, number: usize) -> StoredRow {
    let (key, name, kind) = if let Some((key, name)) = SYSTEM.get(number) {
        ((*key).to_owned(), (*name).to_owned(), "system")
    } else {
        let key = unused_key(model, List::OrganizationPermissions, "org:feature", ":use");
        (key, format!("Use feature {number}"), "user")
    };
    let id = model.id("perm_");
    let fields = json!({
        "object": "permission", "description": format!("{name} in this organization"), "name": name, "key": key,
        "type": kind,
    });
    StoredRow::with_times(id, at, fields)
}

/// Returns a key that no row of a list has.
fn unused_key(model: &mut Model, list: List, before: &str, after: &str) -> String {
    let mut number = model.rows(list).len();
    loop {
        let key = format!("{before}_{number}{after}");
        if model.rows(list).iter().all(|row| row.text("key") != key) {
            return key;
        }
        number += 1;
    }
}

fn create_role(model: &mut Model, at: i64, number: usize) -> StoredRow {
    let (key, name) = match number {
        0 => (ADMIN.to_owned(), "Admin".to_owned()),
        1 => (MEMBER.to_owned(), "Member".to_owned()),
        _ => (unused_key(model, List::OrganizationRoles, "org:role", ""), format!("Role {number}")),
    };
    let permissions: Vec<String> = model.rows(List::OrganizationPermissions).iter().map(|it| it.id.clone()).collect();
    let parts = permissions.into_iter().filter(|_| number == 0 || model.random.random_bool(0.4)).collect();
    let id = model.id("role_");
    let description = (!number.is_multiple_of(3)).then(|| format!("Members with the role {name}"));
    let fields = json!({
        "object": "role", "name": name, "key": key, "description": description, "is_creator_eligible": number == 0,
    });
    StoredRow { parts, ..StoredRow::with_times(id, at, fields) }
}

/// Grants a role a permission, or takes it away.
fn change_role(model: &mut Model, id: &str) -> bool {
    let Some(permission) = model.draw_row(List::OrganizationPermissions) else { return false };
    draw::update(model, List::OrganizationRoles, id, |row| {
        if row.parts.contains(&permission) {
            row.parts.retain(|other| *other != permission);
        } else {
            row.parts.push(permission);
        }
    })
}

/// Gives the members with a role that no longer exists the role of other members.
fn reassign(model: &mut Model, role: &str) {
    if role == MEMBER {
        return;
    }
    let with_role = model.memberships.iter().filter(|it| it.role == role).map(|it| it.id.clone());
    for membership in with_role.collect::<Vec<_>>() {
        model.set_role(&membership, MEMBER);
    }
}

fn create_role_set(model: &mut Model, at: i64, number: usize) -> StoredRow {
    let key = match number {
        0 => "role_set:default".to_owned(),
        _ => unused_key(model, List::RoleSets, "role_set:custom", ""),
    };
    let roles: Vec<String> = model.rows(List::OrganizationRoles).iter().map(|it| it.id.clone()).collect();
    let parts = roles.into_iter().enumerate().filter(|(at, _)| number == 0 || *at < 2).map(|(_, id)| id).collect();
    let id = model.id("rset_");
    let description = number.is_multiple_of(2).then_some("The roles of most organizations");
    let fields = json!({
        "object": "role_set", "name": format!("Role set {number}"), "key": key, "description": description,
        "type": if number == 0 { "initial" } else { "custom" }, "role_set_migration": null,
    });
    StoredRow { parts, ..StoredRow::with_times(id, at, fields) }
}

fn complete_role_set(context: &ListContext<'_>, row: &StoredRow, out: &mut String) {
    let roles: Vec<&StoredRow> =
        row.parts.iter().filter_map(|id| context.model.rows(List::OrganizationRoles).get(id)).collect();
    let with_key = |key: &str| roles.iter().find(|role| role.text("key") == key).map(|role| role_set_item(role));
    field(out, "roles", roles.iter().map(|role| role_set_item(role)).collect::<Vec<_>>());
    field(out, "default_role", with_key(MEMBER));
    field(out, "creator_role", with_key(ADMIN));
}

fn role_set_item(role: &StoredRow) -> Map<String, Value> {
    let shown = ["id", "name", "key", "description", "created_at", "updated_at"];
    let fields = role.fields.iter().filter(|(name, _)| shown.contains(&name.as_str()));
    let mut item: Map<String, Value> = fields.map(|(name, value)| (name.clone(), value.clone())).collect();
    item.insert("object".to_owned(), "role_set_item".into());
    item.insert("members_count".to_owned(), Value::Null);
    item.insert("has_members".to_owned(), Value::Null);
    item
}
