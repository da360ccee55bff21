//! Queries and the shell on a real terminal: what a person types and sees.
//!
//! `CLERK_LAKE_BLESS=1 cargo test --test it terminal` rewrites the transcripts. Read the diff.

use std::path::Path;
use std::process::Command;

use crate::command_line::{compare_with_golden, without_duration};
use crate::errors::small;
use crate::support::terminal::{CTRL_C, CTRL_D, ENTER, PseudoTerminal, TAB, UP};
use crate::support::{World, output, stderr, stdout};

const PROMPT: &str = "clerk-lake> ";

async fn synced() -> World {
    let world = small().await;
    assert_eq!(world.run(&["sync"]).await.status.code(), Some(0));
    world
}

/// Runs `act` with a terminal on which `command` runs, on a thread of its own.
async fn on_terminal<T: Send + 'static>(
    command: Command,
    columns: u16,
    act: impl FnOnce(&mut PseudoTerminal) -> T + Send + 'static,
) -> T {
    let act = move || act(&mut PseudoTerminal::start(&command, columns));
    tokio::task::spawn_blocking(act).await.expect("the thread ends")
}

/// Returns what `query` with these arguments writes to a terminal, and its exit code.
async fn shown(world: &World, arguments: &[&str], columns: u16) -> (String, u32) {
    let command = world.command(&[&["query"][..], arguments].concat());
    on_terminal(command, columns, |terminal| {
        let code = terminal.exit_code();
        (terminal.written(), code)
    })
    .await
}

/// Returns the command of a shell without a pager.
fn shell(world: &World) -> Command {
    let mut command = world.command(&["query"]);
    command.env("PAGER", "").env("NO_COLOR", "1").env("HOME", world.directory.path());
    command
}

/// Types statements and commands, each after the prompt, and leaves the shell with Ctrl-D. Returns the screen.
async fn session(command: Command, columns: u16, lines: &[&str]) -> String {
    let lines: Vec<_> = lines.iter().map(|line| (*line).to_owned()).collect();
    on_terminal(command, columns, move |terminal| {
        for (line, number) in lines.iter().zip(1..) {
            terminal.wait_for_prompt(PROMPT, number);
            terminal.press(&format!("{line}{ENTER}"));
        }
        terminal.wait_for_prompt(PROMPT, lines.len() + 1);
        terminal.press(CTRL_D);
        assert_eq!(terminal.exit_code(), 0);
        terminal.screen()
    })
    .await
}

/// Compares a session with the golden text `name`.
fn check_transcript(name: &str, screen: &str) {
    let text: String = screen.lines().map(|line| without_duration(line) + "\n").collect();
    let text = text.replace(env!("CARGO_PKG_VERSION"), "<version>");
    compare_with_golden(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/terminal").join(name), &text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_shows_results_descriptions_and_errors() {
    let world = synced().await;
    std::fs::write(world.directory.path().join("strange.csv"), "a\u{1b}[2J,b\n1,2\n").expect("a file");
    let lines = [
        "SELECT count(*) AS users,\r  'it''s; so' AS text\rFROM clerk_user;",
        "SELECT 1 AS a; SELECT NULL AS a, 'NULL' AS b;",
        "SELECT value AS n, value * 1.5 AS half FROM generate_series(1, 100);",
        "\\maxrows 4",
        "SELECT value AS n, 'row ' || value AS name FROM generate_series(1, 100);",
        "\\x",
        "SELECT 1 AS one, 'a' || chr(10) || 'b' AS lines, NULL AS nothing;",
        "\\x off",
        "\\d clerk_activity_day",
        "\\d 'strange.csv'",
        "\\run users",
        "SELECT 1 + ;",
        "\\nonsense",
        "SELECT 'still here' AS shell;",
        "\\?",
    ];
    check_transcript("shell.txt", &session(shell(&world), 90, &lines).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_are_cut_or_left_out_to_fit_the_terminal() {
    let world = synced().await;
    let sql = "SELECT *, repeat('long ', 40) AS text, 1234567890123456 AS number FROM clerk_user ORDER BY id";
    for columns in [40, 80, 132] {
        let (text, code) = shown(&world, &[sql], columns).await;
        assert_eq!(code, 0, "{text}");
        let width = |line: &str| unicode_width::UnicodeWidthStr::width(line.trim_end_matches('\r'));
        let plain = text.replace("\u{1b}[2m", "").replace("\u{1b}[0m", "");
        let mut table = plain.lines().filter(|line| line.starts_with(['|', '+']));
        assert!(table.all(|line| width(line) == width(plain.lines().next().unwrap_or_default())), "{columns}: {plain}");
        assert!(width(plain.lines().next().unwrap_or_default()) <= usize::from(columns), "{columns}: {plain}");
        assert!(
            plain.contains("| … |") && plain.contains(" shown)") && plain.contains("50 rows (40 shown)"),
            "{plain}"
        );
        assert!(plain.contains(" 1234567890123456 |"), "a number is never cut: {plain}");
    }
    let piped = stdout(&world.run(&["query", sql, "--format", "table", "--max-rows", "0"]).await);
    assert!(!piped.contains('…') && piped.ends_with("\n50 rows\n"), "{piped}");
    assert!(piped.contains(&"long ".repeat(40).trim_end().to_owned()), "{piped}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_gets_a_table_and_everything_else_csv() {
    let world = synced().await;
    let (text, _) = shown(&world, &["SELECT 1 AS a"], 80).await;
    assert!(text.starts_with("+---+\r\n| a |\r\n+---+\r\n| 1 |\r\n+---+\r\n1 row, 0."), "{text}");
    assert_eq!(stdout(&world.run(&["query", "SELECT 1 AS a"]).await), "a\n1\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn null_is_dimmed_unless_colors_are_off() {
    let world = synced().await;
    let sql = "SELECT CAST(NULL AS VARCHAR) AS a, 'NULL' AS b";
    let (text, _) = shown(&world, &[sql], 80).await;
    assert!(text.contains("| \u{1b}[2mNULL\u{1b}[0m | NULL |"), "{text}");
    for (name, value) in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        let mut command = world.command(&["query", sql]);
        command.env(name, value);
        let text = on_terminal(command, 80, |terminal| (terminal.exit_code(), terminal.written()).1).await;
        assert!(text.contains("| NULL | NULL |"), "{name}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_is_printed_steers_a_terminal() {
    let world = synced().await;
    let name = "chr(27) || ']0;title' || chr(7) || chr(27) || '[2J' || chr(155) || chr(127) || chr(8238)";
    let sql = format!("SELECT {name} AS name, 1 AS \"co\u{1b}[31mlumn\"");
    let controls = |text: &str| text.contains(['\u{1b}', '\u{7}', '\u{9b}', '\u{7f}', '\u{202e}']);
    for format in ["table", "csv", "json", "ndjson"] {
        let mut command = world.command(&["query", &sql, "--format", format]);
        command.env("NO_COLOR", "1");
        let text = on_terminal(command, 200, |terminal| (terminal.exit_code(), terminal.written()).1).await;
        assert!(!controls(&text), "{format}: {text:?}");
        assert!(text.contains("\\u001b]0;title\\u0007") && text.contains("\\u202e"), "{format}: {text}");
    }
    let exact = stdout(&world.run(&["query", &sql, "--format", "csv"]).await);
    assert_eq!(exact.lines().nth(1), Some("\u{1b}]0;title\u{7}\u{1b}[2J\u{9b}\u{7f}\u{202e},1"));
    let (text, code) = shown(&world, &["SELECT \"\u{1b}]0;title\u{7}\""], 80).await;
    assert!(code == 7 && !controls(&text), "{text:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_cancels_the_statement_or_discards_the_input_and_ctrl_d_leaves() {
    let world = synced().await;
    let screen = on_terminal(shell(&world), 100, |terminal| {
        terminal.wait_for_prompt(PROMPT, 1);
        terminal.press(&format!("SELECT 'half a{ENTER}"));
        terminal.wait_for("\n");
        terminal.press(CTRL_C);
        terminal.wait_for_prompt(PROMPT, 2);
        let endless =
            "SELECT sum(a.value * b.value % 7) AS n FROM generate_series(1,9000000) a, generate_series(1,9000000) b;";
        terminal.press(&format!("{endless}{ENTER}"));
        terminal.wait_for("\n");
        // The editor gives the terminal back before the statement runs: until then, Ctrl-C would be a typed key.
        std::thread::sleep(std::time::Duration::from_millis(300));
        terminal.press(CTRL_C);
        terminal.wait_for("cancelled");
        terminal.wait_for_prompt(PROMPT, 3);
        terminal.press(&format!("SELECT 6 * 7 AS answer;{ENTER}"));
        terminal.wait_for("|     42 |");
        terminal.wait_for_prompt(PROMPT, 4);
        terminal.press(CTRL_D);
        assert_eq!(terminal.exit_code(), 0);
        terminal.screen()
    })
    .await;
    assert!(!screen.contains("error"), "{screen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_of_several_lines_is_completed_and_comes_back_as_a_whole() {
    let world = synced().await;
    on_terminal(shell(&world), 100, |terminal| {
        terminal.wait_for_prompt(PROMPT, 1);
        terminal.press(&format!("SELECT count(*) AS users{ENTER}FROM clerk_us{TAB}"));
        terminal.wait_for("clerk_user");
        terminal.press(&format!("{ENTER}WHERE username IS NULL OR tru{TAB}{ENTER};{ENTER}"));
        terminal.wait_for("|    50 |");
        terminal.wait_for_prompt(PROMPT, 2);
        terminal.press(UP);
        terminal.wait_for("username IS NULL OR true");
        terminal.press(ENTER);
        terminal.wait_for("|    50 |");
        terminal.wait_for_prompt(PROMPT, 3);
        terminal.press(&format!("\\d clerk_activity_d{TAB}{ENTER}"));
        terminal.wait_for("The UTC day");
        terminal.wait_for_prompt(PROMPT, 4);
        terminal.press(&format!("exit{ENTER}"));
        assert_eq!(terminal.exit_code(), 0);
    })
    .await;
    let history = std::fs::read_to_string(world.directory.path().join(".local/state/clerk-lake/history"));
    let history = history.expect("a history");
    let statement = "SELECT count(*) AS users\\nFROM clerk_user\\nWHERE username IS NULL OR true\\n;";
    assert_eq!(history.matches(statement).count(), 1, "{history}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shell_pages_its_output_unless_told_otherwise() {
    let world = synced().await;
    let paged = |pager: Option<&str>, arguments: &[&str]| {
        let mut command = world.command(&[&["query"][..], arguments].concat());
        command.env("HOME", world.directory.path()).env("NO_COLOR", "1").envs(pager.map(|pager| ("PAGER", pager)));
        session(command, 80, &["SELECT 1 AS a;"])
    };
    let with = paged(Some("sed 's/^/paged: /'"), &[]).await;
    assert!(with.contains("paged: | a |") && with.contains("paged: 1 row, "), "{with}");
    for (pager, arguments) in [(Some(""), &[][..]), (Some("sed 's/^/paged: /'"), &["--no-pager"])] {
        let without = paged(pager, arguments).await;
        assert!(without.contains("\n| a |\n") && !without.contains("paged"), "{without}");
    }
    let missing = paged(Some("no-such-pager"), &[]).await;
    assert!(missing.contains("there is no pager no-such-pager") && missing.contains("\n| a |\n"), "{missing}");
    // A pager that is left early stops the query, and the shell continues.
    let mut command = world.command(&["query"]);
    command.env("HOME", world.directory.path()).env("PAGER", "head -2");
    let lines = ["\\format csv", "SELECT value FROM generate_series(1, 100000000);", "SELECT 'after' AS x;"];
    let left = session(command, 80, &lines).await;
    assert!(left.contains("value\n1\n") && left.contains("x\nafter\n") && !left.contains("error"), "{left}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_default_pager_leaves_a_short_result_on_the_screen() {
    if !Path::new("/usr/bin/less").exists() {
        return;
    }
    let world = synced().await;
    let mut command = world.command(&["query"]);
    command.env("HOME", world.directory.path()).env("NO_COLOR", "1");
    let screen = session(command, 80, &["SELECT 1 AS a;"]).await;
    assert!(screen.contains("| a |"), "{screen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_of_a_sync_is_shown_and_wiped_off() {
    let world = small().await;
    let text = on_terminal(world.command(&["sync"]), 100, |terminal| {
        assert_eq!(terminal.exit_code(), 0);
        (terminal.written(), terminal.screen())
    })
    .await;
    assert!(text.0.contains("users "), "{}", text.0);
    assert!(text.1.contains("user_activity            ok") && !text.1.contains("rows/s"), "{}", text.1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_whose_reader_has_gone_ends_at_once() {
    let world = synced().await;
    let sql = "SELECT a.value, md5(CAST(a.value AS VARCHAR)) AS m FROM generate_series(1, 20000) a \
        CROSS JOIN generate_series(1, 100000) b";
    for format in ["csv", "ndjson", "table"] {
        let mut shell = Command::new("sh");
        let command = world.command(&[]);
        shell.current_dir(world.directory.path()).env_clear();
        shell.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let program = command.get_program().to_string_lossy().into_owned();
        let rows = if format == "table" { "--max-rows 0" } else { "" };
        shell.arg("-c").arg(format!("{program} query --format {format} {rows} \"$1\" | head -1")).args(["sh", sql]);
        let begun = std::time::Instant::now();
        let done = output(shell).await;
        assert!(begun.elapsed().as_secs() < 20, "{format}: {:?}", begun.elapsed());
        assert_eq!((stdout(&done).lines().count(), stderr(&done)), (1, String::new()), "{format}");
    }
}
