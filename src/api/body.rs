//! Reading a body, which may be endless.

use bytes::{Bytes, BytesMut};
use reqwest::Response;

/// The longest body that is read, after decompression. A page of 500 users with as much metadata as Clerk allows is a
/// tenth of that.
pub(super) const LONGEST_BODY: usize = 64 << 20;

/// As much as is read of an error's body.
pub(super) const LONGEST_ERROR: usize = 64 << 10;

/// What was read of a body.
pub(super) enum Body {
    Whole(Bytes),
    /// Its beginning: the body is longer than the limit.
    Cut(Bytes),
}

/// Reads a body up to `limit` bytes. What comes after them is never taken in.
pub(super) async fn read(mut response: Response, limit: usize) -> Result<Body, reqwest::Error> {
    let declared = response.content_length().and_then(|length| usize::try_from(length).ok());
    let mut body = BytesMut::with_capacity(declared.unwrap_or_default().min(limit));
    while let Some(chunk) = response.chunk().await? {
        let room = limit - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if chunk.len() > room {
            return Ok(Body::Cut(body.freeze()));
        }
    }
    Ok(Body::Whole(body.freeze()))
}
