//! What a client is told: where Clerk is, with which key to ask, and how patiently.

use std::time::Duration;

use url::Url;

use super::quota::RateLimit;
use super::retry::RetryPolicy;
use super::secret::SecretKey;

/// What a [`Client`](super::Client) needs to know.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// The Backend API's base, without `/v1`.
    pub api_url: Url,
    /// The instance's secret key.
    pub key: SecretKey,
    /// The share of the instance's request budget to take: over 0, up to 1.
    pub quota_share: f64,
    /// What the instance allows.
    pub rate_limit: RateLimit,
    /// When to try again.
    pub retry: RetryPolicy,
    /// How long a connection may take to open.
    pub connect_timeout: Duration,
    /// How long a response may stay silent, its body included.
    pub stall_timeout: Duration,
    /// How long one attempt may take in all.
    pub attempt_timeout: Duration,
}

impl ClientConfig {
    /// The usual settings for `key` at `api_url`.
    #[must_use]
    pub fn new(api_url: Url, key: SecretKey) -> Self {
        Self {
            api_url,
            key,
            quota_share: 0.5,
            rate_limit: RateLimit::Automatic,
            retry: RetryPolicy::default(),
            connect_timeout: Duration::from_secs(10),
            stall_timeout: Duration::from_secs(20),
            attempt_timeout: Duration::from_mins(2),
        }
    }
}
