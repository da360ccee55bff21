//! Which module may know which: the edges between the folders of `src/`, compared with those that are allowed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::support::files;

/// Every module and the modules of this crate that it uses. An edge more or less is a change of the design, and
/// is made here on purpose or not at all.
const ALLOWED: [(&str, &[&str]); 11] = [
    ("api", &["error"]),
    ("cli", &["api", "clock", "error", "lake", "query", "report", "resource", "simulator", "sync", "table"]),
    ("clock", &[]),
    ("error", &[]),
    ("lake", &["error", "table"]),
    ("query", &["error", "lake", "resource", "table"]),
    ("report", &["error", "lake", "query", "resource"]),
    ("resource", &["api", "table"]),
    ("simulator", &[]),
    ("sync", &["api", "clock", "error", "lake", "query", "resource", "table"]),
    ("table", &["error"]),
];

/// All that a resource may know of the way to Clerk: what it hands to a listing.
const KNOWN_TO_RESOURCES: [&str; 2] = ["api::Decoded", "api::RowKey"];

const HTTP: &[&str] = &["hyper", "hyper_util", "reqwest"];
const STORAGE: &[&str] = &["deltalake", "object_store", "parquet"];
const ROWS: &[&str] = &["arrow", "datafusion"];

/// The crates that a module must not name: what it must not know.
const FOREIGN: [(&str, &[&[&str]]); 8] = [
    ("api", &[STORAGE, ROWS]),
    ("clock", &[HTTP, STORAGE, ROWS]),
    ("lake", &[HTTP]),
    ("query", &[HTTP, STORAGE]),
    ("report", &[HTTP, STORAGE]),
    ("resource", &[HTTP, STORAGE]),
    ("simulator", &[STORAGE, ROWS]),
    ("table", &[HTTP, STORAGE]),
];

const LONGEST_FILE: usize = 420;

/// The files of `src/`, relative to it, with their text.
fn sources() -> Vec<(PathBuf, String)> {
    let sources = files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    let sources = sources.into_iter().filter(|(path, _)| path.extension().is_some_and(|it| it == "rs"));
    sources.map(|(path, text)| (path, String::from_utf8(text).expect("text"))).collect()
}

/// The module that a file of `src/` belongs to; none for the crates' roots, which only name modules.
fn module(path: &Path) -> Option<String> {
    let first = path.iter().next().unwrap_or_default().to_string_lossy();
    Some(first.trim_end_matches(".rs").to_owned()).filter(|name| name != "lib" && name != "main")
}

/// Each module with all paths in its code that begin at `root`, without it.
fn uses(root: &str) -> Vec<(String, PathBuf, String)> {
    let of_file = |(path, text): (PathBuf, String)| {
        let module = module(&path)?;
        let paths = paths(&code(&text), root);
        Some(paths.into_iter().map(move |used| (module.clone(), path.clone(), used)))
    };
    sources().into_iter().filter_map(of_file).flatten().collect()
}

/// `text` without its comments: a link in the documentation is no dependency.
fn code(text: &str) -> String {
    text.lines().filter(|line| !line.trim_start().starts_with("//")).flat_map(|line| [line, "\n"]).collect()
}

/// Every path in `code` that begins with `root::`, groups spelled out: `root::{a::B, c}` gives `a::B` and `c`.
fn paths(code: &str, root: &str) -> Vec<String> {
    let root = format!("{root}::");
    let begins = |at: usize| !code[..at].ends_with(|before: char| before.is_alphanumeric() || "_:".contains(before));
    let found = code.match_indices(&root).filter(|(at, _)| begins(*at));
    found.flat_map(|(at, _)| spelled_out(&code[at + root.len()..])).collect()
}

fn spelled_out(path: &str) -> Vec<String> {
    if let Some(group) = path.strip_prefix('{') {
        return members(group).into_iter().flat_map(|member| spelled_out(member.trim_start())).collect();
    }
    let end = path.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(path.len());
    let (name, rest) = path.split_at(end);
    let tails = rest.strip_prefix("::").map(spelled_out).unwrap_or_default();
    match (name, tails.is_empty()) {
        ("", _) => Vec::new(),
        (_, true) => vec![name.to_owned()],
        (_, false) => tails.into_iter().map(|tail| format!("{name}::{tail}")).collect(),
    }
}

/// The members of a group, which ends at its closing brace.
fn members(group: &str) -> Vec<&str> {
    let (mut depth, mut start, mut found) = (0, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            '}' => {
                found.push(&group[start..at]);
                break;
            }
            ',' if depth == 0 => {
                found.push(&group[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    found
}

/// The module that a path leads to; the crate's root gives the names of `error` as its own.
fn target(path: &str) -> &str {
    match path.split("::").next().unwrap_or_default() {
        "Error" | "ErrorKind" | "Result" => "error",
        module => module,
    }
}

/// The path of the module that a file of `src/` is: `lake::diff` for `lake/diff/mod.rs`.
fn module_path(path: &Path) -> Vec<String> {
    let stem = path.with_extension("");
    let parts = stem.iter().map(|part| part.to_string_lossy().into_owned());
    parts.filter(|part| part != "mod" && part != "lib").collect()
}

/// For each file of `src/`, by its module path, the files whose names it uses. The roots of the folders that it lies in
/// are not counted: what they declare is known to all files in the folder.
fn files_used() -> BTreeMap<Vec<String>, BTreeSet<Vec<String>>> {
    let sources: BTreeMap<_, _> = sources().into_iter().map(|(path, text)| (module_path(&path), code(&text))).collect();
    let used_by = |own: &Vec<String>, code: &str| {
        let parent = &own[..own.len().saturating_sub(1)];
        let children = sources.keys().filter(|it| it.len() == own.len() + 1 && it.starts_with(own));
        let children = children.map(|child| (child.last().expect("a name").as_str(), child.as_slice()));
        let roots = [("crate", &[][..]), ("super", parent), ("self", own.as_slice())].into_iter().chain(children);
        let parts = |path: String| path.split("::").map(str::to_owned).collect::<Vec<_>>();
        let used = |(root, base): (&str, &[String])| {
            paths(code, root).into_iter().map(|path| [base, &parts(path)].concat()).collect::<Vec<_>>()
        };
        let absolute = roots.flat_map(used);
        let file = |path: Vec<String>| (0..=path.len()).rev().find_map(|end| sources.get_key_value(&path[..end]));
        let files = absolute.filter_map(|path| file(path).map(|(file, _)| file.clone()));
        files.filter(|file| !own.starts_with(file)).collect::<BTreeSet<_>>()
    };
    sources.iter().map(|(own, code)| (own.clone(), used_by(own, code))).collect()
}

#[test]
fn no_files_use_each_other_in_a_circle() {
    let mut left = files_used();
    let path = |path: &str| path.split("::").map(str::to_owned).collect::<Vec<_>>();
    assert!(left[&path("sync::sessions::owners")].contains(&path("sync::sessions::due")), "what is used is found");
    assert!(left[&path("lake::diff")].contains(&path("lake::diff::comparison")), "what is used is found");
    // Whoever uses nobody that is left is in no circle.
    while let Some(free) = left.iter().find(|(_, used)| used.iter().all(|it| !left.contains_key(it))) {
        let free = free.0.clone();
        left.remove(&free);
    }
    let left: Vec<_> = left.keys().map(|file| file.join("::")).collect();
    assert!(left.is_empty(), "these files use each other, or files that do: {left:?}");
}

#[test]
fn paths_are_found_in_groups_and_not_in_comments() {
    let text = "//! [`crate::a`]\nuse crate::{b::{C, d::*}, e};\nuse crate::f;\n    /// crate::g\n\
        let h = crate::h::i::<J>();\nother_crate::k::l();";
    assert_eq!(paths(&code(text), "crate"), ["b::C", "b::d", "e", "f", "h::i"]);
}

#[test]
fn modules_know_each_other_as_allowed_and_no_further() {
    let allowed: BTreeSet<(String, String)> = ALLOWED
        .iter()
        .flat_map(|(module, known)| known.iter().map(|other| ((*module).to_owned(), (*other).to_owned())))
        .collect();
    let mut found = BTreeSet::new();
    for (module, path, used) in uses("crate").into_iter().chain(uses("clerk_lake")) {
        let edge = (module, target(&used).to_owned());
        if edge.0 != edge.1 {
            assert!(allowed.contains(&edge), "{} uses {used}: {} must not know {}", path.display(), edge.0, edge.1);
            found.insert(edge);
        }
    }
    let gone: Vec<_> = allowed.difference(&found).collect();
    assert!(gone.is_empty(), "nothing uses these any more, so they are no longer to be allowed: {gone:?}");
}

#[test]
fn every_module_has_its_place_in_the_architecture() {
    let there: BTreeSet<_> = sources().iter().filter_map(|(path, _)| module(path)).collect();
    let known: BTreeSet<_> = ALLOWED.iter().map(|(module, _)| (*module).to_owned()).collect();
    assert_eq!(there, known);
}

#[test]
fn nothing_reaches_around_the_roots_of_the_modules() {
    for (path, text) in sources() {
        let code = code(&text);
        assert!(!code.contains("super::super"), "{} climbs up: name the module from the crate", path.display());
        let is_root = path.components().count() == 1 || (path.components().count() == 2 && path.ends_with("mod.rs"));
        let beyond = paths(&code, "super");
        assert!(!is_root || beyond.is_empty(), "{} names {beyond:?} not from the crate", path.display());
    }
}

#[test]
fn resources_know_of_the_api_only_what_they_hand_to_a_listing() {
    for (module, path, used) in uses("crate") {
        if module == "resource" && target(&used) == "api" {
            assert!(KNOWN_TO_RESOURCES.contains(&used.as_str()), "{} uses {used}", path.display());
        }
    }
}

#[test]
fn modules_do_not_name_the_crates_that_are_none_of_their_business() {
    for (module, groups) in FOREIGN {
        for name in groups.iter().copied().flatten() {
            for (user, path, used) in uses(name) {
                assert!(user != module, "{} uses {name}::{used}: {module} must not know it", path.display());
            }
        }
    }
}

#[test]
fn no_file_is_too_long_to_read() {
    for (path, text) in sources() {
        let lines = text.lines().count();
        assert!(lines <= LONGEST_FILE, "{} has {lines} lines: make a folder of it", path.display());
    }
}
