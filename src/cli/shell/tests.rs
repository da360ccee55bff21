//! Scripted shell sessions, line by line.

use std::collections::VecDeque;
use std::sync::Arc;

use clerk_lake::api::{Client, ClientConfig, RateLimit, SecretKey, parse_api_url};
use clerk_lake::clock::Clock;
use clerk_lake::lake::{Lake, Location};
use clerk_lake::query::{Engine, Queries};
use clerk_lake::simulator::{ChangeKind, Simulator, SimulatorConfig};
use clerk_lake::sync::{CancellationToken, Silent, Status, SyncJob, SyncOptions};
use tempfile::TempDir;

use super::*;

/// A simulated instance with 50 users, and its lake.
struct World {
    simulator: Simulator,
    folder: TempDir,
}

impl World {
    async fn new() -> Self {
        let config = SimulatorConfig { users: 50, organizations: 3, ..SimulatorConfig::default() };
        let simulator = Simulator::start(config).await.expect("the simulator starts");
        let world = Self { simulator, folder: tempfile::tempdir().expect("a folder") };
        world.sync().await;
        world
    }

    fn lake(&self) -> Lake {
        Lake::new(Location::parse(&self.folder.path().to_string_lossy()).expect("a location"))
    }

    async fn sync(&self) {
        let url = parse_api_url(&self.simulator.url()).expect("a URL");
        let key = SecretKey::new(&self.simulator.key()).expect("a key");
        let config = ClientConfig { rate_limit: RateLimit::Unlimited, ..ClientConfig::new(url, key) };
        let sync = SyncJob {
            client: Client::new(config).expect("a client"),
            lake: self.lake(),
            clock: Clock::system(),
            options: SyncOptions::default(),
            progress: Arc::new(Silent),
            stop: CancellationToken::new(),
        };
        assert_eq!(Box::pin(sync.run()).await.status, Status::Ok);
    }

    fn context(&self) -> QueryContext {
        QueryContext::new(vec![self.lake()], None, Engine::Local, Queries::builtin().expect("built-in queries"))
    }
}

/// A source of fixed lines, which records what the shell does with it.
#[derive(Default)]
struct Script {
    lines: VecDeque<InputLine>,
    prompts: Vec<String>,
    history: Vec<String>,
    words: CompletionWords,
}

impl Script {
    fn of(lines: &[&str]) -> Self {
        Self { lines: lines.iter().map(|line| InputLine::Text((*line).to_owned())).collect(), ..Self::default() }
    }
}

impl LineSource for Script {
    async fn read_line(&mut self, prompt: &str) -> InputLine {
        self.prompts.push(prompt.trim().to_owned());
        self.lines.pop_front().unwrap_or(InputLine::End)
    }

    fn add_to_history(&mut self, text: &str) {
        self.history.push(text.to_owned());
    }

    fn set_words(&mut self, words: CompletionWords) {
        self.words = words;
    }
}

/// Runs a script. Returns standard output and standard error.
async fn run_script(context: QueryContext, script: &mut Script) -> (String, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let target = Target { format: Format::Csv, file: None };
    let shell = Shell::new(context, target, Display::default(), Vec::new(), &mut out, &mut err);
    Box::pin(shell.repl(script, Interrupts::never())).await.expect("the shell ends without an error");
    (String::from_utf8(out).expect("text"), String::from_utf8(err).expect("text"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_of_several_lines_is_one_history_entry() {
    let world = World::new().await;
    let statement = "SELECT count(*) AS users\nFROM clerk_user -- all; of them\n;";
    let mut script = Script::of(&[statement, "", "exit", "no more"]);
    let (out, err) = run_script(world.context(), &mut script).await;
    assert_eq!(out, "users\n50\n");
    assert!(err.contains("querying ins_simulated") && err.contains("1 row\n"), "{err}");
    assert_eq!(script.prompts, ["clerk-lake>"; 3]);
    assert_eq!(script.history, [statement, "exit"]);
    assert_eq!(script.lines.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shell_continues_after_an_error() {
    let world = World::new().await;
    let mut script = Script::of(&["SELECT nothing; SELECT 2;", "\\y", "\\run nonsense", "SELECT 1 AS one;"]);
    let (out, err) = run_script(world.context(), &mut script).await;
    assert_eq!(out, "one\n1\n");
    for says in
        ["there is no column called \"nothing\"", "there is no command \\y", "there is no query called \"nonsense\""]
    {
        assert!(err.contains(says), "{says}: {err}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_discards_the_typed_input() {
    let world = World::new().await;
    let mut script = Script::of(&["SELECT 2 AS two;"]);
    script.lines.insert(0, InputLine::Interrupted);
    let (out, _) = run_script(world.context(), &mut script).await;
    assert_eq!(out, "two\n2\n");
    assert_eq!(script.prompts.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_the_lake_can_be_completed() {
    let world = World::new().await;
    let mut script = Script::default();
    run_script(world.context(), &mut script).await;
    for typed in [
        "SELECT * FROM clerk_us",
        "SELECT email_verif",
        "SELECT 1 FROM sign_u",
        "\\run daily_act",
        "\\timi",
        "\\format parq",
    ] {
        assert!(!script.words.complete(typed, "").1.is_empty(), "{typed}: {:?}", script.words);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn results_go_to_the_chosen_file() {
    let world = World::new().await;
    let file = world.folder.path().join("rows.ndjson");
    let to = format!("\\o {}", file.display());
    let mut script =
        Script::of(&[&to, "SELECT 1 AS a; SELECT 2 AS a;", "\\o", "SELECT 3 AS a;", "\\timing", "SELECT 4;"]);
    let (out, err) = run_script(world.context(), &mut script).await;
    assert_eq!(std::fs::read_to_string(&file).expect("a file"), "{\"a\":1}\n{\"a\":2}\n");
    assert!(out.starts_with("a\n3\n"), "{out}");
    assert!(err.contains("1 row to ") && err.contains("1 row, "), "{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_reopens_the_lake_if_a_sync_has_replaced_its_files() {
    let world = World::new().await;
    let mut context = world.context();
    let query = Query::ad_hoc("SELECT count(DISTINCT id) AS users, count(DISTINCT username) AS names FROM clerk_user");
    let target = Target { format: Format::Csv, file: None };
    let parameters = Parameters::at(context.now());
    let mut out = Vec::new();
    let layout = TableLayout::default();
    context.print(&query, &parameters, (&target, &layout), false, &mut out).await.expect("a result");
    world.simulator.with_model(|model| {
        for _ in 0..5 {
            model.change(ChangeKind::CreateUser);
            model.change(ChangeKind::UpdateProfile);
        }
    });
    world.sync().await;
    context.print(&query, &parameters, (&target, &layout), false, &mut out).await.expect("a result from the new files");
    let printed = String::from_utf8(out).expect("text");
    let users: Vec<_> = printed.lines().filter_map(|line| line.split_once(',')).map(|(users, _)| users).collect();
    assert_eq!(users, ["users", "50", "users", "55"], "{printed}");
}
