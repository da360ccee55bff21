//! A server that returns any response a test wants. Use it for responses that the simulator never sends.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// The parts of a request that a response can depend on.
#[derive(Default)]
pub struct Request {
    pub path: String,
    pub query: String,
    pub authorization: String,
}

/// A response of the stub server.
pub struct StubResponse {
    status: u16,
    content_type: &'static str,
    headers: Vec<(&'static str, String)>,
    body: String,
}

impl StubResponse {
    pub fn json(status: u16, body: &serde_json::Value) -> Self {
        Self::text(status, "application/json", &body.to_string())
    }

    pub fn text(status: u16, content_type: &'static str, body: &str) -> Self {
        Self { status, content_type, headers: Vec::new(), body: body.to_owned() }
    }

    /// Returns an error in Clerk's format.
    pub fn error(status: u16, code: &str) -> Self {
        let error = serde_json::json!({"code": code, "message": "no", "long_message": "no", "meta": {}});
        Self::json(status, &serde_json::json!({"errors": [error], "clerk_trace_id": "trace"}))
    }

    pub fn redirect(location: &str) -> Self {
        Self::text(302, "text/plain", "").with("location", location)
    }

    /// Adds a header.
    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    fn head(&self) -> String {
        let headers: Vec<String> = self.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let headers = headers.concat();
        let Self { status, content_type, body, .. } = self;
        let length = body.len();
        format!(
            "HTTP/1.1 {status} Stub\r\ncontent-type: {content_type}\r\ncontent-length: {length}\r\n\
             connection: close\r\n{headers}\r\n"
        )
    }
}

/// Returns a URL that refuses connections.
pub fn nowhere() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    format!("http://{}", listener.local_addr().expect("an address"))
}

/// The server. It stops when it is dropped.
pub struct Stub {
    address: SocketAddr,
    server: JoinHandle<()>,
}

impl Stub {
    pub async fn start(responder: impl Fn(&Request) -> StubResponse + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let responder = Arc::new(responder);
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let responder = Arc::clone(&responder);
                tokio::spawn(async move {
                    // Ignore errors: the client may have closed the connection.
                    let _ = respond(stream, responder.as_ref()).await;
                });
            }
        });
        Self { address, server }
    }

    /// Returns the base URL, for `--api-url`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Serves one request per connection: reads its head, responds, and closes.
async fn respond(stream: TcpStream, responder: &(impl Fn(&Request) -> StubResponse + Sync)) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let request = head(&mut stream).await?;
    let response = responder(&request);
    stream.get_mut().write_all(response.head().as_bytes()).await?;
    stream.get_mut().write_all(response.body.as_bytes()).await?;
    stream.get_mut().shutdown().await
}

async fn head(stream: &mut BufReader<TcpStream>) -> io::Result<Request> {
    let mut first = String::new();
    stream.read_line(&mut first).await?;
    let target = first.split_whitespace().nth(1).unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut request = Request { path: path.to_owned(), query: query.to_owned(), ..Request::default() };
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 || line.trim_end().is_empty() {
            return Ok(request);
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("authorization")
        {
            value.trim().clone_into(&mut request.authorization);
        }
    }
}
