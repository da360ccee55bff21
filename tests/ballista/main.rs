//! Queries on a real Ballista cluster on loopback: `cargo test --features ballista-test --test ballista`
#![cfg(feature = "ballista-test")]

#[expect(dead_code, reason = "shared with the other integration tests, which use all of it")]
#[path = "../it/support/mod.rs"]
mod support;

mod cluster;

use std::path::{Path, PathBuf};

use clerk_lake::clock::Clock;
use clerk_lake::lake::Lake;
use clerk_lake::query::{Engine, Parameters, Query};
use clerk_lake::simulator::ChangeKind;
use clerk_lake::sync::{Extent, Status};
use clerk_lake::{ErrorKind, Result};

use cluster::{Executor, PATIENCE, TestCluster, free_port, until};
use support::{World, engine_queries, files, stderr, stdout};

/// A query of two stages whose first takes seconds on every executor.
const SLOW: &str = "SELECT created_year, count(DISTINCT sha512(repeat(id, 4000))) AS users FROM clerk_user \
                    GROUP BY created_year ORDER BY created_year";

fn files_below(directory: &Path) -> Vec<PathBuf> {
    files(directory).into_iter().map(|(path, _)| path).collect()
}

/// Waits until `executor` works at a job, as what it writes for the next stage tells.
async fn is_at_work(executor: &Executor) {
    until(|| !files_below(executor.work()).is_empty()).await;
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
    let context = engine.context(&lake, None).await?;
    let asking = engine_queries::printed(&context, &query, &parameters);
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
    for question in engine_queries::all() {
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
    is_at_work(&cluster.executors[0]).await;
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
    is_at_work(&cluster.executors[0]).await;
    cluster.executors.drain(..).for_each(Executor::kill);
    assert!(!asked.is_finished(), "the query was over before the executors died");
    let error = asked.await.expect("a task that ends").expect_err("nobody who answers");
    assert_eq!(error.kind(), ErrorKind::Unreachable, "{error:?}");
    assert!(error.hint().is_some(), "{error:?}");
}
