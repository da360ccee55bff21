//! What changes while somebody is reading.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::generate;
use super::model::Model;

/// A kind of change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "each says what happens")]
pub enum ChangeKind {
    CreateUser,
    ImportUser,
    UpdateProfile,
    ChangeEmail,
    Ban,
    DeleteUser,
    Activity,
    CreateOrganization,
    RenameOrganization,
    DeleteOrganization,
    AddMember,
    RemoveMember,
    EndSession,
    CleanUpSession,
}

impl ChangeKind {
    /// Every kind.
    pub const ALL: [Self; 14] = [
        Self::CreateUser,
        Self::ImportUser,
        Self::UpdateProfile,
        Self::ChangeEmail,
        Self::Ban,
        Self::DeleteUser,
        Self::Activity,
        Self::CreateOrganization,
        Self::RenameOrganization,
        Self::DeleteOrganization,
        Self::AddMember,
        Self::RemoveMember,
        Self::EndSession,
        Self::CleanUpSession,
    ];
}

impl fmt::Display for ChangeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = serde_json::to_value(self).ok();
        f.write_str(name.as_ref().and_then(serde_json::Value::as_str).unwrap_or_default())
    }
}

impl FromStr for ChangeKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        serde_json::from_value(text.into()).map_err(|_| format!("no change is called {text:?}"))
    }
}

/// Changes that happen between two pages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    /// Before every n-th list request.
    pub every: u64,
    /// How many at a time.
    pub per_step: usize,
    /// The kinds to draw from.
    pub kinds: Vec<ChangeKind>,
    /// So many changes, and no more; none for as many as there are lists.
    #[serde(default)]
    pub most: Option<u64>,
}

impl Model {
    /// Makes one change of this kind to something drawn at random; nothing where there is nothing to change.
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
            ChangeKind::EndSession => self.on_session(|model, id| model.end_session(id, "ended")),
            ChangeKind::CleanUpSession => self.on_session(Self::clean_up_session),
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

    fn on_session(&mut self, act: impl FnOnce(&mut Self, &str)) {
        if let Some(id) = self.sessions.draw(&mut self.random).map(|session| session.id.clone()) {
            act(self, &id);
        }
    }
}
