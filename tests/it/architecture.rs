//! Compares the dependencies between the modules of `src/` with the allowed ones.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::support::files;

/// Each module, and the modules of this crate that it uses. Adding or removing a dependency changes the design, so it
/// requires a change here.
const ALLOWED: [(&str, &[&str]); 13] = [
    ("api", &["error", "harmless", "network"]),
    (
        "cli",
        &["api", "clock", "error", "harmless", "lake", "query", "report", "resource", "simulator", "sync", "table"],
    ),
    ("clock", &[]),
    ("error", &["harmless"]),
    ("harmless", &[]),
    ("lake", &["error", "harmless", "network", "table"]),
    ("network", &["error"]),
    ("query", &["error", "lake", "resource", "table"]),
    ("report", &["error", "lake", "query", "resource"]),
    ("resource", &["api", "table"]),
    ("simulator", &[]),
    ("sync", &["api", "clock", "error", "lake", "query", "resource", "table"]),
    ("table", &["error"]),
];

/// The only items of `api` that `resource` may use: those that a listing needs.
const API_USED_BY_RESOURCES: [&str; 2] = ["api::Decoded", "api::RowKey"];

const HTTP: &[&str] = &["hyper", "hyper_util", "reqwest"];
const STORAGE: &[&str] = &["deltalake", "object_store", "parquet"];
const ROWS: &[&str] = &["arrow", "datafusion"];

/// For each module, the crates that it must not use.
const FORBIDDEN_CRATES: [(&str, &[&[&str]]); 9] = [
    ("api", &[STORAGE, ROWS]),
    ("clock", &[HTTP, STORAGE, ROWS]),
    ("lake", &[HTTP]),
    ("network", &[HTTP, STORAGE, ROWS]),
    ("query", &[HTTP, STORAGE]),
    ("report", &[HTTP, STORAGE]),
    ("resource", &[HTTP, STORAGE]),
    ("simulator", &[STORAGE, ROWS]),
    ("table", &[HTTP, STORAGE]),
];

const MAX_LINES: usize = 420;

/// Returns the Rust files in `src/`, relative to it, with their text.
fn sources() -> Vec<(PathBuf, String)> {
    let sources = files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    let sources = sources.into_iter().filter(|(path, _)| path.extension().is_some_and(|it| it == "rs"));
    sources.map(|(path, text)| (path, String::from_utf8(text).expect("text"))).collect()
}

/// Returns the module that a file of `src/` belongs to; `None` for `lib.rs` and `main.rs`, which only declare modules.
fn module(path: &Path) -> Option<String> {
    let first = path.iter().next().unwrap_or_default().to_string_lossy();
    Some(first.trim_end_matches(".rs").to_owned()).filter(|name| name != "lib" && name != "main")
}

/// Returns all paths that begin with `root::` in the code, without `root::`, each with its module and file.
fn uses(root: &str) -> Vec<(String, PathBuf, String)> {
    let of_file = |(path, text): (PathBuf, String)| {
        let module = module(&path)?;
        let paths = paths(&code(&text), root);
        Some(paths.into_iter().map(move |used| (module.clone(), path.clone(), used)))
    };
    sources().into_iter().filter_map(of_file).flatten().collect()
}

/// Returns `text` without its comments, because a link in the documentation is not a dependency.
fn code(text: &str) -> String {
    text.lines().filter(|line| !line.trim_start().starts_with("//")).flat_map(|line| [line, "\n"]).collect()
}

/// Returns every path in `code` that begins with `root::`. Expands groups: `root::{a::B, c}` becomes `a::B` and `c`.
fn paths(code: &str, root: &str) -> Vec<String> {
    let root = format!("{root}::");
    let is_start = |at: usize| !code[..at].ends_with(|before: char| before.is_alphanumeric() || "_:".contains(before));
    let found = code.match_indices(&root).filter(|(at, _)| is_start(*at));
    found.flat_map(|(at, _)| expanded(&code[at + root.len()..])).collect()
}

fn expanded(path: &str) -> Vec<String> {
    if let Some(group) = path.strip_prefix('{') {
        return members(group).into_iter().flat_map(|member| expanded(member.trim_start())).collect();
    }
    let end = path.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(path.len());
    let (name, rest) = path.split_at(end);
    let tails = rest.strip_prefix("::").map(expanded).unwrap_or_default();
    match (name, tails.is_empty()) {
        ("", _) => Vec::new(),
        (_, true) => vec![name.to_owned()],
        (_, false) => tails.into_iter().map(|tail| format!("{name}::{tail}")).collect(),
    }
}

/// Returns the members of a group, up to its closing brace.
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

/// Returns the module that a path refers to. The crate root re-exports the names of `error`.
fn target(path: &str) -> &str {
    match path.split("::").next().unwrap_or_default() {
        "Error" | "ErrorKind" | "Result" => "error",
        module => module,
    }
}

/// Returns the module path of a file of `src/`, for example `lake::diff` for `lake/diff/mod.rs`.
fn module_path(path: &Path) -> Vec<String> {
    let stem = path.with_extension("");
    let parts = stem.iter().map(|part| part.to_string_lossy().into_owned());
    parts.filter(|part| part != "mod" && part != "lib").collect()
}

/// Returns the files that each file of `src/` uses, all by module path. Leaves out the `mod.rs` files of the folders
/// that contain the file: every file in a folder may use what its `mod.rs` declares.
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
fn files_do_not_use_each_other_in_cycles() {
    let mut left = files_used();
    let path = |path: &str| path.split("::").map(str::to_owned).collect::<Vec<_>>();
    let owners = &left[&path("sync::sessions::owners")];
    assert!(owners.contains(&path("sync::sessions::due")), "this use was not found");
    assert!(left[&path("lake::diff")].contains(&path("lake::diff::comparison")), "this use was not found");
    // A file that uses none of the remaining files is not part of a cycle.
    while let Some(free) = left.iter().find(|(_, used)| used.iter().all(|it| !left.contains_key(it))) {
        let free = free.0.clone();
        left.remove(&free);
    }
    let left: Vec<_> = left.keys().map(|file| file.join("::")).collect();
    assert!(left.is_empty(), "these files use each other in a cycle, or use such files: {left:?}");
}

#[test]
fn used_paths_are_found_in_groups_but_not_in_comments() {
    let text = "//! [`crate::a`]\nuse crate::{b::{C, d::*}, e};\nuse crate::f;\n    /// crate::g\n\
        let h = crate::h::i::<J>();\nother_crate::k::l();";
    assert_eq!(paths(&code(text), "crate"), ["b::C", "b::d", "e", "f", "h::i"]);
}

#[test]
fn modules_use_only_the_modules_that_are_allowed() {
    let allowed: BTreeSet<(String, String)> = ALLOWED
        .iter()
        .flat_map(|(module, known)| known.iter().map(|other| ((*module).to_owned(), (*other).to_owned())))
        .collect();
    let mut found = BTreeSet::new();
    for (module, path, used) in uses("crate").into_iter().chain(uses("clerk_lake")) {
        let edge = (module, target(&used).to_owned());
        if edge.0 != edge.1 {
            assert!(allowed.contains(&edge), "{} uses {used}: {} must not use {}", path.display(), edge.0, edge.1);
            found.insert(edge);
        }
    }
    let unused: Vec<_> = allowed.difference(&found).collect();
    assert!(unused.is_empty(), "nothing uses these; remove them from ALLOWED: {unused:?}");
}

#[test]
fn every_module_is_listed_in_the_architecture() {
    let existing: BTreeSet<_> = sources().iter().filter_map(|(path, _)| module(path)).collect();
    let listed: BTreeSet<_> = ALLOWED.iter().map(|(module, _)| (*module).to_owned()).collect();
    assert_eq!(existing, listed);
}

#[test]
fn modules_refer_to_each_other_by_paths_from_the_crate() {
    for (path, text) in sources() {
        let code = code(&text);
        assert!(!code.contains("super::super"), "{} uses `super::super`: use a path from `crate`", path.display());
        let is_root = path.components().count() == 1 || (path.components().count() == 2 && path.ends_with("mod.rs"));
        let used = paths(&code, "super");
        assert!(!is_root || used.is_empty(), "{} uses {used:?} through `super`: use `crate` instead", path.display());
    }
}

#[test]
fn resources_use_only_the_parts_of_the_api_that_a_listing_needs() {
    for (module, path, used) in uses("crate") {
        if module == "resource" && target(&used) == "api" {
            assert!(API_USED_BY_RESOURCES.contains(&used.as_str()), "{} uses {used}", path.display());
        }
    }
}

#[test]
fn modules_do_not_use_forbidden_crates() {
    for (module, groups) in FORBIDDEN_CRATES {
        for name in groups.iter().copied().flatten() {
            for (user, path, used) in uses(name) {
                assert!(user != module, "{} uses {name}::{used}: {module} must not use this crate", path.display());
            }
        }
    }
}

#[test]
fn no_source_file_is_too_long() {
    for (path, text) in sources() {
        let lines = text.lines().count();
        assert!(lines <= MAX_LINES, "{} has {lines} lines: split it into a folder", path.display());
    }
}

/// Returns the name of the type that a line of code declares; `None` if it declares none, or one inside a function.
fn declared_type(line: &str) -> Option<&str> {
    let line = line.strip_prefix("pub").map_or(line, |rest| rest.split_once(' ').map_or(rest, |(_, rest)| rest));
    let (keyword, rest) = line.split_once(' ')?;
    let is_type = ["struct", "enum", "trait", "type", "union"].contains(&keyword);
    is_type.then(|| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default())
}

#[test]
fn no_two_types_share_a_name() {
    let mut files_by_type: BTreeMap<String, BTreeSet<PathBuf>> = BTreeMap::new();
    for (path, text) in sources().into_iter().filter(|(path, _)| !path.ends_with("tests.rs")) {
        for name in text.lines().filter_map(declared_type) {
            files_by_type.entry(name.to_owned()).or_default().insert(path.clone());
        }
    }
    assert!(files_by_type.len() > 200, "{} types", files_by_type.len());
    files_by_type.retain(|_, files| files.len() > 1);
    assert!(files_by_type.is_empty(), "{files_by_type:#?}");
}

#[test]
fn declared_types_are_found() {
    assert_eq!(declared_type("pub(super) struct Slice<'a> {"), Some("Slice"));
    assert_eq!(declared_type("enum State {"), Some("State"));
    assert_eq!(declared_type("    struct Line {"), None);
    assert_eq!(declared_type("pub fn context() {"), None);
}
