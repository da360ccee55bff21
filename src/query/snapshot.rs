//! A snapshot of one or more lakes, ready for queries.

use chrono::{DateTime, Utc};
use datafusion::dataframe::DataFrame;
use datafusion::execution::context::SessionContext;

use super::engine::Engine;
use super::failure::failed;
use super::instances::{InstanceLake, combined_context, instances, with_instance};
use super::parameters::Parameters;
use super::queries::{Queries, Query};
use crate::error::{Error, Result};
use crate::lake::{At, Lake};
use crate::resource;
use crate::table::TableSpec;

/// A snapshot of one or more lakes.
///
/// SQL can use the tables of the lakes, the queries of a [`Queries`], and files. If there are several lakes, every
/// table holds the rows of all of them, and its first column is the [instance](super::INSTANCE).
#[derive(Clone)]
pub struct Snapshot {
    instances: Vec<InstanceLake>,
    context: SessionContext,
}

impl Snapshot {
    /// Opens `lakes` in their current state, or in that of `at`, an earlier version or time.
    ///
    /// `now` is the value of `$now` in `queries` that SQL uses. If `only` names tables, other tables need
    /// not be opened.
    ///
    /// # Errors
    /// The errors of [`instances`].
    pub async fn open(
        lakes: &[Lake],
        at: Option<At>,
        engine: &Engine,
        queries: &Queries,
        now: DateTime<Utc>,
        only: Option<&[&str]>,
    ) -> Result<Self> {
        let instances = instances(lakes, at, engine, only).await?;
        for instance in &instances {
            instance.open_names(queries, now);
        }
        let context = match instances.as_slice() {
            [] => return Err(Error::bug("no lake to query")),
            [only] => only.context.clone(),
            several => combined_context(several, queries).await?,
        };
        Ok(Self { instances, context })
    }

    /// Returns the context for SQL, with the tables of the lake, or the combined tables of all lakes.
    #[must_use]
    pub fn context(&self) -> &SessionContext {
        &self.context
    }

    /// Returns each lake as a separate instance.
    #[must_use]
    pub fn instances(&self) -> &[InstanceLake] {
        &self.instances
    }

    /// Returns the error that names the damaged data file, if `error` was caused by a missing or unreadable file.
    /// Otherwise returns `error`.
    pub async fn damage_behind(&self, mut error: Error) -> Error {
        for instance in &self.instances {
            error = instance.damage_behind(error).await;
        }
        error
    }

    /// Returns the tables that exist in the snapshot.
    ///
    /// # Errors
    /// Those of [`failed`], if DataFusion cannot look up a table. A caller cannot cause this.
    pub fn tables(&self) -> Result<Vec<&'static TableSpec>> {
        let mut tables = Vec::new();
        for spec in resource::TABLES {
            if self.context.table_exist(spec.name).map_err(|error| failed(&error))? {
                tables.push(spec);
            }
        }
        Ok(tables)
    }

    /// Plans `query`.
    ///
    /// An ad-hoc query is planned once, over the combined tables of all instances. A query with a name is planned once
    /// per instance, because its metrics are defined per instance. If there are several instances, the first column of
    /// each returned frame is the instance. The caller concatenates the rows of the frames.
    ///
    /// # Errors
    /// The errors of [`Query::plan`].
    pub async fn answers(&self, query: &Query, parameters: &Parameters) -> Result<Vec<DataFrame>> {
        if query.name.is_empty() || self.instances.len() == 1 {
            return Ok(vec![query.plan(&self.context, parameters).await?]);
        }
        let mut frames = Vec::new();
        for instance in &self.instances {
            let with_name = |error: Error| error.context(format!("instance {}", instance.name));
            let frame = query.plan(&instance.context, parameters).await.map_err(with_name)?;
            frames.push(with_instance(frame, &instance.name).map_err(|error| with_name(failed(&error)))?);
        }
        Ok(frames)
    }
}
