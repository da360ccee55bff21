//! Finds the instance that a key belongs to.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{ApiError, Client, Refusal};

/// The response of `GET /v1/instance`.
#[derive(Clone, Debug)]
pub struct Instance {
    /// The instance's id; `None` if the key is not allowed to read it.
    pub id: Option<String>,
    /// `production` or `development`.
    pub environment_type: Option<String>,
}

#[derive(Deserialize)]
struct InstanceBody {
    id: Option<String>,
    environment_type: Option<String>,
}

/// Requests the instance of the client's key. If Clerk refuses this with a 4xx other than 401, the users are counted
/// instead. If that succeeds, returns an instance without an id; if Clerk refuses that too, returns the first refusal.
///
/// # Errors
/// The errors of [`Client::get`], above all for an invalid key.
pub async fn instance(client: &Client) -> Result<Instance, ApiError> {
    let read = client.get("/instance", &[], |body| {
        // Other fields are ignored. A response without an id is not from Clerk.
        let body: InstanceBody =
            serde_json::from_slice(body).map_err(|_| "the response is not an instance".to_owned())?;
        let id = body.id.filter(|id| !id.is_empty()).ok_or_else(|| "the instance has no id".to_owned())?;
        Ok(Instance { id: Some(id), environment_type: body.environment_type })
    });
    let refusal = match read.await {
        Err(error) if is_clerks_refusal(&error) => error,
        other => return other,
    };
    match count_users(client).await {
        Ok(()) => Ok(Instance { id: None, environment_type: None }),
        Err(error) if is_clerks_refusal(&error) => Err(refusal),
        Err(error) => Err(error),
    }
}

fn is_clerks_refusal(error: &ApiError) -> bool {
    matches!(error.refusal, Refusal::Absent | Refusal::Missing | Refusal::Denied | Refusal::Parameter)
}

async fn count_users(client: &Client) -> Result<(), ApiError> {
    #[derive(Deserialize)]
    struct Count {
        #[serde(rename = "total_count")]
        _total_count: IgnoredAny,
    }
    let count = client.get("/users/count", &[], |body| {
        serde_json::from_slice::<Count>(body).map(|_| ()).map_err(|_| "the response is not a user count".to_owned())
    });
    count.await
}
