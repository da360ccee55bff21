//! The key never appears in output, files or process listings. Private metadata never appears in files of the lake.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use clerk_lake::api::SecretKey;
use clerk_lake::simulator::PRIVATE_MARKER;
use serde_json::json;

use crate::errors::{eventually, small};
use crate::support::stub::{Stub, StubResponse, nowhere};
use crate::support::{KEY, World, files, output, stderr, stdout, tables};

/// Returns the secret part of the key: everything after the common prefix.
fn secret() -> &'static str {
    KEY.trim_start_matches("sk_live_")
}

fn contains(content: &[u8], text: &str) -> bool {
    content.windows(text.len()).any(|window| window == text.as_bytes())
}

/// Runs `command`, and asserts that its output does not contain the key.
async fn run_without_key_in_output(command: Command) -> Output {
    let arguments: Vec<_> = command.get_args().map(|it| it.to_string_lossy().into_owned()).collect();
    let ended = output(command).await;
    for (stream, text) in [("stdout", &ended.stdout), ("stderr", &ended.stderr)] {
        assert!(!contains(text, secret()), "the key is on {stream} of {arguments:?}");
    }
    ended
}

fn assert_no_file_contains(directory: &Path, text: &str) {
    for (path, content) in files(directory) {
        assert!(!contains(&content, text), "{text} is in {}", path.display());
        assert!(!path.to_string_lossy().contains(text), "{text} is in the name {}", path.display());
    }
}

/// Asserts that no row of any table contains `text`. Data files are compressed, so a search of their bytes proves
/// little.
async fn assert_no_row_contains(world: &World, text: &str) {
    for table in tables() {
        let rows = world.rows(&format!("SELECT * FROM {table}")).await;
        assert!(!rows.is_empty(), "{table} is empty");
        for row in rows {
            assert!(!row.to_string().contains(text), "{text} is in {table}: {row}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_is_not_in_the_output_or_files_of_successful_runs() {
    let world = small().await;
    for arguments in [
        &["sync"][..],
        &["sync", "-vvv"],
        &["sync", "--json"],
        &["check"],
        &["check", "--json", "-vvv"],
        &["status"],
        &["status", "--json", "-vvv"],
        &["schema"],
        &["query", "SELECT * FROM clerk_user", "--format", "json", "-vvv"],
        &["query", "--list"],
        &["--help"],
        &["sync", "--help"],
        &["demo", "--users", "50", "--days", "3"],
    ] {
        let ended = run_without_key_in_output(world.command(arguments)).await;
        assert_eq!(ended.status.code(), Some(0), "{arguments:?}: {}", stderr(&ended));
        assert!(!stdout(&ended).contains("sk_live_demo"), "{arguments:?}");
        assert!(!stderr(&ended).contains("sk_live_demo"), "{arguments:?}");
    }
    let mut verbose = world.command(&["sync"]);
    verbose.env("CLERK_LAKE_LOG", "trace");
    let ended = run_without_key_in_output(verbose).await;
    assert!(!ended.stderr.is_empty(), "nothing was logged");
    assert_no_file_contains(world.directory.path(), secret());
    assert_no_file_contains(world.directory.path(), "sk_live_demo");
    assert_no_row_contains(&world, secret()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_is_not_in_the_output_or_files_of_failed_runs() {
    let world = small().await;
    let url = nowhere();
    for (arguments, code) in [
        (&["sync", "-vvv", "--api-url", url.as_str(), "--retry-budget", "1"][..], 4),
        (&["sync", "-vvv", "--api-url", "nonsense"][..], 2),
        (&["sync", "--dau-lookback-days", "0"][..], 2),
        (&["query", "SELEC", "-vvv"][..], 2),
    ] {
        let ended = run_without_key_in_output(world.command(arguments)).await;
        assert_eq!(ended.status.code(), Some(code), "{arguments:?}: {}", stderr(&ended));
    }
    world.simulator.set(|config| config.key = "sk_live_another".to_owned());
    for arguments in [&["sync", "-vvv"][..], &["sync", "--json"]] {
        let ended = run_without_key_in_output(world.command(arguments)).await;
        assert_eq!(ended.status.code(), Some(3), "{arguments:?}: {}", stderr(&ended));
    }
    assert_no_file_contains(world.directory.path(), secret());
}

/// Starts an instance that refuses every request, and repeats the `Authorization` header in every text, after this
/// number of letters.
async fn echo(letters: usize) -> Stub {
    Stub::start(move |request| {
        let text = format!("{}{}", "x".repeat(letters), request.authorization);
        let error = json!({"code": text, "message": text, "long_message": text, "meta": {}});
        StubResponse::json(422, &json!({"errors": [error], "clerk_trace_id": text}))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_a_server_repeats_is_redacted() {
    let world = small().await;
    let server = echo(0).await;
    for arguments in [&["sync", "-vvv"][..], &["sync", "--json"]] {
        let mut command = world.command(arguments);
        command.env("CLERK_LAKE_API_URL", server.url());
        let ended = run_without_key_in_output(command).await;
        assert_eq!(ended.status.code(), Some(5), "{}", stderr(&ended));
        assert!(stderr(&ended).contains("Bearer [key]"), "{}", stderr(&ended));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_truncated_by_a_long_message_is_redacted() {
    let world = small().await;
    for letters in [274, 275, 279, 282, 285] {
        let server = echo(letters).await;
        let mut command = world.command(&["sync"]);
        command.env("CLERK_LAKE_API_URL", server.url());
        let ended = run_without_key_in_output(command).await;
        let text = stdout(&ended) + &stderr(&ended);
        assert!(text.contains("xxx"), "{text}");
        let part = &secret()[..3];
        assert!(!text.contains(part), "{part}… is in the output after {letters} letters: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_in_the_wrong_setting_is_not_repeated_in_the_error() {
    let world = small().await;
    let mut command = world.command(&["sync"]);
    command.env_remove("CLERK_SECRET_KEY").env("CLERK_SECRET_KEY_FILE", KEY);
    let ended = run_without_key_in_output(command).await;
    assert_eq!(ended.status.code(), Some(2), "{}", stderr(&ended));
    for line in [format!("clerk_secret_key = \"{KEY}\""), format!("token = \"{KEY}\""), format!("token = {KEY}")] {
        std::fs::write(world.directory.path().join("clerk-lake.toml"), line).expect("the settings file");
        let ended = run_without_key_in_output(world.command(&["sync"])).await;
        assert_eq!(ended.status.code(), Some(2), "{}", stderr(&ended));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_is_not_in_debug_output() {
    let world = small().await;
    let (config, key) = (world.client_config(), SecretKey::new(KEY).expect("a key"));
    for text in [format!("{config:?}"), format!("{config:#?}"), format!("{key:?}"), format!("{key:#?}")] {
        assert!(!text.contains(secret()), "{text}");
    }
    assert_eq!(key.redact(&format!("Bearer {KEY}, {KEY}")), "Bearer [key], [key]");
}

#[tokio::test(flavor = "multi_thread")]
async fn private_metadata_is_received_but_never_stored() {
    let world = small().await;
    for path in ["/users", "/organizations"] {
        let sent = world.client().get(path, &[], |body| Ok(String::from_utf8_lossy(body).into_owned())).await;
        assert!(sent.expect("a page").contains(PRIVATE_MARKER), "{path} has no private metadata");
    }
    let ended = world.run(&["sync", "-vvv"]).await;
    assert_eq!(ended.status.code(), Some(0), "{}", stderr(&ended));
    assert!(!stderr(&ended).contains(PRIVATE_MARKER) && !stdout(&ended).contains(PRIVATE_MARKER));
    assert_no_file_contains(world.directory.path(), PRIVATE_MARKER);
    assert_no_row_contains(&world, PRIVATE_MARKER).await;
    assert_no_row_contains(&world, "private_metadata").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_process_listing_of_a_running_sync_does_not_contain_the_key() {
    if !Path::new("/proc/self/cmdline").exists() {
        return;
    }
    let world = small().await;
    world.simulator.set(|config| {
        config.latency = Duration::from_millis(200);
        config.clamp = Some(2);
    });
    let mut command = world.command(&["sync"]);
    let mut sync = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the program runs");
    eventually("a request is sent", || world.simulator.request_count() >= 2).await;
    let listed = std::fs::read(format!("/proc/{}/cmdline", sync.id())).expect("the program still runs");
    sync.kill().expect("the program can be killed");
    sync.wait().expect("the program ends");
    assert!(contains(&listed, "clerk-lake"), "{}", String::from_utf8_lossy(&listed));
    assert!(!contains(&listed, secret()), "{}", String::from_utf8_lossy(&listed));
}
