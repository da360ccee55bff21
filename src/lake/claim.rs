//! Records which Clerk instance a lake belongs to before any of its tables does.
//!
//! Two runs for different instances may start in the same empty lake at the same time, each with a different table.
//! Therefore a run claims the lake before a table's first commit: it creates `_instance` in the lake's directory, which
//! succeeds for one run only. The claim never changes.

use std::time::Duration;

use object_store::path::Path;
use object_store::{ObjectStoreExt, PutMode, PutOptions};
use serde::{Deserialize, Serialize};

use super::layout::join;
use super::{Lake, store_error};
use crate::error::{Error, Result};

/// The file that holds the claim, in the lake's directory.
pub(super) const FILE: &str = "_instance";

/// How often a put of the claim is repeated if it failed and no claim exists.
const TRIES: u32 = 5;

/// The delay between two tries.
const BETWEEN_TRIES: Duration = Duration::from_millis(100);

#[derive(Serialize, Deserialize)]
struct Claim {
    instance: String,
}

impl Lake {
    /// Claims this lake for `instance`, unless `instance` already has it.
    ///
    /// # Errors
    /// [`Settings`](crate::ErrorKind::Settings) if another instance has claimed it, or the claim is malformed;
    /// [`Unreachable`](crate::ErrorKind::Unreachable) if the store fails.
    pub async fn claim(&self, instance: &str) -> Result<()> {
        let place = join(&self.location().prefix, &Path::from(FILE));
        let root = &self.location().root;
        let failed = |error: object_store::Error| store_error("cannot claim the lake for this Clerk instance", &error);
        let claim = serde_json::to_string(&Claim { instance: instance.to_owned() });
        let claim = claim.map_err(|error| Error::bug(error.to_string()))?;
        let new = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        let mut tries = 0;
        let found = loop {
            match root.put_opts(&place, claim.clone().into(), new.clone()).await {
                Ok(_) => return Ok(()),
                // Either the file exists or the response was lost. The content of the file decides.
                Err(error) => tracing::debug!(%error, "the claim was not written; reading the existing one"),
            }
            match root.get(&place).await {
                // The store refused the put because another put was in progress, and that one failed.
                Err(object_store::Error::NotFound { .. }) if tries < TRIES => tries += 1,
                found => break found.map_err(failed)?.bytes().await.map_err(failed)?,
            }
            tokio::time::sleep(BETWEEN_TRIES).await;
        };
        match self.read_claim(&found)? {
            owner if owner == instance => Ok(()),
            owner => Err(self.belongs_to(&owner, instance)),
        }
    }

    /// Returns the instance that has claimed this lake; `None` if none has.
    ///
    /// # Errors
    /// [`Settings`](crate::ErrorKind::Settings) if the claim is malformed;
    /// [`Unreachable`](crate::ErrorKind::Unreachable) if the store fails.
    pub async fn owner(&self) -> Result<Option<String>> {
        let failed = |error: object_store::Error| store_error("cannot read which Clerk instance the lake has", &error);
        let place = join(&self.location().prefix, &Path::from(FILE));
        let found = match self.location().asked(self.location().root.get(&place)).await {
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            found => found.map_err(failed)?.bytes().await.map_err(failed)?,
        };
        self.read_claim(&found).map(Some)
    }

    /// Returns the instance that a claim names.
    fn read_claim(&self, claim: &[u8]) -> Result<String> {
        serde_json::from_slice::<Claim>(claim).map(|claim| claim.instance).map_err(|error| {
            Error::settings(format!("{}/{FILE} is malformed: {error}", self.location())).with_hint(
                "this file names the Clerk instance that the lake belongs to; delete it, and the next sync rewrites it",
            )
        })
    }

    /// Returns the error of a run for `instance` on a lake that belongs to `owner`.
    pub(crate) fn belongs_to(&self, owner: &str, instance: &str) -> Error {
        let lake = self.location();
        Error::settings(format!(
            "the lake {lake} belongs to the Clerk instance {owner}, but the key belongs to {instance}"
        ))
        .with_hint("use that instance's key, or another --lake for this one")
    }
}
