//! Queries on a Ballista cluster. The cluster does not need this program.
//!
//! A query is planned in this process, over snapshots that are resolved to their data files, and the physical plan is
//! sent to the scheduler. The plan names every file with its size and partition key. So no machine of the cluster lists
//! a directory, reads a Delta log or has to agree on a version, and a missing file is an error. A logical plan, which
//! Ballista's own client sends, can name files only as a `ListingTable`, which guarantees neither (see
//! [`Table::as_files`](crate::lake::Table::as_files)).
//!
//! A plan that reads no files (`SELECT 1`, `EXPLAIN`, a count that the log contains) runs in this process.

use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use ballista_core::execution_plans::execute_physical_plan;
use ballista_core::extension::SessionConfigExt;
use ballista_core::optimizer::ballista_default_optimizer_rules;
use ballista_core::registry::BallistaFunctionRegistry;
use datafusion::catalog::Session;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::DataFusionError;
use datafusion::execution::context::{QueryPlanner, SessionContext, TaskContext};
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_expr::ScalarFunctionExpr;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use datafusion::physical_plan::{ExecutionPlan, SendableRecordBatchStream};
use datafusion::physical_planner::{DefaultPhysicalPlanner, PhysicalPlanner};
use datafusion::prelude::SessionConfig;
use datafusion_proto::protobuf::PhysicalPlanNode;
use futures::TryStreamExt;
use tokio::net::TcpStream;
use url::Url;

use super::run::register;
use crate::error::{Error, ErrorKind, Result, chain};
use crate::lake::{Lake, Table};

/// Default port of a scheduler.
const PORT: u16 = 50050;

/// Default maximum number of partitions per stage of a job.
const PARTITIONS: usize = 16;

/// How long the scheduler may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Classifies failures of a cluster by their text: patterns, error kind and hint. The first match wins.
const FAILURES: [(&[&str], ErrorKind, &str); 4] = [
    (
        &["must have the same major version"],
        ErrorKind::Settings,
        "use a cluster of Ballista version 55, the version that clerk-lake is built with",
    ),
    (
        &["NotFound {", "Object at location"],
        ErrorKind::Conflict,
        "a sync may have replaced files while the query ran: run the query again; if it fails again, check that the \
         executors can read the lake: it must be on S3, or on a disk that all executors mount at the same path",
    ),
    (
        &[
            "169.254.169.254",
            "AccessDenied",
            "Forbidden",
            "InvalidAccessKeyId",
            "SignatureDoesNotMatch",
            "NoSuchBucket",
            "No suitable object store",
            "store not supported",
        ],
        ErrorKind::Settings,
        "set the AWS_* variables on the scheduler and every executor, so that they can read the lake",
    ),
    (
        &[
            "tonic::transport::Error",
            "transport error",
            "h2 protocol error",
            "code: Unavailable",
            "service is currently unavailable",
            "GrpcConnectionError",
            "Grpc connection error",
            "FetchFailed",
            "Shuffle fetch partition error",
            "Connection refused",
            "Stream closed without job completing",
            "all executors were lost",
        ],
        ErrorKind::Unreachable,
        "check that the scheduler and all executors are running and that this machine can reach them by the host names \
         that they advertise; then run the query again",
    ),
];

/// A Ballista cluster, identified by its scheduler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// Host and port of the scheduler.
    address: String,
    /// Maximum number of partitions per stage of a job.
    partitions: usize,
}

impl Cluster {
    /// Parses `ballista://host:port`, optionally followed by `?partitions=N`. A good `N` is about the number of cores
    /// in the cluster.
    ///
    /// # Errors
    /// [`Settings`](ErrorKind::Settings) if the text does not have this form.
    pub fn parse(text: &str) -> Result<Self> {
        let url = Url::parse(text).map_err(|error| invalid(text, &format!("is not a URL ({error})")))?;
        let Some(host) = url.host_str().filter(|host| !host.is_empty()) else {
            return Err(invalid(text, "has no host"));
        };
        if !matches!(url.path(), "" | "/") || !url.username().is_empty() || url.fragment().is_some() {
            return Err(invalid(text, "has a path, user name or fragment"));
        }
        let mut partitions = PARTITIONS;
        for (name, value) in url.query_pairs() {
            partitions = match (&*name, value.parse::<usize>()) {
                ("partitions", Ok(number @ 1..)) => number,
                ("partitions", _) => return Err(invalid(text, "has an invalid number of partitions")),
                _ => return Err(invalid(text, &format!("has an unknown parameter {name:?}"))),
            };
        }
        Ok(Self { address: format!("{host}:{}", url.port().unwrap_or(PORT)), partitions })
    }

    /// Returns a context with `tables`, whose queries run on the cluster.
    pub(super) async fn context(&self, lake: &Lake, tables: &[Table]) -> Result<SessionContext> {
        self.check_reachable().await?;
        let mut config = SessionConfig::new_with_ballista()
            .with_target_partitions(self.partitions)
            .with_ballista_job_name("clerk-lake");
        config.options_mut().execution.parquet.pushdown_filters = true;
        let state = SessionStateBuilder::new_with_default_features()
            .with_config(config)
            .with_optimizer_rules(ballista_default_optimizer_rules())
            .with_query_planner(Arc::new(Planner { scheduler: format!("http://{}", self.address) }))
            .build();
        let context = SessionContext::new_with_state(state);
        lake.open_to(&context);
        for table in tables {
            register(&context, table.spec(), table.as_files()?)?;
        }
        Ok(context)
    }

    /// Checks that the scheduler accepts connections, so that an unreachable one is reported before planning.
    async fn check_reachable(&self) -> Result<()> {
        let reason = match tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(self.address.as_str())).await {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no connection within {} s", CONNECT_TIMEOUT.as_secs()),
        };
        Err(Error::new(
            ErrorKind::Unreachable,
            format!("the Ballista scheduler at {} cannot be reached: {reason}", self.address),
        )
        .with_hint("start it, correct --engine, or run the query in this process with --engine local"))
    }
}

fn invalid(text: &str, reason: &str) -> Error {
    Error::settings(format!("--engine {text:?} {reason}"))
        .with_hint("give ballista://host:port, optionally followed by ?partitions=N")
}

/// Plans like DataFusion, and turns a plan that reads files into a job for the cluster.
#[derive(Debug)]
struct Planner {
    /// URL of the scheduler.
    scheduler: String,
}

#[async_trait]
impl QueryPlanner for Planner {
    async fn create_physical_plan(
        &self,
        logical: &LogicalPlan,
        session: &dyn Session,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        if matches!(logical, LogicalPlan::Analyze(_)) {
            let error = Error::new(ErrorKind::Query, "EXPLAIN ANALYZE does not work on a cluster")
                .with_hint("use EXPLAIN, or look at the job in the scheduler's web interface");
            return Err(DataFusionError::External(Box::new(error)));
        }
        let plan = DefaultPhysicalPlanner::default().create_physical_plan(logical, session).await?;
        if !reads_files(&plan)? {
            return Ok(plan);
        }
        let schema = plan.schema();
        let job = Job { scheduler: self.scheduler.clone(), schema: Arc::clone(&schema), plan };
        Ok(Arc::new(StreamingTableExec::try_new(schema, vec![Arc::new(job)], None, [], false, None)?))
    }
}

fn reads_files(plan: &Arc<dyn ExecutionPlan>) -> Result<bool, DataFusionError> {
    plan.exists(|node| {
        let scan = node.downcast_ref::<DataSourceExec>();
        Ok(scan.is_some_and(|scan| scan.data_source().downcast_ref::<FileScanConfig>().is_some()))
    })
}

/// A plan that runs on the cluster.
#[derive(Clone, Debug)]
struct Job {
    scheduler: String,
    schema: SchemaRef,
    plan: Arc<dyn ExecutionPlan>,
}

impl Job {
    /// Submits the plan and waits until the cluster has run it. Returns a stream of the rows, read from the executors.
    async fn run(&self, context: &TaskContext) -> Result<SendableRecordBatchStream, DataFusionError> {
        let config = context.session_config().clone();
        let settings = config.ballista_config();
        let codec = config.ballista_physical_extension_codec();
        let (scheduler, plan, session) = (self.scheduler.clone(), Arc::clone(&self.plan), context.session_id());
        let job =
            execute_physical_plan::<PhysicalPlanNode>(scheduler, &settings, plan, codec.as_ref(), session, config);
        Box::pin(job).await
    }
}

impl PartitionStream for Job {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let job = self.clone();
        let plan = Arc::clone(&self.plan);
        let batches = futures::stream::once(async move { job.run(&context).await })
            .try_flatten()
            .map_err(move |error| DataFusionError::External(Box::new(cluster_error(&error, &plan))));
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), batches))
    }
}

/// Converts a failure of the cluster to an error with a kind and a hint.
fn cluster_error(error: &DataFusionError, plan: &Arc<dyn ExecutionPlan>) -> Error {
    let text = chain(error);
    let message = format!("the query failed on the cluster: {text}");
    let failure = FAILURES.iter().find(|(patterns, ..)| patterns.iter().any(|pattern| text.contains(pattern)));
    if let Some((_, kind, hint)) = failure {
        return Error::new(*kind, message).with_hint(*hint);
    }
    let hint = unknown_function(plan).map_or_else(
        || "run the query with --engine local, to see whether the query or the cluster is at fault".to_owned(),
        |name| format!("a standard Ballista executor has no function {name}: run the query with --engine local"),
    );
    Error::new(ErrorKind::Query, message).with_hint(hint)
}

/// Returns the name of a function in `plan` that standard Ballista executors do not have. In Ballista 55, these are
/// the functions over lists.
fn unknown_function(plan: &Arc<dyn ExecutionPlan>) -> Option<String> {
    let known = BallistaFunctionRegistry::default();
    let mut unknown = None;
    let walked = plan.apply(|node| {
        node.apply_expressions(&mut |root| {
            root.apply(|expression| {
                let function = expression.downcast_ref::<ScalarFunctionExpr>().map(ScalarFunctionExpr::name);
                if let Some(name) = function.filter(|name| !known.scalar_functions.contains_key(*name)) {
                    unknown = Some(name.to_owned());
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    });
    walked.ok().and(unknown)
}

#[cfg(test)]
mod tests {
    use super::{Cluster, PARTITIONS};

    fn cluster(address: &str, partitions: usize) -> Cluster {
        Cluster { address: address.to_owned(), partitions }
    }

    #[test]
    fn a_cluster_is_identified_by_its_scheduler() {
        let parsed = |text| Cluster::parse(text).expect("a cluster");
        assert_eq!(parsed("ballista://example.org"), cluster("example.org:50050", PARTITIONS));
        assert_eq!(parsed("ballista://127.0.0.1:4000/"), cluster("127.0.0.1:4000", PARTITIONS));
        assert_eq!(parsed("ballista://[::1]:4000?partitions=64"), cluster("[::1]:4000", 64));
    }

    #[test]
    fn invalid_urls_are_refused() {
        for text in [
            "ballista://",
            "ballista://host:port",
            "ballista://host/path",
            "ballista://somebody@host",
            "ballista://host?partitions=0",
            "ballista://host?cores=4",
        ] {
            assert!(Cluster::parse(text).is_err(), "{text} was accepted");
        }
    }
}
