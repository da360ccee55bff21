//! One or more lakes as they are at one moment, ready to be asked.

use chrono::{DateTime, Utc};
use datafusion::dataframe::DataFrame;
use datafusion::execution::context::SessionContext;

use super::catalogue::{Catalogue, Query};
use super::engine::Engine;
use super::instances::{Instance, instances, together, with_instance};
use super::parameters::Parameters;
use super::run::failed;
use crate::error::{Error, Result};
use crate::lake::{At, Lake};
use crate::resource;
use crate::table::TableSpec;

/// One or more lakes as they are at one moment.
///
/// SQL may name the lakes' tables, the queries of a catalogue and files beside the lake. Where there are several lakes,
/// every table has the rows of all, with the [instance](super::INSTANCE) as its first column.
#[derive(Clone)]
pub struct Snapshot {
    instances: Vec<Instance>,
    session: SessionContext,
}

impl Snapshot {
    /// Opens `lakes` as they are now, or were `at` an earlier version or moment. Queries of `catalogue` that SQL names
    /// have `now` for the present.
    /// If `only` names tables, others need not be opened.
    ///
    /// # Errors
    /// As [`instances`].
    pub async fn open(
        lakes: &[Lake],
        at: Option<At>,
        engine: &Engine,
        catalogue: &Catalogue,
        now: DateTime<Utc>,
        only: Option<&[&str]>,
    ) -> Result<Self> {
        let instances = instances(lakes, at, engine, only).await?;
        for instance in &instances {
            instance.open_names(catalogue, now);
        }
        let session = match instances.as_slice() {
            [] => return Err(Error::bug("no lake to ask")),
            [only] => only.session.clone(),
            several => together(several, catalogue).await?,
        };
        Ok(Self { instances, session })
    }

    /// What SQL is asked of: the lake's tables, or all lakes' together.
    #[must_use]
    pub fn session(&self) -> &SessionContext {
        &self.session
    }

    /// Each lake by itself.
    #[must_use]
    pub fn instances(&self) -> &[Instance] {
        &self.instances
    }

    /// The damage that `error` comes from, if it comes from a data file that is gone or cannot be read.
    pub async fn damage_behind(&self, mut error: Error) -> Error {
        for instance in &self.instances {
            error = instance.damage_behind(error).await;
        }
        error
    }

    /// The tables that there are.
    ///
    /// # Errors
    /// None that a caller could cause.
    pub fn tables(&self) -> Result<Vec<&'static TableSpec>> {
        let mut tables = Vec::new();
        for spec in resource::TABLES {
            if self.session.table_exist(spec.name).map_err(|error| failed(&error))? {
                tables.push(spec);
            }
        }
        Ok(tables)
    }

    /// Plans `query`. One that somebody typed is asked of all tables together, and gives one answer. One of the
    /// catalogue, whose figures are an instance's own, is asked of each instance: its answers are to be put one after
    /// the other, and say the instance in their first column where there are several.
    ///
    /// # Errors
    /// As [`Query::plan`].
    pub async fn answers(&self, query: &Query, parameters: &Parameters) -> Result<Vec<DataFrame>> {
        if query.name.is_empty() || self.instances.len() == 1 {
            return Ok(vec![query.plan(&self.session, parameters).await?]);
        }
        let mut answers = Vec::new();
        for instance in &self.instances {
            let own = |error: Error| error.context(format!("instance {}", instance.name));
            let answer = query.plan(&instance.session, parameters).await.map_err(own)?;
            answers.push(with_instance(answer, &instance.name).map_err(|error| own(failed(&error)))?);
        }
        Ok(answers)
    }
}
