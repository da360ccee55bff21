//! The catalogue: the queries that come with the program, and those of a folder of the user's.

use std::path::PathBuf;
use std::process::Output;

use chrono::{DateTime, Utc};
use clerk_lake::ErrorKind;
use clerk_lake::clock::Clock;
use clerk_lake::query::{self, Catalogue, Engine, Parameters, Query, Snapshot};
use serde_json::Value;

use crate::errors::small;
use crate::support::{World, as_json, output, stderr, stdout};

/// A synced lake, and a folder of queries beside it.
struct Desk {
    world: World,
}

impl Desk {
    async fn new() -> Self {
        let world = small().await;
        assert_eq!(world.run(&["sync"]).await.status.code(), Some(0));
        std::fs::create_dir(world.directory.path().join("mine")).expect("a folder");
        Self { world }
    }

    fn folder(&self) -> PathBuf {
        self.world.directory.path().join("mine")
    }

    fn write(&self, name: &str, text: &str) -> &Self {
        std::fs::write(self.folder().join(name), text).expect("a file");
        self
    }

    /// `clerk-lake query --queries mine` with more arguments.
    async fn query(&self, arguments: &[&str]) -> Output {
        self.world.run(&[&["query", "--queries", "mine"][..], arguments].concat()).await
    }

    async fn printed(&self, arguments: &[&str]) -> String {
        let done = self.query(&[arguments, &["--format", "csv"]].concat()).await;
        assert_eq!(done.status.code(), Some(0), "{arguments:?}: {}", stderr(&done));
        stdout(&done)
    }

    async fn fails(&self, arguments: &[&str], code: i32, says: &[&str]) {
        let failed = self.query(arguments).await;
        assert_eq!(failed.status.code(), Some(code), "{arguments:?}: {}", stderr(&failed));
        for text in says {
            assert!(stderr(&failed).contains(text), "{arguments:?} does not say {text:?}: {}", stderr(&failed));
        }
    }

    async fn snapshot(&self, catalogue: &Catalogue, now: DateTime<Utc>) -> Snapshot {
        let lakes = [self.world.lake()];
        Box::pin(Snapshot::open(&lakes, None, &Engine::Local, catalogue, now, None)).await.expect("a snapshot")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_replaces_queries_of_the_same_name_and_adds_the_others() {
    let desk = Desk::new().await;
    desk.write(
        "users.sql",
        "-- title: All of them\n-- unit: people\n-- order: 1\nSELECT count(*) AS people FROM clerk_user",
    )
    .write("mine.sql", "SELECT 1 AS one;\n")
    .write(".mine.sql", "-- chart: nonsense\n")
    .write("notes.txt", "-- chart: nonsense\n");
    assert_eq!(desk.printed(&["--name", "mine"]).await, "one\n1\n");
    assert_eq!(desk.printed(&["--name", "users"]).await, "people\n50\n");
    assert_eq!(desk.printed(&["--name", "sessions_by_status"]).await.lines().next(), Some("status,sessions"));
    let listed = stdout(&desk.query(&["--list", "--format", "json"]).await);
    let listed: Vec<Value> = serde_json::from_str(&listed).expect("one JSON document");
    let of = |name: &str| listed.iter().find(|query| query["name"] == name).expect("the query");
    assert_eq!((&of("mine")["title"], &of("mine")["chart"]), (&Value::from("mine"), &Value::from("table")));
    assert_eq!((&of("users")["title"], &of("users")["unit"]), (&Value::from("All of them"), &Value::from("people")));
    assert!(of("users")["file"].as_str().is_some_and(|file| file.ends_with("users.sql")));
    assert_eq!(of("sign_ups")["file"], Value::Null);
    let builtin: Vec<_> = query::catalogue::all().expect("a catalogue").into_iter().map(|query| query.name).collect();
    assert!(builtin.iter().all(|name| listed.iter().any(|query| query["name"] == name.as_str())), "{listed:?}");
    assert_eq!(listed.len(), builtin.len() + 1);
    let listed = stdout(&desk.query(&["--list"]).await);
    assert!(listed.lines().all(|line| line.chars().count() <= 100), "{listed}");
    assert!(listed.contains("All of them") && listed.contains("lookback_days=30"), "{listed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_folder_may_come_from_the_environment_or_the_settings_file() {
    let desk = Desk::new().await;
    desk.write("mine.sql", "SELECT 1 AS one");
    let arguments = ["query", "--name", "mine", "--format", "csv"];
    let mut command = desk.world.command(&arguments);
    command.env("CLERK_LAKE_QUERIES", "mine");
    assert_eq!(stdout(&output(command).await), "one\n1\n");
    std::fs::write(desk.world.directory.path().join("clerk-lake.toml"), "queries = \"mine\"\n").expect("a file");
    assert_eq!(stdout(&desk.world.run(&arguments).await), "one\n1\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_file_is_said_with_its_name_and_line() {
    let desk = Desk::new().await;
    desk.write("bad.sql", "-- title: Bad\n-- chart: pie\nSELECT 1\n");
    desk.fails(&["--name", "users"], 7, &["mine/bad.sql, line 2", "there is no chart \"pie\"", "stat, line, bar"])
        .await;
    desk.write("bad.sql", "-- title: Bad\n\n-- parameter: days\nSELECT 1\n");
    desk.fails(&["--list"], 7, &["mine/bad.sql, line 3", "name = number"]).await;
    desk.write("bad.sql", "-- title: Bad\nSELECT 1\nFROM )\n");
    desk.fails(&["--name", "bad"], 7, &["mine/bad.sql: ", "Line: "]).await;
    desk.fails(&["--name", "worse"], 2, &["there is no query called \"worse\"", ", bad, "]).await;
    let missing = desk.world.run(&["query", "--queries", "nowhere", "--list"]).await;
    assert_eq!(missing.status.code(), Some(2));
    assert!(stderr(&missing).contains("the query directory nowhere cannot be read"), "{}", stderr(&missing));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parameter_out_of_its_range_is_refused() {
    let desk = Desk::new().await;
    desk.write("days.sql", "-- parameter: days = 3 (1 to 9)\n-- parameter: more = 1\nSELECT 1 * $days * $more AS days");
    assert_eq!(desk.printed(&["--name", "days"]).await, "days\n3\n");
    assert_eq!(desk.printed(&["--name", "days", "--param", "days=9", "--param", "more=-2"]).await, "days\n-18\n");
    for days in ["days=0", "days=-1", "days=10"] {
        desk.fails(&["--name", "days", "--param", days], 2, &["days cannot be ", "give a number from 1 to 9"]).await;
    }
    desk.fails(&["--name", "days", "--param", "day=1"], 2, &["no parameter \"day\"", "its parameters: days, more"])
        .await;
    desk.fails(&["--name", "days", "--param", "days=many"], 2, &["expected NAME=NUMBER"]).await;
    // A file that is asked once may have a header, too.
    assert_eq!(desk.printed(&["--file", "mine/days.sql", "--param", "days=2"]).await, "days\n2\n");
    desk.fails(&["--file", "mine/days.sql", "--param", "days=0"], 2, &["days cannot be 0"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_query_of_the_catalogue_is_a_view_with_the_same_rows() {
    let desk = Desk::new().await;
    let (catalogue, now) = (Catalogue::builtin().expect("a catalogue"), Clock::system().now());
    let snapshot = desk.snapshot(&catalogue, now).await;
    let in_order = |mut rows: Vec<Value>| {
        rows.sort_by_key(Value::to_string);
        rows
    };
    for query in catalogue.queries() {
        assert!(!query.title.is_empty() && !query.description.is_empty(), "{query:?}");
        let parameters = Parameters::at(now);
        let named = query.run(snapshot.session(), &parameters).await.expect("its rows");
        let view = Query::ad_hoc(&format!("SELECT * FROM {}", query.name));
        let view = view.run(snapshot.session(), &parameters).await.expect("the view's rows");
        assert_eq!(in_order(as_json(&view)), in_order(as_json(&named)), "{}", query.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_go_before_queries_and_queries_may_name_each_other_but_not_themselves() {
    let desk = Desk::new().await;
    desk.write("clerk_user.sql", "SELECT 'not the table' AS what")
        .write("verified.sql", "-- parameter: least = 0\nSELECT * FROM clerk_user WHERE email_verified AND $least < 1")
        .write("share.sql", "SELECT count(*) <= 50 AS is_share FROM verified")
        .write("turn.sql", "SELECT * FROM turn")
        .write("there.sql", "SELECT * FROM back")
        .write("back.sql", "SELECT * FROM there");
    assert_eq!(desk.printed(&["SELECT count(*) AS users FROM clerk_user"]).await, "users\n50\n");
    assert_eq!(desk.printed(&["--name", "clerk_user"]).await, "what\nnot the table\n");
    assert_eq!(desk.printed(&["SELECT is_share FROM share"]).await, "is_share\ntrue\n");
    assert_eq!(desk.printed(&["--name", "share"]).await, "is_share\ntrue\n");
    for name in ["turn", "there", "back"] {
        desk.fails(&[&format!("SELECT * FROM {name}")], 7, &["not found"]).await;
    }
}

#[test]
fn a_header_that_is_wrong_is_no_query() {
    let error = Query::parse("x", "-- order: first\nSELECT 1").expect_err("no query");
    assert_eq!(error.kind(), ErrorKind::Query);
    assert!(error.message().contains("query x, line 1"), "{error:?}");
    let query = Query::parse("x", "\u{feff}-- title: T\n-- anything: else\nSELECT 1").expect("a query");
    assert_eq!((query.title.as_str(), query.sql.starts_with("-- title")), ("T", true));
}
