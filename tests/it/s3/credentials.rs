//! S3 settings and credentials: wrong or missing ones are a clear error, and the secret access key never appears in the
//! output.

use std::process::{Command, Output};

use chrono::TimeDelta;

use super::{Cloud, SYNC};
use crate::support::s3::{ACCESS_KEY, REGION, Refusal, SECRET};
use crate::support::{output, stderr, stdout};

/// Runs `command` with the most verbose log, and asserts that it does not print the secret.
async fn run_verbose(mut command: Command) -> Output {
    command.env("CLERK_LAKE_LOG", "trace");
    let done = output(command).await;
    for (stream, text) in [("stdout", stdout(&done)), ("stderr", stderr(&done))] {
        assert!(!text.contains(SECRET), "the secret access key is on {stream}");
    }
    done
}

/// Returns the error message, without the log.
fn error_message(text: &str) -> &str {
    text.rfind("\nerror: ").map_or(text, |at| &text[at + 1..])
}

/// Runs `command`. Asserts that it exits with code 2, that its message has all `parts`, and that the bucket does not
/// change.
async fn assert_refused(cloud: &Cloud, command: Command, parts: &[&str]) {
    let before = cloud.s3.keys();
    let shown = format!("{:?}", command.get_args().collect::<Vec<_>>());
    let done = run_verbose(command).await;
    let text = stderr(&done);
    let text = error_message(&text);
    assert_eq!(done.status.code(), Some(2), "{shown}: {text}");
    for part in parts {
        assert!(text.contains(part), "{shown}: the message lacks {part:?}: {text}");
    }
    assert_eq!(cloud.s3.keys(), before, "{shown} has changed the bucket");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_does_not_exist_is_refused_with_a_hint() {
    let cloud = Cloud::new(20).await;
    for arguments in [&SYNC[..], &["status"], &["query", "SELECT 1"]] {
        let mut command = cloud.command(arguments);
        command.env("CLERK_LAKE_LAKE", "s3://another-bucket/lake");
        let parts = ["the bucket does not exist", "  help: check the bucket in --lake", "AWS_ENDPOINT_URL"];
        assert_refused(&cloud, command, &parts).await;
    }
    let mut nameless = cloud.command(&SYNC);
    nameless.env("CLERK_LAKE_LAKE", "s3:///lake");
    assert_refused(&cloud, nameless, &["names no bucket", "  help: give a path, or s3://bucket/prefix"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_access_key_is_a_settings_error() {
    let cloud = Cloud::new(20).await;
    for arguments in [&SYNC[..], &["status"], &["query", "SELECT 1"]] {
        let mut command = cloud.command(arguments);
        command.env("AWS_ACCESS_KEY_ID", "AKIAS0MEB0DYELSE");
        assert_refused(&cloud, command, &["InvalidAccessKeyId", "  help: ", "AWS_"]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_secret_is_a_settings_error() {
    let cloud = Cloud::new(20).await;
    cloud.s3.refuse(Some(Refusal::Signatures));
    for arguments in [&SYNC[..], &["status"], &["query", "SELECT 1"]] {
        assert_refused(&cloud, cloud.command(arguments), &["SignatureDoesNotMatch", "  help: ", "AWS_"]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn incomplete_credentials_are_a_settings_error() {
    let cloud = Cloud::new(20).await;
    for missing in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] {
        let mut command = cloud.command(&SYNC);
        command.env_remove(missing);
        assert_refused(&cloud, command, &["AWS_* environment variables", "  help: "]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_clock_is_an_error_that_names_it() {
    let cloud = Cloud::new(20).await;
    for ahead in [TimeDelta::hours(1), -TimeDelta::hours(1)] {
        cloud.s3.set_clock_ahead(ahead);
        assert_refused(&cloud, cloud.command(&SYNC), &["RequestTimeTooSkewed", "  help: "]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_write_permission_reads_work_and_a_sync_names_the_missing_permission() {
    let mut cloud = Cloud::new(40).await;
    cloud.s3.refuse(Some(Refusal::Writes));
    assert_refused(&cloud, cloud.command(&SYNC), &["AccessDenied", "  help: ", "the permission to write"]).await;
    cloud.s3.refuse(None);
    cloud.succeeds(&SYNC, "with write permission").await;
    cloud.s3.refuse(Some(Refusal::Writes));
    cloud.assert_exact("for a reader").await;
    for arguments in [&["status"][..], &["query", "SELECT count(*) AS users FROM clerk_user", "--format", "csv"]] {
        cloud.succeeds(arguments, "for a reader").await;
    }
    cloud.change(2);
    assert_refused(&cloud, cloud.command(&SYNC), &["AccessDenied", "  help: ", "the permission to write"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_without_conditional_writes_is_refused() {
    let cloud = Cloud::new(20).await;
    cloud.s3.ignore_conditions();
    assert_refused(
        &cloud,
        cloud.command(&SYNC),
        &["cannot protect the lake from concurrent runs", "  help: use a store with conditional writes"],
    )
    .await;
    let mut switched_off = cloud.command(&SYNC);
    switched_off.env("AWS_CONDITIONAL_PUT", "disabled");
    assert_refused(&cloud, switched_off, &["cannot protect the lake from concurrent runs", "AWS_CONDITIONAL_PUT"])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_metadata_service_means_that_there_are_no_credentials() {
    let cloud = Cloud::new(20).await;
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut command = cloud.command(&SYNC);
    command.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY");
    command.env("AWS_METADATA_ENDPOINT", format!("http://{}", silent.local_addr().expect("an address")));
    assert_refused(&cloud, command, &["no S3 credentials were found", "AWS_ACCESS_KEY_ID"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_secret_is_not_in_the_output_of_successful_runs() {
    let cloud = Cloud::new(20).await;
    for arguments in [&SYNC[..], &["sync", "-vvv", "--json"], &["status", "--json"], &["query", "SELECT 1"]] {
        let done = run_verbose(cloud.command(arguments)).await;
        assert_eq!(done.status.code(), Some(0), "{arguments:?}: {}", error_message(&stderr(&done)));
        assert!(!done.stderr.is_empty(), "{arguments:?}: nothing was logged");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_can_come_from_the_role_of_an_instance_or_a_container() {
    let cloud = Cloud::new(20).await;
    let token_file = cloud.world.directory.path().join("token");
    std::fs::write(&token_file, "a-container-token").expect("a file");
    let instance = [("AWS_METADATA_ENDPOINT", cloud.s3.url())];
    let container = [
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", format!("{}/container-credentials", cloud.s3.url())),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", token_file.to_string_lossy().into_owned()),
    ];
    for settings in [&instance[..], &container] {
        cloud.s3.clear();
        let mut command = cloud.command(&SYNC);
        command.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY").envs(settings.iter().cloned());
        let done = run_verbose(command).await;
        assert_eq!(done.status.code(), Some(0), "{settings:?}: {}", error_message(&stderr(&done)));
        cloud.assert_exact(&format!("{settings:?}")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_supplies_settings_that_are_missing_in_the_environment() {
    let cloud = Cloud::new(20).await;
    let home = cloud.world.directory.path();
    std::fs::create_dir(home.join(".aws")).expect("a directory");
    let keys = format!("[lake]\naws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET}\n");
    std::fs::write(home.join(".aws/credentials"), keys).expect("a file");
    let profile = format!("[profile lake]\nregion = {REGION}\nendpoint_url = {}\n", cloud.s3.url());
    std::fs::write(home.join(".aws/config"), profile).expect("a file");
    let mut command = cloud.command(&SYNC);
    for (setting, _) in cloud.s3.environment() {
        command.env_remove(setting);
    }
    command.env("HOME", home).env("AWS_PROFILE", "lake");
    let done = run_verbose(command).await;
    assert_eq!(done.status.code(), Some(0), "{}", error_message(&stderr(&done)));
    cloud.assert_exact("with a profile").await;
}
