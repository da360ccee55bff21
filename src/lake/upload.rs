//! Uploads of data files that hide the failure of their last step from the Parquet writer.
//!
//! The library that writes Parquet panics when it aborts an upload whose last step failed. Therefore the failure is
//! stored instead, and the caller, for example a commit, checks for it after writing.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use object_store::{MultipartUpload, PutPayload, PutResult, Result, UploadPart};

/// The last error in staging a data file, if any. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct UploadError(Arc<Mutex<Option<object_store::Error>>>);

impl UploadError {
    /// Returns the result of a put. Stores the error of a failed one, and returns an empty result for it.
    pub(super) fn noted(&self, put: Result<PutResult>) -> PutResult {
        put.unwrap_or_else(|error| {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            PutResult { e_tag: None, version: None }
        })
    }

    /// Takes the last error since the previous call.
    pub(super) fn take(&self) -> Option<object_store::Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Upload {
    upload: Box<dyn MultipartUpload>,
    failure: UploadError,
}

impl Upload {
    /// Wraps `upload` so that a failure of its last step is stored in `failure`.
    pub(super) fn new(upload: Box<dyn MultipartUpload>, failure: &UploadError) -> Self {
        Self { upload, failure: failure.clone() }
    }
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.upload.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        Ok(self.failure.noted(self.upload.complete().await))
    }

    async fn abort(&mut self) -> Result<()> {
        self.upload.abort().await
    }
}
