//! Settings of the Clerk client: address, key, request budget and timeouts.

use std::time::Duration;

use url::Url;

use super::quota::RateLimit;
use super::retry::RetryPolicy;
use super::secret::SecretKey;

/// Settings of a [`Client`](super::Client).
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// The Backend API's base, without `/v1`.
    pub api_url: Url,
    /// The instance's secret key.
    pub key: SecretKey,
    /// The share of the instance's request budget to use: more than 0, at most 1.
    pub quota_share: f64,
    /// The request rate that the instance allows.
    pub rate_limit: RateLimit,
    /// When to retry.
    pub retry: RetryPolicy,
    /// The longest time to open a connection.
    pub connect_timeout: Duration,
    /// The longest time without receiving data, while waiting for a response or reading its body.
    pub stall_timeout: Duration,
    /// The longest time for one attempt in total.
    pub attempt_timeout: Duration,
}

impl ClientConfig {
    /// Returns the default settings for `key` at `api_url`.
    #[must_use]
    pub fn new(api_url: Url, key: SecretKey) -> Self {
        Self {
            api_url,
            key,
            quota_share: 0.5,
            rate_limit: RateLimit::Automatic,
            retry: RetryPolicy::default(),
            connect_timeout: Duration::from_secs(4),
            stall_timeout: Duration::from_secs(20),
            attempt_timeout: Duration::from_mins(2),
        }
    }
}
