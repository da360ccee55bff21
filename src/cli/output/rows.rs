//! Runs a query so that it can be stopped at any time.

use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::dataframe::DataFrame;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use futures::{Stream, StreamExt};
use tokio::task::JoinSet;

/// Starts `frame`. Returns its record batches.
///
/// # Errors
/// [`DataFusionError`] if the query cannot be planned or started.
pub async fn start(frame: DataFrame) -> Result<SendableRecordBatchStream, DataFusionError> {
    let context = Arc::new(frame.task_ctx());
    let plan = pausing(frame.create_physical_plan().await?)?;
    execute_stream(plan, context)
}

/// Lets the nodes of `plan` that have several inputs pause between two record batches. The engine lets only the leaves
/// pause, and a join can turn one batch of a leaf into millions. Without a pause nothing else runs, Ctrl-C included.
fn pausing(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
    let pausing = plan.transform_up(|node| {
        if node.children().len() < 2 {
            return Ok(Transformed::no(node));
        }
        Ok(Transformed::yes(Arc::new(CooperativeExec::new(node)) as Arc<dyn ExecutionPlan>))
    });
    pausing.map(|plan| plan.data)
}

/// Returns the same batches, read by a task of their own. A query that computes for long then delays neither an
/// interrupt nor the end of a reader. The task is stopped when the result is dropped.
pub fn on_own_task(mut batches: SendableRecordBatchStream) -> impl Stream<Item = Result<RecordBatch, DataFusionError>> {
    let (sender, mut received) = tokio::sync::mpsc::channel(2);
    let mut task = JoinSet::new();
    task.spawn(async move {
        while let Some(batch) = batches.next().await {
            if sender.send(batch).await.is_err() {
                break;
            }
        }
    });
    async_stream::try_stream! {
        while let Some(batch) = received.recv().await {
            yield batch?;
        }
        // A task that panics also ends the channel.
        if let Some(Err(error)) = task.join_next().await {
            Err(DataFusionError::ExecutionJoin(Box::new(error)))?;
        }
    }
}
