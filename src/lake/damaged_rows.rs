//! A DataFusion table provider for a damaged table.
//!
//! It has the table's columns, and a scan of its rows returns the error that names the damage. Queries over other
//! tables are not affected.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;

use crate::error::Error;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct DamagedRows {
    pub schema: SchemaRef,
    pub error: Error,
}

#[async_trait]
impl TableProvider for DamagedRows {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _: &dyn Session,
        _: Option<&Vec<usize>>,
        _: &[Expr],
        _: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        Err(DataFusionError::External(Box::new(self.error.clone())))
    }
}
