//! One request to Clerk, done properly: paced, bounded in time, retried, and explained when it fails.
//!
//! It knows the rules that hold for every request (Backend API, "Every request") and none of any resource.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::error::{ApiError, Complaint, Refusal};
use super::head::{Head, explain};
use super::quota::{Quota, RateLimit};
use super::retry::RetryPolicy;
use super::secret::SecretKey;
use crate::error::{Error, Result};

/// The version of the contract that every request asks for.
pub const API_VERSION: &str = "2026-05-12";

/// What is said of an answer that is a web page.
const HTML: &str = "an HTML page came where JSON was asked for";

/// Where Clerk's Backend API is.
pub const DEFAULT_API_URL: &str = "https://api.clerk.com";

/// What a [`Client`] needs to know.
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

/// Reads `--api-url`: any absolute http or https URL, with or without `/v1`.
///
/// # Errors
/// [`Settings`](crate::ErrorKind::Settings) where it is not one.
pub fn parse_api_url(text: &str) -> Result<Url> {
    let wrong = |why: &str| {
        Error::settings(format!("--api-url {text:?} {why}"))
            .with_hint(format!("give an absolute http(s) URL, such as {DEFAULT_API_URL}"))
    };
    let mut url = Url::parse(text.trim()).map_err(|error| wrong(&format!("is not a URL ({error})")))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return Err(wrong("is not an absolute http(s) URL"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Error::settings("--api-url must not carry a user name or password")
            .with_hint("the key comes from CLERK_SECRET_KEY"));
    }
    url.set_query(None);
    url.set_fragment(None);
    let path = url.path().trim_end_matches('/').trim_end_matches("/v1").to_owned();
    url.set_path(&path);
    Ok(url)
}

/// What requests have cost so far. Every count is since the client, or its [`scope`](Client::scope), was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Attempts sent.
    pub requests: u64,
    /// Attempts that repeated one before.
    pub retries: u64,
    /// Answers that said 429.
    pub throttled: u64,
    /// Bytes of bodies, after decompression.
    pub bytes: u64,
}

#[derive(Default)]
struct Counters {
    requests: AtomicU64,
    retries: AtomicU64,
    throttled: AtomicU64,
    bytes: AtomicU64,
}

/// Asks Clerk. Cheap to clone; clones share connections and the request budget.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
    key: SecretKey,
    quota: Quota,
    retry: RetryPolicy,
    serial: Arc<AtomicU64>,
    counters: Arc<Counters>,
    first_date: Arc<OnceLock<DateTime<Utc>>>,
    /// The server's clock at its latest answer, Unix milliseconds; 0 before it has said.
    latest_date: Arc<AtomicI64>,
    /// How long an answer takes lately, in microseconds; 0 before the first.
    latency_micros: Arc<AtomicU64>,
    stop: CancellationToken,
}

/// Why one attempt failed.
enum Attempt {
    /// Try again; the server may have said when.
    Again { error: ApiError, wait: Option<Duration>, throttled: bool },
    /// The answer cannot be understood: try again, but not for long.
    Garbled(ApiError),
    /// Do not try again.
    Final(ApiError),
}

impl Client {
    /// A client for one instance.
    ///
    /// # Errors
    /// [`Settings`](crate::ErrorKind::Settings) where `quota_share` is out of range;
    /// [`Bug`](crate::ErrorKind::Bug) where the TLS stack cannot start.
    pub fn new(config: ClientConfig) -> Result<Self> {
        if !(config.quota_share > 0.0 && config.quota_share <= 1.0) {
            return Err(Error::settings(format!("--quota-share {} is out of range", config.quota_share))
                .with_hint("give the share of the request budget to use: over 0, up to 1"));
        }
        let http = reqwest::Client::builder()
            .user_agent(concat!("clerk-lake/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers(&config.key)?)
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(config.connect_timeout)
            .read_timeout(config.stall_timeout)
            .timeout(config.attempt_timeout)
            .tcp_nodelay(true)
            .build()
            .map_err(|error| Error::bug(format!("the HTTP client cannot start: {}", crate::error::chain(&error))))?;
        Ok(Self {
            http,
            base: config.api_url,
            quota: Quota::new(config.rate_limit, config.key.kind(), config.quota_share),
            key: config.key,
            retry: config.retry,
            serial: Arc::default(),
            counters: Arc::default(),
            first_date: Arc::default(),
            latest_date: Arc::default(),
            latency_micros: Arc::default(),
            stop: CancellationToken::new(),
        })
    }

    /// The same client for a run of its own: traffic and the server's clock from nothing, and no more answers
    /// once `stop` is cancelled.
    #[must_use]
    pub fn for_run(&self, stop: CancellationToken) -> Self {
        let (first_date, latest_date) = (Arc::default(), Arc::default());
        Self { stop, counters: Arc::default(), first_date, latest_date, ..self.clone() }
    }

    /// The same client with traffic counted from nothing.
    #[must_use]
    pub fn scope(&self) -> Self {
        Self { counters: Arc::default(), ..self.clone() }
    }

    /// The same client with a budget of time for each request that is `budget` at most.
    #[must_use]
    pub fn within_retry_budget(&self, budget: Duration) -> Self {
        Self { retry: self.retry.with_budget(budget.min(self.retry.budget)), ..self.clone() }
    }

    /// What was asked so far in this scope.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Traffic {
            requests: read(&self.counters.requests),
            retries: read(&self.counters.retries),
            throttled: read(&self.counters.throttled),
            bytes: read(&self.counters.bytes),
        }
    }

    /// The server's clock at its first answer to this client or any clone of it; none where it never said.
    #[must_use]
    pub fn server_start(&self) -> Option<DateTime<Utc>> {
        self.first_date.get().copied()
    }

    /// The latest that the server's clock has said to this client or any clone of it; none where it never said.
    #[must_use]
    pub fn server_latest(&self) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp_millis(self.latest_date.load(Ordering::Relaxed)).filter(|at| at.timestamp() > 0)
    }

    /// How long an answer takes lately, its body included; none before the first one.
    #[must_use]
    pub fn latency(&self) -> Option<Duration> {
        let micros = self.latency_micros.load(Ordering::Relaxed);
        (micros > 0).then(|| Duration::from_micros(micros))
    }

    fn note_latency(&self, took: Duration) {
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1);
        let before = self.latency_micros.load(Ordering::Relaxed);
        let smoothed = if before == 0 { took } else { (before.saturating_mul(3)).saturating_add(took) / 4 };
        self.latency_micros.store(smoothed, Ordering::Relaxed);
    }

    /// The address that it asks.
    #[must_use]
    pub fn address(&self) -> &str {
        self.base.as_str()
    }

    /// A name for the key that does not show it; see [`SecretKey::fingerprint`].
    #[must_use]
    pub fn key_fingerprint(&self) -> String {
        self.key.fingerprint()
    }

    /// The request budget that all clones share.
    #[must_use]
    pub fn quota(&self) -> &Quota {
        &self.quota
    }

    /// Gets `path` (under `/v1`) and reads its body with `decode`, trying again within the retry budget; what
    /// `decode` refuses is asked for again a few times. Safe to cancel.
    ///
    /// # Errors
    /// An [`ApiError`] whose [`Refusal`] says which sort; a failed answer never comes back as an empty one.
    /// [`Refusal::Interrupted`] once the client's run has been told to stop.
    pub async fn get<T>(
        &self,
        path: &str,
        query: &[(&str, String)],
        decode: impl Fn(&Bytes) -> Result<T, String>,
    ) -> Result<T, ApiError> {
        // Boxed: every listing holds one of these.
        match self.stop.run_until_cancelled(Box::pin(self.get_in_time(path, query, decode))).await {
            Some(answer) => answer,
            None => Err(self.error(Refusal::Interrupted, path, None, "not asked: the run was told to stop")),
        }
    }

    async fn get_in_time<T>(
        &self,
        path: &str,
        query: &[(&str, String)],
        decode: impl Fn(&Bytes) -> Result<T, String>,
    ) -> Result<T, ApiError> {
        let start = Instant::now();
        let mut waits = self.retry.waits(self.serial.fetch_add(1, Ordering::Relaxed));
        let (mut attempts, mut garbled, mut told_to_wait) = (0_u32, 0_u32, Duration::ZERO);
        loop {
            attempts += 1;
            self.quota.acquire().await;
            self.counters.requests.fetch_add(1, Ordering::Relaxed);
            self.counters.retries.fetch_add(u64::from(attempts > 1), Ordering::Relaxed);
            let outcome = self.attempt(path, query, &decode).await;
            let at = |error: ApiError| ApiError { attempts, elapsed: start.elapsed(), ..error };
            let (error, wait) = match outcome {
                Ok(value) => return Ok(value),
                Err(Attempt::Final(error)) => return Err(at(error)),
                Err(Attempt::Garbled(error)) => {
                    garbled += 1;
                    if garbled >= self.retry.malformed_attempts {
                        return Err(at(error));
                    }
                    (error, waits.next().unwrap_or(self.retry.longest_wait))
                }
                Err(Attempt::Again { error, wait, throttled }) => {
                    if throttled {
                        self.counters.throttled.fetch_add(1, Ordering::Relaxed);
                    }
                    let wait = match wait {
                        Some(wait) => {
                            // "At once" would ask as fast as the line allows.
                            let wait = wait.max(self.retry.first_wait);
                            told_to_wait += wait;
                            wait
                        }
                        None => waits.next().unwrap_or(self.retry.longest_wait),
                    };
                    if throttled {
                        self.quota.refused(wait);
                    }
                    (error, wait)
                }
            };
            let own_time = (start.elapsed() + wait).saturating_sub(told_to_wait);
            let spent = own_time > self.retry.budget && attempts >= self.retry.least_attempts;
            if spent || told_to_wait > self.retry.throttle_budget {
                return Err(at(error));
            }
            tracing::debug!(%error, attempt = attempts, wait_ms = wait.as_millis(), "asking again");
            tokio::time::sleep(wait).await;
        }
    }

    async fn attempt<T>(
        &self,
        path: &str,
        query: &[(&str, String)],
        decode: &impl Fn(&Bytes) -> Result<T, String>,
    ) -> Result<T, Attempt> {
        let mut url = self.base.clone();
        url.set_path(&format!("{}/v1{path}", self.base.path().trim_end_matches('/')));
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let unreachable = |error: &reqwest::Error| Attempt::Again {
            error: self.error(Refusal::Unreachable, path, None, &explain(error)),
            wait: None,
            throttled: false,
        };
        let start = Instant::now();
        let response = self.http.get(url).send().await.map_err(|error| unreachable(&error))?;
        let status = response.status().as_u16();
        let head = Head::read(response.headers());
        self.quota.observe(head.quota);
        if let Some(date) = head.date {
            let _ = self.first_date.set(date);
            self.latest_date.fetch_max(date.timestamp_millis(), Ordering::Relaxed);
        }
        let body = response.bytes().await.map_err(|error| unreachable(&error))?;
        self.counters.bytes.fetch_add(body.len() as u64, Ordering::Relaxed);
        self.note_latency(start.elapsed());
        tracing::trace!(path, status, took_ms = start.elapsed().as_millis(), "answered");
        if status != 200 {
            return Err(self.refused(path, status, &head, &body));
        }
        if head.is_html {
            return Err(Attempt::Garbled(self.error(Refusal::Malformed, path, Some(status), HTML)));
        }
        decode(&body).map_err(|why| Attempt::Garbled(self.error(Refusal::Malformed, path, Some(status), &why)))
    }

    /// What to make of an answer that is not a 200.
    fn refused(&self, path: &str, status: u16, head: &Head, body: &[u8]) -> Attempt {
        let complaint = Complaint::read(body, &self.key);
        let refusal = match status {
            401 => Refusal::Key,
            408 | 429 | 500..=599 => Refusal::Unreachable,
            _ if head.is_html => Refusal::Malformed,
            402..=404 => Refusal::Absent,
            400..=499 => Refusal::Parameter,
            _ => Refusal::Malformed,
        };
        let text = complaint.message.unwrap_or_else(|| match &head.location {
            Some(location) => {
                format!("redirects to {}", self.key.redact(location).chars().take(200).collect::<String>())
            }
            None if head.is_html => HTML.to_owned(),
            None => "no reason was given".to_owned(),
        });
        let error = ApiError {
            code: complaint.code,
            trace_id: complaint.trace_id.or_else(|| head.ray.clone()).map(|id| self.key.redact(&id)),
            ..self.error(refusal, path, Some(status), &text)
        };
        if refusal != Refusal::Unreachable {
            return Attempt::Final(error);
        }
        let throttled = status == 429;
        let wait = head.retry_after.or_else(|| head.quota.reset_in.filter(|_| throttled));
        Attempt::Again { error, wait, throttled }
    }

    fn error(&self, refusal: Refusal, path: &str, status: Option<u16>, message: &str) -> ApiError {
        ApiError {
            refusal,
            method: "GET",
            path: format!("/v1{path}"),
            status,
            code: None,
            message: self.key.redact(message),
            trace_id: None,
            attempts: 1,
            elapsed: Duration::ZERO,
        }
    }
}

fn headers(key: &SecretKey) -> Result<HeaderMap> {
    let mut bearer = HeaderValue::from_str(&key.bearer())
        .map_err(|_| Error::settings("the Clerk secret key holds characters that no header can carry"))?;
    bearer.set_sensitive(true);
    let mut headers = HeaderMap::new();
    headers.insert(AUTHORIZATION, bearer);
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert("clerk-api-version", HeaderValue::from_static(API_VERSION));
    Ok(headers)
}
