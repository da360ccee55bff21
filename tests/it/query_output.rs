//! Output files and formats of queries, and files that queries can read in addition to the lake.

use std::io::{Cursor, Write};
use std::process::Output;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, TimeUnit};
use arrow::ipc::reader::{FileReader, StreamReader};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use object_store::ObjectStoreExt;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::Compression as Codec;
use parquet::file::metadata::RowGroupMetaData;

use crate::errors::small;
use crate::support::s3::{BUCKET, S3};
use crate::support::{World, as_json, output, stderr, stdout};

/// Times, flags, lists of structs, and nulls in all of them.
const TYPES: &str = "SELECT id, banned, created_at, last_sign_in_at, email_addresses, external_accounts \
    FROM clerk_user ORDER BY id";

async fn synced() -> World {
    let world = small().await;
    assert_eq!(world.run(&["sync"]).await.status.code(), Some(0));
    world
}

async fn succeeds(world: &World, arguments: &[&str]) -> Output {
    let done = world.run(arguments).await;
    assert_eq!(done.status.code(), Some(0), "{arguments:?}: {}", stderr(&done));
    done
}

async fn fails(world: &World, arguments: &[&str], code: i32, parts: &[&str]) {
    let failed = world.run(arguments).await;
    assert_eq!(failed.status.code(), Some(code), "{arguments:?}: {}", stderr(&failed));
    for text in parts {
        assert!(stderr(&failed).contains(text), "{arguments:?}: the message lacks {text:?}: {}", stderr(&failed));
    }
}

/// Returns the result of `sql` as CSV.
async fn csv(world: &World, sql: &str) -> String {
    stdout(&succeeds(world, &["query", sql, "--format", "csv"]).await)
}

fn content(world: &World, file: &str) -> Vec<u8> {
    std::fs::read(world.directory.path().join(file)).expect("the file")
}

fn write(world: &World, file: &str, content: impl AsRef<[u8]>) {
    let path = world.directory.path().join(file);
    std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
    std::fs::write(path, content).expect("a file");
}

fn parquet(bytes: Vec<u8>) -> Vec<RecordBatch> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(bytes)).expect("a Parquet file");
    for column in reader.metadata().row_groups().iter().flat_map(RowGroupMetaData::columns) {
        assert!(matches!(column.compression(), Codec::ZSTD(_)), "{column:?}");
    }
    reader.build().expect("a reader").map(|batch| batch.expect("rows")).collect()
}

fn arrow_file(bytes: Vec<u8>) -> Vec<RecordBatch> {
    let reader = FileReader::try_new(Cursor::new(bytes), None).expect("an Arrow file");
    reader.map(|batch| batch.expect("rows")).collect()
}

fn arrow_stream(bytes: Vec<u8>) -> Vec<RecordBatch> {
    let reader = StreamReader::try_new(Cursor::new(bytes), None).expect("an Arrow stream");
    reader.map(|batch| batch.expect("rows")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn parquet_and_arrow_keep_rows_and_types() {
    let world = synced().await;
    let rows = world.rows(TYPES).await;
    for file in ["rows.parquet", "rows.arrow"] {
        let done = succeeds(&world, &["query", TYPES, "--output", file]).await;
        assert_eq!((stdout(&done), stderr(&done)), (String::new(), String::new()));
    }
    let to_stdout = async |format| succeeds(&world, &["query", TYPES, "--format", format]).await.stdout;
    for batches in [
        parquet(content(&world, "rows.parquet")),
        arrow_file(content(&world, "rows.arrow")),
        parquet(to_stdout("parquet").await),
        arrow_stream(to_stdout("arrow").await),
    ] {
        assert_eq!(as_json(&batches), rows);
        let schema = batches[0].schema();
        let kind = |name| schema.field_with_name(name).expect("the column").data_type().clone();
        assert_eq!(kind("created_at"), DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())));
        assert!(matches!(kind("email_addresses"), DataType::List(element) if element.data_type().is_nested()));
        assert_eq!(kind("banned"), DataType::Boolean);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_result_keeps_its_columns_in_every_format() {
    let world = synced().await;
    let sql = "SELECT id, created_at FROM clerk_user WHERE id = 'nobody'";
    for file in ["none.parquet", "none.arrow", "none.csv", "none.json", "none.ndjson", "none.txt"] {
        succeeds(&world, &["query", sql, "--output", file]).await;
    }
    let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(content(&world, "none.parquet")));
    assert_eq!(reader.expect("a Parquet file").schema().fields().len(), 2);
    let reader = FileReader::try_new(Cursor::new(content(&world, "none.arrow")), None).expect("an Arrow file");
    assert_eq!(reader.schema().fields().len(), 2);
    for (file, printed) in [("none.csv", "id,created_at\n"), ("none.json", "[]\n"), ("none.ndjson", "")] {
        assert_eq!(String::from_utf8(content(&world, file)).expect("text"), printed, "{file}");
    }
    assert!(String::from_utf8(content(&world, "none.txt")).expect("text").contains("| id | created_at |"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_format_is_inferred_from_the_extension_unless_given() {
    let world = synced().await;
    let sql = "SELECT 1 AS one";
    for (file, printed) in [("a.csv", "one\n1\n"), ("a.JSON", "[{\"one\":1}]\n"), ("a.jsonl", "{\"one\":1}\n")] {
        succeeds(&world, &["query", sql, "--output", file]).await;
        assert_eq!(String::from_utf8(content(&world, file)).expect("text"), printed, "{file}");
    }
    succeeds(&world, &["query", sql, "--output", "a.out", "--format", "csv"]).await;
    assert_eq!(content(&world, "a.out"), b"one\n1\n");
    assert_eq!(stdout(&succeeds(&world, &["query", sql, "--output", "-", "--format", "csv"]).await), "one\n1\n");
    fails(&world, &["query", sql, "--output", "a.xlsx"], 2, &["a.xlsx", "  help: add --format"]).await;
    fails(&world, &["query", sql, "--output", "nowhere/a.csv"], 2, &["nowhere/a.csv cannot be written"]).await;
    fails(&world, &["query", "SELECT 1; SELECT 2", "--output", "a.csv"], 2, &["2 statements"]).await;
    write(&world, "two.sql", "\\run users\nSELECT 2");
    fails(&world, &["query", "--file", "two.sql", "--format", "parquet"], 2, &["2 statements"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_columns_of_one_name_are_refused_where_only_one_could_be_read() {
    let world = synced().await;
    let sql = "SELECT a.value, b.value FROM generate_series(1, 2) a CROSS JOIN generate_series(1, 2) b";
    for format in ["json", "ndjson", "parquet", "arrow"] {
        let help = "  help: give one of them another name: value AS value_2";
        fails(&world, &["query", sql, "--format", format], 7, &["two columns of the result are called", help]).await;
    }
    assert_eq!(csv(&world, sql).await.lines().next(), Some("value,value"));
    let table = stdout(&succeeds(&world, &["query", sql, "--format", "table"]).await);
    assert!(table.contains("| value | value |") && table.ends_with("\n4 rows\n"), "{table}");
    let nested = "SELECT named_struct('a', 1, 'a', 2) AS s";
    fails(&world, &["query", nested, "--format", "json"], 7, &["two columns"]).await;
    write(&world, "kept.json", "as it was");
    fails(&world, &["query", sql, "--output", "kept.json"], 7, &["two columns"]).await;
    assert_eq!(content(&world, "kept.json"), b"as it was");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_is_shown_line_by_line() {
    let world = synced().await;
    let plan = stdout(&succeeds(&world, &["query", "EXPLAIN SELECT id FROM clerk_user", "--format", "table"]).await);
    let mut lines = plan.lines();
    assert_eq!(lines.next(), Some("logical_plan"), "{plan}");
    assert!(plan.contains("\nphysical_plan\n  ") && plan.contains("TableScan"), "{plan}");
    assert!(lines.all(|line| line.starts_with("  ") || line.ends_with("_plan")), "{plan}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_shows_at_most_as_many_rows_as_asked_for() {
    let world = synced().await;
    let sql = "SELECT value AS n FROM generate_series(1, 1000)";
    let table = async |arguments: &[&str]| {
        stdout(&succeeds(&world, &[&["query", sql, "--format", "table"][..], arguments].concat()).await)
    };
    let text = table(&[]).await;
    assert_eq!(text.lines().count(), 3 + 41 + 2, "{text}");
    assert!(text.contains("|   20 |\n|    … |\n|  981 |\n") && text.ends_with("\n1,000 rows (40 shown)\n"), "{text}");
    assert!(table(&["--max-rows", "3"]).await.contains("|    2 |\n|    … |\n| 1000 |\n"));
    assert_eq!(table(&["--max-rows", "0"]).await.lines().count(), 3 + 1000 + 2);
    succeeds(&world, &["query", sql, "--output", "rows.txt"]).await;
    assert_eq!(String::from_utf8(content(&world, "rows.txt")).expect("text"), table(&["--max-rows", "0"]).await);
    assert_eq!(csv(&world, sql).await.lines().count(), 1001);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_of_a_resource_name_has_a_hint_with_the_table_name() {
    let world = synced().await;
    fails(&world, &["query", "SELECT email FROM users"], 7, &["  help: the table is called clerk_user\n"]).await;
    fails(&world, &["query", "SELECT * FROM sessions"], 7, &["  help: the table is called clerk_session\n"]).await;
    fails(&world, &["query", "SELECT u.e FROM clerk_user u"], 7, &["  help: the columns are id, email, "]).await;
}

/// Returns a CSV file with many numbers and, after them, a text.
fn numbers_and_a_text() -> String {
    let numbers: Vec<_> = (0..50_000).map(|number| number.to_string()).collect();
    format!("number\n{}\nnone\n", numbers.join("\n"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_fails_midway_leaves_the_output_file_unchanged() {
    let world = synced().await;
    write(&world, "numbers.csv", numbers_and_a_text());
    let sql = "SELECT CAST(number AS BIGINT) + 1 AS successor FROM 'numbers.csv'";
    for format in ["csv", "parquet", "json"] {
        let file = format!("out/rows.{format}");
        write(&world, &file, "as it was");
        fails(&world, &["query", sql, "--output", &file], 7, &["error: "]).await;
        assert_eq!(content(&world, &file), b"as it was");
        fails(&world, &["query", sql, "--output", &format!("new/rows.{format}")], 2, &["cannot be written"]).await;
    }
    let left: Vec<_> = std::fs::read_dir(world.directory.path().join("out")).expect("a folder").collect();
    assert_eq!(left.len(), 3, "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_outside_the_lake_can_be_queried() {
    let world = synced().await;
    let ids = world.rows("SELECT id FROM clerk_user ORDER BY id LIMIT 3").await;
    let ids: Vec<_> = ids.iter().map(|row| row["id"].as_str().expect("an id")).collect();
    let lines: Vec<_> = ids.iter().enumerate().map(|(plan, id)| format!("{id},\"plan\n{plan}\"\n")).collect();
    let people = format!("id,plan\n{}", lines.concat());
    write(&world, "people.csv", &people);
    write(&world, "data/people.tsv", people.replace(',', "\t"));
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(people.as_bytes()).expect("bytes");
    write(&world, "data/people.csv.gz", packed.finish().expect("bytes"));
    for ending in ["json", "ndjson", "parquet", "arrow"] {
        let file = format!("people.{ending}");
        succeeds(&world, &["query", "SELECT * FROM 'people.csv'", "--output", &file]).await;
    }
    let absolute = world.directory.path().join("people.csv");
    let absolute = absolute.to_string_lossy().into_owned();
    for file in [
        "people.csv",
        "./data/../people.csv",
        absolute.as_str(),
        "data/people.tsv",
        "data/people.csv.gz",
        "people.json",
        "people.ndjson",
        "people.parquet",
        "people.arrow",
    ] {
        let sql =
            format!("SELECT count(*) AS users, max(p.plan) AS plan FROM clerk_user u JOIN '{file}' p ON p.id = u.id");
        assert_eq!(csv(&world, &sql).await, "users,plan\n3,\"plan\n2\"\n", "{file}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_and_patterns_can_be_queried() {
    let world = synced().await;
    for (file, content) in [
        ("exports/year=2025/a.csv", "n\n1\n"),
        ("exports/year=2026/b.csv", "n\n2\n3\n"),
        ("exports/_SUCCESS", ""),
        ("mixed/a.csv", "n\n4\n"),
        ("mixed/b.ndjson", "{\"n\":5}\n"),
    ] {
        write(&world, file, content);
    }
    let by_year = "SELECT year, sum(n) AS n FROM 'exports/' GROUP BY year ORDER BY year";
    assert_eq!(csv(&world, by_year).await, "year,n\n2025,1\n2026,5\n");
    assert_eq!(csv(&world, "SELECT n FROM 'mixed/*.csv'").await, "n\n4\n");
    fails(&world, &["query", "SELECT n FROM 'mixed/'"], 7, &["both .csv and .ndjson", "with a pattern"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_file_is_an_error_with_a_reason_and_a_hint() {
    let world = synced().await;
    write(&world, "broken.parquet", "not Parquet");
    write(&world, "people.xlsx", "not known");
    let lake = format!("'{}'", world.path().join("clerk_user").display());
    for (from, reason, help) in [
        ("'people.csv'", "there is no file \"people.csv\"", "relative to the directory"),
        ("'nowhere/'", "there is no file \"nowhere/\"", "relative to the directory"),
        ("people.csv", "there is no table or query called \"people.csv\"", "put a file's path between quotes"),
        ("'broken.parquet'", "the file \"broken.parquet\" cannot be read", "match its extension"),
        ("'./people.xlsx'", "unknown file extension", ".parquet .pq .csv"),
        ("'https://example.org/people.csv'", "neither on disk nor on S3", "download"),
        (lake.as_str(), "holds a Delta table", "by their names"),
    ] {
        fails(&world, &["query", &format!("SELECT * FROM {from}")], 7, &[reason, help]).await;
    }
    let copy = "COPY (SELECT 1) TO 'stolen.csv' STORED AS CSV";
    fails(&world, &["query", copy], 7, &["changes rows, which a query cannot do"]).await;
    fails(&world, &["query", "INSERT INTO 'people.xlsx' VALUES (1)"], 7, &["error: "]).await;
    assert!(!world.directory.path().join("stolen.csv").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_on_s3_can_be_joined_with_a_lake_on_disk() {
    let world = synced().await;
    let s3 = S3::start().await;
    let path = object_store::path::Path::from("crm/people.csv");
    let id = world.rows("SELECT min(id) AS id FROM clerk_user").await;
    let people = format!("id,plan\n{},gold\n", id[0]["id"].as_str().expect("an id"));
    s3.store().put(&path, people.into_bytes().into()).await.expect("an object");
    let ask = async |file: &str| {
        let sql = format!("SELECT p.plan FROM clerk_user u JOIN 's3://{BUCKET}/{file}' p ON p.id = u.id");
        let mut command = world.command(&["query", &sql, "--format", "csv"]);
        command.envs(s3.environment());
        output(command).await
    };
    let done = ask("crm/people.csv").await;
    assert_eq!(stdout(&done), "plan\ngold\n", "{}", stderr(&done));
    for some in ["crm/", "crm/*.csv", "crm/p?ople.csv"] {
        let done = ask(some).await;
        assert_eq!(stdout(&done), "plan\ngold\n", "{some}: {}", stderr(&done));
    }
    let missing = ask("crm/nobody.csv").await;
    assert_eq!(missing.status.code(), Some(7), "{}", stderr(&missing));
    assert!(stderr(&missing).contains("there is no file"), "{}", stderr(&missing));
}
