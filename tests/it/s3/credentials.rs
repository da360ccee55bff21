//! What a bucket asks of whoever comes: settings that are wrong, or that do not suffice, end with a clear error, and
//! the secret access key is in no output.

use std::process::{Command, Output};

use chrono::TimeDelta;

use super::{Cloud, SYNC};
use crate::support::s3::{ACCESS_KEY, REGION, Refusal, SECRET};
use crate::support::{output, stderr, stdout};

/// Runs `command` as talkative as can be; the secret is in nothing that it prints.
async fn run_talkative(mut command: Command) -> Output {
    command.env("CLERK_LAKE_LOG", "trace");
    let done = output(command).await;
    for (stream, text) in [("stdout", stdout(&done)), ("stderr", stderr(&done))] {
        assert!(!text.contains(SECRET), "the secret access key is on {stream}");
    }
    done
}

/// What the program says at last, its log left aside.
fn said(text: &str) -> &str {
    text.rfind("\nerror: ").map_or(text, |at| &text[at + 1..])
}

/// Runs `command`, which must end with exit code 2, say all of `says`, and leave the bucket as it was.
async fn refuses(cloud: &Cloud, command: Command, says: &[&str]) {
    let before = cloud.s3.keys();
    let shown = format!("{:?}", command.get_args().collect::<Vec<_>>());
    let done = run_talkative(command).await;
    let text = stderr(&done);
    let text = said(&text);
    assert_eq!(done.status.code(), Some(2), "{shown}: {text}");
    for part in says {
        assert!(text.contains(part), "{shown} does not say {part:?}: {text}");
    }
    assert_eq!(cloud.s3.keys(), before, "{shown} has changed the bucket");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_does_not_exist_is_named_as_the_mistake() {
    let cloud = Cloud::new(20).await;
    for arguments in [&SYNC[..], &["status"], &["query", "SELECT 1"]] {
        let mut command = cloud.command(arguments);
        command.env("CLERK_LAKE_LAKE", "s3://another-bucket/lake");
        let says = ["the bucket does not exist", "  help: check the bucket in --lake", "AWS_ENDPOINT_URL"];
        refuses(&cloud, command, &says).await;
    }
    let mut nameless = cloud.command(&SYNC);
    nameless.env("CLERK_LAKE_LAKE", "s3:///lake");
    refuses(&cloud, nameless, &["names no bucket", "  help: give a path, or s3://bucket/prefix"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_access_key_that_nobody_knows_is_a_mistake_in_the_settings() {
    let cloud = Cloud::new(20).await;
    for arguments in [&SYNC[..], &["status"], &["query", "SELECT 1"]] {
        let mut command = cloud.command(arguments);
        command.env("AWS_ACCESS_KEY_ID", "AKIAS0MEB0DYELSE");
        refuses(&cloud, command, &["InvalidAccessKeyId", "  help: ", "AWS_"]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_is_not_that_of_the_access_key_is_a_mistake_in_the_settings() {
    let cloud = Cloud::new(20).await;
    cloud.s3.refuse(Some(Refusal::Signatures));
    for arguments in [&SYNC[..], &["status"], &["query", "SELECT 1"]] {
        refuses(&cloud, cloud.command(arguments), &["SignatureDoesNotMatch", "  help: ", "AWS_"]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn half_of_the_credentials_is_a_mistake_in_the_settings() {
    let cloud = Cloud::new(20).await;
    for missing in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] {
        let mut command = cloud.command(&SYNC);
        command.env_remove(missing);
        refuses(&cloud, command, &["AWS_* environment variables", "  help: "]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_wrong_is_named_as_what_the_store_refuses() {
    let cloud = Cloud::new(20).await;
    for ahead in [TimeDelta::hours(1), -TimeDelta::hours(1)] {
        cloud.s3.set_clock_ahead(ahead);
        refuses(&cloud, cloud.command(&SYNC), &["RequestTimeTooSkewed", "  help: "]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_write_may_read_and_is_told_what_is_missing() {
    let mut cloud = Cloud::new(40).await;
    cloud.s3.refuse(Some(Refusal::Writes));
    refuses(&cloud, cloud.command(&SYNC), &["AccessDenied", "  help: ", "the permission to write"]).await;
    cloud.s3.refuse(None);
    cloud.succeeds(&SYNC, "with the right to write").await;
    cloud.s3.refuse(Some(Refusal::Writes));
    cloud.assert_exact("for a reader").await;
    for arguments in [&["status"][..], &["query", "SELECT count(*) AS users FROM clerk_user", "--format", "csv"]] {
        cloud.succeeds(arguments, "for a reader").await;
    }
    cloud.change(2);
    refuses(&cloud, cloud.command(&SYNC), &["AccessDenied", "  help: ", "the permission to write"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_cannot_keep_two_runs_apart_is_refused() {
    let cloud = Cloud::new(20).await;
    cloud.s3.ignore_conditions();
    refuses(&cloud, cloud.command(&SYNC), &["cannot keep two runs apart", "  help: use one with conditional writes"])
        .await;
    let mut switched_off = cloud.command(&SYNC);
    switched_off.env("AWS_CONDITIONAL_PUT", "disabled");
    refuses(&cloud, switched_off, &["cannot keep two runs apart", "AWS_CONDITIONAL_PUT"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_metadata_service_that_never_answers_means_that_there_are_no_credentials() {
    let cloud = Cloud::new(20).await;
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut command = cloud.command(&SYNC);
    command.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY");
    command.env("AWS_METADATA_ENDPOINT", format!("http://{}", silent.local_addr().expect("an address")));
    refuses(&cloud, command, &["no S3 credentials were found", "AWS_ACCESS_KEY_ID"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_secret_is_in_no_output_of_runs_that_succeed() {
    let cloud = Cloud::new(20).await;
    for arguments in [&SYNC[..], &["sync", "-vvv", "--json"], &["status", "--json"], &["query", "SELECT 1"]] {
        let done = run_talkative(cloud.command(arguments)).await;
        assert_eq!(done.status.code(), Some(0), "{arguments:?}: {}", said(&stderr(&done)));
        assert!(!done.stderr.is_empty(), "{arguments:?}: nothing was logged");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_may_come_from_the_role_of_an_instance_or_of_a_container() {
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
        let done = run_talkative(command).await;
        assert_eq!(done.status.code(), Some(0), "{settings:?}: {}", said(&stderr(&done)));
        cloud.assert_exact(&format!("{settings:?}")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_may_say_all_that_the_environment_leaves_open() {
    let cloud = Cloud::new(20).await;
    let home = cloud.world.directory.path();
    std::fs::create_dir(home.join(".aws")).expect("a directory");
    let keys = format!("[lake]\naws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET}\n");
    std::fs::write(home.join(".aws/credentials"), keys).expect("a file");
    let place = format!("[profile lake]\nregion = {REGION}\nendpoint_url = {}\n", cloud.s3.url());
    std::fs::write(home.join(".aws/config"), place).expect("a file");
    let mut command = cloud.command(&SYNC);
    for (setting, _) in cloud.s3.environment() {
        command.env_remove(setting);
    }
    command.env("HOME", home).env("AWS_PROFILE", "lake");
    let done = run_talkative(command).await;
    assert_eq!(done.status.code(), Some(0), "{}", said(&stderr(&done)));
    cloud.assert_exact("by a profile").await;
}
