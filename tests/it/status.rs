//! `status`: failed runs, settings of the tables, and lakes that do not exist.

use std::path::Path;

use chrono::{DateTime, TimeDelta, Utc};
use clerk_lake::lake::{FailedResource, FailedRun};
use clerk_lake::simulator::{FaultKind, Faults};
use serde_json::Value;

use crate::errors::small;
use crate::support::stub::nowhere;
use crate::support::{KEY, World, files, output, stderr, stdout};

async fn succeeds(world: &World, arguments: &[&str]) -> String {
    let done = world.run(arguments).await;
    assert_eq!(done.status.code(), Some(0), "{arguments:?}: {}", stderr(&done));
    stdout(&done)
}

/// Returns the output of `status` and of `status --json`.
async fn status(world: &World) -> (String, Value) {
    let text = succeeds(world, &["status"]).await;
    let document = succeeds(world, &["status", "--json"]).await;
    (text, serde_json::from_str(&document).expect("one JSON document"))
}

/// Returns the names of the records of failed runs.
fn records(lake: &Path) -> Vec<String> {
    let records = files(&lake.join("_failed_runs"));
    records.into_iter().map(|(path, _)| path.to_string_lossy().into_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lake_that_does_not_exist_is_refused_and_not_created() {
    let world = small().await;
    let directory = world.directory.path();
    std::fs::create_dir(directory.join("empty")).expect("a directory");
    std::fs::write(directory.join("file"), "text").expect("a file");
    let before = std::fs::read_dir(directory).expect("a directory").count();
    for (lake, message) in [
        ("deep/nowhere", "the lake deep/nowhere does not exist"),
        ("empty", "the lake empty has no tables yet"),
        ("file", "--lake \"file\" is a file, not a directory"),
    ] {
        for arguments in [
            &["status"][..],
            &["status", "--json"],
            &["query", "SELECT 1"],
            &["report", "--terminal"],
            &["report"],
            &["maintain"],
            &["maintain", "--repair"],
        ] {
            let mut command = world.command(arguments);
            command.env("CLERK_LAKE_LAKE", lake);
            let refused = output(command).await;
            let printed = stderr(&refused);
            assert_eq!(refused.status.code(), Some(2), "{lake} {arguments:?}: {printed}");
            assert!(printed.contains(message) && printed.contains("  help: "), "{printed}");
            assert_eq!(stdout(&refused), "", "{lake} {arguments:?}");
        }
    }
    assert_eq!(std::fs::read_dir(directory).expect("a directory").count(), before, "something was created");
    assert_eq!(files(&directory.join("empty")), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn status_shows_failed_runs() {
    let world = small().await;
    succeeds(&world, &["sync"]).await;
    let (text, document) = status(&world).await;
    assert!(!text.contains("failed"), "{text}");
    assert_eq!(document["failed_runs"], Value::Array(Vec::new()));

    let mut unreachable = world.command(&["sync", "--api-url", &nowhere(), "--retry-budget", "1"]);
    unreachable.env("CLERK_LAKE_RESOURCE", "users,organizations");
    assert_eq!(output(unreachable).await.status.code(), Some(4));
    world.simulator.set_faults(Faults::always(FaultKind::ServerError).on("/v1/organizations"));
    assert_eq!(world.run(&["sync", "--retry-budget", "1"]).await.status.code(), Some(4));
    let (text, document) = status(&world).await;
    let (_, failed) = text.split_once("\nfailed runs\n").expect("the failed runs");
    let lines: Vec<&str> = failed.lines().collect();
    assert_eq!(lines.len(), 2, "{failed}");
    assert!(lines[0].contains("  organizations: GET /v1/organizations: 500"), "{failed}");
    assert!(lines[1].contains("  users, organizations: GET /v1/instance: cannot connect to 127.0.0.1:"), "{failed}");
    let runs = document["failed_runs"].as_array().expect("a list");
    assert_eq!(runs.len(), 2, "{document}");
    assert_eq!(runs[0]["failures"][0]["resource"], "organizations", "{document}");
    for (path, content) in files(&world.path().join("_failed_runs")) {
        assert!(!String::from_utf8_lossy(&content).contains(KEY.trim_start_matches("sk_live_")), "{}", path.display());
    }
    world.simulator.set_faults(Faults::default());
    succeeds(&world, &["sync"]).await;
    assert_eq!(records(&world.path()).len(), 2, "a run that succeeds leaves no record");
    assert_eq!(world.number("SELECT count(*) FROM clerk_user").await, 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_or_first_run_leaves_no_record() {
    let world = small().await;
    let other = World::with(|config| config.instance_id = "ins_other".to_owned()).await;
    let api = nowhere();
    let first = world.run(&["sync", "--api-url", &api, "--retry-budget", "1"]).await;
    assert_eq!(first.status.code(), Some(4));
    assert!(!world.path().exists(), "the lake was created for the record");
    succeeds(&world, &["sync"]).await;
    let refused = world.run(&["sync", "--api-url", &other.simulator.url()]).await;
    assert_eq!(refused.status.code(), Some(2), "{}", stderr(&refused));
    assert_eq!(records(&world.path()), [""; 0]);
}

fn failed_run(at: DateTime<Utc>, error: &str) -> FailedRun {
    let failures = vec![FailedResource { resource: "users".to_owned(), error: error.to_owned() }];
    FailedRun { started_at: at - TimeDelta::seconds(3), finished_at: at, failures }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_records_of_failed_runs_are_bounded_and_old_ones_are_removed() {
    let world = small().await;
    succeeds(&world, &["sync", "--resource", "users"]).await;
    let lake = world.lake();
    let now = world.clock().now();
    lake.record_failed_run(&failed_run(now - TimeDelta::days(40), "old")).await;
    assert_eq!(lake.failed_runs(100, now).await.expect("records"), []);
    for hour in (0..30).rev() {
        lake.record_failed_run(&failed_run(now - TimeDelta::hours(hour), &format!("{hour} h ago"))).await;
    }
    assert_eq!(records(&world.path()).len(), 20);
    let kept = lake.failed_runs(100, now).await.expect("records");
    assert_eq!(kept.len(), 20);
    assert_eq!((kept[0].failures[0].error.as_str(), kept[19].failures[0].error.as_str()), ("0 h ago", "19 h ago"));
    assert_eq!(lake.failed_runs(3, now).await.expect("records").len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_somebody_else_wrote_does_no_harm() {
    let world = small().await;
    succeeds(&world, &["sync", "--resource", "users"]).await;
    let directory = world.path().join("_failed_runs");
    std::fs::create_dir(&directory).expect("a directory");
    std::fs::write(directory.join("2026-01-01.json"), "not JSON").expect("a file");
    std::fs::write(directory.join("notes.txt"), "mine").expect("a file");
    world.lake().record_failed_run(&failed_run(world.clock().now(), "\u{1b}[2Jevil")).await;
    let (text, document) = status(&world).await;
    assert!(text.contains(r"users: \u001b[2Jevil") && !text.contains('\u{1b}'), "{text:?}");
    assert_eq!(document["failed_runs"].as_array().map(Vec::len), Some(1), "{document}");
    assert!(directory.join("notes.txt").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn status_shows_history_and_change_data_feed_under_the_names_of_the_flags() {
    let world = small().await;
    succeeds(&world, &["sync", "--resource", "users", "--history", "36h", "--change-data-feed"]).await;
    let (text, document) = status(&world).await;
    let table = &document["tables"][0];
    assert_eq!((&table["history"], &table["change_data_feed"]), (&"36h".into(), &true.into()), "{document}");
    let shows = |text: &str, name: &str, value: &str| {
        text.lines().any(|line| line.split_once(' ').is_some_and(|(left, rest)| left == name && rest.trim() == value))
    };
    assert!(shows(&text, "history", "36h") && shows(&text, "change_data_feed", "on"), "{text}");
    let keys = table["runs"][0].as_object().expect("a run").keys().map(String::as_str).collect::<Vec<_>>();
    for name in ["mode", "rows_read", "rows_inserted", "rows_updated", "rows_deleted"] {
        assert!(keys.contains(&name), "{keys:?}");
    }
    succeeds(&world, &["sync", "--resource", "organizations"]).await;
    let (text, _) = status(&world).await;
    assert!(shows(&text, "history", "36h (clerk_user)"), "{text}");
    assert!(shows(&text, "change_data_feed", "off (clerk_organization)"), "{text}");
}
