//! Where settings may come from: whoever can put a file into a directory does not decide where the key is sent.

use std::path::Path;
use std::process::Command;

use crate::errors::small;
use crate::support::{World, output, stderr};

/// A sync whose address comes from a settings file alone.
fn without_address(world: &World, arguments: &[&str]) -> Command {
    let mut command = world.command(&[&["sync", "--resource", "users"], arguments].concat());
    command.env_remove("CLERK_LAKE_API_URL").env("HOME", world.directory.path().join("home"));
    command
}

fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
    std::fs::write(path, text).expect("a file");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_lies_in_the_working_directory_does_not_say_where_the_key_is_sent() {
    let world = small().await;
    let address = format!("api_url = {:?}\n", world.simulator.url());
    write(&world.directory.path().join("clerk-lake.toml"), &address);
    let refused = output(without_address(&world, &[])).await;
    let said = stderr(&refused);
    assert_eq!(refused.status.code(), Some(2), "{said}");
    for text in ["api_url is not accepted from clerk-lake.toml", "home/.config/clerk-lake/config.toml", "--config"] {
        assert!(said.contains(text), "{said}");
    }
    assert_eq!(world.simulator.request_count(), 0);

    let named = output(without_address(&world, &["--config", "clerk-lake.toml"])).await;
    assert_eq!(named.status.code(), Some(0), "{}", stderr(&named));
    let url = world.simulator.url();
    let flag = output(without_address(&world, &["--api-url", &url])).await;
    assert_eq!(flag.status.code(), Some(0), "{}", stderr(&flag));
    let status = output(world.command(&["status"])).await;
    assert_eq!(status.status.code(), Some(0), "a command that does not ask Clerk: {}", stderr(&status));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_user_s_own_file_counts_below_the_one_in_the_working_directory() {
    let world = small().await;
    let own = format!("api_url = {:?}\ndau_lookback_days = 9\nsession_lookback_days = 5\n", world.simulator.url());
    let home = world.directory.path().join("home");
    for (file, environment) in [
        (home.join(".config/clerk-lake/config.toml"), None),
        (home.join("xdg/clerk-lake/config.toml"), Some(home.join("xdg"))),
    ] {
        write(&file, &own);
        let mut command = without_address(&world, &["--resource", "daily_active_users"]);
        command.envs(environment.map(|directory| ("XDG_CONFIG_HOME", directory)));
        let done = output(command).await;
        assert_eq!(done.status.code(), Some(0), "{}", stderr(&done));
        assert_eq!(world.number("SELECT count(*) FROM clerk_daily_active_users").await, 9);
    }
    write(&world.directory.path().join("clerk-lake.toml"), "dau_lookback_days = 7\n");
    let done = output(without_address(&world, &["--resource", "daily_active_users"])).await;
    assert_eq!(done.status.code(), Some(0), "{}", stderr(&done));
    assert_eq!(world.number("SELECT count(*) FROM clerk_daily_active_users").await, 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lake_from_a_file_that_lies_in_the_working_directory_is_said() {
    let world = small().await;
    write(&world.directory.path().join("clerk-lake.toml"), "lake = \"./elsewhere\"\n");
    let mut command = world.command(&["sync", "--resource", "users"]);
    command.env_remove("CLERK_LAKE_LAKE");
    let done = output(command).await;
    assert_eq!(done.status.code(), Some(0), "{}", stderr(&done));
    assert!(stderr(&done).contains("lake: ./elsewhere, from clerk-lake.toml"), "{}", stderr(&done));
    assert!(world.directory.path().join("elsewhere/clerk_user").exists());
    let own = world.run(&["sync", "--resource", "users"]).await;
    assert!(!stderr(&own).contains("from clerk-lake.toml"), "{}", stderr(&own));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_is_sent_unencrypted_to_this_machine_only() {
    let world = small().await;
    for url in ["http://10.0.0.1", "http://api.clerk.example/v1"] {
        let refused = world.run(&["sync", "--api-url", url]).await;
        assert_eq!(refused.status.code(), Some(2), "{url}: {}", stderr(&refused));
        assert!(stderr(&refused).contains("  help: use https"), "{url}: {}", stderr(&refused));
    }
    // A proxy is not this machine.
    let mut command = world.command(&["sync", "--resource", "users"]);
    command.env("HTTP_PROXY", "http://127.0.0.1:9").env("http_proxy", "http://127.0.0.1:9");
    let done = output(command).await;
    assert_eq!(done.status.code(), Some(0), "{}", stderr(&done));
}
