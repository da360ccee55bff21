//! The manners of the command line: what a sync says, plans, quiet runs, colors, completions, manual pages, and
//! suggestions for misspelled names.

use std::collections::BTreeSet;
use std::io::Read;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clerk_lake::resource;
use clerk_lake::sync::{CancellationToken, SyncOptions};
use clerk_lake::sync::{Progress, ResourceSummary, Status, SyncJob};
use serde_json::Value;

use crate::docs::settings::{Setting, commands};
use crate::errors::small;
use crate::support::{World, files, output, program, stderr, stdout};

async fn succeeds(world: &World, arguments: &[&str]) -> Output {
    let done = world.run(arguments).await;
    assert_eq!(done.status.code(), Some(0), "{arguments:?}: {}", stderr(&done));
    done
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_says_where_it_writes_how_long_it_took_and_what_to_do_next() {
    let world = small().await;
    let printed = stdout(&succeeds(&world, &["sync"]).await);
    let first = printed.lines().next().unwrap_or_default();
    assert!(first.starts_with(&format!("Synced ins_simulated into {} in ", world.path().display())), "{printed}");
    assert!(first.ends_with(" s"), "{printed}");
    for text in ["\nRows: + inserted, ~ updated, - deleted\n", "\nNext: clerk-lake status, or clerk-lake query\n"] {
        assert!(printed.contains(text), "{printed}");
    }
    // The commands find the lake that a flag names.
    let place = world.directory.path().join("my lake");
    let printed = stdout(&succeeds(&world, &["sync", "--lake", &place.to_string_lossy()]).await);
    let status = format!("\nNext: clerk-lake status --lake '{}', or", place.display());
    assert!(printed.contains(&status), "{printed}");
    let document: Value = serde_json::from_slice(&succeeds(&world, &["sync", "--json"]).await.stdout).expect("JSON");
    assert_eq!(document["instance"], "ins_simulated");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_that_fails_in_part_says_so_and_suggests_nothing() {
    let world = small().await;
    world.simulator.set(|config| config.organizations_status = Some(500));
    let done = world.run(&["sync", "--retry-budget", "0"]).await;
    assert_eq!(done.status.code(), Some(4), "{}", stderr(&done));
    let printed = stdout(&done);
    assert!(printed.starts_with("Synced a part of ins_simulated into "), "{printed}");
    assert!(!printed.contains("Next:"), "{printed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn quiet_commands_print_data_and_errors_only() {
    let world = small().await;
    world.simulator.set(|config| config.organizations_status = Some(404));
    for arguments in [&["sync", "--quiet"][..], &["sync", "-q"], &["maintain", "--quiet"]] {
        let done = succeeds(&world, arguments).await;
        assert_eq!((stdout(&done), stderr(&done)), (String::new(), String::new()), "{arguments:?}");
    }
    let rows = succeeds(&world, &["query", "-q", "SELECT 1 AS one", "--format", "csv"]).await;
    assert_eq!((stdout(&rows).as_str(), stderr(&rows).as_str()), ("one\n1\n", ""));
    let summary = succeeds(&world, &["sync", "--quiet", "--json"]).await;
    assert!(stdout(&summary).starts_with("{\"status\":\"ok\""), "{}", stdout(&summary));
    let failed = world.run(&["sync", "--quiet", "--api-url", "nonsense"]).await;
    assert_eq!(failed.status.code(), Some(2));
    assert!(stderr(&failed).starts_with("error: "), "{}", stderr(&failed));
    let refused = world.run(&["sync", "--quiet", "--verbose"]).await;
    assert!(stderr(&refused).contains("cannot be used with"), "{}", stderr(&refused));
    world.simulator.set(|config| config.organizations_status = Some(500));
    let failed = world.run(&["sync", "--quiet", "--retry-budget", "0"]).await;
    assert_eq!((failed.status.code(), stdout(&failed).as_str()), (Some(4), ""));
    let printed = stderr(&failed);
    let errors: Vec<_> = printed.lines().filter(|line| line.starts_with("error: ")).collect();
    // One for each list that belongs to organizations.
    assert_eq!(errors.iter().collect::<BTreeSet<_>>().len(), errors.len(), "{printed}");
    assert_eq!(errors.len(), 5, "{printed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn colors_follow_the_flag_and_no_color() {
    let world = small().await;
    // The log of a first sync is empty.
    succeeds(&world, &["sync"]).await;
    let has_color = |done: &Output| (stdout(done) + &stderr(done)).contains("\u{1b}[");
    for (arguments, wanted) in [
        (&["sync", "-vv", "--color", "always"][..], true),
        (&["sync", "-vv", "--color=never"], false),
        (&["sync", "-vv"], false),
        (&["report", "--terminal", "--color", "always"], true),
        (&["report", "--terminal"], false),
        (&["sync", "--help", "--color", "always"], true),
        (&["sync", "--help", "--color", "never"], false),
    ] {
        let done = succeeds(&world, arguments).await;
        assert_eq!(has_color(&done), wanted, "{arguments:?}");
        // The flag overrides the variable.
        let mut command = world.command(arguments);
        command.env("NO_COLOR", "1");
        assert_eq!(has_color(&output(command).await), wanted, "{arguments:?} with NO_COLOR");
    }
    let done = world.run(&["sync", "--color", "alwys"]).await;
    assert!(stderr(&done).contains("a similar value exists: 'always'"), "{}", stderr(&done));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_says_what_a_sync_would_do_and_writes_nothing() {
    let world = World::with(|config| config.users = 900).await;
    let planned = succeeds(&world, &["sync", "--plan"]).await;
    assert!(!world.path().exists(), "the plan created the lake");
    let printed = stdout(&planned);
    for text in
        ["ins_simulated", "Nothing was written", "the table is empty", "always read completely", "requests per second"]
    {
        assert!(printed.contains(text), "{text}: {printed}");
    }
    for arguments in [&["sync"][..], &["sync", "--full"], &["sync"]] {
        let before = (world.path().exists(), files(&world.path()));
        let plan = [arguments, &["--plan", "--json"]].concat();
        let plan: Value = serde_json::from_slice(&succeeds(&world, &plan).await.stdout).expect("one JSON document");
        assert!(before == (world.path().exists(), files(&world.path())), "{arguments:?}: the plan changed the lake");
        let done = [arguments, &["--json"]].concat();
        let done: Value = serde_json::from_slice(&succeeds(&world, &done).await.stdout).expect("one JSON document");
        let (planned, synced) = (plan["resources"].as_array().expect("a list"), done["resources"].as_array());
        for (planned, synced) in planned.iter().zip(synced.expect("a list")) {
            assert_eq!(
                (&planned["name"], &planned["mode"]),
                (&synced["name"], &synced["mode"]),
                "{arguments:?}: {plan}"
            );
            let of = |document: &Value| document["requests"].as_u64().expect("a number");
            let (planned, synced) = (of(planned), of(synced));
            assert!(planned.abs_diff(synced) <= 3 + synced / 2, "{arguments:?}: {planned} for {synced}: {plan} {done}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_counts_one_request_per_user_if_sessions_are_listed_by_user() {
    let world = World::with(|config| {
        config.users = 2600;
        config.plain_session_listing = false;
    })
    .await;
    let plan = succeeds(&world, &["sync", "--plan", "--json"]).await;
    let plan: Value = serde_json::from_slice(&plan.stdout).expect("one JSON document");
    let sessions = &plan["resources"][2];
    let done = succeeds(&world, &["sync", "--json", "--rate-limit", "off"]).await;
    let done: Value = serde_json::from_slice(&done.stdout).expect("one JSON document");
    let (planned, sent) = (sessions["requests"].as_u64(), done["resources"][2]["requests"].as_u64());
    let (planned, sent) = (planned.expect("a number"), sent.expect("a number"));
    assert!(planned.abs_diff(sent) <= sent / 3, "planned {planned}, sent {sent}: {plan}");
    assert!(sessions["why"].as_str().is_some_and(|why| why.contains("by user")), "{sessions}");
    // 50 requests per second, less a margin.
    let minutes = sessions["minutes"].as_f64().expect("a number");
    assert!((minutes * 60.0 * 50.0).round() >= f64::from(u32::try_from(planned).expect("few")), "{sessions}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_of_another_instance_or_with_a_wrong_key_is_refused() {
    let world = small().await;
    let mut command = world.command(&["sync", "--plan"]);
    command.env("CLERK_SECRET_KEY", "sk_live_of_somebody_else");
    assert_eq!(output(command).await.status.code(), Some(3));
    succeeds(&world, &["sync"]).await;
    let other = World::with(|config| config.instance_id = "ins_other".to_owned()).await;
    let refused = world.run(&["sync", "--plan", "--api-url", &other.simulator.url()]).await;
    assert_eq!(refused.status.code(), Some(2), "{}", stderr(&refused));
    assert!(stderr(&refused).contains("ins_other"), "{}", stderr(&refused));
}

#[test]
fn completions_and_manual_pages_cover_every_command() {
    let directory = tempfile::tempdir().expect("a directory");
    let run = |arguments: &[&str]| {
        let done = program(directory.path()).args(arguments).output().expect("the program runs");
        assert_eq!((done.status.code(), stderr(&done)), (Some(0), String::new()), "{arguments:?}");
        stdout(&done)
    };
    let names = commands();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = run(&["completions", shell]);
        assert!(names.iter().all(|name| script.contains(name.as_str())), "{shell}");
        assert!(script.contains("max-shrink"), "{shell}");
    }
    let pages = run(&["man"]);
    assert!(pages.contains(".TH clerk-lake 1 "), "{pages}");
    for name in names {
        assert!(pages.contains(&format!(".TH clerk-lake-{name} 1 ")), "{name}");
        for setting in Setting::all_of(&run(&[&name, "--help"])) {
            assert!(pages.contains(&setting.flag.replace('-', "\\-")), "{name} {}", setting.flag);
        }
    }
    let wrong = program(directory.path()).args(["completions", "bsh"]).output().expect("the program runs");
    assert!(stderr(&wrong).contains("a similar value exists: 'bash'"), "{}", stderr(&wrong));
}

#[test]
fn the_nearest_command_flag_or_value_is_suggested() {
    let directory = tempfile::tempdir().expect("a directory");
    for (arguments, suggestion) in [
        (&["ststus"][..], "'status'"),
        (&["sync", "--max-shrnk", "1"], "'--max-shrink'"),
        (&["sync", "--resource", "user"], "'users'"),
        (&["query", "--format", "jsn"], "'json'"),
        (&["simulate", "--fault", "server-eror"], "did you mean server-error?"),
    ] {
        let done = program(directory.path()).args(arguments).output().expect("the program runs");
        assert_eq!(done.status.code(), Some(2), "{arguments:?}");
        assert!(stderr(&done).contains(suggestion), "{arguments:?}: {}", stderr(&done));
    }
}

#[test]
fn the_log_filter_must_be_valid() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut command = program(directory.path());
    let done = command.env("CLERK_LAKE_LOG", "clerk_lake=deebug").arg("schema").output().expect("the program runs");
    assert_eq!(done.status.code(), Some(2), "{}", stderr(&done));
    assert!(stderr(&done).contains("CLERK_LAKE_LOG=clerk_lake=deebug is not a log filter"), "{}", stderr(&done));
}

/// Runs `command`, reads the first bytes of what it prints, and closes the pipe. Returns the exit code and what it
/// prints to standard error.
fn with_closed_pipe(mut command: Command) -> (Option<i32>, String) {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program runs");
    let mut out = child.stdout.take().expect("a pipe");
    let mut some = [0; 8];
    out.read_exact(&mut some).expect("some output");
    drop(out);
    let done = child.wait_with_output().expect("the program ends");
    (done.status.code(), stderr(&done))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_pipe_ends_every_command_quietly() {
    let world = small().await;
    succeeds(&world, &["sync"]).await;
    let directory = world.directory.path().join("a demo");
    let demo = directory.to_string_lossy().into_owned();
    for arguments in [
        &["query", "SELECT a.value FROM generate_series(1, 3000) a, generate_series(1, 100000) b", "--format", "csv"][..],
        &["schema"],
        &["status"],
        &["check"],
        &["query", "--list"],
        &["man"],
        &["completions", "zsh"],
        &["report", "--out", "-"],
        &["demo", "--users", "50", "--days", "90", "--directory", &demo],
    ] {
        let command = world.command(arguments);
        let ended = tokio::task::spawn_blocking(move || with_closed_pipe(command)).await.expect("the thread ends");
        assert_eq!(ended, (Some(0), String::new()), "{arguments:?}");
    }
    assert!(!directory.join("report.html").exists(), "the demo went on although nobody read what it printed");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_that_a_demo_prints_quote_the_directory() {
    let world = small().await;
    let directory = world.directory.path().join("my lake").to_string_lossy().into_owned();
    let done = succeeds(&world, &["demo", "--users", "50", "--days", "1", "--directory", &directory]).await;
    assert!(stdout(&done).contains(&format!("status --lake '{directory}'")), "{}", stdout(&done));
}

/// Starts another sync of the same lake when the users have been read, the first time.
struct Rival {
    command: std::sync::Mutex<Command>,
    has_run: AtomicBool,
    notes: std::sync::Mutex<Vec<String>>,
}

impl Progress for Rival {
    fn started(&self, _: &str, _: Option<u64>) {}

    fn advanced(&self, resource: &str, _: u64) {
        if resource == "users" && !self.has_run.swap(true, Ordering::Relaxed) {
            let mut command = self.command.lock().expect("a lock");
            let done = tokio::task::block_in_place(|| command.output().expect("the program runs"));
            assert_eq!(done.status.code(), Some(0), "{}", stderr(&done));
        }
    }

    fn finished(&self, _: &ResourceSummary) {}

    fn note(&self, text: &str) {
        self.notes.lock().expect("a lock").push(text.to_owned());
    }

    fn warn(&self, _: &str) {}
}

/// Syncs while another sync commits the users first.
async fn sync_against_a_rival(
    run: impl AsyncFnOnce(SyncJob) -> clerk_lake::sync::Summary,
) -> (clerk_lake::sync::Summary, Vec<String>) {
    let world = small().await;
    let rival = Arc::new(Rival {
        command: world.command(&["sync", "--resource", "users"]).into(),
        has_run: AtomicBool::new(false),
        notes: Vec::new().into(),
    });
    let job = SyncJob {
        client: world.client(),
        lake: world.lake(),
        clock: world.clock(),
        options: SyncOptions::default(),
        progress: rival.clone(),
        stop: CancellationToken::new(),
    };
    let summary = run(job).await;
    assert_eq!(world.number("SELECT count(*) FROM clerk_user").await, 50);
    let notes = rival.notes.lock().expect("a lock").clone();
    (summary, notes)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_with_another_run_is_tried_once_more() {
    let (once, _) = sync_against_a_rival(async |job| job.run().await).await;
    assert_eq!(once.status, Status::Partial, "the runs did not meet");
    assert!(once.worst().is_some_and(clerk_lake::Error::is_transient), "{once:?}");
    let (twice, notes) = sync_against_a_rival(async |job| job.run_with_second_try().await).await;
    assert_eq!(twice.status, Status::Ok, "{twice:?}");
    assert_eq!(twice.resources.len(), resource::defaults().len(), "{twice:?}");
    assert!(notes.iter().any(|note| note.contains("trying once more")), "{notes:?}");
    assert!(twice.resources[0].requests > once.resources[0].requests, "the requests of both tries count");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_that_would_occur_again_is_not_tried_again() {
    let world = small().await;
    world.simulator.set(|config| config.organizations_status = Some(500));
    let failed = world.run(&["sync", "--resource", "organizations", "--retry-budget", "0"]).await;
    assert_eq!(failed.status.code(), Some(4));
    assert!(!stderr(&failed).contains("trying once more"), "{}", stderr(&failed));
}
