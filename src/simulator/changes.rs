//! Random changes to the model.

use super::change_kind::ChangeKind;
use super::generate;
use super::list::List;
use super::model::{Model, Session};

/// Maximum number of random draws to find an open session.
const MAX_DRAWS: usize = 20;

impl Model {
    /// Applies one change of this kind to a random object. Does nothing if there is no such object.
    pub fn change(&mut self, kind: ChangeKind) {
        match kind {
            ChangeKind::CreateUser => {
                generate::sign_up(self);
            }
            ChangeKind::ImportUser => {
                generate::import(self);
            }
            ChangeKind::UpdateProfile => self.on_user(Self::update_profile),
            ChangeKind::ChangeEmail => self.on_user(Self::change_email),
            ChangeKind::Ban => self.on_user(|model, id| {
                let banned = model.users.get(id).is_some_and(|user| user.banned);
                model.ban(id, !banned);
            }),
            ChangeKind::DeleteUser => self.on_user(Self::delete_user),
            ChangeKind::Activity => self.on_user(Self::record_activity),
            ChangeKind::CreateOrganization => {
                self.create_organization();
            }
            ChangeKind::RenameOrganization => self.on_organization(Self::rename_organization),
            ChangeKind::DeleteOrganization => self.on_organization(Self::delete_organization),
            ChangeKind::AddMember => self.on_organization(|model, organization| {
                model.on_user(|model, user| model.add_member(organization, user));
            }),
            ChangeKind::RemoveMember => {
                if let Some(id) = self.memberships.draw(&mut self.random).map(|it| it.id.clone()) {
                    self.remove_member(&id);
                }
            }
            ChangeKind::SignIn => self.on_user(Self::sign_in),
            ChangeKind::UseSession => self.on_open_session(Self::use_session),
            ChangeKind::EndSession => self.on_session(|model, id| model.end_session(id, "ended")),
            ChangeKind::CleanUpSession => self.on_session(Self::clean_up_session),
            ChangeKind::ChangeRole => self.change_any_role(),
            ChangeKind::AddSetting => {
                let list = self.draw_setting();
                self.add_row(list);
            }
            ChangeKind::ChangeSetting => {
                let list = self.draw_setting();
                self.change_any_row(list);
            }
            ChangeKind::RemoveSetting => {
                let list = self.draw_setting();
                self.remove_any_row(list);
            }
            _ => self.change_list(kind),
        }
    }

    /// Applies a change of a row of one list.
    fn change_list(&mut self, kind: ChangeKind) {
        let (added, changed, removed) = match kind {
            ChangeKind::CreateInvitation => (Some(List::Invitations), None, None),
            ChangeKind::SettleInvitation => (None, Some(List::Invitations), None),
            ChangeKind::InviteMember => (Some(List::OrganizationInvitations), None, None),
            ChangeKind::SettleOrganizationInvitation => (None, Some(List::OrganizationInvitations), None),
            ChangeKind::JoinWaitlist => (Some(List::WaitlistEntries), None, None),
            ChangeKind::SettleWaitlistEntry => (None, Some(List::WaitlistEntries), None),
            ChangeKind::LeaveWaitlist => (None, None, Some(List::WaitlistEntries)),
            ChangeKind::AddOrganizationDomain => (Some(List::OrganizationDomains), None, None),
            ChangeKind::VerifyOrganizationDomain => (None, Some(List::OrganizationDomains), None),
            ChangeKind::RemoveOrganizationDomain => (None, None, Some(List::OrganizationDomains)),
            ChangeKind::StartSubscription => (Some(List::SubscriptionItems), None, None),
            ChangeKind::ChangeSubscription => (None, Some(List::SubscriptionItems), None),
            ChangeKind::CreateStatement => (Some(List::BillingStatements), Some(List::BillingStatements), None),
            ChangeKind::AttemptPayment => (Some(List::PaymentAttempts), Some(List::PaymentAttempts), None),
            _ => (None, None, None),
        };
        if let Some(list) = changed {
            self.change_any_row(list);
        }
        if let Some(list) = added {
            self.add_row(list);
        }
        if let Some(list) = removed {
            self.remove_any_row(list);
        }
    }

    fn on_user(&mut self, act: impl FnOnce(&mut Self, &str)) {
        if let Some(id) = self.users.draw(&mut self.random).map(|user| user.id.clone()) {
            act(self, &id);
        }
    }

    fn on_organization(&mut self, act: impl FnOnce(&mut Self, &str)) {
        if let Some(id) = self.organizations.draw(&mut self.random).map(|organization| organization.id.clone()) {
            act(self, &id);
        }
    }

    fn on_open_session(&mut self, act: impl FnOnce(&mut Self, &str)) {
        let now = self.now();
        let is_open = |session: &&Session| session.status == "active" && session.expire_at > now;
        for _ in 0..MAX_DRAWS {
            if let Some(id) = self.sessions.draw(&mut self.random).filter(is_open).map(|session| session.id.clone()) {
                return act(self, &id);
            }
        }
    }

    fn on_session(&mut self, act: impl FnOnce(&mut Self, &str)) {
        if let Some(id) = self.sessions.draw(&mut self.random).map(|session| session.id.clone()) {
            act(self, &id);
        }
    }
}
