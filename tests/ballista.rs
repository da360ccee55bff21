//! Queries on a real Ballista cluster: a scheduler and executors as their programs set them up, on loopback, each
//! in a runtime of its own so that it can die. `cargo test --features ballista-test --test ballista`
#![cfg(feature = "ballista-test")]

#[expect(dead_code, reason = "shared with the other integration tests, which use all of it")]
#[path = "it/support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use ballista_executor::executor_process::{ExecutorProcessConfig, start_executor_process};
use ballista_executor::health::ExecutorHealth;
use ballista_scheduler::cluster::BallistaCluster;
use ballista_scheduler::config::SchedulerConfig;
use ballista_scheduler::scheduler_process::{create_scheduler, start_grpc_service_with_listener};
use clerk_lake::clock::Clock;
use clerk_lake::lake::Lake;
use clerk_lake::query::{Engine, Parameters, Query};
use clerk_lake::simulator::ChangeKind;
use clerk_lake::sync::{Extent, Status};
use clerk_lake::{ErrorKind, Result};
use datafusion_proto::protobuf::{LogicalPlanNode, PhysicalPlanNode};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use support::{World, files, questions, stderr, stdout};

/// How long anything here may take: far more than it does.
const PATIENCE: Duration = Duration::from_secs(120);

/// A query of two stages whose first takes seconds on every executor.
const SLOW: &str = "SELECT created_year, count(DISTINCT sha512(repeat(id, 4000))) AS users FROM clerk_user \
                    GROUP BY created_year ORDER BY created_year";

/// Something that runs in a runtime and threads of its own until it is killed.
struct Process {
    kill: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Process {
    /// Runs what `make` gives; a stack as large as that of the scheduler's own program.
    fn start<F: Future<Output = ()> + 'static>(make: impl FnOnce() -> F + Send + 'static) -> Self {
        let (kill, killed) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let mut runtime = tokio::runtime::Builder::new_multi_thread();
            let runtime = runtime.worker_threads(2).thread_stack_size(32 << 20).enable_all().build();
            let runtime = runtime.expect("a runtime");
            runtime.block_on(async {
                tokio::select! {
                    () = make() => {}
                    _ = killed => {}
                }
            });
            runtime.shutdown_background();
        });
        Self { kill: Some(kill), thread: Some(thread) }
    }

    /// Ends it on the spot: nobody is told.
    fn kill(&mut self) {
        drop(self.kill.take());
        if let Some(thread) = self.thread.take() {
            thread.join().expect("a thread that ends");
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.kill.take());
    }
}

struct Executor {
    process: Process,
    health: ExecutorHealth,
    work: TempDir,
}

impl Executor {
    fn start(scheduler: u16) -> Self {
        let (health, work) = (ExecutorHealth::new(), tempfile::tempdir().expect("a directory"));
        let (its_health, work_dir) = (health.clone(), work.path().to_string_lossy().into_owned());
        let process = Process::start(move || async move {
            let config = ExecutorProcessConfig {
                port: free_port(),
                grpc_port: free_port(),
                scheduler_host: "127.0.0.1".to_owned(),
                scheduler_port: scheduler,
                scheduler_connect_timeout_seconds: 30,
                vcores: 1,
                work_dir: Some(work_dir),
                executor_heartbeat_interval_seconds: 1,
                memory_pool_size: Some(0),
                health: its_health,
                ..ExecutorProcessConfig::default()
            };
            start_executor_process(Arc::new(config)).await.expect("an executor");
        });
        Self { process, health, work }
    }

    /// Waits until it works at a job, as what it writes for the next stage tells.
    async fn is_at_work(&self) {
        until(|| !files_below(self.work.path()).is_empty()).await;
    }

    fn kill(mut self) {
        self.process.kill();
    }
}

/// A scheduler and its executors.
struct TestCluster {
    port: u16,
    executors: Vec<Executor>,
    _scheduler: Process,
}

impl TestCluster {
    async fn start(executors: usize) -> Self {
        let (tell, port) = oneshot::channel();
        let scheduler = Process::start(move || async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            let port = listener.local_addr().expect("an address").port();
            let config = SchedulerConfig {
                external_host: "127.0.0.1".to_owned(),
                bind_port: port,
                // Deaths are noticed within seconds here, not minutes.
                executor_timeout_seconds: 4,
                expire_dead_executor_interval_seconds: 1,
                no_executors_grace_period_seconds: 4,
                ..SchedulerConfig::default()
            };
            let cluster = BallistaCluster::new_from_config(&config).await.expect("a cluster");
            let scheduler = create_scheduler::<LogicalPlanNode, PhysicalPlanNode>(cluster, Arc::new(config)).await;
            tell.send(port).expect("somebody who waits");
            start_grpc_service_with_listener(listener, scheduler.expect("a scheduler")).await.expect("a service");
        });
        let port = port.await.expect("a port");
        let executors: Vec<_> = (0..executors).map(|_| Executor::start(port)).collect();
        until(|| executors.iter().all(|executor| executor.health.is_ready())).await;
        Self { port, executors, _scheduler: scheduler }
    }

    fn url(&self) -> String {
        format!("ballista://127.0.0.1:{}", self.port)
    }

    fn engine(&self) -> Engine {
        Engine::parse(&self.url()).expect("an engine")
    }
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}

fn files_below(directory: &Path) -> Vec<PathBuf> {
    files(directory).into_iter().map(|(path, _)| path).collect()
}

async fn until(mut reached: impl FnMut() -> bool) {
    let reaching = async {
        while !reached() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, reaching).await.expect("it does not come to that");
}

/// A lake of a few thousand users, in several partitions, after a full and an incremental sync.
async fn world() -> World {
    let mut world = World::with(|config| config.users = 4000).await;
    assert_eq!(world.sync().await.status, Status::Ok);
    world.options.extent = Extent::Changes;
    world.simulator.with_model(|model| (0..50).for_each(|_| model.change(ChangeKind::CreateUser)));
    assert_eq!(world.sync().await.status, Status::Ok);
    world
}

/// What `query` gives on `engine`, as it is printed.
async fn ask(engine: Engine, lake: Lake, query: Query, parameters: Parameters) -> Result<String> {
    let session = engine.session(&lake, None).await?;
    let asking = questions::printed(&session, &query, &parameters);
    tokio::time::timeout(PATIENCE, asking).await.expect("an answer in time")
}

fn now() -> Parameters {
    Parameters::at(Clock::system().now())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_answers_every_question_as_this_process_does() {
    let world = world().await;
    let cluster = TestCluster::start(2).await;
    let parameters = now();
    for question in questions::all() {
        let sql = question.sql.clone();
        let here = ask(Engine::Local, world.lake(), question.clone(), parameters.clone()).await.expect("an answer");
        let there = ask(cluster.engine(), world.lake(), question, parameters.clone()).await;
        assert_eq!(there.as_ref().ok(), Some(&here), "{sql}: {there:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_asks_a_cluster_as_it_asks_itself() {
    let world = world().await;
    let cluster = TestCluster::start(1).await;
    let url = cluster.url();
    for format in ["table", "csv", "json", "ndjson"] {
        let query = ["query", "--name", "sessions_by_status", "--format", format, "--engine"];
        let here = world.run(&[&query[..], &["local"]].concat()).await;
        let there = world.run(&[&query[..], &[url.as_str()]].concat()).await;
        assert_eq!(there.status.code(), Some(0), "{}", stderr(&there));
        assert_eq!(stdout(&there), stdout(&here), "{format}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scheduler_that_is_not_there_is_unreachable() {
    let world = World::new().await;
    assert_eq!(world.sync_only(&["users"]).await.status, Status::Ok);
    let url = format!("ballista://127.0.0.1:{}", free_port());
    let asked = world.run(&["query", "--engine", &url, "--name", "users"]).await;
    assert_eq!(asked.status.code(), Some(4), "{}", stderr(&asked));
    assert!(stderr(&asked).contains("cannot be reached") && stderr(&asked).contains("help:"), "{}", stderr(&asked));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_fails_on_the_cluster_is_a_failed_query() {
    let world = world().await;
    let cluster = TestCluster::start(1).await;
    let sql = "SELECT count(*) AS users FROM clerk_user WHERE CAST(id AS BIGINT) > 0";
    let asked = world.run(&["query", "--engine", &cluster.url(), sql]).await;
    assert_eq!(asked.status.code(), Some(7), "{}", stderr(&asked));
    let lists = "SELECT max(array_length(email_addresses)) AS most FROM clerk_user";
    let asked = world.run(&["query", "--engine", &cluster.url(), lists]).await;
    assert_eq!(asked.status.code(), Some(7), "{}", stderr(&asked));
    assert!(stderr(&asked).contains("has no function array_length"), "{}", stderr(&asked));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_outlives_an_executor() {
    let world = world().await;
    let mut cluster = TestCluster::start(2).await;
    let slow = Query::ad_hoc(SLOW);
    let here = ask(Engine::Local, world.lake(), slow.clone(), now()).await.expect("an answer");
    let asked = tokio::spawn(ask(cluster.engine(), world.lake(), slow, now()));
    cluster.executors[0].is_at_work().await;
    cluster.executors.remove(0).kill();
    assert!(!asked.is_finished(), "the query was over before the executor died");
    let there = asked.await.expect("a task that ends");
    assert_eq!(there.as_ref().ok(), Some(&here), "{there:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_without_executors_left_says_so() {
    let world = world().await;
    let mut cluster = TestCluster::start(2).await;
    let asked = tokio::spawn(ask(cluster.engine(), world.lake(), Query::ad_hoc(SLOW), now()));
    cluster.executors[0].is_at_work().await;
    cluster.executors.drain(..).for_each(Executor::kill);
    assert!(!asked.is_finished(), "the query was over before the executors died");
    let error = asked.await.expect("a task that ends").expect_err("nobody who answers");
    assert_eq!(error.kind(), ErrorKind::Unreachable, "{error:?}");
    assert!(error.hint().is_some(), "{error:?}");
}
