//! Schedules when a user's sessions are read again: once in each period, at a time that depends on the user, so that
//! the requests are spread over the syncs of a period. No state is stored for this.

/// The part of a cycle that a sync covers: from the last sync's watermark (exclusive) to its own. Times are Unix
/// milliseconds.
#[derive(Clone, Copy, Debug)]
pub(in crate::sync) struct Cycle {
    /// The period of a user's turns in milliseconds, greater than zero.
    pub period: i64,
    pub from: i64,
    pub until: i64,
}

impl Cycle {
    /// If the user's turn came since the last sync, returns the time since which activity may be unread. `None` if it
    /// is not the user's turn.
    ///
    /// Each user has a fixed time within the period. An exception is a user who signed in lately: the sessions were
    /// read then, so the first two turns come one and two periods after that.
    pub(in crate::sync) fn unread_since(self, user: &str, newest_session: Option<i64>) -> Option<i64> {
        let newest = newest_session.filter(|newest| *newest <= self.until);
        let (last, before) = match newest {
            Some(newest) if self.until < newest + self.period => return None,
            Some(newest) if self.until < newest + 2 * self.period => (newest + self.period, newest),
            Some(newest) => {
                let (second, regular) = (newest + 2 * self.period, self.regular_turn(user));
                if regular > second {
                    (regular, (regular - self.period).max(second))
                } else {
                    (second, second - self.period)
                }
            }
            None => (self.regular_turn(user), self.regular_turn(user) - self.period),
        };
        // After a longer pause, more than one turn has been missed.
        (last > self.from).then(|| if before <= self.from { before } else { self.from - self.period })
    }

    /// Returns the user's last regular turn before the end.
    fn regular_turn(self, user: &str) -> i64 {
        let own = i64::try_from(hash(user) % self.period.unsigned_abs()).unwrap_or(0);
        self.until - (self.until - own).rem_euclid(self.period)
    }
}

/// Returns an FNV-1a hash with its bits mixed, because ids of one instance share a prefix. Do not change it: another
/// hash would move every user's turn.
fn hash(text: &str) -> u64 {
    let fnv = text
        .bytes()
        .fold(0xCBF2_9CE4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3));
    (fnv ^ (fnv >> 32)).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 16
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;
    const DAY: i64 = 24 * HOUR;

    fn hourly(hours: std::ops::Range<i64>) -> impl Iterator<Item = Cycle> {
        hours.map(|hour| Cycle { period: DAY, from: (hour - 1) * HOUR, until: hour * HOUR })
    }

    #[test]
    fn each_user_has_one_turn_per_period_and_turns_are_spread_evenly() {
        let mut turns = vec![0; 48];
        for number in 0..4800 {
            let user = format!("user_{number:05}");
            let own: Vec<bool> = hourly(1000..1048).map(|cycle| cycle.unread_since(&user, None).is_some()).collect();
            assert_eq!(own[..24].iter().filter(|turn| **turn).count(), 1, "{user}");
            assert_eq!(own[..24], own[24..], "{user}");
            for (hour, _) in own.iter().enumerate().filter(|(_, turn)| **turn) {
                turns[hour] += 1;
            }
        }
        assert!(turns.iter().all(|turns| (140..260).contains(turns)), "{turns:?}");
    }

    #[test]
    fn no_user_waits_longer_than_a_period_for_the_next_turn() {
        for (number, newest) in [(1, None), (2, Some(1000 * HOUR + 7)), (3, Some(990 * HOUR)), (4, Some(HOUR))] {
            let user = format!("user_{number}");
            let mut last_read = newest.filter(|newest| *newest > 990 * HOUR).unwrap_or(1000 * HOUR);
            for cycle in hourly(1001..1200) {
                if let Some(unread_since) = cycle.unread_since(&user, newest) {
                    assert!(cycle.until - last_read <= DAY + HOUR, "{user}: {} h", (cycle.until - last_read) / HOUR);
                    assert!(unread_since <= last_read || last_read == 1000 * HOUR, "{user}");
                    last_read = cycle.until;
                }
            }
            assert!(last_read > 1175 * HOUR, "{user}");
        }
    }

    #[test]
    fn after_a_pause_every_user_is_due_for_the_whole_pause() {
        let cycle = Cycle { period: DAY, from: 1000 * HOUR, until: 1100 * HOUR };
        for number in 0..100 {
            let unread_since = cycle.unread_since(&format!("user_{number}"), None).expect("a turn");
            assert!(unread_since <= cycle.from, "{number}");
        }
        // A user who signed in meanwhile is read as a new one.
        assert_eq!(cycle.unread_since("user_1", Some(1099 * HOUR)), None);
    }
}
