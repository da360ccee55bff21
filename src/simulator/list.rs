//! The lists of the API by name, and how a list is refused when its feature is off.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A list of the API. The instance itself is a list of one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names are those of the paths")]
pub enum List {
    Users,
    Sessions,
    Organizations,
    Memberships,
    Invitations,
    OrganizationInvitations,
    WaitlistEntries,
    OrganizationDomains,
    OrganizationPermissions,
    OrganizationRoles,
    RoleSets,
    EnterpriseConnections,
    Directories,
    OauthApplications,
    Machines,
    AllowlistIdentifiers,
    BlocklistIdentifiers,
    Domains,
    BillingPlans,
    BillingPrices,
    SubscriptionItems,
    BillingStatements,
    PaymentAttempts,
    Instance,
}

impl List {
    /// Every list. A list comes after the lists that its rows refer to.
    pub const ALL: [Self; 24] = [
        Self::Users,
        Self::Sessions,
        Self::Organizations,
        Self::Memberships,
        Self::Invitations,
        Self::OrganizationInvitations,
        Self::WaitlistEntries,
        Self::OrganizationDomains,
        Self::OrganizationPermissions,
        Self::OrganizationRoles,
        Self::RoleSets,
        Self::EnterpriseConnections,
        Self::Directories,
        Self::OauthApplications,
        Self::Machines,
        Self::AllowlistIdentifiers,
        Self::BlocklistIdentifiers,
        Self::Domains,
        Self::BillingPlans,
        Self::BillingPrices,
        Self::SubscriptionItems,
        Self::BillingStatements,
        Self::PaymentAttempts,
        Self::Instance,
    ];

    /// Returns the name in snake case, such as `organization_roles`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Users => "users",
            Self::Sessions => "sessions",
            Self::Organizations => "organizations",
            Self::Memberships => "memberships",
            Self::Invitations => "invitations",
            Self::OrganizationInvitations => "organization_invitations",
            Self::WaitlistEntries => "waitlist_entries",
            Self::OrganizationDomains => "organization_domains",
            Self::OrganizationPermissions => "organization_permissions",
            Self::OrganizationRoles => "organization_roles",
            Self::RoleSets => "role_sets",
            Self::EnterpriseConnections => "enterprise_connections",
            Self::Directories => "directories",
            Self::OauthApplications => "oauth_applications",
            Self::Machines => "machines",
            Self::AllowlistIdentifiers => "allowlist_identifiers",
            Self::BlocklistIdentifiers => "blocklist_identifiers",
            Self::Domains => "domains",
            Self::BillingPlans => "billing_plans",
            Self::BillingPrices => "billing_prices",
            Self::SubscriptionItems => "subscription_items",
            Self::BillingStatements => "billing_statements",
            Self::PaymentAttempts => "payment_attempts",
            Self::Instance => "instance",
        }
    }
}

impl fmt::Display for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for List {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|list| list.name() == text).ok_or_else(|| format!("unknown list {text:?}"))
    }
}

/// The instance that the server simulates.
#[derive(Clone, Debug)]
pub(super) struct InstanceIdentity {
    pub id: String,
    pub environment_type: String,
}

/// The response to a list request if the feature is off, or if a gateway does not let the request through.
///
/// As text: `STATUS` for [`Self::NotEnabled`], `404` for [`Self::NotFound`], and `STATUS-feature`, `STATUS-text` or
/// `STATUS-html` for the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ListRefusal {
    /// Clerk's error body with a code that contains `not_enabled`.
    NotEnabled(u16),
    /// Clerk's error body with a code that begins with `feature_`.
    FeatureCode(u16),
    /// 404 with Clerk's error body and the code `resource_not_found`.
    NotFound,
    /// A plain text that is not Clerk's. It does not say that the feature is off.
    GatewayText(u16),
    /// An HTML page that is not Clerk's. It does not say that the feature is off.
    GatewayHtml(u16),
}

impl ListRefusal {
    /// Every response by which Clerk says that a feature is off.
    pub const OFF: [Self; 8] = [
        Self::NotEnabled(402),
        Self::NotEnabled(400),
        Self::NotEnabled(403),
        Self::NotEnabled(422),
        Self::FeatureCode(400),
        Self::FeatureCode(403),
        Self::FeatureCode(422),
        Self::NotFound,
    ];

    /// Responses of a gateway. They are failures.
    pub const GATEWAY: [Self; 4] =
        [Self::GatewayText(403), Self::GatewayHtml(404), Self::GatewayText(404), Self::GatewayHtml(403)];
}

impl fmt::Display for ListRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotEnabled(status) => write!(f, "{status}"),
            Self::FeatureCode(status) => write!(f, "{status}-feature"),
            Self::NotFound => f.write_str("404"),
            Self::GatewayText(status) => write!(f, "{status}-text"),
            Self::GatewayHtml(status) => write!(f, "{status}-html"),
        }
    }
}

impl FromStr for ListRefusal {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (status, suffix) = text.split_once('-').map_or((text, None), |(status, suffix)| (status, Some(suffix)));
        let status = status.parse().ok().filter(|status| (400..600).contains(status));
        match (status, suffix) {
            (Some(404), None) => Ok(Self::NotFound),
            (Some(status), None) => Ok(Self::NotEnabled(status)),
            (Some(status), Some("feature")) => Ok(Self::FeatureCode(status)),
            (Some(status), Some("text")) => Ok(Self::GatewayText(status)),
            (Some(status), Some("html")) => Ok(Self::GatewayHtml(status)),
            _ => Err(format!("unknown refusal {text:?}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn displayed_lists_and_refusals_parse_back() {
        for list in List::ALL {
            assert_eq!(list.to_string().parse(), Ok(list));
            assert_eq!(serde_json::to_value(list).unwrap(), list.name());
        }
        for refusal in ListRefusal::OFF.into_iter().chain(ListRefusal::GATEWAY) {
            assert_eq!(refusal.to_string().parse(), Ok(refusal));
        }
        for unknown in ["", "200", "404-", "x-text", "403-page"] {
            assert!(unknown.parse::<ListRefusal>().is_err(), "{unknown}");
        }
    }
}
