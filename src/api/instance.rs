//! Which instance a key belongs to.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{ApiError, Client, Refusal};

/// What `GET /v1/instance` says.
#[derive(Clone, Debug)]
pub struct Instance {
    /// The instance's id; `None` if the key may not read it.
    pub id: Option<String>,
    /// `production` or `development`.
    pub environment_type: Option<String>,
}

#[derive(Deserialize)]
struct Body {
    id: Option<String>,
    environment_type: Option<String>,
}

/// Asks which instance this is. An instance that Clerk does not tell this key about (any 4xx of Clerk's own but a
/// refused key) is not an error if its users can at least be counted.
///
/// # Errors
/// Whatever [`Client::get`] refuses, a bad key above all.
pub async fn instance(client: &Client) -> Result<Instance, ApiError> {
    let read = client.get("/instance", &[], |body| {
        // Whatever else is in an answer is nobody's business, and an answer without an id is somebody else's.
        let body: Body = serde_json::from_slice(body).map_err(|_| "not an instance".to_owned())?;
        let id = body.id.filter(|id| !id.is_empty()).ok_or_else(|| "an instance without an id".to_owned())?;
        Ok(Instance { id: Some(id), environment_type: body.environment_type })
    });
    let refused = match read.await {
        Err(refused) if is_clerks_refusal(&refused) => refused,
        other => return other,
    };
    match users_are_counted(client).await {
        Ok(()) => Ok(Instance { id: None, environment_type: None }),
        Err(error) if is_clerks_refusal(&error) => Err(refused),
        Err(error) => Err(error),
    }
}

fn is_clerks_refusal(error: &ApiError) -> bool {
    matches!(error.refusal, Refusal::Absent | Refusal::Missing | Refusal::Denied | Refusal::Parameter)
}

async fn users_are_counted(client: &Client) -> Result<(), ApiError> {
    #[derive(Deserialize)]
    struct Count {
        #[serde(rename = "total_count")]
        _total_count: IgnoredAny,
    }
    let count = client.get("/users/count", &[], |body| {
        serde_json::from_slice::<Count>(body).map(|_| ()).map_err(|_| "not a count of users".to_owned())
    });
    count.await
}
