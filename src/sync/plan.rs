//! Plans what a sync does for one resource, before anything is read. Pure functions: nothing here sends requests or
//! writes.

use chrono::{DateTime, TimeDelta, Utc};

use super::options::Extent;
use crate::resource::{CursorList, Derivation, OffsetList, PerParentList, PerUserList, Reading, SingleObject};

/// The largest difference expected between the clocks of Clerk's servers.
pub(super) const MAX_CLOCK_SKEW: TimeDelta = TimeDelta::minutes(5);

/// What a sync does for one resource.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// Reads all rows of a list by cursor.
    AllByCursor(CursorList),
    /// Reads what changed since a time from a list by cursor.
    Changes(CursorList, DateTime<Utc>),
    /// Reads all rows of a list by offset.
    AllByOffset(OffsetList),
    /// Reads the sessions that may have changed since a time; without one, the sessions of all recently active users.
    Sessions(PerUserList, Option<DateTime<Utc>>),
    /// Reads one list for each row of another table that is due since a time; without one, for each row.
    PerParent(PerParentList, Option<DateTime<Utc>>),
    /// Reads a single object.
    Single(SingleObject),
    /// Runs a query and stores its result.
    Derive(Derivation),
    /// Adds to the activity ledger what may be new since a time; without one, everything.
    Ledger(Option<DateTime<Utc>>),
}

/// What is known of a table before its resource is read.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TableState {
    /// The table's watermark; `None` if the table has never been filled.
    pub(super) watermark: Option<DateTime<Utc>>,
    /// Whether a complete listing is staged whose commit was refused before and is allowed in this run.
    pub(super) has_refused_listing: bool,
}

/// The time at Clerk when the run started.
#[derive(Clone, Copy, Debug)]
pub(super) struct ServerTime {
    /// The watermark of this run's commits.
    pub(super) watermark: DateTime<Utc>,
    /// Whether the time comes from Clerk's own clock.
    pub(super) is_from_clerk: bool,
}

impl ServerTime {
    /// Returns whether `watermark` is later than Clerk's own clock by more than `MAX_CLOCK_SKEW`.
    pub(super) fn is_before(self, watermark: DateTime<Utc>) -> bool {
        self.is_from_clerk && watermark > self.watermark + MAX_CLOCK_SKEW
    }

    /// Returns the time since which changes are to be read; `None` if everything is.
    ///
    /// The result is never later than the watermark: a later time would skip the changes in between. A watermark in the
    /// future counts as no watermark.
    fn since(self, watermark: Option<DateTime<Utc>>, extent: Extent) -> Option<DateTime<Utc>> {
        let watermark = watermark.filter(|watermark| !self.is_before(*watermark))?.min(self.watermark);
        match extent {
            Extent::Full => None,
            Extent::Changes => Some(watermark),
            Extent::Since(since) => Some(since.min(watermark)),
        }
    }
}

/// Plans the step of a run with this `extent` for a resource with this `reading`.
pub(super) fn plan(reading: Reading, state: TableState, server_time: ServerTime, extent: Extent) -> Step {
    let since = server_time.since(state.watermark, extent);
    match reading {
        Reading::Cursor(list) => match since.filter(|_| !state.has_refused_listing) {
            Some(since) => Step::Changes(list, since),
            None => Step::AllByCursor(list),
        },
        Reading::Offset(list) => Step::AllByOffset(list),
        Reading::PerUser(list) => Step::Sessions(list, since),
        Reading::PerParent(list) => Step::PerParent(list, since),
        Reading::Single(object) => Step::Single(object),
        Reading::Derived(derivation) => Step::Derive(derivation),
        Reading::Ledger => Step::Ledger(since),
    }
}

/// Plans the step that follows the commit of a resumed listing: it reads what changed since the interrupted run started
/// the listing (`begun`). `None` if the resource is always read completely.
pub(super) fn catch_up(reading: Reading, begun: DateTime<Utc>) -> Option<Step> {
    match reading {
        Reading::Cursor(list) => Some(Step::Changes(list, begun)),
        Reading::PerUser(list) => Some(Step::Sessions(list, Some(begun))),
        Reading::Offset(_) | Reading::PerParent(_) | Reading::Single(_) | Reading::Derived(_) | Reading::Ledger => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::{self, ORGANIZATIONS, Resource, SESSIONS, USERS};

    fn at(minutes: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::days(20_000) + TimeDelta::minutes(minutes)
    }

    /// A run that starts at minute 0 by Clerk's clock.
    const NOW: fn() -> ServerTime = || ServerTime { watermark: at(0), is_from_clerk: true };

    fn complete_to(minutes: i64) -> TableState {
        TableState { watermark: Some(at(minutes)), has_refused_listing: false }
    }

    /// Returns a name for the step, and the minutes since when it reads.
    fn describe(step: Step) -> (&'static str, Option<i64>) {
        let minutes = |since: DateTime<Utc>| (since - at(0)).num_minutes();
        match step {
            Step::AllByCursor(_) => ("all by cursor", None),
            Step::Changes(_, since) => ("changes", Some(minutes(since))),
            Step::AllByOffset(_) => ("all by offset", None),
            Step::Sessions(_, since) => ("sessions", since.map(minutes)),
            Step::PerParent(_, since) => ("per parent", since.map(minutes)),
            Step::Single(_) => ("one object", None),
            Step::Derive(_) => ("query", None),
            Step::Ledger(since) => ("ledger", since.map(minutes)),
        }
    }

    #[test]
    fn users_are_synced_incrementally_once_there_is_a_watermark() {
        let refused = TableState { has_refused_listing: true, ..complete_to(-60) };
        let not_from_clerk = ServerTime { is_from_clerk: false, ..NOW() };
        for (state, server_time, extent, expected) in [
            (TableState::default(), NOW(), Extent::Changes, ("all by cursor", None)),
            (complete_to(-60), NOW(), Extent::Changes, ("changes", Some(-60))),
            (complete_to(-60), NOW(), Extent::Full, ("all by cursor", None)),
            (complete_to(-60), NOW(), Extent::Since(at(-90)), ("changes", Some(-90))),
            // A later time would skip 30 minutes of changes.
            (complete_to(-60), NOW(), Extent::Since(at(-30)), ("changes", Some(-60))),
            (TableState::default(), NOW(), Extent::Since(at(-30)), ("all by cursor", None)),
            (refused, NOW(), Extent::Changes, ("all by cursor", None)),
            // Clerk's servers differ by up to 5 minutes; more than that is a wrong clock.
            (complete_to(3), NOW(), Extent::Changes, ("changes", Some(0))),
            (complete_to(60), NOW(), Extent::Changes, ("all by cursor", None)),
            (complete_to(60), not_from_clerk, Extent::Changes, ("changes", Some(0))),
        ] {
            let step = plan(USERS.reading, state, server_time, extent);
            assert_eq!(describe(step), expected, "{state:?} {server_time:?} {extent:?}");
        }
    }

    #[test]
    fn each_resource_has_a_first_step_and_an_incremental_step() {
        let steps = |state| {
            let describe = |it: &Resource| describe(plan(it.reading, state, NOW(), Extent::Changes));
            resource::ALL.into_iter().take(6).map(describe).collect::<Vec<_>>()
        };
        assert_eq!(
            steps(TableState::default()),
            [
                ("all by cursor", None),
                ("all by offset", None),
                ("sessions", None),
                ("query", None),
                ("ledger", None),
                ("all by offset", None)
            ]
        );
        assert_eq!(
            steps(complete_to(-60)),
            [
                ("changes", Some(-60)),
                ("all by offset", None),
                ("sessions", Some(-60)),
                ("query", None),
                ("ledger", Some(-60)),
                ("all by offset", None)
            ]
        );
    }

    #[test]
    fn lists_of_parents_are_read_since_the_watermark() {
        let step = |state| describe(plan(resource::PAYMENT_ATTEMPTS.reading, state, NOW(), Extent::Changes));
        assert_eq!(step(TableState::default()), ("per parent", None));
        assert_eq!(step(complete_to(-60)), ("per parent", Some(-60)));
    }

    #[test]
    fn a_resumed_listing_is_followed_by_its_changes_unless_the_resource_is_read_completely() {
        let step = |reading| catch_up(reading, at(-10)).map(describe);
        assert_eq!(step(USERS.reading), Some(("changes", Some(-10))));
        assert_eq!(step(SESSIONS.reading), Some(("sessions", Some(-10))));
        assert_eq!(step(ORGANIZATIONS.reading), None);
    }
}
