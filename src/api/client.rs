//! Sends one request to Clerk: paced, limited in time, retried, and with an error that explains the failure.
//!
//! This module knows the rules that hold for every request (Backend API, "Every request"), and nothing about any
//! resource.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::body::{self, Body};
use super::client_config::ClientConfig;
use super::connection::{self, CONNECT_BUDGET, FIRST_NOTICE, NoResponse, explain};
use super::error::{ApiError, ClerkError, Refusal, classify};
use super::head::Head;
use super::outage::{LONG_WAIT, Notice, Outage, WaitNotices};
use super::quota::Quota;
use super::request::Request;
use super::retry::RetryPolicy;
use super::secret::SecretKey;
use super::server_clock::ServerClock;
use super::traffic::{Counters, Traffic};
use crate::error::{Error, Result};
use crate::harmless::harmless_lines;
use crate::network::host_of;

/// The Clerk API version that every request asks for.
pub const API_VERSION: &str = "2026-05-12";

/// The error message for a response that is a web page.
const HTML_RESPONSE: &str = "the response is an HTML page, not JSON";

/// A client of Clerk's Backend API. Cheap to clone; clones share connections and the request budget.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
    key: SecretKey,
    pub(super) quota: Quota,
    pub(super) retry: RetryPolicy,
    pub(super) serial: Arc<AtomicU64>,
    pub(super) counters: Arc<Counters>,
    clock: Arc<ServerClock>,
    pub(super) outage: Arc<Outage>,
    waits: Arc<WaitNotices>,
    /// Smoothed response time in microseconds; 0 before the first response.
    latency_micros: Arc<AtomicU64>,
    stop: CancellationToken,
}

/// What to do after a failed attempt.
enum Attempt {
    /// Retry. `wait` is the pause that the server asked for, if any.
    Retry { error: ApiError, wait: Option<Duration>, throttled: bool, is_unconnected: bool },
    /// The response cannot be understood: retry up to [`RetryPolicy::malformed_attempts`] times.
    Malformed(ApiError),
    /// Do not retry.
    Fatal(ApiError),
}

impl Client {
    /// Creates a client for one instance.
    ///
    /// # Errors
    /// [`Settings`](crate::ErrorKind::Settings) if `quota_share` is out of range; [`Bug`](crate::ErrorKind::Bug) if the
    /// TLS stack cannot start.
    pub fn new(config: ClientConfig) -> Result<Self> {
        if !(config.quota_share > 0.0 && config.quota_share <= 1.0) {
            return Err(Error::settings(format!("--quota-share {} is out of range", config.quota_share))
                .with_hint("set the share of the request budget to use: more than 0, at most 1"));
        }
        let http = connection::builder(&config.api_url)?
            .user_agent(concat!("clerk-lake/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers(&config.key)?)
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(config.connect_timeout)
            .read_timeout(config.stall_timeout)
            .timeout(config.attempt_timeout)
            .tcp_nodelay(true)
            .build()
            .map_err(|error| connection::cannot_start(&error))?;
        Ok(Self {
            http,
            base: config.api_url,
            quota: Quota::new(config.rate_limit, config.key.kind(), config.quota_share),
            key: config.key,
            retry: config.retry,
            serial: Arc::default(),
            counters: Arc::default(),
            clock: Arc::default(),
            outage: Arc::default(),
            waits: Arc::default(),
            latency_micros: Arc::default(),
            stop: CancellationToken::new(),
        })
    }

    /// Returns a client for one run. Its traffic counters, outage state and server clock start empty. Its requests fail
    /// once `stop` is cancelled. `notice` is called for every wait longer than five seconds.
    #[must_use]
    pub fn for_run(&self, stop: CancellationToken, notice: Notice) -> Self {
        let (clock, outage, waits) = (Arc::default(), Arc::default(), Arc::new(WaitNotices::new(notice)));
        Self { stop, counters: Arc::default(), clock, outage, waits, ..self.clone() }
    }

    /// Returns the same client with its traffic counters reset to zero.
    #[must_use]
    pub fn scope(&self) -> Self {
        Self { counters: Arc::default(), ..self.clone() }
    }

    /// Returns the same client with a retry budget of at most `budget` per request.
    #[must_use]
    pub fn within_retry_budget(&self, budget: Duration) -> Self {
        Self { retry: self.retry.with_budget(budget.min(self.retry.budget)), ..self.clone() }
    }

    /// Returns the traffic of this scope so far.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.counters.read()
    }

    /// Returns the earliest `Date` of all responses to this client and its clones; `None` if no valid response had a
    /// `Date`. The first response cannot contain data later than this time.
    #[must_use]
    pub fn server_start(&self) -> Option<DateTime<Utc>> {
        self.clock.earliest()
    }

    /// Returns the latest `Date` of all responses to this client and its clones; `None` if no valid response had a
    /// `Date`.
    #[must_use]
    pub fn server_latest(&self) -> Option<DateTime<Utc>> {
        self.clock.latest()
    }

    /// Returns the smoothed response time, body included; `None` before the first response.
    #[must_use]
    pub fn latency(&self) -> Option<Duration> {
        let micros = self.latency_micros.load(Ordering::Relaxed);
        (micros > 0).then(|| Duration::from_micros(micros))
    }

    fn record_latency(&self, took: Duration) {
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1);
        let before = self.latency_micros.load(Ordering::Relaxed);
        let smoothed = if before == 0 { took } else { (before.saturating_mul(3)).saturating_add(took) / 4 };
        self.latency_micros.store(smoothed, Ordering::Relaxed);
    }

    /// Returns the base URL of the API.
    #[must_use]
    pub fn address(&self) -> &str {
        self.base.as_str()
    }

    /// Returns a name for the key that does not reveal it. See [`SecretKey::fingerprint`].
    #[must_use]
    pub fn key_fingerprint(&self) -> String {
        self.key.fingerprint()
    }

    /// Returns the request budget, which all clones share.
    #[must_use]
    pub fn quota(&self) -> &Quota {
        &self.quota
    }

    /// Gets `path` (under `/v1`) and decodes its body with `decode`. Failed attempts are retried within the retry
    /// budget. If `decode` refuses a body, the request is repeated a few times. Safe to cancel.
    ///
    /// # Errors
    /// An [`ApiError`] whose [`Refusal`] says what kind of failure it is. A failed response is never returned as an
    /// empty one. [`Refusal::Interrupted`] once the client's run is asked to stop.
    pub async fn get<T>(
        &self,
        path: &str,
        query: &[(&str, String)],
        decode: impl Fn(&[u8]) -> Result<T, String>,
    ) -> Result<T, ApiError> {
        // Boxed to keep the future small: every listing holds one.
        match self.stop.run_until_cancelled(Box::pin(self.get_with_retries(path, query, decode))).await {
            Some(result) => result,
            None => Err(self.error(Refusal::Interrupted, path, None, "not requested: the run was interrupted")),
        }
    }

    async fn get_with_retries<T>(
        &self,
        path: &str,
        query: &[(&str, String)],
        decode: impl Fn(&[u8]) -> Result<T, String>,
    ) -> Result<T, ApiError> {
        let number = self.serial.fetch_add(1, Ordering::Relaxed);
        let mut request = Request::new(number, &self.retry, &self.quota, &self.outage, &self.counters);
        loop {
            self.quota.acquire().await;
            request.count_attempt();
            let sent = Instant::now();
            let outcome = match self.attempt_with_timeout(path, query, &decode, request.longest_attempt()).await {
                Ok(value) => {
                    self.outage.ended();
                    return Ok(value);
                }
                Err(outcome) => outcome,
            };
            let (error, wait) = match outcome {
                Attempt::Fatal(error) => {
                    if error.is_clerks() {
                        self.outage.ended();
                    }
                    return Err(request.failed(error));
                }
                Attempt::Malformed(error) => {
                    self.outage.failed(sent, self.quota.paused_total());
                    request.malformed += 1;
                    if request.malformed >= self.retry.malformed_attempts || request.is_run_budget_spent() {
                        return Err(request.failed(error));
                    }
                    (error, request.next_wait())
                }
                Attempt::Retry { error, wait, throttled, is_unconnected } => {
                    self.outage.failed(sent, self.quota.paused_total());
                    let asked = wait;
                    // A wait of zero would make the client retry in a tight loop.
                    let wait = asked.map_or_else(|| request.next_wait(), |asked| asked.max(self.retry.first_wait));
                    if asked.is_some() {
                        self.quota.pause(wait);
                    }
                    if throttled {
                        self.counters.throttled.fetch_add(1, Ordering::Relaxed);
                        self.quota.throttle(wait);
                    }
                    // A client that never had a response may have a wrong address.
                    let has_begun = self.latency().is_some() || !is_unconnected;
                    if request.is_budget_spent(wait) || (!has_begun && request.age() + wait > CONNECT_BUDGET) {
                        self.outage.give_up();
                        return Err(request.failed(error));
                    }
                    self.notify_wait(path, &error, asked, wait);
                    (error, wait)
                }
            };
            tracing::debug!(%error, attempt = request.attempts, wait_ms = wait.as_millis(), "retrying");
            tokio::time::sleep(wait).await;
        }
    }

    fn notify_wait(&self, path: &str, error: &ApiError, asked: Option<Duration>, wait: Duration) {
        if wait <= LONG_WAIT {
            return;
        }
        let status = error.status.unwrap_or_default();
        let seconds = wait.as_secs_f64();
        self.waits.notify(&match asked {
            Some(_) => format!("Clerk asked for a pause of {seconds:.0} s ({status} on /v1{path})"),
            None => format!("{error}: retrying in {seconds:.0} s"),
        });
    }

    /// Makes one attempt that takes at most `longest`.
    async fn attempt_with_timeout<T>(
        &self,
        path: &str,
        query: &[(&str, String)],
        decode: &impl Fn(&[u8]) -> Result<T, String>,
        longest: Duration,
    ) -> Result<T, Attempt> {
        let attempt = tokio::time::timeout(longest, self.attempt(path, query, decode));
        let mut attempt = std::pin::pin!(attempt);
        let notice_after = if self.latency().is_none() { FIRST_NOTICE } else { LONG_WAIT };
        let outcome = tokio::select! {
            outcome = &mut attempt => outcome,
            () = tokio::time::sleep(notice_after) => {
                let (host, seconds) = (host_of(&self.base), notice_after.as_secs());
                self.waits.notify(&if self.latency().is_none() {
                    format!("connecting to {host}: no response after {seconds} s, still waiting")
                } else {
                    format!("no complete response from /v1{path} after {seconds} s: still waiting")
                });
                attempt.await
            }
        };
        let too_late = || format!("no complete response from {} within {longest:.0?}", host_of(&self.base));
        match outcome {
            Ok(outcome) => outcome,
            Err(_) => Err(self.unreachable(path, &too_late())),
        }
    }

    fn unreachable(&self, path: &str, why: &str) -> Attempt {
        let error = self.error(Refusal::Unreachable, path, None, why);
        Attempt::Retry { error, wait: None, throttled: false, is_unconnected: false }
    }

    /// Classifies a request that got no response, or no complete one.
    fn no_response(&self, path: &str, error: &reqwest::Error) -> Attempt {
        let NoResponse { why, is_certificate_refused, is_unconnected } = explain(error, &self.base);
        if is_certificate_refused {
            return Attempt::Fatal(self.error(Refusal::Certificate, path, None, &why));
        }
        let error = self.error(Refusal::Unreachable, path, None, &why);
        Attempt::Retry { error, wait: None, throttled: false, is_unconnected }
    }

    async fn attempt<T>(
        &self,
        path: &str,
        query: &[(&str, String)],
        decode: &impl Fn(&[u8]) -> Result<T, String>,
    ) -> Result<T, Attempt> {
        let mut url = self.base.clone();
        url.set_path(&format!("{}/v1{path}", self.base.path().trim_end_matches('/')));
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let no_response = |error: reqwest::Error| self.no_response(path, &error);
        let start = Instant::now();
        let response = self.http.get(url).send().await.map_err(no_response)?;
        let status = response.status().as_u16();
        let head = Head::read(response.headers());
        if let Some(wait) = self.quota.observe(head.quota).filter(|wait| *wait > LONG_WAIT) {
            self.waits.notify(&format!("Clerk's request budget is used up: pausing for {} s", wait.as_secs()));
        }
        let limit = if status == 200 { body::LONGEST_BODY } else { body::LONGEST_ERROR };
        let body = body::read(response, limit).await.map_err(no_response)?;
        let (Body::Whole(bytes) | Body::Cut(bytes)) = &body;
        self.counters.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        self.record_latency(start.elapsed());
        tracing::trace!(path, status, took_ms = start.elapsed().as_millis(), "response received");
        if status != 200 {
            return Err(self.failure(path, status, &head, bytes));
        }
        let malformed = |why: &str| self.error(Refusal::Malformed, path, Some(status), why);
        if matches!(body, Body::Cut(_)) {
            let why = format!("the response is larger than {} MiB", body::LONGEST_BODY >> 20);
            return Err(Attempt::Fatal(malformed(&why)));
        }
        if head.is_html {
            return Err(Attempt::Malformed(malformed(HTML_RESPONSE)));
        }
        let value = decode(bytes).map_err(|why| Attempt::Malformed(malformed(&why)))?;
        self.clock.record(head.date);
        Ok(value)
    }

    /// Classifies a response whose status is not 200.
    fn failure(&self, path: &str, status: u16, head: &Head, body: &[u8]) -> Attempt {
        let clerk_error = ClerkError::read(body, &self.key);
        let refusal = classify(path, status, clerk_error.code.as_deref());
        let text = clerk_error.message.unwrap_or_else(|| match &head.location {
            Some(location) => {
                format!("redirects to {}", self.key.redact(location).chars().take(200).collect::<String>())
            }
            None if head.is_html => HTML_RESPONSE.to_owned(),
            None if refusal == Refusal::Malformed => "the error response is not from Clerk".to_owned(),
            None => "no reason given".to_owned(),
        });
        let error = ApiError {
            code: clerk_error.code,
            trace_id: clerk_error.trace_id.or_else(|| head.ray.clone()).map(|id| self.key.redact(&id)),
            ..self.error(refusal, path, Some(status), &text)
        };
        if refusal != Refusal::Unreachable {
            return Attempt::Fatal(error);
        }
        let throttled = status == 429;
        let wait = head.retry_after.or_else(|| head.quota.reset_in.filter(|_| throttled));
        Attempt::Retry { error, wait, throttled, is_unconnected: false }
    }

    fn error(&self, refusal: Refusal, path: &str, status: Option<u16>, message: &str) -> ApiError {
        ApiError {
            refusal,
            method: "GET",
            path: format!("/v1{path}"),
            status,
            code: None,
            message: harmless_lines(&self.key.redact(message)).into_owned(),
            trace_id: None,
            attempts: 1,
            elapsed: Duration::ZERO,
        }
    }
}

fn headers(key: &SecretKey) -> Result<HeaderMap> {
    let mut bearer = HeaderValue::from_str(&key.bearer())
        .map_err(|_| Error::settings("the Clerk secret key contains characters that are not allowed in a header"))?;
    bearer.set_sensitive(true);
    let mut headers = HeaderMap::new();
    headers.insert(AUTHORIZATION, bearer);
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert("clerk-api-version", HeaderValue::from_static(API_VERSION));
    Ok(headers)
}
