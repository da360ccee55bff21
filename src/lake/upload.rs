//! Uploads of data files, whose last step does not fail where the writer sees it.
//!
//! The library that writes Parquet gives up an upload whose last step failed in a way that panics. So the failure is
//! noted instead, and whoever has written asks for it afterwards; a commit does.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use object_store::{MultipartUpload, PutPayload, PutResult, Result, UploadPart};

/// Why a data file could not be staged, if one could not. Clones know the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Failure(Arc<Mutex<Option<object_store::Error>>>);

impl Failure {
    /// What was put, or the failure noted and nothing.
    pub(super) fn noted(&self, put: Result<PutResult>) -> PutResult {
        put.unwrap_or_else(|error| {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            PutResult { e_tag: None, version: None }
        })
    }

    /// The last failure since this was last asked.
    pub(super) fn take(&self) -> Option<object_store::Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Upload {
    upload: Box<dyn MultipartUpload>,
    failure: Failure,
}

impl Upload {
    /// The same upload, which notes a failure of its last step.
    pub(super) fn new(upload: Box<dyn MultipartUpload>, failure: &Failure) -> Self {
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
