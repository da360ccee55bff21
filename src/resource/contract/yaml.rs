//! A reader for the part of YAML that Clerk's contract uses: mappings, lists and scalars in block style.

use serde_json::{Map, Value};

/// Reads `text`. Texts of several lines are left out, and all scalars but booleans are strings.
pub(super) fn read(text: &str) -> Value {
    let lines = text.lines().map(|line| (line.len() - line.trim_start().len(), line.trim().to_owned()));
    let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')).collect();
    Reader { lines, at: 0 }.value(0)
}

struct Reader {
    /// The indentation and the text of each line.
    lines: Vec<(usize, String)>,
    at: usize,
}

impl Reader {
    fn value(&mut self, indent: usize) -> Value {
        if self.lines[self.at].1.starts_with('-') { self.list(indent) } else { self.mapping(indent) }
    }

    fn list(&mut self, indent: usize) -> Value {
        let mut list = Vec::new();
        while let Some((_, line)) = self.lines.get(self.at).filter(|(at, line)| *at == indent && line.starts_with('-'))
        {
            let item = line[1..].trim().to_owned();
            if member(&item).is_some() {
                self.lines[self.at] = (indent + 2, item);
                list.push(self.mapping(indent + 2));
            } else {
                list.push(scalar(&item));
                self.at += 1;
                self.skip_deeper(indent);
            }
        }
        Value::Array(list)
    }

    fn mapping(&mut self, indent: usize) -> Value {
        let mut members = Map::new();
        while let Some((_, line)) =
            self.lines.get(self.at).filter(|(at, line)| *at == indent && !line.starts_with("- "))
        {
            let (name, rest) = member(line).unwrap_or_else(|| panic!("not a member: {line}"));
            let (name, rest) = (name.trim_matches(['\'', '"']).to_owned(), rest.to_owned());
            self.at += 1;
            let next = self.lines.get(self.at).map(|(at, line)| (*at, line.starts_with('-')));
            let value = match next {
                Some((at, is_item)) if rest.is_empty() && (at > indent || (at == indent && is_item)) => self.value(at),
                _ => scalar(&rest),
            };
            self.skip_deeper(indent);
            members.insert(name, value);
        }
        Value::Object(members)
    }

    /// Skips the rest of a text of several lines.
    fn skip_deeper(&mut self, indent: usize) {
        while self.lines.get(self.at).is_some_and(|(at, _)| *at > indent) {
            self.at += 1;
        }
    }
}

/// Returns the name and the value of a member of a mapping.
fn member(line: &str) -> Option<(&str, &str)> {
    match line.strip_suffix(':') {
        Some(name) if !name.contains(": ") => Some((name, "")),
        _ => line.split_once(": ").map(|(name, rest)| (name, rest.trim())),
    }
}

fn scalar(text: &str) -> Value {
    match text {
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        "[]" => Value::Array(Vec::new()),
        "{}" => Value::Object(Map::new()),
        text => Value::String(text.trim_matches(['\'', '"']).to_owned()),
    }
}

#[test]
fn block_style_is_read() {
    let text =
        "a:\n  - b: 'x'\n    c: |-\n      left: out\n\n      too\n  - d\n# a comment\n'200': {}\ne:\n- f\ng: true\n";
    assert_eq!(read(text), serde_json::json!({"a": [{"b": "x", "c": "|-"}, "d"], "200": {}, "e": ["f"], "g": true}));
}
