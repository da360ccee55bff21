//! Named queries: the built-in queries, and the queries in a user's folder.

use std::path::PathBuf;
use std::process::Output;

use chrono::{DateTime, Utc};
use clerk_lake::ErrorKind;
use clerk_lake::clock::Clock;
use clerk_lake::query::{self, Engine, Parameters, Queries, Query, Snapshot};
use serde_json::Value;

use crate::errors::small;
use crate::support::{World, as_json, output, stderr, stdout};

/// A synced lake, and a folder for queries.
struct Fixture {
    world: World,
}

impl Fixture {
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

    /// Runs `clerk-lake query --queries mine` with additional arguments.
    async fn query(&self, arguments: &[&str]) -> Output {
        self.world.run(&[&["query", "--queries", "mine"][..], arguments].concat()).await
    }

    async fn query_csv(&self, arguments: &[&str]) -> String {
        let done = self.query(&[arguments, &["--format", "csv"]].concat()).await;
        assert_eq!(done.status.code(), Some(0), "{arguments:?}: {}", stderr(&done));
        stdout(&done)
    }

    async fn fails(&self, arguments: &[&str], code: i32, messages: &[&str]) {
        let failed = self.query(arguments).await;
        assert_eq!(failed.status.code(), Some(code), "{arguments:?}: {}", stderr(&failed));
        for text in messages {
            assert!(stderr(&failed).contains(text), "{arguments:?} does not print {text:?}: {}", stderr(&failed));
        }
    }

    async fn snapshot(&self, queries: &Queries, now: DateTime<Utc>) -> Snapshot {
        let lakes = [self.world.lake()];
        Box::pin(Snapshot::open(&lakes, None, &Engine::Local, queries, now, None)).await.expect("a snapshot")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_in_the_folder_override_built_in_queries_of_the_same_name() {
    let fixture = Fixture::new().await;
    fixture
        .write(
            "users.sql",
            "-- title: All of them\n-- unit: people\n-- order: 1\nSELECT count(*) AS people FROM clerk_user",
        )
        .write("mine.sql", "SELECT 1 AS one;\n")
        .write(".mine.sql", "-- chart: nonsense\n")
        .write("notes.txt", "-- chart: nonsense\n");
    assert_eq!(fixture.query_csv(&["--name", "mine"]).await, "one\n1\n");
    assert_eq!(fixture.query_csv(&["--name", "users"]).await, "people\n50\n");
    assert_eq!(fixture.query_csv(&["--name", "sessions_by_status"]).await.lines().next(), Some("status,sessions"));
    let listed = stdout(&fixture.query(&["--list", "--format", "json"]).await);
    let listed: Vec<Value> = serde_json::from_str(&listed).expect("one JSON document");
    let of = |name: &str| listed.iter().find(|query| query["name"] == name).expect("the query");
    assert_eq!((&of("mine")["title"], &of("mine")["chart"]), (&Value::from("mine"), &Value::from("table")));
    assert_eq!((&of("users")["title"], &of("users")["unit"]), (&Value::from("All of them"), &Value::from("people")));
    assert!(of("users")["file"].as_str().is_some_and(|file| file.ends_with("users.sql")));
    assert_eq!(of("sign_ups")["file"], Value::Null);
    let builtin: Vec<_> =
        query::queries::all().expect("the built-in queries").into_iter().map(|query| query.name).collect();
    assert!(builtin.iter().all(|name| listed.iter().any(|query| query["name"] == name.as_str())), "{listed:?}");
    assert_eq!(listed.len(), builtin.len() + 1);
    let listed = stdout(&fixture.query(&["--list"]).await);
    assert!(listed.lines().all(|line| line.chars().count() <= 100), "{listed}");
    assert!(listed.contains("All of them") && listed.contains("lookback_days=30"), "{listed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_query_folder_can_be_set_by_environment_variable_or_settings_file() {
    let fixture = Fixture::new().await;
    fixture.write("mine.sql", "SELECT 1 AS one");
    let arguments = ["query", "--name", "mine", "--format", "csv"];
    let mut command = fixture.world.command(&arguments);
    command.env("CLERK_LAKE_QUERIES", "mine");
    assert_eq!(stdout(&output(command).await), "one\n1\n");
    std::fs::write(fixture.world.directory.path().join("clerk-lake.toml"), "queries = \"mine\"\n").expect("a file");
    assert_eq!(stdout(&fixture.world.run(&arguments).await), "one\n1\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_in_a_query_file_name_the_file_and_line() {
    let fixture = Fixture::new().await;
    fixture.write("bad.sql", "-- title: Bad\n-- chart: pie\nSELECT 1\n");
    fixture
        .fails(&["--name", "users"], 7, &["mine/bad.sql, line 2", "there is no chart \"pie\"", "stat, line, bar"])
        .await;
    fixture.write("bad.sql", "-- title: Bad\n\n-- parameter: days\nSELECT 1\n");
    fixture.fails(&["--list"], 7, &["mine/bad.sql, line 3", "name = number"]).await;
    fixture.write("bad.sql", "-- title: Bad\nSELECT 1\nFROM )\n");
    fixture.fails(&["--name", "bad"], 7, &["mine/bad.sql: ", "line 3: FROM )"]).await;
    fixture.fails(&["--name", "worse"], 2, &["there is no query called \"worse\"", "query --list"]).await;
    fixture.fails(&["--name", "bod"], 2, &["there is no query called \"bod\"", "did you mean bad?"]).await;
    let missing = fixture.world.run(&["query", "--queries", "nowhere", "--list"]).await;
    assert_eq!(missing.status.code(), Some(2));
    assert!(stderr(&missing).contains("the query directory nowhere cannot be read"), "{}", stderr(&missing));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parameter_outside_its_range_is_refused() {
    let fixture = Fixture::new().await;
    fixture
        .write("days.sql", "-- parameter: days = 3 (1 to 9)\n-- parameter: more = 1\nSELECT 1 * $days * $more AS days");
    assert_eq!(fixture.query_csv(&["--name", "days"]).await, "days\n3\n");
    assert_eq!(fixture.query_csv(&["--name", "days", "--param", "days=9", "--param", "more=-2"]).await, "days\n-18\n");
    for days in ["days=0", "days=-1", "days=10"] {
        fixture.fails(&["--name", "days", "--param", days], 2, &["days cannot be ", "give a value from 1 to 9"]).await;
    }
    fixture.fails(&["--name", "days", "--param", "day=1"], 2, &["no parameter \"day\"", "did you mean days?"]).await;
    fixture
        .fails(&["--name", "days", "--param", "days=many"], 2, &["days cannot be many", "give a whole number"])
        .await;
    // A file given by `--file` may also have a header.
    assert_eq!(fixture.query_csv(&["--file", "mine/days.sql", "--param", "days=2"]).await, "days\n2\n");
    fixture.fails(&["--file", "mine/days.sql", "--param", "days=0"], 2, &["days cannot be 0"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_built_in_query_is_also_a_view_with_the_same_rows() {
    let fixture = Fixture::new().await;
    let (queries, now) = (Queries::builtin().expect("the built-in queries"), Clock::system().now());
    let snapshot = fixture.snapshot(&queries, now).await;
    let in_order = |mut rows: Vec<Value>| {
        rows.sort_by_key(Value::to_string);
        rows
    };
    for query in queries.iter() {
        assert!(!query.title.is_empty() && !query.description.is_empty(), "{query:?}");
        let parameters = Parameters::at(now);
        let rows = query.run(snapshot.context(), &parameters).await.expect("the rows");
        let select = Query::ad_hoc(&format!("SELECT * FROM {}", query.name));
        let view_rows = select.run(snapshot.context(), &parameters).await.expect("the view's rows");
        assert_eq!(in_order(as_json(&view_rows)), in_order(as_json(&rows)), "{}", query.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_shadow_queries_and_queries_can_use_each_other_but_not_themselves() {
    let fixture = Fixture::new().await;
    fixture
        .write("clerk_user.sql", "SELECT 'not the table' AS what")
        .write("verified.sql", "-- parameter: least = 0\nSELECT * FROM clerk_user WHERE email_verified AND $least < 1")
        .write("share.sql", "SELECT count(*) <= 50 AS is_share FROM verified")
        .write("turn.sql", "SELECT * FROM turn")
        .write("there.sql", "SELECT * FROM back")
        .write("back.sql", "SELECT * FROM there");
    assert_eq!(fixture.query_csv(&["SELECT count(*) AS users FROM clerk_user"]).await, "users\n50\n");
    assert_eq!(fixture.query_csv(&["--name", "clerk_user"]).await, "what\nnot the table\n");
    assert_eq!(fixture.query_csv(&["SELECT is_share FROM share"]).await, "is_share\ntrue\n");
    assert_eq!(fixture.query_csv(&["--name", "share"]).await, "is_share\ntrue\n");
    for name in ["turn", "there", "back"] {
        fixture.fails(&[&format!("SELECT * FROM {name}")], 7, &["there is no table or query"]).await;
    }
}

#[test]
fn a_query_with_an_invalid_header_does_not_parse() {
    let error = Query::parse("x", "-- order: first\nSELECT 1").expect_err("no query");
    assert_eq!(error.kind(), ErrorKind::Query);
    assert!(error.message().contains("query x, line 1"), "{error:?}");
    let query = Query::parse("x", "\u{feff}-- title: T\n-- anything: else\nSELECT 1").expect("a query");
    assert_eq!((query.title.as_str(), query.sql.starts_with("-- title")), ("T", true));
}
