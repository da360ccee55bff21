//! Draws the parts of a history from its random seed: the instance, the steps and the syncs.

use std::fmt;
use std::ops::{Range, RangeInclusive};

use chrono::{DateTime, TimeDelta, Utc};
use clerk_lake::resource::{self, Resource};
use clerk_lake::simulator::model::DAY;
use clerk_lake::simulator::{ChangeKind, Changes, FaultKind, Faults, Model, SimulatorConfig, UnknownCursor};
use clerk_lake::sync::Extent;
use rand::distr::uniform::SampleUniform;
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

use crate::support::expected::NOW;
use crate::support::faulty_store::{CrashPoint, FaultPlan, StoreFault};

/// Maximum number of changes during one sync. A list that grows as fast as it is read would never end.
const MAX_CHANGES: u64 = 60;

/// A minute in milliseconds.
pub const MINUTE: i64 = 60_000;

/// An hour in milliseconds.
pub const HOUR: i64 = 60 * MINUTE;

/// One history in this many has a larger instance, because a resume point is written only after 500 rows.
const LARGE_ONE_IN: u64 = 16;

/// One history in this many has a lake that records its changes.
const FOLLOWED_ONE_IN: u64 = 3;

/// The changes that the simulator may make before a list request while a run reads. They do not include changes that
/// remove or end sessions. Only [`super::Watcher`] makes those, after it has noted the current sessions.
pub const CHANGES_DURING_SYNC: [ChangeKind; 11] = [
    ChangeKind::CreateUser,
    ChangeKind::ImportUser,
    ChangeKind::UpdateProfile,
    ChangeKind::ChangeEmail,
    ChangeKind::Ban,
    ChangeKind::Activity,
    ChangeKind::CreateOrganization,
    ChangeKind::RenameOrganization,
    ChangeKind::DeleteOrganization,
    ChangeKind::AddMember,
    ChangeKind::RemoveMember,
];

/// Faults that delay a sync by milliseconds.
const QUICK_FAULTS: [FaultKind; 9] = [
    FaultKind::ServerError,
    FaultKind::BadGatewayHtml,
    FaultKind::RequestTimeout,
    FaultKind::Reset,
    FaultKind::CutBody,
    FaultKind::MalformedJson,
    FaultKind::Html,
    FaultKind::ClampedPage,
    FaultKind::EmptyBody,
];

/// Faults that delay a sync by half a second or a second.
const SLOW_FAULTS: [FaultKind; 3] = [FaultKind::Unavailable, FaultKind::TooManyRequests, FaultKind::StalledBody];

/// A random number generator. The same seed always draws the same values.
pub struct Dice(ChaCha8Rng);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    pub fn within<T: SampleUniform + PartialOrd>(&mut self, range: RangeInclusive<T>) -> T {
        self.0.random_range(range)
    }

    /// Returns `true` in `share` of 100 cases.
    pub fn percent(&mut self, share: u32) -> bool {
        self.0.random_ratio(share, 100)
    }

    pub fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.0.random_range(0..choices.len())]
    }

    fn several<T: Copy>(&mut self, choices: &[T], most: usize) -> Vec<T> {
        (0..self.within(1..=most)).map(|_| self.of(choices)).collect()
    }
}

/// Makes one change.
///
/// Ends only open sessions. [`ChangeKind::EndSession`] alone ends any session, so it can change the status of a session
/// that was revoked a year ago. Clerk does not do this, no list would show the change, and an incremental sync may miss
/// it (`sync::sessions`).
pub fn change(model: &mut Model, kind: ChangeKind, dice: &mut Dice) {
    if kind == ChangeKind::EndSession {
        let open = model.sessions.iter().filter(|it| it.status == "active" || it.status == "pending");
        let open: Vec<String> = open.map(|session| session.id.clone()).collect();
        if !open.is_empty() {
            let at = dice.within(0..=open.len() - 1);
            model.end_session(&open[at], "ended");
        }
    } else {
        model.change(kind);
    }
}

/// The instance of a history, and settings of its syncs and its lake.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is drawn independently")]
pub struct Instance {
    pub seed: u64,
    pub users: usize,
    pub organizations: usize,
    pub clamp: Option<usize>,
    pub plain_session_listing: bool,
    pub unstable_ties: bool,
    /// Whether syncs use rolling verification.
    pub verifies: bool,
    pub unknown_cursor: UnknownCursor,
    /// The time at the start of the history, in Unix milliseconds.
    pub now: i64,
    pub is_large: bool,
    /// Whether syncs, except the last one, refresh the sessions of active users once a day instead of in every sync.
    pub refreshes_sessions_daily: bool,
    /// Whether the lake is in a store to which few requests should be sent.
    pub has_costly_store: bool,
}

impl Instance {
    pub fn draw(seed: u64, dice: &mut Dice) -> Self {
        let is_large = seed.is_multiple_of(LARGE_ONE_IN);
        let clamp: Option<usize> = match dice.within(0..=99) {
            _ if is_large => dice.of(&[None, Some(50), Some(100)]),
            0..=49 => dice.of(&[None, Some(50)]),
            _ => Some(dice.within(1..=7)),
        };
        // Small pages cost many requests.
        let users = match clamp {
            _ if is_large => 560..=640,
            Some(1..=3) => 20..=40,
            Some(4..=7) => 20..=70,
            _ => 20..=120,
        };
        Self {
            seed,
            users: dice.within(users),
            organizations: dice.within(0..=8),
            clamp,
            plain_session_listing: dice.percent(if is_large { 25 } else { 50 }),
            // If more rows share a timestamp than fit on a page, shuffled ties make the list unreadable.
            unstable_ties: dice.percent(50) && clamp.is_none_or(|rows| rows > 3),
            verifies: dice.percent(25),
            unknown_cursor: dice.of(&[UnknownCursor::NotFound, UnknownCursor::Unprocessable, UnknownCursor::EmptyPage]),
            now: NOW + dice.within(0..=7 * DAY),
            is_large,
            refreshes_sessions_daily: dice.percent(30),
            has_costly_store: dice.percent(50),
        }
    }

    pub fn configure(&self, config: &mut SimulatorConfig) {
        config.seed = self.seed;
        config.users = self.users;
        config.organizations = self.organizations;
        config.clamp = self.clamp;
        config.plain_session_listing = self.plain_session_listing;
        config.unstable_ties = self.unstable_ties;
        config.now = Some(self.now);
        config.faults = self.no_faults();
    }

    /// Returns whether the lake records its changes and a [`Follower`](crate::support::follower::Follower) reads them.
    pub fn is_followed(&self) -> bool {
        self.seed.is_multiple_of(FOLLOWED_ONE_IN)
    }

    pub fn no_faults(&self) -> Faults {
        Faults { unknown_cursor: self.unknown_cursor, ..Faults::default() }
    }

    /// Draws the number of steps.
    pub fn steps(&self, dice: &mut Dice) -> usize {
        dice.within(4..=if self.is_large { 7 } else { 12 })
    }

    fn faults(&self, dice: &mut Dice) -> Faults {
        if self.is_large {
            return self.late_faults(dice);
        }
        match dice.within(0..=99) {
            0..=57 => self.no_faults(),
            58..=60 => Faults {
                every: dice.within(2..=17),
                kinds: vec![dice.of(&SLOW_FAULTS)],
                limit: Some(1),
                ..self.no_faults()
            },
            61..=68 => Faults {
                every: dice.within(3..=40),
                kinds: dice.several(&FaultKind::FINAL, 2),
                limit: dice.percent(70).then(|| dice.within(1..=3)),
                ..self.no_faults()
            },
            _ => Faults {
                every: dice.of(&[2, 3, 5, 9, 17]),
                kinds: dice.several(&QUICK_FAULTS, 4),
                limit: dice.percent(50).then(|| dice.within(1..=6)),
                ..self.no_faults()
            },
        }
    }

    /// Draws faults that occur after enough rows for a resume point have been read.
    fn late_faults(&self, dice: &mut Dice) -> Faults {
        let late = [(0, ""), (4, "/v1/users"), (8, "/v1/users"), (14, "/v1/users"), (300, "/v1/sessions")];
        let (every, path) = dice.of(&late);
        let kinds = vec![FaultKind::ServerError];
        Faults { every, kinds, path: Some(path.to_owned()), ..self.no_faults() }
    }

    fn extent(&self, now: i64, dice: &mut Dice) -> Extent {
        let full = if self.is_large { 50 } else { 15 };
        if dice.percent(full) {
            return Extent::Full;
        }
        let since = now - dice.within(0..=10 * DAY);
        if dice.percent(15) { Extent::Since(moment(since)) } else { Extent::Changes }
    }
}

/// Converts Unix milliseconds to a time.
pub fn moment(millis: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(millis).expect("a time")
}

impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { users, organizations, clamp, plain_session_listing, unstable_ties, unknown_cursor, now, .. } = self;
        write!(
            f,
            "at {} {users} users, {organizations} organizations, pages of {clamp:?}, sessions listed without a user: \
             {plain_session_listing}, ties shuffled: {unstable_ties}, to an unknown cursor {unknown_cursor:?}, \
             changes recorded: {}",
            moment(*now),
            self.is_followed()
        )
    }
}

/// A step of a history.
pub enum Step {
    Changes(Vec<ChangeKind>),
    /// Advances the clock by this many milliseconds.
    Clock(i64),
    Sync(Box<Attempt>),
}

impl Step {
    pub fn draw(instance: &Instance, now: i64, dice: &mut Dice) -> Self {
        match dice.within(0..=99) {
            0..=32 => Self::Changes((0..dice.within(0..=15)).map(|_| dice.of(&ChangeKind::ALL)).collect()),
            33..=47 => Self::Clock(match dice.within(0..=3) {
                0 => dice.within(1_i64..=59) * MINUTE,
                1 => dice.within(1_i64..=23) * HOUR,
                2 => DAY,
                _ => dice.within(2_i64..=6) * DAY,
            }),
            _ => Self::Sync(Box::new(Attempt::draw(instance, now, dice))),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Changes(kinds) => {
                let kinds: Vec<_> = kinds.iter().map(ToString::to_string).collect();
                write!(f, "changes: {}", kinds.join(", "))
            }
            Self::Clock(by) => write!(f, "the clock advances by {} min", by / MINUTE),
            Self::Sync(attempt) => write!(f, "{attempt}"),
        }
    }
}

/// The changes while a run reads.
#[derive(Debug)]
pub struct ConcurrentChanges {
    pub changes: Changes,
    /// The random seed of the [`super::Watcher`].
    pub seed: u64,
}

/// One sync, with the changes, faults and crash that it meets.
#[derive(Debug)]
pub struct Attempt {
    pub extent: Extent,
    pub fresh: bool,
    pub resources: Vec<&'static Resource>,
    /// Whether failed requests are retried.
    pub retries: bool,
    pub faults: Faults,
    pub concurrent_changes: Option<ConcurrentChanges>,
    pub dies_after_page: Option<u64>,
    pub plan: FaultPlan,
    /// The period after which the sessions of active users are read again.
    pub session_refresh: TimeDelta,
}

impl Attempt {
    /// Returns an incremental sync of all resources without changes, faults or a crash.
    pub fn quiet(instance: &Instance) -> Self {
        Self {
            extent: Extent::Changes,
            fresh: false,
            resources: resource::defaults(),
            retries: true,
            faults: instance.no_faults(),
            concurrent_changes: None,
            dies_after_page: None,
            plan: FaultPlan::default(),
            session_refresh: TimeDelta::zero(),
        }
    }

    fn draw(instance: &Instance, now: i64, dice: &mut Dice) -> Self {
        let (dies_after_page, death) = death(dice);
        Self {
            extent: instance.extent(now, dice),
            fresh: dice.percent(10),
            resources: resources(dice),
            retries: dice.percent(if instance.is_large { 40 } else { 80 }),
            faults: instance.faults(dice),
            concurrent_changes: dice.percent(40).then(|| concurrent_changes(dice)),
            dies_after_page,
            plan: FaultPlan { crash: death, store_faults: store_faults(dice), ..FaultPlan::default() },
            session_refresh: if instance.refreshes_sessions_daily { TimeDelta::days(1) } else { TimeDelta::zero() },
        }
    }

    /// Returns the point at which the run is killed; `None` if it is not killed.
    pub fn death(&self) -> Option<String> {
        let point = self.plan.crash.map(|(point, time)| format!("{point:?} ({time})"));
        point.or_else(|| self.dies_after_page.map(|page| format!("AfterPage ({page})")))
    }
}

/// Draws the page after which a run is killed, or another point. A third of all runs are killed.
fn death(dice: &mut Dice) -> (Option<u64>, Option<(CrashPoint, u64)>) {
    if !dice.percent(33) {
        return (None, None);
    }
    if dice.percent(12) {
        return (Some(dice.within(1..=12)), None);
    }
    (None, Some((dice.of(&CrashPoint::ALL), dice.of(&[1, 1, 1, 2, 2, 3, 4]))))
}

fn store_faults(dice: &mut Dice) -> Vec<(Range<u64>, StoreFault)> {
    let many = if dice.percent(30) { dice.within(1_u64..=2) } else { 0 };
    let kinds = [StoreFault::Refused, StoreFault::ResponseLost, StoreFault::Slow, StoreFault::Delayed];
    let trouble = |_: u64| {
        let first = dice.within(1_u64..=250);
        (first..first + dice.of(&[1_u64, 1, 2, 3]), dice.of(&kinds))
    };
    (0..many).map(trouble).collect()
}

fn concurrent_changes(dice: &mut Dice) -> ConcurrentChanges {
    let (every, per_step) = (dice.within(1..=6), dice.within(1..=2));
    ConcurrentChanges {
        changes: Changes { every, per_step, kinds: dice.several(&CHANGES_DURING_SYNC, 5), most: Some(MAX_CHANGES) },
        seed: dice.within(0..=u64::MAX),
    }
}

fn resources(dice: &mut Dice) -> Vec<&'static Resource> {
    let all = resource::defaults();
    if dice.percent(65) {
        return all;
    }
    let some: Vec<_> = all.iter().copied().filter(|_| dice.percent(50)).collect();
    if some.is_empty() { vec![dice.of(&all)] } else { some }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.resources.iter().map(|resource| resource.name).collect();
        write!(f, "sync of {}, {:?}", names.join(" + "), self.extent)?;
        if self.fresh {
            f.write_str(", fresh")?;
        }
        if !self.retries {
            f.write_str(", without retries")?;
        }
        if self.faults.every > 0 {
            let Faults { every, kinds, limit, path, .. } = &self.faults;
            let path = path.as_deref().unwrap_or_default();
            write!(f, ", every {every} requests {path} one of {kinds:?} (at most {limit:?})")?;
        }
        if let Some(ConcurrentChanges { changes, .. }) = &self.concurrent_changes {
            let Changes { every, per_step, kinds, .. } = changes;
            write!(f, ", every {every} lists {per_step} of {kinds:?}, and others")?;
        }
        for (operations, trouble) in &self.plan.store_faults {
            write!(f, ", operations {operations:?} of the store {trouble:?}")?;
        }
        self.death().map_or(Ok(()), |death| write!(f, ", killed at {death}"))
    }
}
