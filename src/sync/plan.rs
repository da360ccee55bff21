//! What a sync does for one resource, decided before anything is read. Nothing in this file asks or writes.

use chrono::{DateTime, TimeDelta, Utc};

use super::options::Extent;
use crate::resource::{CursorList, Derivation, OffsetList, PerUserList, Reading};

/// How far the clocks of Clerk's servers may be apart.
pub(super) const CLOCKS_APART: TimeDelta = TimeDelta::minutes(5);

/// What a sync does for one resource.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// Reads all rows of a list by cursor.
    AllByCursor(CursorList),
    /// Reads what changed since a moment in a list by cursor.
    Changes(CursorList, DateTime<Utc>),
    /// Reads all rows of a list by offset.
    AllByOffset(OffsetList),
    /// Reads the sessions that may have changed since a moment; without one, those of all users active lately.
    Sessions(PerUserList, Option<DateTime<Utc>>),
    /// Asks a query.
    Derive(Derivation),
    /// Adds to the ledger what may be new since a moment; without one, everything.
    Ledger(Option<DateTime<Utc>>),
}

/// What is known of a table before its resource is read.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Known {
    /// Up to when it is complete; `None` if it has not been filled yet.
    pub(super) watermark: Option<DateTime<Utc>>,
    /// Whether a complete listing is staged whose commit was refused, and which this run may commit.
    pub(super) has_refused_listing: bool,
}

/// What time it is at Clerk.
#[derive(Clone, Copy, Debug)]
pub(super) struct Present {
    /// The moment up to which this run's rows will be complete.
    pub(super) watermark: DateTime<Utc>,
    /// Whether Clerk itself said what time it is.
    pub(super) is_dated: bool,
}

impl Present {
    /// Whether `watermark` is later than Clerk's own clock, by more than its servers' clocks may be apart.
    pub(super) fn is_before(self, watermark: DateTime<Utc>) -> bool {
        self.is_dated && watermark > self.watermark + CLOCKS_APART
    }

    /// From when on changes are to be read; `None` if everything is.
    ///
    /// A moment after the watermark would leave out what changed in between, so the watermark counts then. A watermark
    /// that lies in the future is no watermark.
    fn since(self, watermark: Option<DateTime<Utc>>, extent: Extent) -> Option<DateTime<Utc>> {
        let watermark = watermark.filter(|watermark| !self.is_before(*watermark))?.min(self.watermark);
        match extent {
            Extent::Full => None,
            Extent::Changes => Some(watermark),
            Extent::Since(since) => Some(since.min(watermark)),
        }
    }
}

/// What a run of this `extent` does for a resource that is read like this.
pub(super) fn plan(reading: Reading, known: Known, present: Present, extent: Extent) -> Step {
    let since = present.since(known.watermark, extent);
    match reading {
        Reading::Cursor(list) => match since.filter(|_| !known.has_refused_listing) {
            Some(since) => Step::Changes(list, since),
            None => Step::AllByCursor(list),
        },
        Reading::Offset(list) => Step::AllByOffset(list),
        Reading::PerUser(list) => Step::Sessions(list, since),
        Reading::Derived(derivation) => Step::Derive(derivation),
        Reading::Ledger => Step::Ledger(since),
    }
}

/// What is left to do after a run has committed rows that an interrupted run had begun to read at `begun`: to read what
/// changed since then. `None` if the resource is read whole anyway.
pub(super) fn catch_up(reading: Reading, begun: DateTime<Utc>) -> Option<Step> {
    match reading {
        Reading::Cursor(list) => Some(Step::Changes(list, begun)),
        Reading::PerUser(list) => Some(Step::Sessions(list, Some(begun))),
        Reading::Offset(_) | Reading::Derived(_) | Reading::Ledger => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::{self, ORGANIZATIONS, SESSIONS, USERS};

    fn at(minutes: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::days(20_000) + TimeDelta::minutes(minutes)
    }

    /// A run at minute 0 by Clerk's clock.
    const NOW: fn() -> Present = || Present { watermark: at(0), is_dated: true };

    fn complete_to(minutes: i64) -> Known {
        Known { watermark: Some(at(minutes)), has_refused_listing: false }
    }

    /// In one word what a step does, and since when (minutes).
    fn said(step: Step) -> (&'static str, Option<i64>) {
        let minutes = |since: DateTime<Utc>| (since - at(0)).num_minutes();
        match step {
            Step::AllByCursor(_) => ("all by cursor", None),
            Step::Changes(_, since) => ("changes", Some(minutes(since))),
            Step::AllByOffset(_) => ("all by offset", None),
            Step::Sessions(_, since) => ("sessions", since.map(minutes)),
            Step::Derive(_) => ("query", None),
            Step::Ledger(since) => ("ledger", since.map(minutes)),
        }
    }

    #[test]
    fn users_are_read_by_changes_once_there_is_a_watermark() {
        let refused = Known { has_refused_listing: true, ..complete_to(-60) };
        let undated = Present { is_dated: false, ..NOW() };
        for (known, present, extent, expected) in [
            (Known::default(), NOW(), Extent::Changes, ("all by cursor", None)),
            (complete_to(-60), NOW(), Extent::Changes, ("changes", Some(-60))),
            (complete_to(-60), NOW(), Extent::Full, ("all by cursor", None)),
            (complete_to(-60), NOW(), Extent::Since(at(-90)), ("changes", Some(-90))),
            // A later moment would leave out an hour.
            (complete_to(-60), NOW(), Extent::Since(at(-30)), ("changes", Some(-60))),
            (Known::default(), NOW(), Extent::Since(at(-30)), ("all by cursor", None)),
            (refused, NOW(), Extent::Changes, ("all by cursor", None)),
            // Clerk's servers differ by a little; more than that is a wrong clock.
            (complete_to(3), NOW(), Extent::Changes, ("changes", Some(0))),
            (complete_to(60), NOW(), Extent::Changes, ("all by cursor", None)),
            (complete_to(60), undated, Extent::Changes, ("changes", Some(0))),
        ] {
            let step = plan(USERS.reading, known, present, extent);
            assert_eq!(said(step), expected, "{known:?} {present:?} {extent:?}");
        }
    }

    #[test]
    fn every_resource_has_a_first_step_and_a_later_one() {
        let steps = |known| resource::ALL.map(|it| said(plan(it.reading, known, NOW(), Extent::Changes)));
        assert_eq!(
            steps(Known::default()),
            [("all by cursor", None), ("all by offset", None), ("sessions", None), ("query", None), ("ledger", None)]
        );
        assert_eq!(
            steps(complete_to(-60)),
            [
                ("changes", Some(-60)),
                ("all by offset", None),
                ("sessions", Some(-60)),
                ("query", None),
                ("ledger", Some(-60))
            ]
        );
    }

    #[test]
    fn what_was_resumed_is_caught_up_unless_it_is_read_whole() {
        let step = |reading| catch_up(reading, at(-10)).map(said);
        assert_eq!(step(USERS.reading), Some(("changes", Some(-10))));
        assert_eq!(step(SESSIONS.reading), Some(("sessions", Some(-10))));
        assert_eq!(step(ORGANIZATIONS.reading), None);
    }
}
