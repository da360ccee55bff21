//! Errors: a clear message with a hint, the right exit code, and an unchanged lake.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use clerk_lake::simulator::{ChangeKind, FaultKind, Faults};
use serde_json::json;

use crate::support::stub::{Request, Stub, StubResponse, nowhere};
use crate::support::{World, files, output, plain_row_count, stderr, stdout};

/// The arguments of a full sync.
const FULL: &[&str] = &["sync", "--full"];

/// Returns the arguments of a full sync, followed by `more`.
fn full<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [FULL, more].concat()
}

/// An instance with 50 users, and an empty lake.
pub async fn small() -> World {
    World::with(|config| config.users = 50).await
}

/// The [`small`] world, with its users synced.
async fn synced() -> World {
    let world = small().await;
    succeeds(&world, &full(&["--resource", "users"])).await;
    world
}

async fn succeeds(world: &World, arguments: &[&str]) -> Output {
    let done = world.run(arguments).await;
    assert_eq!(done.status.code(), Some(0), "{arguments:?}: {}", stderr(&done));
    done
}

/// Returns whether the lake exists, and all of its files except the records of failed runs.
fn lake(world: &World) -> (bool, Vec<(PathBuf, Vec<u8>)>) {
    let mut files = files(&world.path());
    files.retain(|(path, _)| !path.starts_with("_failed_runs"));
    (world.path().exists(), files)
}

/// Runs `command`, which must exit with `code`, print all of `messages` to stderr, and leave the lake unchanged.
async fn fails(world: &World, command: Command, code: i32, messages: &[&str]) -> Output {
    let before = lake(world);
    let shown = format!("{command:?}");
    let failed = output(command).await;
    let printed = stderr(&failed);
    assert_eq!(failed.status.code(), Some(code), "{shown}: {printed}");
    for text in messages {
        assert!(printed.contains(text), "{shown} does not print {text:?}: {printed}");
    }
    assert!(lake(world) == before, "{shown} has changed the lake");
    failed
}

/// Waits until `condition` holds.
pub async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let mut tick = tokio::time::interval(Duration::from_millis(10));
    let reached = async {
        while !condition() {
            tick.tick().await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), reached)
        .await
        .unwrap_or_else(|_| panic!("not reached within a minute: {what}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_or_malformed_key_is_refused_with_a_hint() {
    let world = small().await;
    for (key, message) in [
        (None, "no Clerk secret key is set"),
        (Some(""), "no Clerk secret key is set"),
        (Some("  "), "no Clerk secret key is set"),
        (Some("pk_live_x"), "this is a publishable key"),
        (Some("sk_live_two words"), "spaces or other characters"),
    ] {
        let mut command = world.command(FULL);
        match key {
            Some(key) => command.env("CLERK_SECRET_KEY", key),
            None => command.env_remove("CLERK_SECRET_KEY"),
        };
        fails(&world, command, 2, &[message, "  help: ", "export CLERK_SECRET_KEY=sk_live_…"]).await;
    }
    std::fs::write(world.directory.path().join("empty"), "\n").expect("a file");
    for (file, message) in
        [("nowhere", "the key file nowhere cannot be read"), ("empty", "the Clerk secret key is empty")]
    {
        let mut command = world.command(FULL);
        command.env_remove("CLERK_SECRET_KEY").env("CLERK_SECRET_KEY_FILE", file);
        fails(&world, command, 2, &[message, "  help: ", "CLERK_SECRET_KEY_FILE=/path/to/a/file"]).await;
    }
    assert_eq!(world.simulator.request_count(), 0, "requests were sent without a key");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_key_ends_the_run_after_the_first_request() {
    for world in [small().await, synced().await] {
        world.simulator.clear_requests();
        let mut command = world.command(FULL);
        command.env("CLERK_SECRET_KEY", "sk_live_of_somebody_else");
        fails(&world, command, 3, &["401 clerk_key_invalid", "  help: Clerk refused the key"]).await;
        assert_eq!(world.simulator.request_count(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_of_another_instance_into_the_same_lake_is_refused() {
    let world = synced().await;
    let other = World::with(|config| config.instance_id = "ins_other".to_owned()).await;
    let command = world.command(&full(&["--api-url", &other.simulator.url()]));
    fails(&world, command, 2, &["ins_simulated", "ins_other", "  help: use that instance's key, or another --lake"])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_arguments_are_refused_before_any_request() {
    let world = small().await;
    for (flag, value, message) in [
        ("--dau-lookback-days", "0", "a whole number of days from 1 to 90"),
        ("--dau-lookback-days", "91", "a whole number of days from 1 to 90"),
        ("--dau-lookback-days", "x", "a whole number of days from 1 to 90"),
        ("--session-lookback-days", "0", "a whole number of days from 1 to 3650"),
        ("--since", "soon", "expected a date (2026-11-24) or a timestamp"),
        ("--resource", "nonsense", "[possible values: users, organizations"),
        ("--max-shrink", "2", "expected 0 to 1"),
        ("--max-rejected", "x", "expected 0 to 1"),
        ("--retry-budget", "soon", "expected a number of seconds"),
        ("--rate-limit", "0", "expected auto, off, or the number of requests"),
        ("--quota-share", "0", "  help: set the share of the request budget to use: more than 0, at most 1"),
        ("--quota-share", "2", "  help: set the share of the request budget to use: more than 0, at most 1"),
        ("--api-url", "nonsense", "  help: use an absolute http(s) URL"),
        ("--api-url", "ftp://x", "  help: use an absolute http(s) URL"),
        ("--lake", "gs://bucket/lake", "  help: give a path, or s3://bucket/prefix"),
        ("--lake", "", "  help: give a path, or s3://bucket/prefix"),
        ("--lake", " ", "  help: give a path, or s3://bucket/prefix"),
        ("--lake", "s3://", "names no bucket"),
        ("--lake", "s3://../lake", "has an invalid bucket name"),
        ("--lake", "s3:/bucket/lake", "is not a complete URL"),
        ("--lake", "S3:bucket", "  help: write s3://bucket/prefix"),
        ("--lake", "file:lake", "is not a complete URL"),
        ("--lake", "file://lake", "three slashes"),
        ("--lake", "https:/bucket", "is not a complete URL"),
        ("--lake", "~someone/lake", "another user's home directory"),
        ("--config", "nowhere.toml", "the settings file nowhere.toml"),
        ("--nonsense", "1", "unexpected argument '--nonsense'"),
    ] {
        let printed = fails(&world, world.command(&full(&[flag, value])), 2, &[message]).await;
        assert_eq!(stdout(&printed), "", "{flag} {value}");
    }
    assert_eq!(world.simulator.request_count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_server_fails_the_sync_within_the_retry_budget() {
    let world = synced().await;
    let start = Instant::now();
    let command = world.command(&full(&["--api-url", &nowhere(), "--retry-budget", "1"]));
    fails(&world, command, 4, &["cannot connect", "  help: check the network and --api-url"]).await;
    assert!(start.elapsed() < Duration::from_secs(10), "it took {:?}", start.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_response_is_never_treated_as_an_empty_list() {
    let world = synced().await;
    let command = || world.command(&full(&["--resource", "users", "--retry-budget", "1"]));
    for (kind, code, help) in [
        (FaultKind::Html, 5, "  help: is --api-url Clerk's Backend API?"),
        (FaultKind::MalformedJson, 5, "  help: is --api-url Clerk's Backend API?"),
        (FaultKind::EmptyBody, 5, "  help: is --api-url Clerk's Backend API?"),
        (FaultKind::CutBody, 4, "  help: check the network and --api-url"),
    ] {
        for path in ["/v1/", "/v1/users"] {
            world.simulator.set_faults(Faults::always(kind).on(path));
            fails(&world, command(), code, &["error: GET /v1/", help]).await;
        }
    }
    world.simulator.set_faults(Faults::default());
    let elsewhere = Stub::start(|_| StubResponse::redirect("https://elsewhere.example/v1")).await;
    let command = world.command(&full(&["--api-url", &elsewhere.url()]));
    fails(&world, command, 5, &["redirects to https://elsewhere.example/v1", "  help: is --api-url Clerk's"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn organizations_that_are_not_enabled_are_skipped_with_a_warning() {
    for status in [402, 403, 404] {
        let world = World::with(|config| {
            config.users = 50;
            config.organizations_status = Some(status);
        })
        .await;
        let done = succeeds(&world, FULL).await;
        let printed = stderr(&done);
        let warning = "warning: organizations, memberships, organization_invitations, organization_domains, \
                       organization_roles skipped, this instance does not have them: GET /v1/organizations: ";
        assert!(printed.contains(warning), "{status}: {printed}");
        assert!(printed.contains(&format!("{status} organization_not_enabled_in_instance")), "{status}: {printed}");
        assert_eq!(printed.matches("warning: ").count(), 1, "{status}: {printed}");
        assert!(!world.path().join("clerk_organization").exists(), "{status}");
        assert_eq!(plain_row_count(&world.path(), "clerk_user"), 50, "{status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unwritable_lake_is_reported() {
    let world = small().await;
    let file = world.directory.path().join("file");
    std::fs::write(&file, "a file, not a directory").expect("a file");
    for place in [file.join("lake"), PathBuf::from("/proc/nowhere")] {
        let place = place.to_string_lossy();
        let message = format!("the lake {place} cannot be written");
        fails(&world, world.command(&full(&["--lake", &place])), 2, &[&message, "  help: choose another --lake"]).await;
    }
    assert_eq!(std::fs::read_to_string(file).expect("the file"), "a file, not a directory");
}

/// A file system of 1 MiB; dropping it unmounts it.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts a file system at `place`; `None` if mounting is not permitted.
    fn mount(place: &Path) -> Option<Self> {
        std::fs::create_dir_all(place).expect("a directory");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(place).output();
        mounted.is_ok_and(|mounted| mounted.status.success()).then(|| Self(place.to_path_buf()))
    }

    /// Fills the disk except for `free` bytes.
    fn fill(&self, free: u64) {
        let mut ballast = File::create(self.0.join("ballast")).expect("a file");
        assert!((0..256).any(|_| ballast.write_all(&[0; 4096]).is_err()), "1 MiB was written to a disk of 1 MiB");
        let length = ballast.metadata().expect("a length").len();
        ballast.set_len(length - free).expect("room");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::print_stderr, reason = "a skipped test must be visible in the test output")]
async fn a_full_disk_fails_the_sync_and_keeps_the_existing_rows() {
    let world = small().await;
    let Some(disk) = SmallDisk::mount(&world.path()) else {
        eprintln!("skipped: file systems cannot be mounted here, so there is no disk to fill");
        return;
    };
    let users = full(&["--resource", "users"]);
    succeeds(&world, &users).await;
    world.simulator.with_model(|model| {
        for _ in 0..2000 {
            model.change(ChangeKind::CreateUser);
        }
    });
    disk.fill(32 * 1024);
    fails(&world, world.command(&users), 4, &["No space left", "  help: free "]).await;
    assert!(!world.path().join("_staged").exists(), "staged files were not removed");
    assert_eq!(world.number("SELECT count(*) FROM clerk_user").await, 50);
    assert_eq!(plain_row_count(&world.path(), "clerk_user"), 50);
}

/// Returns the first commit of a Delta table with these properties.
fn delta_log(properties: &serde_json::Value) -> String {
    let id = json!({"name": "id", "type": "string", "nullable": true, "metadata": {}});
    let metadata = json!({"metaData": {
        "id": "5fba94ed-9794-4965-ba6e-6ee3c0d22af9",
        "format": {"provider": "parquet", "options": {}},
        "schemaString": json!({"type": "struct", "fields": [id]}).to_string(),
        "partitionColumns": [],
        "configuration": properties,
        "createdTime": 1_700_000_000_000_i64,
    }});
    format!("{}\n{metadata}\n", json!({"protocol": {"minReaderVersion": 1, "minWriterVersion": 2}}))
}

#[tokio::test(flavor = "multi_thread")]
async fn directories_that_clerk_lake_did_not_write_are_refused_and_not_changed() {
    let log = "_delta_log/00000000000000000000.json";
    let away = "  help: choose another --lake, or move that directory away";
    for (file, content, help) in [
        ("data.csv", "id\n1\n".to_owned(), away),
        ("created_year=2026/notes.txt", "mine".to_owned(), away),
        (log, delta_log(&json!({})), away),
        (log, delta_log(&json!({"clerk_lake.layout": "999"})), "  help: update clerk-lake"),
    ] {
        let world = small().await;
        let path = world.path().join("clerk_user").join(file);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        std::fs::write(&path, content).expect("a file");
        for arguments in [FULL, &["status"], &["query", "SELECT 1"]] {
            fails(&world, world.command(arguments), 2, &["clerk_user", help]).await;
        }
    }
}

/// Responds like an instance that counts ten users but lists three.
fn miscounting(request: &Request) -> StubResponse {
    let user = |number: i64| json!({"id": format!("user_{number}"), "created_at": 1_700_000_000_000 + number});
    let body = match request.path.as_str() {
        "/v1/instance" => json!({"id": "ins_forgetful", "environment_type": "production"}),
        "/v1/users/count" => json!({"object": "total_count", "total_count": 10}),
        "/v1/users" if request.query.contains("starting_after") => json!([]),
        "/v1/users" => json!([user(1), user(2), user(3)]),
        _ => return StubResponse::json(404, &json!({"errors": []})),
    };
    StubResponse::json(200, &body)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_shorter_than_the_count_is_never_committed() {
    let world = small().await;
    let stub = Stub::start(miscounting).await;
    let command = world.command(&full(&["--resource", "users", "--api-url", &stub.url()]));
    let messages =
        ["the list of users ended after 3 rows, but Clerk counts 10; nothing was written", "  help: run again"];
    fails(&world, command, 5, &messages).await;
    assert!(!world.path().exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replacement_that_removes_too_many_rows_is_refused_unless_max_shrink_allows_it() {
    let world = World::with(|config| config.users = 120).await;
    succeeds(&world, &full(&["--resource", "users"])).await;
    world.simulator.with_model(|model| {
        let half: Vec<_> = model.users.iter().step_by(2).map(|user| user.id.clone()).collect();
        for id in &half {
            model.delete_user(id);
        }
    });
    let users = full(&["--resource", "users"]);
    let messages = ["would remove 60 of the 120 rows of clerk_user (50 %", "  help: ", "run once with --max-shrink 1"];
    let refused = world.run(&users).await;
    assert_eq!(refused.status.code(), Some(5), "{}", stderr(&refused));
    assert!(messages.iter().all(|text| stderr(&refused).contains(text)), "{}", stderr(&refused));
    assert_eq!(world.number("SELECT count(*) FROM clerk_user").await, 120);
    succeeds(&world, &[users.as_slice(), &["--max-shrink", "1"]].concat()).await;
    assert_eq!(world.number("SELECT count(*) FROM clerk_user").await, 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_query_is_explained_and_a_query_that_is_not_read_only_is_refused() {
    let world = synced().await;
    let read_only = "  help: a query reads the lake and changes nothing: use SELECT";
    for (sql, message, help) in [
        ("SELEC id FROM clerk_user", "SELEC", "  help: did you mean SELECT?"),
        ("SELECT nothing FROM clerk_user", "nothing", "  help: DESCRIBE clerk_user lists the columns"),
        ("SELECT id FROM nowhere", "nowhere", "  help: SHOW TABLES lists the tables and queries"),
        ("INSERT INTO clerk_user (id) VALUES ('x')", "changes rows", read_only),
        ("DELETE FROM clerk_user", "changes rows", read_only),
        ("COPY (SELECT id FROM clerk_user) TO 'stolen.csv' STORED AS CSV", "changes rows", read_only),
        ("DROP TABLE clerk_user", "changes tables", read_only),
        ("CREATE TABLE mine AS SELECT 1", "changes tables", read_only),
        ("SET datafusion.execution.batch_size = 1", "changes settings", read_only),
    ] {
        let printed = fails(&world, world.command(&["query", sql]), 7, &["error: ", message, help]).await;
        assert_eq!(stdout(&printed), "", "{sql}");
    }
    assert!(!world.directory.path().join("stolen.csv").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unusable_query_command_is_refused_with_a_hint() {
    let (empty, world) = (small().await, synced().await);
    let first = ["does not exist", "  help: run clerk-lake sync first"];
    fails(&empty, empty.command(&["query", "SELECT 1"]), 2, &first).await;
    let names = ["there is no query called \"nonsense\"", "  help: clerk-lake query --list lists the queries"];
    fails(&world, world.command(&["query", "--name", "nonsense"]), 2, &names).await;
    fails(&world, world.command(&["query"]), 2, &["no query given", "  help: clerk-lake query 'SELECT"]).await;
    let no_file = ["the query file nowhere.sql cannot be read"];
    fails(&world, world.command(&["query", "--file", "nowhere.sql"]), 2, &no_file).await;
    let no_number = ["expected NAME=VALUE, such as lookback_days=7"];
    fails(&world, world.command(&["query", "--name", "users", "--param", "days"]), 2, &no_number).await;
    fails(&world, world.command(&["query", "SELECT 1", "--name", "users"]), 2, &["cannot be used with"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_settings_file_is_refused_with_the_reason() {
    let world = small().await;
    let help = "  help: its keys are the flags' names with underscores";
    for (text, messages) in [
        ("nonsense = 1", ["line 1, column 1: there is no setting called nonsense", help]),
        ("clerk_secret_key = \"sk_live_x\"", ["clerk_secret_key does not belong in a file that is shared", help]),
        ("dau_lookback_days = { of = 7 }", ["dau_lookback_days is neither a value nor a list of values", help]),
        (
            "lake = \"x\"\n\n  max_shrnk = 1",
            ["line 3, column 3: there is no setting called max_shrnk", "did you mean max_shrink?"],
        ),
        (
            "[sync]\nmax_shrnk = 1",
            ["line 2, column 1: there is no setting called max_shrnk of sync", "did you mean max_shrink?"],
        ),
        (
            "[query]\nmax_shrink = 1",
            ["there is no setting called max_shrink of query", "it is a setting of sync: put it under [sync]"],
        ),
        ("\n[snyc]\nlanes = 1", ["line 2, column 2: there is no command called snyc", "did you mean [sync]?"]),
        ("sql = \"SELECT 1\"", ["there is no setting called sql", help]),
        (
            "dau_lookback_days = ",
            ["the settings file clerk-lake.toml, line 1, column ", "  help: a setting is a line such as"],
        ),
        (
            "dau_lookback_days = \"x\"",
            ["line 1, column 21: invalid value 'x' for '--dau-lookback-days", "from 1 to 90"],
        ),
        ("dau_lookback_days = 91", ["line 1, column 21: invalid value '91' for '--dau-lookback-days", "from 1 to 90"]),
        ("# é\n[sync]\ndau_lookback_days = 91", ["line 3, column 21: invalid value '91' for", "from 1 to 90"]),
        ("resource = [\"user\"]", ["line 1, column 12: invalid value 'user' for '--resource", "did you mean users?"]),
        ("lanes = \"sk_live_x\"", ["line 1, column 9: invalid value for '--lanes'", "  help: "]),
        ("json = \"perhaps\"", ["invalid value 'perhaps' for '--json'", "was not a boolean"]),
    ] {
        std::fs::write(world.directory.path().join("clerk-lake.toml"), text).expect("the settings file");
        let failed = fails(&world, world.command(FULL), 2, &messages).await;
        assert!(!stderr(&failed).contains("sk_live_x"), "{text}");
    }
}

/// Runs a sync of users and sends it `signal` once it has read a page.
async fn interrupted(world: &World, signal: &str) -> Output {
    world.simulator.set(|config| {
        config.latency = Duration::from_millis(200);
        config.clamp = Some(2);
    });
    world.simulator.clear_requests();
    let mut command = world.command(&full(&["--resource", "users"]));
    let sync = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program runs");
    eventually("a page is read", || world.simulator.request_count() >= 4).await;
    let sent = Command::new("kill").arg(format!("-{signal}")).arg(sync.id().to_string()).status();
    assert!(sent.expect("a signal").success());
    let ended = tokio::task::spawn_blocking(move || sync.wait_with_output().expect("the program ends"));
    let ended = ended.await.expect("the thread ends");
    world.simulator.set(|config| {
        config.latency = Duration::ZERO;
        config.clamp = None;
    });
    ended
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_sync_leaves_no_staged_files_and_says_how_to_resume() {
    for signal in ["TERM", "INT"] {
        let world = small().await;
        for rows in [0, 50] {
            let before = lake(&world);
            let ended = interrupted(&world, signal).await;
            assert_eq!(ended.status.code(), Some(130), "SIG{signal}: {}", stderr(&ended));
            let printed = stderr(&ended);
            let message = "error: interrupted\n  help: finished work is committed";
            assert!(printed.contains(message), "SIG{signal}: {printed}");
            assert!(printed.contains("run the same command again to resume"), "SIG{signal}: {printed}");
            assert!(lake(&world) == before, "SIG{signal}: the lake has changed");
            assert!(!world.path().join("_staged").exists(), "SIG{signal}: staged files were not removed");
            assert_eq!(plain_row_count(&world.path(), "clerk_user"), rows, "SIG{signal}");
            succeeds(&world, &full(&["--resource", "users"])).await;
            assert_eq!(world.number("SELECT count(*) FROM clerk_user").await, 50, "SIG{signal}");
        }
    }
}
