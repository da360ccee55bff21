//! Resolves table names in SQL that are not tables of the lake: queries, as views with the default parameters, and
//! files.
//!
//! A name is resolved as a table of the lake first, then as a query, then as a file. Queries and files are resolved
//! when a statement names them, so no others are planned or read. They are not listed in the information schema: that
//! would plan every query.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::{DynamicFileCatalog, TableProvider, UrlTableFactory};
use datafusion::datasource::ViewTable;
use datafusion::error::DataFusionError;
use datafusion::execution::SessionState;
use datafusion::execution::context::SessionContext;

use super::parameters::Parameters;
use super::queries::{Queries, Query};
use super::{files, known};
use crate::error::Result;

/// Lets SQL in `context` use `queries`, with `parameters`, and files as tables.
pub(super) fn open(context: &SessionContext, queries: Queries, parameters: Parameters) {
    known::set_queries(context, &queries);
    let names = NameResolver { queries, parameters, state: context.state() };
    let tables = Arc::clone(names.state.catalog_list());
    context.register_catalog_list(Arc::new(DynamicFileCatalog::new(tables, Arc::new(names))));
}

/// Resolves names in the context of one lake.
#[derive(Debug)]
struct NameResolver {
    queries: Queries,
    parameters: Parameters,
    /// The state of the context without this resolver.
    state: SessionState,
}

impl NameResolver {
    /// Returns `query` as a view. The query may use other queries, but not itself or one that uses it.
    async fn view(&self, query: &Query) -> Result<Arc<dyn TableProvider>> {
        let context = SessionContext::new_with_state(self.state.clone());
        open(&context, self.queries.clone().without(&query.name), self.parameters.clone());
        let plan = query.plan(&context, &self.parameters).await?;
        Ok(Arc::new(ViewTable::new(plan.into_unoptimized_plan(), None)))
    }
}

#[async_trait]
impl UrlTableFactory for NameResolver {
    async fn try_new(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        let found = match self.queries.get(name) {
            Some(query) => self.view(query).await.map(Some),
            None => files::table(&self.state, name, self.queries.reads_files()).await,
        };
        found.map_err(|error| DataFusionError::External(Box::new(error)))
    }
}
