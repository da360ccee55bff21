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

/// Returns the names in `directory`.
fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).expect("a directory");
    entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tilde_is_the_home_directory_wherever_the_location_comes_from() {
    let world = world().await;
    let directory = world.directory.path();
    let home = directory.join("home");
    std::fs::create_dir(&home).expect("a directory");
    std::fs::write(directory.join("settings.toml"), "lake = \"~/from-settings\"\n").expect("a file");
    let users = ["sync", "--resource", "organizations"];
    let run = async |arguments: &[&str], lake: Option<&str>| {
        let mut command = world.command(arguments);
        match lake {
            Some(lake) => command.env("CLERK_LAKE_LAKE", lake),
            None => command.env_remove("CLERK_LAKE_LAKE"),
        };
        let done = {
            command.env("HOME", &home);
            output(command).await
        };
        assert_eq!(done.status.code(), Some(0), "{arguments:?} {lake:?}: {}", stderr(&done));
    };
    run(&[&users[..], &["--lake=~/from-flag"]].concat(), None).await;
    run(&users, Some("~/from-environment")).await;
    run(&[&users[..], &["--config", "settings.toml"]].concat(), None).await;
    run(&["status", "--lake=~/from-flag"], None).await;
    run(&["demo", "--directory=~/from-demo", "--users", "20", "--days", "2"], None).await;
    let mut made = names(&home);
    made.sort();
    assert_eq!(made, ["from-demo", "from-environment", "from-flag", "from-settings"]);
    assert!(home.join("from-demo/report.html").is_file());
    assert!(!directory.join("~").exists(), "{:?}", names(directory));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mistyped_url_is_refused_and_a_path_of_that_name_can_be_written_with_a_dot() {
    let world = world().await;
    let directory = world.directory.path();
    let before = names(directory);
    for lake in ["s3:/x", "s3:x", "S3:/x/y", "s3a:/x", "gs:/x", "file:x", "file:/x", "s3://", "s3:///x", "~nobody/x"] {
        for arguments in [&["sync"][..], &["status"], &["query", "SELECT 1"], &["maintain"], &["report"]] {
            let mut command = world.command(arguments);
            command.env("CLERK_LAKE_LAKE", lake);
            let refused = output(command).await;
            assert_eq!(refused.status.code(), Some(2), "{lake} {arguments:?}: {}", stderr(&refused));
            assert!(stderr(&refused).contains(&format!("{lake:?}")), "{lake}: {}", stderr(&refused));
        }
    }
    assert_eq!(names(directory), before, "something was created");
    for lake in ["./s3:x", "a:b"] {
        assert_works(&world, lake, &[]).await;
        assert!(directory.join(lake).join("clerk_user").is_dir(), "{lake}");
    }
}
