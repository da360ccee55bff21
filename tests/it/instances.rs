//! Queries over the lakes of several instances.

use std::path::{Path, PathBuf};
use std::process::Output;

use clerk_lake::clock::Clock;
use clerk_lake::lake::{Lake, Location};
use clerk_lake::query::{Engine, Parameters, Queries, Query, Snapshot, instances};

use crate::support::{World, as_json, stderr, stdout};

/// Returns a synced instance called `name` with `users` users.
async fn instance(name: &str, users: usize) -> World {
    let world = World::with(|config| {
        config.users = users;
        config.organizations = 2;
        name.clone_into(&mut config.instance_id);
    })
    .await;
    assert_eq!(world.run(&["sync"]).await.status.code(), Some(0));
    world
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// Runs `clerk-lake query` over both lakes.
async fn query(first: &World, second: &Path, arguments: &[&str]) -> Output {
    let (one, other) = (text(&first.path()), text(second));
    let lakes = ["query", "--lake", one.as_str(), "--lake", other.as_str(), "--format", "csv"];
    first.run(&[&lakes[..], arguments].concat()).await
}

async fn rows(first: &World, second: &Path, arguments: &[&str]) -> String {
    let done = query(first, second, arguments).await;
    assert_eq!(done.status.code(), Some(0), "{arguments:?}: {}", stderr(&done));
    stdout(&done)
}

fn lake(path: &Path) -> Lake {
    Lake::new(Location::parse(&text(path)).expect("a location"))
}

/// Returns the path of a lake that version 0.1.0 wrote. It has 40 users and lacks a column that was added later.
fn older() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/lake-0.1.0")
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_have_the_rows_of_all_instances_and_an_instance_column() {
    let (one, other) = (instance("ins_one", 50).await, instance("ins_other", 30).await);
    let count = "SELECT instance, count(*) AS users FROM clerk_user GROUP BY instance ORDER BY instance";
    assert_eq!(rows(&one, &other.path(), &[count]).await, "instance,users\nins_one,50\nins_other,30\n");
    let first = "SELECT * FROM clerk_organization WHERE instance = 'ins_other' ORDER BY id";
    let printed = rows(&one, &other.path(), &[first]).await;
    assert!(printed.starts_with("instance,id,name,"), "{printed}");
    assert_eq!(printed.lines().filter(|line| line.starts_with("ins_other,")).count(), 2, "{printed}");
    let join = "SELECT count(*) AS sessions FROM clerk_session s JOIN clerk_user u \
        ON u.instance = s.instance AND u.id = s.user_id WHERE s.instance = 'ins_one'";
    let alone = one.number("SELECT count(*) FROM clerk_session s JOIN clerk_user u ON u.id = s.user_id").await;
    assert_eq!(rows(&one, &other.path(), &[join]).await, format!("sessions\n{alone}\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_built_in_query_runs_on_each_instance() {
    let (one, other) = (instance("ins_one", 50).await, instance("ins_other", 30).await);
    let unbanned = async |world: &World| world.number("SELECT count(*) FROM clerk_user WHERE NOT banned").await;
    let both = format!("ins_one,{}\nins_other,{}\n", unbanned(&one).await, unbanned(&other).await);
    assert_eq!(rows(&one, &other.path(), &["--name", "users"]).await, format!("instance,users\n{both}"));
    let view = "SELECT * FROM users ORDER BY instance";
    assert_eq!(rows(&one, &other.path(), &[view]).await, format!("instance,users\n{both}"));
    let days = ["--name", "daily_active_users", "--param", "lookback_days=2"];
    let printed = rows(&one, &other.path(), &days).await;
    let names: Vec<_> = printed.lines().filter_map(|line| line.split(',').next()).collect();
    assert_eq!(names, ["instance", "ins_one", "ins_one", "ins_other", "ins_other"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn several_lakes_in_the_settings_file_can_only_be_queried() {
    let (one, other) = (instance("ins_one", 50).await, instance("ins_other", 30).await);
    let settings = format!("lake = [{:?}, {:?}]\n", text(&one.path()), text(&other.path()));
    std::fs::write(one.directory.path().join("clerk-lake.toml"), settings).expect("a file");
    let run = async |arguments: &[&str]| {
        let mut command = one.command(arguments);
        command.env_remove("CLERK_LAKE_LAKE");
        crate::support::output(command).await
    };
    let done = run(&["query", "SELECT count(*) AS users FROM clerk_user", "--format", "csv"]).await;
    assert_eq!(stdout(&done), "users\n80\n", "{}", stderr(&done));
    for arguments in [&["sync"][..], &["status"], &["upkeep"]] {
        let refused = run(arguments).await;
        assert_eq!(refused.status.code(), Some(2), "{arguments:?}: {}", stderr(&refused));
        assert!(stderr(&refused).contains("works on one lake, but 2 are given"), "{}", stderr(&refused));
    }
    // A flag overrides the settings file.
    let done = run(&["status", "--lake", &text(&other.path())]).await;
    assert!(stdout(&done).contains("ins_other"), "{}", stderr(&done));
}

#[tokio::test(flavor = "multi_thread")]
async fn lakes_of_different_versions_are_combined_by_column_name() {
    let one = instance("ins_one", 50).await;
    let sql = "SELECT instance, count(*) AS users, count(bypass_client_trust) AS known, count(email_addresses) AS lists \
        FROM clerk_user GROUP BY instance ORDER BY instance";
    let both = "instance,users,known,lists\nins_one,50,50,50\nins_simulated,40,0,40\n";
    assert_eq!(rows(&one, &older(), &[sql]).await, both);
    let (first, second) = (text(&older()), text(&one.path()));
    let reversed = one.run(&["query", "--lake", &first, "--lake", &second, sql, "--format", "csv"]).await;
    assert_eq!(stdout(&reversed), both, "{}", stderr(&reversed));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_missing_in_one_lake_does_not_affect_the_others() {
    let one = instance("ins_one", 50).await;
    let other = World::with(|config| {
        config.users = 20;
        "ins_other".clone_into(&mut config.instance_id);
    })
    .await;
    assert_eq!(other.run(&["sync", "--resource", "users"]).await.status.code(), Some(0));
    let sql = "SELECT DISTINCT instance FROM clerk_session";
    assert_eq!(rows(&one, &other.path(), &[sql]).await, "instance\nins_one\n");
    let failed = query(&one, &other.path(), &["--name", "sessions_by_status"]).await;
    assert_eq!(failed.status.code(), Some(7));
    assert!(stderr(&failed).contains("instance ins_other: query sessions_by_status"), "{}", stderr(&failed));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_lakes_of_one_instance_are_distinguished_and_the_same_lake_twice_is_refused() {
    let (one, other) = (instance("ins_one", 50).await, instance("ins_one", 30).await);
    let sql = "SELECT instance, count(*) AS users FROM clerk_user GROUP BY instance ORDER BY users";
    let printed = rows(&one, &other.path(), &[sql]).await;
    let (first, second) = (text(&other.path()), text(&one.path()));
    assert_eq!(printed, format!("instance,users\nins_one ({first}),30\nins_one ({second}),50\n"));
    let link = one.directory.path().join(".").join("lake");
    let twice = query(&one, &link, &[sql]).await;
    assert_eq!(twice.status.code(), Some(2), "{}", stderr(&twice));
    assert!(stderr(&twice).contains("is given twice"), "{}", stderr(&twice));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_of_several_lakes_can_query_each_lake_and_all_together() {
    let (one, other) = (instance("ins_one", 50).await, instance("ins_other", 30).await);
    let (lakes, now) = ([lake(&one.path()), lake(&other.path())], Clock::system().now());
    let (engine, parameters) = (Engine::Local, Parameters::at(now));
    let opened = Box::pin(instances(&lakes, None, &engine, None)).await.expect("two lakes");
    assert_eq!(opened.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), ["ins_one", "ins_other"]);
    let queries = Queries::builtin().expect("the built-in queries");
    let snapshot = Box::pin(Snapshot::open(&lakes, None, &engine, &queries, now, None)).await.expect("a snapshot");
    let all = Query::ad_hoc("SELECT count(*) AS users FROM clerk_user");
    for (context, users) in
        [(snapshot.context(), 80), (&snapshot.instances()[0].context, 50), (&snapshot.instances()[1].context, 30)]
    {
        let found = as_json(&all.run(context, &parameters).await.expect("a count"));
        assert_eq!(found[0]["users"], users);
    }
    let named = queries.named("users").expect("a query");
    assert_eq!(snapshot.answers(named, &parameters).await.expect("results").len(), 2);
    assert_eq!(snapshot.answers(&all, &parameters).await.expect("one result").len(), 1);
}
