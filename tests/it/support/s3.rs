//! S3 over real HTTP, in this process: one bucket, what the protocol asks as far as the program uses it, and bad days.
//!
//! Requests are path-style. A signature is not worked out: it must be there, recent, and of the right access key. Two
//! paths beside the bucket give out credentials as an instance's or a container's role does.

mod answer;
mod bucket;
mod call;

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

use answer::{Answer, Body};
use bucket::Bucket;
use call::Call;

pub use call::Operation;

/// The one bucket that there is.
pub const BUCKET: &str = "clerk-bucket";

pub const REGION: &str = "eu-central-1";

/// The one access key that it takes.
pub const ACCESS_KEY: &str = "AKIAN0TAR3ALK3Y";

/// What belongs to it; long enough to be found wherever it leaks.
pub const SECRET: &str = "n0tAr3alS3cr3tAcc3ssK3y/n0t+at/all";

/// How far the clocks of client and server may be apart.
const MOST_SKEW: TimeDelta = TimeDelta::minutes(15);

/// What may go wrong with a request now and then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is refused with 503: there are too many.
    SlowDown,
    /// It is refused with 500.
    InternalError,
    /// A put on a condition is refused with 409, as if another request were under way; nothing befalls other requests.
    Conflict,
    /// Nothing is done, and the connection is closed.
    Dropped,
    /// It is done, and the connection is closed without an answer.
    AnswerLost,
    /// The content of an object breaks off in the middle; nothing befalls other requests.
    BreaksOff,
}

/// What is refused whoever asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Whatever changes the bucket.
    Writes,
    /// Every signature: the access key belongs to another secret.
    Signatures,
}

#[derive(Default)]
struct State {
    bucket: Bucket,
    requests: u64,
    counts: BTreeMap<Operation, u64>,
    /// What has been asked for, in order: the operation and the key.
    log: Vec<(Operation, String)>,
    /// What befalls every so many requests, in turn.
    faults: (u64, Vec<Fault>),
    refusal: Option<Refusal>,
    /// How far the server's clock is ahead.
    ahead: TimeDelta,
    /// Which request is not served until it is let go on, by its operation and a part of its key.
    hold: Option<(Operation, String)>,
}

impl State {
    fn answer(&mut self, call: &Call) -> (Answer, Option<Fault>) {
        *self.counts.entry(call.operation).or_default() += 1;
        let key = if call.key.is_empty() {
            call.parameter("prefix").unwrap_or_default().to_owned()
        } else {
            call.key.clone()
        };
        self.log.push((call.operation, key));
        let fault = self.fault(call);
        let answer = match fault {
            Some(Fault::SlowDown) => Answer::error(503, "SlowDown", "Please reduce your request rate."),
            Some(Fault::InternalError) => {
                Answer::error(500, "InternalError", "We encountered an internal error. Please try again.")
            }
            Some(Fault::Conflict) => {
                let message =
                    "The conditional request cannot succeed due to a conflicting operation against this resource.";
                Answer::error(409, "ConditionalRequestConflict", message)
            }
            Some(Fault::Dropped) => Answer::of(204, ""),
            Some(Fault::AnswerLost | Fault::BreaksOff) | None => {
                self.refused(call).unwrap_or_else(|| self.bucket.answer(call))
            }
        };
        (answer, fault)
    }

    fn fault(&mut self, call: &Call) -> Option<Fault> {
        self.requests += 1;
        let (every, faults) = &self.faults;
        if *every == 0 || !self.requests.is_multiple_of(*every) || faults.is_empty() {
            return None;
        }
        let turn = usize::try_from(self.requests / every).ok()?;
        let fault = faults[turn % faults.len()];
        let befalls = match fault {
            Fault::BreaksOff => call.operation == Operation::GetObject,
            Fault::Conflict => call.operation == Operation::PutObject && call.header("if-none-match").is_some(),
            _ => true,
        };
        befalls.then_some(fault)
    }

    /// What refuses a call, if anything does.
    fn refused(&self, call: &Call) -> Option<Answer> {
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
        } else if skew > MOST_SKEW {
            let message = "The difference between the request time and the current time is too large.";
            (403, "RequestTimeTooSkewed", message)
        } else if call.bucket != BUCKET {
            (404, "NoSuchBucket", "The specified bucket does not exist")
        } else if self.refusal == Some(Refusal::Writes) && call.operation.writes() {
            (403, "AccessDenied", "Access Denied")
        } else {
            return None;
        };
        Some(Answer::error(status, code, message))
    }

    /// Whether a call is the one that is to be held; it is the only one.
    fn holds(&mut self, call: &Call) -> bool {
        self.hold.take_if(|(operation, key)| *operation == call.operation && call.key.contains(key.as_str())).is_some()
    }
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    held: Notify,
    let_go: Notify,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The server; dropping it stops it.
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

    /// Where it listens, for `AWS_ENDPOINT_URL`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A way to the bucket, with short waits between tries.
    pub fn store(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(&self.store)
    }

    /// What tells the real program of it.
    pub fn environment(&self) -> [(&'static str, String); 4] {
        [
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", SECRET.to_owned()),
            ("AWS_REGION", REGION.to_owned()),
            ("AWS_ENDPOINT_URL", self.url()),
        ]
    }

    /// Lets one of `faults`, in turn, befall every so many requests; none where `every` is 0.
    pub fn set_faults(&self, every: u64, faults: &[Fault]) {
        self.shared.state().faults = (every, faults.to_vec());
    }

    pub fn refuse(&self, refusal: Option<Refusal>) {
        self.shared.state().refusal = refusal;
    }

    pub fn set_clock_ahead(&self, by: TimeDelta) {
        self.shared.state().ahead = by;
    }

    /// Holds the next such request at a key with this part: nothing is done before it is let go.
    pub fn hold(&self, operation: Operation, part_of_key: &str) {
        self.shared.state().hold = Some((operation, part_of_key.to_owned()));
    }

    /// Waits until a request is held.
    pub async fn held(&self) {
        let held = tokio::time::timeout(Duration::from_mins(1), self.shared.held.notified()).await;
        held.expect("a minute has passed, and no such request was made");
    }

    pub fn let_go(&self) {
        self.shared.let_go.notify_one();
    }

    /// Makes everything in the bucket as much older.
    pub fn age(&self, by: TimeDelta) {
        self.shared.state().bucket.age(by);
    }

    pub fn clear(&self) {
        self.shared.state().bucket.clear();
    }

    /// The keys of all objects, in order.
    pub fn keys(&self) -> Vec<String> {
        self.shared.state().bucket.keys()
    }

    /// The keys of uploads that were begun and neither completed nor aborted: no list of objects shows them.
    pub fn unfinished_uploads(&self) -> Vec<String> {
        self.shared.state().bucket.unfinished_uploads()
    }

    /// Lets puts on a condition do as others do, as some compatible stores do.
    pub fn ignore_conditions(&self) {
        self.shared.state().bucket.ignores_conditions = true;
    }

    /// What has been asked for since this was last asked: the operation and the key of each request.
    pub fn take_log(&self) -> Vec<(Operation, String)> {
        std::mem::take(&mut self.shared.state().log)
    }

    /// Lets a list come in pages as long as S3's own.
    pub fn list_in_long_pages(&self) {
        self.shared.state().bucket.has_long_pages = true;
    }

    /// How often it was asked for this.
    pub fn count(&self, operation: Operation) -> u64 {
        self.shared.state().counts.get(&operation).copied().unwrap_or_default()
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// A way to the bucket at `url`, with short waits between tries.
pub fn store_at(url: &str) -> Arc<dyn ObjectStore> {
    Arc::new(builder_at(url).build().expect("a store"))
}

/// The same for somebody who waits for no answer longer than this.
pub fn store_with_patience(url: &str, patience: Duration) -> Arc<dyn ObjectStore> {
    let options = ClientOptions::new().with_allow_http(true).with_timeout(patience);
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

/// Takes connections until it is aborted; its connections end with it.
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
    // All of it is read first: a connection that is closed before that is reset, which tells the client less.
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    if let Some(answer) = role(head.uri.path()) {
        return Ok(answer.response(false, false));
    }
    let call = match Call::read(&head.method, &head.uri, head.headers, body) {
        Ok(call) => call,
        Err(answer) => return Ok(answer.response(false, false)),
    };
    let is_head = call.operation == Operation::HeadObject;
    let answering = async move {
        let waits = shared.state().holds(&call);
        if waits {
            shared.held.notify_one();
            shared.let_go.notified().await;
        }
        shared.state().answer(&call)
    };
    // What has arrived is carried out, whether or not anybody still waits for the answer.
    let (answer, fault) = tokio::spawn(answering).await.map_err(io::Error::other)?;
    match fault {
        Some(Fault::Dropped | Fault::AnswerLost) => {
            Err(io::Error::new(io::ErrorKind::ConnectionAborted, "dropped on purpose"))
        }
        _ => Ok(answer.response(is_head, fault == Some(Fault::BreaksOff))),
    }
}

/// What an instance's or a container's own endpoint says of the role that gives the right to the bucket.
fn role(path: &str) -> Option<Answer> {
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
    Some(Answer::of(200, Bytes::from(text)))
}
