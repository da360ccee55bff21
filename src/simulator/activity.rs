//! The truth about activity: on which days each user was active, whatever Clerk shows of it later.
//!
//! What a user's last day of activity and the user's own sessions show has happened. Before a change hides some of
//! it, [`Model`] writes it down.

use std::collections::BTreeSet;

use super::model::{DAY, Model, Session};

impl Model {
    /// The UTC days, counted from 1970, on which a user was active, impersonation left out: those that are shown and
    /// those that no longer are. A user who was deleted keeps them.
    #[must_use]
    pub fn active_days(&self, user: &str) -> BTreeSet<i64> {
        let mut days = self.past.get(user).cloned().unwrap_or_default();
        days.extend(self.shown_days(user));
        days
    }

    /// The ids of all users that there are or have been active.
    #[must_use]
    pub fn users_ever(&self) -> BTreeSet<&str> {
        let there = self.users.iter().map(|user| user.id.as_str());
        there.chain(self.sessions_of.keys().map(String::as_str)).chain(self.past.keys().map(String::as_str)).collect()
    }

    /// Writes down what is shown of a user's activity, since something of it is about to be hidden.
    pub(super) fn note_past(&mut self, user: &str) {
        let days = self.shown_days(user);
        if !days.is_empty() {
            self.past.entry(user.to_owned()).or_default().extend(days);
        }
    }

    /// The days that the user's row and own sessions show.
    fn shown_days(&self, user: &str) -> BTreeSet<i64> {
        let last = self.users.get(user).and_then(|user| user.last_active_at);
        let sessions = self.sessions_of.get(user).into_iter().flatten().filter_map(|id| self.sessions.get(id));
        let own = sessions.filter(|session: &&Session| session.actor.is_none());
        let moments = own.flat_map(|session| [session.created_at, session.last_active_at]);
        last.into_iter().chain(moments).map(|at| at.div_euclid(DAY)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::ChangeKind;

    const NOON: i64 = 20_000 * DAY + DAY / 2;

    #[test]
    fn days_stay_when_users_come_back_lose_their_sessions_or_are_deleted() {
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
