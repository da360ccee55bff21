//! Several instances, each with a lake of its own, asked together: every row says which instance it comes from.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::DataType;
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use datafusion::catalog::{DynamicFileCatalog, MemoryCatalogProviderList, TableProvider, UrlTableFactory};
use datafusion::common::{Column, ScalarValue, TableReference};
use datafusion::dataframe::DataFrame;
use datafusion::error::DataFusionError;
use datafusion::execution::context::SessionContext;
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::{Expr, cast, lit};
use futures::future::try_join_all;

use super::catalogue::Catalogue;
use super::engine::Engine;
use super::parameters::Parameters;
use super::run::{failed, tables};
use super::{files, names};
use crate::error::{Error, ErrorKind, Result};
use crate::lake::{At, Lake, Location, Table};
use crate::resource;

/// The column that says which instance a row comes from, where there are several.
pub const INSTANCE: &str = "instance";

/// An instance's lake, open at one moment.
#[derive(Clone)]
pub struct Instance {
    /// Clerk's id of the instance; the lake's location where no table tells it.
    pub name: String,
    /// The tables of its lake.
    pub session: SessionContext,
    lake: Lake,
    /// The tables of its lake that have been written, at the versions that the session reads.
    tables: Arc<[Table]>,
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instance").field("name", &self.name).field("lake", &self.lake).finish_non_exhaustive()
    }
}

impl Instance {
    /// Where its lake is.
    #[must_use]
    pub fn location(&self) -> &Location {
        self.lake.location()
    }

    /// The tables of its lake that have been written, at the versions that the session reads.
    #[must_use]
    pub fn tables(&self) -> &[Table] {
        &self.tables
    }

    /// The damage that `error` comes from, if it comes from a data file that is gone or cannot be read.
    pub async fn damage_behind(&self, error: Error) -> Error {
        if error.kind() != ErrorKind::Conflict && !error.message().contains("Parquet") {
            return error;
        }
        for table in self.tables.iter() {
            if let Some(damage) = table.damage().await {
                return damage;
            }
        }
        error
    }

    /// Lets SQL name the queries of `catalogue`, at their defaults as of `now`, and files beside the lake.
    pub fn open_names(&self, catalogue: &Catalogue, now: DateTime<Utc>) {
        names::open(&self.session, catalogue.clone(), Parameters::at(now));
    }
}

/// Opens `lakes`, each as it is now, or was `at` an earlier version or moment. If `only` names tables, others need not be
/// opened.
///
/// # Errors
/// As [`Engine::session`], and [`Settings`](crate::ErrorKind::Settings) where a lake is there twice.
pub async fn instances(
    lakes: &[Lake],
    at: Option<At>,
    engine: &Engine,
    only: Option<&[&str]>,
) -> Result<Vec<Instance>> {
    for (place, lake) in lakes.iter().enumerate() {
        if let Some(twice) = lakes[..place].iter().find(|other| other.location().is(lake.location())) {
            return Err(Error::settings(format!("the lake {} is given twice", twice.location()))
                .with_hint("give each lake once: its rows would count double"));
        }
    }
    let mut opened = try_join_all(lakes.iter().map(|lake| open(lake, at, engine, only))).await?;
    tell_apart(&mut opened);
    Ok(opened)
}

async fn open(lake: &Lake, at: Option<At>, engine: &Engine, only: Option<&[&str]>) -> Result<Instance> {
    let lake = lake.for_run().await?;
    let tables = tables(&lake, at, only).await?;
    let name = tables.iter().find_map(Table::instance).unwrap_or_else(|| lake.location().to_string());
    let session = engine.session_of(&lake, &tables).await?;
    Ok(Instance { name, session, lake, tables: tables.into() })
}

/// Adds the lake's location to the names of those that are lakes of one instance.
fn tell_apart(instances: &mut [Instance]) {
    let names: Vec<String> = instances.iter().map(|instance| instance.name.clone()).collect();
    for instance in instances {
        if names.iter().filter(|name| **name == instance.name).count() > 1 {
            instance.name = format!("{} ({})", instance.name, instance.lake.location());
        }
    }
}

/// A session in which every table has the rows of all instances, with [`INSTANCE`] as its first column; so have the
/// queries of `catalogue`, whose figures are each instance's own.
pub(super) async fn together(instances: &[Instance], catalogue: &Catalogue) -> Result<SessionContext> {
    let Some(first) = instances.first() else { return Err(Error::bug("no instance is open")) };
    let state = first.session.state();
    let config = state.config().clone();
    let state = SessionStateBuilder::new_from_existing(state)
        .with_config(config)
        .with_catalog_list(Arc::new(MemoryCatalogProviderList::new()))
        .build();
    let session = SessionContext::new_with_state(state);
    for instance in instances {
        instance.lake.open_to(&session);
    }
    for spec in resource::TABLES {
        let mut parts = Vec::new();
        for instance in instances {
            if instance.session.table_exist(spec.name).map_err(|error| failed(&error))? {
                parts.push((instance.name.as_str(), instance.session.table(spec.name).await));
            }
        }
        if let Some(table) = united(parts).map_err(|error| failed(&error))? {
            session.register_table(spec.name, table.into_view()).map_err(|error| failed(&error))?;
        }
    }
    let names = NamesOfAll { instances: instances.to_vec(), catalogue: catalogue.clone(), state: session.state() };
    let tables = Arc::clone(names.state.catalog_list());
    session.register_catalog_list(Arc::new(DynamicFileCatalog::new(tables, Arc::new(names))));
    Ok(session)
}

/// The names of a session of several instances: a query of the catalogue is asked of each, a file is what it is.
#[derive(Debug)]
struct NamesOfAll {
    instances: Vec<Instance>,
    catalogue: Catalogue,
    /// The session without these names.
    state: SessionState,
}

#[async_trait]
impl UrlTableFactory for NamesOfAll {
    async fn try_new(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        if self.catalogue.get(name).is_none() {
            let found = files::table(&self.state, name).await;
            return found.map_err(|error| DataFusionError::External(Box::new(error)));
        }
        let mut parts = Vec::new();
        for instance in &self.instances {
            parts.push((instance.name.as_str(), instance.session.table(TableReference::bare(name)).await));
        }
        Ok(united(parts)?.map(DataFrame::into_view))
    }
}

/// The rows of `frame` with the instance's name in front of each.
pub(super) fn with_instance(frame: DataFrame, instance: &str) -> Result<DataFrame, DataFusionError> {
    let columns = frame.schema().iter().map(|(relation, field)| {
        let column = Expr::Column(Column::from((relation, field)));
        column.alias(field.name())
    });
    let columns: Vec<Expr> = std::iter::once(lit(instance).alias(INSTANCE)).chain(columns).collect();
    frame.select(columns)
}

/// All rows of `parts`, each with its instance's name in front; none where there are no parts. Columns go by name, as
/// lakes of other versions may have more or fewer of them: what one lacks is null there.
fn united(parts: Vec<(&str, Result<DataFrame, DataFusionError>)>) -> Result<Option<DataFrame>, DataFusionError> {
    let mut frames = Vec::new();
    for (instance, frame) in parts {
        frames.push(with_instance(frame?, instance)?);
    }
    let mut all: Vec<(String, DataType)> = Vec::new();
    for field in frames.iter().flat_map(|frame| frame.schema().fields().iter()) {
        if !all.iter().any(|(name, _)| name == field.name()) {
            all.push((field.name().clone(), field.data_type().clone()));
        }
    }
    let mut united: Option<DataFrame> = None;
    for frame in frames {
        let frame = with_columns(frame, &all)?;
        united = Some(match united {
            Some(before) => before.union(frame)?,
            None => frame,
        });
    }
    Ok(united)
}

/// `frame` with exactly these columns.
fn with_columns(frame: DataFrame, all: &[(String, DataType)]) -> Result<DataFrame, DataFusionError> {
    let column = |(name, kind): &(String, DataType)| {
        let own = frame.schema().fields().iter().find(|field| field.name() == name);
        let value = match own {
            Some(own) if own.data_type() == kind => Expr::Column(Column::new_unqualified(name)),
            Some(_) => cast(Expr::Column(Column::new_unqualified(name)), kind.clone()),
            None => Expr::Literal(ScalarValue::try_from(kind)?, None),
        };
        Ok(value.alias(name))
    };
    let columns = all.iter().map(column).collect::<Result<Vec<_>, DataFusionError>>()?;
    frame.select(columns)
}
