//! What the pages name between backticks: commands, flags, environment variables and Cargo targets must exist.

use std::collections::BTreeSet;

use super::blocks::spans;
use super::settings::{Setting, commands};
use super::{pages, printed, root};
use crate::support::{files, program, stderr};

/// Fails if a `cargo` command names a test, benchmark or feature that does not exist.
pub fn cargo_targets_exist(command: &str) -> Result<(), String> {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).expect("Cargo.toml");
    let words: Vec<_> = command.split_whitespace().collect();
    for pair in words.windows(2) {
        let exists = match pair[0] {
            "--test" => root().join("tests").join(pair[1]).join("main.rs").exists(),
            "--bench" => manifest.contains(&format!("[[bench]]\nname = \"{}\"", pair[1])),
            "--features" => manifest.contains(&format!("\n{} = [", pair[1])),
            _ => true,
        };
        if !exists {
            return Err(format!("{command}: there is no {}", pair[1]));
        }
    }
    // A filter such as `--test it s3::cost` names modules.
    let filter = words.iter().position(|word| *word == "it").and_then(|at| words.get(at + 1));
    match filter.filter(|filter| !root().join(format!("tests/it/{}.rs", filter.replace("::", "/"))).exists()) {
        Some(filter) => Err(format!("{command}: there is no module {filter}")),
        None => Ok(()),
    }
}

/// Fails if clerk-lake does not accept the arguments of a command.
fn is_accepted(arguments: &str) -> Result<(), String> {
    let mut command = program(root());
    let done = command.args(arguments.split_whitespace()).arg("--help").output().expect("the program runs");
    if done.status.success() { Ok(()) } else { Err(format!("`{arguments}`: {}", stderr(&done))) }
}

fn check(span: &str, subcommands: &[String], flags: &BTreeSet<String>, sources: &str) -> Result<(), String> {
    let (first, rest) = span.split_once(' ').unwrap_or((span, ""));
    if span.starts_with("CLERK_") {
        let variable = span.split('=').next().unwrap_or_default();
        return if sources.contains(variable) { Ok(()) } else { Err(format!("there is no variable {variable}")) };
    }
    match first {
        "clerk-lake" => is_accepted(rest),
        "cargo" => cargo_targets_exist(span),
        _ if subcommands.iter().any(|it| it == first) && rest.starts_with("--") => is_accepted(span),
        _ if first.starts_with("--") => {
            let flag = first.split('=').next().unwrap_or_default();
            if flags.contains(flag) { Ok(()) } else { Err(format!("there is no flag {flag}")) }
        }
        path if ["src/", "tests/", "benches/", "queries/", ".ci/"].iter().any(|folder| path.starts_with(folder)) => {
            if root().join(path).exists() {
                Ok(())
            } else {
                Err(format!("there is no {path}"))
            }
        }
        _ => Ok(()),
    }
}

/// The text of all sources but these tests.
fn sources() -> String {
    let folders = ["src", "tests", "benches", ".ci"].map(|folder| files(&root().join(folder)));
    let others = folders.into_iter().flatten().filter(|(path, _)| !path.starts_with("it/docs"));
    others.map(|(_, content)| String::from_utf8_lossy(&content).into_owned()).collect()
}

#[test]
fn commands_flags_variables_and_files_between_backticks_exist() {
    let subcommands = commands();
    let settings = subcommands.iter().flat_map(|command| Setting::all_of(&printed(&[command, "--help"])));
    let flags: BTreeSet<_> = settings.map(|setting| setting.flag).collect();
    let sources = sources();
    let mut failures = Vec::new();
    let mut count = 0;
    for (path, page) in pages() {
        for span in spans(&page) {
            count += 1;
            failures.extend(check(span, &subcommands, &flags, &sources).err().map(|why| format!("{path}: {why}")));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(count > 200, "{count} spans");
    for wrong in [
        "clerk-lake sync --nonsense",
        "sync --lanes many",
        "--nonsense",
        "CLERK_LAKE_NONSENSE",
        "src/nonsense.rs",
        "cargo bench --bench nonsense",
        "cargo test --test it nonsense",
    ] {
        assert!(check(wrong, &subcommands, &flags, &sources).is_err(), "{wrong}");
    }
}
