//! Reads response bodies up to a limit, because a body may be endless.

use bytes::{Bytes, BytesMut};
use reqwest::Response;

/// The longest body that is read, in bytes after decompression. A page of 500 users with as much metadata as Clerk
/// allows is about a tenth of it.
pub(super) const LONGEST_BODY: usize = 64 << 20;

/// The most that is read of an error body, in bytes.
pub(super) const LONGEST_ERROR: usize = 64 << 10;

/// A body that was read completely or up to a limit.
pub(super) enum Body {
    Whole(Bytes),
    /// The first bytes of a body that is longer than the limit.
    Cut(Bytes),
}

/// Reads a body up to `limit` bytes. Bytes beyond the limit are not kept in memory.
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
