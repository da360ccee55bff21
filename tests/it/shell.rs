//! Statements and commands from standard input.

use std::fs::File;
use std::process::Output;

use crate::errors::small;
use crate::support::{World, output, stderr, stdout};

async fn synced() -> World {
    let world = small().await;
    assert_eq!(world.run(&["sync"]).await.status.code(), Some(0));
    world
}

/// Runs `clerk-lake query` with `text` on its standard input.
async fn query_input(world: &World, text: &str, arguments: &[&str]) -> Output {
    let file = world.directory.path().join("input.sql");
    std::fs::write(&file, text).expect("a file");
    let mut command = world.command(&[&["query"][..], arguments].concat());
    command.stdin(File::open(&file).expect("the file"));
    output(command).await
}

async fn printed(world: &World, text: &str, arguments: &[&str]) -> String {
    let done = query_input(world, text, arguments).await;
    assert_eq!(done.status.code(), Some(0), "{text}: {}", stderr(&done));
    stdout(&done)
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_from_standard_input_run_in_order() {
    let world = synced().await;
    let text = "SELECT 1 AS a; -- one; \nSELECT ';' AS b\n;\nSELECT count(*) AS users\nFROM clerk_user\n";
    assert_eq!(printed(&world, text, &["--format", "csv"]).await, "a\n1\nb\n;\nusers\n50\n");
    assert_eq!(printed(&world, "SELECT 1 AS a", &["--format", "ndjson"]).await, "{\"a\":1}\n");
    let by_argument = world.run(&["query", "SELECT 1 AS a; SELECT 2 AS a;", "--format", "csv"]).await;
    assert_eq!(stdout(&by_argument), "a\n1\na\n2\n");
    let table = printed(&world, "SELECT 1 AS a; SELECT 2 AS a", &["--format", "table"]).await;
    let one = |value| format!("+---+\n| a |\n+---+\n| {value} |\n+---+\n1 row\n");
    assert_eq!(table, one(1) + &one(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_failed_statement_ends_the_run() {
    let world = synced().await;
    let failed = query_input(&world, "SELECT 1 AS a;\n\nSELECT 2\nFROM );\nSELECT 3 AS c;", &["--format", "csv"]).await;
    assert_eq!((failed.status.code(), stdout(&failed)), (Some(7), "a\n1\n".to_owned()));
    assert!(stderr(&failed).contains("line 4: FROM )"), "{}", stderr(&failed));
    for text in ["", " \n", "-- nothing\n;;"] {
        let nothing = query_input(&world, text, &[]).await;
        assert_eq!(nothing.status.code(), Some(2));
        assert!(stderr(&nothing).contains("no query given"), "{}", stderr(&nothing));
    }
    let refused = query_input(&world, "SELECT 1; SELECT 2", &["--format", "parquet"]).await;
    assert_eq!((refused.status.code(), refused.stdout.len()), (Some(2), 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_list_tables_columns_and_queries() {
    let world = synced().await;
    let tables = printed(&world, "\\d", &[]).await;
    for line in ["table  clerk_user ", "table  clerk_session ", "query  users ", "query  sign_ups "] {
        assert!(tables.lines().any(|it| it.starts_with(line)), "{line}: {tables}");
    }
    let columns = printed(&world, "\\d clerk_user\n", &[]).await;
    assert!(columns.starts_with("The users of the instance, as they are now.\n"), "{columns}");
    assert!(
        columns
            .lines()
            .any(|line| line.starts_with("email ") && line.contains("  text  ") && line.contains("Primary e-mail")),
        "{columns}"
    );
    assert!(columns.contains("\nemail_addresses                  list of struct  "), "{columns}");
    assert!(columns.contains("\n  email_address                  text\n"), "{columns}");
    let query = printed(&world, "\\d daily_active_users", &[]).await;
    assert!(query.contains("lookback_days=30") && query.contains("\ndaily_active_users  bigint"), "{query}");
    let queries = printed(&world, "\\queries\n", &[]).await;
    assert_eq!(queries, stdout(&world.run(&["query", "--list"]).await));
    assert!(printed(&world, "\\?", &[]).await.contains("\\run NAME"));
    let unknown = query_input(&world, "\\d nonsense", &[]).await;
    assert_eq!(unknown.status.code(), Some(7));
    assert!(stderr(&unknown).contains("there is no table or query called \"nonsense\""), "{}", stderr(&unknown));
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_run_queries_and_set_the_format_and_output() {
    let world = synced().await;
    let text = "\\format csv\n\\run daily_active_users lookback_days=2\n\\o rows.json\nSELECT 1 AS a;\n\\o\nSELECT 2 AS b;\n\
        \\q\nSELECT 3 AS c;";
    let done = printed(&world, text, &[]).await;
    assert_eq!(done.lines().next(), Some("date,daily_active_users"));
    assert_eq!(done.lines().count(), 5, "{done}");
    assert!(done.ends_with("b\n2\n"), "{done}");
    let file = std::fs::read_to_string(world.directory.path().join("rows.json")).expect("a file");
    assert_eq!(file, "[{\"a\":1}]\n");
    let wrong = query_input(&world, "\\run users lookback_days=2", &[]).await;
    assert_eq!(wrong.status.code(), Some(2));
    assert!(stderr(&wrong).contains("the query has no parameter"), "{}", stderr(&wrong));
    let refreshed = printed(&world, "\\timing on\n\\refresh\nSELECT 1 AS a;", &["--format", "csv"]).await;
    assert_eq!(refreshed, "a\n1\n");
    let block = printed(&world, "\\format table\n\\x on\nSELECT 1 AS one, NULL AS none;", &[]).await;
    assert!(block.ends_with("\none  | 1\nnone | NULL\n1 row\n"), "{block}");
    let expanded = ["query", "SELECT 1 AS one, NULL AS none", "--expanded", "--format", "table"];
    assert_eq!(stdout(&world.run(&expanded).await), block);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_holds_all_results_sent_to_it() {
    let world = synced().await;
    let read = |file: &str| std::fs::read_to_string(world.directory.path().join(file)).expect("a file");
    std::fs::write(world.directory.path().join("rows.csv"), "old\n").expect("a file");
    let text = "\\o rows.csv\nSELECT 1 AS a;\nSELECT 2 AS a;\n\\o other.csv\nSELECT 3 AS a;";
    assert_eq!(printed(&world, text, &[]).await, "");
    assert_eq!((read("rows.csv"), read("other.csv")), ("a\n1\na\n2\n".to_owned(), "a\n3\n".to_owned()));
    let second = query_input(&world, "\\o rows.json\nSELECT 1 AS a;\nSELECT 2 AS a;", &[]).await;
    assert_eq!((second.status.code(), read("rows.json")), (Some(2), "[{\"a\":1}]\n".to_owned()));
    assert!(stderr(&second).contains("rows.json already holds a result"), "{}", stderr(&second));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sql_argument_cannot_hold_commands() {
    let world = synced().await;
    for sql in ["SELECT 1;\n\\o victim.csv\nSELECT 2", "\\o victim.csv\nSELECT 2", "\\d"] {
        let refused = world.run(&["query", sql]).await;
        assert_eq!((refused.status.code(), stdout(&refused)), (Some(2), String::new()), "{sql}");
        assert!(stderr(&refused).contains("is a command of the shell"), "{}", stderr(&refused));
    }
    assert!(!world.directory.path().join("victim.csv").exists());
    let text = stdout(&world.run(&["query", "SELECT '\n\\o ' || E'it\\'s; ' || $$so;$$ AS a"]).await);
    assert_eq!(text, "a\n\"\n\\o it's; so;\"\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_apply_to_every_statement_that_uses_them() {
    let world = synced().await;
    let text = "-- parameter: least = 1 (0 to 9)\nSELECT 1 * $least AS a; SELECT 2 AS b; SELECT 3 * $most AS c;";
    let values = ["--param", "least=4", "--param", "most=5", "--format", "csv"];
    assert_eq!(printed(&world, text, &values).await, "a\n4\nb\n2\nc\n15\n");
    let unused = query_input(&world, text, &["--param", "leest=4", "--param", "most=5"]).await;
    assert_eq!((unused.status.code(), stdout(&unused)), (Some(2), String::new()));
    assert!(stderr(&unused).contains("no parameter \"leest\""), "{}", stderr(&unused));
    let missing = query_input(&world, text, &["--format", "csv"]).await;
    assert_eq!((missing.status.code(), stdout(&missing)), (Some(7), "a\n1\nb\n2\n".to_owned()));
    assert!(stderr(&missing).contains("--param most=VALUE"), "{}", stderr(&missing));
}
