//! What a name means in SQL that no table of the lake has: a query of the catalogue, as a view at its parameters'
//! defaults, or else a file beside the lake.
//!
//! Both are looked up when a question names them, so that nothing is planned or read that nobody asked for. Tables go
//! before queries, queries before files. They are not listed in the information schema, which would plan them all.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::{DynamicFileCatalog, TableProvider, UrlTableFactory};
use datafusion::datasource::ViewTable;
use datafusion::error::DataFusionError;
use datafusion::execution::SessionState;
use datafusion::execution::context::SessionContext;

use super::catalogue::{Catalogue, Query};
use super::files;
use super::parameters::Parameters;
use crate::error::Result;

/// Lets SQL in `session` name the queries of `catalogue`, with `parameters`, and files.
pub(super) fn open(session: &SessionContext, catalogue: Catalogue, parameters: Parameters) {
    let names = Names { catalogue, parameters, state: session.state() };
    let tables = Arc::clone(names.state.catalog_list());
    session.register_catalog_list(Arc::new(DynamicFileCatalog::new(tables, Arc::new(names))));
}

/// The names of one lake's session.
#[derive(Debug)]
struct Names {
    catalogue: Catalogue,
    parameters: Parameters,
    /// The session without these names.
    state: SessionState,
}

impl Names {
    /// What `query` gives. It may name other queries, but not itself, nor those that name it.
    async fn view(&self, query: &Query) -> Result<Arc<dyn TableProvider>> {
        let session = SessionContext::new_with_state(self.state.clone());
        open(&session, self.catalogue.clone().without(&query.name), self.parameters.clone());
        let plan = query.plan(&session, &self.parameters).await?;
        Ok(Arc::new(ViewTable::new(plan.into_unoptimized_plan(), None)))
    }
}

#[async_trait]
impl UrlTableFactory for Names {
    async fn try_new(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        let found = match self.catalogue.get(name) {
            Some(query) => self.view(query).await.map(Some),
            None => files::table(&self.state, name).await,
        };
        found.map_err(|error| DataFusionError::External(Box::new(error)))
    }
}
