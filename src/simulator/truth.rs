//! What a perfect reader would know: for tests to compare with.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate};
use serde::Serialize;

use super::model::{DAY, Model};

/// Counts and figures of the instance as it is now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Truth {
    /// The server's clock, Unix milliseconds.
    pub now_ms: i64,
    /// How many users there are.
    pub users: usize,
    /// How many of them are not banned.
    pub users_not_banned: usize,
    /// How many organizations there are.
    pub organizations: usize,
    /// How many memberships there are.
    pub memberships: usize,
    /// How many sessions Clerk shows.
    pub sessions: usize,
    /// How many of them are active and not past their expiry.
    pub active_sessions: usize,
    /// The last days, oldest first, with the users whose last activity fell on each.
    pub daily_active_users: Vec<(NaiveDate, i64)>,
    /// The last days, oldest first, with the users who were active on each, deleted ones included.
    pub active_users: Vec<(NaiveDate, i64)>,
}

impl Truth {
    /// The truth about `model`, with the daily active users of the last `lookback_days`, today included.
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
            daily_active_users: days().map(|day| (date(day), on_day(day))).collect(),
            active_users: days().map(|day| (date(day), active_on.get(&day).copied().unwrap_or_default())).collect(),
        }
    }
}
