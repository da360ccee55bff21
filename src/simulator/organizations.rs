//! Changes of organizations and memberships, and what is deleted together with a user or an organization.

use rand::RngExt;

use super::list::List;
use super::model::{Membership, Model, Organization};

/// The role of an organization's first member.
pub(super) const ADMIN: &str = "org:admin";

/// The role of every other new member.
pub(super) const MEMBER: &str = "org:member";

impl Model {
    /// Creates an organization now and returns its id.
    pub fn create_organization(&mut self) -> String {
        let (id, now) = (self.id("org_"), self.now);
        let number = self.organizations.len();
        let organization = Organization {
            id: id.clone(),
            name: format!("Founded & Sons {number}"),
            slug: format!("founded-{number}-{}", id.to_lowercase()),
            created_by: None,
            pending_invitations_count: 0,
            max_allowed_memberships: 5,
            created_at: now,
            updated_at: now,
            last_active_at: now,
        };
        self.organizations.insert(now, &id, organization);
        id
    }

    /// Renames an organization.
    pub fn rename_organization(&mut self, id: &str) {
        let now = self.now;
        let number: u32 = self.random.random_range(0..100_000);
        if let Some(organization) = self.organizations.get_mut(id) {
            organization.name = format!("Renamed Organization {number}");
            organization.updated_at = now;
        }
    }

    /// Returns whether a user is a member of an organization.
    #[must_use]
    pub fn is_member(&self, organization: &str, user: &str) -> bool {
        self.member_pairs.contains(&(organization.to_owned(), user.to_owned()))
    }

    /// Adds a user to an organization now. The first member becomes an admin.
    ///
    /// Does nothing if either does not exist, or if the user is a member already.
    pub fn add_member(&mut self, organization: &str, user: &str) {
        if self.organizations.get(organization).is_none() || self.users.get(user).is_none() {
            return;
        }
        let (id, now) = (self.id("orgmem_"), self.now);
        if self.is_member(organization, user) {
            return;
        }
        let is_first = self.members.get(organization).is_none_or(|members| *members == 0);
        self.insert_membership(Membership {
            id,
            organization_id: organization.to_owned(),
            user_id: user.to_owned(),
            role: if is_first { ADMIN } else { MEMBER }.to_owned(),
            created_at: now,
            updated_at: now,
        });
    }

    /// Gives a member a role.
    pub fn set_role(&mut self, membership: &str, role: &str) {
        let now = self.now;
        if let Some(membership) = self.memberships.get_mut(membership).filter(|it| it.role != role) {
            role.clone_into(&mut membership.role);
            membership.updated_at = now;
        }
    }

    /// Removes a membership.
    pub fn remove_member(&mut self, id: &str) {
        if let Some(membership) = self.memberships.remove(id) {
            if let Some(members) = self.members.get_mut(&membership.organization_id) {
                *members -= 1;
            }
            self.member_pairs.remove(&(membership.organization_id, membership.user_id));
        }
    }

    /// Deletes a user together with the user's sessions and memberships. The user's subscription items end.
    pub fn delete_user(&mut self, id: &str) {
        self.record_visible_days(id);
        self.users.remove(id);
        for session in self.sessions_of.remove(id).unwrap_or_default() {
            self.sessions.remove(&session);
        }
        self.remove_members(|it| it.user_id == id);
        self.end_subscriptions(id);
    }

    /// Deletes an organization together with its memberships, invitations, domains and enterprise connections. Its
    /// subscription items end.
    pub fn delete_organization(&mut self, id: &str) {
        self.organizations.remove(id);
        self.remove_members(|it| it.organization_id == id);
        self.members.remove(id);
        for list in [List::OrganizationInvitations, List::OrganizationDomains, List::EnterpriseConnections] {
            let rows = self.rows(list).iter().filter(|row| row.text("organization_id") == id);
            for row in rows.map(|row| row.id.clone()).collect::<Vec<_>>() {
                self.remove_row(list, &row);
            }
        }
        self.end_subscriptions(id);
    }

    fn remove_members(&mut self, is_meant: impl Fn(&Membership) -> bool) {
        let memberships: Vec<_> = self.memberships.iter().filter(|it| is_meant(it)).map(|it| it.id.clone()).collect();
        for membership in memberships {
            self.remove_member(&membership);
        }
    }
}
