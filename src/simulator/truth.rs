//! The true counts and metrics of the instance, which tests compare with the lake.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate};
use serde::Serialize;

use super::list::List;
use super::model::{DAY, Model};

/// Counts and metrics of the instance at one time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Truth {
    /// The server's clock, Unix milliseconds.
    pub now_ms: i64,
    /// Number of users.
    pub users: usize,
    /// Number of users who are not banned.
    pub users_not_banned: usize,
    /// Number of organizations.
    pub organizations: usize,
    /// Number of memberships.
    pub memberships: usize,
    /// Number of sessions that the API lists.
    pub sessions: usize,
    /// Number of sessions that are active and have not expired.
    pub active_sessions: usize,
    /// Number of rows by list, with those that lists show on request only.
    pub rows: BTreeMap<&'static str, usize>,
    /// Number of members by organization id. Organizations without members are not in it.
    pub members_by_organization: BTreeMap<String, usize>,
    /// Number of memberships by role.
    pub memberships_by_role: BTreeMap<String, usize>,
    /// Number of invitations by status.
    pub invitations_by_status: BTreeMap<String, usize>,
    /// Number of organization invitations by status.
    pub organization_invitations_by_status: BTreeMap<String, usize>,
    /// Number of active subscription items by plan id.
    pub active_subscription_items_by_plan: BTreeMap<String, usize>,
    /// For each of the last days, oldest first: the number of users whose last activity was on that day.
    pub daily_active_users: Vec<(NaiveDate, i64)>,
    /// For each of the last days, oldest first: the number of users active on that day, including deleted users.
    pub active_users: Vec<(NaiveDate, i64)>,
}

impl Truth {
    /// Computes the values from `model`. The daily metrics cover the last `lookback_days` days, including today.
    #[must_use]
    pub fn of(model: &Model, lookback_days: u32) -> Self {
        let today = model.now().div_euclid(DAY);
        let on_day = |day: i64| {
            let active = model.users.iter().filter_map(|user| user.last_active_at);
            i64::try_from(active.filter(|at| at.div_euclid(DAY) == day).count()).unwrap_or(0)
        };
        let mut active_on: BTreeMap<i64, i64> = BTreeMap::new();
        for day in model.users_ever().into_iter().flat_map(|user| model.active_days(user)) {
            *active_on.entry(day).or_default() += 1;
        }
        let days = || (0..i64::from(lookback_days)).rev().map(move |ago| today - ago);
        let date = |day: i64| DateTime::from_timestamp_millis(day * DAY).unwrap_or_default().date_naive();
        let active = |status: &str, expire_at: i64| status == "active" && expire_at > model.now();
        Self {
            now_ms: model.now(),
            users: model.users.len(),
            users_not_banned: model.users.iter().filter(|user| !user.banned).count(),
            organizations: model.organizations.len(),
            memberships: model.memberships.len(),
            sessions: model.sessions.len(),
            active_sessions: model.sessions.iter().filter(|it| active(&it.status, it.expire_at)).count(),
            rows: List::ALL.iter().map(|list| (list.name(), row_count(model, *list))).collect(),
            members_by_organization: counted(model.memberships.iter().map(|it| &it.organization_id)),
            memberships_by_role: counted(model.memberships.iter().map(|it| &it.role)),
            invitations_by_status: counted(model.rows(List::Invitations).iter().map(|row| row.text("status"))),
            organization_invitations_by_status: counted(
                model.rows(List::OrganizationInvitations).iter().map(|row| row.text("status")),
            ),
            active_subscription_items_by_plan: counted(
                model
                    .rows(List::SubscriptionItems)
                    .iter()
                    .filter(|row| row.text("status") == "active")
                    .map(|row| row.text("plan_id")),
            ),
            daily_active_users: days().map(|day| (date(day), on_day(day))).collect(),
            active_users: days().map(|day| (date(day), active_on.get(&day).copied().unwrap_or_default())).collect(),
        }
    }
}

/// Returns the number of rows of a list.
fn row_count(model: &Model, list: List) -> usize {
    match list {
        List::Users => model.users.len(),
        List::Sessions => model.sessions.len(),
        List::Organizations => model.organizations.len(),
        List::Memberships => model.memberships.len(),
        List::Instance => 1,
        _ => model.rows(list).len(),
    }
}

/// Counts equal texts.
fn counted(texts: impl Iterator<Item = impl AsRef<str>>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for text in texts {
        *counts.entry(text.as_ref().to_owned()).or_default() += 1;
    }
    counts
}
