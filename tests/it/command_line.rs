//! The command line: a transcript of commands compared with a golden file, and properties of the output.
//!
//! `CLERK_LAKE_BLESS=1 cargo test --test it command_line` rewrites `transcript.txt`. Read the diff.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;
use std::process::Output;

use clerk_lake::resource;
use serde_json::{Value, json};

use crate::errors::small;
use crate::support::{World, is_blessing, output, stderr, stdout, tables};

/// The time on the clock of the transcript's instance, in Unix milliseconds. It is long ago, so that timestamps in the
/// data cannot be confused with timestamps of the run itself.
const LONG_AGO: i64 = 1_700_000_000_000;

/// Dates from this year on come from the run itself, not from the data.
const RECENT: &str = "2025";

/// Selects a few rows with a boolean, a timestamp and a list, with nulls in each column.
const FEW: &str = "SELECT email_verified, last_active_at, make_array(username, external_id) AS names FROM clerk_user \
    ORDER BY created_at, id LIMIT 6";

/// The commands of the transcript, in the order in which they run, all on one lake.
const COMMANDS: &[&[&str]] = &[
    &["status"],
    &["check"],
    &["sync", "--plan"],
    &["sync"],
    &["sync", "--plan"],
    &["sync"],
    &["sync", "--full"],
    &["sync", "--resource", "users", "--resource", "organizations"],
    &["sync", "--json"],
    &["sync", "--quiet"],
    &["sync", "--dau-lookback-days", "91"],
    &["query", "SELECT count(*) AS users FROM clerk_user"],
    &["query", FEW],
    &["query", FEW, "--format", "table"],
    &["query", FEW, "--format", "table", "--expanded", "--max-rows", "3"],
    &["query", FEW, "--format", "json"],
    &["query", FEW, "--format", "ndjson"],
    &["query", "SELECT nothing"],
    &["query", "--name", "users"],
    &["query", "--name", "daily_active_users", "--param", "lookback_days=3"],
    &["query", "--name", "nonsense"],
    &["query", "--file", "question.sql"],
    &["query", "--list"],
    &["status"],
    &["schema"],
];

fn shell_words(arguments: &[&str]) -> String {
    let quoted = |word: &&str| if word.contains(' ') { format!("'{word}'") } else { (*word).to_owned() };
    arguments.iter().map(quoted).collect::<Vec<_>>().join(" ")
}

/// Returns one command with its output and exit code.
async fn entry(world: &World, arguments: &[&str]) -> String {
    let done = world.run(arguments).await;
    let printed = if arguments == ["schema"] { first_table(&stdout(&done)) } else { stdout(&done) };
    let errors: String = stderr(&done).lines().flat_map(|line| ["stderr| ", line, "\n"]).collect();
    let code = done.status.code().map_or_else(|| "none".to_owned(), |code| code.to_string());
    let text = format!("{}{errors}", with_final_newline(printed));
    format!("$ clerk-lake {}\n{}[exit {code}]\n", shell_words(arguments), with_placeholders(&text, world))
}

/// Returns `text` with a final newline, and marks the newline if it was missing. Empty text stays empty.
fn with_final_newline(text: String) -> String {
    if text.is_empty() || text.ends_with('\n') { text } else { format!("{text}[no line end]\n") }
}

/// Returns the first table of the output of `schema`: its description and columns.
fn first_table(text: &str) -> String {
    let end = text.match_indices("\n\n").nth(1).map_or(text.len(), |(at, _)| at + 1);
    format!("{}[and so on]\n", &text[..end])
}

/// Replaces everything that differs from run to run with placeholders.
fn with_placeholders(text: &str, world: &World) -> String {
    let text = text.replace(&*world.path().to_string_lossy(), "<lake>").replace(&world.simulator.url(), "<api>");
    let text = without_timestamps(&without_numbers_after(&text, "\"elapsed_ms\":"));
    text.lines().map(|line| without_duration(&without_size(line)) + "\n").collect()
}

/// Replaces every recent date or timestamp with `<moment>`.
fn without_timestamps(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let length = timestamp_len(rest);
        out.push_str(if length.is_some() { "<moment>" } else { &rest[..next.len_utf8()] });
        rest = &rest[length.unwrap_or(next.len_utf8())..];
    }
    out
}

/// Returns the length of the recent date or timestamp that `text` begins with; `None` if there is none.
fn timestamp_len(text: &str) -> Option<usize> {
    let date = text.get(..10).filter(|date| *date >= RECENT)?;
    let matches = |(found, wanted): (u8, u8)| if wanted == b'0' { found.is_ascii_digit() } else { found == wanted };
    let is_date = date.bytes().zip(*b"0000-00-00").all(matches);
    let time = text[10..].bytes().take_while(|byte| byte.is_ascii_digit() || b"T:.Z".contains(byte)).count();
    is_date.then_some(10 + time)
}

/// Replaces the number after every `marker` with `<number>`.
fn without_numbers_after(text: &str, marker: &str) -> String {
    let mut pieces = text.split(marker);
    let first = pieces.next().unwrap_or_default().to_owned();
    pieces.fold(first, |out, piece| {
        format!("{out}{marker}<number>{}", piece.trim_start_matches(|c: char| c.is_ascii_digit()))
    })
}

/// Replaces a file size with `<size>`, because it depends on the version of the Parquet encoder.
fn without_size(line: &str) -> String {
    let unit = [" KiB ", " MiB "].iter().find_map(|unit| line.find(unit));
    let number = unit.and_then(|unit| line[..unit].rfind(' ').map(|number| (number, unit)));
    match number {
        Some((number, unit)) => format!("{} <size> {}", line[..number].trim_end(), line[unit + 5..].trim_start()),
        None => line.to_owned(),
    }
}

/// Replaces a duration or age at the end of `line` with `<duration>`.
pub fn without_duration(line: &str) -> String {
    let mut words = line.rsplitn(3, ' ');
    let is_number = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    match (words.next(), words.next(), words.next()) {
        (Some("s" | "min" | "h" | "d"), Some(number), Some(before)) if is_number(number) => {
            format!("{before} <duration>")
        }
        _ => line.to_owned(),
    }
}

#[test]
fn placeholders_replace_only_what_differs_from_run_to_run() {
    let text = "é 2026-11-24T15:01:02.003Z,2026-11-24|2023-11-14T22:13:20Z 2026-1-1";
    assert_eq!(without_timestamps(text), "é <moment>,<moment>|2023-11-14T22:13:20Z 2026-1-1");
    assert_eq!(
        without_numbers_after("{\"ms\":12,\"n\":7,\"ms\":3}", "\"ms\":"),
        "{\"ms\":<number>,\"n\":7,\"ms\":<number>}"
    );
    assert_eq!(without_size("clerk_user   50      4  35.12 KiB        1  -"), "clerk_user   50      4 <size> 1  -");
    assert_eq!(without_duration("users  ok  3 requests  0.1 s"), "users  ok  3 requests  <duration>");
    assert_eq!(without_duration("2023-11-14T22:13:20Z 1107 d"), "2023-11-14T22:13:20Z <duration>");
    assert_eq!(without_duration("it is what it is"), "it is what it is");
}

/// Compares `found` with the golden file, or writes the file.
pub fn compare_with_golden(path: &Path, found: &str) {
    const HOW: &str = "rewrite it with CLERK_LAKE_BLESS=1 cargo test --test it command_line and read the diff";
    if is_blessing() {
        std::fs::write(path, found).expect("the transcript can be written");
        return;
    }
    let golden = std::fs::read_to_string(path);
    let golden = golden.unwrap_or_else(|error| panic!("{} cannot be read ({error}): {HOW}", path.display()));
    let mut lines = golden.lines().zip(found.lines()).zip(1..);
    let differing = lines.find(|((golden, found), _)| golden != found);
    if let Some(((golden, found), line)) = differing {
        panic!("line {line} of {} was\n{golden}\nand is now\n{found}\nIf the change is right, {HOW}", path.display());
    }
    assert!(golden == found, "{} has a different end; if the change is right, {HOW}", path.display());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_transcript_matches_the_golden_file() {
    let world = World::with(|config| {
        config.users = 60;
        config.organizations = 5;
        config.activity_days = 430;
        config.now = Some(LONG_AGO);
    })
    .await;
    let question = "SELECT status, count(*) AS sessions FROM clerk_session GROUP BY status ORDER BY status";
    std::fs::write(world.directory.path().join("question.sql"), question).expect("a file");
    let mut entries = Vec::new();
    for arguments in COMMANDS {
        entries.push(entry(&world, arguments).await);
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/transcript.txt");
    compare_with_golden(&path, &entries.join("\n"));
}

async fn succeeds(world: &World, arguments: &[&str]) -> Output {
    let done = world.run(arguments).await;
    assert_eq!(done.status.code(), Some(0), "{arguments:?}: {}", stderr(&done));
    done
}

fn keys(document: &Value) -> BTreeSet<&str> {
    document.as_object().expect("an object").keys().map(String::as_str).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn sync_json_prints_one_document_with_exactly_the_documented_keys() {
    let world = small().await;
    world.simulator.set(|config| config.organizations_status = Some(403));
    let done = succeeds(&world, &["sync", "--json"]).await;
    let document: Value = serde_json::from_slice(&done.stdout).expect("one JSON document and nothing else");
    assert_eq!(
        keys(&document),
        BTreeSet::from(["status", "started_at", "finished_at", "lake", "instance", "resources"])
    );
    let resource_keys = "name status mode rows_read rows_inserted rows_updated rows_deleted rows_total rows_rejected \
        fields_nulled requests retries throttled bytes elapsed_ms watermark version error";
    let resource_keys: BTreeSet<_> = resource_keys.split_whitespace().collect();
    let resources = document["resources"].as_array().expect("a list");
    for resource in resources {
        assert_eq!(keys(resource), resource_keys);
    }
    let outcomes: Vec<_> = resources.iter().map(|it| (it["name"].as_str(), it["status"].as_str())).collect();
    assert_eq!(outcomes[0], (Some("users"), Some("ok")));
    assert_eq!(outcomes[1], (Some("organizations"), Some("skipped")));
    assert_eq!(document["status"], "ok");
    assert_eq!(document["lake"], json!(world.path()));
    let users = &resources[0];
    assert_eq!((&users["rows_inserted"], &users["rows_total"]), (&json!(50), &json!(50)));
    assert_eq!((&users["mode"], &users["error"], &users["version"]), (&json!("full"), &Value::Null, &json!(0)));
    let skipped = resources[1]["error"].as_str().unwrap_or_default();
    assert!(skipped.contains("403 organization_not_enabled_in_instance"), "{skipped}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_sync_also_prints_its_json_document() {
    let world = small().await;
    world.simulator.set(|config| config.key = "sk_live_another".to_owned());
    let failed = world.run(&["sync", "--json"]).await;
    assert_eq!(failed.status.code(), Some(3));
    let document: Value = serde_json::from_slice(&failed.stdout).expect("one JSON document");
    assert_eq!(document["status"], "failed");
    for resource in document["resources"].as_array().expect("a list") {
        assert_eq!(resource["status"], "failed");
        assert!(resource["error"].as_str().is_some_and(|error| error.contains("clerk_key_invalid")), "{resource}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn data_go_to_stdout_and_messages_to_stderr() {
    let world = small().await;
    world.simulator.set(|config| config.organizations_status = Some(404));
    let done = succeeds(&world, &["sync", "-vv"]).await;
    let names: Vec<_> =
        stdout(&done).lines().map(|line| line.split(' ').next().unwrap_or_default().to_owned()).collect();
    let resources: Vec<_> = resource::defaults().iter().map(|resource| resource.name).collect();
    assert_eq!(names, [&["Synced", ""][..], &resources, &["", "Rows:", "Next:"]].concat());
    assert!(stderr(&done).contains("warning: organizations, memberships, "), "{}", stderr(&done));
    for arguments in [
        &["query", "SELECT id FROM clerk_user", "--format", "csv"][..],
        &["query", "--list"],
        &["status"],
        &["schema"],
        &["--help"],
        &["--version"],
    ] {
        let done = succeeds(&world, arguments).await;
        assert_eq!(stderr(&done), "", "{arguments:?}");
        assert!(!done.stdout.is_empty(), "{arguments:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_format_prints_the_same_rows() {
    let world = small().await;
    succeeds(&world, &["sync", "--resource", "users"]).await;
    let sql = "SELECT id, username, banned, created_at, email_addresses FROM clerk_user ORDER BY id";
    let rows = world.rows(sql).await;
    assert_eq!(rows.len(), 50);
    let as_printed = async |format| stdout(&succeeds(&world, &["query", sql, "--format", format]).await);
    let array: Vec<Value> = serde_json::from_str(&as_printed("json").await).expect("a JSON array");
    assert_eq!(array, rows);
    let lines = as_printed("ndjson").await;
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines, rows);
    let csv = as_printed("csv").await;
    assert_eq!(csv.lines().next(), Some("id,username,banned,created_at,email_addresses"));
    assert_eq!(csv.lines().count(), 51);
    for (line, row) in csv.lines().skip(1).zip(&rows) {
        let id = row["id"].as_str().expect("an id");
        let start = format!("{id},{},{},", row["username"].as_str().unwrap_or_default(), row["banned"]);
        assert!(line.starts_with(&start), "{line}");
    }
    let all = ["query", sql, "--format", "table", "--max-rows", "0"];
    let table = stdout(&succeeds(&world, &all).await);
    assert!(rows.iter().all(|row| table.contains(row["id"].as_str().expect("an id"))), "{table}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_result_still_shows_its_columns() {
    let world = small().await;
    succeeds(&world, &["sync", "--resource", "users"]).await;
    let sql = "SELECT id, email FROM clerk_user WHERE id = 'nobody'";
    for (format, printed) in [("csv", "id,email\n"), ("json", "[]\n"), ("ndjson", "")] {
        let done = succeeds(&world, &["query", sql, "--format", format]).await;
        assert_eq!(stdout(&done), printed, "{format}");
    }
    let done = succeeds(&world, &["query", sql, "--format", "table"]).await;
    assert!(stdout(&done).contains("| id | email |"), "{}", stdout(&done));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_can_be_given_by_name_by_file_or_on_standard_input() {
    let world = small().await;
    succeeds(&world, &["sync"]).await;
    let truth = world.simulator.truth(3).daily_active_users;
    let days: Vec<_> = truth.iter().map(|(date, users)| format!("{date},{users}")).collect();
    let named = ["query", "--name", "daily_active_users", "--param", "lookback_days=3", "--format", "csv"];
    let done = succeeds(&world, &named).await;
    assert_eq!(stdout(&done), format!("date,daily_active_users\n{}\n", days.join("\n")));

    let file = world.directory.path().join("question.sql");
    std::fs::write(&file, "-- how many?\nSELECT count(*) AS users FROM clerk_user;\n").expect("a file");
    let done = succeeds(&world, &["query", "--file", "question.sql", "--format", "csv"]).await;
    assert_eq!(stdout(&done), "users\n50\n");
    let mut command = world.command(&["query", "--file", "-", "--format", "csv"]);
    command.stdin(File::open(&file).expect("the file"));
    let done = output(command).await;
    assert_eq!(stdout(&done), "users\n50\n", "{}", stderr(&done));
}

#[tokio::test(flavor = "multi_thread")]
async fn status_json_shows_rows_version_and_watermark_of_each_table() {
    let world = World::with(|config| config.now = Some(LONG_AGO)).await;
    succeeds(&world, &["sync"]).await;
    let done = succeeds(&world, &["status", "--json"]).await;
    let document: Value = serde_json::from_slice(&done.stdout).expect("one JSON document");
    assert_eq!(document["instance"], "ins_simulated");
    let shown = document["tables"].as_array().expect("a list");
    assert!(shown.iter().map(|table| table["name"].as_str().unwrap_or_default()).eq(tables()), "{document}");
    for table in shown {
        let rows = world.number(&format!("SELECT count(*) FROM {}", table["name"].as_str().expect("a name"))).await;
        assert_eq!(table["rows"], rows, "{table}");
        assert_eq!(table["version"], 0, "{table}");
        assert_eq!(table["watermark"], "2023-11-14T22:13:20Z", "{table}");
        assert_eq!(table["runs"].as_array().map(Vec::len), Some(1), "{table}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn flags_override_environment_variables_which_override_the_settings_file() {
    let world = small().await;
    let days = async |environment: Option<&str>, flags: &[&str]| {
        let mut command = world.command(&[&["sync", "--resource", "daily_active_users"][..], flags].concat());
        command.envs(environment.map(|days| ("CLERK_LAKE_DAU_LOOKBACK_DAYS", days)));
        let done = output(command).await;
        assert_eq!(done.status.code(), Some(0), "{environment:?} {flags:?}: {}", stderr(&done));
        world.number("SELECT count(*) FROM clerk_daily_active_users").await
    };
    assert_eq!(days(None, &[]).await, 30);
    std::fs::write(world.directory.path().join("clerk-lake.toml"), "dau_lookback_days = 7\n").expect("a file");
    std::fs::write(world.directory.path().join("other.toml"), "dau_lookback_days = 9\n").expect("a file");
    assert_eq!(days(None, &[]).await, 7);
    assert_eq!(days(None, &["--config", "other.toml"]).await, 9);
    assert_eq!(days(Some("5"), &[]).await, 5);
    assert_eq!(days(Some("5"), &["--dau-lookback-days", "3"]).await, 3);
}
