//! docs/configuration.md has every flag and every environment variable, and docs/queries.md every built-in query.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{check_generated, page, printed};
use crate::support::{program, stderr};

/// A flag of a command, as its help describes it.
#[derive(Debug, PartialEq, Eq)]
pub struct Setting {
    /// Such as `--max-shrink`.
    pub flag: String,
    /// The environment variable that sets it, if there is one.
    pub variable: Option<String>,
}

impl Setting {
    /// Returns the flags in a help text.
    pub fn all_of(help: &str) -> Vec<Self> {
        let mut entries: Vec<String> = Vec::new();
        for line in help.lines() {
            let text = line.trim_start();
            if text.starts_with('-') && line.len() - text.len() < 10 {
                entries.push(text.to_owned());
            } else if let Some(entry) = entries.last_mut() {
                *entry = format!("{entry} {text}");
            }
        }
        entries.iter().filter_map(|entry| Self::of(entry)).collect()
    }

    fn of(entry: &str) -> Option<Self> {
        let is_flag = |word: &&str| word.starts_with("--") && word.len() > 3;
        let flag = entry.split([' ', '=', '[', ',', '.']).find(is_flag)?.to_owned();
        let variable = entry.split_once("[env: ").and_then(|(_, rest)| rest.split('=').next());
        Some(Self { flag, variable: variable.map(str::to_owned) })
    }

    /// The variable that follows the pattern: `CLERK_LAKE_MAX_SHRINK` for `--max-shrink`.
    fn usual_variable(&self) -> String {
        format!("CLERK_LAKE_{}", self.flag.trim_start_matches('-').replace('-', "_").to_uppercase())
    }
}

/// Returns the names of all commands.
pub fn commands() -> Vec<String> {
    let help = printed(&["--help"]);
    let (_, rest) = help.split_once("Commands:\n").expect("a list of commands");
    let names = rest.lines().take_while(|line| !line.is_empty()).filter_map(|line| line.split_whitespace().next());
    let names: Vec<_> = names.filter(|name| *name != "help").map(str::to_owned).collect();
    assert!(names.len() >= 8, "{names:?}");
    names
}

#[test]
fn every_setting_and_every_variable_is_documented() {
    let page = page("docs/configuration.md");
    let of_sync = page.split_once("## Settings of `sync`").and_then(|(_, rest)| rest.split("\n## ").next());
    let of_sync = of_sync.expect("the settings of sync");
    let mut missing = BTreeSet::new();
    let mut variables = BTreeSet::new();
    for command in commands() {
        for setting in Setting::all_of(&printed(&[&command, "--help"])) {
            if matches!(setting.flag.as_str(), "--help" | "--version") {
                continue;
            }
            let has = |text: &str| page.contains(&format!("`{text}`")) || page.contains(&format!("`{text} "));
            let has_row =
                |flag: &str| of_sync.contains(&format!("\n| `{flag}` |")) || of_sync.contains(&format!("\n| `{flag} "));
            if !has(&setting.flag) {
                missing.insert(format!("{command} {}", setting.flag));
            }
            // The page says once that each flag of `sync` has its usual variable.
            if let Some(variable) = &setting.variable {
                variables.insert(variable.clone());
                let is_usual = *variable == setting.usual_variable() && has_row(&setting.flag);
                if !is_usual && !has(variable) {
                    missing.insert(variable.clone());
                }
            }
        }
    }
    assert!(variables.len() > 25, "{variables:?}");
    assert!(missing.is_empty(), "docs/configuration.md does not have {missing:?}");
}

#[test]
fn every_flag_is_a_setting_of_the_settings_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("settings.toml");
    let flags = commands().into_iter().flat_map(|command| Setting::all_of(&printed(&[&command, "--help"])));
    let of_files = flags.map(|setting| setting.flag.trim_start_matches('-').replace('-', "_"));
    let names: BTreeSet<_> = of_files.filter(|name| !matches!(name.as_str(), "help" | "version")).collect();
    assert!(names.len() > 40, "{names:?}");
    for name in names {
        std::fs::write(&file, format!("{name} = \"1\"\n")).expect("a file");
        let mut command = program(directory.path());
        let run = command.arg("--config").arg(&file).args(["query", "--list"]).output().expect("the program runs");
        let messages = stderr(&run);
        // A key of any kind has no place in a file, and a file cannot name another one.
        assert_eq!(messages.contains("does not belong in a file"), name == "simulated_key", "{name}: {messages}");
        assert_eq!(messages.contains("there is no setting called"), name == "config", "{name}: {messages}");
    }
}

/// The built-in queries as a table.
fn queries() -> String {
    let queries: Value = serde_json::from_str(&printed(&["query", "--list", "--format", "json"])).expect("JSON");
    let rows: String = queries.as_array().expect("a list").iter().map(row).collect();
    format!("| query | result | parameters |\n|---|---|---|\n{rows}")
}

fn row(query: &Value) -> String {
    let parameters = query["parameters"].as_array().expect("a list").iter();
    let parameters: Vec<_> = parameters
        .map(|it| format!("`{}`: {}, from {} to {}", text(&it["name"]), it["default"], it["least"], it["most"]))
        .collect();
    let description = text(&query["description"]).replace('|', "\\|");
    format!("| `{}` | {description} | {} |\n", text(&query["name"]), parameters.join("; "))
}

fn text(value: &Value) -> &str {
    value.as_str().expect("text")
}

#[test]
fn every_built_in_query_is_documented() {
    let queries = queries();
    assert!(queries.contains("\n| `retention` |"), "{queries}");
    check_generated("docs/queries.md", "queries", &queries);
}

#[test]
fn flags_and_variables_are_read_from_a_help_text() {
    let help = "Options:\n      --full\n          Read all\n\n          [env:\n          CLERK_LAKE_FULL=]\n  -v, --verbose...  More\n      \
        --feed[=<BOOL>]\n          --feed=false turns it off [env: X=]\n";
    let setting =
        |flag: &str, variable: Option<&str>| Setting { flag: flag.into(), variable: variable.map(str::to_owned) };
    let wanted = [setting("--full", Some("CLERK_LAKE_FULL")), setting("--verbose", None), setting("--feed", Some("X"))];
    assert_eq!(Setting::all_of(help), wanted);
    assert_eq!(setting("--max-shrink", None).usual_variable(), "CLERK_LAKE_MAX_SHRINK");
}
