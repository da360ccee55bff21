//! An S3 server over real HTTP, in this process. It has one bucket, supports the operations that the program uses, and
//! injects faults.
//!
//! Requests are path-style. The server does not compute signatures: a signature must be present, recent, and of the
//! right access key. Two further paths return credentials, like the role of an EC2 instance or of a container.

mod bucket;
mod request;
mod response;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use chrono::TimeDelta;
use clerk_lake::clock::Clock;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use object_store::aws::AmazonS3Builder;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::{JoinHandle, JoinSet};

use bucket::Bucket;
use request::Call;
use response::{Body, S3Response};

pub use request::Operation;

/// The only bucket.
pub const BUCKET: &str = "clerk-bucket";

pub const REGION: &str = "eu-central-1";

/// The only valid access key.
pub const ACCESS_KEY: &str = "AKIAN0TAR3ALK3Y";

/// The secret of the access key. It is long enough to be recognized if it leaks.
pub const SECRET: &str = "n0tAr3alS3cr3tAcc3ssK3y/n0t+at/all";

/// Maximum difference between the clocks of client and server.
const MAX_SKEW: TimeDelta = TimeDelta::minutes(15);

/// A fault of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The response is 503: too many requests.
    SlowDown,
    /// The response is 500.
    InternalError,
    /// The response to a conditional put is 409, as if another request were in progress. Other requests have no fault.
    Conflict,
    /// The request has no effect, and the connection is closed.
    Dropped,
    /// The request takes effect, and the connection is closed without a response.
    ResponseLost,
    /// The content of an object ends in the middle. Other requests have no fault.
    BreaksOff,
}

/// Requests that are refused for every client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Requests that change the bucket.
    Writes,
    /// All requests, as if the secret did not match the access key.
    Signatures,
}

#[derive(Default)]
struct State {
    bucket: Bucket,
    requests: u64,
    counts: BTreeMap<Operation, u64>,
    /// All requests, in order: operation and key.
    log: Vec<(Operation, String)>,
    /// The interval between faults, in requests, and the faults, which are used in turn.
    faults: (u64, Vec<Fault>),
    refusal: Option<Refusal>,
    /// Time by which the server's clock is ahead.
    ahead: TimeDelta,
    /// The request to hold until it is released: its operation and a part of its key.
    hold: Option<(Operation, String)>,
}

impl State {
    fn serve(&mut self, call: &Call) -> (S3Response, Option<Fault>) {
        *self.counts.entry(call.operation).or_default() += 1;
        let key = if call.key.is_empty() {
            call.parameter("prefix").unwrap_or_default().to_owned()
        } else {
            call.key.clone()
        };
        self.log.push((call.operation, key));
        let fault = self.fault(call);
        let response = match fault {
            Some(Fault::SlowDown) => S3Response::error(503, "SlowDown", "Please reduce your request rate."),
            Some(Fault::InternalError) => {
                S3Response::error(500, "InternalError", "We encountered an internal error. Please try again.")
            }
            Some(Fault::Conflict) => {
                let message =
                    "The conditional request cannot succeed due to a conflicting operation against this resource.";
                S3Response::error(409, "ConditionalRequestConflict", message)
            }
            Some(Fault::Dropped) => S3Response::of(204, ""),
            Some(Fault::ResponseLost | Fault::BreaksOff) | None => {
                self.refused(call).unwrap_or_else(|| self.bucket.serve(call))
            }
        };
        (response, fault)
    }

    fn fault(&mut self, call: &Call) -> Option<Fault> {
        self.requests += 1;
        let (every, faults) = &self.faults;
        if *every == 0 || !self.requests.is_multiple_of(*every) || faults.is_empty() {
            return None;
        }
        let turn = usize::try_from(self.requests / every).ok()?;
        let fault = faults[turn % faults.len()];
        let applies = match fault {
            Fault::BreaksOff => call.operation == Operation::GetObject,
            Fault::Conflict => call.operation == Operation::PutObject && call.header("if-none-match").is_some(),
            _ => true,
        };
        applies.then_some(fault)
    }

    /// Returns the response that refuses a call; `None` if the call is allowed.
    fn refused(&self, call: &Call) -> Option<S3Response> {
        let now = Clock::system().now() + self.ahead;
        let skew = call.signed_at().map_or(TimeDelta::zero(), |at| (now - at).abs());
        let (status, code, message) = if call.access_key().is_none() {
            (403, "AccessDenied", "Anonymous access is forbidden for this operation")
        } else if call.access_key() != Some(ACCESS_KEY) {
            (403, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.")
        } else if self.refusal == Some(Refusal::Signatures) {
            let message = "The request signature we calculated does not match the signature you provided. \
                Check your key and signing method.";
            (403, "SignatureDoesNotMatch", message)
        } else if skew > MAX_SKEW {
            let message = "The difference between the request time and the current time is too large.";
            (403, "RequestTimeTooSkewed", message)
        } else if call.bucket != BUCKET {
            (404, "NoSuchBucket", "The specified bucket does not exist")
        } else if self.refusal == Some(Refusal::Writes) && call.operation.writes() {
            (403, "AccessDenied", "Access Denied")
        } else {
            return None;
        };
        Some(S3Response::error(status, code, message))
    }

    /// Whether to hold this call. Only one call is held.
    fn holds(&mut self, call: &Call) -> bool {
        self.hold.take_if(|(operation, key)| *operation == call.operation && call.key.contains(key.as_str())).is_some()
    }
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    held: Notify,
    release: Notify,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The server. It stops when it is dropped.
pub struct S3 {
    address: SocketAddr,
    shared: Arc<Shared>,
    store: Arc<dyn ObjectStore>,
    server: JoinHandle<()>,
}

impl S3 {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared::default());
        let server = tokio::spawn(serve(listener, Arc::clone(&shared)));
        Self { address, shared, store: store_at(&format!("http://{address}")), server }
    }

    /// Returns the base URL, for `AWS_ENDPOINT_URL`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns a client for the bucket, with short waits between retries.
    pub fn store(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(&self.store)
    }

    /// Returns the environment variables with which the real program uses this server.
    pub fn environment(&self) -> [(&'static str, String); 4] {
        [
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", SECRET.to_owned()),
            ("AWS_REGION", REGION.to_owned()),
            ("AWS_ENDPOINT_URL", self.url()),
        ]
    }

    /// Injects one of `faults`, in turn, into one of `every` requests; into none if `every` is 0.
    pub fn set_faults(&self, every: u64, faults: &[Fault]) {
        self.shared.state().faults = (every, faults.to_vec());
    }

    pub fn refuse(&self, refusal: Option<Refusal>) {
        self.shared.state().refusal = refusal;
    }

    pub fn set_clock_ahead(&self, by: TimeDelta) {
        self.shared.state().ahead = by;
    }

    /// Holds the next request with this operation whose key contains `part_of_key`, until it is released.
    pub fn hold(&self, operation: Operation, part_of_key: &str) {
        self.shared.state().hold = Some((operation, part_of_key.to_owned()));
    }

    /// Waits until a request is held.
    pub async fn held(&self) {
        let held = tokio::time::timeout(Duration::from_mins(1), self.shared.held.notified()).await;
        held.expect("no such request was made within a minute");
    }

    pub fn release(&self) {
        self.shared.release.notify_one();
    }

    /// Makes all objects in the bucket older by this much.
    pub fn age(&self, by: TimeDelta) {
        self.shared.state().bucket.age(by);
    }

    pub fn clear(&self) {
        self.shared.state().bucket.clear();
    }

    /// Returns the keys of all objects, in order.
    pub fn keys(&self) -> Vec<String> {
        self.shared.state().bucket.keys()
    }

    /// Returns the keys of uploads that were neither completed nor aborted. Lists of objects do not show them.
    pub fn unfinished_uploads(&self) -> Vec<String> {
        self.shared.state().bucket.unfinished_uploads()
    }

    /// Ignores the conditions of puts, as some S3-compatible stores do.
    pub fn ignore_conditions(&self) {
        self.shared.state().bucket.ignores_conditions = true;
    }

    /// Returns the operation and the key of each request since the last call.
    pub fn take_log(&self) -> Vec<(Operation, String)> {
        std::mem::take(&mut self.shared.state().log)
    }

    /// Uses the page size of S3 for lists.
    pub fn list_in_long_pages(&self) {
        self.shared.state().bucket.has_long_pages = true;
    }

    /// Returns the number of requests with this operation.
    pub fn count(&self, operation: Operation) -> u64 {
        self.shared.state().counts.get(&operation).copied().unwrap_or_default()
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Returns a client for the bucket at `url`, with short waits between retries.
pub fn store_at(url: &str) -> Arc<dyn ObjectStore> {
    Arc::new(builder_at(url).build().expect("a store"))
}

/// Returns a client for the bucket at `url` with this request timeout.
pub fn store_with_timeout(url: &str, timeout: Duration) -> Arc<dyn ObjectStore> {
    let options = ClientOptions::new().with_allow_http(true).with_timeout(timeout);
    Arc::new(builder_at(url).with_client_options(options).build().expect("a store"))
}

fn builder_at(url: &str) -> AmazonS3Builder {
    let (init_backoff, max_backoff) = (Duration::from_millis(1), Duration::from_millis(20));
    let backoff = BackoffConfig { init_backoff, max_backoff, base: 2.0 };
    let retry = RetryConfig { backoff, max_retries: 10, retry_timeout: Duration::from_secs(20) };
    let builder = AmazonS3Builder::new().with_endpoint(url).with_allow_http(true).with_retry(retry);
    let builder = builder.with_access_key_id(ACCESS_KEY).with_secret_access_key(SECRET);
    builder.with_region(REGION).with_bucket_name(BUCKET)
}

/// Accepts connections until it is aborted. Its connections end with it.
async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((stream, _)) = accepted {
                    connections.spawn(connection(stream, Arc::clone(&shared)));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(stream: TcpStream, shared: Arc<Shared>) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let shared = Arc::clone(&shared);
        async move { respond(shared, request).await }
    });
    let server = auto::Builder::new(TokioExecutor::new());
    let _ = server.serve_connection(TokioIo::new(stream), service).await;
}

async fn respond(shared: Arc<Shared>, request: Request<Incoming>) -> io::Result<Response<Body>> {
    let (head, body) = request.into_parts();
    // Read the whole request first. Otherwise closing the connection resets it, and the client may miss the response.
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    if let Some(response) = role(head.uri.path()) {
        return Ok(response.into_http(false, false));
    }
    let call = match Call::read(&head.method, &head.uri, head.headers, body) {
        Ok(call) => call,
        Err(response) => return Ok(response.into_http(false, false)),
    };
    let is_head = call.operation == Operation::HeadObject;
    let serving = async move {
        let waits = shared.state().holds(&call);
        if waits {
            shared.held.notify_one();
            shared.release.notified().await;
        }
        shared.state().serve(&call)
    };
    // A request that has arrived takes effect even if the client no longer waits for the response.
    let (response, fault) = tokio::spawn(serving).await.map_err(io::Error::other)?;
    match fault {
        Some(Fault::Dropped | Fault::ResponseLost) => {
            Err(io::Error::new(io::ErrorKind::ConnectionAborted, "dropped on purpose"))
        }
        _ => Ok(response.into_http(is_head, fault == Some(Fault::BreaksOff))),
    }
}

/// Returns the response of the credentials endpoint of an EC2 instance or a container.
fn role(path: &str) -> Option<S3Response> {
    const ROLE: &str = "/latest/meta-data/iam/security-credentials/";
    let credentials = serde_json::json!({
        "AccessKeyId": ACCESS_KEY,
        "SecretAccessKey": SECRET,
        "Token": "a-session-token",
        "Expiration": "2099-01-01T00:00:00Z",
    });
    let text = match path {
        "/latest/api/token" => "a-token".to_owned(),
        ROLE => "lake-writer".to_owned(),
        "/container-credentials" => credentials.to_string(),
        path if path.strip_prefix(ROLE) == Some("lake-writer") => credentials.to_string(),
        _ => return None,
    };
    Some(S3Response::of(200, Bytes::from(text)))
}
