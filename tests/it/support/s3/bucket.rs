//! The bucket: its objects and unfinished uploads, and the effect of each operation on them.

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;
use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use clerk_lake::clock::Clock;

use super::request::{Call, Operation};
use super::response::{S3Response, element, text_element, texts};

/// Entries per page of a list: few, so that lists have several pages.
const PAGE: usize = 7;

/// Entries per page of a list in S3.
const LONG_PAGE: usize = 1000;

/// Minimum size of a part of an upload, except the last part.
const SMALLEST_PART: usize = 5 * 1024 * 1024;

struct Object {
    content: Bytes,
    e_tag: String,
    /// In whole seconds, as in S3.
    modified: DateTime<Utc>,
}

struct Upload {
    key: String,
    /// Parts by number, each with its tag.
    parts: BTreeMap<usize, (String, Bytes)>,
}

/// See the [module](self).
#[derive(Default)]
pub struct Bucket {
    objects: BTreeMap<String, Object>,
    uploads: BTreeMap<String, Upload>,
    /// Number of tags and ids issued so far.
    issued: u64,
    /// Whether conditions of puts are ignored.
    pub ignores_conditions: bool,
    /// Whether lists use the page size of S3.
    pub has_long_pages: bool,
}

/// A response, or the response that refuses the request.
type Outcome = Result<S3Response, S3Response>;

impl Bucket {
    pub fn serve(&mut self, call: &Call) -> S3Response {
        let outcome = match call.operation {
            Operation::GetObject | Operation::HeadObject => self.get(call),
            Operation::ListObjects => Ok(self.list(call)),
            Operation::PutObject => self.put(call, call.body.clone()).map(tagged),
            Operation::CopyObject => self.copy(call),
            Operation::DeleteObject => Ok(self.delete(&call.key)),
            Operation::DeleteObjects => Ok(self.delete_all(call)),
            Operation::CreateUpload => Ok(self.create_upload(call)),
            Operation::UploadPart => self.upload_part(call),
            Operation::CompleteUpload => self.complete_upload(call),
            Operation::AbortUpload => self.abort_upload(call),
        };
        outcome.unwrap_or_else(|refused| refused)
    }

    pub fn keys(&self) -> Vec<String> {
        self.objects.keys().cloned().collect()
    }

    /// Returns the keys of uploads that were neither completed nor aborted.
    pub fn unfinished_uploads(&self) -> Vec<String> {
        self.uploads.values().map(|upload| upload.key.clone()).collect()
    }

    /// Makes all objects older by this much.
    pub fn age(&mut self, by: TimeDelta) {
        self.objects.values_mut().for_each(|object| object.modified -= by);
    }

    pub fn clear(&mut self) {
        self.objects.clear();
        self.uploads.clear();
    }

    fn get(&self, call: &Call) -> Outcome {
        let object = self.objects.get(&call.key).ok_or_else(no_such_key)?;
        if call.header("if-match").is_some_and(|tag| tag != object.e_tag) {
            return Err(precondition_failed());
        }
        if call.header("if-none-match").is_some_and(|tag| tag == object.e_tag) {
            return Err(S3Response::of(304, ""));
        }
        let length = object.content.len();
        let response = match call.header("range") {
            None => S3Response::of(200, object.content.clone()),
            Some(header) => {
                let Range { start, end } = range(header, length).ok_or_else(|| {
                    S3Response::error(416, "InvalidRange", "The requested range is not satisfiable")
                        .with("content-range", format!("bytes */{length}"))
                })?;
                let content_range = format!("bytes {start}-{}/{length}", end - 1);
                S3Response::of(206, object.content.slice(start..end)).with("content-range", content_range)
            }
        };
        let modified = object.modified.format("%a, %d %b %Y %H:%M:%S GMT").to_string();
        Ok(response.with("etag", object.e_tag.as_str()).with("last-modified", modified).with("accept-ranges", "bytes"))
    }

    fn list(&self, call: &Call) -> S3Response {
        let prefix = call.parameter("prefix").unwrap_or_default();
        let delimiter = call.parameter("delimiter");
        let after = call.parameter("continuation-token").or(call.parameter("start-after")).unwrap_or_default();
        let page = if self.has_long_pages { LONG_PAGE } else { PAGE };
        let most = call.parameter("max-keys").and_then(|most| most.parse().ok()).unwrap_or(page).min(page);
        let entry = |key: &String| {
            let end = delimiter
                .and_then(|delimiter| Some(prefix.len() + key[prefix.len()..].find(delimiter)? + delimiter.len()));
            key[..end.unwrap_or(key.len())].to_owned()
        };
        let keys = self.objects.keys().filter(|key| key.starts_with(prefix));
        let mut entries: Vec<String> = keys.map(entry).filter(|entry| entry.as_str() > after).collect();
        entries.dedup();
        let is_truncated = entries.len() > most;
        entries.truncate(most);
        let object = |key: &String| Some(described(key, self.objects.get(key)?));
        let is_prefix = |entry: &&String| !self.objects.contains_key(*entry);
        let contents: String = entries.iter().filter_map(object).collect();
        let common_prefix = |prefix: &String| element("CommonPrefixes", &text_element("Prefix", prefix));
        let common_prefixes: String = entries.iter().filter(is_prefix).map(common_prefix).collect();
        let next = entries.last().filter(|_| is_truncated).map(|last| text_element("NextContinuationToken", last));
        let parts = [
            text_element("Name", &call.bucket),
            text_element("Prefix", prefix),
            text_element("KeyCount", &entries.len().to_string()),
            text_element("MaxKeys", &most.to_string()),
            text_element("IsTruncated", &is_truncated.to_string()),
            next.unwrap_or_default(),
            contents,
            common_prefixes,
        ];
        S3Response::xml("ListBucketResult", &parts.concat())
    }

    /// Puts an object and returns its tag, unless a condition of the call is not met.
    fn put(&mut self, call: &Call, content: Bytes) -> Result<String, S3Response> {
        let there = self.objects.get(&call.key);
        if call.header("if-none-match") == Some("*") && there.is_some() && !self.ignores_conditions {
            return Err(precondition_failed());
        }
        if let Some(tag) = call.header("if-match")
            && there.ok_or_else(no_such_key)?.e_tag != tag
        {
            return Err(precondition_failed());
        }
        let e_tag = self.next_tag();
        let modified = Clock::system().now().trunc_subsecs(0);
        self.objects.insert(call.key.clone(), Object { content, e_tag: e_tag.clone(), modified });
        Ok(e_tag)
    }

    fn copy(&mut self, call: &Call) -> Outcome {
        let source = call.source().unwrap_or_default();
        let content = self.objects.get(&source).ok_or_else(no_such_key)?.content.clone();
        let e_tag = self.put(call, content)?;
        Ok(S3Response::xml("CopyObjectResult", &text_element("ETag", &e_tag)))
    }

    fn delete(&mut self, key: &str) -> S3Response {
        self.objects.remove(key);
        S3Response::of(204, "")
    }

    fn delete_all(&mut self, call: &Call) -> S3Response {
        let keys = texts(&String::from_utf8_lossy(&call.body), "Key");
        for key in &keys {
            self.objects.remove(key);
        }
        let deleted: Vec<String> = keys.iter().map(|key| element("Deleted", &text_element("Key", key))).collect();
        S3Response::xml("DeleteResult", &deleted.concat())
    }

    fn create_upload(&mut self, call: &Call) -> S3Response {
        self.issued += 1;
        let id = format!("upload-{}", self.issued);
        self.uploads.insert(id.clone(), Upload { key: call.key.clone(), parts: BTreeMap::new() });
        let parts =
            [text_element("Bucket", &call.bucket), text_element("Key", &call.key), text_element("UploadId", &id)];
        S3Response::xml("InitiateMultipartUploadResult", &parts.concat())
    }

    fn upload_part(&mut self, call: &Call) -> Outcome {
        let number = call.parameter("partNumber").and_then(|number| number.parse().ok());
        let number =
            number.ok_or_else(|| S3Response::error(400, "InvalidArgument", "Part number must be an integer"))?;
        let e_tag = self.next_tag();
        let upload = self.uploads.get_mut(upload_id(call)).ok_or_else(no_such_upload)?;
        upload.parts.insert(number, (e_tag.clone(), call.body.clone()));
        Ok(tagged(e_tag))
    }

    fn complete_upload(&mut self, call: &Call) -> Outcome {
        let upload = self.uploads.get(upload_id(call)).ok_or_else(no_such_upload)?;
        let content = upload.assembled(&String::from_utf8_lossy(&call.body))?;
        let e_tag = self.put(call, content)?;
        self.uploads.remove(upload_id(call));
        Ok(S3Response::xml("CompleteMultipartUploadResult", &text_element("ETag", &e_tag)))
    }

    fn abort_upload(&mut self, call: &Call) -> Outcome {
        self.uploads.remove(upload_id(call)).map(|_| S3Response::of(204, "")).ok_or_else(no_such_upload)
    }

    fn next_tag(&mut self) -> String {
        self.issued += 1;
        format!("\"{:032x}\"", self.issued)
    }
}

impl Upload {
    /// Returns the content of the parts, in the order in which `xml` names them.
    fn assembled(&self, xml: &str) -> Result<Bytes, S3Response> {
        let (numbers, tags) = (texts(xml, "PartNumber"), texts(xml, "ETag"));
        let mut content = Vec::new();
        for (at, (number, tag)) in (1..).zip(numbers.iter().zip(&tags)) {
            let part = number.parse().ok().and_then(|number: usize| self.parts.get(&number));
            let (_, bytes) = part.filter(|(known, _)| known == tag).ok_or_else(|| {
                S3Response::error(400, "InvalidPart", "One or more of the specified parts could not be found.")
            })?;
            if at < numbers.len() && bytes.len() < SMALLEST_PART {
                let message = "Your proposed upload is smaller than the minimum allowed size";
                return Err(S3Response::error(400, "EntityTooSmall", message));
            }
            content.extend_from_slice(bytes);
        }
        Ok(content.into())
    }
}

/// Returns the entry of an object in a list.
fn described(key: &str, object: &Object) -> String {
    let modified = object.modified.format("%Y-%m-%dT%H:%M:%S.000Z").to_string();
    let parts = [
        text_element("Key", key),
        text_element("LastModified", &modified),
        text_element("ETag", &object.e_tag),
        text_element("Size", &object.content.len().to_string()),
        text_element("StorageClass", "STANDARD"),
    ];
    element("Contents", &parts.concat())
}

/// Returns the range that `bytes=…` requests of an object of this length.
fn range(header: &str, length: usize) -> Option<Range<usize>> {
    let (start, end) = header.strip_prefix("bytes=")?.split_once('-')?;
    let range = match (start, end) {
        ("", last) => length.saturating_sub(last.parse().ok()?)..length,
        (start, "") => start.parse().ok()?..length,
        (start, last) => start.parse().ok()?..length.min(last.parse::<usize>().ok()? + 1),
    };
    (range.start < range.end).then_some(range)
}

fn upload_id(call: &Call) -> &str {
    call.parameter("uploadId").unwrap_or_default()
}

fn tagged(e_tag: String) -> S3Response {
    S3Response::of(200, "").with("etag", e_tag)
}

fn no_such_key() -> S3Response {
    S3Response::error(404, "NoSuchKey", "The specified key does not exist.")
}

fn no_such_upload() -> S3Response {
    S3Response::error(404, "NoSuchUpload", "The specified multipart upload does not exist.")
}

fn precondition_failed() -> S3Response {
    let message = "At least one of the pre-conditions you specified did not hold";
    S3Response::error(412, "PreconditionFailed", message)
}
