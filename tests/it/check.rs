//! `clerk-lake check` finds every problem before a sync does, and leaves nothing behind.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use clerk_lake::resource::{self, Reading};
use clerk_lake::simulator::{List, ListRefusal};
use serde_json::Value;

use crate::errors::small;
use crate::support::connections::Gateway;
use crate::support::s3::{BUCKET, Refusal, S3};
use crate::support::stub::{Stub, StubResponse, nowhere};
use crate::support::{KEY, World, files, output, stderr, stdout};

/// Runs `check` with these arguments.
fn check(world: &World, arguments: &[&str]) -> Command {
    world.command(&[&["check"], arguments].concat())
}

/// Runs `command`, which must exit with `code` and change nothing in the directory of the world.
async fn checked(world: &World, command: Command, code: i32) -> Output {
    let before = everything(world.directory.path());
    let done = output(command).await;
    assert_eq!(done.status.code(), Some(code), "{}\n{}", stdout(&done), stderr(&done));
    assert!(everything(world.directory.path()) == before, "the check has left something behind");
    done
}

/// Returns every file and every directory below `directory`.
fn everything(directory: &Path) -> (Vec<(std::path::PathBuf, Vec<u8>)>, BTreeSet<std::path::PathBuf>) {
    let mut directories = BTreeSet::new();
    let mut open = vec![directory.to_path_buf()];
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(&next).into_iter().flatten().flatten() {
            if entry.path().is_dir() {
                directories.insert(entry.path());
                open.push(entry.path());
            }
        }
    }
    (files(directory), directories)
}

async fn document(world: &World, arguments: &[&str], code: i32) -> Value {
    let done = checked(world, check(world, &[&["--json"], arguments].concat()), code).await;
    serde_json::from_slice(&done.stdout).expect("one JSON document")
}

fn list<'d>(document: &'d Value, name: &str) -> &'d Value {
    let lists = document["lists"].as_array().expect("a list");
    lists.iter().find(|list| list["name"] == name).unwrap_or_else(|| panic!("no list {name}: {document}"))
}

/// Returns what each problem is of, and its kind.
fn problems(document: &Value) -> Vec<(&str, &str)> {
    let problems = document["problems"].as_array().expect("a list").iter();
    problems.map(|it| (it["of"].as_str().expect("text"), it["kind"].as_str().expect("text"))).collect()
}

fn keys(document: &Value) -> BTreeSet<&str> {
    document.as_object().expect("an object").keys().map(String::as_str).collect()
}

fn number(value: &Value) -> u64 {
    value.as_u64().expect("a number")
}

/// Returns the names of the resources that Clerk lists.
fn listed() -> Vec<&'static str> {
    let is_listed = |reading| !matches!(reading, Reading::Derived(_) | Reading::Ledger);
    resource::ALL.into_iter().filter(|it| is_listed(it.reading)).map(|it| it.name).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_without_problems_says_what_can_be_read_and_what_syncs_cost() {
    let world = small().await;
    let done = checked(&world, check(&world, &[]), 0).await;
    let printed = stdout(&done);
    for text in [
        "key   ok, of ins_simulated (production)\n",
        &format!("lake  {} can be written, is empty\n", world.path().display()),
        "\nusers                    ok                     50\n",
        "\nfirst sync ",
        "\nhourly sync ",
        "the request budget, 50 requests per second.",
        "\nNo problem was found. Next: clerk-lake sync\n",
    ] {
        assert!(printed.contains(text), "{text:?}: {printed}");
    }
    assert!(listed().iter().all(|name| printed.contains(&format!("\n{name} "))), "{printed}");
    assert_eq!(stderr(&done), "");
    assert!(!printed.contains(KEY.trim_start_matches("sk_live_")), "the key was printed");
    let quiet = checked(&world, check(&world, &["--quiet"]), 0).await;
    assert_eq!((stdout(&quiet), stderr(&quiet)), (String::new(), String::new()));
    // The directories above a lake that does not exist yet are gone, too.
    let deep = world.directory.path().join("a/b/lake");
    checked(&world, check(&world, &["--lake", &deep.to_string_lossy()]), 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_json_document_has_exactly_the_documented_keys() {
    let world = small().await;
    let found = document(&world, &[], 0).await;
    let words = |text: &'static str| text.split_whitespace().collect::<BTreeSet<_>>();
    assert_eq!(
        keys(&found),
        words("status key lake lists requests requests_per_second first_sync hourly_sync problems")
    );
    assert_eq!(keys(&found["key"]), words("state instance environment why"));
    assert_eq!(keys(&found["lake"]), words("location exists writable instance"));
    assert_eq!(keys(&found["first_sync"]), words("requests minutes resources left_out"));
    assert_eq!(found["status"], "ok");
    assert_eq!(
        (&found["key"]["instance"], &found["key"]["environment"]),
        (&"ins_simulated".into(), &"production".into())
    );
    assert_eq!((&found["lake"]["exists"], &found["lake"]["writable"]), (&false.into(), &true.into()));
    let names: Vec<_> =
        found["lists"].as_array().expect("a list").iter().map(|it| it["name"].as_str().expect("a name")).collect();
    assert_eq!(names, listed());
    for name in names {
        let (list, expected) = (list(&found, name), name.parse::<List>().expect("a list"));
        assert_eq!(keys(list), words("name state rows why default"));
        assert_eq!(list["state"], "ok", "{list}");
        let rows = world.simulator.listed(expected);
        let revoked = rows.iter().filter(|row| row["status"] == "revoked").count();
        let known = match expected {
            // One request for each statement would say it.
            List::PaymentAttempts => None,
            // Revoked invitations are read from a list of their own, and the other list may have them too.
            List::Invitations | List::OrganizationInvitations if revoked > 0 => None,
            _ => Some(rows.len() as u64),
        };
        assert_eq!(list["rows"].as_u64(), known, "{list}");
        if expected == List::OrganizationInvitations && revoked > 0 {
            let note = format!("{} to {} rows, as some may be listed twice", rows.len(), rows.len() + revoked);
            assert_eq!(list["why"], note, "{list}");
        }
    }
    world.simulator.set(|config| {
        config.disabled.insert(List::Machines, ListRefusal::GatewayText(403));
    });
    let found = document(&world, &[], 5).await;
    assert_eq!(found["status"], "failed");
    assert_eq!(keys(&found["problems"][0]), words("of kind message hint"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_sends_about_two_requests_per_list_and_none_that_skips_many_rows() {
    let world = World::with(|config| {
        config.users = 3000;
        config.plain_session_listing = false;
    })
    .await;
    world.simulator.clear_requests();
    let found = document(&world, &[], 0).await;
    let sent = world.simulator.request_count();
    assert_eq!(number(&found["requests"]), sent);
    assert!(sent <= 2 * listed().len() as u64, "{sent} requests");
    let sessions = list(&found, "sessions");
    assert!(sessions["why"].as_str().is_some_and(|why| why.contains("by user")), "{sessions}");
    assert!(sessions["rows"].is_null(), "{sessions}");
    let few = world.simulator.request_count();
    let found = document(&world, &["--resource", "organizations"], 0).await;
    assert_eq!(world.simulator.request_count() - few, number(&found["requests"]));
    assert!(number(&found["requests"]) <= 2, "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn estimates_are_close_to_what_syncs_send() {
    let world = World::with(|config| {
        config.users = 1800;
        config.organizations = 30;
    })
    .await;
    let found = document(&world, &["--resource", "all"], 0).await;
    for cost in ["first_sync", "hourly_sync"] {
        let done = world.run(&["sync", "--resource", "all", "--json", "--rate-limit", "off"]).await;
        let synced: Value = serde_json::from_slice(&done.stdout).expect("one JSON document");
        assert_eq!(synced["status"], "ok", "{}", stderr(&done));
        let sent: u64 = synced["resources"].as_array().expect("a list").iter().map(|it| number(&it["requests"])).sum();
        let planned = number(&found[cost]["requests"]);
        assert!(planned.abs_diff(sent) <= 10 + sent / 2, "{cost}: {planned} for {sent}: {} {synced}", found[cost]);
        assert_eq!(found[cost]["resources"].as_array().map(Vec::len), Some(resource::ALL.len()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_that_are_not_enabled_are_no_problem() {
    let world = small().await;
    for refusal in ListRefusal::OFF {
        world.simulator.set(|config| {
            let lists =
                [List::Memberships, List::Invitations, List::Machines, List::Directories, List::BillingStatements];
            config.disabled = lists.into_iter().map(|list| (list, refusal)).collect();
        });
        let found = document(&world, &[], 0).await;
        for name in ["memberships", "invitations", "machines", "directories", "billing_statements"] {
            assert_eq!(list(&found, name)["state"], "not_enabled", "{refusal}: {found}");
        }
        let first = found["first_sync"]["resources"].as_array().expect("a list");
        let memberships = first.iter().find(|it| it["name"] == "memberships").expect("memberships");
        assert_eq!(memberships["mode"], "skipped", "{refusal}: {memberships}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_answers_for_clerk_is_a_problem_of_that_list_only() {
    let world = small().await;
    for refusal in ListRefusal::GATEWAY {
        world.simulator.set(|config| config.disabled = [(List::Memberships, refusal)].into());
        let found = document(&world, &[], 5).await;
        assert_eq!(list(&found, "memberships")["state"], "failed", "{refusal}: {found}");
        assert_eq!(problems(&found), [("memberships", "answer")], "{refusal}");
        assert_eq!(found["first_sync"]["left_out"], serde_json::json!(["memberships"]), "{refusal}");
    }
    // What is not selected is no problem.
    document(&world, &["--resource", "users,sessions"], 0).await;
    world.simulator.set(|config| config.disabled = [(List::Machines, ListRefusal::GatewayText(403))].into());
    document(&world, &[], 5).await;
    document(&world, &["--resource", "default"], 0).await;
    // Without the users, nothing can be estimated.
    world.simulator.set(|config| config.disabled = [(List::Users, ListRefusal::GatewayText(403))].into());
    let found = document(&world, &[], 5).await;
    assert_eq!(problems(&found), [("users", "answer")]);
    assert!(found["first_sync"].is_null(), "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_key_is_reported_and_the_lake_is_still_checked() {
    let world = small().await;
    let mut command = check(&world, &[]);
    command.env("CLERK_SECRET_KEY", "sk_live_of_somebody_else");
    let done = checked(&world, command, 3).await;
    assert!(stdout(&done).contains("key   refused: GET /v1/instance: 401 clerk_key_invalid"), "{}", stdout(&done));
    assert!(stdout(&done).contains("can be written"), "{}", stdout(&done));
    assert!(stdout(&done).contains("The lists were not checked"), "{}", stdout(&done));
    assert!(stderr(&done).contains("  help: Clerk refused the key"), "{}", stderr(&done));
    assert!(!(stdout(&done) + &stderr(&done)).contains("somebody_else"), "the key was printed");

    let mut command = check(&world, &[]);
    command.env_remove("CLERK_SECRET_KEY");
    let done = checked(&world, command, 2).await;
    assert!(stdout(&done).contains("can be written"), "{}", stdout(&done));
    assert!(stderr(&done).contains("no Clerk secret key is set"), "{}", stderr(&done));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_may_not_read_its_instance_can_still_sync() {
    let world = small().await;
    world.simulator.set(|config| config.instance_status = Some(404));
    let found = document(&world, &["--resource", "default"], 0).await;
    assert_eq!((&found["key"]["state"], &found["key"]["instance"]), (&"ok".into(), &Value::Null));
    assert!(found["key"]["why"].as_str().is_some_and(|why| why.contains("GET /v1/instance")), "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_answer_is_reported_in_time() {
    let world = small().await;
    let silent = Gateway::silent().await;
    for (url, budget) in [(nowhere(), "0"), (format!("http://127.0.0.1:{}", silent.port()), "120")] {
        let begun = Instant::now();
        let found = document(&world, &["--api-url", &url, "--retry-budget", budget], 4).await;
        assert!(begun.elapsed() < Duration::from_secs(30), "{url}: {:?}", begun.elapsed());
        assert_eq!(problems(&found), [("key", "unreachable")]);
        assert_eq!((&found["key"]["state"], &found["lake"]["writable"]), (&"unknown".into(), &true.into()));
        assert_eq!(list(&found, "users")["state"], "unchecked");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_not_clerks_is_reported() {
    let world = small().await;
    let page = Stub::start(|_| StubResponse::text(200, "text/html", "<html></html>")).await;
    let done = checked(&world, check(&world, &["--api-url", &page.url()]), 5).await;
    assert!(stderr(&done).contains("is --api-url Clerk's Backend API?"), "{}", stderr(&done));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lake_of_another_instance_is_reported() {
    let world = small().await;
    assert_eq!(world.run(&["sync", "--resource", "users"]).await.status.code(), Some(0));
    let found = document(&world, &[], 0).await;
    assert_eq!((&found["lake"]["exists"], &found["lake"]["instance"]), (&true.into(), &"ins_simulated".into()));
    let other = World::with(|config| config.instance_id = "ins_other".to_owned()).await;
    let url = other.simulator.url();
    let done = checked(&world, check(&world, &["--api-url", &url]), 2).await;
    for text in ["belongs to the Clerk instance ins_simulated", "ins_other", "  help: use that instance's key"] {
        assert!(stderr(&done).contains(text), "{}", stderr(&done));
    }
    // A claim without any table, and tables without a claim.
    let claim = world.path().join("_instance");
    let text = std::fs::read(&claim).expect("the claim");
    std::fs::remove_file(&claim).expect("the claim can be removed");
    assert_eq!(problems(&document(&world, &["--api-url", &url], 2).await), [("lake", "settings")]);
    std::fs::remove_dir_all(world.path().join("clerk_user")).expect("the table can be removed");
    document(&world, &["--api-url", &url], 0).await;
    std::fs::write(&claim, text).expect("the claim can be written");
    assert_eq!(problems(&document(&world, &["--api-url", &url], 2).await), [("lake", "settings")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_problems_are_reported_each_with_a_hint() {
    let world = small().await;
    world.simulator.set(|config| {
        let refused = [List::Memberships, List::Machines].map(|list| (list, ListRefusal::GatewayText(403)));
        config.disabled = refused.into();
    });
    let done = checked(&world, check(&world, &["--lake", "/proc/nowhere"]), 2).await;
    let messages = stderr(&done);
    let errors: Vec<_> = messages.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(errors.len(), 3, "{messages}");
    for (error, text) in errors.iter().zip(["/v1/organization_memberships", "/v1/machines", "cannot be written"]) {
        assert!(error.contains(text), "{messages}");
    }
    assert_eq!(messages.matches("  help: is --api-url Clerk's").count(), 1, "{messages}");
    assert!(
        messages.ends_with("  help: choose another --lake, or give this user write permission there\n"),
        "{messages}"
    );
    assert!(stdout(&done).contains("\nlake  /proc/nowhere cannot be written"), "{}", stdout(&done));
    assert!(!stdout(&done).contains("No problem"), "{}", stdout(&done));
    // A refused key is worse than a lake that cannot be written.
    let mut command = check(&world, &["--lake", "/proc/nowhere", "--quiet"]);
    command.env("CLERK_SECRET_KEY", "sk_live_of_somebody_else");
    let done = checked(&world, command, 3).await;
    assert_eq!(stdout(&done), "");
    assert!(stderr(&done).contains("cannot be written"), "{}", stderr(&done));
    let done = checked(&world, check(&world, &["--lake", "gs://bucket", "--json"]), 2).await;
    let found: Value = serde_json::from_slice(&done.stdout).expect("one JSON document");
    assert_eq!(problems(&found)[0], ("lake", "settings"));
    assert!(found["lake"]["location"].is_null(), "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_staged_files_of_a_dead_run_stay() {
    let world = small().await;
    let staged = world.path().join("_staged/0123/clerk_user");
    std::fs::create_dir_all(&staged).expect("a directory");
    std::fs::write(staged.join("part.parquet"), "staged").expect("a file");
    checked(&world, check(&world, &[]), 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_is_checked_and_left_as_it_was() {
    let world = small().await;
    let s3 = S3::start().await;
    let lake = format!("s3://{BUCKET}/clerk");
    let in_bucket = || {
        let mut command = check(&world, &["--lake", &lake]);
        command.envs(s3.environment());
        command
    };
    let done = checked(&world, in_bucket(), 0).await;
    assert!(stdout(&done).contains(&format!("{lake} can be written, is empty")), "{}", stdout(&done));
    assert_eq!(s3.keys(), Vec::<String>::new());
    s3.refuse(Some(Refusal::Writes));
    let done = checked(&world, in_bucket(), 2).await;
    assert!(stderr(&done).contains("cannot write to the lake"), "{}", stderr(&done));
    s3.refuse(None);
    s3.ignore_conditions();
    let done = checked(&world, in_bucket(), 2).await;
    assert!(stderr(&done).contains("cannot protect the lake from concurrent runs"), "{}", stderr(&done));
    assert_eq!(s3.keys(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn resources_can_be_selected_by_all_and_default_on_the_command_line_and_in_a_settings_file() {
    let world = small().await;
    let file = world.directory.path().join("clerk-lake.toml");
    let names = async |settings: &str, arguments: &[&str]| -> Vec<String> {
        std::fs::write(&file, settings).expect("a file");
        let done = world.run(&[&["check", "--json"], arguments].concat()).await;
        assert_eq!(done.status.code(), Some(0), "{settings}: {}", stderr(&done));
        let found: Value = serde_json::from_slice(&done.stdout).expect("one JSON document");
        let resources = found["hourly_sync"]["resources"].as_array().expect("a list").iter();
        resources.map(|it| it["name"].as_str().expect("a name").to_owned()).collect()
    };
    let all: Vec<_> = resource::ALL.iter().map(|it| it.name).collect();
    let default: Vec<_> = resource::defaults().iter().map(|it| it.name).collect();
    assert_eq!(names("", &[]).await, default);
    assert_eq!(names("", &["--resource", "all"]).await, all);
    assert_eq!(names("resources = \"all\"\n", &[]).await, all);
    assert_eq!(names("[check]\nresources = [\"users\", \"machines\"]\n", &[]).await, ["users", "machines"]);
    assert_eq!(names("resource = \"machines\"\n", &["--resource", "default"]).await, default);
    assert_eq!(names("[sync]\nresource = \"machines\"\n", &[]).await, default);
    let wrong = world.run(&["check", "--resource", "al"]).await;
    assert!(stderr(&wrong).contains("'all'"), "{}", stderr(&wrong));
    std::fs::write(&file, "resources = \"default\"\n").expect("a file");
    let done = world.run(&["sync", "--json", "--resource", "machines"]).await;
    let synced: Value = serde_json::from_slice(&done.stdout).expect("one JSON document");
    assert_eq!(synced["resources"].as_array().map(Vec::len), Some(1), "{synced}");
}
