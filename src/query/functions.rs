//! The context for queries in this process: the lake's, with the functions that DataFusion lacks.

use std::sync::Arc;

use datafusion::error::DataFusionError;
use datafusion::execution::context::SessionContext;
use datafusion::execution::{FunctionRegistry, SessionStateBuilder};
use datafusion::logical_expr::ScalarUDF;

use super::date_trunc::DateTrunc;
use super::failure::failed;
use super::time::{Comparisons, Microseconds, Now};
use crate::error::Result;
use crate::lake::Lake;

/// Returns a context for queries over `lake`, without tables.
///
/// SQL has functions and operators for JSON text (`public_metadata->>'plan'`). Times have microseconds, as in the lake,
/// so that all years from 1 to 9999 can be compared and computed with.
pub(super) fn context(lake: &Lake) -> Result<SessionContext> {
    let mut context = lake.context();
    register(&mut context).map_err(|error| failed(&error))?;
    Ok(context)
}

fn register(context: &mut SessionContext) -> Result<(), DataFusionError> {
    datafusion_functions_json::register_all(context)?;
    context.register_udf(Arc::new(ScalarUDF::from(Now::default())))?;
    context.register_udf(Arc::new(ScalarUDF::from(DateTrunc::default())))?;
    context.register_function_rewrite(Arc::new(Comparisons))?;
    // The state that is built has a new catalog, as this configuration asks for.
    let state = context.state();
    let config = state.config().clone();
    let state = SessionStateBuilder::new_from_existing(state).with_config(config);
    *context = SessionContext::new_with_state(state.with_type_planner(Arc::new(Microseconds)).build());
    Ok(())
}
