//! Kinds of changes, and the settings for changes between list requests.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A kind of change.
///
/// Settings are roles, permissions, role sets, enterprise connections, directories, OAuth applications, machines,
/// domains, allowed and blocked identifiers, plans and prices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the names say what happens")]
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
    SignIn,
    UseSession,
    EndSession,
    CleanUpSession,
    ChangeRole,
    CreateInvitation,
    SettleInvitation,
    InviteMember,
    SettleOrganizationInvitation,
    JoinWaitlist,
    SettleWaitlistEntry,
    LeaveWaitlist,
    AddOrganizationDomain,
    VerifyOrganizationDomain,
    RemoveOrganizationDomain,
    StartSubscription,
    ChangeSubscription,
    CreateStatement,
    AttemptPayment,
    AddSetting,
    ChangeSetting,
    RemoveSetting,
}

impl ChangeKind {
    /// Every kind.
    pub const ALL: [Self; 34] = [
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
        Self::SignIn,
        Self::UseSession,
        Self::EndSession,
        Self::CleanUpSession,
        Self::ChangeRole,
        Self::CreateInvitation,
        Self::SettleInvitation,
        Self::InviteMember,
        Self::SettleOrganizationInvitation,
        Self::JoinWaitlist,
        Self::SettleWaitlistEntry,
        Self::LeaveWaitlist,
        Self::AddOrganizationDomain,
        Self::VerifyOrganizationDomain,
        Self::RemoveOrganizationDomain,
        Self::StartSubscription,
        Self::ChangeSubscription,
        Self::CreateStatement,
        Self::AttemptPayment,
        Self::AddSetting,
        Self::ChangeSetting,
        Self::RemoveSetting,
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
        serde_json::from_value(text.into()).map_err(|_| format!("unknown change kind {text:?}"))
    }
}

/// Random changes made between list requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    /// The changes are made before every n-th list request; 0 for never.
    pub every: u64,
    /// Number of changes each time.
    pub per_step: usize,
    /// Kinds of changes to draw from.
    pub kinds: Vec<ChangeKind>,
    /// Maximum total number of changes; `None` for no maximum.
    #[serde(default)]
    pub most: Option<u64>,
}
