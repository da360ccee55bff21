//! Why a listing stopped.

use crate::api::ApiError;
use crate::error::{Error, ErrorKind};

/// Why a listing stopped. An API error may mean that the instance lacks the resource; any other error is a failure.
#[derive(Debug)]
pub(super) enum ListingFailure {
    Api(ApiError),
    Other(Error),
}

impl From<ListingFailure> for Error {
    fn from(failure: ListingFailure) -> Self {
        match failure {
            ListingFailure::Api(error) => error.into(),
            ListingFailure::Other(error) => error,
        }
    }
}

impl From<ApiError> for ListingFailure {
    fn from(error: ApiError) -> Self {
        Self::Api(error)
    }
}

impl From<Error> for ListingFailure {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

impl ListingFailure {
    /// Returns whether another run can resume the listing after this failure.
    pub(super) fn is_resumable(&self) -> bool {
        let kind = match self {
            Self::Api(error) => Error::from(error.clone()).kind(),
            Self::Other(error) => error.kind(),
        };
        matches!(kind, ErrorKind::Unreachable | ErrorKind::Interrupted | ErrorKind::KeyRefused)
    }
}
