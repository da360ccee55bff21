//! HTTP responses: bodies, error bodies as in the API contract, compression, and incomplete bodies.

use std::convert::Infallible;
use std::io;
use std::io::Write as _;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use futures::stream;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Frame;

/// Response of a handler. The server adds headers, compression and faults.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub status: u16,
    pub body: String,
    pub retry_after: Option<u64>,
    pub content_type: &'static str,
}

impl Reply {
    pub(super) fn json(body: String) -> Self {
        Self { status: 200, body, retry_after: None, content_type: "application/json" }
    }

    pub(super) fn html(status: u16) -> Self {
        let body = "<!doctype html><html><body><h1>Not the API</h1></body></html>".to_owned();
        Self { status, body, retry_after: None, content_type: "text/html; charset=utf-8" }
    }

    pub(super) fn text(status: u16, body: &str) -> Self {
        Self { status, body: body.to_owned(), retry_after: None, content_type: "text/plain; charset=utf-8" }
    }

    pub(super) fn after(self, seconds: u64) -> Self {
        Self { retry_after: Some(seconds), ..self }
    }
}

/// Returns an error response in the format of the API contract.
pub(super) fn error_reply(status: u16, code: &str, message: &str) -> Reply {
    let body = serde_json::json!({
        "errors": [{"code": code, "message": message, "long_message": message, "meta": {}}],
        "clerk_trace_id": format!("trace_simulated_{status}"),
    });
    Reply { status, ..Reply::json(body.to_string()) }
}

/// Type of all response bodies.
pub(super) type ResponseBody = UnsyncBoxBody<Bytes, io::Error>;

/// Returns a complete body.
pub(super) fn whole(bytes: Bytes) -> ResponseBody {
    Full::new(bytes).map_err(|never: Infallible| match never {}).boxed_unsync()
}

/// Returns the first half of a body, after which the connection closes.
pub(super) fn cut(bytes: &Bytes) -> ResponseBody {
    let half = bytes.slice(..bytes.len() / 2);
    let broken = io::Error::new(io::ErrorKind::ConnectionReset, "body cut off by an injected fault");
    frames(stream::iter([Ok(Frame::data(half)), Err(broken)]))
}

/// Returns the first half of a body, after which nothing is sent for ten minutes.
pub(super) fn stalled(bytes: &Bytes) -> ResponseBody {
    let half = bytes.slice(..bytes.len() / 2);
    frames(stream::unfold(Some(half), |half| async move {
        if let Some(half) = half {
            Some((Ok(Frame::data(half)), None))
        } else {
            tokio::time::sleep(Duration::from_mins(10)).await;
            None
        }
    }))
}

fn frames(frames: impl Stream<Item = io::Result<Frame<Bytes>>> + Send + 'static) -> ResponseBody {
    let frames: Pin<Box<dyn Stream<Item = _> + Send>> = Box::pin(frames);
    StreamBody::new(frames).boxed_unsync()
}

/// Compresses `body` as the `Accept-Encoding` value `accepted` allows. Returns it with the name of the encoding.
///
/// A body of less than 512 bytes is not compressed.
pub(super) fn compressed(body: Vec<u8>, accepted: &str) -> (Bytes, Option<&'static str>) {
    if body.len() < 512 {
        return (body.into(), None);
    }
    if accepted.contains("zstd")
        && let Ok(small) = zstd::encode_all(body.as_slice(), 1)
    {
        return (small.into(), Some("zstd"));
    }
    if accepted.contains("gzip") {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        if encoder.write_all(&body).is_ok()
            && let Ok(small) = encoder.finish()
        {
            return (small.into(), Some("gzip"));
        }
    }
    (body.into(), None)
}
