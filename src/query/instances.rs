//! Queries over several instances, each in its own lake. Every row states the instance that it comes from.

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

use super::engine::Engine;
use super::failure::failed;
use super::known::{self, INSTANCE};
use super::parameters::Parameters;
use super::queries::Queries;
use super::run::tables;
use super::{files, names};
use crate::error::{Error, ErrorKind, Result};
use crate::lake::{At, Lake, Location, Table};
use crate::resource;

/// The lake of one instance, opened at fixed table versions.
#[derive(Clone)]
pub struct InstanceLake {
    /// Clerk's id of the instance, or the lake's location if no table states the id.
    pub name: String,
    /// The context with the tables of the lake.
    pub context: SessionContext,
    lake: Lake,
    /// The tables of the lake that have been written, at the versions that the context reads.
    tables: Arc<[Table]>,
}

impl fmt::Debug for InstanceLake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instance").field("name", &self.name).field("lake", &self.lake).finish_non_exhaustive()
    }
}

impl InstanceLake {
    /// Returns the location of the lake.
    #[must_use]
    pub fn location(&self) -> &Location {
        self.lake.location()
    }

    /// Returns the tables of the lake that have been written, at the versions that the context reads.
    #[must_use]
    pub fn tables(&self) -> &[Table] {
        &self.tables
    }

    /// Returns the error that names the damaged data file, if `error` was caused by a missing or unreadable file.
    /// Otherwise returns `error`.
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

    /// Lets SQL use `queries`, with default parameters as of `now`, and files as tables.
    pub fn open_names(&self, queries: &Queries, now: DateTime<Utc>) {
        names::open(&self.context, queries.clone(), Parameters::at(now));
    }
}

/// Opens `lakes` in their current state, or in that of `at`, an earlier version or time. If `only` names tables, other
/// tables need not be opened.
///
/// # Errors
/// The errors of [`Engine::context`], and [`Settings`](crate::ErrorKind::Settings) if a lake is given twice.
pub async fn instances(
    lakes: &[Lake],
    at: Option<At>,
    engine: &Engine,
    only: Option<&[&str]>,
) -> Result<Vec<InstanceLake>> {
    for (position, lake) in lakes.iter().enumerate() {
        if let Some(twice) = lakes[..position].iter().find(|other| other.location().is(lake.location())) {
            return Err(Error::settings(format!("the lake {} is given twice", twice.location()))
                .with_hint("give each lake once, or its rows are counted twice"));
        }
    }
    let mut opened = try_join_all(lakes.iter().map(|lake| open(lake, at, engine, only))).await?;
    make_names_unique(&mut opened);
    Ok(opened)
}

async fn open(lake: &Lake, at: Option<At>, engine: &Engine, only: Option<&[&str]>) -> Result<InstanceLake> {
    let lake = lake.for_run().await?;
    let tables = tables(&lake, at, only).await?;
    let name = tables.iter().find_map(Table::instance).unwrap_or_else(|| lake.location().to_string());
    let context = engine.context_of(&lake, &tables).await?;
    Ok(InstanceLake { name, context, lake, tables: tables.into() })
}

/// Appends the lake's location to names that occur several times, because several lakes hold the same instance.
fn make_names_unique(instances: &mut [InstanceLake]) {
    let names: Vec<String> = instances.iter().map(|instance| instance.name.clone()).collect();
    for instance in instances {
        if names.iter().filter(|name| **name == instance.name).count() > 1 {
            instance.name = format!("{} ({})", instance.name, instance.lake.location());
        }
    }
}

/// Returns a context in which every table holds the rows of all instances, with [`INSTANCE`] as its first column.
///
/// The `queries` are run per instance, because their metrics are defined per instance. Their rows are
/// combined in the same way.
pub(super) async fn combined_context(instances: &[InstanceLake], queries: &Queries) -> Result<SessionContext> {
    let Some(first) = instances.first() else { return Err(Error::bug("no instance is open")) };
    let state = first.context.state();
    let config = state.config().clone();
    let state = SessionStateBuilder::new_from_existing(state)
        .with_config(config)
        .with_catalog_list(Arc::new(MemoryCatalogProviderList::new()))
        .build();
    let context = SessionContext::new_with_state(state);
    for instance in instances {
        instance.lake.open_to(&context);
    }
    for spec in resource::TABLES {
        let mut parts = Vec::new();
        for instance in instances {
            if instance.context.table_exist(spec.name).map_err(|error| failed(&error))? {
                parts.push((instance.name.as_str(), instance.context.table(spec.name).await));
            }
        }
        if let Some(table) = union_of(parts).map_err(|error| failed(&error))? {
            context.register_table(spec.name, table.into_view()).map_err(|error| failed(&error))?;
        }
    }
    known::set_queries(&context, queries);
    let names =
        CombinedNameResolver { instances: instances.to_vec(), queries: queries.clone(), state: context.state() };
    let tables = Arc::clone(names.state.catalog_list());
    context.register_catalog_list(Arc::new(DynamicFileCatalog::new(tables, Arc::new(names))));
    Ok(context)
}

/// Resolves names in a context of several instances. A query is run on each instance; a file is read once.
#[derive(Debug)]
struct CombinedNameResolver {
    instances: Vec<InstanceLake>,
    queries: Queries,
    /// The state of the context without this resolver.
    state: SessionState,
}

#[async_trait]
impl UrlTableFactory for CombinedNameResolver {
    async fn try_new(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        if self.queries.get(name).is_none() {
            let found = files::table(&self.state, name, self.queries.reads_files()).await;
            return found.map_err(|error| DataFusionError::External(Box::new(error)));
        }
        let mut parts = Vec::new();
        for instance in &self.instances {
            parts.push((instance.name.as_str(), instance.context.table(TableReference::bare(name)).await));
        }
        Ok(union_of(parts)?.map(DataFrame::into_view))
    }
}

/// Returns `frame` with the instance's name as its first column.
pub(super) fn with_instance(frame: DataFrame, instance: &str) -> Result<DataFrame, DataFusionError> {
    let columns = frame.schema().iter().map(|(relation, field)| {
        let column = Expr::Column(Column::from((relation, field)));
        column.alias(field.name())
    });
    let columns: Vec<Expr> = std::iter::once(lit(instance).alias(INSTANCE)).chain(columns).collect();
    frame.select(columns)
}

/// Returns the rows of all `parts`, with the instance's name as the first column. `None` if there are no parts.
///
/// Columns are matched by name, because lakes written by other versions may have more or fewer columns. A missing
/// column is null.
fn union_of(parts: Vec<(&str, Result<DataFrame, DataFusionError>)>) -> Result<Option<DataFrame>, DataFusionError> {
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
    let mut union: Option<DataFrame> = None;
    for frame in frames {
        let frame = with_columns(frame, &all)?;
        union = Some(match union {
            Some(before) => before.union(frame)?,
            None => frame,
        });
    }
    Ok(union)
}

/// Returns `frame` with exactly the columns `all`. Missing columns are null.
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
