//! The names that SQL in a context can use: the tables of the lake and the queries.

use std::sync::Arc;

use datafusion::execution::context::SessionContext;

use super::queries::Queries;
use crate::resource;
use crate::table::TableSpec;

/// Name of the column that holds the instance of a row, if there are several instances.
pub const INSTANCE: &str = "instance";

/// The queries that SQL in a context can use: a context's extension.
#[derive(Debug)]
pub(super) struct NamedQueries(pub(super) Queries);

/// Tells `context` which `queries` its SQL can use.
pub(super) fn set_queries(context: &SessionContext, queries: &Queries) {
    let queries = Arc::new(NamedQueries(queries.clone()));
    context.state_ref().write().config_mut().set_extension(queries);
}

/// Returns the queries that SQL in `context` can use.
pub(super) fn queries(context: &SessionContext) -> Option<Arc<NamedQueries>> {
    context.state_ref().read().config().get_extension::<NamedQueries>()
}

/// Returns the tables of the lake that exist in `context`.
pub(super) fn tables(context: &SessionContext) -> impl Iterator<Item = &'static TableSpec> {
    resource::TABLES.into_iter().filter(|spec| context.table_exist(spec.name).unwrap_or(false))
}

/// Returns the names of all tables and queries that SQL in `context` can use.
pub(super) fn known_names(context: &SessionContext) -> Vec<String> {
    let queries = queries(context);
    let queries = queries.iter().flat_map(|queries| queries.0.iter().map(|query| query.name.clone()));
    tables(context).map(|spec| spec.name.to_owned()).chain(queries).collect()
}
