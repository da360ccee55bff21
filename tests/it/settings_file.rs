//! Settings files: a file in the working directory cannot decide where the key is sent.

use std::path::Path;
use std::process::Command;

use crate::errors::small;
use crate::support::{World, output, stderr, stdout};

/// Returns a sync command whose API URL can only come from a settings file.
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
async fn api_url_is_not_accepted_from_a_file_in_the_working_directory() {
    let world = small().await;
    let address = format!("api_url = {:?}\n", world.simulator.url());
    write(&world.directory.path().join("clerk-lake.toml"), &address);
    let refused = output(without_address(&world, &[])).await;
    let messages = stderr(&refused);
    assert_eq!(refused.status.code(), Some(2), "{messages}");
    for text in ["api_url is not accepted from clerk-lake.toml", "home/.config/clerk-lake/config.toml", "--config"] {
        assert!(messages.contains(text), "{messages}");
    }
    assert_eq!(world.simulator.request_count(), 0);

    let named = output(without_address(&world, &["--config", "clerk-lake.toml"])).await;
    assert_eq!(named.status.code(), Some(0), "{}", stderr(&named));
    let url = world.simulator.url();
    let flag = output(without_address(&world, &["--api-url", &url])).await;
    assert_eq!(flag.status.code(), Some(0), "{}", stderr(&flag));
    let status = output(world.command(&["status"])).await;
    assert_eq!(status.status.code(), Some(0), "a command that does not call Clerk: {}", stderr(&status));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_in_the_working_directory_overrides_the_user_file() {
    let world = small().await;
    let user_settings =
        format!("api_url = {:?}\ndau_lookback_days = 9\nsession_lookback_days = 5\n", world.simulator.url());
    let home = world.directory.path().join("home");
    for (file, environment) in [
        (home.join(".config/clerk-lake/config.toml"), None),
        (home.join("xdg/clerk-lake/config.toml"), Some(home.join("xdg"))),
    ] {
        write(&file, &user_settings);
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
async fn a_lake_set_in_a_file_in_the_working_directory_is_reported() {
    let world = small().await;
    write(&world.directory.path().join("clerk-lake.toml"), "lake = \"./elsewhere\"\n");
    let mut command = world.command(&["sync", "--resource", "users"]);
    command.env_remove("CLERK_LAKE_LAKE");
    let done = output(command).await;
    assert_eq!(done.status.code(), Some(0), "{}", stderr(&done));
    assert!(stderr(&done).contains("lake: ./elsewhere, from clerk-lake.toml"), "{}", stderr(&done));
    assert!(world.directory.path().join("elsewhere/clerk_user").exists());
    let without_file_setting = world.run(&["sync", "--resource", "users"]).await;
    assert!(!stderr(&without_file_setting).contains("from clerk-lake.toml"), "{}", stderr(&without_file_setting));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_is_sent_over_plain_http_only_to_this_machine() {
    let world = small().await;
    for url in ["http://10.0.0.1", "http://api.clerk.example/v1"] {
        let refused = world.run(&["sync", "--api-url", url]).await;
        assert_eq!(refused.status.code(), Some(2), "{url}: {}", stderr(&refused));
        assert!(stderr(&refused).contains("  help: use https"), "{url}: {}", stderr(&refused));
    }
    // Requests to this machine do not use a proxy.
    let mut command = world.command(&["sync", "--resource", "users"]);
    command.env("HTTP_PROXY", "http://127.0.0.1:9").env("http_proxy", "http://127.0.0.1:9");
    let done = output(command).await;
    assert_eq!(done.status.code(), Some(0), "{}", stderr(&done));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_setting_under_its_command_overrides_one_for_all_commands() {
    let world = small().await;
    let days = async |text: &str| {
        write(&world.directory.path().join("clerk-lake.toml"), text);
        let done = world.run(&["sync", "--resource", "daily_active_users"]).await;
        assert_eq!(done.status.code(), Some(0), "{text}: {}", stderr(&done));
        world.number("SELECT count(*) FROM clerk_daily_active_users").await
    };
    assert_eq!(days("dau_lookback_days = 7\n[sync]\ndau_lookback_days = 5\n").await, 5);
    assert_eq!(days("sync.dau_lookback_days = 6\n[query]\nformat = \"json\"\n[upkeep]\nhistory = \"1d\"\n").await, 6);
    let rows = world.run(&["query", "SELECT 1 AS one"]).await;
    assert_eq!(stdout(&rows), "[{\"one\":1}]\n", "{}", stderr(&rows));
    assert!(stderr(&rows).contains("format: json, from clerk-lake.toml"), "{}", stderr(&rows));
    // The same key means another thing for another command.
    write(&world.directory.path().join("clerk-lake.toml"), "[schema]\nformat = \"sql\"\n");
    let schema = world.run(&["schema"]).await;
    assert!(stdout(&schema).contains("CREATE TABLE"), "{}", stderr(&schema));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_setting_that_excludes_an_argument_gives_way_to_it() {
    let world = small().await;
    succeeds_with(&world, &["sync", "--resource", "users"]).await;
    write(&world.directory.path().join("clerk-lake.toml"), "list = true\nverbose = 1\n");
    let rows = succeeds_with(&world, &["query", "--quiet", "SELECT 1 AS one", "--format", "csv"]).await;
    assert_eq!(stdout(&rows), "one\n1\n");
    let list = succeeds_with(&world, &["query"]).await;
    assert!(stdout(&list).contains("active_users"), "{}", stdout(&list));
    assert!(
        stderr(&list).contains("list: true"),
        "what the file in the working directory sets is said: {}",
        stderr(&list)
    );
}

async fn succeeds_with(world: &World, arguments: &[&str]) -> std::process::Output {
    let done = world.run(arguments).await;
    assert_eq!(done.status.code(), Some(0), "{arguments:?}: {}", stderr(&done));
    done
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_that_need_no_settings_work_with_a_broken_file() {
    let world = small().await;
    for text in
        ["lake = \n[[[", "nonsense = 1\n", "json = \"perhaps\"\nusers = \"many\"\n[report]\nout = 7\nlanes = 1\n"]
    {
        write(&world.directory.path().join("clerk-lake.toml"), text);
        for arguments in [
            &["--help"][..],
            &["--version"],
            &["help", "sync"],
            &["sync", "--help"],
            &["schema"],
            &["completions", "bash"],
            &["man"],
            &["demo", "--users", "20", "--days", "1"],
        ] {
            succeeds_with(&world, arguments).await;
        }
        let warned = succeeds_with(&world, &["schema"]).await;
        assert!(
            stderr(&warned).contains("warning: settings are ignored: the settings file clerk-lake.toml"),
            "{text}: {}",
            stderr(&warned)
        );
        let refused = world.run(&["query", "SELECT 1"]).await;
        let is_refused = refused.status.code() == Some(2);
        assert!(is_refused && stderr(&refused).contains("clerk-lake.toml, line "), "{text}: {}", stderr(&refused));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_variable_counts_as_unset() {
    let world = small().await;
    let mut variables = std::collections::BTreeSet::new();
    for command in crate::docs::settings::commands() {
        let help = stdout(&succeeds_with(&world, &[&command, "--help"]).await);
        variables.extend(crate::docs::settings::Setting::all_of(&help).into_iter().filter_map(|it| it.variable));
    }
    assert!(variables.len() > 25, "{variables:?}");
    variables.retain(|name| name != "CLERK_LAKE_API_URL" && name != "CLERK_LAKE_LAKE");
    variables.extend(["CLERK_LAKE_NOW", "CLERK_LAKE_LOG", "CLERK_SECRET_KEY_FILE", "NO_COLOR"].map(str::to_owned));
    let lake = world.path().to_string_lossy().into_owned();
    for arguments in
        [&["sync"][..], &["query", "SELECT 1"], &["status"], &["maintain"], &["schema"], &["report", "--terminal"]]
    {
        let lake = ["--lake", &lake];
        let arguments = [arguments, if arguments == ["schema"] { &[] } else { &lake }].concat();
        let mut command = world.command(&arguments);
        command.envs(variables.iter().map(|name| (name, ""))).env("CLERK_LAKE_LAKE", "");
        let done = output(command).await;
        assert_eq!(done.status.code(), Some(0), "{arguments:?}: {}", stderr(&done));
    }
}
