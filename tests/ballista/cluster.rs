//! A Ballista cluster on loopback: a scheduler and executors as their programs set them up, each in a runtime of its own
//! so that it can die.

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use ballista_executor::executor_process::{ExecutorProcessConfig, start_executor_process};
use ballista_executor::health::ExecutorHealth;
use ballista_scheduler::cluster::BallistaCluster;
use ballista_scheduler::config::SchedulerConfig;
use ballista_scheduler::scheduler_process::{create_scheduler, start_grpc_service_with_listener};
use clerk_lake::query::Engine;
use datafusion_proto::protobuf::{LogicalPlanNode, PhysicalPlanNode};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// How long anything here may take: far more than it does.
pub const PATIENCE: Duration = Duration::from_mins(2);

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

/// An executor with one core.
pub struct Executor {
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

    /// Where it keeps what it has worked out for the next stage of a job.
    pub fn work(&self) -> &Path {
        self.work.path()
    }

    /// Ends it on the spot.
    pub fn kill(mut self) {
        self.process.kill();
    }
}

/// A scheduler and its executors.
pub struct TestCluster {
    port: u16,
    /// Those that live.
    pub executors: Vec<Executor>,
    _scheduler: Process,
}

impl TestCluster {
    /// A cluster with so many executors, once all of them are ready.
    pub async fn start(executors: usize) -> Self {
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

    /// What `--engine` takes.
    pub fn url(&self) -> String {
        format!("ballista://127.0.0.1:{}", self.port)
    }

    /// The engine that asks it.
    pub fn engine(&self) -> Engine {
        Engine::parse(&self.url()).expect("an engine")
    }
}

/// A port that nobody listens on.
pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}

/// Waits until something is so.
pub async fn until(mut reached: impl FnMut() -> bool) {
    let reaching = async {
        while !reached() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, reaching).await.expect("it does not come to that");
}
