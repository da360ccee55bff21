//! SQL that people type: wrong names, long statements, JSON, parameters, limits, and files beside the lake.

use std::fmt::Write as _;
use std::io::Read;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::errors::small;
use crate::support::{World, stderr, stdout};

async fn synced() -> World {
    let world = small().await;
    assert_eq!(world.run(&["sync"]).await.status.code(), Some(0));
    world
}

/// Runs a query and returns its rows as CSV.
async fn csv(world: &World, arguments: &[&str]) -> String {
    let done = world.run(&[&["query", "--format", "csv"], arguments].concat()).await;
    assert_eq!(done.status.code(), Some(0), "{arguments:?}: {}", stderr(&done));
    stdout(&done)
}

/// Runs a query that fails, and returns what it prints.
async fn failure(world: &World, code: i32, arguments: &[&str]) -> String {
    let failed = world.run(&[&["query", "--format", "csv"], arguments].concat()).await;
    let start = arguments.iter().map(|text| text.chars().take(80).collect::<String>()).collect::<Vec<_>>();
    assert_eq!(failed.status.code(), Some(code), "{start:?}: {}", stderr(&failed));
    assert_eq!(stdout(&failed), "", "{start:?}");
    stderr(&failed)
}

fn write(world: &World, file: &str, content: impl AsRef<[u8]>) {
    std::fs::write(world.directory.path().join(file), content).expect("a file");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_name_is_answered_with_its_place_and_the_nearest_name() {
    let world = synced().await;
    for (sql, place, hint) in [
        (
            "SELECT * FROM clerk_usr",
            "  line 1: SELECT * FROM clerk_usr\n                        ^^^^^^^^^",
            "did you mean clerk_user?",
        ),
        ("SELECT * FROM sign_up", "^^^^^^^", "did you mean sign_ups?"),
        (
            "SELECT *\nFROM users u\nJOIN clerk_sesion s ON true",
            "  line 3: JOIN clerk_sesion s ON true\n               ^^^",
            "clerk_session",
        ),
        (
            "SELECT emial FROM clerk_user",
            "  line 1: SELECT emial FROM clerk_user\n                 ^^^^^\n",
            "did you mean email",
        ),
        ("SELECT u.emial FROM clerk_user u", "^", "did you mean email"),
        ("SELECT v.email FROM clerk_user u", "^", "it reads u"),
        ("SELECT lenght(id) FROM clerk_user", "^^^^^^", "did you mean length?"),
        ("SELECT id FROM clerk_user a JOIN clerk_user b ON a.id = b.id", "^^", "table.id"),
        ("SELECT * FROM read_csv('x')", "^", "FROM 'file.csv'"),
        ("SELEC 1", "^^^^^", "did you mean SELECT?"),
        (
            "SELECT * FROM clerk_user WHERE",
            "  line 1: SELECT * FROM clerk_user WHERE\n                                        ^",
            "",
        ),
        ("SELECT 'a", "^", ""),
        ("SELECT TOP 3 id FROM clerk_user", "^^^", "LIMIT 3"),
        ("SELECT $days", "^^^^^", "--param days=VALUE"),
    ] {
        let said = failure(&world, 7, &[sql]).await;
        assert!(said.contains(place) && said.contains(hint), "{sql}: {said}");
        assert!(said.lines().count() <= 5, "{sql}: {said}");
    }
    let said = failure(&world, 2, &["--name", "sign_up"]).await;
    assert!(said.contains("did you mean sign_ups?") && !said.contains("retention"), "{said}");
    let said = failure(&world, 2, &["--name", "sign_ups", "--param", "lookback_day=7"]).await;
    assert!(said.contains("did you mean lookback_days?"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_names_of_the_engine_do_not_reach_people() {
    let world = synced().await;
    write(&world, "broken.json", "{\"a\": 1}\n{\"a\": }\n");
    write(&world, "ragged.csv", "a,b\n1,2\n3\n");
    for sql in [
        "SELECT nothing FROM clerk_user",
        "SELECT 1 / 0",
        "SELECT CAST('a' AS BIGINT)",
        "SELECT id + 1 FROM clerk_user",
        "SELECT sum(id) FROM clerk_user",
        "SELECT abs('a')",
        "SELECT abs(1, 2)",
        "SELECT id, count(*) FROM clerk_user",
        "SELECT date_trunc('mont', now())",
        "SELECT regexp_like('a', '(')",
        "SELECT * FROM clerk_user WHERE id = (SELECT id FROM clerk_user)",
        "SELECT * FROM x.y.z.t",
        "DELETE FROM clerk_user",
        "CREATE EXTERNAL TABLE x STORED AS CSV LOCATION 'x.csv'",
        "COPY clerk_user TO 'x.csv'",
        "SET a = 1",
        "SELECT * FROM 'broken.json'",
        "SELECT * FROM 'ragged.csv'",
    ] {
        let said = failure(&world, 7, &[sql]).await;
        for name in [
            "Schema error",
            "Arrow error",
            "DataFusion",
            "External error",
            "Int64",
            "Utf8",
            "Internal error",
            "planning:",
            "Execution error",
        ] {
            assert!(!said.contains(name), "{sql}: {said}");
        }
    }
    assert_eq!(csv(&world, &["SELECT 1, 'a', count(*) FROM clerk_user HAVING 1 = 2"]).await, "1,'a',count(*)\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn hints_go_by_what_is_wrong_not_by_words_in_the_text() {
    let world = synced().await;
    for text in ["not supported", "a placeholder", "table x not found", "Arrow error: x"] {
        let said = failure(&world, 7, &[&format!("SELECT CAST('{text}' AS BIGINT)")]).await;
        assert!(said.contains(text) && said.contains("TRY_CAST"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_may_start_with_from() {
    let world = synced().await;
    assert_eq!(
        csv(&world, &["FROM clerk_user ORDER BY id LIMIT 2"]).await,
        csv(&world, &["SELECT * FROM clerk_user ORDER BY id LIMIT 2"]).await
    );
    let count = "SELECT count(*) FROM (FROM clerk_user)";
    assert_eq!(csv(&world, &[count]).await, csv(&world, &["SELECT count(*) FROM clerk_user"]).await);
    let said = failure(&world, 7, &["FROM clerk_user WHERE banned"]).await;
    assert!(said.contains("write SELECT * before FROM"), "{said}");
}

/// Long and deep statements, by what they are made of.
fn long_statements() -> Vec<String> {
    let chain =
        |separator: &str, count: usize| (0..count).map(|i| format!("id <> '{i}'")).collect::<Vec<_>>().join(separator);
    let list = (0..100_000).map(|i| format!("'{i}'")).collect::<Vec<_>>().join(",");
    let around =
        |open: &str, close: &str, count: usize| format!("SELECT {}1{}", open.repeat(count), close.repeat(count));
    let mut all = vec![
        format!("SELECT count(*) FROM clerk_user WHERE id IN ({list})"),
        format!("SELECT count(*) FROM clerk_user WHERE id || '' NOT IN ({list})"),
    ];
    for count in [90, 5_000, 100_000] {
        all.push(around("(", ")", count));
        all.push(around("abs(", ")", count));
        all.push(around("CASE WHEN true THEN ", " END", count));
        all.push(around("NOT (", " = 1)", count));
        all.push(around("[", "]", count));
        all.push(around("- ", "", count));
    }
    for count in [1_000, 2_900, 20_000] {
        all.push(format!("SELECT count(*) FROM clerk_user WHERE {}", chain(" OR ", count)));
        all.push(format!("SELECT count(*) FROM clerk_user WHERE {}", chain(" AND ", count)));
        all.push(format!("SELECT length({}) FROM clerk_user LIMIT 1", vec!["id"; count].join(" || ")));
        all.push(format!("SELECT 1{}", "::INT".repeat(count)));
    }
    for count in [500, 1_900, 20_000] {
        all.push(vec!["SELECT 1"; count].join(" UNION ALL "));
        let mut with = "WITH c0 AS (SELECT 1 AS a)".to_owned();
        (1..count).for_each(|i| {
            let _ = write!(with, ", c{i} AS (SELECT * FROM c{})", i - 1);
        });
        all.push(format!("{with} SELECT * FROM c{}", count - 1));
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn no_statement_ends_the_process() {
    let world = synced().await;
    for sql in long_statements() {
        write(&world, "long.sql", &sql);
        let began = Instant::now();
        let done = world.run(&["query", "--format", "csv", "--file", "long.sql"]).await;
        let start: String = sql.chars().take(90).collect();
        let (code, said) = (done.status.code(), stderr(&done));
        assert!(matches!(code, Some(0 | 7)), "{start}… ({} bytes): {code:?} {said}", sql.len());
        assert!(code == Some(0) || said.contains("  help: "), "{start}…: {said}");
        assert!(said.len() < 1_000, "{start}…: {said}");
        assert!(began.elapsed() < Duration::from_mins(1), "{start}…: {:?}", began.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_whose_reader_has_gone_away_ends() {
    let world = synced().await;
    let sql = "SELECT a.value, md5(CAST(a.value AS VARCHAR)) FROM generate_series(1, 20000) a CROSS JOIN generate_series(1, 20000) b";
    for format in ["csv", "ndjson", "table"] {
        let mut command = world.command(&["query", "--format", format, sql]);
        let mut program = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the program");
        let mut reader = program.stdout.take().expect("its output");
        reader.read_exact(&mut [0; 10]).expect("the first rows");
        drop(reader);
        let began = Instant::now();
        while program.try_wait().expect("its state").is_none() {
            if began.elapsed() > Duration::from_secs(30) {
                program.kill().expect("a signal");
                panic!("{format}: the query goes on");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_files_sql_reads_nothing_but_the_lake() {
    let world = synced().await;
    write(&world, "people.csv", "id\n1\n");
    assert_eq!(csv(&world, &["SELECT count(*) FROM 'people.csv'"]).await, "count(*)\n1\n");
    std::fs::create_dir(world.directory.path().join("own")).expect("a folder");
    write(&world, "own/mine.sql", "SELECT * FROM 'people.csv'");
    for sql in [
        "SELECT * FROM 'people.csv'",
        "SELECT * FROM './people.csv'",
        "SELECT * FROM \"people.csv\"",
        "SELECT * FROM 'no such file.csv'",
        "SELECT * FROM '*.csv'",
        "SELECT * FROM 's3://bucket/people.csv'",
        "SELECT * FROM '/etc/'",
        "SELECT * FROM clerk_user WHERE id IN (SELECT id FROM 'people.csv')",
        "WITH a AS (FROM 'people.csv') SELECT * FROM a",
        "EXPLAIN SELECT * FROM 'people.csv'",
        "DESCRIBE 'people.csv'",
        "SELECT * FROM mine",
    ] {
        let said = failure(&world, 7, &["--no-files", "--queries", "own", sql]).await;
        assert!(said.contains("--no-files"), "{sql}: {said}");
    }
    for sql in ["CREATE EXTERNAL TABLE x STORED AS CSV LOCATION 'people.csv'", "COPY clerk_user TO 'x.csv'"] {
        failure(&world, 7, &["--no-files", sql]).await;
    }
    assert_eq!(csv(&world, &["--no-files", "SELECT count(*) > 0 AS some FROM clerk_user"]).await, "some\ntrue\n");
    let mut command = world.command(&["query", "SELECT * FROM 'people.csv'"]);
    command.env("CLERK_LAKE_NO_FILES", "true");
    assert_eq!(crate::support::output(command).await.status.code(), Some(7));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_stays_within_its_memory_limit() {
    let world = synced().await;
    let distinct =
        "SELECT count(*) AS n FROM (SELECT DISTINCT md5(CAST(value AS VARCHAR)) FROM generate_series(1, 400000))";
    assert_eq!(csv(&world, &["--memory-limit", "32MB", distinct]).await, "n\n400000\n");
    let list = "SELECT length(string_agg(md5(CAST(value AS VARCHAR)), ',')) FROM generate_series(1, 2000000)";
    let said = failure(&world, 7, &["--memory-limit", "16MB", list]).await;
    assert!(said.contains("--memory-limit"), "{said}");
    assert!(failure(&world, 2, &["--memory-limit", "a lot", "SELECT 1"]).await.contains("512MB"));
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_of_json_text_can_be_read() {
    let world = synced().await;
    let sql = "SELECT m->>'plan' AS plan, CAST(m->'seats' AS BIGINT) + 1 AS seats, m->'deep'->>'a' AS a, m->>'none' AS none \
        FROM (VALUES ('{\"plan\": \"pro\", \"seats\": 4, \"deep\": {\"a\": \"b\"}}')) AS t(m)";
    assert_eq!(csv(&world, &[sql]).await, "plan,seats,a,none\npro,5,b,\n");
    csv(&world, &["SELECT public_metadata->>'plan' AS plan, count(*) FROM clerk_user GROUP BY 1"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_are_numbers_days_or_text() {
    let world = synced().await;
    let types = "SELECT arrow_typeof($a) AS a, arrow_typeof($b) AS b, $c AS c, $d AS d";
    let given = ["--param", "a=7", "--param", "b=2026-11-24", "--param", "c=pro", "--param", "d='007'", types];
    assert_eq!(csv(&world, &given).await, "a,b,c,d\nInt64,Date32,pro,007\n");
    let file = "-- parameter: plan = 'free'\n-- parameter: since = 2026-01-01 (2025-01-01 to 2026-12-31)\n\
        SELECT $plan AS plan, $since AS since";
    std::fs::create_dir(world.directory.path().join("own")).expect("a folder");
    write(&world, "own/mine.sql", file);
    let named = ["--queries", "own", "--name", "mine"];
    assert_eq!(csv(&world, &named).await, "plan,since\nfree,2026-01-01\n");
    let given = [&named[..], &["--param", "plan=007", "--param", "since=2026-11-24"]].concat();
    assert_eq!(csv(&world, &given).await, "plan,since\n007,2026-11-24\n");
    for (value, says) in [("since=soon", "a day"), ("since=2024-01-01", "from 2025-01-01 to 2026-12-31")] {
        let said = failure(&world, 2, &[&named[..], &["--param", value]].concat()).await;
        assert!(said.contains(says), "{value}: {said}");
    }
    assert_eq!(csv(&world, &["SELECT 'costs $today and $5' AS a -- $x"]).await, "a\ncosts $today and $5\n");
    failure(&world, 2, &["--param", "days=3", "SELECT 1 AS a -- $days, once"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lake_describes_itself() {
    let world = synced().await;
    let tables = csv(&world, &["SHOW TABLES"]).await;
    assert!(tables.starts_with("name,kind,meaning\n") && tables.contains("clerk_user,table,"), "{tables}");
    assert!(tables.contains("sign_ups,query,") && !tables.contains("information_schema"), "{tables}");
    for sql in ["DESCRIBE clerk_user", "DESC Clerk_User", "SHOW COLUMNS FROM clerk_user"] {
        let columns = csv(&world, &[sql]).await;
        assert!(columns.starts_with("column,type,meaning\nid,text,"), "{sql}: {columns}");
        assert!(!columns.contains("Utf8"), "{sql}: {columns}");
    }
    assert!(csv(&world, &["DESCRIBE sign_ups"]).await.contains("date,date,"));
    assert!(failure(&world, 7, &["DESCRIBE clerk_usr"]).await.contains("did you mean clerk_user?"));
    let shown = world.run(&["query", "--show", "sign_ups"]).await;
    assert_eq!(stdout(&shown), include_str!("../../queries/sign_ups.sql"));
    assert!(failure(&world, 2, &["--show", "sign_up"]).await.contains("did you mean sign_ups?"));
}

#[tokio::test(flavor = "multi_thread")]
async fn csv_files_are_read_as_they_are() {
    let world = synced().await;
    write(
        &world,
        "o'brien's.csv",
        "\u{feff}id,zip,long,note,day\n1,01234,12345678901234567890,\"two\nlines\",2026-01-02\n2,5,1,\"say \"\"hi\"\"\",\n",
    );
    let sql = "SELECT id + 1 AS id, zip, long, note, day + 1 AS day FROM 'o''brien''s.csv' ORDER BY id";
    let expected =
        "id,zip,long,note,day\n2,01234,12345678901234567890,\"two\nlines\",2026-01-03\n3,5,1,\"say \"\"hi\"\"\",\n";
    assert_eq!(csv(&world, &[sql]).await, expected);
    let numbers: Vec<String> = (0..3_000).map(|i| i.to_string()).collect();
    let numbers = numbers.join("\n");
    write(&world, "late.csv", format!("n\n{numbers}\nx7\n"));
    assert_eq!(csv(&world, &["SELECT max(n) AS n, count(*) AS rows FROM 'late.csv'"]).await, "n,rows\nx7,3001\n");
    write(&world, "ragged.csv", format!("a,b\n{}3\n", "1,2\n".repeat(1_500)));
    write(&world, "twice.csv", "a,a\n1,2\n");
    write(&world, "latin.csv", b"a\ncaf\xe9\n");
    for (file, says) in [("ragged.csv", "line 1502"), ("twice.csv", "line 1: two columns"), ("latin.csv", "line 2")] {
        let said = failure(&world, 7, &[&format!("SELECT count(*) FROM '{file}'")]).await;
        assert!(said.contains(file) && said.contains(says) && said.contains("  help: "), "{said}");
    }
    std::fs::create_dir(world.directory.path().join("parts")).expect("a folder");
    write(&world, "parts/1.csv", "a,b\n1,2\n");
    write(&world, "parts/2.csv", "b,a\n1,2\n");
    let said = failure(&world, 7, &["SELECT * FROM 'parts/'"]).await;
    assert!(said.contains("columns differ"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn json_files_are_read_as_they_are() {
    let world = synced().await;
    let lines = "{\"id\": 1}\n".repeat(3_000);
    write(&world, "late.ndjson", format!("{lines}{{\"id\": 2.5, \"late\": \"yes\"}}\n"));
    let sql = "SELECT count(*) AS rows, max(late) AS late, max(id) AS id FROM 'late.ndjson'";
    assert_eq!(csv(&world, &[sql]).await, "rows,late,id\n3001,yes,2.5\n");
    write(&world, "mixed.ndjson", format!("{lines}{{\"id\": \"x\"}}\n"));
    write(&world, "long.ndjson", "{\"id\": 1.5}\n{\"id\": 12345678901234567}\n");
    write(&world, "huge.json", "[{\"id\": 12345678901234567890}]");
    for (file, says) in [("mixed.ndjson", "line 3001"), ("long.ndjson", "line 2"), ("huge.json", "line 1")] {
        let said = failure(&world, 7, &[&format!("SELECT count(*) FROM '{file}'")]).await;
        assert!(said.contains(file) && said.contains(says) && said.contains("  help: "), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn times_from_year_1_to_9999_can_be_compared() {
    let world = synced().await;
    let times = "(VALUES (arrow_cast(-62135596800000000, 'Timestamp(Microsecond, Some(\"UTC\"))')), \
        (arrow_cast(1764489600000000, 'Timestamp(Microsecond, Some(\"UTC\"))')), \
        (arrow_cast(253402214400000000, 'Timestamp(Microsecond, Some(\"UTC\"))'))) AS t(at)";
    for condition in [
        "at <= '9999-12-31T12:00:00Z'",
        "at <= DATE '9999-12-31'",
        "at <= TIMESTAMP '9999-12-31'",
        "DATE '0001-01-01' <= at",
        "at < now() OR at >= now()",
        "at <= current_date OR at > current_date",
        "at BETWEEN '0001-01-01' AND '9999-12-31'",
        "at BETWEEN DATE '0001-01-01' AND DATE '9999-12-31'",
        "now() - at IS NOT NULL",
        "date_trunc('week', at) <= at",
        "date_trunc('month', at) <= at",
        "CAST(date_trunc('year', at) AS DATE) <= CAST(at AS DATE)",
        "to_timestamp('2026-01-01T00:00:00Z') <> at",
    ] {
        let sql = format!("SELECT count(*) AS n FROM {times} WHERE {condition}");
        assert_eq!(csv(&world, &[&sql]).await, "n\n3\n", "{condition}");
    }
    for bound in ["'9999-12-31'", "DATE '9999-12-31'", "TIMESTAMP '9999-12-31 00:00:00'"] {
        let sql = format!("SELECT count(*) AS n FROM clerk_user WHERE created_at > {bound}");
        assert_eq!(csv(&world, &[&sql]).await, "n\n0\n", "{bound}");
    }
}
