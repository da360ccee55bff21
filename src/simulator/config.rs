//! What a simulated instance is like.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::change_kind::Changes;
use super::faults::Faults;
use super::limit::RateLimit;

/// How many days the activity of users goes back, unless told otherwise.
pub(super) const ACTIVITY_DAYS: u32 = 430;

/// How long a request waits that skips more rows than can be skipped in time.
const NO_ANSWER: Duration = Duration::from_secs(30);

/// Settings of a simulated instance.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct SimulatorConfig {
    /// What everything is drawn from.
    pub seed: u64,
    /// How many users there are at first.
    pub users: usize,
    /// How many organizations there are at first.
    pub organizations: usize,
    /// How many days ago a user may have been active last: how many months of sessions there are.
    pub activity_days: u32,
    /// Where to listen; port 0 takes any that is free.
    pub address: SocketAddr,
    /// The one key that it takes.
    pub key: String,
    /// The instance's id.
    pub instance_id: String,
    /// `production` or `development`.
    pub environment_type: String,
    /// The rate limit, if any.
    pub rate_limit: Option<RateLimit>,
    /// Whether sessions are listed without a user.
    pub plain_session_listing: bool,
    /// Whether lists of users heed the filters on the moment of creation.
    pub creation_filters: bool,
    /// Whether rows that an order does not tell apart come in another order at each request, in lists by offset.
    pub unstable_ties: bool,
    /// What organization lists answer where the feature is off.
    pub organizations_status: Option<u16>,
    /// What `GET /v1/instance` answers where the key may not read it.
    pub instance_status: Option<u16>,
    /// The wait before each answer.
    pub latency: Duration,
    /// What more it takes where users are filtered by their moment of creation.
    pub filter_latency: Duration,
    /// What more it takes for each row that an offset skips.
    pub offset_cost: Duration,
    /// The most rows that an offset can skip in time: a request for more gets no answer within half a minute.
    pub offset_limit: Option<usize>,
    /// The largest page, silently, whatever was asked for.
    pub clamp: Option<usize>,
    /// Whether bodies are compressed for those who accept it.
    pub compression: bool,
    /// What goes wrong.
    pub faults: Faults,
    /// What changes while somebody reads.
    pub changes: Option<Changes>,
    /// A clock that stands still, Unix milliseconds; none for the real one.
    pub now: Option<i64>,
    /// How far the server's clock is ahead, milliseconds.
    pub clock_offset_ms: i64,
    /// Whether answers carry `Date`.
    pub date_header: bool,
}

impl Default for SimulatorConfig {
    fn default() -> Self {
        Self {
            seed: 42,
            users: 1000,
            organizations: 50,
            activity_days: ACTIVITY_DAYS,
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            key: "sk_live_simulated".to_owned(),
            instance_id: "ins_simulated".to_owned(),
            environment_type: "production".to_owned(),
            rate_limit: None,
            plain_session_listing: true,
            creation_filters: true,
            unstable_ties: false,
            organizations_status: None,
            instance_status: None,
            latency: Duration::ZERO,
            filter_latency: Duration::ZERO,
            offset_cost: Duration::ZERO,
            offset_limit: None,
            clamp: None,
            compression: true,
            faults: Faults::default(),
            changes: None,
            now: None,
            clock_offset_ms: 0,
            date_header: true,
        }
    }
}

impl SimulatorConfig {
    /// The wait before an answer to a request that skips so many rows.
    pub(super) fn latency_of(&self, filtered: bool, skipped: usize) -> Duration {
        if self.offset_limit.is_some_and(|limit| skipped > limit) {
            return NO_ANSWER;
        }
        let skipping = self.offset_cost * u32::try_from(skipped).unwrap_or(u32::MAX);
        let filtering = if filtered { self.filter_latency } else { Duration::ZERO };
        self.latency + filtering + skipping
    }
}
