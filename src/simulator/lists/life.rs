//! The life of rows: how lists are filled, and how rows are added, changed and removed.

use std::collections::BTreeMap;

use rand::RngExt;

use super::{SPECS, draw, organization_invitation, spec_of};
use crate::simulator::change_kind::ChangeKind;
use crate::simulator::list::List;
use crate::simulator::model::{Membership, Model, StoredRow};
use crate::simulator::organizations::{ADMIN, MEMBER};

/// Maximum number of random draws to find a row that can change.
const MAX_DRAWS: usize = 20;

/// Lists that administrators edit.
pub(super) const SETTINGS: [List; 12] = [
    List::OrganizationPermissions,
    List::OrganizationRoles,
    List::RoleSets,
    List::EnterpriseConnections,
    List::Directories,
    List::OauthApplications,
    List::Machines,
    List::Domains,
    List::AllowlistIdentifiers,
    List::BlocklistIdentifiers,
    List::BillingPlans,
    List::BillingPrices,
];

/// Fills the lists. `counts` are numbers of rows; a list that it does not have gets a number that suits the numbers of
/// users and organizations.
pub(in crate::simulator) fn fill(model: &mut Model, counts: &BTreeMap<List, usize>) {
    organization_invitation::reset_pending(model);
    let (users, organizations) = (model.users.len(), model.organizations.len());
    for spec in SPECS {
        let count = counts.get(&spec.list).copied().unwrap_or_else(|| (spec.usual_count)(users, organizations));
        model.in_stream(spec.list.name(), |model| {
            if spec.list == List::Memberships {
                return add_memberships(model, count);
            }
            // A row that refers to another one may have to be drawn again.
            let attempts = count * 2;
            for _ in 0..attempts {
                let number = model.rows(spec.list).len();
                if number == count {
                    break;
                }
                let at = model.now - 1 - draw::age(model);
                if let Some(row) = (spec.create)(model, at, number) {
                    model.insert_row(spec.list, row);
                }
            }
        });
    }
    model.in_stream("custom_roles", assign_roles);
}

/// Adds members to random organizations until there are `count` memberships, if there are enough users.
fn add_memberships(model: &mut Model, count: usize) {
    let attempts = count.saturating_sub(model.memberships.len()) * 3;
    for _ in 0..attempts {
        if model.memberships.len() >= count {
            break;
        }
        let pair = draw::organization(model).zip(draw::user(model));
        let Some((organization, user)) = pair.filter(|(organization, user)| !model.is_member(organization, user))
        else {
            continue;
        };
        let since = [
            model.organizations.get(&organization).map(|it| it.created_at),
            model.users.get(&user).map(|it| it.created_at),
        ];
        let since = since.into_iter().flatten().max().unwrap_or(model.now).min(model.now);
        let created_at = model.random.random_range(since..=model.now);
        let id = model.id("orgmem_");
        model.insert_membership(Membership {
            id,
            organization_id: organization,
            user_id: user,
            role: MEMBER.to_owned(),
            created_at,
            updated_at: created_at,
        });
    }
}

/// Gives a tenth of the members a random role.
fn assign_roles(model: &mut Model) {
    let ids: Vec<String> = model.memberships.iter().map(|it| it.id.clone()).collect();
    for id in ids {
        if model.random.random_bool(0.1)
            && let Some(role) = draw_role(model)
            && let Some(membership) = model.memberships.get_mut(&id)
        {
            membership.role = role;
        }
    }
}

/// Returns whether Clerk does not allow to remove a row.
fn is_permanent(row: &StoredRow) -> bool {
    let has_type = |kind: &str| row.text("type") == kind;
    let is_primary = row.text("object") == "domain" && !row.flag("is_satellite");
    [ADMIN, MEMBER].contains(&row.text("key")) || has_type("system") || has_type("initial") || is_primary
}

fn draw_role(model: &mut Model) -> Option<String> {
    let role = model.draw_row(List::OrganizationRoles)?;
    model.rows(List::OrganizationRoles).get(&role).map(|role| role.text("key").to_owned())
}

impl Model {
    /// Adds a row to a list now and returns its id. `None` if the row needs another one that does not exist, and for
    /// users, sessions, organizations, memberships and the instance.
    pub fn add_row(&mut self, list: List) -> Option<String> {
        let spec = spec_of(list)?;
        self.in_stream(list.name(), |model| {
            let number = model.rows(list).len();
            let row = (spec.create)(model, model.now, number)?;
            let id = row.id.clone();
            model.insert_row(list, row);
            Some(id)
        })
    }

    /// Takes the next step in the life of a row now. Returns `false` if there is no such row or no such step.
    pub fn change_row(&mut self, list: List, id: &str) -> bool {
        let Some(spec) = spec_of(list) else { return false };
        self.in_stream(list.name(), |model| (spec.change)(model, id))
    }

    /// Takes the next step in the life of a random row. Returns its id; `None` if no drawn row has one.
    pub fn change_any_row(&mut self, list: List) -> Option<String> {
        (0..MAX_DRAWS).find_map(|_| {
            let id = self.in_stream(list.name(), |model| model.draw_row(list))?;
            self.change_row(list, &id).then_some(id)
        })
    }

    /// Removes a row, and what depends on it.
    pub fn remove_row(&mut self, list: List, id: &str) -> Option<StoredRow> {
        let row = self.rows_mut(list).remove(id)?;
        if let Some(spec) = spec_of(list) {
            (spec.removed)(self, &row);
        }
        Some(row)
    }

    /// Removes a random row and returns it. `None` if the drawn row cannot be removed, such as the role of admins.
    pub fn remove_any_row(&mut self, list: List) -> Option<StoredRow> {
        let id = self.in_stream(list.name(), |model| model.draw_row(list))?;
        let is_permanent = self.rows(list).get(&id).is_some_and(is_permanent);
        if is_permanent { None } else { self.remove_row(list, &id) }
    }

    /// Gives a random member a random role.
    pub(in crate::simulator) fn change_any_role(&mut self) {
        self.in_stream("change_role", |model| {
            let member = model.memberships.draw(&mut model.random).map(|it| it.id.clone());
            if let Some((member, role)) = member.zip(draw_role(model)) {
                model.set_role(&member, &role);
            }
        });
    }

    /// Draws a list that administrators edit.
    pub(in crate::simulator) fn draw_setting(&mut self) -> List {
        self.in_stream("settings", |model| draw::one_of(model, &SETTINGS))
    }

    /// Sets the status of all pending invitations that have expired by now.
    pub fn expire_invitations(&mut self) {
        let now = self.now;
        for list in [List::Invitations, List::OrganizationInvitations] {
            let is_due = |row: &&StoredRow| {
                row.text("status") == "pending" && row.integer("expires_at").is_some_and(|at| at <= now)
            };
            let due: Vec<String> = self.rows(list).iter().filter(is_due).map(|row| row.id.clone()).collect();
            for id in due {
                self.change_row(list, &id);
            }
        }
    }
}

/// Kinds of changes, each with its number per day and per 1000 users.
const DAILY: [(ChangeKind, f64); 19] = [
    (ChangeKind::RemoveMember, 0.4),
    (ChangeKind::ChangeRole, 0.5),
    (ChangeKind::CreateInvitation, 2.0),
    (ChangeKind::SettleInvitation, 1.5),
    (ChangeKind::InviteMember, 2.0),
    (ChangeKind::SettleOrganizationInvitation, 1.5),
    (ChangeKind::JoinWaitlist, 2.0),
    (ChangeKind::SettleWaitlistEntry, 2.0),
    (ChangeKind::LeaveWaitlist, 0.1),
    (ChangeKind::AddOrganizationDomain, 0.3),
    (ChangeKind::VerifyOrganizationDomain, 0.3),
    (ChangeKind::RemoveOrganizationDomain, 0.05),
    (ChangeKind::StartSubscription, 3.0),
    (ChangeKind::ChangeSubscription, 1.0),
    (ChangeKind::CreateStatement, 1.0),
    (ChangeKind::AttemptPayment, 1.0),
    (ChangeKind::AddSetting, 0.2),
    (ChangeKind::ChangeSetting, 0.2),
    (ChangeKind::RemoveSetting, 0.1),
];

/// Draws the changes of one day.
pub(in crate::simulator) fn daily_changes(model: &mut Model) -> Vec<ChangeKind> {
    #[expect(clippy::cast_precision_loss, reason = "an approximate number")]
    let thousands = model.users.len() as f64 / 1000.0;
    let mut changes = Vec::new();
    for (kind, rate) in DAILY {
        let mut expected = rate * thousands;
        while expected > 0.0 {
            if model.random.random_bool(expected.min(1.0)) {
                changes.push(kind);
            }
            expected -= 1.0;
        }
    }
    changes
}
