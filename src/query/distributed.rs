//! Queries on a Ballista cluster that knows nothing of this program.
//!
//! A query is planned here, over snapshots resolved to their data files, and the finished physical plan is handed to
//! the scheduler: it names every file with its size and partition key, so that no machine of the cluster has to list
//! a directory, read a Delta log or agree about a version, and a file that is gone is an error. A logical plan, as
//! Ballista's own client sends it, can name files only as a `ListingTable`, which fails at both
//! ([`Table::as_files`](crate::lake::Table::as_files)).
//!
//! A plan that reads no files (`SELECT 1`, `EXPLAIN`, a count that the log knows) is carried out here.

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

/// Where a scheduler listens, if nothing else is said.
const PORT: u16 = 50050;

/// Into how many partitions the stages of a job are cut at most, if nothing else is said.
const PARTITIONS: usize = 16;

/// How long the scheduler may take to accept a connection.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a cluster's failures tell by their text, the first that fits: its kind, and what to do.
const SIGNS: [(&[&str], ErrorKind, &str); 4] = [
    (
        &["must have the same major version"],
        ErrorKind::Settings,
        "clerk-lake works with clusters of the Ballista version that it is built with, 55",
    ),
    (
        &["NotFound {", "Object at location"],
        ErrorKind::Conflict,
        "a sync has replaced files meanwhile: ask again; if it stays so, the executors do not see the lake: it must be \
         on S3, or on a disk that they have at the same path",
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
        "the scheduler and every executor need the AWS_* settings by which they can read the lake",
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
        "see whether scheduler and executors are up, and can be reached from here by the names that they go by; then \
         ask again",
    ),
];

/// A Ballista cluster, by its scheduler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// The scheduler's host and port.
    address: String,
    /// Into how many partitions the stages of a job are cut at most.
    partitions: usize,
}

impl Cluster {
    /// Reads `ballista://host:port`, or with `?partitions=N` at its end: about the number of the cluster's cores.
    ///
    /// # Errors
    /// [`Settings`](ErrorKind::Settings) where it is not of this form.
    pub fn parse(text: &str) -> Result<Self> {
        let url = Url::parse(text).map_err(|error| wrong(text, &format!("is not a URL ({error})")))?;
        let Some(host) = url.host_str().filter(|host| !host.is_empty()) else {
            return Err(wrong(text, "names no host"));
        };
        if !matches!(url.path(), "" | "/") || !url.username().is_empty() || url.fragment().is_some() {
            return Err(wrong(text, "has parts that mean nothing here"));
        }
        let mut partitions = PARTITIONS;
        for (name, value) in url.query_pairs() {
            partitions = match (&*name, value.parse::<usize>()) {
                ("partitions", Ok(number @ 1..)) => number,
                ("partitions", _) => return Err(wrong(text, "has a number of partitions that is none")),
                _ => return Err(wrong(text, &format!("has a parameter {name:?} that is not known"))),
            };
        }
        Ok(Self { address: format!("{host}:{}", url.port().unwrap_or(PORT)), partitions })
    }

    /// A session with these tables of the lake whose queries run on the cluster.
    pub(super) async fn session(&self, lake: &Lake, tables: &[Table]) -> Result<SessionContext> {
        self.reach().await?;
        let mut config = SessionConfig::new_with_ballista()
            .with_target_partitions(self.partitions)
            .with_ballista_job_name("clerk-lake");
        config.options_mut().execution.parquet.pushdown_filters = true;
        let state = SessionStateBuilder::new_with_default_features()
            .with_config(config)
            .with_optimizer_rules(ballista_default_optimizer_rules())
            .with_query_planner(Arc::new(Planner { scheduler: format!("http://{}", self.address) }))
            .build();
        let session = SessionContext::new_with_state(state);
        lake.open_to(&session);
        for table in tables {
            register(&session, table.spec(), table.as_files()?)?;
        }
        Ok(session)
    }

    /// Whether anybody listens where the scheduler is said to be: better known before anything is planned.
    async fn reach(&self) -> Result<()> {
        let why = match tokio::time::timeout(PATIENCE, TcpStream::connect(self.address.as_str())).await {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {} s", PATIENCE.as_secs()),
        };
        Err(Error::new(
            ErrorKind::Unreachable,
            format!("the Ballista scheduler at {} cannot be reached: {why}", self.address),
        )
        .with_hint("start it, correct --engine, or ask from here with --engine local"))
    }
}

fn wrong(text: &str, why: &str) -> Error {
    Error::settings(format!("--engine {text:?} {why}"))
        .with_hint("give ballista://host:port, with ?partitions=N at its end if need be")
}

/// Plans as DataFusion does, and makes a job for the cluster of whatever reads files.
#[derive(Debug)]
struct Planner {
    /// The scheduler's URL.
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
                .with_hint("use EXPLAIN, or look at the job in the scheduler's own pages");
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

/// A plan that the cluster carries out.
#[derive(Clone, Debug)]
struct Job {
    scheduler: String,
    schema: SchemaRef,
    plan: Arc<dyn ExecutionPlan>,
}

impl Job {
    /// Hands the plan over and waits until it is carried out; gives the rows, which are then read from the executors.
    async fn carried_out(&self, context: &TaskContext) -> Result<SendableRecordBatchStream, DataFusionError> {
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
        let batches = futures::stream::once(async move { job.carried_out(&context).await })
            .try_flatten()
            .map_err(move |error| DataFusionError::External(Box::new(unanswered(&error, &plan))));
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), batches))
    }
}

/// A cluster's failure, as the user must see it.
fn unanswered(error: &DataFusionError, plan: &Arc<dyn ExecutionPlan>) -> Error {
    let text = chain(error);
    let message = format!("the cluster has not answered: {text}");
    let sign = SIGNS.iter().find(|(signs, ..)| signs.iter().any(|sign| text.contains(sign)));
    if let Some((_, kind, hint)) = sign {
        return Error::new(*kind, message).with_hint(*hint);
    }
    let hint = unknown_function(plan).map_or_else(
        || "ask with --engine local: it tells whether the query or the cluster is at fault".to_owned(),
        |name| format!("an executor as Ballista ships it has no function {name}: ask with --engine local"),
    );
    Error::new(ErrorKind::Query, message).with_hint(hint)
}

/// A function in `plan` that executors have not got unless somebody has built it in: as of Ballista 55, those over
/// lists.
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
    fn a_cluster_is_known_by_its_scheduler() {
        let parsed = |text| Cluster::parse(text).expect("a cluster");
        assert_eq!(parsed("ballista://example.org"), cluster("example.org:50050", PARTITIONS));
        assert_eq!(parsed("ballista://127.0.0.1:4000/"), cluster("127.0.0.1:4000", PARTITIONS));
        assert_eq!(parsed("ballista://[::1]:4000?partitions=64"), cluster("[::1]:4000", 64));
    }

    #[test]
    fn what_means_nothing_is_refused() {
        for text in [
            "ballista://",
            "ballista://host:port",
            "ballista://host/path",
            "ballista://somebody@host",
            "ballista://host?partitions=0",
            "ballista://host?cores=4",
        ] {
            assert!(Cluster::parse(text).is_err(), "{text} was taken");
        }
    }
}
