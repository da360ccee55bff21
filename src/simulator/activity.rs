//! The true activity: the days on which each user was active, even if Clerk no longer shows them.
//!
//! The visible days are those of the user's `last_active_at` and of the user's own sessions. Before a change hides some
//! of them, [`Model`] records them.

use std::collections::BTreeSet;

use super::device::Device;
use super::model::{DAY, Model, Session};

/// Cities and countries of session activity.
const PLACES: [(&str, &str); 7] = [
    ("Aarhus", "DK"),
    ("Berlin", "DE"),
    ("Chicago", "US"),
    ("Kraków", "PL"),
    ("New York", "US"),
    ("São Paulo", "BR"),
    ("Zürich", "CH"),
];

impl Session {
    /// Returns the device and browser of the latest activity.
    #[must_use]
    pub fn device(&self) -> Device {
        let is_mobile = self.id.ends_with(|last: char| last.is_ascii_digit());
        let (device_type, browser) = if is_mobile { ("iPhone", "Mobile Safari") } else { ("Macintosh", "Firefox") };
        self.device.unwrap_or(Device { device_type, is_mobile, browser })
    }

    /// Returns the city and country of the latest activity.
    #[must_use]
    pub fn place(&self) -> (&'static str, &'static str) {
        PLACES[usize::try_from(self.created_at.unsigned_abs()).unwrap_or(0) % PLACES.len()]
    }
}

impl Model {
    /// Returns the UTC days on which a user was active, counted from 1970-01-01, visible or not.
    ///
    /// Impersonated sessions do not count. The days of a deleted user remain.
    #[must_use]
    pub fn active_days(&self, user: &str) -> BTreeSet<i64> {
        let mut days = self.hidden_days.get(user).cloned().unwrap_or_default();
        days.extend(self.visible_days(user));
        days
    }

    /// Returns the ids of all users that exist or have ever been active.
    #[must_use]
    pub fn users_ever(&self) -> BTreeSet<&str> {
        let existing = self.users.iter().map(|user| user.id.as_str());
        let with_sessions = self.sessions_of.keys().map(String::as_str);
        existing.chain(with_sessions).chain(self.hidden_days.keys().map(String::as_str)).collect()
    }

    /// Records the visible days of a user. Call this before a change that hides some of them.
    pub(super) fn record_visible_days(&mut self, user: &str) {
        let days = self.visible_days(user);
        if !days.is_empty() {
            self.hidden_days.entry(user.to_owned()).or_default().extend(days);
        }
    }

    /// Returns the days that the user's row and own sessions show.
    fn visible_days(&self, user: &str) -> BTreeSet<i64> {
        let last = self.users.get(user).and_then(|user| user.last_active_at);
        let sessions = self.sessions_of.get(user).into_iter().flatten().filter_map(|id| self.sessions.get(id));
        let own = sessions.filter(|session: &&Session| session.actor.is_none());
        let times = own.flat_map(|session| [session.created_at, session.last_active_at]);
        last.into_iter().chain(times).map(|at| at.div_euclid(DAY)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::ChangeKind;

    const NOON: i64 = 20_000 * DAY + DAY / 2;

    #[test]
    fn active_days_remain_after_a_return_a_session_clean_up_and_a_deletion() {
        let mut model = Model::new(1, NOON);
        model.change(ChangeKind::CreateUser);
        let user = model.users.iter().next().map(|user| user.id.clone()).unwrap();
        for days in [1, 3] {
            model.now = NOON + days * DAY;
            model.record_activity(&user);
        }
        model.now = NOON + 4 * DAY;
        model.impersonate(&user);
        let active = BTreeSet::from([20_000, 20_001, 20_003]);
        assert_eq!(model.active_days(&user), active);
        for session in model.sessions_of[&user].clone() {
            model.clean_up_session(&session);
        }
        assert_eq!(model.active_days(&user), active);
        model.delete_user(&user);
        assert_eq!(model.active_days(&user), active);
        assert_eq!(model.users_ever(), BTreeSet::from([user.as_str()]));
    }
}
