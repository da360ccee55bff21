//! README and `docs/` say what the program does: their examples are run, and what they name exists.
//!
//! `CLERK_LAKE_BLESS=1 cargo test --test it docs` writes the output in `console` blocks and the generated parts again;
//! read the diff.

mod blocks;
mod compare;
mod examples;
mod exceptions;
mod mentions;
mod sandbox;
pub mod settings;

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use tokio::task::JoinSet;

use crate::support::{files, is_blessing, program, stdout};
use exceptions::{NOT_RUN, Reason, replacements};
use sandbox::Prepared;

const HOW: &str = "write it with CLERK_LAKE_BLESS=1 cargo test --test it docs, and read the diff";

/// The root of the project.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns the text of the page called `name`.
fn page(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// All pages that describe the program as it is: their names and texts.
fn pages() -> Vec<(String, String)> {
    let mut names = vec!["README.md".to_owned(), "CONTRIBUTING.md".to_owned()];
    let docs = files(&root().join("docs")).into_iter().map(|(path, _)| format!("docs/{}", path.display()));
    names.extend(docs.filter(|name| Path::new(name).extension().is_some_and(|it| it == "md")));
    assert!(names.len() > 8, "{names:?}");
    names.into_iter().map(|name| (name.clone(), page(&name))).collect()
}

/// What the program prints to standard output.
fn printed(arguments: &[&str]) -> String {
    stdout(&program(root()).args(arguments).output().expect("the program runs"))
}

/// Only one test at a time writes to a page.
static WRITING: Mutex<()> = Mutex::new(());

/// Changes the page called `name`.
fn rewrite(name: &str, change: impl FnOnce(&str) -> String) {
    let _one_at_a_time = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
    std::fs::write(root().join(name), change(&page(name))).expect("the page can be written");
}

/// Compares the part of a page between the comments `<!-- MARK:begin -->` and `<!-- MARK:end -->` with `generated`,
/// or writes it.
fn check_generated(name: &str, mark: &str, generated: &str) {
    let (begin, end) = (format!("<!-- {mark}:begin -->\n"), format!("<!-- {mark}:end -->\n"));
    let split = |page: &str| {
        let (before, rest) = page.split_once(&begin)?;
        let (there, after) = rest.split_once(&end)?;
        Some((before.to_owned(), there.to_owned(), after.to_owned()))
    };
    let (_, there, _) = split(&page(name)).unwrap_or_else(|| panic!("{name} does not have {begin} and {end}"));
    if is_blessing() {
        rewrite(name, |page| {
            let (before, _, after) = split(page).expect("the comments are still there");
            format!("{before}{begin}{generated}{end}{after}")
        });
        return;
    }
    let differing = there.lines().zip(generated.lines()).find(|(there, generated)| there != generated);
    assert!(differing.is_none(), "{name} and the program differ: {differing:?}; {HOW}");
    assert!(there == generated, "{name} and the program differ in length; {HOW}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_example_runs_and_prints_what_the_page_shows() {
    let prepared = Prepared::new().await;
    let mut checks = JoinSet::new();
    for (name, text) in pages() {
        let sandbox = prepared.sandbox().await;
        checks.spawn_blocking(move || (examples::check_page(&name, &text, sandbox), name));
    }
    let mut failures = Vec::new();
    while let Some(checked) = checks.join_next().await {
        let (checked, name) = checked.expect("a page that can be read");
        failures.extend(checked.failures);
        for block in checked.outdated {
            if is_blessing() {
                let fenced = |text: &str| format!("```console\n{text}```\n");
                rewrite(&name, |page| page.replacen(&fenced(&block.shown), &fenced(&block.printed), 1));
            } else {
                failures.push(format!("{}If that is right, {HOW}", block.failure));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[test]
fn every_exception_occurs_in_a_page() {
    let pages: String = pages().into_iter().map(|(_, text)| text).collect();
    let readers = page(".ci/interop_readers.py");
    for (entry, reason) in NOT_RUN {
        assert!(pages.contains(entry.trim_end_matches('…')), "no page has {entry}");
        match reason {
            Reason::Interop(text) => assert!(readers.contains(text), ".ci/interop_readers.py does not have {text}"),
            Reason::Because(why) => assert!(!why.is_empty()),
        }
    }
    for replacement in replacements("", "") {
        assert!(pages.contains(replacement.shown), "no page has {}", replacement.shown);
    }
}

#[test]
fn the_tables_are_documented_as_the_program_describes_them() {
    let printed = printed(&["schema", "--format", "markdown"]);
    assert!(printed.contains("### `clerk_user`"), "{printed}");
    check_generated("docs/tables.md", "schema", &printed);
}

#[test]
fn the_readme_is_short() {
    let lines = page("README.md").lines().count();
    assert!(lines <= 150, "{lines} lines");
}

#[test]
fn every_link_to_a_file_leads_to_one() {
    for (name, text) in pages().into_iter().chain([("CHANGELOG.md".to_owned(), page("CHANGELOG.md"))]) {
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = target.split('#').next().unwrap_or_default();
            if file.is_empty() || target.contains("://") {
                continue;
            }
            let path = root().join(&name).parent().expect("a folder").join(file);
            assert!(path.exists(), "{name} links to {target}, which is not there");
        }
    }
}
