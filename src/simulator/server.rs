//! The HTTP server. Each request passes the rate limit, the injected faults, the key check and the changes.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use chrono::DateTime;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, DATE, HeaderMap, RETRY_AFTER,
    USER_AGENT,
};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::answer::{Reply, ResponseBody, compressed, cut, error_reply, stalled, whole};
use super::faults::FaultKind;
use super::limit::{RequestLimit, Verdict};
use super::listing::QueryString;
use super::routes;
use super::state::{RequestRecord, Shared};

/// Accepts connections until the task is aborted. Its open connections end with it.
pub(super) async fn serve(listener: TcpListener, shared: Arc<Shared>) {
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
        async move { respond(&shared, request).await }
    });
    let mut server = auto::Builder::new(TokioExecutor::new());
    server.http1().auto_date_header(false);
    server.http2().auto_date_header(false);
    let _ = server.serve_connection(TokioIo::new(stream), service).await;
}

async fn respond(shared: &Shared, request: Request<Incoming>) -> io::Result<Response<ResponseBody>> {
    let path = request.uri().path().to_owned();
    let parameters = QueryString::parse(request.uri().query().unwrap_or_default());
    let headers = request.headers().clone();
    if path.starts_with("/_simulator/") {
        let body = request.into_body().collect().await.map_err(io::Error::other)?.to_bytes();
        let reply = routes::simulator(shared, &path, &parameters, &body);
        return Ok(send(shared, reply, &headers, None, None));
    }
    let filtered = parameters.get("created_at_after").is_some() || parameters.get("created_at_before").is_some();
    let skipped = parameters.get("offset").and_then(|offset| offset.parse().ok()).unwrap_or(0);
    let latency = shared.settings().latency_of(filtered, skipped);
    if !latency.is_zero() {
        tokio::time::sleep(latency).await;
    }
    let limit = shared.admit();
    let fault = shared.fault(&path);
    let reply = answer(shared, &path, &parameters, &headers, limit, fault);
    shared.record(record(path, parameters, &headers, &reply, fault));
    if fault == Some(FaultKind::Reset) {
        return Err(io::Error::new(io::ErrorKind::ConnectionReset, "connection reset by an injected fault"));
    }
    Ok(send(shared, reply, &headers, limit, fault))
}

fn answer(
    shared: &Shared,
    path: &str,
    parameters: &QueryString,
    headers: &HeaderMap,
    limit: Option<(RequestLimit, Verdict)>,
    fault: Option<FaultKind>,
) -> Reply {
    if let Some((_, verdict)) = limit.filter(|(_, verdict)| !verdict.allowed) {
        let wait = verdict.until_reset.as_secs() + u64::from(verdict.until_reset.subsec_nanos() > 0);
        return error_reply(429, "too_many_requests", "Too many requests, retry later").after(wait.max(1));
    }
    if let Some(reply) = fault.and_then(fault_reply) {
        return reply;
    }
    let expected = format!("Bearer {}", shared.settings().key);
    if headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()) != Some(expected.as_str()) {
        let message = "The provided Clerk Secret Key is invalid. Make sure that your Clerk Secret Key is correct.";
        return error_reply(401, "clerk_key_invalid", message);
    }
    if routes::is_list(path) {
        shared.change_before_list();
    }
    let clamp = shared.settings().clamp;
    let clamp = if fault == Some(FaultKind::ClampedPage) { Some(3) } else { clamp };
    routes::clerk(shared, path, parameters, clamp)
}

/// Returns the response that a fault sends instead of the regular one; `None` if the regular one is sent.
fn fault_reply(fault: FaultKind) -> Option<Reply> {
    match fault {
        FaultKind::ServerError => {
            Some(error_reply(500, "internal_clerk_error", "There was an internal error on our servers"))
        }
        FaultKind::BadGatewayHtml => Some(Reply::html(502)),
        FaultKind::Unavailable => Some(error_reply(503, "service_unavailable", "Try again").after(1)),
        FaultKind::TooManyRequests => {
            Some(error_reply(429, "too_many_requests", "Too many requests, retry later").after(1))
        }
        FaultKind::RequestTimeout => Some(error_reply(408, "request_timeout", "The request took too long")),
        FaultKind::Html => Some(Reply::html(200)),
        FaultKind::EmptyBody => Some(Reply::json(String::new())),
        FaultKind::NotFound => Some(error_reply(404, "resource_not_found", "Resource not found")),
        FaultKind::GatewayForbidden => Some(Reply::text(403, "RBAC: access denied")),
        FaultKind::GatewayNotFound => Some(Reply::text(404, "404 page not found")),
        _ => None,
    }
}

fn send(
    shared: &Shared,
    reply: Reply,
    headers: &HeaderMap,
    limit: Option<(RequestLimit, Verdict)>,
    fault: Option<FaultKind>,
) -> Response<ResponseBody> {
    let mut body = reply.body.into_bytes();
    if fault == Some(FaultKind::MalformedJson) {
        body.truncate(body.len() * 2 / 3);
    }
    let accepted = headers.get(ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (bytes, encoding) =
        if shared.settings().compression { compressed(body, accepted) } else { (Bytes::from(body), None) };
    let mut response = Response::builder()
        .status(reply.status)
        .header(CONTENT_TYPE, reply.content_type)
        .header(CONTENT_LENGTH, bytes.len());
    if let Some(encoding) = encoding {
        response = response.header(CONTENT_ENCODING, encoding);
    }
    if let Some(seconds) = reply.retry_after {
        response = response.header(RETRY_AFTER, seconds);
    }
    if let Some((limit, verdict)) = limit.filter(|(limit, _)| limit.headers) {
        let reset = shared.now_ms() / 1000 + i64::try_from(verdict.until_reset.as_secs()).unwrap_or(0) + 1;
        response = response
            .header("x-ratelimit-limit", limit.requests)
            .header("x-ratelimit-remaining", verdict.remaining)
            .header("x-ratelimit-reset", reset);
    }
    if shared.settings().date_header
        && let Some(now) = DateTime::from_timestamp_millis(shared.now_ms())
    {
        response = response.header(DATE, now.format("%a, %d %b %Y %H:%M:%S GMT").to_string());
    }
    let body = match fault {
        Some(FaultKind::CutBody) => cut(&bytes),
        Some(FaultKind::StalledBody) => stalled(&bytes),
        _ => whole(bytes),
    };
    response.body(body).unwrap_or_else(|_| Response::new(whole(Bytes::new())))
}

fn record(
    path: String,
    parameters: QueryString,
    headers: &HeaderMap,
    reply: &Reply,
    fault: Option<FaultKind>,
) -> RequestRecord {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    RequestRecord {
        path,
        query: parameters.0,
        status: if fault == Some(FaultKind::Reset) { 0 } else { reply.status },
        fault,
        api_version: text("clerk-api-version"),
        user_agent: text(USER_AGENT.as_str()),
        accept_encoding: text(ACCEPT_ENCODING.as_str()),
        authorized: headers.contains_key(AUTHORIZATION),
    }
}
