//! One request to Clerk, done properly: paced, bounded in time, retried, and explained when it fails.
//!
//! It knows the rules that hold for every request (Backend API, "Every request") and none of any resource.

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
use super::error::{ApiError, Complaint, Refusal, classify};
use super::head::{Head, explain};
use super::outage::{LONG_WAIT, Notice, Outage, Waits};
use super::quota::Quota;
use super::request::Request;
use super::retry::RetryPolicy;
use super::secret::SecretKey;
use super::server_clock::ServerClock;
use super::traffic::{Counters, Traffic};
use crate::error::{Error, Result};

/// The version of the contract that every request asks for.
pub const API_VERSION: &str = "2026-05-12";

/// What is said of an answer that is a web page.
const HTML: &str = "an HTML page came where JSON was asked for";

/// Asks Clerk. Cheap to clone; clones share connections and the request budget.
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
    waits: Arc<Waits>,
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
        let http = reqwest::Client::builder();
        // A proxy would get the key unencrypted: over plain http it is sent to this machine only.
        let http = if config.api_url.scheme() == "http" { http.no_proxy() } else { http };
        let http = http
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
            clock: Arc::default(),
            outage: Arc::default(),
            waits: Arc::default(),
            latency_micros: Arc::default(),
            stop: CancellationToken::new(),
        })
    }

    /// The same client for a run of its own: traffic, outages and the server's clock from nothing, and no more
    /// answers once `stop` is cancelled. Every wait of more than five seconds is told to `notice`.
    #[must_use]
    pub fn for_run(&self, stop: CancellationToken, notice: Notice) -> Self {
        let (clock, outage, waits) = (Arc::default(), Arc::default(), Arc::new(Waits::told_to(notice)));
        Self { stop, counters: Arc::default(), clock, outage, waits, ..self.clone() }
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
        self.counters.read()
    }

    /// The earliest moment that an answer to this client, or to any clone of it, has said it to be; `None` if none of
    /// those that were understood has said. Nothing that the first of them holds can be later.
    #[must_use]
    pub fn server_start(&self) -> Option<DateTime<Utc>> {
        self.clock.earliest()
    }

    /// The latest moment that an answer to this client, or to any clone of it, has said it to be; `None` if none of
    /// those that were understood has said.
    #[must_use]
    pub fn server_latest(&self) -> Option<DateTime<Utc>> {
        self.clock.latest()
    }

    /// Returns how long an answer takes lately, its body included, or `None` before the first one.
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
        decode: impl Fn(&[u8]) -> Result<T, String>,
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
        decode: impl Fn(&[u8]) -> Result<T, String>,
    ) -> Result<T, ApiError> {
        let number = self.serial.fetch_add(1, Ordering::Relaxed);
        let mut request = Request::new(number, &self.retry, &self.quota, &self.outage, &self.counters);
        loop {
            self.quota.acquire().await;
            request.count_attempt();
            let sent = Instant::now();
            let outcome = match self.attempt_in_time(path, query, &decode, request.longest_attempt()).await {
                Ok(value) => {
                    self.outage.ended();
                    return Ok(value);
                }
                Err(outcome) => outcome,
            };
            let (error, wait) = match outcome {
                Attempt::Final(error) => {
                    if error.is_clerks() {
                        self.outage.ended();
                    }
                    return Err(request.failed(error));
                }
                Attempt::Garbled(error) => {
                    self.outage.failed(sent, self.quota.held());
                    request.garbled += 1;
                    if request.garbled >= self.retry.malformed_attempts || request.is_hopeless() {
                        return Err(request.failed(error));
                    }
                    (error, request.next_wait())
                }
                Attempt::Again { error, wait, throttled } => {
                    self.outage.failed(sent, self.quota.held());
                    let asked = wait;
                    // "At once" would ask as fast as the line allows.
                    let wait = asked.map_or_else(|| request.next_wait(), |asked| asked.max(self.retry.first_wait));
                    if asked.is_some() {
                        self.quota.pause(wait);
                    }
                    if throttled {
                        self.counters.throttled.fetch_add(1, Ordering::Relaxed);
                        self.quota.refused(wait);
                    }
                    if request.is_spent(wait) {
                        self.outage.give_up();
                        return Err(request.failed(error));
                    }
                    self.say_wait(path, &error, asked, wait);
                    (error, wait)
                }
            };
            tracing::debug!(%error, attempt = request.attempts, wait_ms = wait.as_millis(), "asking again");
            tokio::time::sleep(wait).await;
        }
    }

    fn say_wait(&self, path: &str, error: &ApiError, asked: Option<Duration>, wait: Duration) {
        if wait <= LONG_WAIT {
            return;
        }
        let status = error.status.unwrap_or_default();
        let seconds = wait.as_secs_f64();
        self.waits.say(&match asked {
            Some(_) => format!("Clerk asked for a pause of {seconds:.0} s ({status} on /v1{path})"),
            None => format!("{error}: asking again in {seconds:.0} s"),
        });
    }

    /// One attempt, which takes `longest` at most.
    async fn attempt_in_time<T>(
        &self,
        path: &str,
        query: &[(&str, String)],
        decode: &impl Fn(&[u8]) -> Result<T, String>,
        longest: Duration,
    ) -> Result<T, Attempt> {
        let attempt = tokio::time::timeout(longest, self.attempt(path, query, decode));
        let mut attempt = std::pin::pin!(attempt);
        let outcome = tokio::select! {
            outcome = &mut attempt => outcome,
            () = tokio::time::sleep(LONG_WAIT) => {
                self.waits.say(&format!("no complete answer from /v1{path} for {} s: waiting", LONG_WAIT.as_secs()));
                attempt.await
            }
        };
        match outcome {
            Ok(outcome) => outcome,
            Err(_) => Err(self.unreachable(path, &format!("no answer in time ({longest:.0?})"))),
        }
    }

    fn unreachable(&self, path: &str, why: &str) -> Attempt {
        Attempt::Again { error: self.error(Refusal::Unreachable, path, None, why), wait: None, throttled: false }
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
        let unreachable = |error: &reqwest::Error| self.unreachable(path, &explain(error));
        let start = Instant::now();
        let response = self.http.get(url).send().await.map_err(|error| unreachable(&error))?;
        let status = response.status().as_u16();
        let head = Head::read(response.headers());
        if let Some(wait) = self.quota.observe(head.quota).filter(|wait| *wait > LONG_WAIT) {
            self.waits.say(&format!("Clerk's request budget is used up: a pause of {} s", wait.as_secs()));
        }
        let limit = if status == 200 { body::LONGEST_BODY } else { body::LONGEST_ERROR };
        let body = body::read(response, limit).await.map_err(|error| unreachable(&error))?;
        let (Body::Whole(bytes) | Body::Cut(bytes)) = &body;
        self.counters.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        self.note_latency(start.elapsed());
        tracing::trace!(path, status, took_ms = start.elapsed().as_millis(), "answered");
        if status != 200 {
            return Err(self.refused(path, status, &head, bytes));
        }
        let malformed = |why: &str| self.error(Refusal::Malformed, path, Some(status), why);
        if matches!(body, Body::Cut(_)) {
            let why = format!("an answer of more than {} MiB", body::LONGEST_BODY >> 20);
            return Err(Attempt::Final(malformed(&why)));
        }
        if head.is_html {
            return Err(Attempt::Garbled(malformed(HTML)));
        }
        let value = decode(bytes).map_err(|why| Attempt::Garbled(malformed(&why)))?;
        self.clock.take(head.date);
        Ok(value)
    }

    /// What to make of an answer that is not a 200.
    fn refused(&self, path: &str, status: u16, head: &Head, body: &[u8]) -> Attempt {
        let complaint = Complaint::read(body, &self.key);
        let refusal = classify(path, status, complaint.code.as_deref());
        let text = complaint.message.unwrap_or_else(|| match &head.location {
            Some(location) => {
                format!("redirects to {}", self.key.redact(location).chars().take(200).collect::<String>())
            }
            None if head.is_html => HTML.to_owned(),
            None if refusal == Refusal::Malformed => "an error that is not Clerk's".to_owned(),
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
