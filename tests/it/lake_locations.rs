//! The location of a lake can contain any characters. A location that is not supported is refused at the start.

use std::path::Path;

use clerk_lake::resource::TABLES;
use clerk_lake::table::TableSpec;

use crate::support::s3::{BUCKET, S3};
use crate::support::{World, output, stderr, stdout};

/// Names with characters that are special in a URL, in a pattern or in a shell.
const NAMES: [&str; 6] = ["100% sure", "a#b", "what?", " blanks ", "[a]*{b}", "\u{fc}ber 'x' \"y\""];

/// Names that the table format does not support. They are refused before anything is written.
const REFUSED: [&str; 2] = ["a%41b", "%2F"];

async fn world() -> World {
    World::with(|config| {
        config.users = 8;
        config.organizations = 3;
    })
    .await
}

/// Syncs to `lake` twice, queries it, and asserts that this works.
async fn assert_works(world: &World, lake: &str, environment: &[(&str, String)]) {
    for arguments in [&["sync", "--rate-limit", "off"][..], &["sync", "--rate-limit", "off", "--full"], &["status"]] {
        let mut command = world.command(arguments);
        command.env("CLERK_LAKE_LAKE", lake).envs(environment.iter().cloned());
        let done = output(command).await;
        assert_eq!(done.status.code(), Some(0), "{lake}: {}", stderr(&done));
    }
    let sql = "SELECT count(*) FROM clerk_organization o WHERE EXISTS (SELECT 1 FROM clerk_user)";
    let mut command = world.command(&["query", "--format", "csv", sql]);
    command.env("CLERK_LAKE_LAKE", lake).envs(environment.iter().cloned());
    let queried = output(command).await;
    assert_eq!(stdout(&queried).lines().last(), Some("3"), "{lake}: {}", stderr(&queried));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lake_on_disk_can_have_any_name() {
    let world = world().await;
    let directory = world.directory.path().join("lakes");
    for name in NAMES {
        let lake = directory.join(name);
        assert_works(&world, lake.to_str().expect("a path"), &[]).await;
        assert!(lake.join("clerk_organization/_delta_log").is_dir(), "{name} is not at the given path");
    }
    let made = std::fs::read_dir(&directory).expect("lakes").count();
    assert_eq!(made, NAMES.len(), "unexpected files in the directory");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_the_table_format_does_not_support_is_refused_at_the_start() {
    let world = world().await;
    let directory = world.directory.path().join("lakes");
    let on_disk = REFUSED.into_iter().chain(["back\\slash"]).map(|name| format!("{}/{name}", directory.display()));
    let in_a_bucket = REFUSED.into_iter().map(|name| format!("s3://{BUCKET}/{name}/lake"));
    for lake in on_disk.chain(in_a_bucket) {
        for arguments in [&["sync"][..], &["status"]] {
            let mut command = world.command(arguments);
            command.env("CLERK_LAKE_LAKE", &lake);
            let refused = output(command).await;
            assert_eq!(refused.status.code(), Some(2), "{lake}: {}", stderr(&refused));
            assert!(stderr(&refused).contains("does not support"), "{lake}: {}", stderr(&refused));
        }
    }
    assert!(!directory.exists(), "the directory was created");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prefix_in_a_bucket_can_have_any_name() {
    let world = world().await;
    for name in NAMES {
        let s3 = S3::start().await;
        let environment: Vec<(&str, String)> = s3.environment().into_iter().collect();
        assert_works(&world, &format!("s3://{BUCKET}/{name}/lake"), &environment).await;
        let keys = s3.keys();
        assert!(
            keys.iter().any(|key| key.starts_with(&format!("{name}/lake/clerk_organization/_delta_log/"))),
            "{keys:?}"
        );
        let is_own = |key: &String| {
            let of_table = |spec: &&TableSpec| key.starts_with(&format!("{name}/lake/{}/", spec.name));
            *key == format!("{name}/lake/_instance") || TABLES.iter().any(of_table)
        };
        assert!(keys.iter().all(is_own), "{name}: {keys:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_url_is_decoded_and_an_unencoded_one_is_refused() {
    let world = world().await;
    let directory = world.directory.path().to_str().expect("a path").to_owned();
    assert_works(&world, &format!("file://{directory}/a%20b%25"), &[]).await;
    assert!(Path::new(&directory).join("a b%/clerk_user/_delta_log").is_dir());
    for name in ["a#b", "a?b", "a\\b", "a "] {
        let mut command = world.command(&["sync"]);
        command.env("CLERK_LAKE_LAKE", format!("file://{directory}/{name}"));
        let refused = output(command).await;
        assert_eq!(refused.status.code(), Some(2), "{name}: {}", stderr(&refused));
    }
}
