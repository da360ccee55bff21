//! The key is in no output, no file and no process listing; private metadata is in no file of the lake.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use clerk_lake::api::SecretKey;
use clerk_lake::simulator::PRIVATE_MARKER;
use serde_json::json;

use crate::errors::{eventually, small};
use crate::support::stub::{Answer, Stub, nowhere};
use crate::support::{KEY, World, files, output, stderr, stdout, tables};

/// What makes the key a secret: all of it but the prefix that every key has.
fn secret() -> &'static str {
    KEY.trim_start_matches("sk_live_")
}

fn holds(content: &[u8], text: &str) -> bool {
    content.windows(text.len()).any(|window| window == text.as_bytes())
}

/// Runs `command`, whose output must not hold the key.
async fn runs_without_a_word_of_the_key(command: Command) -> Output {
    let arguments: Vec<_> = command.get_args().map(|it| it.to_string_lossy().into_owned()).collect();
    let ended = output(command).await;
    for (stream, text) in [("stdout", &ended.stdout), ("stderr", &ended.stderr)] {
        assert!(!holds(text, secret()), "the key is on {stream} of {arguments:?}");
    }
    ended
}

fn assert_no_file_holds(directory: &Path, text: &str) {
    for (path, content) in files(directory) {
        assert!(!holds(&content, text), "{text} is in {}", path.display());
        assert!(!path.to_string_lossy().contains(text), "{text} is in the name {}", path.display());
    }
}

/// No row of any table holds `text`: data files are compressed, so looking at their bytes proves little.
async fn assert_no_row_holds(world: &World, text: &str) {
    for table in tables() {
        let rows = world.rows(&format!("SELECT * FROM {table}")).await;
        assert!(!rows.is_empty(), "{table} is empty");
        for row in rows {
            assert!(!row.to_string().contains(text), "{text} is in {table}: {row}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_is_in_no_output_and_no_file_of_runs_that_succeed() {
    let world = small().await;
    for arguments in [
        &["sync"][..],
        &["sync", "-vvv"],
        &["sync", "--json"],
        &["status"],
        &["status", "--json", "-vvv"],
        &["schema"],
        &["query", "SELECT * FROM clerk_user", "--format", "json", "-vvv"],
        &["query", "--list"],
        &["--help"],
        &["sync", "--help"],
        &["demo", "--users", "50", "--days", "3"],
    ] {
        let ended = runs_without_a_word_of_the_key(world.command(arguments)).await;
        assert_eq!(ended.status.code(), Some(0), "{arguments:?}: {}", stderr(&ended));
        assert!(!stdout(&ended).contains("sk_live_demo"), "{arguments:?}");
        assert!(!stderr(&ended).contains("sk_live_demo"), "{arguments:?}");
    }
    let mut talkative = world.command(&["sync"]);
    talkative.env("CLERK_LAKE_LOG", "trace");
    let ended = runs_without_a_word_of_the_key(talkative).await;
    assert!(!ended.stderr.is_empty(), "nothing was logged");
    assert_no_file_holds(world.directory.path(), secret());
    assert_no_file_holds(world.directory.path(), "sk_live_demo");
    assert_no_row_holds(&world, secret()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_is_in_no_output_and_no_file_of_runs_that_fail() {
    let world = small().await;
    let url = nowhere();
    for (arguments, code) in [
        (&["sync", "-vvv", "--api-url", url.as_str(), "--retry-budget", "1"][..], 4),
        (&["sync", "-vvv", "--api-url", "nonsense"][..], 2),
        (&["sync", "--dau-lookback-days", "0"][..], 2),
        (&["query", "SELEC", "-vvv"][..], 2),
    ] {
        let ended = runs_without_a_word_of_the_key(world.command(arguments)).await;
        assert_eq!(ended.status.code(), Some(code), "{arguments:?}: {}", stderr(&ended));
    }
    world.simulator.set(|config| config.key = "sk_live_another".to_owned());
    for arguments in [&["sync", "-vvv"][..], &["sync", "--json"]] {
        let ended = runs_without_a_word_of_the_key(world.command(arguments)).await;
        assert_eq!(ended.status.code(), Some(3), "{arguments:?}: {}", stderr(&ended));
    }
    assert_no_file_holds(world.directory.path(), secret());
}

/// An instance that refuses everything and repeats in every text what it was sent, after so many letters.
async fn echo(letters: usize) -> Stub {
    Stub::start(move |request| {
        let said = format!("{}{}", "x".repeat(letters), request.authorization);
        let error = json!({"code": said, "message": said, "long_message": said, "meta": {}});
        Answer::json(422, &json!({"errors": [error], "clerk_trace_id": said}))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_repeats_the_key_cannot_make_it_known() {
    let world = small().await;
    let server = echo(0).await;
    for arguments in [&["sync", "-vvv"][..], &["sync", "--json"]] {
        let mut command = world.command(arguments);
        command.env("CLERK_LAKE_API_URL", server.url());
        let ended = runs_without_a_word_of_the_key(command).await;
        assert_eq!(ended.status.code(), Some(5), "{}", stderr(&ended));
        assert!(stderr(&ended).contains("Bearer [key]"), "{}", stderr(&ended));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_cut_off_by_the_end_of_a_long_message_is_blacked_out_too() {
    let world = small().await;
    for letters in [274, 275, 279, 282, 285] {
        let server = echo(letters).await;
        let mut command = world.command(&["sync"]);
        command.env("CLERK_LAKE_API_URL", server.url());
        let ended = runs_without_a_word_of_the_key(command).await;
        let said = stdout(&ended) + &stderr(&ended);
        assert!(said.contains("xxx"), "{said}");
        let part = &secret()[..3];
        assert!(!said.contains(part), "{part}… is said after {letters} letters: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_in_the_wrong_place_is_not_repeated() {
    let world = small().await;
    let mut command = world.command(&["sync"]);
    command.env_remove("CLERK_SECRET_KEY").env("CLERK_SECRET_KEY_FILE", KEY);
    let ended = runs_without_a_word_of_the_key(command).await;
    assert_eq!(ended.status.code(), Some(2), "{}", stderr(&ended));
    for line in [format!("clerk_secret_key = \"{KEY}\""), format!("token = \"{KEY}\""), format!("token = {KEY}")] {
        std::fs::write(world.directory.path().join("clerk-lake.toml"), line).expect("the settings file");
        let ended = runs_without_a_word_of_the_key(world.command(&["sync"])).await;
        assert_eq!(ended.status.code(), Some(2), "{}", stderr(&ended));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_is_in_no_debug_output() {
    let world = small().await;
    let (config, key) = (world.client_config(), SecretKey::new(KEY).expect("a key"));
    for text in [format!("{config:?}"), format!("{config:#?}"), format!("{key:?}"), format!("{key:#?}")] {
        assert!(!text.contains(secret()), "{text}");
    }
    assert_eq!(key.redact(&format!("Bearer {KEY}, {KEY}")), "Bearer [key], [key]");
}

#[tokio::test(flavor = "multi_thread")]
async fn private_metadata_is_sent_by_the_instance_and_stored_nowhere() {
    let world = small().await;
    for path in ["/users", "/organizations"] {
        let sent = world.client().get(path, &[], |body| Ok(String::from_utf8_lossy(body).into_owned())).await;
        assert!(sent.expect("a page").contains(PRIVATE_MARKER), "{path} has nothing private to leave out");
    }
    let ended = world.run(&["sync", "-vvv"]).await;
    assert_eq!(ended.status.code(), Some(0), "{}", stderr(&ended));
    assert!(!stderr(&ended).contains(PRIVATE_MARKER) && !stdout(&ended).contains(PRIVATE_MARKER));
    assert_no_file_holds(world.directory.path(), PRIVATE_MARKER);
    assert_no_row_holds(&world, PRIVATE_MARKER).await;
    assert_no_row_holds(&world, "private_metadata").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_process_listing_of_a_running_sync_does_not_hold_the_key() {
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
    sync.kill().expect("the program can be ended");
    sync.wait().expect("the program ends");
    assert!(holds(&listed, "clerk-lake"), "{}", String::from_utf8_lossy(&listed));
    assert!(!holds(&listed, secret()), "{}", String::from_utf8_lossy(&listed));
}
