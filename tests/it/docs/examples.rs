//! Runs the fenced blocks of a page.
//!
//! | language | must |
//! |---|---|
//! | `sh` | run: each command exits with 0; what `# writes FILE` names is there afterwards |
//! | `console` | run, and print what the page shows: see [`compare`](super::compare) |
//! | `sql` | run with `clerk-lake query`; with a header, as a query of one's own |
//! | `toml` | be a settings file with which `clerk-lake sync` succeeds |
//! | `cron` | be a schedule, and a command that runs |
//! | `json` | have the fields of `clerk-lake sync --json` |
//! | `text` | be paths of files that are there, or lines that [`NOT_RUN`] explains |
//!
//! All other languages fail. So do commands of programs other than [`PROGRAMS`], unless [`NOT_RUN`] explains them.

use std::process::{Command, Stdio};

use serde_json::Value;

use super::blocks::{Block, blocks};
use super::compare::{is_same, refreshed};
use super::exceptions::{NOT_RUN, Reason};
use super::mentions::cargo_targets_exist;
use super::root;
use super::sandbox::Sandbox;

/// The programs that are run.
const PROGRAMS: [&str; 3] = ["clerk-lake", "curl", "ls"];

/// What came of a page.
pub struct Checked {
    /// The blocks that do not work.
    pub failures: Vec<String>,
    /// The blocks that show other output than what is printed.
    pub outdated: Vec<Outdated>,
}

/// A block that shows other output than what is printed.
pub struct Outdated {
    pub failure: String,
    pub shown: String,
    pub printed: String,
}

/// Runs all blocks of the page called `name`, in their order and in one directory.
pub fn check_page(name: &str, page: &str, mut sandbox: Sandbox) -> Checked {
    let mut checked = Checked { failures: Vec::new(), outdated: Vec::new() };
    for block in blocks(page) {
        match check(&block, &mut sandbox) {
            Ok(None) => {}
            Ok(Some(printed)) => {
                let failure = failure(name, &block, &format!("prints this instead:\n{printed}"));
                checked.outdated.push(Outdated { failure, shown: block.text, printed });
            }
            Err(why) => checked.failures.push(failure(name, &block, &why)),
        }
    }
    checked
}

fn failure(name: &str, block: &Block, why: &str) -> String {
    format!("{name}, line {}: the {} block: {why}", block.line, block.language)
}

/// Checks a block. Returns its text as it should be if only the output that it shows differs.
fn check(block: &Block, sandbox: &mut Sandbox) -> Result<Option<String>, String> {
    let text = block.text.as_str();
    match block.language.as_str() {
        "sh" => commands(text)?.iter().try_for_each(|command| check_command(command, sandbox)).map(|()| None),
        "console" => check_console(text, sandbox).map(|shown| Some(shown).filter(|shown| shown != text)),
        "sql" => check_sql(text, block.line, sandbox).map(|()| None),
        "toml" => {
            sandbox.write("example.toml", text);
            sandbox.run("clerk-lake sync --config example.toml").map(|_| None)
        }
        "cron" => text.lines().try_for_each(|line| check_cron(line, sandbox)).map(|()| None),
        "json" => check_summary(text, sandbox).map(|()| None),
        "text" => text.lines().try_for_each(|line| check_text(line, sandbox)).map(|()| None),
        _ => Err("this language is not tested: see tests/it/docs/examples.rs".to_owned()),
    }
}

/// Splits a block into commands. A command goes on over several lines where `sh` says that it is incomplete.
fn commands(text: &str) -> Result<Vec<String>, String> {
    let mut commands = Vec::new();
    let mut open = String::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        open.push_str(line);
        if is_complete(&open) {
            commands.push(std::mem::take(&mut open));
        } else {
            open.push('\n');
        }
    }
    if open.is_empty() { Ok(commands) } else { Err(format!("this is not a complete command: {open}")) }
}

fn is_complete(command: &str) -> bool {
    let mut check = Command::new("sh");
    check.args(["-n", "-c", command]).stdin(Stdio::null()).stderr(Stdio::null());
    !command.ends_with('\\') && check.status().expect("sh runs").success()
}

fn without_comment(command: &str) -> &str {
    command.split(" # ").next().unwrap_or_default().trim_end()
}

/// Returns `command` from the name of the program on.
fn without_assignments(command: &str) -> &str {
    let mut rest = command;
    while let Some((first, after)) = rest.split_once(' ').filter(|(first, _)| first.contains('=')) {
        let name = first.split('=').next().unwrap_or_default();
        if !name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_') {
            break;
        }
        rest = after.trim_start();
    }
    rest
}

/// Returns why an example is not run, or `None` if it has to be run.
fn reason(example: &str) -> Option<Reason> {
    let is_meant = |entry: &str| match entry.strip_suffix('…') {
        Some(start) => example.starts_with(start),
        None => example == entry,
    };
    NOT_RUN.iter().find(|(entry, _)| is_meant(entry)).map(|(_, reason)| *reason)
}

/// Runs a command, or checks what can be checked if it is not to be run.
fn check_command(command: &str, sandbox: &mut Sandbox) -> Result<(), String> {
    let bare = without_comment(command);
    let from_program = without_assignments(bare);
    let program = from_program.split(' ').next().unwrap_or_default();
    if reason(from_program).is_some() {
        return match program {
            "clerk-lake" => sandbox.run(&format!("{bare} --help")).map(drop),
            "cargo" => cargo_targets_exist(from_program),
            path if path.contains('/') && !root().join(path).exists() => Err(format!("there is no {path}")),
            _ => Ok(()),
        };
    }
    if program == "export" {
        sandbox.export(bare);
        return Ok(());
    }
    run(command, program, sandbox).map(drop)
}

/// Runs a command and returns what it prints.
fn run(command: &str, program: &str, sandbox: &Sandbox) -> Result<String, String> {
    if !PROGRAMS.contains(&program) {
        return Err(format!("{program} is not run: see tests/it/docs/exceptions.rs"));
    }
    let is_missing = program == "curl" && sandbox.run("command -v curl").is_err();
    let printed = if is_missing { String::new() } else { sandbox.run(command)? };
    let written = command.split_once("# writes ").and_then(|(_, rest)| rest.split(' ').next());
    match written.filter(|file| !sandbox.has(file)) {
        Some(file) => Err(format!("{command}\ndoes not write {file}")),
        None => Ok(printed),
    }
}

/// Runs the commands after `$ `. Returns the block with the output that they print.
fn check_console(text: &str, sandbox: &Sandbox) -> Result<String, String> {
    let entries = format!("\n{text}");
    let mut entries = entries.split("\n$ ");
    if entries.next().is_some_and(|before| !before.is_empty()) {
        return Err("the first line is not a command: start it with `$ `".to_owned());
    }
    let mut found = Vec::new();
    for entry in entries {
        let (command, shown) = entry.split_once('\n').unwrap_or((entry, ""));
        let program = without_assignments(command).split(' ').next().unwrap_or_default();
        let printed = match program {
            // A reader sees what a terminal shows.
            "clerk-lake" if command.contains("clerk-lake query ") => sandbox.run_on_terminal(command)?,
            _ => run(command, program, sandbox)?,
        };
        found.push(format!("$ {command}\n{}", refreshed(shown, &printed)));
    }
    Ok(found.concat())
}

/// Runs SQL over the lake; with a header, as a file in a folder of queries.
fn check_sql(text: &str, line: usize, sandbox: &Sandbox) -> Result<(), String> {
    if reason(text).is_some() {
        return Ok(());
    }
    let name = format!("example_{line}");
    sandbox.write(&format!("my-queries/{name}.sql"), text);
    let command = if text.starts_with("-- title:") {
        format!("clerk-lake query --queries my-queries --name {name}")
    } else {
        format!("clerk-lake query --file my-queries/{name}.sql")
    };
    sandbox.run(&command).map(drop)
}

fn check_cron(line: &str, sandbox: &mut Sandbox) -> Result<(), String> {
    let mut command = line;
    for _ in 0..5 {
        let field;
        (field, command) = command.split_once(' ').ok_or("too few fields")?;
        if field.is_empty() || !field.bytes().all(|byte| byte.is_ascii_digit() || b"*/,-".contains(&byte)) {
            return Err(format!("{field} is no field of a schedule"));
        }
        command = command.trim_start();
    }
    check_command(command, sandbox)
}

/// Compares the names and types of all fields with those that `sync --json` prints.
fn check_summary(text: &str, sandbox: &Sandbox) -> Result<(), String> {
    let printed = sandbox.run("clerk-lake sync --json")?;
    let of =
        |text: &str| serde_json::from_str(text).map(|document| fields(&document)).map_err(|error| error.to_string());
    let (shown, printed) = (of(text)?, of(&printed)?);
    if shown == printed { Ok(()) } else { Err(format!("shows\n{shown}\nbut the fields are\n{printed}")) }
}

/// Describes a document by the names and types of its fields, in their order. A list is its first element.
fn fields(value: &Value) -> String {
    match value {
        Value::Object(object) => {
            let fields: Vec<_> = object.iter().map(|(name, value)| format!("{name}: {}", fields(value))).collect();
            format!("{{{}}}", fields.join(", "))
        }
        Value::Array(values) => format!("[{}]", values.first().map(fields).unwrap_or_default()),
        Value::String(_) => "text".to_owned(),
        Value::Number(_) => "number".to_owned(),
        Value::Bool(_) => "boolean".to_owned(),
        Value::Null => "null".to_owned(),
    }
}

fn check_text(line: &str, sandbox: &Sandbox) -> Result<(), String> {
    let is_path = || sandbox.files().iter().any(|file| is_same(line, file));
    if reason(line).is_some() || is_path() { Ok(()) } else { Err(format!("{line} is no file of the lake")) }
}

#[test]
fn commands_are_split_and_named() {
    let text =
        "# a comment\nexport A=b\n\nclerk-lake query \"SELECT 1\n  FROM x\"   # more\nA=1 B=c cargo \\\n  test\n";
    let found = commands(text).expect("complete commands");
    assert_eq!(found, ["export A=b", "clerk-lake query \"SELECT 1\n  FROM x\"   # more", "A=1 B=c cargo \\\n  test"]);
    assert!(commands("clerk-lake query \"SELECT\n").is_err());
    assert_eq!(without_comment(&found[1]), "clerk-lake query \"SELECT 1\n  FROM x\"");
    assert_eq!(without_assignments(&found[2]), "cargo \\\n  test");
    assert_eq!(without_assignments("clerk-lake query a=b"), "clerk-lake query a=b");
}
