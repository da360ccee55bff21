//! Responses in S3's format: handwritten XML, errors, and truncated contents.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;

use bytes::Bytes;
use futures::{Stream, stream};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::Response;
use hyper::body::Frame;
use hyper::header::CONTENT_LENGTH;

/// The type of all response bodies.
pub type Body = UnsyncBoxBody<Bytes, io::Error>;

/// A response.
#[derive(Clone, Debug)]
pub struct S3Response {
    status: u16,
    headers: Vec<(&'static str, String)>,
    content: Bytes,
}

impl S3Response {
    pub fn of(status: u16, content: impl Into<Bytes>) -> Self {
        Self { status, headers: Vec::new(), content: content.into() }
    }

    /// Returns an XML document with the root element `name`.
    pub fn xml(name: &str, inside: &str) -> Self {
        let namespace = "http://s3.amazonaws.com/doc/2006-03-01/";
        Self::document(200, &format!("<{name} xmlns=\"{namespace}\">{inside}</{name}>"))
    }

    pub fn error(status: u16, code: &str, message: &str) -> Self {
        let inside = text_element("Code", code) + &text_element("Message", message);
        Self::document(status, &element("Error", &(inside + &text_element("RequestId", "0A49CE4060975EAC"))))
    }

    fn document(status: u16, root: &str) -> Self {
        let text = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{root}");
        Self::of(status, text).with("content-type", "application/xml")
    }

    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Converts it to an HTTP response: without content if it is for a HEAD request, and with half of the content if
    /// `breaks_off`.
    pub fn into_http(self, to_head: bool, breaks_off: bool) -> Response<Body> {
        let Self { status, headers, content } = self;
        let mut response = Response::builder().status(status);
        if status != 204 && status != 304 {
            response = response.header(CONTENT_LENGTH, content.len());
        }
        for (name, value) in headers {
            response = response.header(name, value);
        }
        let body = match (to_head, breaks_off) {
            (true, _) => whole(Bytes::new()),
            (false, true) => half(&content),
            (false, false) => whole(content),
        };
        response.body(body).expect("a response")
    }
}

fn whole(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never: Infallible| match never {}).boxed_unsync()
}

/// Sends half of the content and then closes the connection.
fn half(bytes: &Bytes) -> Body {
    let half = bytes.slice(..bytes.len() / 2);
    let broken = io::Error::new(io::ErrorKind::ConnectionReset, "broken off on purpose");
    let frames = stream::iter([Ok(Frame::data(half)), Err(broken)]);
    let frames: Pin<Box<dyn Stream<Item = io::Result<Frame<Bytes>>> + Send>> = Box::pin(frames);
    StreamBody::new(frames).boxed_unsync()
}

/// Returns an element with child elements.
pub fn element(name: &str, inside: &str) -> String {
    format!("<{name}>{inside}</{name}>")
}

/// Returns an element with text.
pub fn text_element(name: &str, text: &str) -> String {
    element(name, &text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;"))
}

/// Returns the texts of all elements with this name. They must not have attributes.
pub fn texts(xml: &str, name: &str) -> Vec<String> {
    let (begin, end) = (format!("<{name}>"), format!("</{name}>"));
    let inside = xml.split(begin.as_str()).skip(1).filter_map(|rest| Some(rest.split_once(end.as_str())?.0));
    inside.map(unescaped).collect()
}

fn unescaped(text: &str) -> String {
    let entities = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&amp;", "&")];
    entities.into_iter().fold(text.to_owned(), |text, (entity, character)| text.replace(entity, character))
}
