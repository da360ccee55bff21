//! Which instance a key belongs to.

use serde::Deserialize;

use super::{ApiError, Client, Refusal};

/// What `GET /v1/instance` says.
#[derive(Clone, Debug)]
pub struct Instance {
    /// The instance's id; none where the key may not read it.
    pub id: Option<String>,
    /// `production` or `development`.
    pub environment_type: Option<String>,
}

#[derive(Deserialize)]
struct Body {
    id: Option<String>,
    environment_type: Option<String>,
}

/// Asks which instance this is. An instance that does not tell (any 4xx but a refused key) is not an error.
///
/// # Errors
/// Whatever [`Client::get`] refuses, a bad key above all.
pub async fn instance(client: &Client) -> Result<Instance, ApiError> {
    let read = client.get("/instance", &[], |body| {
        let body: Body = serde_json::from_slice(body).map_err(|error| format!("not an instance: {error}"))?;
        Ok(Instance { id: body.id.filter(|id| !id.is_empty()), environment_type: body.environment_type })
    });
    match read.await {
        Err(error) if matches!(error.refusal, Refusal::Absent | Refusal::Parameter) => {
            Ok(Instance { id: None, environment_type: None })
        }
        other => other,
    }
}
