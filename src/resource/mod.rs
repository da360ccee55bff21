//! Resources: the kinds of objects that Clerk lists, and the tables derived from them.
//!
//! There is one file per resource, and the registry [`ALL`]. A [`Resource`] is a value that says where the objects are
//! listed, how the list is read, and how a page becomes a record batch. Most resources are described by the list of the
//! fields to keep (`kept`); users, organizations and sessions have typed rows. To add a resource, add a file here and an
//! entry in [`ALL`] and [`TABLES`]. This module sends no requests and stores nothing.

mod billing;
mod connection;
mod daily_active_users;
mod instance;
pub mod json;
mod kept;
mod organization;
mod page;
mod reading;
mod rejected_row;
mod session;
mod sign_up;
mod time;
mod tombstone;
mod user;
mod user_activity;

use crate::table::TableSpec;
use json::RowFields;

pub use billing::{BILLING_PLANS, BILLING_PRICES, BILLING_STATEMENTS, PAYMENT_ATTEMPTS, SUBSCRIPTION_ITEMS};
pub use connection::{DIRECTORIES, ENTERPRISE_CONNECTIONS, MACHINES, OAUTH_APPLICATIONS};
pub use daily_active_users::DAILY_ACTIVE_USERS;
pub use instance::{DOMAINS, INSTANCE};
pub use organization::{
    MEMBERSHIPS, ORGANIZATION_DOMAINS, ORGANIZATION_INVITATIONS, ORGANIZATION_PERMISSIONS, ORGANIZATION_ROLES,
    ORGANIZATIONS, ROLE_SETS,
};
pub use page::{Decode, PageRows};
pub use reading::{
    CursorList, Derivation, FixedParameters, OffsetList, Paging, PerParentList, PerUserList, Reading, SingleObject,
};
pub use rejected_row::{REJECTED_ROWS, columns as rejected_columns};
pub use session::{GONE_AT, SESSIONS};
pub use sign_up::{ALLOWLIST_IDENTIFIERS, BLOCKLIST_IDENTIFIERS, INVITATIONS, WAITLIST_ENTRIES};
pub use tombstone::{DELETED_MEMBERSHIPS, DELETED_ORGANIZATIONS, DELETED_USERS, TOMBSTONES, Tombstones};
pub use user::{USER_LIST, USERS};
pub use user_activity::{ACTIVITY_DAYS, Activity, ActivityDay, USER_ACTIVITY, activity_columns, day_columns};

/// Every resource, in the order in which a sync runs them. A resource comes after those whose tables it reads.
pub static ALL: [&Resource; 26] = [
    &USERS,
    &ORGANIZATIONS,
    &SESSIONS,
    &DAILY_ACTIVE_USERS,
    &USER_ACTIVITY,
    &MEMBERSHIPS,
    &INVITATIONS,
    &ORGANIZATION_INVITATIONS,
    &WAITLIST_ENTRIES,
    &ORGANIZATION_DOMAINS,
    &ORGANIZATION_ROLES,
    &BILLING_PLANS,
    &SUBSCRIPTION_ITEMS,
    &ORGANIZATION_PERMISSIONS,
    &ROLE_SETS,
    &ENTERPRISE_CONNECTIONS,
    &OAUTH_APPLICATIONS,
    &DIRECTORIES,
    &MACHINES,
    &ALLOWLIST_IDENTIFIERS,
    &BLOCKLIST_IDENTIFIERS,
    &DOMAINS,
    &BILLING_PRICES,
    &BILLING_STATEMENTS,
    &PAYMENT_ATTEMPTS,
    &INSTANCE,
];

/// Every table of a lake: one per resource, [`ACTIVITY_DAYS`] (how complete the ledger is on each day), [`TOMBSTONES`],
/// and [`REJECTED_ROWS`].
pub static TABLES: [&TableSpec; 31] = [
    &USERS.table,
    &ORGANIZATIONS.table,
    &SESSIONS.table,
    &DAILY_ACTIVE_USERS.table,
    &USER_ACTIVITY.table,
    &ACTIVITY_DAYS,
    &MEMBERSHIPS.table,
    &INVITATIONS.table,
    &ORGANIZATION_INVITATIONS.table,
    &WAITLIST_ENTRIES.table,
    &ORGANIZATION_DOMAINS.table,
    &ORGANIZATION_ROLES.table,
    &BILLING_PLANS.table,
    &SUBSCRIPTION_ITEMS.table,
    &ORGANIZATION_PERMISSIONS.table,
    &ROLE_SETS.table,
    &ENTERPRISE_CONNECTIONS.table,
    &OAUTH_APPLICATIONS.table,
    &DIRECTORIES.table,
    &MACHINES.table,
    &ALLOWLIST_IDENTIFIERS.table,
    &BLOCKLIST_IDENTIFIERS.table,
    &DOMAINS.table,
    &BILLING_PRICES.table,
    &BILLING_STATEMENTS.table,
    &PAYMENT_ATTEMPTS.table,
    &INSTANCE.table,
    &DELETED_USERS.table,
    &DELETED_ORGANIZATIONS.table,
    &DELETED_MEMBERSHIPS.table,
    &REJECTED_ROWS,
];

/// The resources that the earlier version had, which read no others.
pub(crate) static EARLIER: [&Resource; 3] = [&USERS, &ORGANIZATIONS, &SESSIONS];

/// Returns the resources that a sync reads if none are selected, in the order of [`ALL`].
#[must_use]
pub fn defaults() -> Vec<&'static Resource> {
    ALL.into_iter().filter(|resource| resource.default).collect()
}

/// Returns whether the table has a watermark, that is, a time up to which it is complete.
///
/// [`REJECTED_ROWS`] and [`TOMBSTONES`] have none, because their rows are written by the syncs of other tables. A
/// watermark in the table of rejected rows was written by an earlier version of this program and means nothing.
#[must_use]
pub fn has_watermark(spec: &TableSpec) -> bool {
    let is_tombstones = TOMBSTONES.iter().any(|tombstones| tombstones.table.name == spec.name);
    spec.name != REJECTED_ROWS.name && !is_tombstones
}

/// A kind of object that Clerk lists, or a table derived from such objects.
#[derive(Debug)]
pub struct Resource {
    /// The resource's name, as given to `--resource`.
    pub name: &'static str,
    /// The table that holds the resource's rows.
    pub table: TableSpec,
    /// How the rows are obtained.
    pub reading: Reading,
    /// Whether a sync reads the resource if none are selected.
    pub default: bool,
    /// Returns the fields that are read of each of Clerk's objects; empty for a resource that Clerk does not list.
    pub(crate) fields: fn() -> RowFields,
}

impl Resource {
    /// Returns the resource called `name`, or `None` if there is none.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        ALL.into_iter().find(|resource| resource.name == name)
    }

    /// Returns the other tables that a sync of this resource reads.
    pub(crate) fn tables_read(&self) -> Vec<&'static TableSpec> {
        match self.reading {
            Reading::PerUser(_) | Reading::Derived(_) => vec![&USERS.table],
            Reading::PerParent(list) => vec![list.parents],
            Reading::Ledger => vec![&USERS.table, &SESSIONS.table, &ACTIVITY_DAYS],
            Reading::Cursor(_) | Reading::Offset(_) | Reading::Single(_) => Vec::new(),
        }
    }

    /// Returns the decoder of a page; `None` for a resource that Clerk does not list.
    #[must_use]
    pub fn decode(&self) -> Option<Decode> {
        match self.reading {
            Reading::Cursor(list) => Some(list.decode),
            Reading::Offset(list) => Some(list.decode),
            Reading::PerUser(list) => Some(list.decode),
            Reading::PerParent(list) => Some(list.decode),
            Reading::Single(object) => Some(object.decode),
            Reading::Derived(_) | Reading::Ledger => None,
        }
    }
}

#[cfg(test)]
mod contract;
