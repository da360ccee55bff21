//! Which Clerk instance a lake belongs to, before any of its tables says so.
//!
//! Two runs for two instances may begin in one empty lake at the same moment, each with another table first. So a run
//! claims the lake before a table's first commit: it creates `_instance` in the lake's directory, which succeeds for one
//! run only. The claim never changes.

use std::time::Duration;

use object_store::path::Path;
use object_store::{ObjectStoreExt, PutMode, PutOptions};
use serde::{Deserialize, Serialize};

use super::layout::join;
use super::{Lake, store_error};
use crate::error::{Error, Result};

/// The file that holds the claim, in the lake's directory.
pub(super) const FILE: &str = "_instance";

/// How often a claim is put again that has failed and left nothing behind.
const TRIES: u32 = 5;

/// The wait in between.
const BETWEEN_TRIES: Duration = Duration::from_millis(100);

#[derive(Serialize, Deserialize)]
struct Claim {
    instance: String,
}

impl Lake {
    /// Claims this lake for `instance`, unless it is claimed already.
    ///
    /// # Errors
    /// [`Settings`](crate::ErrorKind::Settings) if another instance has claimed it, or the claim cannot be understood;
    /// [`Unreachable`](crate::ErrorKind::Unreachable) if the store fails.
    pub async fn claim(&self, instance: &str) -> Result<()> {
        let place = join(&self.location().prefix, &Path::from(FILE));
        let root = &self.location().root;
        let failed = |error: object_store::Error| store_error("the lake cannot be claimed for its instance", &error);
        let claim = serde_json::to_string(&Claim { instance: instance.to_owned() });
        let claim = claim.map_err(|error| Error::bug(error.to_string()))?;
        let new = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        let mut tries = 0;
        let found = loop {
            match root.put_opts(&place, claim.clone().into(), new.clone()).await {
                Ok(_) => return Ok(()),
                // An answer may be lost, or the file may be there: what it holds decides.
                Err(error) => tracing::debug!(%error, "the lake is claimed already"),
            }
            match root.get(&place).await {
                // The put was refused because another one was under way, which has failed.
                Err(object_store::Error::NotFound { .. }) if tries < TRIES => tries += 1,
                found => break found.map_err(failed)?.bytes().await.map_err(failed)?,
            }
            tokio::time::sleep(BETWEEN_TRIES).await;
        };
        match serde_json::from_slice::<Claim>(&found) {
            Ok(Claim { instance: owner }) if owner == instance => Ok(()),
            Ok(Claim { instance: owner }) => Err(self.belongs_to(&owner, instance)),
            Err(error) => Err(Error::settings(format!("{}/{FILE} cannot be understood: {error}", self.location()))
                .with_hint(
                    "it names the Clerk instance that the lake belongs to; delete it, and the next sync writes it",
                )),
        }
    }

    /// The error of a run for `instance` over a lake of another one.
    pub(super) fn belongs_to(&self, owner: &str, instance: &str) -> Error {
        let lake = self.location();
        Error::settings(format!("the lake {lake} belongs to the Clerk instance {owner}, and this key to {instance}"))
            .with_hint("use that instance's key, or another --lake for this one")
    }
}
