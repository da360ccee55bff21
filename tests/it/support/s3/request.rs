//! Requests: their operation, object, access key and time of signature.

use bytes::Bytes;
use chrono::{DateTime, NaiveDateTime, Utc};
use hyper::{HeaderMap, Method, Uri};
use object_store::path::Path;

use super::response::S3Response;

/// The S3 operations that the program uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    GetObject,
    HeadObject,
    ListObjects,
    PutObject,
    CopyObject,
    DeleteObject,
    DeleteObjects,
    CreateUpload,
    UploadPart,
    CompleteUpload,
    AbortUpload,
}

impl Operation {
    /// Whether it changes the bucket.
    pub fn writes(self) -> bool {
        !matches!(self, Self::GetObject | Self::HeadObject | Self::ListObjects)
    }
}

/// A request.
pub struct Call {
    pub operation: Operation,
    pub bucket: String,
    /// Empty if the request is about the bucket itself.
    pub key: String,
    pub body: Bytes,
    headers: HeaderMap,
    parameters: Vec<(String, String)>,
}

impl Call {
    /// Parses a request. Returns an error response if the operation is not supported.
    pub fn read(method: &Method, uri: &Uri, headers: HeaderMap, body: Bytes) -> Result<Self, S3Response> {
        let unreadable = || S3Response::error(400, "InvalidURI", "Couldn't parse the specified URI.");
        let (bucket, key) = bucket_and_key(uri.path()).ok_or_else(unreadable)?;
        let query = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
        let parameters: Vec<(String, String)> = query.into_owned().collect();
        let has = |name: &str| parameters.iter().any(|(key, _)| key == name);
        let operation = match (method.as_str(), key.is_empty()) {
            ("GET", true) => Operation::ListObjects,
            ("GET", false) => Operation::GetObject,
            ("HEAD", false) => Operation::HeadObject,
            ("PUT", false) if has("partNumber") => Operation::UploadPart,
            ("PUT", false) if headers.contains_key("x-amz-copy-source") => Operation::CopyObject,
            ("PUT", false) => Operation::PutObject,
            ("POST", true) if has("delete") => Operation::DeleteObjects,
            ("POST", false) if has("uploads") => Operation::CreateUpload,
            ("POST", false) if has("uploadId") => Operation::CompleteUpload,
            ("DELETE", false) if has("uploadId") => Operation::AbortUpload,
            ("DELETE", false) => Operation::DeleteObject,
            _ => return Err(S3Response::error(501, "NotImplemented", "This server is for tests.")),
        };
        Ok(Self { operation, bucket, key, body, headers, parameters })
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Returns the key of the object to copy.
    pub fn source(&self) -> Option<String> {
        bucket_and_key(self.header("x-amz-copy-source")?).map(|(_, key)| key)
    }

    /// Returns the access key that signed the request.
    pub fn access_key(&self) -> Option<&str> {
        let credential = self.header("authorization")?.strip_prefix("AWS4-HMAC-SHA256 Credential=")?;
        credential.split_once('/').map(|(key, _)| key)
    }

    /// Returns the time of the signature.
    pub fn signed_at(&self) -> Option<DateTime<Utc>> {
        NaiveDateTime::parse_from_str(self.header("x-amz-date")?, "%Y%m%dT%H%M%SZ").ok().map(|at| at.and_utc())
    }
}

fn bucket_and_key(path: &str) -> Option<(String, String)> {
    let path = Path::from_url_path(path).ok()?;
    let (bucket, key) = path.as_ref().split_once('/').unwrap_or((path.as_ref(), ""));
    Some((bucket.to_owned(), key.to_owned()))
}
