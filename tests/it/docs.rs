//! README and `docs/` say what the program does.
//!
//! `CLERK_LAKE_BLESS=1 cargo test --test it docs` writes the generated parts again; read the diff.

use std::path::{Path, PathBuf};

use crate::support::{files, is_blessing, program, stdout};

const BEGIN: &str = "<!-- schema:begin -->\n";
const END: &str = "<!-- schema:end -->\n";

/// The root of the project.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All pages, with their text.
fn pages() -> Vec<(PathBuf, String)> {
    let in_root = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(|name| root().join(name));
    let mut pages: Vec<_> =
        in_root.into_iter().map(|path| (path.clone(), std::fs::read_to_string(path).expect("a page"))).collect();
    let docs =
        files(&root().join("docs")).into_iter().filter(|(path, _)| path.extension().is_some_and(|it| it == "md"));
    pages.extend(docs.map(|(path, text)| (root().join("docs").join(path), String::from_utf8(text).expect("text"))));
    assert!(pages.len() > 8, "{} pages", pages.len());
    pages
}

/// What the program prints to standard output.
fn printed(arguments: &[&str]) -> String {
    stdout(&program(root()).args(arguments).output().expect("the program runs"))
}

#[test]
fn the_tables_are_documented_as_the_program_describes_them() {
    const HOW: &str = "write it with CLERK_LAKE_BLESS=1 cargo test --test it docs, and read the diff";
    let path = root().join("docs/tables.md");
    let page = std::fs::read_to_string(&path).expect("the page");
    let (before, rest) = page.split_once(BEGIN).expect("where the tables begin");
    let (there, after) = rest.split_once(END).expect("where the tables end");
    let printed = printed(&["schema", "--format", "markdown"]);
    assert!(printed.contains("### `clerk_user`"), "{printed}");
    if is_blessing() {
        std::fs::write(&path, format!("{before}{BEGIN}{printed}{END}{after}")).expect("the page can be written");
        return;
    }
    let differing = there.lines().zip(printed.lines()).find(|(there, printed)| there != printed);
    assert!(differing.is_none(), "docs/tables.md and the program differ: {differing:?}; {HOW}");
    assert!(there == printed, "docs/tables.md and the program differ in length; {HOW}");
}

#[test]
fn the_readme_is_short() {
    let lines = std::fs::read_to_string(root().join("README.md")).expect("the README").lines().count();
    assert!(lines <= 150, "{lines} lines");
}

#[test]
fn every_link_to_a_file_leads_to_one() {
    for (page, text) in pages() {
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = target.split('#').next().unwrap_or_default();
            if file.is_empty() || target.contains("://") {
                continue;
            }
            let path = page.parent().expect("a folder").join(file);
            assert!(path.exists(), "{} links to {target}, which is not there", page.display());
        }
    }
}

#[test]
fn every_setting_of_a_sync_is_documented() {
    let page = std::fs::read_to_string(root().join("docs/configuration.md")).expect("the page");
    let help = printed(&["sync", "--help"]);
    let is_flag = |word: &&str| word.starts_with("--") && word.len() > 3;
    let lines = help.lines().map(str::trim).filter(|line| line.starts_with('-'));
    let flags: Vec<_> = lines.filter_map(|line| line.split([' ', '=', '[', ',', '.']).find(is_flag)).collect();
    assert!(flags.len() > 15, "{flags:?}");
    for flag in flags {
        let is_everywhere = matches!(flag, "--help" | "--version" | "--verbose" | "--config");
        assert!(is_everywhere || page.contains(&format!("`{flag}")), "docs/configuration.md does not have {flag}");
    }
}
