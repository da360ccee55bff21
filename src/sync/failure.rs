//! Why a listing stopped.

use crate::api::ApiError;
use crate::error::{Error, ErrorKind};

/// Why a listing stopped: an answer of Clerk's may mean that the resource is not there; anything else is an error.
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
    /// Whether another run can go on where this one failed.
    pub(super) fn passes(&self) -> bool {
        let kind = match self {
            Self::Api(error) => Error::from(error.clone()).kind(),
            Self::Other(error) => error.kind(),
        };
        matches!(kind, ErrorKind::Unreachable | ErrorKind::Interrupted | ErrorKind::KeyRefused)
    }
}
