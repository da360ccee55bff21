//! Conversations, line by line.

use std::collections::VecDeque;
use std::sync::Arc;

use clerk_lake::api::{Client, ClientConfig, RateLimit, SecretKey, parse_api_url};
use clerk_lake::clock::Clock;
use clerk_lake::lake::{Lake, Location};
use clerk_lake::query::{Catalogue, Engine};
use clerk_lake::simulator::{ChangeKind, Simulator, SimulatorConfig};
use clerk_lake::sync::{CancellationToken, Silent, Status, Sync, SyncOptions};
use tempfile::TempDir;

use super::*;

/// A simulated instance of 50 users, and a lake of it.
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
        let sync = Sync {
            client: Client::new(config).expect("a client"),
            lake: self.lake(),
            clock: Clock::system(),
            options: SyncOptions::default(),
            progress: Arc::new(Silent),
            stop: CancellationToken::new(),
        };
        assert_eq!(Box::pin(sync.run()).await.status, Status::Ok);
    }

    fn asking(&self) -> Asking {
        Asking::new(vec![self.lake()], None, Engine::Local, Catalogue::builtin().expect("a catalogue"))
    }
}

/// Lines that have been typed before.
#[derive(Default)]
struct Script {
    lines: VecDeque<Line>,
    prompts: Vec<String>,
    remembered: Vec<String>,
    words: Words,
}

impl Script {
    fn of(lines: &[&str]) -> Self {
        Self { lines: lines.iter().map(|line| Line::Text((*line).to_owned())).collect(), ..Self::default() }
    }
}

impl Lines for Script {
    async fn next(&mut self, prompt: &str) -> Line {
        self.prompts.push(prompt.trim().to_owned());
        self.lines.pop_front().unwrap_or(Line::End)
    }

    fn remember(&mut self, text: &str) {
        self.remembered.push(text.to_owned());
    }

    fn know(&mut self, words: Words) {
        self.words = words;
    }
}

/// What came of a conversation: what was printed, and what was said.
async fn conversation(asking: Asking, script: &mut Script) -> (String, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let target = Target { format: Format::Csv, file: None };
    let shell = Shell::new(asking, target, Vec::new(), &mut out, &mut err);
    Box::pin(shell.converse(script, Interrupts::none())).await.expect("a conversation");
    (String::from_utf8(out).expect("text"), String::from_utf8(err).expect("text"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_may_take_several_lines_and_its_history_is_one() {
    let world = World::new().await;
    let mut script =
        Script::of(&["SELECT count(*) AS users", "FROM clerk_user -- all; of them", ";", "exit", "no more"]);
    let (out, err) = conversation(world.asking(), &mut script).await;
    assert_eq!(out, "users\n50\n");
    assert!(err.contains("asking ins_simulated") && err.contains("1 row\n"), "{err}");
    assert_eq!(script.prompts, ["clerk-lake>", "->", "->", "clerk-lake>"]);
    assert_eq!(script.remembered, ["SELECT count(*) AS users\nFROM clerk_user -- all; of them\n;", "\\q"]);
    assert_eq!(script.lines.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_is_said_and_ends_nothing() {
    let world = World::new().await;
    let mut script = Script::of(&["SELECT nothing;", "\\x", "\\run nonsense", "SELECT 1 AS one;"]);
    let (out, err) = conversation(world.asking(), &mut script).await;
    assert_eq!(out, "one\n1\n");
    for says in ["No field named nothing", "there is no command \\x", "there is no query called \"nonsense\""] {
        assert!(err.contains(says), "{says}: {err}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interruption_drops_what_has_been_typed() {
    let world = World::new().await;
    let mut script = Script::of(&["SELECT 'half a", "SELECT 2 AS two;"]);
    script.lines.insert(1, Line::Interrupted);
    let (out, _) = conversation(world.asking(), &mut script).await;
    assert_eq!(out, "two\n2\n");
    assert_eq!(script.prompts, ["clerk-lake>", "'>", "clerk-lake>", "clerk-lake>"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_there_is_can_be_completed() {
    let world = World::new().await;
    let mut script = Script::default();
    conversation(world.asking(), &mut script).await;
    for typed in ["SELECT * FROM clerk_us", "SELECT email_verif", "\\run daily_act", "\\timi", "\\format parq"] {
        assert!(!script.words.completing(typed).1.is_empty(), "{typed}: {:?}", script.words);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn results_go_where_they_are_sent() {
    let world = World::new().await;
    let file = world.folder.path().join("rows.ndjson");
    let to = format!("\\o {}", file.display());
    let mut script =
        Script::of(&[&to, "SELECT 1 AS a; SELECT 2 AS a;", "\\o", "SELECT 3 AS a;", "\\timing", "SELECT 4;"]);
    let (out, err) = conversation(world.asking(), &mut script).await;
    assert_eq!(std::fs::read_to_string(&file).expect("a file"), "{\"a\":2}\n");
    assert!(out.starts_with("a\n3\n"), "{out}");
    assert!(err.contains("1 row to ") && err.contains("1 row, "), "{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_a_sync_has_replaced_are_asked_anew() {
    let world = World::new().await;
    let mut asking = world.asking();
    let query = Query::ad_hoc("SELECT count(DISTINCT id) AS users, count(DISTINCT username) AS names FROM clerk_user");
    let target = Target { format: Format::Csv, file: None };
    let parameters = Parameters::at(asking.now());
    let mut out = Vec::new();
    asking.print(&query, &parameters, &target, &mut out).await.expect("an answer");
    world.simulator.with_model(|model| {
        for _ in 0..5 {
            model.change(ChangeKind::CreateUser);
            model.change(ChangeKind::UpdateProfile);
        }
    });
    world.sync().await;
    asking.print(&query, &parameters, &target, &mut out).await.expect("an answer from what is there now");
    let printed = String::from_utf8(out).expect("text");
    let users: Vec<_> = printed.lines().filter_map(|line| line.split_once(',')).map(|(users, _)| users).collect();
    assert_eq!(users, ["users", "50", "users", "55"], "{printed}");
}
