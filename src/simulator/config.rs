//! Settings of a simulated instance.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::change_kind::Changes;
use super::faults::Faults;
use super::limit::RequestLimit;
use super::list::{InstanceIdentity, List, ListRefusal};

/// Default number of days that the activity of users goes back.
pub(super) const ACTIVITY_DAYS: u32 = 430;

/// Delay of a request whose offset exceeds `offset_limit`.
const OVER_LIMIT_LATENCY: Duration = Duration::from_secs(30);

/// Settings of a simulated instance.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "the switches are independent")]
pub struct SimulatorConfig {
    /// Random seed.
    pub seed: u64,
    /// Initial number of users.
    pub users: usize,
    /// Initial number of organizations.
    pub organizations: usize,
    /// Number of days that the activity of users, and therefore their sessions, goes back.
    pub activity_days: u32,
    /// Address to listen on. Port 0 picks a free port.
    pub address: SocketAddr,
    /// The only secret key that the server accepts.
    pub key: String,
    /// The instance's id.
    pub instance_id: String,
    /// `production` or `development`.
    pub environment_type: String,
    /// Rate limit; `None` for no limit.
    pub rate_limit: Option<RequestLimit>,
    /// Whether `GET /v1/sessions` works without `user_id` and `client_id`.
    pub plain_session_listing: bool,
    /// Whether user lists apply the `created_at_*` filters. If not, they ignore them.
    pub creation_filters: bool,
    /// Whether the order of rows with equal sort keys differs between requests, in lists paged by offset.
    pub unstable_ties: bool,
    /// Lists that are refused, and how.
    pub disabled: BTreeMap<List, ListRefusal>,
    /// Initial numbers of rows of lists, in place of numbers that suit the numbers of users and organizations. Users,
    /// sessions and organizations are not affected.
    pub counts: BTreeMap<List, usize>,
    /// Error status of all lists of the organizations feature, as if it were disabled; `None` if it is enabled.
    pub organizations_status: Option<u16>,
    /// Error status of `GET /v1/instance`, as if the key were not allowed to read it; `None` if it is allowed.
    pub instance_status: Option<u16>,
    /// Delay before each response.
    pub latency: Duration,
    /// Additional delay of requests with a `created_at_after` or `created_at_before` filter.
    pub filter_latency: Duration,
    /// Additional delay per row that an offset skips.
    pub offset_cost: Duration,
    /// Largest offset that is answered in time. A request with a larger offset is delayed by 30 seconds.
    pub offset_limit: Option<usize>,
    /// Maximum page size. A larger `limit` is silently reduced to it.
    pub clamp: Option<usize>,
    /// Whether bodies are compressed for clients that accept it.
    pub compression: bool,
    /// Injected faults.
    pub faults: Faults,
    /// Changes made between list requests.
    pub changes: Option<Changes>,
    /// Time of a fixed clock, Unix milliseconds; `None` for the real clock.
    pub now: Option<i64>,
    /// Milliseconds by which the server's clock is ahead.
    pub clock_offset_ms: i64,
    /// Whether responses have a `Date` header.
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
            disabled: BTreeMap::new(),
            counts: BTreeMap::new(),
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
    /// Returns the id and the type of the instance.
    pub(super) fn identity(&self) -> InstanceIdentity {
        InstanceIdentity { id: self.instance_id.clone(), environment_type: self.environment_type.clone() }
    }

    /// Returns the delay of a response.
    ///
    /// `filtered`: the request filters by creation time; `skipped`: the number of rows that its offset skips.
    pub(super) fn latency_of(&self, filtered: bool, skipped: usize) -> Duration {
        if self.offset_limit.is_some_and(|limit| skipped > limit) {
            return OVER_LIMIT_LATENCY;
        }
        let skipping = self.offset_cost * u32::try_from(skipped).unwrap_or(u32::MAX);
        let filtering = if filtered { self.filter_latency } else { Duration::ZERO };
        self.latency + filtering + skipping
    }
}
