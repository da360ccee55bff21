//! The HTTP client of a bucket: with the CA certificates that the user adds, and a note of the last failure.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService, ReqwestConnector,
};
use object_store::{Certificate, ClientOptions};

use crate::error::{Result, chain};
use crate::network::{self, certificate_problem};

/// Why the last request failed. `object_store` keeps this to itself until it gives up repeating the request.
#[derive(Clone, Debug, Default)]
pub(super) struct LastFailure(Arc<Mutex<Option<String>>>);

impl LastFailure {
    /// Returns why the last request failed; `None` if none has failed.
    pub(super) fn read(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, why: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
    }
}

/// Makes the HTTP clients of one bucket.
#[derive(Debug)]
pub(super) struct S3Connector {
    certificates: Vec<Certificate>,
    last_failure: LastFailure,
}

impl S3Connector {
    /// Reads the CA certificates that the environment adds. Requests note why they fail in `last_failure`.
    ///
    /// # Errors
    /// [`Settings`](crate::ErrorKind::Settings) if a file of certificates cannot be used.
    pub(super) fn new(last_failure: LastFailure) -> Result<Self> {
        let mut certificates = Vec::new();
        for (variable, content) in network::ca_files()? {
            let unusable = |error| network::unusable_ca_file(variable, &chain(&error));
            certificates.extend(Certificate::from_pem_bundle(&content).map_err(unusable)?);
        }
        Ok(Self { certificates, last_failure })
    }
}

impl HttpConnector for S3Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let certificates = self.certificates.iter().cloned();
        let options = certificates.fold(options.clone(), ClientOptions::with_root_certificate);
        let inner = ReqwestConnector::default().connect(&options)?;
        Ok(HttpClient::new(WatchedHttp { inner, last_failure: self.last_failure.clone() }))
    }
}

/// Sends requests, and notes why they fail.
#[derive(Debug)]
struct WatchedHttp {
    inner: HttpClient,
    last_failure: LastFailure,
}

#[async_trait]
impl HttpService for WatchedHttp {
    async fn call(&self, request: HttpRequest) -> std::result::Result<HttpResponse, HttpError> {
        let sent = self.inner.execute(request).await;
        match &sent {
            Ok(response) if response.status().is_server_error() => {
                self.last_failure.note(format!("it responds with {}", response.status()));
            }
            Ok(_) => {}
            Err(error) => {
                let cause = innermost(error);
                let has_bad_certificate = certificate_problem(&cause).is_some();
                self.last_failure.note(cause);
                if has_bad_certificate {
                    // An error of this kind is not retried.
                    return sent.map_err(|error| HttpError::new(HttpErrorKind::Unknown, error));
                }
            }
        }
        sent
    }
}

fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    std::iter::successors(Some(error), |error| error.source()).last().map(ToString::to_string).unwrap_or_default()
}
